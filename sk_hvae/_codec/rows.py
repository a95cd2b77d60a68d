"""Rows, given the parameters of their likelihood: each column by the coder of its kind."""

from typing import Any, NamedTuple

import numpy as np

from sk_hvae._codec.binary import BinaryCells
from sk_hvae._codec.cells import CellCoder
from sk_hvae._codec.constants import ConstantCells
from sk_hvae._codec.counts import CountCells
from sk_hvae._codec.grids import Grid, GridCells
from sk_hvae._codec.levels import LevelCells, MixedLevelCells
from sk_hvae._codec.names import NameCells
from sk_hvae._codec.networks import as_numbers
from sk_hvae.nn.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
    PerColumn,
    Poisson,
)
from sk_hvae.nn.likelihoods.refusal import ColumnError

_NOT_BINARY = (
    "likelihood='bernoulli' says how probable {:g} and {:g} are; found {:.4g}, which cannot be "
    "coded. Round X, or fit with likelihood='discretized_logistic'."
)


class _Part(NamedTuple):
    """A coder, its columns of the data, and its parameters among all."""

    coder: CellCoder
    columns: np.ndarray
    outputs: np.ndarray


class RowCoder:
    """Codes whole rows.

    Parameters
    ----------
    likelihood : Likelihood
        Of the model.
    resolution : float64 array of shape (n_features,)
        What the values of Gaussian columns are multiples of; NaN stands for the grid at fit.

    Raises
    ------
    ColumnError
        If the cells of a column cannot be coded.
    """

    def __init__(self, likelihood, resolution):
        summary = likelihood.summary
        self.n_features = len(summary.mean)
        self._varies = summary.std.numpy() > 0
        self._value = summary.minimum.numpy()
        every = np.arange(self.n_features)
        outputs = np.arange(likelihood.n_outputs)
        self._stated = Grid.of_resolution(resolution)
        grid = _with_resolution(grid_of(likelihood), self._stated)
        self._parts = [*_parts(likelihood, every, outputs, grid, self._varies)]
        constant = every[~self._varies]
        self._constants = ConstantCells(self._value[constant]), constant
        self.n_numbers = sum(part.coder.n_numbers for part in self._parts)

    def stored(self, x, precision):
        """Return rows as they will be decoded: columns of stated resolution are rounded to it."""
        return precision.round(self._stated.nearest(x))

    def check(self, x):
        """Raise ColumnError if rows have cells of which the likelihood gives no probability."""
        for part in self._parts:
            if isinstance(part.coder, BinaryCells):
                cells = x[:, part.columns]
                pair = part.coder.pair
                found = ~np.isin(cells, pair) & ~np.isnan(cells)
                if found.any():
                    column = int(part.columns[found.any(0)][0])
                    raise ColumnError(_NOT_BINARY.format(*pair, cells[found][0]), column)

    def link(self, x):
        """Map rows (n, n_features) to the scale of the link (n, n_linked); NaN is missing."""
        x = np.where(self._varies | np.isnan(x), x, self._value)
        return np.concatenate([part.coder.link(x[:, part.columns]) for part in self._parts], 1)

    def push(self, stacks, x, parameters, precision):
        """Push rows (n, n_features), but for which cells are missing; returns the bits of each."""
        present = ~np.isnan(x)
        bits = self._push_constants(stacks, x, present, precision)
        for part in reversed(self._parts):
            active = present[:, part.columns] & self._varies[part.columns]
            own = precision.of_columns(part.columns)
            cells, of_part = x[:, part.columns], parameters[:, part.outputs]
            bits += part.coder.push(stacks, cells, of_part, active, own)
        return bits

    def pop(self, stacks, parameters, present, precision):
        """Pop rows, given which of their cells (n, n_features) are present: NaN for the others."""
        x = np.empty(present.shape)
        for part in self._parts:
            active = present[:, part.columns] & self._varies[part.columns]
            own, of_part = precision.of_columns(part.columns), parameters[:, part.outputs]
            x[:, part.columns] = part.coder.pop(stacks, of_part, active, own)
        coder, columns = self._constants
        if len(columns):
            own = precision.of_columns(columns)
            x[:, columns] = coder.pop(stacks, parameters, present[:, columns], own)
        return x

    def _push_constants(self, stacks, x, present, precision):
        coder, columns = self._constants
        if not len(columns):
            return np.zeros(len(x))
        own = precision.of_columns(columns)
        return coder.push(stacks, x[:, columns], x, present[:, columns], own)


