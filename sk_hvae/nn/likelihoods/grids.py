"""The decimal grid of a column: whole numbers, cents, days in seconds, thousands."""

import torch

# Decimals that are looked for. With more, float64 cannot tell a decimal from its neighbours.
_MOST_DECIMALS = 9
# Beyond that float64 does not tell a whole number from the next.
_LARGEST_WHOLE = 2.0**53
# What decimals may be off by, in units in the last place: sums of them are, by a few.
_ROUNDING = 4 * torch.finfo(torch.float64).eps
_SINGLE = torch.finfo(torch.float32).eps
# A unit is at least this many times as large as what is rounded off: else all numbers look like
# decimals. Of numbers that are none, one in eight then passes, and ten never do.
_CLEAR = 8.0
# Rows by which most columns without a grid are told: a glance, before all rows are looked at.
_FIRST_ROWS = 64


class GridSearch:
    """Finds the largest step such that all values of a column are whole steps apart.

    Values are taken as decimals of up to 9 digits after the point, as they are written, in
    spite of what float64 rounds; or float32, if the values are those of a float32 column.

    Parameters
    ----------
    n_columns : int
        Number of columns.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.grids import GridSearch
    >>> search = GridSearch(2)
    >>> search.add(torch.tensor([[3e3, 0.25], [8e3, 0.1 + 0.2]], dtype=torch.float64))
    >>> step, units = search.steps
    >>> step / units
    tensor([5.0000e+03, 5.0000e-02], dtype=torch.float64)
    """

    def __init__(self, n_columns):
        self._n_decimals = torch.zeros(n_columns, dtype=torch.int64, device="cpu")
        self._first = torch.full((n_columns,), torch.nan, dtype=torch.float64, device="cpu")
        self._step = torch.zeros_like(self._n_decimals)
        self._largest = torch.zeros_like(self._first)

    def add(self, x):
        """Take the next rows (m, n_columns), float64 on the CPU; NaN marks a missing cell."""
        before = self._n_decimals
        for part in (x[:_FIRST_ROWS], x):
            self._n_decimals = _count_decimals(part, self._n_decimals)
        self._largest = torch.maximum(self._largest, x.nan_to_num(0.0).abs().amax(0))
        too_fine = self._largest * _units(self._n_decimals) > _LARGEST_WHOLE
        self._n_decimals[too_fine] = _MOST_DECIMALS + 1
        on_grid = (self._n_decimals <= _MOST_DECIMALS).nonzero().flatten()
        if len(on_grid):
            self._refine(x, before, on_grid)

    def _refine(self, x, before, columns):
        """Take the divisor of the steps so far and of the distances in x, column by column."""
        units = _units(self._n_decimals[columns])
        whole = (x[:, columns] * units).round()
        present = ~whole.isnan()
        first = self._first[columns]
        row = present.int().argmax(0)
        first = torch.where(first.isnan(), x[row, columns], first)
        self._first[columns] = first
        distance = (whole - (first * units).round()).masked_fill(~present, 0.0).abs().long()
        step = self._step[columns] * (units / _units(before[columns])).long()
        self._step[columns] = _common_divisor(distance, step)

    @property
    def steps(self):
        """The steps as whole numbers of units, and the units in 1, (2, n_columns)."""
        on_grid = self._n_decimals <= _MOST_DECIMALS
        units = _units(self._n_decimals.clamp(max=_MOST_DECIMALS))
        return torch.stack((self._step.double() * on_grid, units))


def _units(n_decimals):
    return 10.0 ** n_decimals.double()


def _count_decimals(x, at_least):
    """Count the decimals that the values of columns need; one too many if there is no grid."""
    found = at_least.clone()
    for n in range(_MOST_DECIMALS + 1):
        open_columns = (found == n).nonzero().flatten()
        if not len(open_columns):
            continue
        fits = _are_decimals(x[:, open_columns], 10.0**n)
        found[open_columns[~fits]] += 1
    return found


def _are_decimals(x, units):
    """Tell which columns hold whole numbers of units, as far as floats can."""
    whole = (x * units).round()
    decimals, size = whole / units, x.abs()
    is_double = (x - decimals).abs() <= _ROUNDING * size
    single = x.float()
    is_single = (single.double() == x) & (decimals.float() == single)
    clear_double = size * (_CLEAR * _ROUNDING * units) <= 1
    clear_single = size * (_CLEAR * _SINGLE * units) <= 1
    fits = (is_double & clear_double) | (is_single & clear_single)
    return (fits | x.isnan()).all(0)


def _common_divisor(distance, step):
    """Greatest common divisor of whole numbers (m, n_columns) and of a step (n_columns,).

    What is left of the distances over the step divides the step further, until nothing is left:
    the step at least halves each time.
    """
    while True:
        left = torch.where(step > 0, distance.remainder(step.clamp(min=1)), distance).amax(0)
        if not left.any():
            return step
        step = torch.gcd(step, left)
