"""The cells of rows, given the parameters of their likelihood: what every kind of data offers."""

from abc import ABC, abstractmethod
from typing import NamedTuple, final

import numpy as np

from sk_hvae._codec.distributions import Bits, Distribution, OrEscape

# A number that is coded as it is, of 64 bits, has parts of 16, the highest first. What follows the
# last that is not 0 is left out: small whole numbers then take one part, and float32 three.
_PARTS = np.arange(48, -1, -16).astype(np.uint64)
_PART_BITS, _COUNT_BITS = 16, 2


class Step(NamedTuple):
    """A part of the numbers of some columns that is coded at once.

    Attributes
    ----------
    columns : int64 array of shape (n,)
        Which columns of the likelihood.
    width : int, default=1
        What the symbol is a multiple of: 1 for the last digit of a number, or for its only one.
    base : int or None, default=None
        How many digits there are; None if the number has only one.
    is_leading : bool, default=True
        Whether it is the first digit of its numbers.
    """

    columns: np.ndarray
    width: int = 1
    base: int | None = None
    is_leading: bool = True

    def symbols(self, numbers):
        """Return the digits of numbers (n, n_features) in the columns of the step."""
        symbols = numbers[:, self.columns] // self.width
        return symbols if self.base is None else symbols % self.base


class CellCoder(ABC):
    """Codes the cells of rows as whole numbers; a cell that is none of them is coded as it is.

    Attributes
    ----------
    n_features, n_linked, n_outputs : int
        Columns of the data, columns of the link, and parameters of a row, as the likelihood has
        them.
    n_numbers : int
        About how many numbers a row takes in memory.
    steps : sequence of Step
        In the order of decoding.
    escape_share : float, default=0.0
        How probable a cell is that is none of the numbers; the least that can be by default.
    """

    n_features: int
    n_linked: int
    n_outputs: int
    n_numbers: int
    steps: list[Step]
    escape_share = 0.0

    @abstractmethod
    def link(self, x):
        """Do what the link of the likelihood does: rows (n, n_features) to (n, n_linked)."""

    @abstractmethod
    def nearest(self, x):
        """Return the numbers nearest to cells (n, n_features): from 0 on, int64."""

    @abstractmethod
    def values(self, numbers):
        """Return the cells that numbers (n, n_features) stand for, float64."""

    @abstractmethod
    def distribution(self, step, parameters, numbers, n_stacks) -> Distribution:
        """Return the distribution of a step's symbols.

        Parameters
        ----------
        step : Step
            One of ``steps``.
        parameters : float64 array of shape (n, n_outputs)
            Of the rows.
        numbers : int64 array of shape (n, n_features)
            Known as far as earlier steps tell them.
        n_stacks : int
            How many stacks the rows belong to, as many to each.
        """

    @final
    def push(self, stacks, x, parameters, active, precision):
        """Push cells.

        Parameters
        ----------
        stacks : Stacks
            The rows of the first stack come first.
        x : float64 array of shape (n, n_features)
            Rows.
        parameters : float64 array of shape (n, n_outputs)
            Of the rows.
        active : bool array of shape (n, n_features)
            Which cells are coded.
        precision : Precision
            That of the data.

        Returns
        -------
        float64 array of shape (n,)
            Bits that each row takes.
        """
        known = np.where(active, x, 0.0)
        numbers = self.nearest(known)
        escaped = active & (precision.round(self.values(numbers)) != known)
        # The decoder does not know other numbers, on which later columns may depend.
        numbers = np.where(active & ~escaped, numbers, 0)
        bits = _push_as_they_are(stacks, known, escaped)
        for step in reversed(self.steps):
            distribution = self.distribution(step, parameters, numbers, len(stacks))
            symbols, is_coded = step.symbols(numbers), active[:, step.columns]
            if step.is_leading:
                symbols = np.where(escaped[:, step.columns], distribution.n_symbols, symbols)
                distribution = OrEscape(distribution, self.escape_share)
            else:
                is_coded = is_coded & ~escaped[:, step.columns]
            shape = distribution.shape
            found = stacks.push(distribution, symbols.reshape(shape), is_coded.reshape(shape))
            bits += found.reshape(symbols.shape).sum(1)
        return bits

    @final
    def pop(self, stacks, parameters, active, precision):
        """Pop cells: the inverse of `push`; returns rows, NaN where cells are not active."""
        numbers = np.zeros(active.shape, np.int64)
        escaped = np.zeros(active.shape, bool)
        for step in self.steps:
            distribution = self.distribution(step, parameters, numbers, len(stacks))
            is_coded = active[:, step.columns]
            if step.is_leading:
                distribution = OrEscape(distribution, self.escape_share)
            else:
                is_coded = is_coded & ~escaped[:, step.columns]
            symbols, _ = stacks.pop(distribution, is_coded.reshape(distribution.shape))
            symbols = symbols.reshape(is_coded.shape)
            if step.is_leading:
                escaped[:, step.columns] = symbols == distribution.n_symbols - 1
                symbols = np.where(escaped[:, step.columns], 0, symbols)
            numbers[:, step.columns] += step.width * symbols
        x = precision.round(self.values(numbers))
        x = np.where(escaped, _pop_as_they_are(stacks, escaped), x)
        return np.where(active, x, np.nan)


class Precision(NamedTuple):
    """Which columns hold numbers of float32 only.

    Attributes
    ----------
    is_single : bool array of shape (n_features,)
        Decoded numbers of these columns are rounded to float32.
    """

    is_single: np.ndarray

    def round(self, x):
        """Round rows (n, n_features)."""
        if not self.is_single.any():
            return x
        return np.where(self.is_single, x.astype(np.float32), x)

    def of_columns(self, columns):
        """Restrict it to some columns."""
        return Precision(self.is_single[columns])


def _push_as_they_are(stacks, x, escaped):
    if not escaped.any():
        return np.zeros(len(x))
    words = np.ascontiguousarray(x, np.float64).view(np.uint64)
    parts = (words >> _PARTS[:, None, None] & np.uint64(0xFFFF)).astype(np.int64)
    last = np.where(parts > 0, np.arange(len(parts))[:, None, None], 0).max(0)
    shape = len(stacks), escaped.size // len(stacks)
    bits, whole = np.zeros(shape), Bits(np.full(shape, _PART_BITS))
    for i, part in reversed([*enumerate(parts)]):
        bits += stacks.push(whole, part.reshape(shape), (escaped & (i <= last)).reshape(shape))
    counts = Bits(np.full(shape, _COUNT_BITS), _COUNT_BITS)
    bits += stacks.push(counts, last.reshape(shape), escaped.reshape(shape))
    return bits.reshape(escaped.shape).sum(1)


def _pop_as_they_are(stacks, escaped):
    if not escaped.any():
        return np.zeros(escaped.shape)
    shape = len(stacks), escaped.size // len(stacks)
    flat, whole = escaped.reshape(shape), Bits(np.full(shape, _PART_BITS))
    last, _ = stacks.pop(Bits(np.full(shape, _COUNT_BITS), _COUNT_BITS), flat)
    words = np.zeros(shape, np.uint64)
    for i, place in enumerate(_PARTS):
        part, _ = stacks.pop(whole, flat & (i <= last))
        words |= part.astype(np.uint64) << place
    return words.view(np.float64).reshape(escaped.shape)
