"""What expectations of missing cells still lack, learned from cells that are hidden."""

import numpy as np
import torch

from sk_hvae._data.rows import ResidentRows
from sk_hvae._data.threads import FixedThreads
from sk_hvae._fit.measurement import map_rows

# Columns that have heavy tails, or many categories, need all of these rows.
REFINEMENT_ROWS = 8192
# Every cell is hidden once, a fifth of a row at a time, which costs five passes over these rows: 7%
# of a fit's time. Ten passes measured no better.
_N_FOLDS = 5
# The time to solve for all columns grows with the fourth power of the number of inputs. A table of
# 55 columns with 290 of them takes 3 seconds, and a fit to it 50.
_MOST_INPUTS = 384
# With fewer cells nothing can be learned of a column, and expectations are better left alone.
_FEWEST_CELLS = 20
# Strengths of ridge regression to choose from, per row, on standardised inputs: from hardly any to
# no slopes at all.
_STRENGTHS = [*(10.0**exponent for exponent in np.arange(-5, 3.5, 0.5).tolist()), float("inf")]


class FilledRows:
    """Rows without missing cells as regressions read them, and what regressions are to predict.

    Inputs are the numbers of a row, standardised, a share for each category, and the links of the
    numbers, which follow numbers of heavy tails where these are linear on the scale of the link.
    The numbers and shares, which come first, are predicted. If there would be more than 384 inputs,
    the columns of the most categories are left out: of these, little can be learned.

    Parameters
    ----------
    likelihood : Likelihood
        Says which columns hold numbers that vary, and which categories there are.
    """

    def __init__(self, likelihood):
        self._n_linked = likelihood.n_linked
        std = likelihood.summary.std
        # Wild values of a column count as the end of its range, and not for its centre.
        self._low, self._high = likelihood.limits
        self._centre = likelihood.summary.mean.clamp(self._low, self._high)
        self._scale = torch.where(std > 0, std, 1.0)
        nominal, codes = likelihood.nominal_categories.T
        nominal = nominal.long()
        is_number = std > 0
        is_number[nominal] = False
        self._numbers = is_number.nonzero()[:, 0]
        of_link = likelihood.column_of_link
        self._links = is_number[of_link].nonzero()[:, 0]
        n_left = _MOST_INPUTS - len(self._numbers) - len(self._links)
        self._categories = _of_small_columns(nominal, n_left)
        self._nominal, self._codes = nominal[self._categories], codes[self._categories]
        self.columns = torch.cat((self._numbers, self._nominal))
        """Column of the data that each number or share belongs to, (n_predicted,)."""
        blocks = torch.cat((self.columns, len(is_number) + of_link[self._links]))
        self.blocks = blocks.unique(return_inverse=True)[1]
        """Number of the block of each input, (n_inputs,): the shares of a column are one."""

    @property
    def n_predicted(self):
        """Number of numbers and shares."""
        return len(self.columns)

    @property
    def n_inputs(self):
        """Number of columns of `inputs`."""
        return len(self.blocks)

    def inputs(self, x, linked, expected):
        """Fill in rows, and return what regressions read.

        Parameters
        ----------
        x, linked : Tensor of shape (b, n_features) and (b, n_linked)
            Raw data and their link, on any device, NaN where a cell is missing.
        expected : Tensor of shape (b, n_features + n_categories + n_linked)
            What a model expects of all cells, the probabilities of all categories, and what it
            expects of the link.

        Returns
        -------
        Tensor of shape (b, n_inputs), float64, on the CPU
        """
        n_features = x.shape[1]
        sizes = [n_features, expected.shape[1] - n_features - self._n_linked, self._n_linked]
        cells, shares, links = expected.cpu().double().split(sizes, 1)
        given, linked = x.cpu().double(), linked.cpu().double()
        numbers, hits = self._split(torch.where(given.isnan(), cells, given))
        is_missing = given[:, self._nominal].isnan()
        shares = torch.where(is_missing, shares[:, self._categories], hits)
        links = torch.where(linked.isnan(), links, linked)[:, self._links]
        return torch.cat((numbers, shares, links), 1)

    def targets(self, x):
        """Return what there is to predict of raw data: (b, n_predicted), NaN where missing."""
        given = x.cpu().double()
        numbers, hits = self._split(given)
        return torch.cat((numbers, hits.masked_fill(given[:, self._nominal].isnan(), torch.nan)), 1)

    def put_into(self, expected, predicted):
        """Put what was predicted, (b, n_predicted), into expected rows (b, n_features), float64.

        Numbers stay within the range of their column. A category is the one of the largest share.
        """
        rows = expected.clone()
        numbers, shares = predicted.split([len(self._numbers), len(self._nominal)], 1)
        numbers = numbers * self._scale[self._numbers] + self._centre[self._numbers]
        low, high = self._low[self._numbers], self._high[self._numbers]
        rows[:, self._numbers] = numbers.clamp(low, high)
        for column in self._nominal.unique().tolist():
            of_column = self._nominal == column
            rows[:, column] = self._codes[of_column][shares[:, of_column].argmax(1)]
        return rows

    def _split(self, cells):
        """Return standardised numbers, and for each category whether it is there."""
        # What is expected may be beyond any number that was seen, as the mean of a heavy tail is.
        inside = cells.clamp(self._low, self._high)
        numbers = ((inside - self._centre) / self._scale)[:, self._numbers]
        return numbers, (cells[:, self._nominal] == self._codes).double()


