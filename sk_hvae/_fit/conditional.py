"""Rows drawn under conditions on some of their columns, by sampling importance resampling."""

import math
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_hvae._data.rows import chunk_rows, to_device
from sk_hvae._fit.copula import correlated_given
from sk_hvae.nn.likelihoods.refusal import ColumnError
from sk_hvae.nn.noise import gumbel, uniform

# Fewer rows would be resampled from weights that are themselves left to chance.
_LEAST_EFFECTIVE = 100
# Draws that are made at once, in the processor's cache, and draws after which a condition counts as
# too rare: some seven seconds on one core with the default networks.
_DRAWS_AT_ONCE, _MOST_DRAWS = 2**13, 2**21
# What decimals may be off by, in shares of themselves: sums of them are, by a few last digits.
_ROUNDING = 4 * float(np.finfo(np.float64).eps)


class Condition(NamedTuple):
    """What the cells of a column have to be: one of some values, or in a range.

    Attributes
    ----------
    column : int
        Number of the column.
    values : tuple of float or None, default=None
        The values that are allowed; None for a range.
    low, high : float, default=-inf and inf
        Ends of the range, which belong to it.
    shown : callable, default="{:.12g}".format
        Writes a number of the column as readers of a message know it.
    """

    column: int
    values: tuple[float, ...] | None = None
    low: float = -math.inf
    high: float = math.inf
    shown: Callable[[float], str] = "{:.12g}".format

    def resolve(self, likelihood):
        """Check the condition; a range of categories, or of one number, becomes a list of values.

        Parameters
        ----------
        likelihood : Likelihood
            Fitted.

        Returns
        -------
        Condition

        Raises
        ------
        ColumnError
            If no value that the column can have meets the condition.
        """
        for number in (self.low, self.high, *(self.values or ())):
            if math.isnan(number):
                self._refuse("a missing cell cannot be asked for; give a value.")
        if self.values is None and not self.low <= self.high:
            self._refuse(f"the range {self._asked} is empty; give its lower end first.")
        of_column = likelihood.nominal_categories[:, 0] == self.column
        codes = likelihood.nominal_categories[of_column, 1].tolist()
        values = self.values
        if values is None and codes:
            values = tuple(code for code in codes if self.low <= code <= self.high)
        elif values is None and self.low == self.high:
            values = (self.low,)
        if values is None:
            self._check_span(likelihood)
            return self
        if not values:
            self._refuse("the condition allows none of its values.")
        return self._replace(
            values=tuple(dict.fromkeys(self._checked(v, codes, likelihood) for v in values))
        )

    @property
    def _asked(self):
        return f"from {self.shown(self.low)} to {self.shown(self.high)}"

    def _checked(self, value, codes, likelihood):
        """Return a value as the column has it; raises ColumnError if it cannot have it."""
        self._check_overlap(value, value, likelihood)
        likelihood.check(_row_with(likelihood, self.column, value))
        if codes:
            return value
        nearest = self._nearest(likelihood, value)
        if not _is_rounded(value, nearest):
            self._refuse(
                f"a condition asks for {self.shown(value)}, which is between two values that the "
                f"column can have; the nearest is {self.shown(nearest)}."
            )
        return nearest

    def _check_span(self, likelihood):
        """Raise ColumnError unless the column can have a value in the range."""
        least, most = self._check_overlap(self.low, self.high, likelihood)
        low, high = max(self.low, least), min(self.high, most)
        nearest = self._nearest(likelihood, (low + high) / 2)
        if not low <= nearest <= high:
            self._refuse(
                f"a condition asks for values {self._asked}, but the column has none there; the "
                f"nearest is {self.shown(nearest)}."
            )

    def _check_overlap(self, low, high, likelihood):
        """Raise ColumnError unless a range meets that of the column, which is returned."""
        least, most = (float(limit[self.column]) for limit in likelihood.limits)
        if high < least or low > most:
            asked = self.shown(low) if low == high else f"values {self._asked}"
            self._refuse(
                f"a condition asks for {asked}, but the rows of fit have values from "
                f"{self.shown(least)} to {self.shown(most)}."
            )
        return least, most

    def _nearest(self, likelihood, value):
        """Return the nearest value that the column can have."""
        row = _row_with(likelihood, self.column, value)
        learned = chain(likelihood.parameters(), likelihood.buffers(), [row])
        row = to_device(row, next(learned).device)
        nearest = float(likelihood.nearest(row)[0, self.column])
        if math.isnan(nearest):
            self._refuse(
                "it holds the exposure of counts, which the model does not draw: all samples are "
                "at the mean exposure. Multiply the counts instead."
            )
        return nearest

    def _refuse(self, problem):
        raise ColumnError(problem, self.column)