_CODERS: dict[type, Any] = {
    Bernoulli: BinaryCells,
    Categorical: NameCells,
    DiscretizedLogistic: LevelCells,
    DiscretizedLogisticMixture: MixedLevelCells,
    NegativeBinomial: CountCells,
    Poisson: CountCells,
}


def grid_of(likelihood):
    """Return the grids that a likelihood found at fit; a step of 0 where a column has none."""
    n_features = len(likelihood.summary.mean)
    step, units = np.zeros(n_features), np.ones(n_features)
    if isinstance(likelihood, PerColumn):
        for part, columns in _with_columns(likelihood):
            step[columns], units[columns], _ = grid_of(part)
    elif isinstance(likelihood, Gaussian) and likelihood.monotone is not None:
        step, units = as_numbers(likelihood.monotone.step), as_numbers(likelihood.monotone.units)
    units = np.maximum(units, 1.0)
    return Grid(step, units, np.rint(likelihood.summary.minimum.numpy() * units))


def completed(resolution, likelihood, dtype):
    """Fill in resolutions of 1 for Gaussian columns of integers that have none, and no grid."""
    if dtype[0] not in "iub":
        return resolution
    is_whole = is_gaussian(likelihood) & (grid_of(likelihood).step == 0)
    return np.where(is_whole & np.isnan(resolution), 1.0, resolution)


def is_gaussian(likelihood):
    """Tell which columns are Gaussian, (n_features,)."""
    if isinstance(likelihood, PerColumn):
        found = np.zeros(len(likelihood.summary.mean), bool)
        for part, columns in _with_columns(likelihood):
            found[columns] = is_gaussian(part)
        return found
    return np.full(len(likelihood.summary.mean), isinstance(likelihood, Gaussian))


def _with_resolution(grid, stated):
    pairs = zip(stated, grid, strict=True)
    return Grid(*(np.where(stated.step > 0, new, old) for new, old in pairs))


def _with_columns(likelihood):
    """Pair the parts of a `PerColumn` with the numbers of their columns."""
    sizes = [len(part.summary.mean) for part in likelihood.likelihoods]
    columns = np.split(likelihood.order.cpu().numpy(), np.cumsum(sizes)[:-1])
    return zip(likelihood.likelihoods, columns, strict=True)


def _parts(likelihood, columns, outputs, grid, varies):
    """Yield the parts of a likelihood, given its columns of the data and its parameters."""
    if isinstance(likelihood, PerColumn):
        n_linked = [part.n_linked for part in likelihood.likelihoods]
        n_extra = [part.n_outputs - part.n_linked for part in likelihood.likelihoods]
        ends = np.cumsum([*n_linked, *n_extra])[:-1]
        pieces = np.split(outputs, ends)
        for i, (part, own) in enumerate(_with_columns(likelihood)):
            of_part = np.append(pieces[i], pieces[len(n_linked) + i])
            yield from _parts(part, columns[own], of_part, grid, varies)
        return
    own_grid = Grid(*(of_all[columns] for of_all in grid))
    _check(likelihood, columns, own_grid, varies[columns])
    if isinstance(likelihood, Gaussian):
        yield _Part(GridCells(likelihood, own_grid), columns, outputs)
    else:
        yield _Part(_CODERS[type(likelihood)](likelihood), columns, outputs)


def _check(likelihood, columns, grid, varies):
    """Raise ColumnError if the columns of a likelihood cannot be coded."""
    if isinstance(likelihood, Gaussian):
        without = columns[varies & (grid.step == 0)]
        if len(without):
            raise ColumnError(
                "it holds real numbers that are on no grid, so that no number of bits would give "
                "them back. Say how finely they are to be kept, for example resolution=0.001, or "
                "use mode='lossy'.",
                int(without[0]),
            )
    elif type(likelihood) not in _CODERS:
        raise ColumnError(f"there is no code for likelihood {likelihood!r}.", int(columns[0]))
    elif getattr(likelihood, "exposure", None) is not None:
        raise ColumnError(
            f"{likelihood!r} needs the exposure of a row before its counts can be decoded, so that "
            "there is no code for it; fit without exposure.",
            int(columns[0]),
        )
