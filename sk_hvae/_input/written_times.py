"""Dates and datetimes that are written as text, as in a CSV, and how they are written again.

A *form* says how: "YYYY-MM-DD"; or the same, " " or "T", and "hh:mm" or "hh:mm:ss", with a point
and an "f" for each digit of a fraction, and with "Z" or an offset from UTC such as "+02:00".
"""

import re
from datetime import UTC, datetime, timedelta

import numpy as np

_FORM = re.compile(r"YYYY-MM-DD(?:([ T])hh:mm(:ss(?:\.(f{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_TEXT = re.compile(
    r"\d{4}-\d\d-\d\d(?:([ T])\d\d:\d\d(:\d\d(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)
# In seconds since 1970: the beginning of the first and of the last day that datetimes can have.
_FIRST, _LAST = -62135596800.0, 253402214400.0
# In microseconds, which are the finest that Python's datetimes have.
_SECOND, _MINUTE, _DAY = 10**6, 60 * 10**6, 86400 * 10**6
_MOST_DIGITS = 6


def is_form(form):
    """Tell whether a value is a form."""
    if not isinstance(form, str) or _FORM.fullmatch(form) is None:
        return False
    return read_time(_example(form)) is not None


def zone_of_form(form):
    """Return the time zone of a form, or None if it has none."""
    return read_time(_example(form)).tzinfo


def form_of_all(texts):
    """Find the form in which all texts are written.

    Parameters
    ----------
    texts : list of object
        The different cells of a column, at least one.

    Returns
    -------
    str or None
        None unless all are text, tell a date or time in one form, and are written in exactly the
        same way again.
    """
    if not all(isinstance(text, str) for text in texts):
        return None
    form = _form_of(texts[0])
    if form is None or any(_form_of(text) != form for text in texts):
        return None
    moments = [read_time(text) for text in texts]
    if None in moments:
        return None
    zone = moments[0].tzinfo or UTC
    epoch = _EPOCH.replace(tzinfo=UTC)
    seconds = [(m.replace(tzinfo=zone) - epoch).total_seconds() for m in moments]
    return form if write_times(np.array(seconds), form) == texts else None


def read_time(text):
    """Read text that tells a date or time in a form, as a datetime; None if it does not."""
    if _TEXT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # such as the 30th of February
        return None


def write_times(seconds, form):
    """Write seconds since 1970 (n,), of which none is missing, in a form; returns a list of str."""
    parts = _FORM.fullmatch(form)
    if parts is None:
        raise ValueError(f"there is no form {form!r}")
    separator, of_seconds, digits, offset = parts.groups()
    n_digits = len(digits or "")
    step = _SECOND // 10 ** min(n_digits, _MOST_DIGITS) if of_seconds else _MINUTE
    step = step if separator else _DAY
    zone = zone_of_form(form)
    if zone is not None:
        seconds = seconds + zone.utcoffset(None).total_seconds()
    ticks = np.rint(np.clip(seconds, _FIRST, _LAST) * _SECOND / step).astype(int)
    moments = [_EPOCH + timedelta(microseconds=tick * step) for tick in ticks.tolist()]
    if not separator:
        return [moment.date().isoformat() for moment in moments]
    unit = "microseconds" if n_digits else "seconds" if of_seconds else "minutes"
    texts = [moment.isoformat(separator, unit) for moment in moments]
    n_more = n_digits - _MOST_DIGITS if n_digits else 0
    end = "0" * n_more + (offset or "")
    return [text[: len(text) + min(n_more, 0)] + end for text in texts]


def _form_of(text):
    """Return the form of text that looks like a date or time, else None."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    separator, of_seconds, digits, offset = found.groups()
    if not separator:
        return "YYYY-MM-DD"
    fraction = f".{'f' * len(digits)}" if digits else ""
    return f"YYYY-MM-DD{separator}hh:mm{':ss' if of_seconds else ''}{fraction}{offset or ''}"


def _example(form):
    """Return a time in a form."""
    letters = {"YYYY-MM-DD": "2000-01-01", "hh": "00", "mm": "00", "ss": "00", "f": "0"}
    for letter, digits in letters.items():
        form = form.replace(letter, digits)
    return form
