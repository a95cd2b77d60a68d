"""Conditions on samples, as users write them, in numbers."""

import math
import numbers
import reprlib
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from sk_hvae._fit.conditional import Condition
from sk_hvae._input.cells import numbers_of
from sk_hvae._input.single_values import number_of, shown
from sk_hvae.nn.spelling import did_you_mean

_FORMS = "Give a value, a list of values, or for numbers and times a range as a tuple (low, high)."


def conditions_of(given, schema, names, n_features):
    """Turn what users ask for into conditions on columns of numbers.

    Parameters
    ----------
    given : dict
        Name or number of a column to a value, several values, or, for a column that is not one of
        categories, a tuple (low, high) with None for an open end.
    schema : Schema or None
        Of the frame of the fit.
    names : sequence of str or None
        Names of the columns.
    n_features : int
        Number of columns.

    Returns
    -------
    list of Condition

    Raises
    ------
    TypeError, ValueError
        If there is no such column, or no such value; names the column.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"given must be a dict of column to value or values; got {given!r}.")
    known = list(range(n_features)) if names is None else list(names)
    if schema is not None:
        known = schema.names
    return [
        _condition(_number_of(column, known), column, wanted, schema)
        for column, wanted in given.items()
    ]


def _number_of(column, names):
    if isinstance(column, (bool, np.bool_)):
        pass  # Python takes it for 0 or 1.
    elif column in names:
        if names.count(column) > 1:
            raise ValueError(f"given names the column {column!r}, but X has several of that name.")
        return names.index(column)
    elif isinstance(column, numbers.Integral) and int(column) in range(len(names)):
        return int(column)
    hint = did_you_mean(column, [name for name in names if isinstance(name, str)])
    raise ValueError(f"given names the column {column!r}, but X has the columns {names}.{hint}")


def _condition(number, name, wanted, schema):
    column = None if schema is None else schema.columns[number]
    read = _as_number if column is None else partial(number_of, column)
    write = "{:.12g}".format if column is None else partial(shown, column)
    try:
        if isinstance(wanted, tuple):
            if column is not None and column.kind == "category":
                raise ValueError("it holds categories, which have no range; give a list")
            low, high = _ends(wanted)
            return Condition(
                number,
                low=-math.inf if low is None else read(low),
                high=math.inf if high is None else read(high),
                shown=write,
            )
        return Condition(number, tuple(map(read, _values(wanted))), shown=write)
    except (TypeError, ValueError) as error:
        end = "" if str(error)[-1:] in (".", "?") else "."
        raise ValueError(
            f"given asks column {name!r} for {reprlib.repr(wanted)}, which it cannot have: "
            f"{error}{end} {_FORMS}"
        ) from error


def _ends(wanted):
    if len(wanted) != 2:
        raise ValueError("a range has two ends, with None for an open one")
    return wanted


def _values(wanted):
    """Return the values that are asked for, one or several."""
    is_one = isinstance(wanted, (str, bytes, Mapping)) or not isinstance(wanted, Iterable)
    return [wanted] if is_one else list(wanted)


def _as_number(value):
    cell = np.empty(1, object)
    cell[0] = value
    return float(numbers_of(cell)[0])
