"""Frames of pandas, polars, pyarrow and what narwhals knows else: read by column, and made anew."""

import contextlib
import datetime
import sys
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sk_hvae._extras import import_extra
from sk_hvae._input.cells import is_missing, numbers_of
from sk_hvae._input.dtypes import restore_dtype
from sk_hvae._input.written_times import form_of_all, read_time, write_times

LIBRARIES = ("pandas", "polars", "pyarrow")
"""Libraries whose frames can be made."""


class Frame(NamedTuple):
    """A frame, read.

    Attributes
    ----------
    library : str
        Name of the library that it is of, such as "pandas".
    names : list
        Of the columns; in pandas they may be anything, and may repeat.
    columns : list of narwhals.Series
        In order.
    index : pandas.Index or None
        Labels of the rows, where the library has them.
    """

    library: str
    names: list[Any]
    columns: list[Any]
    index: Any = None

    @property
    def text_names(self):
        """Names of the columns if all are text, else None; as scikit-learn's feature names."""
        return self.names if all(isinstance(name, str) for name in self.names) else None

    @property
    def zoned(self):
        """Numbers of the columns of datetimes whose dtype has a time zone."""
        return [n for n, column in enumerate(self.columns) if getattr(column.dtype, "time_zone", 0)]


def read_frame(X):
    """Read a frame; returns None for anything else, sparse frames of pandas among it.

    A frame of a library that is not named here is read as a table of pyarrow, and is one from then
    on.
    """
    if isinstance(X, (np.ndarray, list, tuple)) or sparse.issparse(X) or is_sparse_frame(X):
        return None
    import narwhals.stable.v2 as nw

    names, index = None, None
    if is_frame_of(X, "pandas", "DataFrame"):
        names, index = list(X.columns), X.index
        X = X.set_axis(range(X.shape[1]), axis=1)  # narwhals takes no name twice
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return None
    library = frame.implementation.name.lower()
    if library not in LIBRARIES:
        return read_frame(frame.to_arrow())
    return Frame(library, names or frame.columns, list(frame.iter_columns()), index)


def is_frame_of(X, library, kind):
    """Tell whether X is a frame of a library; if it is, the library has been imported."""
    module = sys.modules.get(library)
    return module is not None and isinstance(X, getattr(module, kind, ()))


def is_sparse_frame(X):
    """Tell whether X is a frame of pandas whose columns are all sparse."""
    if not is_frame_of(X, "pandas", "DataFrame"):
        return False
    sparse_type = sys.modules["pandas"].SparseDtype
    return bool(len(X.dtypes)) and all(isinstance(dtype, sparse_type) for dtype in X.dtypes)


def index_of(X):
    """Return the labels of the rows of a frame of pandas; None for anything else."""
    return X.index if is_frame_of(X, "pandas", "DataFrame") else None


def fill_holes(X, filled):
    """Return a frame with its missing cells taken from another one of the same columns.

    Cells that are there stay as they are. So do the types of columns that can hold what is filled
    in; others get the type that their library finds for their cells. The two need not be frames of
    one library. If one is no frame, the other one is returned.
    """
    holey, whole = read_frame(X), read_frame(filled)
    if holey is None or whole is None:
        return filled
    pairs = zip(holey.columns, whole.columns, strict=True)
    columns = [_filled(column, other, holey.library) for column, other in pairs]
    frame = _joined(holey.library, holey.names, columns, holey.index)
    if holey.library == "pandas":
        return frame.set_axis(X.columns, axis=1)  # which may have names themselves
    if is_frame_of(X, "pyarrow", "Table"):
        return frame.replace_schema_metadata(X.schema.metadata)
    return frame


def _filled(column, other, library):
    """Return a column, of its library, with the cells of another one where its own are missing."""
    is_there = _is_there(column)
    if is_there.all():
        return column.to_native()
    others = _as_written(_in_time_zone(other, column.dtype).to_list(), column)
    known = is_there.to_numpy() | _is_there(other).to_numpy()
    made = column
    for attempt in (_filled_in_place, _made_of_cells, _found_for_cells):
        # What libraries say of cells that a type cannot hold is as different as their names.
        with contextlib.suppress(Exception):
            made = attempt(column, is_there, others, library)
        if _is_there(made).to_numpy()[known].all():
            break
    native = made.to_native()
    return native.set_axis(column.to_native().index) if library == "pandas" else native


def _filled_in_place(column, is_there, others, library):
    return column.zip_with(is_there, _made(library, others, dtype_of(column)))


def _made_of_cells(column, is_there, others, library):
    return _made(library, _cells(column, is_there, others), dtype_of(column))


def _found_for_cells(column, is_there, others, library):
    """Let the library find a type."""
    return _made(library, _cells(column, is_there, others), None)


def _cells(column, is_there, others):
    triples = zip(is_there.to_list(), column.to_list(), others, strict=True)
    return [own if there else other for there, own, other in triples]


def _made(library, cells, dtype):
    import narwhals.stable.v2 as nw

    return nw.from_native(_MAKE[library](sys.modules[library], cells, dtype), series_only=True)


def _is_there(column):
    """Tell which cells of a column are not missing."""
    is_there = ~column.is_null()
    return is_there & ~column.is_nan().fill_null(False) if column.dtype.is_float() else is_there


