"""The different codes of columns, collected from chunks of data in bounded memory."""

import torch

# Categories of a column, and of all columns. A column of more is rather a number, or names rows;
# every category takes an input and an output of the networks.
MOST_CODES, MOST_CODES_IN_ALL = 10_000, 10_000_000
# Beyond that float64 does not tell a whole number from the next.
LARGEST_CODE = 2**53


def no_codes():
    """Return no pairs of a column and a code, (0, 2), int64."""
    return torch.zeros(0, 2, dtype=torch.int64, device="cpu")


def distinct_codes(x, columns):
    """Find the different values of some columns, rounded to whole numbers.

    Parameters
    ----------
    x : Tensor of shape (b, n_features), float64
        Raw data on the CPU; NaN marks a missing cell.
    columns : sequence of int
        Numbers of the columns, in order.

    Returns
    -------
    Tensor of shape (n, 2), int64
        Pairs of a column's number and a code, sorted.
    """
    columns = torch.as_tensor(columns, dtype=torch.int64, device="cpu")
    some = x[:, columns].round().clamp(-2 * LARGEST_CODE, 2 * LARGEST_CODE)
    ordered = some.sort(0).values.T
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place, row = (is_new & ~ordered.isnan()).nonzero(as_tuple=True)
    return torch.stack((columns[place], ordered[place, row].long()), 1)


def merge_codes(codes, more):
    """Merge pairs (n, 2) of a column and a code; returns the different ones, sorted.

    Of each column at most one more than `MOST_CODES` are kept, and of all columns likewise:
    enough to see that they are too many.
    """
    if not len(more):
        return codes
    pairs = torch.cat((codes, more))
    pairs = pairs[pairs[:, 1].argsort(stable=True)]
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    is_new = torch.ones(len(pairs), dtype=torch.bool)
    is_new[1:] = (pairs[1:] != pairs[:-1]).any(1)
    pairs = pairs[is_new]
    count = pairs[:, 0].bincount()
    place = torch.arange(len(pairs)) - (count.cumsum(0) - count)[pairs[:, 0]]
    return pairs[place <= MOST_CODES][: MOST_CODES_IN_ALL + 1]


def all_codes(maximum):
    """Return the pairs of all codes from 0 to the largest (n_features,) of each column."""
    n_codes = maximum.round().long() + 1
    first = n_codes.cumsum(0) - n_codes
    column = torch.arange(len(n_codes)).repeat_interleave(n_codes)
    return torch.stack((column, torch.arange(len(column)) - first[column]), 1)
