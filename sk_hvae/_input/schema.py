"""What the columns of a frame are: learned at fit, and used to read and to make such frames."""

import datetime
import decimal
import importlib.util
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sk_hvae._extras import import_extra
from sk_hvae._input.cells import TextError, is_missing, meaning_of, numbers_of
from sk_hvae._input.dtypes import describe_dtype, dtype_of_categories, range_of, restore_dtype
from sk_hvae._input.frames import LIBRARIES, array_of, dtype_of, make_frame
from sk_hvae._input.missing_patterns import MissingPatterns
from sk_hvae._input.tables import columns_as_numbers, name_column
from sk_hvae.nn.spelling import did_you_mean

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
        The different values of a column of categories, in the order of their codes; of a column
        of numbers that are to be categories, these numbers.
    n_missing : int
        Number of cells that were missing at fit.
    hole : {"nan", "NA", "NaT"} or None
        What a missing cell is where the dtype leaves a choice, as that of objects does; None is
        Python's None, or what the dtype has.
    """

    name: Any
    dtype: Any
    kind: str
    cell: str | None
    categories: tuple[Any, ...] | None
    n_missing: int
    hole: str | None = None


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

    def check(self, largest):
        """Raise ValueError if these cannot be the columns of a fit.

        The dtypes of a library that is not installed are taken on trust until they are needed.

        Parameters
        ----------
        largest : sequence of float
            Of the numbers of each column, the largest one; of a column of categories, a code.
        """
        if len(self.columns) != len(largest):
            raise ValueError(f"the frame has {len(self.columns)} columns, and X {len(largest)}")
        for column, code in zip(self.columns, largest, strict=True):
            if column.kind == "category" and code >= len(column.categories or ()):
                raise ValueError(f"column {column.name!r} has no category of the code {code:g}")
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
        for number in self.numbers_of(["number"]):
            codes = self.columns[number].categories
            if codes is not None and unknown == "missing":
                turned[number] = _known_or_missing(turned[number], codes)
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
        try:
            numbers = np.array([codes.get(cell, -1) for cell in cells], dtype=np.int32)
        except TypeError as error:
            raise TypeError(
                f"column {name_column(number, self.names)} of X, of type {array.dtype}, cannot be "
                f"read as categories: {error}. In fit it had {_listed(column.categories)}."
            ) from error
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
        if column.kind == "category":
            return float(_code_of(value, column.categories))
        if column.kind in _TIMES and isinstance(value, str):
            value = (np.datetime64 if column.kind == "datetime" else np.timedelta64)(value)
        cells = np.empty(1, object)
        cells[0] = value
        return float(numbers_of(cells)[0])

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
    right = right and column.hole in (None, "nan", *_HOLES.values())
    right = right and type(column.n_missing) is int and type(column.dtype) in (str, dict)
    kinds = (tuple,) if is_named else (tuple, type(None))
    right = right and type(column.categories) in kinds and (is_named or _are_codes(column))
    if not right or (is_named and len(set(column.categories)) != len(column.categories)):
        raise ValueError(f"there is no such {column}")
    return column


def _are_codes(column):
    """Tell whether the categories of a column that is not of categories are numbers, or none."""
    codes = column.categories or ()
    return (column.kind == "number" or not codes) and {*map(type, codes)} <= {int, float}


def _learn(series, number, frame, reading):
    """Return what a column is."""
    dtype = dtype_of(series)
    try:
        described = _described(dtype, frame.library)
        array = array_of(series)
        different, n_missing = _different(array)
        hole = _hole(series, array, frame.library) if n_missing else None
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
        return Column(name, described, kind, None, None, n_missing, hole)
    if kind == "category":
        categories = _categories(described, different)
        return Column(name, described, kind, None, categories, n_missing, hole)
    cell = _type_of_cells(series.dtype, different)
    codes = tuple(sorted(different)) if kind == "number" and reading == "categories" else None
    return Column(name, dtype_of_categories(described), kind, cell, codes, n_missing, hole)


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
    return "nan" if isinstance(hole, float) else _HOLES.get(type(hole).__name__)


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


def _known_or_missing(numbers, codes):
    are_known = np.isin(numbers, codes)
    return numbers if are_known.all() else np.where(are_known, numbers, np.nan)


def _are_of_other_kind(cells, categories):
    """Tell whether cells are numbers where the categories are text, or the other way round."""
    is_text = [isinstance(cell, str) for cell in cells]
    was_text = [isinstance(category, str) for category in categories]
    return not any(is_text) if all(was_text) else all(is_text) and not any(was_text)


def _code_of(value, categories):
    """Return the code of a category; raises ValueError if there is no such category."""
    if value not in categories:
        known = [category for category in categories if isinstance(category, str)]
        hint = did_you_mean(value, known)
        raise ValueError(f"in fit it had the categories {_listed(categories)}.{hint}")
    return categories.index(value)


def _listed(categories):
    n_more = len(categories) - _LISTED
    more = f" and {n_more} more" if n_more > 0 else ""
    return ", ".join(map(repr, categories[:_LISTED])) + more


def _unknown_found(strange, column, name):
    listed = ", ".join(sorted(map(repr, strange))[:_LISTED])
    return (
        f"column {name} of X has the unknown categories {listed}; in fit it had "
        f"{_listed(column.categories)}. handle_unknown='missing' takes unknown categories as "
        "missing cells."
    )


def _cells_of(column, numbers):
    """Return the cells that numbers stand for, as `make_frame` takes them."""
    is_missing, hole = np.isnan(numbers), _restored_hole(column.hole)
    if column.kind == "empty":
        return [hole] * len(numbers)
    if column.kind == "category":
        names = (*column.categories, hole)  # The last one is missing.
        return [names[code] for code in np.where(is_missing, -1, numbers).astype(int).tolist()]
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


_KINDS = {
    "numbers": "number",
    "datetimes": "datetime",
    "durations": "duration",
    "times of day": "time",
}
_HOLES = {"NAType": "NA", "NaTType": "NaT"}
_FROM_NUMBER: dict[str | None, Any] = {
    None: float,
    "int": round,
    "bool": lambda number: number >= 0.5,
    "str": lambda number: f"{number:.15g}",
    "Decimal": lambda number: decimal.Decimal(f"{number:.15g}"),
}
# Python's types of cells; the first that a cell is of counts.
_PYTHON: dict[str, Any] = {
    "bool": (bool, np.bool_),
    "int": Integral,
    "str": str,
    "Decimal": decimal.Decimal,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "timedelta": datetime.timedelta,
}
_CELLS = {*_PYTHON, "datetime in UTC"}