def _row_with(likelihood, column, value):
    """Return a row of raw data of which one cell is known, (1, n_features)."""
    row = torch.full((1, len(likelihood.summary.mean)), math.nan, dtype=torch.float64)
    row[0, column] = value
    return row


def _is_rounded(value, nearest):
    """Tell whether two numbers are the same, but for what float64 or float32 round."""
    if abs(value - nearest) <= _ROUNDING * abs(value):
        return True
    return value == float(np.float32(value)) == float(np.float32(nearest))


class Pool(NamedTuple):
    """Draws of the latents, with cells that meet the conditions.

    Attributes
    ----------
    z_1 : Tensor of shape (m, n_units)
        On the module's device.
    cells : Tensor of shape (m, n_conditions), float64
        What goes into the columns that have conditions; on the CPU, as the weights are.
    log_weights : Tensor of shape (m,), float64
        ln of the probability or density with which the values that are asked for come out.
    n_draws : int
        How many were made, with those that met no conditions.
    """

    z_1: Tensor
    cells: Tensor
    log_weights: Tensor
    n_draws: int

    @property
    def weights(self):
        """Weights relative to the largest, (m,)."""
        return (self.log_weights - self.log_weights.max()).exp()

    @property
    def n_effective(self):
        """How many rows can be resampled of which none is the same draw as another."""
        return float(self.weights.sum()) if len(self.log_weights) else 0.0

    def join(self, other):
        """Return this pool together with another one."""
        return Pool(
            torch.cat((self.z_1, other.z_1)),
            torch.cat((self.cells, other.cells)),
            torch.cat((self.log_weights, other.log_weights)),
            self.n_draws + other.n_draws,
        )

    def resample(self, n_samples, noise):
        """Choose draws by their weights, systematically: a LongTensor of their numbers."""
        ends = self.weights.cumsum(0)
        start = uniform(noise(self.z_1.new_zeros(1, 1))).cpu().double()[0]
        places = (torch.arange(n_samples) + start) / n_samples * ends[-1]
        return torch.searchsorted(ends, places).clamp(max=len(ends) - 1)