def _in_time_zone(column, dtype):
    """Return a column in the time zone of a dtype, if both are of datetimes with a zone."""
    import narwhals.stable.v2 as nw

    if not all(isinstance(own, nw.Datetime) and own.time_zone for own in (dtype, column.dtype)):
        return column
    return column.dt.convert_time_zone(dtype.time_zone)


def _as_written(cells, column):
    """Return times as text if those of a column are, and text as times if those are none."""
    import narwhals.stable.v2 as nw

    if column.dtype in (nw.Datetime, nw.Date) and any(isinstance(cell, str) for cell in cells):
        times = [read_time(cell) if isinstance(cell, str) else cell for cell in cells]
        return [time and time.date() for time in times] if column.dtype == nw.Date else times
    if column.dtype not in (nw.String, nw.Object):
        return cells
    texts = {cell for cell in column.to_list() if isinstance(cell, str)}
    form = form_of_all([*texts]) if texts else None
    are_times = [isinstance(cell, datetime.date) and not is_missing(cell) for cell in cells]
    if form is None or not any(are_times):
        return cells
    moments = [cell for cell, is_time in zip(cells, are_times, strict=True) if is_time]
    written = iter(write_times(numbers_of(np.array(moments, "O")), form))
    return [next(written) if is_time else None for is_time in are_times]


def dtype_of(column):
    """Return the dtype of a column of a frame, as its library has it."""
    native = column.to_native()
    return native.type if _is_of_pyarrow(native) else native.dtype


def array_of(column):
    """Return the cells of a column of a frame as an array of any dtype."""
    native = column.to_native()
    if _is_of_pyarrow(native):
        return np.asarray(_decoded(native))
    if _has_categories_of_pandas(native):
        # Categories of whole numbers stay whole beside missing cells.
        return np.asarray(native.astype(object))
    if _has_128_bits(column.dtype):
        import narwhals.stable.v2 as nw

        return np.asarray(column.cast(nw.Float64).to_native())
    return np.asarray(native)


def _has_categories_of_pandas(native):
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(native.dtype, pandas.CategoricalDtype)


def _has_128_bits(dtype):
    """Tell whether numbers are longer than those of NumPy."""
    import narwhals.stable.v2 as nw

    return dtype in (nw.Int128, nw.UInt128)


def _is_of_pyarrow(native):
    return type(native).__module__.startswith("pyarrow")


def _decoded(column):
    """Return a column of pyarrow without a dictionary: arrays of such columns lose their nulls."""
    is_dictionary = sys.modules["pyarrow"].types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def make_frame(library, names, columns, dtypes, index=None):
    """Make a frame.

    Parameters
    ----------
    library : {"pandas", "polars", "pyarrow"}
        Which.
    names : sequence
        Of the columns.
    columns : sequence of ndarray or list
        The cells: numbers, datetime64, timedelta64, or a list of Python objects with what stands
        for a missing cell where one is missing.
    dtypes : sequence of str or dict
        What `describe_dtype` has said of the columns.
    index : pandas.Index, default=None
        Labels of the rows, of a frame of pandas.
    """
    module = import_extra(library, "frames of the kind that fit was given", library)
    dtypes = [restore_dtype(dtype, library) for dtype in dtypes]
    made = [_MAKE[library](module, *pair) for pair in zip(columns, dtypes, strict=True)]
    return _joined(library, names, made, index)


def _joined(library, names, made, index):
    """Make a frame of columns of its library."""
    module = sys.modules[library]
    if library == "pandas":
        frame = module.concat(made, axis=1) if made else module.DataFrame()
        frame.columns = module.Index(names)  # of levels, if the names are tuples
        return frame if index is None else frame.set_axis(index, axis=0)
    if library == "polars":
        pairs = zip(names, made, strict=True)
        return module.DataFrame([column.alias(name) for name, column in pairs])
    return module.table(made, names=names)


def _pandas_column(pandas, cells, dtype):
    if isinstance(cells, list):
        return pandas.Series(cells, dtype=dtype)
    if isinstance(dtype, pandas.ArrowDtype):
        column = _pyarrow_column(sys.modules["pyarrow"], cells, dtype.pyarrow_dtype)
        return pandas.Series(pandas.arrays.ArrowExtensionArray(column))
    column = pandas.Series(cells)
    if getattr(dtype, "tz", None) is not None:
        column = column.dt.tz_localize("UTC")
    return column.astype(dtype)


def _polars_column(polars, cells, dtype):
    if isinstance(cells, list):
        return polars.Series(cells, dtype=dtype, strict=False)
    column = polars.Series(cells, nan_to_null=True)
    if getattr(dtype, "time_zone", None) is not None:
        column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return column.cast(dtype)


def _pyarrow_column(pyarrow, cells, dtype):
    return pyarrow.chunked_array([_pyarrow_array(pyarrow, cells, dtype)])


def _pyarrow_array(pyarrow, cells, dtype):
    if isinstance(cells, list) and dtype is not None and pyarrow.types.is_dictionary(dtype):
        return pyarrow.array(cells, dtype.value_type).dictionary_encode().cast(dtype)
    if isinstance(cells, list):
        return pyarrow.array(cells, dtype)
    return pyarrow.array(cells, from_pandas=True).cast(dtype, safe=False)


_MAKE = {"pandas": _pandas_column, "polars": _polars_column, "pyarrow": _pyarrow_column}
