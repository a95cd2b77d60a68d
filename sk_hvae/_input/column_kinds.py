"""What the columns of a frame are: learned at fit."""

import numpy as np

from sk_hvae._input.cells import TextError, is_missing, meaning_of
from sk_hvae._input.column import HOLES, PYTHON_TYPES, Column
from sk_hvae._input.dtypes import describe_dtype, dtype_of_categories, restore_dtype
from sk_hvae._input.frames import array_of, dtype_of
from sk_hvae._input.tables import name_column
from sk_hvae._input.written_times import form_of_all

# Of one date, or of two, categories say as much as times do.
_FEWEST_WRITTEN = 3
KIND_OF_MEANING = {
    "numbers": "number",
    "datetimes": "datetime",
    "durations": "duration",
    "times of day": "time",
}


def learn_column(series, number, frame, reading):
    """Return what a column is."""
    dtype = dtype_of(series)
    try:
        described = _described(dtype, frame.library)
        array = array_of(series)
        different, n_missing = _different(array)
        hole = _hole(series, array, frame.library) if n_missing else None
        form = _form_of_times(series.dtype, different, reading)
        kind = "datetime" if form else _kind_of(series.dtype, array, different, reading)
    except (TypeError, ValueError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
        raise kind_of_error(
            f"column {name_column(number, frame.names)} of X, of type {dtype}, cannot be read: "
            f"{error}. X takes numbers, text, categories, truth values, dates, times and "
            "durations; convert the column, or leave it out."
        ) from error
    name = frame.names[number]
    if kind == "empty":
        return Column(name, described, kind, None, None, n_missing, hole)
    if kind == "category":
        categories = _categories(described, different)
        return Column(name, described, kind, None, categories, n_missing, hole)
    cell = _type_of_cells(series.dtype, different)
    codes = tuple(sorted(different)) if kind == "number" and reading == "categories" else None
    return Column(name, dtype_of_categories(described), kind, cell, codes, n_missing, hole, form)


def _described(dtype, library):
    """Describe a dtype; raises TypeError if no column of it could be made again."""
    description = describe_dtype(dtype, library)
    try:
        restore_dtype(description, library)
    except ValueError as error:
        raise TypeError("its type is nested, or not known here") from error
    return description


def _different(array):
    """Return the different cells of a column that are there, and how many are not."""
    if array.ndim != 1:
        raise TypeError("its cells are arrays")
    if array.dtype.kind in "biufMm":
        is_missing_there = np.isnat(array) if array.dtype.kind in "Mm" else np.isnan(array)
        return np.unique(array[~is_missing_there]).tolist(), int(is_missing_there.sum())
    cells = array.tolist()
    try:
        different = set(cells)
    except TypeError:  # There are lists or dicts among them, which the kinds of cells tell.
        return [cell for cell in cells if not is_missing(cell)], sum(map(is_missing, cells))
    missing = {cell for cell in different if is_missing(cell)}
    n_missing = sum(cell in missing for cell in cells) if missing else 0
    return list(different - missing), n_missing


def _hole(series, array, library):
    """Name what the first missing cell of a column is, where its dtype leaves a choice."""
    if library != "pandas":
        return "nan" if series.dtype.is_float() and not series.null_count() else None
    if str(dtype_of(series)) != "object":
        return None
    hole = next(cell for cell in array.tolist() if is_missing(cell))
    return "nan" if isinstance(hole, float) else HOLES.get(type(hole).__name__)


def _form_of_times(dtype, different, reading):
    """Return the form of a column of text that tells dates or times, or None if it is none."""
    import narwhals.stable.v2 as nw

    if not different or dtype not in (nw.String, nw.Object) or reading == "categories":
        return None
    if reading is None and len(different) < _FEWEST_WRITTEN:
        return None
    return form_of_all(different)


def _kind_of(dtype, array, different, reading):
    """Return the kind of a column of a dtype of narwhals, whose cells are an array."""
    import narwhals.stable.v2 as nw

    if not different:
        return "empty"
    by_dtype = {nw.Datetime: "datetime", nw.Date: "datetime", nw.Duration: "duration"}
    for known, kind in {**by_dtype, nw.Time: "time"}.items():
        if dtype == known:
            return kind
    if reading == "categories":
        set(different)  # A TypeError names what cannot be a category.
        return "number" if array.dtype.kind in "iuf" and _are_whole(array) else "category"
    if dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum):
        return "category" if reading is None else _kind_of_objects(different, reading)
    if dtype.is_numeric() or array.dtype.kind in "biuf":
        return "number"
    return _kind_of_objects(different, reading)


def _are_whole(numbers):
    return bool((np.isnan(numbers) | (numbers == np.rint(numbers))).all())


def _kind_of_objects(different, reading):
    kinds = set(map(type, different))
    if reading is None and (kinds <= {bool, np.bool_} or kinds & {str, bytes}):
        return "category"
    cells = np.empty(len(different), dtype=object)
    cells[:] = different
    try:
        return KIND_OF_MEANING[meaning_of(cells)]
    except TextError:
        return "number"  # `encode` names all columns of text.
    except TypeError:
        if reading == "numbers" or any(kind.__hash__ is None for kind in kinds):
            raise
        return "category"


def _type_of_cells(dtype, different):
    """Name Python's type of the cells, where the dtype of the column does not tell it."""
    import narwhals.stable.v2 as nw

    if dtype.is_integer():
        return "int"
    if dtype not in (nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object):
        return None
    found = {
        next((name for name, kind in PYTHON_TYPES.items() if isinstance(cell, kind)), None)
        for cell in different
    }
    if found == {"datetime"} and any(cell.tzinfo is not None for cell in different):
        return "datetime in UTC"
    return found.pop() if len(found) == 1 else None


def _categories(described, different):
    """Return the different values of a column: in the order of its dtype, or sorted."""
    different = [cell.item() if isinstance(cell, np.generic) else cell for cell in different]
    if isinstance(described, dict) and "categories" in described:
        different = set(different)
        return tuple(category for category in described["categories"] if category in different)
    try:
        return tuple(sorted(different))
    except TypeError:
        return tuple(sorted(different, key=lambda cell: (type(cell).__name__, str(cell))))