class Conditioner:
    """Draw rows of a model under conditions, by sampling importance resampling.

    Latents are drawn from the prior, or as some rows have them. A range, in which almost any number
    may be, is met by chance: the cell is drawn, and the draw is dropped if the cell is outside.
    Values that are asked for need not come out by chance: the draw counts as much as the likelihood
    gives them, and one of them is put into the cell. Rows are resampled by these weights (Rubin,
    1988), systematically (Kitagawa, 1996), once no row is taken twice; their other columns are
    drawn given the latents. The result is as exact as an estimate from so many draws.

    Proposals of the encoder, to which only the given cells are shown, would make for larger
    weights; but one costs as much as eight draws of the prior, which at the default rates of
    10 bits are worth more in nearly all cases.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    draw_z_1 : callable
        Maps a number of draws and noise to z_1, (n_draws, n_units).
    conditions : sequence of Condition
        On different columns.
    dtype : torch.dtype
        Of the data: cells meet their conditions in its precision.
    noise : callable
        Maps a tensor to standard normal noise of its shape.
    copula : ndarray of shape (n, n) or None
        Correlations of the noise by which rows are drawn. The noise of the other columns goes
        along with that of the given cells; the weights do not know of it.

    Raises
    ------
    ColumnError
        If no value that a column can have meets its condition, or a column has several.
    """

    def __init__(self, module, draw_z_1, conditions, dtype, noise, copula=None):
        self._copula = copula
        self._module, self._likelihood = module, module.likelihood
        self._draw_z_1, self._dtype, self._noise = draw_z_1, dtype, noise
        columns = [condition.column for condition in conditions]
        for column in columns:
            if columns.count(column) > 1:
                raise ColumnError("it has several conditions; give one.", column)
        self._conditions = [condition.resolve(self._likelihood) for condition in conditions]

    def sample(self, n_samples, mean=False):
        """Draw rows, or means of the data given their latents: (n_samples, n_features).

        Raises
        ------
        ValueError
            If two million draws do not make so many different rows.
        """
        pool = self._fill_pool(n_samples)
        chosen = pool.resample(n_samples, self._noise)
        parameters = self._module.decoder(pool.z_1[chosen.to(pool.z_1.device)])
        if mean:
            rows = self._module.mean(parameters)
        else:
            correlated = self._correlated(parameters, pool.cells[chosen])
            rows = self._module.draw(parameters, self._noise, *correlated)
        rows = rows.cpu().to(self._dtype)
        for condition, cells in zip(self._conditions, pool.cells[chosen].T, strict=True):
            rows[:, condition.column] = cells.to(self._dtype)
        return rows

    def _correlated(self, parameters, cells):
        """Draw the noise of rows that have these cells, if it is correlated: none or one tensor."""
        if self._copula is None:
            return []
        x = torch.full((len(cells), len(self._likelihood.summary.mean)), math.nan)
        x = x.double()
        for condition, cell in zip(self._conditions, cells.T, strict=True):
            x[:, condition.column] = cell

        def draw(like):
            return self._noise(like.to(parameters)).cpu()

        found = correlated_given(
            self._module, x.to(parameters.device), parameters, self._copula, draw
        )
        return [found.to(parameters)]

    def _fill_pool(self, n_samples):
        """Make draws until enough different rows can be resampled; returns a `Pool`."""
        n_draws = min(_DRAWS_AT_ONCE, chunk_rows((1, self._likelihood.n_outputs)))
        pool = self._draw(n_draws)
        while pool.n_effective < max(n_samples, _LEAST_EFFECTIVE):
            if pool.n_draws >= _MOST_DRAWS:
                raise ValueError(_too_rare(pool, n_samples))
            pool = pool.join(self._draw(n_draws))
        return pool

    def _draw(self, n_draws):
        """Draw latents, and meet the conditions; returns a `Pool`."""
        z_1 = self._draw_z_1(n_draws, self._noise)
        parameters = self._module.decoder(z_1)
        log_weights = torch.zeros(n_draws, dtype=torch.float64)
        cells = torch.empty(n_draws, len(self._conditions), dtype=torch.float64)
        if any(condition.values is None for condition in self._conditions):
            drawn = self._module.draw(parameters, self._noise).cpu().to(self._dtype)
        tables = self._tables(parameters)
        for cell, condition in zip(cells.T, self._conditions, strict=True):
            if condition.values is None:
                cell.copy_(drawn[:, condition.column])
                log_weights[(cell < condition.low) | (cell > condition.high)] = -math.inf
            else:
                table = tables[condition.column]
                log_weights += table.logsumexp(1).cpu()
                chosen = (table + gumbel(self._noise(table))).argmax(1).cpu()
                cell.copy_(torch.tensor(condition.values, dtype=torch.float64)[chosen])
        met = log_weights > -math.inf
        return Pool(z_1[met.to(z_1.device)], cells[met], log_weights[met], n_draws)

    def _tables(self, parameters):
        """Return ln p of each value that a condition allows, (b, n_values), by its column."""
        summary = self._likelihood.summary
        lists = {c.column: c.values for c in self._conditions if c.values is not None}
        tables: dict[int, list[Tensor]] = {}
        # The columns are independent given the latents, so one row can ask for a value of each.
        for number in range(max(map(len, lists.values()), default=0)):
            row = summary.minimum.clone()
            for column, values in lists.items():
                row[column] = values[min(number, len(values) - 1)]
            x = to_device(row, parameters.device).expand(len(parameters), -1)
            log_probs = self._likelihood.log_prob(x, parameters)
            if self._module.constants is not None:
                log_probs = self._module.constants.leave_out(log_probs)
            for column, values in lists.items():
                if number < len(values):
                    tables.setdefault(column, []).append(log_probs[:, column])
        return {column: torch.stack(table, 1) for column, table in tables.items()}


def _too_rare(pool, n_samples):
    share = pool.n_effective / pool.n_draws
    probability = f"about {share:.1g}" if share else f"less than {1 / pool.n_draws:.1g}"
    return (
        f"the conditions of given are too rare for {n_samples:,} rows: of {pool.n_draws:,} draws "
        f"of the model, {pool.n_effective:.0f} count as rows that meet all of them: a probability "
        f"of {probability}. Ask for fewer rows, allow more values or wider ranges, or leave out a "
        "condition."
    )
