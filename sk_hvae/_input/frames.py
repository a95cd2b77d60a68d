"""Frames of pandas, polars, pyarrow and what narwhals knows else: read by column, and made anew."""

import sys
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sk_hvae._extras import import_extra
from sk_hvae._input.dtypes import restore_dtype

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

    Cells that are there stay as they are, in the types of their columns. If the two are not frames
    of the same library, the other one is returned.
    """
    holey, whole = read_frame(X), read_frame(filled)
    if holey is None or whole is None or holey.library != whole.library:
        return filled
    columns = [
        _filled(column, other.alias(column.name))
        for column, other in zip(holey.columns, whole.columns, strict=True)
    ]
    if holey.library == "pandas":
        natives = [column.to_native() for column in columns]
        frame = sys.modules["pandas"].concat(natives, axis=1)
        return frame.set_axis(X.columns, axis=1)
    import narwhals.stable.v2 as nw

    return nw.from_native(X, eager_only=True).with_columns(*columns).to_native()


def _filled(column, other):
    """Return a column with the cells of another one where its own are missing."""
    is_there = ~column.is_null()
    if column.dtype.is_float():
        is_there = is_there & ~column.is_nan().fill_null(False)
    return column if is_there.all() else column.zip_with(is_there, other)


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
        The cells: numbers, datetime64, timedelta64, or a list of Python objects with None where
        one is missing.
    dtypes : sequence of str or dict
        What `describe_dtype` has said of the columns.
    index : pandas.Index, default=None
        Labels of the rows, of a frame of pandas.
    """
    module = import_extra(library, "frames of the kind that fit was given", library)
    dtypes = [restore_dtype(dtype, library) for dtype in dtypes]
    made = [_MAKE[library](module, *pair) for pair in zip(columns, dtypes, strict=True)]
    if library == "pandas":
        frame = module.concat(made, axis=1) if made else module.DataFrame()
        frame.columns = names
        return frame if index is None else frame.set_axis(index, axis=0)
    if library == "polars":
        pairs = zip(names, made, strict=True)
        return module.DataFrame([column.alias(name) for name, column in pairs])
    return module.table(made, names=names)


def _pandas_column(pandas, cells, dtype):
    if isinstance(cells, list):
        return pandas.Series(cells, dtype=dtype)
    column = pandas.Series(cells)
    zone = getattr(dtype, "tz", None) or getattr(getattr(dtype, "pyarrow_dtype", None), "tz", None)
    if zone is not None:
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
    if isinstance(cells, list) and pyarrow.types.is_dictionary(dtype):
        return pyarrow.array(cells, dtype.value_type).dictionary_encode().cast(dtype)
    if isinstance(cells, list):
        return pyarrow.array(cells, dtype)
    return pyarrow.array(cells, from_pandas=True).cast(dtype, safe=False)


_MAKE = {"pandas": _pandas_column, "polars": _polars_column, "pyarrow": _pyarrow_column}
