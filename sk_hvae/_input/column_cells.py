"""The cells of a column, made of the numbers that stand for them."""

import datetime
import decimal
from typing import Any

import numpy as np

from sk_hvae._extras import import_extra
from sk_hvae._input.dtypes import are_dates, range_of
from sk_hvae._input.written_times import write_times

_TIMES = {"datetime": "M8[us]", "duration": "m8[us]"}
"""Kinds of columns of times, and how their numbers turn into cells again.

Microseconds are what float64 still tells apart in seconds since 1970.
"""
_MICROSECONDS, _DAY = 1e6, 86400.0
_EPOCH = datetime.datetime(1970, 1, 1)
_FROM_NUMBER: dict[str | None, Any] = {
    None: float,
    "int": round,
    "bool": lambda number: number >= 0.5,
    "str": lambda number: f"{number:.15g}",
    "Decimal": lambda number: decimal.Decimal(f"{number:.15g}"),
}


def cells_of(column, numbers):
    """Return the cells that numbers stand for, as `make_frame` takes them."""
    is_missing, hole = np.isnan(numbers), _restored_hole(column.hole)
    if column.kind == "empty":
        return [hole] * len(numbers)
    if column.kind == "category":
        names = (*column.categories, hole)  # The last one is missing.
        return [names[code] for code in np.where(is_missing, -1, numbers).astype(int).tolist()]
    if column.form is not None:
        texts = iter(write_times(numbers[~is_missing], column.form))
        return [hole if missing else next(texts) for missing in is_missing.tolist()]
    if column.cell == "date" or are_dates(column.dtype):
        numbers = _in_whole_days(numbers)
    if column.kind in _TIMES and column.cell is None:
        return _times_of(column.kind, numbers)
    if column.kind in _TIMES:
        cells = _objects_of_times(_times_of(column.kind, numbers), column.cell)
        return [hole if cell is None else cell for cell in cells]
    is_plain = column.cell is None and column.hole is None and column.dtype != "object"
    if column.kind == "number":
        numbers = _within(numbers.astype(float), range_of(column.dtype))
    if column.kind == "number" and is_plain:
        return numbers
    make = _time_of_day if column.kind == "time" else _FROM_NUMBER[column.cell]
    pairs = zip(numbers.tolist(), is_missing.tolist(), strict=True)
    return [hole if missing else make(number) for number, missing in pairs]


def _within(numbers, ends):
    """Return numbers that a dtype can hold: the nearest ones of a range."""
    if ends is None:
        return numbers
    low, high = ends
    # float64 has no number as large as those of 64 bits, but one that is a little less.
    return np.clip(numbers, low, high if float(high) <= high else np.nextafter(float(high), 0))


def _restored_hole(name):
    """Return the missing cell of a name."""
    if name in (None, "nan"):
        return float("nan") if name else None
    return getattr(import_extra("pandas", "frames of the kind that fit was given", "pandas"), name)


def _in_whole_days(numbers):
    return np.rint(numbers.astype(float) / _DAY) * _DAY


def _times_of(kind, numbers):
    """Turn seconds into datetimes or durations of NumPy."""
    is_missing = np.isnan(numbers)
    times = np.full(len(numbers), "NaT", _TIMES[kind])
    ticks = np.rint(numbers[~is_missing].astype(float) * _MICROSECONDS).astype("i8")
    times[~is_missing] = ticks.astype(times.dtype)
    return times


def _time_of_day(seconds):
    return (_EPOCH + datetime.timedelta(seconds=seconds)).time()


def _objects_of_times(times, cell):
    objects = times.tolist()
    if cell == "date":
        return [time and time.date() for time in objects]
    if cell == "datetime in UTC":
        return [time and time.replace(tzinfo=datetime.UTC) for time in objects]
    return objects
