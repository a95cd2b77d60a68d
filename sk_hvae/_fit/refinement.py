"""What expectations of missing numbers still lack, learned from cells that are hidden."""

import numpy as np
import torch

from sk_hvae._data.rows import ResidentRows
from sk_hvae._data.threads import FixedThreads
from sk_hvae._fit.measurement import map_rows

# Every cell is hidden once, a fifth of a row at a time, which costs five passes over 2,048 rows at
# most: some 5% of a fit's time. Ten passes measured no better.
_N_FOLDS = 5
# The time to solve for all columns grows with the fourth power of their number: 128 take a second.
_MOST_NUMBERS = 128
# With fewer cells nothing can be learned of a column, and expectations are better left alone.
_FEWEST_CELLS = 20
# Strengths of ridge regression to choose from, per row, on standardised columns: from hardly any to
# no slopes at all.
_STRENGTHS = [*(10.0**exponent for exponent in np.arange(-5, 3.5, 0.5).tolist()), float("inf")]


def fit_refinement(module, x, n_rows, expect, generator):
    """Learn how to correct what a model expects of missing numbers.

    Expectations that are made for all columns at once, on the scale of the link, leave something
    for each column by itself: heavy tails that are linear on the scale of the data, or a bias.
    Cells of the training rows are hidden, and filled in; a ridge regression on the numbers of the
    rows so filled in predicts the rest. Generalised cross-validation [1]_ chooses its strength.

    The model has seen the cells that are hidden here, and so it does better on them than on cells
    that are really missing. A model of p factors takes a share of about p / n of the variance for
    structure where there is none, which is what the adjusted R^2 of regressions takes off. What
    is expected is therefore drawn towards the column's mean by the ratio of the adjusted R^2 to
    the plain one. p is the number of factors in `MissingCells`, and n that of a column's cells.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode, on its device.
    x : Tensor of shape (m, n_features)
        Some of the training rows, NaN where a cell is missing.
    n_rows : int
        Number of all training rows.
    expect : callable
        Maps raw data (b, n_features) to what is expected of all cells.
    generator : torch.Generator
        On the CPU; chooses which cells are hidden together.

    Returns
    -------
    ndarray of shape (1 + n_features, n_features) or None
        What `refine` needs. None if the model takes no missing cells, has diverged, or if
        there are no numbers, or more than 128.

    References
    ----------
    .. [1] Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a Good
       Ridge Parameter", Technometrics 21, 1979.
    """
    summary = module.likelihood.summary
    is_number = summary.std > 0
    is_number[module.likelihood.nominal_categories[:, 0].long()] = False
    numbers = is_number.nonzero()[:, 0]
    if module.missing is None or not 0 < len(numbers) <= _MOST_NUMBERS:
        return None
    x = x if x.is_floating_point() else x.float()
    fold = torch.randint(_N_FOLDS, x.shape, generator=generator)
    filled = torch.stack([_fill_fold(module, x, fold == k, expect) for k in range(_N_FOLDS)])
    if not filled.isfinite().all():
        return None
    low, high = module.likelihood.limits
    centre = summary.mean.clamp(low, high)
    truth = x.cpu().double().clamp(low, high) - centre
    filled = filled.clamp(low, high)[:, :, numbers] - centre[numbers]
    weights = torch.zeros(1 + x.shape[1], x.shape[1], dtype=torch.float64)
    n_factors = int(module.missing.loadings.any(0).sum())
    with FixedThreads():
        for place, column in enumerate(numbers.tolist()):
            rows = (~truth[:, column].isnan()).nonzero()[:, 0]
            cells = truth[rows, column]
            if len(rows) < _FEWEST_CELLS or (cells == cells[0]).all():
                continue
            features = filled[fold[rows, column], rows]
            intercept, slopes = _ridge(features, cells - features[:, place])
            slopes[place] += 1
            unexplained = (cells - intercept - features @ slopes).var() / cells.var()
            n_cells = len(rows) * n_rows / len(x)
            share = _share_kept(float(unexplained), n_factors / n_cells)
            weights[0, column] = share * intercept + (1 - share) * cells.mean()
            weights[1 + numbers, column] = share * slopes
            weights[1 + column, column] -= 1
    return weights.numpy()


def refine(filled, weights, likelihood):
    """Correct numbers that were filled in, which then stay within the range of their column.

    Parameters
    ----------
    filled : Tensor of shape (b, n_features), float64
        Rows without missing cells, on the CPU.
    weights : ndarray of shape (1 + n_features, n_features)
        See `fit_refinement`. Columns of zeros, such as those of categories, change nothing.
    likelihood : Likelihood
        Of the model. Wild values of a column do not count as its range, see `Likelihood.limits`.

    Returns
    -------
    Tensor of shape (b, n_features), float64
    """
    low, high = likelihood.limits
    centre = likelihood.summary.mean.clamp(low, high)
    offset, slopes = torch.from_numpy(weights[0]), torch.from_numpy(weights[1:])
    inside = filled.clamp(low, high)
    refined = inside + offset + (inside - centre) @ slopes
    return refined.clamp(low, high)


def _fill_fold(module, x, hidden, expect):
    """Fill in rows of which some more cells are hidden, (m, n_features), float64, on the CPU."""
    holey = x.masked_fill(hidden.to(x.device), torch.nan)
    expected = np.empty(x.shape)
    map_rows(module, ResidentRows(holey), expect, x.shape[1], expected)
    holey = holey.cpu().double()
    return torch.where(holey.isnan(), torch.from_numpy(expected), holey)


def _ridge(features, target):
    """Regress a target (n,) on features (n, d); returns the intercept and the slopes (d,)."""
    n = len(target)
    mean, std = features.mean(0), features.std(0)
    scale = torch.where(std > 0, std, 1.0)
    standard, rest = (features - mean) / scale, target - target.mean()
    values, axes = torch.linalg.eigh(standard.T @ standard)
    values, pull = values.clamp(min=0.0), axes.T @ (standard.T @ rest)
    divisor = values + n * torch.tensor(_STRENGTHS, dtype=torch.float64)[:, None]
    along = pull / divisor
    squares = rest.square().sum() + (along * (values * along - 2 * pull)).sum(1)
    freedom = 1 - (1 + (values / divisor).sum(1)) / n
    cost = torch.where(freedom > 0.5, squares / freedom.square(), torch.inf)
    slopes = axes @ along[cost.argmin()] / scale
    return target.mean() - mean @ slopes, slopes


def _share_kept(unexplained, overfit):
    """Return the adjusted R^2 over the plain one, given what is not explained; from 0 to 1."""
    explained = 1 - unexplained
    return max(0.0, 1 - overfit * unexplained / explained) if explained > 0 else 0.0
