"""Single values of a column of a frame, as people write and read them, and as numbers."""

import math
import reprlib
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from sk_hvae._input.cells import is_missing, meaning_of, numbers_of
from sk_hvae._input.column_cells import cells_of
from sk_hvae._input.column_kinds import KIND_OF_MEANING
from sk_hvae._input.dtypes import zone_of
from sk_hvae._input.written_times import zone_of_form
from sk_hvae.nn.spelling import did_you_mean

# A message stays readable if it lists no more categories than these.
_LISTED = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number_of(column, value):
    """Turn a value of a `Column` into a number; NaN if it is missing.

    A date or time without a zone is one in the zone of the column.

    Raises
    ------
    TypeError, ValueError
        If the column cannot have such a value.
    """
    if is_missing(value):
        return math.nan
    if column.kind == "empty":
        raise ValueError("in fit it had no values")
    if column.kind == "category":
        return _code_of(value, column.categories)
    if isinstance(value, (str, datetime)) and column.kind == "datetime":
        value = _datetime_of(value, zone_of_times(column))
    if isinstance(value, str) and column.kind == "time":
        value = time.fromisoformat(value)
    cell = np.empty(1, object)
    cell[0] = value
    if KIND_OF_MEANING[meaning_of(cell)] not in (column.kind, "number"):
        raise TypeError(f"in fit it held {column.kind}s")
    return float(numbers_of(cell)[0])


def shown(column, number):
    """Write a number that stands for a value of a `Column` as people read the value."""
    if column.kind == "number" or not math.isfinite(number):
        return f"{number:.12g}"
    if column.kind == "datetime" and column.form is None:
        moment = _EPOCH + timedelta(seconds=number)
        zone = zone_of_times(column)
        return str(moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone))
    cell = cells_of(column, np.array([number]))[0]
    return str(cell.item() if isinstance(cell, np.generic) else cell)


def listed(categories):
    """List categories in a message; of many, the first few."""
    n_more = len(categories) - _LISTED
    more = f" and {n_more} more" if n_more > 0 else ""
    return ", ".join(map(reprlib.repr, categories[:_LISTED])) + more


def _code_of(value, categories):
    if value in categories:
        return float(categories.index(value))
    known = [category for category in categories if isinstance(category, str)]
    hint = did_you_mean(value, known)
    raise ValueError(f"in fit it had the categories {listed(categories)}.{hint}")


def _datetime_of(value, zone):
    """Return a datetime of text or of a datetime, in a zone or, for None, without one."""
    moment = _read(value) if isinstance(value, str) else value
    if zone is None and moment.tzinfo is not None:
        raise ValueError("its times have no time zone")
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _read(text):
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return np.datetime64(text, "us").item()  # also reads "2021-03"


def zone_of_times(column):
    """Return the time zone of a `Column` of datetimes, or None if its times have none."""
    if column.form is not None:
        return zone_of_form(column.form)
    if column.cell == "datetime in UTC":
        return UTC
    name = zone_of(column.dtype)
    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, ValueError):  # such as an offset that has no name
        return UTC
