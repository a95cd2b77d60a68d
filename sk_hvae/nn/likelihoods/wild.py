"""Wild values of a column: few, and so far out that the others hardly differ beside them."""

import torch

# The limits trade warnings that help against false alarms; tests/_input/test_outliers.py has
# examples of both. At most this share of a column's cells may be wild, or this many cells of a
# small table, but never more than a tenth: more cells than that are a part of the data, not a
# mistake.
_FEW_ROWS, _FEWEST_CELLS, _MOST_ROWS = 0.05, 3, 0.1
# Wild cells are this many times as far from the median as all others. The tails of skewed columns,
# such as incomes, have no such gap.
_GAP = 10.0
LOST_SCALE = 0.2
"""Without its wild cells the scale of a column falls below this share.

With them, the differences between all other cells count for less than a fifth of what they should.
"""
LEAST_VARIED = 0.05
"""At least this share of the other cells differs from the median.

In a sparse column, or in one with a rare flag, the few cells that differ are what it is about.
"""


def most_wild(n):
    """Return how many of n cells of a column may be wild."""
    few = max(_FEWEST_CELLS, int(_FEW_ROWS * n))
    return max(1, min(few, int(_MOST_ROWS * n)))


def n_before_gap(distances):
    """Count the cells of columns before the last gap in falling distances (n, n_columns)."""
    is_gap = distances[:-1] >= _GAP * distances[1:]
    numbers = torch.arange(1, len(distances))[:, None]
    return (is_gap * numbers).amax(0)


def tame_ends(values):
    """Return the smallest and the largest value that is not wild.

    Parameters
    ----------
    values : Tensor of shape (n,), float64
        Of a column, at least one.

    Returns
    -------
    tuple of Tensor of shape ()
        Those of all values if none is wild.
    """
    median = values.median()
    distances = (values - median).abs()
    farthest = distances.topk(min(most_wild(len(values)) + 1, len(values))).values
    if len(farthest) > 1:
        near = values[distances <= farthest[int(n_before_gap(farthest[:, None]))]]
        spread = float(near.std(correction=0))
        is_varied = float((near != median).double().mean()) >= LEAST_VARIED
        if is_varied and 0 < spread < LOST_SCALE * float(values.std(correction=0)):
            values = near
    return values.amin(), values.amax()