def _of_small_columns(nominal, most):
    """Choose as many categories as there may be, in order, those of columns with few first."""
    n_categories = nominal.bincount()
    order = n_categories.argsort(stable=True)
    small = order[n_categories[order].cumsum(0) <= most]
    return torch.isin(nominal, small).nonzero()[:, 0]


def fit_refinement(module, x, n_rows, expect, generator):
    """Learn how to correct what a model expects of missing cells.

    Expectations that are made for all columns at once, on the scale of the link, leave something
    for each column by itself: heavy tails that are linear on the scale of the data, a bias, or
    categories that the model has learned by heart. Cells of the training rows are hidden, and
    filled in; a ridge regression on the rows so filled in predicts each column. Generalised
    cross-validation [1]_ chooses its strength. The shares of the categories of a column are
    predicted together, from one-hot codes.

    The model has seen the cells that are hidden here, and so it does better on them than on cells
    that are really missing. A model of p parameters takes a share of about p / n of the variance
    for structure where there is none, which is what the adjusted R^2 of regressions takes off.
    What is predicted is therefore drawn towards the column's mean by the ratio of the adjusted
    R^2 to the plain one. p is the number of factors in `MissingCells`, and the degrees of freedom
    of the regression, and n the number of a column's cells.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    x : Tensor of shape (m, n_features)
        Some of the training rows, NaN where a cell is missing.
    n_rows : int
        Number of all training rows.
    expect : callable
        Maps raw data (b, n_features) to what `FilledRows.inputs` calls expected.
    generator : torch.Generator
        On the CPU; chooses which cells are hidden together.

    Returns
    -------
    ndarray of shape (1 + n_inputs, n_predicted) or None
        What `refine` needs. None if the model takes no missing cells, has diverged, or if
        there is nothing to predict, or numbers alone make more than 384 inputs.

    References
    ----------
    .. [1] Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a Good
       Ridge Parameter", Technometrics 21, 1979.
    """
    rows = FilledRows(module.likelihood)
    if module.missing is None or not rows.n_predicted or rows.n_inputs > _MOST_INPUTS:
        return None
    x = x if x.is_floating_point() else x.float()
    fold = torch.randint(_N_FOLDS, x.shape, generator=generator)
    passes = [_fill_fold(rows, module, x, fold == k, expect) for k in range(_N_FOLDS)]
    if not all(inputs.isfinite().all() for inputs in passes):
        return None
    targets = rows.targets(x)
    weights = torch.eye(1 + rows.n_inputs, dtype=torch.float64)[:, 1 : 1 + rows.n_predicted]
    n_factors = int(module.missing.loadings.any(0).sum())
    with FixedThreads():
        for column in rows.columns.unique().tolist():
            predicted = (rows.columns == column).nonzero()[:, 0]
            target = targets[:, predicted]
            seen = (~target[:, 0].isnan()).nonzero()[:, 0]
            target = target[seen]
            if len(seen) < _FEWEST_CELLS or (target == target[0]).all():
                continue
            inputs = x.new_empty(len(seen), rows.n_inputs, dtype=torch.float64, device="cpu")
            for k, filled in enumerate(passes):
                hidden = fold[seen, column] == k
                inputs[hidden] = filled[seen[hidden]].double()
            intercept, slopes, freedom = _ridge(inputs, target, rows.blocks)
            rest = target - intercept - inputs @ slopes
            unexplained = float(rest.square().sum() / (target - target.mean(0)).square().sum())
            overfit = n_factors / (len(seen) * n_rows / len(x)) + freedom / len(seen)
            share = _share_kept(unexplained, overfit)
            weights[0, predicted] = share * intercept + (1 - share) * target.mean(0)
            weights[1:, predicted] = share * slopes
    return weights.numpy()


