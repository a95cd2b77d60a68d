"""Datetimes in rows after fit: read as they are written, with a zone if those of fit had one."""

import datetime
import reprlib

import numpy as np

from sk_hvae._input.cells import is_missing
from sk_hvae._input.single_values import zone_of_times
from sk_hvae._input.written_times import read_time


def read_times(column, array, has_zone, unknown):
    """Read the cells of a column of datetimes.

    Parameters
    ----------
    column : Column
        What it was at fit.
    array : ndarray of shape (n,)
        Its cells, of any dtype. Text that tells a date or time in any form becomes a datetime.
    has_zone : bool
        Whether its dtype has a time zone, of which the array may know nothing.
    unknown : {"error", "missing"}
        What other text is. If there is nothing else, it is an error.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If there is other text, or if times have a zone where those of fit had none, or the
        other way round.
    """
    if array.dtype.kind == "M":
        _check_zones(column, {has_zone} if not np.isnat(array).all() else set())
        return array
    if array.dtype.kind in "biuf":
        return array
    cells = array.tolist()
    texts = {cell for cell in cells if isinstance(cell, str)}
    if texts:
        moments = {text: read_time(text) for text in texts}
        _check_texts(column, cells, moments, unknown)
        cells = [moments[cell] if isinstance(cell, str) else cell for cell in cells]
        array = np.empty(len(cells), object)
        array[:] = cells
    times = [cell for cell in cells if isinstance(cell, datetime.date) and not is_missing(cell)]
    _check_zones(column, {getattr(cell, "tzinfo", None) is not None for cell in times})
    return array


def _check_texts(column, cells, moments, unknown):
    """Raise ValueError if text that tells no time cannot be taken as missing."""
    strange = sorted(text for text, moment in moments.items() if moment is None)
    is_only_text = all(isinstance(cell, str) or is_missing(cell) for cell in cells)
    has_times = not is_only_text or len(strange) < len(moments)
    if not strange or (unknown == "missing" and has_times):
        return
    found = ", ".join(map(reprlib.repr, strange[:3]))
    advice = "Convert the column, for example by pandas.to_datetime"
    if has_times:
        advice += ", or take such cells as missing, by handle_unknown='missing'"
    written = "" if column.form is None else f", written as {column.form}"
    raise ValueError(
        f"holds text that tells no date or time, {found}; in fit it held datetimes{written}. "
        f"{advice}."
    )


def _check_zones(column, have_zones):
    """Raise ValueError unless times have a zone, or none, as those of fit."""
    zone = zone_of_times(column)
    if have_zones == {True, False}:
        raise ValueError("holds times with a time zone and without one; convert it to one of both.")
    if have_zones == {True} and zone is None:
        raise ValueError(
            "holds times with a time zone; in fit they had none. Take their zone away, for example "
            "by dt.tz_localize(None) of pandas, if the times of fit are those of the same place."
        )
    if have_zones == {False} and zone is not None:
        raise ValueError(
            f"holds times without a time zone; in fit they had the zone {zone}. Give them theirs, "
            "for example by dt.tz_localize of pandas."
        )
