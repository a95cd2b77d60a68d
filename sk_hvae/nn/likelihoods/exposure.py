"""Which columns tell how long, or how much, the counts of a row were exposed."""

import operator

import torch

from sk_hvae.nn.likelihoods.refusal import refuse


def exposure_columns(exposure, n_features):
    """Return which columns tell the exposure, BoolTensor (n_features,).

    Parameters
    ----------
    exposure : "total", int or None
        As `Poisson` takes it.
    n_features : int
        Number of columns of the data.

    Raises
    ------
    ValueError
        If it is none of these, there is no such column, or no other column.

    Examples
    --------
    >>> from sk_hvae.nn.likelihoods.exposure import exposure_columns
    >>> exposure_columns(1, 3)
    tensor([False,  True, False])
    """
    if exposure is None or exposure == "total":
        return torch.full((n_features,), exposure == "total")
    try:
        number = operator.index(exposure)
    except TypeError:
        number = -1
    if isinstance(exposure, bool) or not 0 <= number < n_features:
        raise ValueError(
            "exposure must be 'total', None, or one of the columns that the likelihood is for; "
            f"got {exposure!r}, and there are {n_features} columns, numbered from 0."
        )
    if n_features == 1:
        raise ValueError(
            "exposure is the only column that the likelihood is for; add the columns of counts."
        )
    return torch.arange(n_features) == number


def check_exposure(x, column):
    """Raise ColumnError unless the exposures of rows (b, n_features) are positive or missing."""
    wrong = torch.zeros_like(x, dtype=torch.bool)
    wrong[:, column] = ~((x[:, column] > 0) & (x[:, column] < torch.inf) | x[:, column].isnan())
    refuse(
        x,
        wrong,
        lambda value, _: (
            f"the exposure of counts must be positive; found {value:.4g}. Leave out rows without "
            "exposure, or mark it as missing, which stands for the mean exposure: NaN, in an array "
            "with missing='mask'."
        ),
    )
