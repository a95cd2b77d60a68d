"""Cells so far from all others of their column that they alone set its scale."""

import math
from typing import NamedTuple

import torch

from sk_hvae.nn.likelihoods.wild import LEAST_VARIED, LOST_SCALE, most_wild, n_before_gap

# A column is looked at closely only if its quartiles, in a sample of rows, are less than this many
# standard deviations apart; those of a Gaussian are 1.35 apart. Most tables have no such column,
# and their rows need not be read again.
_SUSPECT, _QUARTER = 0.5, 0.25
# The sample is large enough for quartiles, and takes at most 32 MB of float64.
_SAMPLED_ROWS, _SAMPLED_ELEMENTS = 2048, 2**22
# A message stays readable if it names no more than this.
_SHOWN_ROWS, _SHOWN_CELLS = 3, 3


class WildCell(NamedTuple):
    """A cell that sets the scale of its column.

    Attributes
    ----------
    row, column : int
        Where it is in X.
    value : float
        What it holds.
    distance : float
        How far it is from the median of its column, in standard deviations of the other cells.
    """

    row: int
    column: int
    value: float
    distance: float


def find_wild_cells(rows, likelihood):
    """Find the cells that alone set the scale by which their column is divided.

    If such wild cells stay in, the differences between all other cells hardly count. Cells are
    wild if

    - they are ten times as far from the median of their column as all others. The long tail of a
      skewed column has no such gap;
    - without them the scale of the column falls below a fifth of what it is;
    - they are at most 5% of the column's cells, or 3 cells of a small table;
    - at least 5% of the other cells differ from the median. So a rare flag is not wild, and
      neither are the few cells of a sparse column.

    Only columns that the likelihood divides by their spread are looked at. All rows are read only
    if a sample of them shows columns with extreme cells.

    Parameters
    ----------
    rows : Rows
        All rows.
    likelihood : Likelihood
        Adapted to them.

    Returns
    -------
    list of WildCell
        Ordered by row, then by column.
    """
    n_wild = most_wild(len(rows))
    most = max(1, min(_SAMPLED_ROWS, _SAMPLED_ELEMENTS // rows.shape[1]))
    some = rows.every(math.ceil(len(rows) / most)).cpu().double()
    columns = _suspects(likelihood, some)
    if not len(columns):
        return []
    median = some[:, columns].nanmedian(0).values
    farthest = _farthest(rows, columns, median, n_wild + 1)
    n_apart = n_before_gap(farthest.distances)
    spread = _spread(rows, columns, median, farthest.distances.gather(0, n_apart[None])[0])
    std = likelihood.summary.std
    without = std.index_copy(0, columns, spread.near)
    shrinks = likelihood.scales(without) < LOST_SCALE * likelihood.scales(std)
    lost = (spread.near > 0) & (spread.varied >= LEAST_VARIED) & shrinks[columns]
    is_wild = lost & (torch.arange(n_wild)[:, None] < n_apart)
    cells = [
        WildCell(
            int(farthest.rows[i, j]),
            int(columns[j]),
            float(farthest.values[i, j]),
            float(farthest.distances[i, j] / spread.near[j]),
        )
        for i, j in is_wild.nonzero().tolist()
    ]
    return sorted(cells)


def describe_wild_cells(cells, name_of):
    """Say which cells are wild, and what to do about them.

    Parameters
    ----------
    cells : list of WildCell
        At least one.
    name_of : callable
        Takes the number of a column, and returns how messages call it.

    Returns
    -------
    str
    """
    by_row: dict[int, list[WildCell]] = {}
    for cell in sorted(cells, key=lambda cell: -cell.distance):
        by_row.setdefault(cell.row, []).append(cell)
    shown = [
        f"row {row} has "
        + ", ".join(
            f"{cell.value:.4g} in {name_of(cell.column)} ({cell.distance:.2g} deviations)"
            for cell in found[:_SHOWN_CELLS]
        )
        + _and_more(len(found) - _SHOWN_CELLS, "column")
        for row, found in list(by_row.items())[:_SHOWN_ROWS]
    ]
    return (
        "a few cells of X are so many standard deviations of the other rows away from these that "
        "they alone make the mean and the spread of their columns, and may be mistakes: "
        f"{'; '.join(shown)}{_and_more(len(by_row) - _SHOWN_ROWS, 'row')}. Correct them, leave "
        "these rows out, or make them NaN, in an array with missing='mask'. If they are right, use "
        "Gaussian(scaling='quantile'), as a frame does by default: samples and what is filled in "
        "then keep to the other rows. With other scales, differences between the other rows may "
        "hardly count."
    )


def _and_more(n, what):
    return f", and {n} more {what}{'s' if n > 1 else ''}" if n > 0 else ""


def _suspects(likelihood, some):
    """Return the columns whose quartiles, in some rows, are much closer than their spread."""
    std = likelihood.summary.std
    is_scaled = (std > 0) & likelihood.scales(std).isfinite()
    columns = is_scaled.nonzero().flatten()
    if not len(columns):
        return columns
    values = some[:, columns].sort(0).values  # NaN come last
    last = (~values.isnan()).sum(0).clamp(min=1) - 1
    places = torch.stack((_QUARTER * last, (1 - _QUARTER) * last)).round().long()
    low, high = values.gather(0, places)
    return columns[high - low < _SUSPECT * std[columns]]


class _Farthest(NamedTuple):
    """The cells of columns that are farthest from the median, farthest first: (n, n_columns)."""

    distances: torch.Tensor
    rows: torch.Tensor
    values: torch.Tensor


class _Spread(NamedTuple):
    """Standard deviation of the near cells of columns, and the share that is not the median."""

    near: torch.Tensor
    varied: torch.Tensor


def _parts(rows, columns, median):
    """Yield columns of all rows, with their median subtracted; a missing cell is NaN."""
    for chunk in rows.chunks():
        yield chunk[:, columns.to(chunk.device)].cpu().double() - median


def _farthest(rows, columns, median, n):
    best = _Farthest(*(median.new_zeros(0, len(columns)) for _ in range(3)))
    first = 0
    for part in _parts(rows, columns, median):
        numbers = torch.arange(first, first + len(part), dtype=torch.float64)
        first += len(part)
        both = _Farthest(
            torch.cat((best.distances, part.abs().nan_to_num(0.0))),
            torch.cat((best.rows, numbers[:, None].expand_as(part))),
            torch.cat((best.values, part + median)),
        )
        order = both.distances.topk(min(n, len(both.distances)), 0).indices
        best = _Farthest(*(tensor.gather(0, order) for tensor in both))
    return best


def _spread(rows, columns, median, limit):
    """Measure the spread of the cells that are no farther from the median than a limit."""
    sums = torch.zeros(4, len(columns), dtype=torch.float64)
    for part in _parts(rows, columns, median):
        is_near = part.abs() <= limit
        near = part.masked_fill(~is_near, 0.0)
        differs = (near != 0).sum(0)
        sums += torch.stack((is_near.sum(0), differs, near.sum(0), near.square().sum(0)))
    n = sums[0].clamp(min=1)
    varied, first, second = sums[1:] / n
    return _Spread((second - first.square()).clamp(min=0).sqrt(), varied)
