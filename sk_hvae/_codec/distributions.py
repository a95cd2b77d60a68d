"""Distributions of whole numbers as shares of 2**24, which a coder can use."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, final

import numpy as np

from sk_hvae._codec.elementary import normal_cdf

# Bits of the frequencies. The coder's states have 32 bits at least, of which the first 8 then say
# nothing of a symbol: it loses less than 1e-4 bits a symbol.
PRECISION = 24
TOTAL = 2**PRECISION
# The symbols of few cells are found in a table of all that they may have, of up to so many numbers.
# Bisection would spend most of its time in calling NumPy. For the same reason, a table is made for
# the next cells as well, up to more numbers.
_LARGEST_TABLE, _TABLES_AT_ONCE = 2**14, 2**18
# What every symbol has at least: one for itself, and one that rounding may take.
_FLOOR = 2


class Intervals(ABC):
    """What a coder needs of the symbols of many cells: which part of the 2**24 each of them has.

    Attributes
    ----------
    shape : tuple of int (n_stacks, n_cells)
        Of the cells.
    """

    shape: tuple[int, int]

    @abstractmethod
    def intervals(self, symbols):
        """Return where the intervals of symbols (n_stacks, n_cells) begin, and their lengths."""

    @abstractmethod
    def find(self, places, cells):
        """Find the symbols in whose intervals places (n_stacks, m) are, float64.

        Parameters
        ----------
        places : float64 array of shape (n_stacks, m)
            From 0 to 2**24 - 1.
        cells : slice
            Which of the cells they are of.

        Returns
        -------
        tuple of array of shape (n_stacks, m)
            Symbols, the beginnings of their intervals, and their lengths.
        """


class Distribution(Intervals):
    """A distribution of consecutive whole numbers, the symbols, for each of many cells.

    Attributes
    ----------
    n_symbols : int or int64 array of shape (n_stacks, n_cells)
        Number of symbols that a cell may have.
    first : int or int64 array of shape (n_stacks, n_cells), default=0
        The smallest symbol.
    """

    n_symbols: Any
    first: Any = 0
    _block = slice(0, 0)

    @abstractmethod
    def share_below(self, symbols, cells):
        """Return the probability of the symbols below given ones.

        Parameters
        ----------
        symbols : int64 array of shape (n_stacks, m)
            Also of shape (k, n_stacks, m), for k of them in each cell. Of the first symbol, and of
            others that a cell does not have, it does not matter what is returned.
        cells : slice
            Which of the cells they are of.

        Returns
        -------
        float64 array of shape (n_stacks, m)
            Never decreases with the symbol, up to rounding.
        """

    @final
    def below(self, symbols, cells):
        """Return how many of the 2**24 are of symbols below given ones, float64."""
        first, n_symbols = self._limits(cells)
        share = np.clip(self.share_below(symbols, cells), 0.0, 1.0)
        place = symbols - first
        inner = np.rint((TOTAL - _FLOOR * n_symbols) * share) + _FLOOR * place
        return np.where(place <= 0, 0.0, np.where(place >= n_symbols, TOTAL, inner))

    @final
    def intervals(self, symbols):
        every = slice(None)
        start = self.below(symbols, every)
        return start, self.below(symbols + 1, every) - start

    @final
    def find(self, places, cells):
        first, n_symbols = self._limits(cells)
        if self._most * places.size <= _LARGEST_TABLE:
            return self._look_up(places, cells)
        low, start = np.zeros(places.shape, np.int64) + first, np.zeros_like(places)
        high, end = low + n_symbols, np.full_like(places, TOTAL)
        for _ in range((self._most - 1).bit_length()):
            middle = (low + high) // 2
            below = self.below(middle, cells)
            is_right = below <= places
            low, start = np.where(is_right, middle, low), np.where(is_right, below, start)
            high, end = np.where(is_right, high, middle), np.where(is_right, end, below)
        return low, start, end - start

    def _look_up(self, places, cells):
        """Do what `find` does, by a table of the intervals of all symbols."""
        if not self._block.start <= cells.start < cells.stop <= self._block.stop:
            self._tabulate(cells)
        offset = self._block.start
        below = self._table[:, :, cells.start - offset : cells.stop - offset]
        place = (below <= places).sum(0) - 1
        stack, cell = np.arange(place.shape[0])[:, None], np.arange(place.shape[1])
        start = below[place, stack, cell]
        first, _ = self._limits(cells)
        return first + place, start, below[place + 1, stack, cell] - start

    def _tabulate(self, cells):
        """Make the table for given cells, and for those after them."""
        n_cells = max(_TABLES_AT_ONCE // (self._most * self.shape[0]), cells.stop - cells.start)
        self._block = slice(cells.start, min(cells.start + n_cells, self.shape[1]))
        first, _ = self._limits(self._block)
        self._table = self.below(first + np.arange(self._most + 1)[:, None, None], self._block)

    @cached_property
    def _most(self):
        """Number of symbols of the cell that has most of them."""
        return int(np.max(self.n_symbols))

    def _limits(self, cells):
        return [
            limit[:, cells] if isinstance(limit, np.ndarray) else limit
            for limit in (self.first, self.n_symbols)
        ]


class Bits(Distribution):
    """Bits as they are: numbers below powers of 2, all equally probable.

    Parameters
    ----------
    n_bits : int64 array of shape (n_stacks, n_cells)
        From 0 to 16.
    most : int, default=16
        How many bits there are at most.
    """

    def __init__(self, n_bits, most=16):
        self._size = np.ldexp(1.0, n_bits)
        self.shape, self.n_symbols = n_bits.shape, 2**most

    def share_below(self, symbols, cells):
        return symbols / self._size[:, cells]


class Shares(Distribution):
    """A table of the shares below each symbol.

    Parameters
    ----------
    below : float64 array of shape (n_stacks, n_cells, n_symbols)
        The first is 0.
    """

    def __init__(self, below):
        self._below = below
        self.shape, self.n_symbols = below.shape[:2], below.shape[2]

    def share_below(self, symbols, cells):
        symbols, below = np.clip(symbols, 0, self.n_symbols - 1), self._below[:, cells]
        stack, cell = np.arange(below.shape[0])[:, None], np.arange(below.shape[1])
        return below[stack, cell, symbols]


class Normal(Distribution):
    """Normal variables, rounded to a grid, as far from their means as they ever are.

    Beyond, there are no symbols: the floors of a whole grid would add up to a probability, so that
    every few hundred rows a latent would be drawn that the posterior never has.

    Parameters
    ----------
    mean, std : float64 array of shape (n_stacks, n_cells)
        In units of the grid's spacing, from its first point on.
    n_points : int
        Points of the grid.
    reach : float, default=6.0
        How many standard deviations there are symbols to either side.
    """

    def __init__(self, mean, std, n_points, reach=6.0):
        self._mean, self._std, self.shape = mean, std, mean.shape
        reach = np.ceil(reach * std)
        middle = np.rint(mean)
        self.first = np.clip(middle - reach, 0, n_points - 1).astype(np.int64)
        last = np.clip(middle + reach, 0, n_points - 1).astype(np.int64)
        self.n_symbols = last - self.first + 1

    def share_below(self, symbols, cells):
        return normal_cdf((symbols - 0.5 - self._mean[:, cells]) / self._std[:, cells])


class OrEscape(Distribution):
    """Another distribution, and one more symbol that stands for whatever it cannot code.

    Parameters
    ----------
    distribution : Distribution
        Of the other symbols. The last of them takes all that is beyond.
    escape_share : float, default=0.0
        Probability of that symbol. It takes the least that a symbol can have in any case.
    """

    def __init__(self, distribution, escape_share=0.0):
        self._inner, self._other_share = distribution, 1 - escape_share
        self.shape, self.n_symbols = distribution.shape, distribution.n_symbols + 1

    def share_below(self, symbols, cells):
        last = self._inner.n_symbols - 1
        share = self._inner.share_below(np.minimum(symbols, last), cells)
        return self._other_share * np.where(symbols > last, 1.0, share)


class Digits(Distribution):
    """A digit of whole numbers, given the digits before it.

    Parameters
    ----------
    share : callable
        Maps numbers (n_stacks, m), float64, and the slice of their cells to the probability of all
        smaller numbers.
    first : int64 array of shape (n_stacks, n_cells)
        The smallest number that has the digits before.
    width : int
        How many numbers have one digit in common.
    n_symbols : int
        Number of digits.
    is_leading : bool
        Whether there are no digits before: the first digit then takes all smaller numbers too.
    """

    # Smaller shares are differences of rounded numbers, which say nothing of the digits in them.
    _LEAST_SHARE = 1e-12

    def __init__(self, share, first, width, n_symbols, is_leading):
        self.shape, self.n_symbols = first.shape, n_symbols
        self._share, self._first, self._width = share, first.astype(np.float64), width
        self._low, self._mass = np.zeros(first.shape), np.ones(first.shape)
        if not is_leading:
            every = slice(None)
            self._low = share(self._first, every)
            self._mass = share(self._first + width * n_symbols, every) - self._low

    def share_below(self, symbols, cells):
        below = self._share(self._first[:, cells] + self._width * symbols, cells)
        mass = self._mass[:, cells]
        is_known = mass > self._LEAST_SHARE
        inside = (below - self._low[:, cells]) / np.where(is_known, mass, 1.0)
        return np.where(is_known, inside, symbols / self.n_symbols)
