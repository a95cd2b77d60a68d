"""Turn the cells of a column into numbers, whatever they hold; a missing cell becomes NaN."""

import datetime
import numbers

import numpy as np

# Times count from the beginning of 1970, as Python's timestamps do.
_EPOCH, _SECOND = np.datetime64(0, "s"), np.timedelta64(1, "s")
# Years and months have no fixed length in seconds.
_CALENDAR_UNITS = ("Y", "M")
_MISSING_TYPES = ("NoneType", "NAType", "NaTType", "MaskedConstant")


class TextError(ValueError):
    """A cell holds text that is no number."""

    def __init__(self, text):
        super().__init__(f"{text!r} is no number")
        self.text = text


def is_missing(cell):
    """Tell whether a cell stands for a missing value: None, NaN, NA, NaT, or a masked one."""
    return type(cell).__name__ in _MISSING_TYPES or (isinstance(cell, float) and cell != cell)


def meaning_of(column):
    """Say what the cells of a column of objects stand for: numbers, datetimes or durations.

    Raises
    ------
    ValueError, TypeError
        If no number can stand for a cell, or the cells have several meanings.
    """
    numbers_of(column)
    (meaning,) = _meanings(column)
    return meaning


def numbers_of(column):
    """Turn the cells of a column into numbers.

    Parameters
    ----------
    column : ndarray of shape (n,)
        Of any dtype. Datetimes become seconds since the beginning of 1970, in UTC where they
        have a time zone; durations become seconds, and times of day seconds since midnight. None,
        NA and NaT become NaN.

    Returns
    -------
    ndarray of shape (n,)
        The column itself if it holds numbers, else float64.

    Raises
    ------
    TextError
        If a cell is text that is no number.
    ValueError, TypeError
        If cells hold something that no number can stand for.
    """
    if column.ndim != 1:
        raise TypeError("its cells are arrays")
    kind = column.dtype.kind
    if kind in "biuf":
        return column
    if kind == "c":
        raise ValueError("Complex data not supported: pass real and imaginary parts as columns")
    if kind == "V":
        raise TypeError("raw bytes are no numbers")
    if kind in "Mm":
        return _seconds_of_array(column)
    return _numbers_of_objects(column.astype(object))


def _seconds_of_array(times):
    if times.dtype.kind == "M":
        times = times - _EPOCH
    if np.datetime_data(times.dtype)[0] in _CALENDAR_UNITS:
        raise ValueError(
            f"durations of type {times.dtype} have no fixed length: use days or seconds"
        )
    return times / _SECOND


def _numbers_of_objects(cells):
    readers = {kind: _reader(kind) for kind in {type(cell) for cell in cells}}
    meanings = _meanings(cells)
    if len(meanings) > 1:
        raise ValueError(f"{' and '.join(meanings)} in one column have no unit in common")
    return np.array([readers[type(cell)](cell) for cell in cells], dtype=float)


def _meanings(cells):
    """List the meanings of cells that are there; NaN stands for a missing cell of any kind."""
    kinds = {type(cell) for cell in cells if not is_missing(cell)}
    return sorted({_MEANINGS[_reader(kind)] for kind in kinds})


def _reader(kind):
    """Return the function that reads cells of a type."""
    if kind.__name__ in _MISSING_TYPES:
        return _missing
    if issubclass(kind, (np.datetime64, datetime.date)):
        return _seconds_since_epoch
    if issubclass(kind, (np.timedelta64, datetime.timedelta)):
        return _seconds
    if issubclass(kind, datetime.time):
        return _seconds_of_day
    if issubclass(kind, (str, bytes)):
        return _number_in_text
    if issubclass(kind, numbers.Complex) and not issubclass(kind, numbers.Real):
        raise ValueError("Complex data not supported: pass real and imaginary parts as columns")
    return _number


def _missing(_cell):
    return np.nan


def _seconds_since_epoch(cell):
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        return cell.timestamp()
    return (np.datetime64(cell) - _EPOCH) / _SECOND


def _seconds(cell):
    return _seconds_of_array(np.asarray(np.timedelta64(cell)))


def _seconds_of_day(cell):
    since_midnight = datetime.datetime.combine(datetime.date.min, cell) - datetime.datetime.min
    return since_midnight.total_seconds()


def _number_in_text(cell):
    try:
        return float(cell)
    except ValueError:
        raise TextError(cell) from None


def _number(cell):
    if isinstance(cell, np.ndarray):
        raise TypeError("a cell's argument must be a string or a real number, not an array")
    return float(cell)


# What the cells of a column stand for, by the function that reads them. A column has one meaning.
_MEANINGS = {
    _seconds_since_epoch: "datetimes",
    _seconds: "durations",
    _seconds_of_day: "times of day",
    _number: "numbers",
    _number_in_text: "numbers",
}
