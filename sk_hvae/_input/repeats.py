"""Which rows of X are copies of each other, and whether their numbers mean anything."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import entropy

_STEPS = 2.0**18
_LARGEST_CODE = 2.0**62
_MISSING = -(2**62) - 1
_MULTIPLIERS = (-0x4B47D0C5A1A6B4E9, -0x6B2FB644ECCEEE15)
_MOST_COUNTED = 2_000


class Repeats(NamedTuple):
    """The different rows of X, in the order in which they first appear.

    Attributes
    ----------
    first : ndarray of shape (m,)
        Number of the first copy of each.
    member : ndarray of shape (n,)
        Which of the different rows each row is a copy of.
    counts : ndarray of shape (m,)
        Number of copies of each.
    are_density : bool
        Whether the numbers of copies say where the rows are dense, as they do in tables of a
        few answers or small counts. They do not if they are about equal, if rows that are
        repeated are individuals, most of which have a value of their own in some column, or if
        there are over 2,000.
    """

    first: np.ndarray
    member: np.ndarray
    counts: np.ndarray
    are_density: bool

    @property
    def entropy(self):
        """Bits that it takes to tell which of the different rows a row is."""
        return float(entropy(self.counts, base=2))

    @classmethod
    def among(cls, rows):
        """Find the copies among `Rows`.

        Rows are copies if no column differs by more than rounding does: a quarter of a millionth
        of the column's range, up to 16 times as much. A missing cell equals a missing cell.
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
    """Return the least value of each column, and the difference that counts as none."""
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
    """Spread every bit of integers over all of them, as the finaliser of SplitMix64 does."""
    for multiplier in _MULTIPLIERS:
        codes = (codes ^ (codes >> 31)) * multiplier
    return codes ^ (codes >> 31)


def _are_uneven(counts):
    """Tell whether a row has at least one other copy on average, if all had as few as can be."""
    counts = counts / np.gcd.reduce(counts)
    return bool((counts**2).sum() >= 2 * counts.sum())


def _are_individuals(codes):
    """Tell whether most rows have a value of their own; in one column, all different rows do."""
    alone = np.zeros(codes.shape, bool)
    for column, is_alone in zip(codes.T, alone.T, strict=True):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        is_alone[:] = counts[place] == 1
    return codes.shape[1] > 1 and bool(alone.any(1).mean() > 0.5)
