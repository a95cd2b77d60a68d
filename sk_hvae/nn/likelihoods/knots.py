"""Where the knots of a monotone scale are: quantiles, and the edges of frequent values."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_hvae.nn.likelihoods.wild import tame_ends

# Knots of a column, with those beyond the data: a fixed number, so that tables of equal width have
# scales of equal shape: 50 quantiles and those of the tails, and 30 frequent values with two edges
# each.
N_KNOTS = 128
_MOST_EDGES = N_KNOTS - 2
# Quantiles, for n values the root of n: with more, knots follow what is chance, with less, they
# smooth what is there. More than 50 would leave no knots for frequent values.
_MOST_QUANTILES = 50
# In the tails, the values beyond a quantile are halved again while they are so many.
_FEWEST_IN_TAIL = 4
# A value that is half as frequent as all values between two quantiles has a segment of its own, and
# so has one that is more frequent than its neighbours lead to expect: by three standard deviations,
# and two more.
_OWN_SHARE, _DEVIATIONS, _EXTRA = 0.5, 3.0, 2.0
# In values: the mass beyond either end of the data, which is that of a value on average, and that
# of all gaps between values together.
_UNSEEN = 1.0
# Width of bins in columns without a grid, in units of the largest number: float64 still tells their
# edges from their middle.
_SMALLEST_BIN = 2.0**-40


class Knots(NamedTuple):
    """The scale of one column.

    Attributes
    ----------
    knots, scores : Tensor of shape (N_KNOTS,), float64
        Values, and normal scores; both increase.
    middles : Tensor of shape (N_KNOTS,), float64
        Score of the middle of the mass between a knot and the next.
    bin_width : float
        Width of the bins for which values stand; 0 if they stand for themselves.
    lowest, highest : Tensor of shape (), float64
        The ends of the values without wild ones.
    """

    knots: Tensor
    scores: Tensor
    middles: Tensor
    bin_width: float
    lowest: Tensor
    highest: Tensor


def find_knots(values, grid, lowest, highest):
    """Find the knots of a column.

    Parameters
    ----------
    values : Tensor of shape (n,), float64
        A sample; NaN marks a missing cell.
    grid : Tensor of shape (2,), float64
        Step in units, and units in 1, see `Marginals`; a step of 0 stands for no grid.
    lowest, highest : Tensor of shape (), float64
        The ends of all values.

    Returns
    -------
    Knots
    """
    values = values[~values.isnan()]
    ends = torch.stack((lowest, highest))
    values = torch.cat((values, ends[~torch.isin(ends, values)]))
    tame = torch.stack(tame_ends(values))
    step, units = grid.tolist()
    if step:
        # In steps from the lowest on, which are whole numbers.
        origin = (lowest * units).round()
        places, inner = ((((x * units).round() - origin) / step).round() for x in (values, tame))
        knots, scores, middles = _with_scores(*_segments(places, 1.0, inner))
        return Knots((origin + knots * step) / units, scores, middles, step / units, *tame)
    bin_width = _bin_width_without_grid(values)
    knots, scores, middles = _with_scores(*_segments(values, bin_width, tame))
    return Knots(knots, scores, middles, bin_width, *tame)


def _bin_width_without_grid(values):
    """Return the distance of the nearest two values if some occur repeatedly, else 0.

    Rounded down to a power of 2, with which no edge is rounded.
    """
    different = values.unique()
    if len(different) == len(values):
        return 0.0
    gap = max(float(different.diff().amin()), _SMALLEST_BIN * float(different.abs().amax()))
    return 2.0 ** math.floor(math.log2(gap))


def _segments(values, bin_width, tame):
    """Cut a column into segments; returns their edges, and how many values are in each.

    Wild values are in other segments than those between the ends ``tame``.
    """
    different, counts = values.unique(return_counts=True)
    left, right = different - bin_width / 2, different + bin_width / 2
    if not bin_width:
        right[:-1] = (different[:-1] + different[1:]) / 2
    last = torch.searchsorted(counts.cumsum(0), _ranks(len(values)))
    inner = _edges_of_tame(different, tame, bin_width)
    edges = _merged((left[:1], right[last], right[-1:], inner), bin_width)
    if bin_width:
        frequent = _frequent(counts, _places(different, edges), edges.diff() / bin_width)
        edges = _with_bins(edges, left, right, frequent, bin_width)
    places = _places(different, edges)
    return edges, counts.double().new_zeros(len(edges) - 1).index_add(0, places, counts.double())


def _edges_of_tame(different, tame, bin_width):
    """Return edges between the different values and wild ones, if there are any of these."""
    first, last = torch.searchsorted(different, tame).tolist()
    is_tame = different[first : last + 1]
    if len(is_tame) < 2 or len(is_tame) == len(different):
        return different[:0]
    gaps = is_tame.diff()[[0, -1]].clamp(max=bin_width or math.inf) / 2
    beyond = torch.stack((is_tame[0] - gaps[0], is_tame[-1] + gaps[1]))
    return beyond[torch.tensor([first > 0, last < len(different) - 1])]


def _ranks(n):
    """Ranks of the quantiles of n values: at equal distances, which are halved in the tails."""
    n_quantiles = min(max(round(math.sqrt(n)), 1), _MOST_QUANTILES)
    mass = n / n_quantiles
    halvings = max(0, math.floor(math.log2(mass / _FEWEST_IN_TAIL)))
    tail = mass * 0.5 ** torch.arange(halvings + 1, dtype=torch.float64)
    inner = mass * torch.arange(1, n_quantiles, dtype=torch.float64)
    return torch.cat((tail, inner, n - tail)).ceil().long()


def _merged(parts, bin_width):
    """Sort edges, and leave out those that only rounding tells from another one."""
    edges = torch.cat(parts).unique()
    is_new = torch.ones_like(edges, dtype=torch.bool)
    is_new[1:] = edges.diff() > bin_width / 2
    return edges[is_new]


def _places(different, edges):
    """Find the segment of each of the different values."""
    return (torch.searchsorted(edges, different, right=True) - 1).clamp(0, len(edges) - 2)


def _frequent(counts, places, n_bins):
    """Find the values whose bins are segments of their own, the most frequent first."""
    rows = n_bins.new_zeros(len(n_bins)).index_add(0, places, counts.double())
    expected = (rows / n_bins)[places]
    share = counts.sum() / min(max(math.sqrt(counts.sum()), 1), _MOST_QUANTILES)
    is_frequent = (counts >= _OWN_SHARE * share) | (
        counts > expected + _DEVIATIONS * expected.sqrt() + _EXTRA
    )
    order = counts.argsort(descending=True, stable=True)
    return order[is_frequent[order]]


def _with_bins(edges, left, right, frequent, bin_width):
    """Add the edges of the bins of frequent values, as many as there are knots for."""
    while True:
        more = _merged((edges, left[frequent], right[frequent]), bin_width)
        excess = len(more) - _MOST_EDGES
        if excess <= 0:
            return more
        frequent = frequent[: -((excess + 1) // 2)]


def _with_scores(edges, rows):
    """Give edges their normal scores, and go on beyond them; returns knots, scores, middles."""
    is_empty = rows == 0
    mass = rows.masked_fill(is_empty, _UNSEEN / max(1, int(is_empty.sum())))
    below = torch.cat((mass.new_zeros(1), mass.cumsum(0))) + _UNSEEN
    total = below[-1] + _UNSEEN
    scores = torch.special.ndtri(below / total)
    middles = torch.special.ndtri((below[:-1] + below[1:]) / (2 * total))
    slopes = scores.diff() / edges.diff()
    whole = (scores[-1] - scores[0]) / (edges[-1] - edges[0])
    first, last = slopes[0].clamp(max=whole), slopes[-1].clamp(max=whole)
    beyond = torch.arange(1, N_KNOTS - len(edges), dtype=torch.float64)
    knots = torch.cat((edges[:1] - 1 / first, edges, edges[-1] + beyond / last))
    all_scores = torch.cat((scores[:1] - 1, scores, scores[-1] + beyond))
    all_middles = torch.cat((scores[:1] - 0.5, middles, scores[-1] + beyond - 0.5, all_scores[-1:]))
    return knots, all_scores, all_middles
