"""Whether two frames hold the same cells, whatever their libraries and dtypes."""

import numpy as np

from sk_hvae._input.cells import is_missing
from sk_hvae._input.frames import array_of, read_frame

# Cells that NumPy compares as they are.
_PLAIN_KINDS = ("biuf", "M", "m")


def first_difference(X, other, columns):
    """Find a cell in which two frames of the same columns differ.

    Parameters
    ----------
    X, other : frame
        With the same numbers of rows and columns.
    columns : sequence of int
        Which columns to compare.

    Returns
    -------
    tuple of (int, object, object, object) or None
        The row, the name of the column, and both cells.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_hvae._input.same_cells import first_difference
    >>> X = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    >>> first_difference(X, X.assign(b=[float("nan")] * 2), [0, 1])[:3]
    (0, 'b', 'x')
    """
    frame, pair = read_frame(X), read_frame(other)
    for number in columns:
        cells, others = array_of(frame.columns[number]), array_of(pair.columns[number])
        rows = np.flatnonzero(~_are_same(cells, others))
        if len(rows):
            return int(rows[0]), frame.names[number], cells[rows[0]], others[rows[0]]
    return None


def _are_same(cells, others):
    """Compare two arrays of cells, (n,); missing cells of any kind are the same."""
    for kinds in _PLAIN_KINDS:
        if cells.dtype.kind in kinds and others.dtype.kind in kinds:
            # NaN and NaT are the values that differ from themselves.
            return (cells == others) | ((cells != cells) & (others != others))
    pairs = zip(cells.astype(object), others.astype(object), strict=True)
    return np.array([_is_same(a, b) for a, b in pairs], dtype=bool)


def _is_same(cell, other):
    if is_missing(cell) or is_missing(other):
        return is_missing(cell) and is_missing(other)
    return bool(cell == other)
