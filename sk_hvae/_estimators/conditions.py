"""Conditions on samples, as users write them, in numbers."""

import math
import numbers

import numpy as np

from sk_hvae._fit.conditional import Condition
from sk_hvae.nn.spelling import did_you_mean


def conditions_of(given, schema, names, n_features):
    """Turn what users ask for into conditions on columns of numbers.

    Parameters
    ----------
    given : dict
        Name or number of a column to a value, a list or set of values, or, for a column that is
        not one of categories, a tuple (low, high) with None for an open end.
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
    if not isinstance(given, dict):
        raise TypeError(f"given must be a dict of column to value or values; got {given!r}.")
    known = list(range(n_features)) if names is None else list(names)
    if schema is not None:
        known = schema.names
    return [
        _condition(_number_of(column, known), column, wanted, schema)
        for column, wanted in given.items()
    ]


def _number_of(column, names):
    if column in names:
        if names.count(column) > 1:
            raise ValueError(f"given names the column {column!r}, but X has several of that name.")
        return names.index(column)
    if isinstance(column, numbers.Integral) and int(column) in range(len(names)):
        return int(column)
    hint = did_you_mean(column, [name for name in names if isinstance(name, str)])
    raise ValueError(f"given names the column {column!r}, but X has the columns {names}.{hint}")


def _condition(number, name, wanted, schema):
    are_categories = schema is not None and schema.columns[number].kind == "category"

    def read(value):
        return float(value) if schema is None else schema.number_of(number, value)

    try:
        if isinstance(wanted, tuple) and not are_categories:
            low, high = wanted
            return Condition(
                number,
                low=-math.inf if low is None else read(low),
                high=math.inf if high is None else read(high),
            )
        several = isinstance(wanted, (list, set, frozenset, tuple, np.ndarray))
        return Condition(number, tuple(map(read, wanted if several else [wanted])))
    except (TypeError, ValueError) as error:
        reason = str(error)
        stop = "" if reason.endswith((".", "?")) else "."
        raise ValueError(
            f"given asks column {name!r} for {wanted!r}, which it cannot have: {reason}{stop} Give "
            "a value, a list of values, or for numbers and dates a range as a tuple (low, high)."
        ) from error
