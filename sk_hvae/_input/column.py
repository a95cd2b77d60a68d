"""What is known of a column of a frame."""

import datetime
import decimal
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sk_hvae._input.written_times import is_form

KINDS = ("number", "category", "datetime", "duration", "time", "empty")
"""Kinds of columns."""
PYTHON_TYPES: dict[str, Any] = {
    "bool": (bool, np.bool_),
    "int": Integral,
    "str": str,
    "Decimal": decimal.Decimal,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "timedelta": datetime.timedelta,
}
"""Python's types of cells; the first that a cell is of counts."""
CELLS = {*PYTHON_TYPES, "datetime in UTC"}
HOLES = {"NAType": "NA", "NaTType": "NaT"}
"""Missing cells that are not None, by the names of their types."""


class Column(NamedTuple):
    """A column of a frame.

    Attributes
    ----------
    name : object
        As the frame has it.
    dtype : str or dict
        As `describe_dtype` says it.
    kind : {"number", "category", "datetime", "duration", "time", "empty"}
        What its cells are. A column without any value is empty.
    cell : str or None
        Python's type of the cells, where the dtype alone does not tell how to make them: "int",
        "bool", "str", "Decimal", "date", "datetime", "datetime in UTC", "timedelta".
    categories : tuple or None
        The different values of a column of categories, in the order of their codes; of a column
        of numbers that are to be categories, these numbers.
    n_missing : int
        Number of cells that were missing at fit.
    hole : {"nan", "NA", "NaT"} or None
        What a missing cell is where the dtype leaves a choice, as that of objects does; None is
        Python's None, or what the dtype has.
    form : str or None
        How datetimes are written, if the cells are text, see `sk_hvae._input.written_times`.
    """

    name: Any
    dtype: Any
    kind: str
    cell: str | None
    categories: tuple[Any, ...] | None
    n_missing: int
    hole: str | None = None
    form: str | None = None

    @property
    def is_text(self):
        """Whether its cells are no numbers for those who know nothing of the column."""
        return self.kind == "category" or self.form is not None


def check_column(column):
    """Return a column if its attributes are of the right kind; else raise ValueError."""
    is_named = column.kind == "category"
    right = column.kind in KINDS and column.cell in (None, *CELLS)
    right = right and column.hole in (None, "nan", *HOLES.values())
    right = right and type(column.n_missing) is int and type(column.dtype) in (str, dict)
    right = right and (column.form is None or (column.kind == "datetime" and is_form(column.form)))
    kinds = (tuple,) if is_named else (tuple, type(None))
    right = right and type(column.categories) in kinds and (is_named or _are_codes(column))
    if not right or (is_named and len(set(column.categories)) != len(column.categories)):
        raise ValueError(f"there is no such {column}")
    return column


def _are_codes(column):
    """Tell whether the categories of a column that is not of categories are numbers, or none."""
    codes = column.categories or ()
    return (column.kind == "number" or not codes) and {*map(type, codes)} <= {int, float}
