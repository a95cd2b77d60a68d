"""Columns of numbers on a grid, such as cents, whose distribution is that of a Gaussian score."""

from typing import NamedTuple

import numpy as np

from sk_hvae._codec.cells import CellCoder
from sk_hvae._codec.digits import digit_distribution, digit_steps, numbers_of_digits
from sk_hvae._codec.elementary import exp, normal_cdf
from sk_hvae._codec.networks import as_numbers

# As the likelihood has it: ln of 1e-4 scores.
_LEAST_LOG_SIGMA = -9.210340371976182
# A segment between knots is the bin of one value if it is no wider, up to what float64 rounds.
_ONE_BIN = 1 + 1e-6
# Numbers have digits up to as far from the training data as these spread; others are coded as they
# are.
_ROOM_ABOVE_AND_BELOW, _ROOM = 3, 64


class Grid(NamedTuple):
    """The grids of columns: whole numbers of steps, in units that divide by powers of 10.

    Attributes
    ----------
    step, units : float64 array of shape (n_features,)
        The distance of values is ``step / units``; a step of 0 stands for no grid.
    origin : float64 array of shape (n_features,)
        A value on the grid, times ``units``.
    """

    step: np.ndarray
    units: np.ndarray
    origin: np.ndarray

    @classmethod
    def of_resolution(cls, resolution):
        """Make grids of multiples of given numbers (n_features,); NaN for columns without."""
        inverse = np.rint(1 / resolution)
        is_decimal = np.abs(inverse * resolution - 1) < 1e-9
        step = np.where(is_decimal, 1.0, resolution)
        units = np.where(is_decimal, inverse, 1.0)
        return cls(np.where(np.isnan(resolution), 0.0, step), units, np.zeros_like(step))

    def nearest(self, x):
        """Round rows (n, n_features) to the grid, where there is one."""
        step = np.where(self.step > 0, self.step, 1.0)
        whole = np.rint((x * self.units - self.origin) / step)
        return np.where(self.step > 0, (self.origin + whole * step) / self.units, x)


class GridCells(CellCoder):
    """Codes columns on a grid.

    Parameters
    ----------
    likelihood : Gaussian
        Of the model.
    grid : Grid
        Of the columns. Values of columns without a grid are coded as they are.
    """

    def __init__(self, likelihood, grid):
        scale = likelihood.monotone
        self._scale = _Linear(likelihood) if scale is None else _Monotone(scale)
        log_sigma = np.maximum(as_numbers(likelihood.log_sigma), _LEAST_LOG_SIGMA)
        summary = likelihood.summary
        lowest, highest = summary.minimum.numpy(), summary.maximum.numpy()
        self.n_features = self.n_linked = self.n_outputs = len(lowest)
        self._per_sigma = np.broadcast_to(exp(-log_sigma), lowest.shape)
        self._step = np.where(grid.step > 0, grid.step, 1.0)
        self._units = grid.units
        below = np.rint((lowest * grid.units - grid.origin) / self._step)
        origin = grid.origin + below * self._step
        span = np.rint((highest - lowest) * grid.units / self._step)
        span = np.where(grid.step > 0, span, 0.0)
        sizes = _ROOM_ABOVE_AND_BELOW * span + _ROOM
        self._size = numbers_of_digits(sizes)
        self.steps = digit_steps(np.arange(self.n_features), sizes)
        self.n_numbers = 8 * self.n_features
        self._origin = origin - (self._size - span) // 2 * self._step
        # Of the lower edges of all numbers, for the columns of a step where these are few.
        self._tables = {
            int(step.columns[0]): self._edge_scores(
                np.arange(self._size[step.columns[0]])[:, None], step.columns
            ).T
            for step in self.steps
            if step.is_leading and step.width == 1
        }
        self._line = np.zeros(self.n_features, np.int64)
        for step in self.steps:
            self._line[step.columns] = np.arange(len(step.columns))

    def link(self, x):
        return self._scale.link(x)

    def nearest(self, x):
        whole = np.rint((x * self._units - self._origin) / self._step)
        return np.clip(whole, 0, self._size - 1).astype(np.int64)

    def values(self, numbers):
        return (self._origin + numbers * self._step) / self._units

    def distribution(self, step, parameters, numbers, n_stacks):
        means, table = parameters[:, step.columns], self._tables.get(int(step.columns[0]))

        def share(numbers, columns, pick):
            if table is None:
                scores = self._edge_scores(numbers, columns)
            else:
                scores = table[self._line[columns], numbers.astype(np.int64)]
            return normal_cdf((scores - pick(means)) * self._per_sigma[columns])

        return digit_distribution(step, numbers, n_stacks, share)

    def _edge_scores(self, numbers, columns):
        """Return the scores of the lower edges of numbers (..., m) in given columns (m,)."""
        edges = self._origin[columns] + (numbers - 0.5) * self._step[columns]
        return self._scale.scores(edges / self._units[columns], columns)


class _Linear:
    """Scores that are linear in the values."""

    def __init__(self, likelihood):
        self._location, self._scale = as_numbers(likelihood.location), as_numbers(likelihood.scale)

    def link(self, x):
        return (x - self._location) / self._scale

    def scores(self, x, columns):
        return (x - self._location[columns]) / self._scale[columns]


class _Monotone:
    """Scores that are linear between knots, as `MonotoneScale` has them."""

    def __init__(self, scale):
        self._knots, self._scores = as_numbers(scale.knots), as_numbers(scale.scores)
        gaps = np.diff(self._knots)
        self._slopes = np.diff(self._scores) / gaps
        is_bin = gaps <= _ONE_BIN * as_numbers(scale.bin_width)[:, None]
        self._link_scores = np.where(
            is_bin, as_numbers(scale.middles)[:, :-1], self._scores[:, :-1]
        )
        self._link_slopes = np.where(is_bin, 0.0, self._slopes)

    def link(self, x):
        columns = np.arange(x.shape[1])
        return self._along(x, columns, self._link_scores, self._link_slopes)

    def scores(self, x, columns):
        """Map values (..., m) of given columns (m,) to scores."""
        return self._along(x, columns, self._scores, self._slopes)

    def _along(self, x, columns, starts, slopes):
        """Find the segment of each value by bisection, and go along it."""
        place = np.zeros(x.shape, np.int64)
        last = self._slopes.shape[1] - 1
        step = 1 << (last.bit_length() - 1)
        while step:
            further = place + step
            is_there = further <= last
            is_there &= self._knots[columns, np.minimum(further, last)] <= x
            place, step = np.where(is_there, further, place), step // 2
        return starts[columns, place] + slopes[columns, place] * (x - self._knots[columns, place])
