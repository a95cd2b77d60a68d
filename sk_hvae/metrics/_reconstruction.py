"""Errors of reconstructions, and the least error of any linear code at each rate."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from sk_hvae._estimators.typing import MatrixLike
from sk_hvae.metrics._checks import dense_rows
from sk_hvae.nn.units import LN2
from sk_hvae.nn.water_filling import water_fill


def psnr(X: MatrixLike, reconstruction: MatrixLike, data_range: float | None = None) -> float:
    """Compute the peak signal-to-noise ratio of a reconstruction.

    It is 10 log10(range^2 / mean squared error), with the mean over all cells.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data. Missing cells, such as NaN, do not count.
    reconstruction : array-like of shape (n_samples, n_features)
        What the model makes of X, such as ``reconstruct(X)``, which decodes posterior means. For
        an error that the rates limit, decode samples instead, ``latents(X, sample=True)``.
    data_range : float, default=None
        Difference of the largest and the smallest possible value, such as 1 for pixels in [0, 1].
        None takes the values in X.

    Returns
    -------
    float
        Decibels. It is infinite if there is no error.

    Raises
    ------
    ValueError
        If the shapes differ, if the range is not positive, or if all cells of X are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.metrics import psnr
    >>> round(psnr(np.array([[0.0, 1.0]]), np.array([[0.1, 0.9]])), 6)
    20.0
    """
    data = dense_rows(X, "X")
    decoded = dense_rows(reconstruction, "reconstruction", finite=True)
    if data.shape != decoded.shape:
        raise ValueError(f"X has shape {data.shape}, its reconstruction {decoded.shape}.")
    known = data[~np.isnan(data)]
    if not len(known):
        raise ValueError("psnr needs numbers to compare; every cell of X is missing.")
    error = float(np.square(known - decoded[~np.isnan(data)]).mean())
    return psnr_of_error(error, float(np.ptp(known)) if data_range is None else data_range)


def psnr_of_error(squared_error, data_range):
    """Return the peak signal-to-noise ratio of a mean squared error in dB; nan of nan."""
    if math.isnan(squared_error):
        return math.nan
    if not data_range > 0:
        raise ValueError(f"the range of the data must be positive; got {data_range}.")
    return 10 * math.log10(data_range**2 / squared_error) if squared_error else math.inf


def gaussian_rate_distortion(X: MatrixLike, rates: ArrayLike) -> Any:
    """Compute the least squared error of linear-Gaussian codes at given total rates.

    This is Shannon's reverse water-filling on the eigenvalues of the covariance [1]_. Principal
    components whose variance is above a level share the rate so that each keeps that level as
    its error; the others get no bits. The result is the rate-distortion function of Gaussian data
    with this covariance. For other data it is a reference: a model with a higher error has not
    been trained well.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Data, of which only the covariance counts. No cell may be missing.
    rates : float or array-like
        Total rates in bits per sample, not negative.

    Returns
    -------
    float or ndarray of the shape of ``rates``
        Mean squared error per cell. At rate 0 it is the mean variance of the columns.

    Raises
    ------
    ValueError
        If a rate is negative or not finite, or a cell of X is missing.

    See Also
    --------
    psnr : The usual scale for errors of images.

    Notes
    -----
    All columns count alike here, whatever their scale. A model of a table standardises its
    columns, so standardise X and the reconstructions before you compare.

    References
    ----------
    .. [1] Cover and Thomas, "Elements of Information Theory", 2nd edition, 10.3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.metrics import gaussian_rate_distortion
    >>> X = np.random.default_rng(0).normal(size=(100_000, 1))
    >>> gaussian_rate_distortion(X, [0, 1, 2]).round(2)
    array([1.  , 0.25, 0.06])
    """
    data = dense_rows(X, "X", least=2)
    if np.isnan(data).any():
        raise ValueError(
            f"gaussian_rate_distortion needs all cells of X; {int(np.isnan(data).sum())} are "
            "missing. Leave their rows out, or fill them in, for example by the impute of an "
            "estimator."
        )
    rates = np.asarray(rates, dtype=float)
    if not ((rates >= 0) & np.isfinite(rates)).all():
        raise ValueError(f"rates must be finite and not negative; got {rates.tolist()}.")
    centred = data - data.mean(axis=0)
    n_rows, n_columns = data.shape
    smaller = centred.T @ centred if n_columns <= n_rows else centred @ centred.T
    variances = np.linalg.eigvalsh(smaller) / n_rows
    variances = variances[variances > variances[-1] * len(variances) * np.finfo(float).eps]
    if not len(variances):
        return np.zeros_like(rates)[()]
    nats = [water_fill(torch.tensor(variances), rate * LN2).numpy() for rate in rates.flat]
    errors = [np.sum(variances * np.exp(-2 * of_rate)) for of_rate in nats]
    return (np.reshape(errors, rates.shape) / n_columns)[()]
