"""The log-likelihood of rows, estimated by importance weighting."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import check_count
from sk_hvae._estimators.typing import MatrixLike
from sk_hvae._fit.measurement import map_rows
from sk_hvae.metrics._checks import check_fitted_model


def log_likelihood(
    estimator: LatentsMixin, X: MatrixLike, n_samples: int = 100
) -> NDArray[np.float64]:
    """Estimate ln p(x) of every row by importance weighting.

    The estimate is the logarithm of the mean of p(x, z) / q(z | x) over samples of all layers
    [1]_. Its expectation is at most ln p(x), and comes closer the more samples there are. With
    one sample it is the lower bound that ``score_samples`` estimates.

    Parameters
    ----------
    estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
        Fitted.
    X : array-like of shape (n_rows, n_features)
        Rows.
    n_samples : int, default=100
        Number of samples of the latents for each row, called k in the reference. The time is
        proportional to it. The figures published there are for 5,000.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        Nats. The noise is derived from each row, so that the value of a row is always the same
        and does not depend on other rows.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not one of this library.
    ValueError
        If ``n_samples`` is less than 1, or if X does not suit the model.

    Notes
    -----
    High rates need multipliers (betas) below 1. The posteriors of such models are too narrow for
    a good estimate; in expectation it is a lower bound all the same.

    References
    ----------
    .. [1] Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", ICLR
       2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.metrics import log_likelihood
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> bool(log_likelihood(hvae, X).mean() > hvae.score(X))
    True
    """
    check_fitted_model(estimator)
    check_count("n_samples", n_samples)
    rows, module = check_new_rows(estimator, X), model_of(estimator).in_place()

    def log_mean_weight(x):
        activations, noise = module.activations(x), module.row_noise(x)
        total = torch.full((len(x),), -math.inf, device=x.device)
        for draw in range(n_samples):
            log_weight = module.log_weight(x, activations, noise.draw(draw))
            total = torch.logaddexp(total, log_weight)
        return (total - math.log(n_samples))[:, None]

    return map_rows(module, rows, log_mean_weight, 1)[:, 0].astype(np.float64)
