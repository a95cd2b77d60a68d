"""What the columns of a frame are: learned at fit, and used to read and to make such frames."""

import importlib.util
import reprlib
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from sk_hvae._input.cells import is_missing
from sk_hvae._input.column import Column, check_column
from sk_hvae._input.column_cells import cells_of
from sk_hvae._input.column_kinds import learn_column
from sk_hvae._input.dtypes import restore_dtype
from sk_hvae._input.frames import LIBRARIES, make_frame
from sk_hvae._input.later_times import read_times
from sk_hvae._input.missing_patterns import MissingPatterns
from sk_hvae._input.single_values import listed
from sk_hvae._input.tables import WITH_LIKELIHOODS, columns_as_numbers, name_column

_IF_TEXT = f"Convert the column, for example by pandas.to_numeric, or fit {WITH_LIKELIHOODS}"
# A message stays readable if it lists no more than these.
_LISTED = 5


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
            learn_column(column, number, frame, readings.get(number))
            for number, column in enumerate(frame.columns)
        ]
        return cls(frame.library, tuple(columns), len(frame.columns[0]) if columns else 0)

    @classmethod
    def from_plain(cls, plain):
        """Make a schema of what `to_plain` returned; raises ValueError if it is none."""
        library, columns, n_rows, patterns = plain
        columns = tuple(check_column(Column(*column)) for column in columns)
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

    @property
    def texts(self):
        """Numbers of the columns whose cells are no numbers."""
        return [number for number, column in enumerate(self.columns) if column.is_text]

    def numbers_of(self, kinds):
        """Return the numbers of the columns of some kinds."""
        return [number for number, column in enumerate(self.columns) if column.kind in kinds]

    def encode(self, arrays, unknown="error", zoned=()):
        """Turn the cells of columns into numbers.

        Parameters
        ----------
        arrays : sequence of ndarray
            One for each column, of any dtype.
        unknown : {"error", "missing"}, default="error"
            What categories are that were not there at fit, and text that tells no time.
        zoned : collection of int, default=()
            Numbers of the columns whose dtype has a time zone.

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
            name, kind = name_column(number, self.names), self.columns[number].kind
            if kind == "number" and array.dtype.kind in "Mm":
                raise ValueError(f"column {name} of X holds times; in fit it held numbers.")
            if kind != "number" and _are_numbers(array):
                raise ValueError(f"column {name} of X holds numbers; in fit it held {kind}s.")
        for number in self.numbers_of(["datetime"]):
            with _naming(name_column(number, self.names)):
                has_zone = number in zoned
                plain[number] = read_times(self.columns[number], plain[number], has_zone, unknown)
        turned = columns_as_numbers(plain, self.names, _IF_TEXT)
        for number in self.numbers_of(["number"]):
            if self.columns[number].categories is not None:
                turned[number] = self._known_numbers(number, turned[number], unknown)
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
                f"read as categories: {error}. In fit it had {listed(column.categories)}."
            ) from error
        is_strange = numbers < 0
        if not is_strange.any():
            return numbers.astype(np.int16) if len(codes) < 2**15 else numbers
        strange = {cells[row] for row in np.flatnonzero(is_strange)}
        strange = {cell for cell in strange if not is_missing(cell)}
        if strange and (unknown == "error" or _are_of_other_kind(strange, column.categories)):
            raise ValueError(_unknown_found(strange, column, name_column(number, self.names)))
        return np.where(is_strange, np.nan, numbers)

    def _known_numbers(self, number, cells, unknown):
        """Return the cells of a column of numbers that are categories."""
        column = self.columns[number]
        are_strange = ~(np.isin(cells, column.categories) | np.isnan(cells))
        if not are_strange.any():
            return cells
        if unknown == "error":
            strange = set(cells[are_strange].tolist())
            raise ValueError(_unknown_found(strange, column, name_column(number, self.names)))
        return np.where(are_strange, np.nan, cells)

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
        return [cells_of(column, values) for column, values in pairs]


def _are_numbers(array):
    """Tell whether an array holds any number; a column without any value may be of numbers."""
    return array.ndim == 1 and array.dtype.kind in "iuf" and not np.isnan(array).all()


@contextmanager
def _naming(name):
    """Name the column in what a ValueError says of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"column {name} of X {error}") from error


def _are_of_other_kind(cells, categories):
    """Tell whether cells are numbers where the categories are text, or the other way round."""
    is_text = [isinstance(cell, str) for cell in cells]
    was_text = [isinstance(category, str) for category in categories]
    return not any(is_text) if all(was_text) else all(is_text) and not any(was_text)


def _unknown_found(strange, column, name):
    found = ", ".join(sorted(map(reprlib.repr, strange))[:_LISTED])
    advice = "handle_unknown='missing' takes them as missing cells, unless missing='error'."
    if _are_of_other_kind(strange, column.categories):
        advice = "These are of another type, as text and numbers are; convert the column as in fit."
    return (
        f"column {name} of X has the unknown categories {found}; in fit it had "
        f"{listed(column.categories)}. {advice}"
    )
