"""What the columns of a frame are: learned at fit, and used to read and to make such frames."""

import datetime
import decimal
import importlib.util
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sk_hvae._input.cells import TextError, is_missing, meaning_of
from sk_hvae._input.dtypes import describe_dtype, dtype_of_categories, restore_dtype
from sk_hvae._input.frames import LIBRARIES, array_of, dtype_of, make_frame
from sk_hvae._input.missing_patterns import MissingPatterns
from sk_hvae._input.tables import columns_as_numbers, name_column

# How the numbers of these kinds of columns turn into cells again. Microseconds are what float64
# still tells apart in seconds since 1970.
_TIMES = {"datetime": "M8[us]", "duration": "m8[us]"}
_MICROSECONDS = 1e6
_EPOCH = datetime.datetime(1970, 1, 1)

KINDS = ("number", "category", "datetime", "duration", "time", "empty")
"""Kinds of columns."""
# A message stays readable if it lists no more than these.
_LISTED = 5


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
        The different values of a column of categories, in the order of their codes.
    n_missing : int
        Number of cells that were missing at fit.
    """

    name: Any
    dtype: Any
    kind: str
    cell: str | None
    categories: tuple[Any, ...] | None
    n_missing: int


class Schema(NamedTuple):
    """The columns of the frame that an estimator was fitted to.

    Attributes
    ----------
    library : {"pandas", "polars", "pyarrow"}
        Which the frame was of.
    columns : tuple of Column
        In order.
    n_rows : int
        Number of rows at fit.
    patterns : MissingPatterns
        Which cells of a row were missing together at fit.
    """

    library: str
    columns: tuple[Column, ...]
    n_rows: int
    patterns: MissingPatterns = MissingPatterns()

    @classmethod
    def of(cls, frame, readings):
        """Learn what the columns of a frame are.

        Parameters
        ----------
        frame : Frame
            That of the fit.
        readings : dict of int to {"categories", "numbers"}
            How some columns are to be read, whatever is in them.

        Raises
        ------
        TypeError, ValueError
            If a column can be read neither as numbers nor as categories.
        """
        columns = [
            _learn(column, number, frame, readings.get(number))
            for number, column in enumerate(frame.columns)
        ]
        return cls(frame.library, tuple(columns), len(frame.columns[0]) if columns else 0)

    @classmethod
    def from_plain(cls, plain):
        """Make a schema of what `to_plain` returned; raises ValueError if it is none."""
        library, columns, n_rows, patterns = plain
        columns = tuple(_checked(Column(*column)) for column in columns)
        if library not in LIBRARIES or type(n_rows) is not int or n_rows < 0:
            raise ValueError(f"there is no schema of {n_rows!r} rows of {library!r}")
        return cls(library, columns, n_rows, MissingPatterns.from_plain(patterns, len(columns)))

    def to_plain(self):
        """Return tuples of plain values, and of the categories as they are."""
        return self.library, tuple(map(tuple, self.columns)), self.n_rows, tuple(self.patterns)

    def check(self, n_features):
        """Raise ValueError unless there are so many columns, of dtypes that their library has.

        The dtypes of a library that is not installed are taken on trust until they are needed.
        """
        if len(self.columns) != n_features:
            raise ValueError(f"the frame has {len(self.columns)} columns, and X {n_features}")
        if importlib.util.find_spec(self.library) is not None:
            for column in self.columns:
                restore_dtype(column.dtype, self.library)

    @property
    def names(self):
        """Names of the columns."""
        return [column.name for column in self.columns]

    @property
    def has_missing(self):
        """Whether cells were missing at fit, beside those of empty columns."""
        return any(column.n_missing for column in self.columns if column.kind != "empty")

    def numbers_of(self, kinds):
        """Return the numbers of the columns of some kinds."""
        return [number for number, column in enumerate(self.columns) if column.kind in kinds]

    def encode(self, arrays, unknown="error"):
        """Turn the cells of columns into numbers.

        Parameters
        ----------
        arrays : sequence of ndarray
            One for each column, of any dtype.
        unknown : {"error", "missing"}, default="error"
            What categories are that were not there at fit.

        Returns
        -------
        ndarray of shape (n, n_features)
            Missing cells are NaN.

        Raises
        ------
        ValueError, TypeError
            If cells are not as at fit; names the columns.
        """
        n_rows = len(arrays[0]) if len(arrays) else 0
        plain = {
            number: array
            for number, array in enumerate(arrays)
            if self.columns[number].kind not in ("category", "empty")
        }
        for number, array in plain.items():
            if self.columns[number].kind == "number" and array.dtype.kind in "Mm":
                name = name_column(number, self.names)
                raise ValueError(f"column {name} of X holds times; in fit it held numbers.")
        turned = columns_as_numbers(plain, self.names)
        for number in self.numbers_of(["category"]):
            turned[number] = self._codes(number, arrays[number], unknown)
        for number in self.numbers_of(["empty"]):
            turned[number] = np.zeros(n_rows, "i1")
        return np.column_stack([turned[number] for number in range(len(arrays))])

    def _codes(self, number, array, unknown):
        """Return the codes of the cells of a column of categories."""
        column = self.columns[number]
        codes = {category: code for code, category in enumerate(column.categories)}
        cells = array.tolist()
        numbers = np.array([codes.get(cell, -1) for cell in cells], dtype=np.int32)
        is_strange = numbers < 0
        if not is_strange.any():
            return numbers.astype(np.int16) if len(codes) < 2**15 else numbers
        strange = {cells[row] for row in np.flatnonzero(is_strange)}
        strange = {cell for cell in strange if not is_missing(cell)}
        if strange and (unknown == "error" or _are_of_other_kind(strange, column.categories)):
            raise ValueError(_unknown_found(strange, column, name_column(number, self.names)))
        return np.where(is_strange, np.nan, numbers)

    def number_of(self, number, value):
        """Turn one value of a column, given by its number, into a number.

        Raises
        ------
        TypeError, ValueError
            If the column cannot have such a value.
        """
        column = self.columns[number]
        if column.kind in _TIMES and isinstance(value, str):
            value = (np.datetime64 if column.kind == "datetime" else np.timedelta64)(value)
        cells = np.empty(1, object)
        cells[0] = value
        if column.kind == "category":
            return float(self._codes(number, cells, "error")[0])
        return float(columns_as_numbers({number: cells}, self.names)[number][0])

    def decode(self, numbers, index=None):
        """Make a frame of numbers.

        Parameters
        ----------
        numbers : ndarray of shape (n, n_features)
            As `encode` returns them; NaN is missing.
        index : pandas.Index, default=None
            Labels of the rows, for a frame of pandas.

        Returns
        -------
        frame
            With the names, dtypes and categories of the frame of the fit.
        """
        dtypes = [column.dtype for column in self.columns]
        return make_frame(self.library, self.names, self.cells(numbers), dtypes, index)

    def cells(self, numbers):
        """Turn numbers (n, n_features) into the cells of each column, arrays or lists."""
        pairs = zip(self.columns, numbers.T, strict=True)
        return [_cells_of(column, values) for column, values in pairs]


def _checked(column):
    """Return a column if its attributes are of the right kind."""
    is_named = column.kind == "category"
    right = column.kind in KINDS and column.cell in (None, *_CELLS)
    right = right and type(column.n_missing) is int and type(column.dtype) in (str, dict)
    right = right and (type(column.categories) is tuple if is_named else column.categories is None)
    if not right or (is_named and len(set(column.categories)) != len(column.categories)):
        raise ValueError(f"there is no such {column}")
    return column


def _learn(series, number, frame, reading):
    """Return what a column is."""
    dtype = dtype_of(series)
    try:
        described = _described(dtype, frame.library)
        array = array_of(series)
        different, n_missing = _different(array)
        kind = _kind_of(series.dtype, array, different, reading)
    except (TypeError, ValueError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
        raise kind_of_error(
            f"column {name_column(number, frame.names)} of X, of type {dtype}, cannot be read: "
            f"{error}. X takes numbers, text, categories, truth values, dates, times and "
            "durations; convert the column, or leave it out."
        ) from error
    name = frame.names[number]
    if kind == "empty":
        return Column(name, described, kind, None, None, n_missing)
    if kind == "category":
        return Column(name, described, kind, None, _categories(described, different), n_missing)
    cell = _type_of_cells(series.dtype, different)
    return Column(name, dtype_of_categories(described), kind, cell, None, n_missing)


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
        return _KINDS[meaning_of(cells)]
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
        next((name for name, kind in _PYTHON.items() if isinstance(cell, kind)), None)
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


def _are_of_other_kind(cells, categories):
    """Tell whether cells are numbers where the categories are text, or the other way round."""
    is_text = [isinstance(cell, str) for cell in cells]
    was_text = [isinstance(category, str) for category in categories]
    return not any(is_text) if all(was_text) else all(is_text) and not any(was_text)


def _unknown_found(strange, column, name):
    listed = ", ".join(sorted(map(repr, strange))[:_LISTED])
    known = ", ".join(map(repr, column.categories[:_LISTED]))
    n_more = len(column.categories) - _LISTED
    more = f" and {n_more} more" if n_more > 0 else ""
    return (
        f"column {name} of X has the unknown categories {listed}; in fit it had {known}{more}. "
        "handle_unknown='missing' takes unknown categories as missing cells."
    )


def _cells_of(column, numbers):
    """Return the cells that numbers stand for, as `make_frame` takes them."""
    is_missing = np.isnan(numbers)
    if column.kind == "empty":
        return [None] * len(numbers)
    if column.kind == "category":
        names = (*column.categories, None)  # The last one is missing.
        return [names[code] for code in np.where(is_missing, -1, numbers).astype(int).tolist()]
    if column.kind == "time":
        return _map(numbers, is_missing, _time_of_day)
    if column.kind in _TIMES:
        times = np.full(len(numbers), "NaT", _TIMES[column.kind])
        ticks = np.rint(numbers[~is_missing].astype(float) * _MICROSECONDS).astype("i8")
        times[~is_missing] = ticks.astype(times.dtype)
        return times if column.cell is None else _objects_of_times(times, column.cell)
    if column.cell is None:
        return numbers.astype(float)
    return _map(numbers, is_missing, _FROM_NUMBER[column.cell])


def _map(numbers, is_missing, make):
    pairs = zip(numbers.tolist(), is_missing.tolist(), strict=True)
    return [None if missing else make(number) for number, missing in pairs]


def _time_of_day(seconds):
    return (_EPOCH + datetime.timedelta(seconds=seconds)).time()


def _objects_of_times(times, cell):
    objects = times.tolist()
    if cell == "date":
        return [time and time.date() for time in objects]
    if cell == "datetime in UTC":
        return [time and time.replace(tzinfo=datetime.UTC) for time in objects]
    return objects


_KINDS = {
    "numbers": "number",
    "datetimes": "datetime",
    "durations": "duration",
    "times of day": "time",
}
_FROM_NUMBER = {
    "int": round,
    "bool": lambda number: number >= 0.5,
    "str": lambda number: f"{number:.15g}",
    "Decimal": lambda number: decimal.Decimal(f"{number:.15g}"),
}
# Python's types of cells; the first that a cell is of counts.
_PYTHON = {
    "bool": (bool, np.bool_),
    "int": Integral,
    "str": str,
    "Decimal": decimal.Decimal,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "timedelta": datetime.timedelta,
}
_CELLS = {*_PYTHON, "datetime in UTC"}