def refine(rows, x, linked, expected, weights):
    """Correct what is expected of missing cells.

    Parameters
    ----------
    rows : FilledRows
        Of the module's likelihood.
    x, linked, expected : Tensor
        See `FilledRows.inputs`.
    weights : ndarray of shape (1 + n_inputs, n_predicted)
        See `fit_refinement`.

    Returns
    -------
    Tensor of shape (b, n_features), float64, on the CPU
    """
    intercept, slopes = torch.from_numpy(weights[0]), torch.from_numpy(weights[1:])
    predicted = intercept + rows.inputs(x, linked, expected) @ slopes
    return rows.put_into(expected[:, : x.shape[1]].cpu().double(), predicted)


def _fill_fold(rows, module, x, hidden, expect):
    """Return the inputs of rows of which some more cells are hidden, (m, n_inputs), float32."""
    holey = x.masked_fill(hidden.to(x.device), torch.nan)
    inputs = np.empty((len(x), rows.n_inputs), np.float32)

    def fill(x):
        return rows.inputs(x, module.link(x), expect(x))

    map_rows(module, ResidentRows(holey), fill, rows.n_inputs, inputs)
    return torch.from_numpy(inputs)


def _ridge(inputs, target, blocks):
    """Regress targets (n, k) on inputs (n, d), whose blocks have one variance each.

    A column of many categories would weigh more than one of two, if each share were standardised.

    Returns
    -------
    tuple
        Intercepts (k,), slopes (d, k), and the degrees of freedom that they take.
    """
    n = len(target)
    mean, centred = inputs.mean(0), target - target.mean(0)
    variances = torch.zeros(len(blocks), dtype=inputs.dtype).index_add(0, blocks, inputs.var(0))
    scale = variances[blocks].sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    standard = (inputs - mean) / scale
    values, axes = torch.linalg.eigh(standard.T @ standard)
    values, pull = values.clamp(min=0.0), axes.T @ (standard.T @ centred)
    divisor = values + n * torch.tensor(_STRENGTHS, dtype=torch.float64)[:, None]
    explained = pull.square().sum(1) / divisor * (2 - values / divisor)
    squares = centred.square().sum() - explained.sum(1)
    freedom = 1 + (values / divisor).sum(1)
    left = 1 - freedom / n
    best = torch.where(left > 0.5, squares / left.square(), torch.inf).argmin()
    slopes = axes @ (pull / divisor[best][:, None]) / scale[:, None]
    return target.mean(0) - mean @ slopes, slopes, float(freedom[best])


def _share_kept(unexplained, overfit):
    """Return the adjusted R^2 over the plain one, given what is not explained; from 0 to 1."""
    explained = 1 - unexplained
    return max(0.0, 1 - overfit * unexplained / explained) if explained > 0 else 0.0
