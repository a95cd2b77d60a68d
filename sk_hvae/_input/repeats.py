"""Which rows of X are copies of each other, and whether the numbers of copies mean anything."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

# Steps of the grid to which cells are rounded before rows are compared. float32 resolves 2**24, so
# that copies which differ by rounding mostly stay copies; with fewer steps, other rows become
# copies.
_STEPS = 2.0**18
# Numbers of steps that do not fit into 64 bits are cut off here. A missing cell has the number
# beyond.
_LARGEST_CODE = 2.0**62
_MISSING = -(2**62) - 1
# Odd, and with about as many ones as zeros in 64 bits; the second is one of SplitMix64's.
_MULTIPLIERS = (-0x4B47D0C5A1A6B4E9, -0x6B2FB644ECCEEE15)
# The graph over different rows is a matrix of their number squared, 32 MB here. A table of a few
# answers has fewer; repeated_rows.py in examples/benchmarks clusters such tables.
_MOST_COUNTED = 2_000


class Repeats(NamedTuple):
    """The different rows of X, in the order in which they first appear.

    Attributes
    ----------
    first : ndarray of shape (m,)
        Row number of the first copy of each different row.
    member : ndarray of shape (n,)
        Which of the different rows each row is a copy of.
    counts : ndarray of shape (m,)
        Number of copies of each different row.
    are_density : bool
        Whether the numbers of copies say where the rows are dense, as they do in tables of a few
        answers or of small counts. They do not say so in three cases: all are about equal; most
        of the different rows have a value of their own in some column, so that each is an
        individual that was repeated; or there are more than 2,000 different rows.
    """

    first: np.ndarray
    member: np.ndarray
    counts: np.ndarray
    are_density: bool

    @property
    def entropy(self):
        """Entropy, in bits, of which of the different rows a row is."""
        return float(stats.entropy(self.counts, base=2))

    @classmethod
    def among(cls, rows):
        """Find the copies among `Rows`.

        Cells are rounded to 2**18 steps over the range of their column. Rows are copies if they
        are equal then. A missing cell equals a missing cell.
        """
        low, step = _grid(rows)
        keys = np.concatenate([_keys(_codes(chunk, low, step)) for chunk in rows.chunks()])
        _, first, member, counts = np.unique(
            keys, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        order = first.argsort()
        first, member, counts = first[order], order.argsort()[member.ravel()], counts[order]
        are_density = _are_uneven(counts) and 1 < len(first) <= _MOST_COUNTED
        if are_density:
            codes = _codes(rows.take(torch.from_numpy(first)), low, step)
            are_density = not _are_individuals(codes.numpy())
        return cls(first, member, counts, are_density)


def _grid(rows):
    """Return the least value of each column, and the step to which its cells are rounded."""
    low = torch.full(rows.shape[1:], torch.inf, dtype=torch.float64)
    high = -low
    for chunk in rows.chunks():
        values = chunk.cpu().double()
        low = low.minimum(values.nan_to_num(torch.inf).amin(0))
        high = high.maximum(values.nan_to_num(-torch.inf).amax(0))
    step = (high - low) / _STEPS
    return low, torch.where((step > 0) & step.isfinite(), step, 1.0)


def _codes(x, low, step):
    """Round cells (b, n_features) to steps of the grid, as integers."""
    steps = ((x.cpu().double() - low) / step).round()
    codes = steps.nan_to_num(0.0).clamp(-_LARGEST_CODE, _LARGEST_CODE).long()
    return torch.where(steps.isnan(), _MISSING, codes)


def _keys(codes):
    """Hash rows of integers to 128 bits, (b, 2)."""
    salts = np.random.RandomState(0).randint(2**62, size=(2, codes.shape[1]))
    return torch.stack([_mixed(codes + torch.from_numpy(s)).sum(1) for s in salts], 1).numpy()


def _mixed(codes):
    """Spread every bit of an integer over all its bits, in the way of SplitMix64's last steps."""
    for multiplier in _MULTIPLIERS:
        codes = (codes ^ (codes >> 31)) * multiplier
    return codes ^ (codes >> 31)


def _are_uneven(counts):
    """Tell whether a row has at least one other copy on average.

    Counts are first divided by what they have in common: to repeat all rows changes nothing.
    """
    counts = counts / np.gcd.reduce(counts)
    return bool((counts**2).sum() >= 2 * counts.sum())


def _are_individuals(codes):
    """Tell whether most of the different rows have a value of their own in some column.

    In a single column all different rows have one, which says nothing.
    """
    alone = np.zeros(codes.shape, bool)
    for column, is_alone in zip(codes.T, alone.T, strict=True):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        is_alone[:] = counts[place] == 1
    return codes.shape[1] > 1 and bool(alone.any(1).mean() > 0.5)
