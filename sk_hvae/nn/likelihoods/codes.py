"""The different codes of columns and their counts, collected from chunks in bounded memory."""

import torch

# Different codes of a column, and of all columns: each takes 24 bytes, so that all take at most
# 240 MB. A column of more is rather a number, or names rows.
MOST_CODES, MOST_CODES_IN_ALL = 1_000_000, 10_000_000
# Beyond that float64 does not tell a whole number from the next.
LARGEST_CODE = 2**53


class CodeCounts:
    """The different values of some columns, rounded to whole numbers, and how often each occurs.

    Parameters
    ----------
    columns : sequence of int or None
        Numbers of the columns, in order; None for all.
    """

    def __init__(self, columns):
        self._columns = columns
        self._merged = no_codes()
        self._waiting = []

    def add(self, x):
        """Take in rows (b, n_features), float64, on the CPU; NaN marks a missing cell."""
        columns = range(x.shape[1]) if self._columns is None else self._columns
        self._waiting.append(_count(x, torch.as_tensor(columns, dtype=torch.int64, device="cpu")))
        # All that was merged is sorted anew each time: seldom enough to take time in proportion to
        # the data, and often enough for the memory to stay in proportion to the result.
        if sum(map(len, self._waiting)) > len(self._merged):
            self._merge()

    def table(self):
        """Return the column, the code and the count of each, (n, 3), int64; see `merge_codes`."""
        self._merge()
        return self._merged

    def _merge(self):
        self._merged = merge_codes(torch.cat((self._merged, *self._waiting)))
        self._waiting = []


def no_codes():
    """Return a table without codes, (0, 3), int64."""
    return torch.zeros(0, 3, dtype=torch.int64, device="cpu")


def merge_codes(table):
    """Merge the lines of a table (n, 3) of columns, codes and counts.

    Counts of the same column and code are added up, and the lines are sorted by both. Of each
    column at most one code more than `MOST_CODES` is kept, and of all columns likewise: enough to
    see that they are too many.
    """
    table = table[table[:, 1].argsort(stable=True)]
    table = table[table[:, 0].argsort(stable=True)]
    is_new = torch.ones(len(table), dtype=torch.bool)
    is_new[1:] = (table[1:, :2] != table[:-1, :2]).any(1)
    merged = table[is_new]
    merged[:, 2] = 0
    merged[:, 2].index_add_(0, is_new.cumsum(0) - 1, table[:, 2])
    rank = rank_in_column(merged[:, 0])
    return merged[rank <= MOST_CODES][: MOST_CODES_IN_ALL + 1]


def all_codes(maximum):
    """Return a table of all codes from 0 to the largest (n_features,) of each column.

    Their counts are not known, which is written as 0.
    """
    n_codes = maximum.round().long() + 1
    column = torch.arange(len(n_codes)).repeat_interleave(n_codes)
    return torch.stack((column, rank_in_column(column), torch.zeros_like(column)), 1)


def rank_in_column(column):
    """Return numbers from 0 for the lines of each column, given those columns (n,), sorted."""
    n_lines = column.bincount()
    return torch.arange(len(column)) - (n_lines.cumsum(0) - n_lines)[column]


def _count(x, columns):
    """Return the table of some columns of x, a LongTensor of their numbers."""
    some = x[:, columns].round().clamp(-2 * LARGEST_CODE, 2 * LARGEST_CODE)
    ordered = some.sort(0).values.T
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place, row = is_new.nonzero(as_tuple=True)
    # NaN differs from NaN: each is a run of its own.
    ends = torch.cat((place * len(x) + row, torch.tensor([ordered.numel()])))
    code = ordered[place, row]
    table = torch.stack((columns[place], code.nan_to_num(0.0).long(), ends.diff()), 1)
    return table[~code.isnan()]
