"""Distributions that are the same for all rows: tables, in which symbols are found at once."""

import numpy as np

from sk_hvae._codec.distributions import TOTAL, Intervals


class Tables:
    """Intervals of all symbols of some columns.

    Parameters
    ----------
    columns : list of Distribution
        Of one cell each.
    """

    def __init__(self, columns):
        firsts = np.array([column.first.item() for column in columns])
        ends = firsts + [column.n_symbols.item() for column in columns]
        parts = [
            column.below(np.arange(first, end + 1)[:, None, None], slice(None)).ravel()
            for column, first, end in zip(columns, firsts, ends, strict=True)
        ]
        sizes = np.array([len(part) for part in parts])
        self.below = np.concatenate(parts)
        # Where in the table the symbol 0 of each column is.
        self.zeros = np.cumsum(sizes) - sizes - firsts
        # The places of a column come after those of the columns before it.
        self.origins = TOTAL * np.arange(len(columns), dtype=np.float64)
        self.keys = self.below + np.repeat(self.origins, sizes)

    def of_rows(self, n_stacks, n_rows):
        """Return the `Intervals` of the cells of rows, ``n_rows`` of each stack."""
        return _OfRows(self, n_stacks, n_rows)


class _OfRows(Intervals):
    """Tables for the cells of rows."""

    def __init__(self, tables, n_stacks, n_rows):
        self._tables = tables
        self._columns = np.tile(np.arange(len(tables.zeros)), n_rows)
        self.shape = n_stacks, len(self._columns)

    def intervals(self, symbols):
        return self._at(self._tables.zeros[self._columns] + symbols)

    def find(self, places, cells):
        columns, tables = self._columns[cells], self._tables
        # Of the symbols that begin at a place or before it, the last one.
        index = np.searchsorted(tables.keys, tables.origins[columns] + places, "right") - 1
        return index - tables.zeros[columns], *self._at(index)

    def _at(self, index):
        below = self._tables.below
        start = below[index]
        return start, below[index + 1] - start
