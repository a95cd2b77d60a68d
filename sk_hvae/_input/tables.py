"""Tables as users have them, frames and masked arrays among them, as arrays of numbers."""

import sys

import numpy as np
from scipy import sparse

from sk_hvae._input.cells import TextError, numbers_of

# A message stays readable if it names no more columns than this.
_NAMED_AT_MOST = 5


def as_numbers(X, names=None):
    """Turn X into numbers, where scikit-learn would not do so, or would change their meaning.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of shape (n_samples, n_features)
        Datetimes become seconds since 1970, and durations become seconds. Masked cells become
        NaN, as does whatever else stands for a missing cell.
    names : sequence of str or None
        Names of the columns, for messages. A frame has its own.

    Returns
    -------
    object
        X itself if scikit-learn reads it rightly, else an ndarray.

    Raises
    ------
    ValueError, TypeError
        If X has more than two axes, or a column holds text or something else that no number can
        stand for.
    """
    refuse_more_axes(getattr(X, "shape", ()))
    if sparse.issparse(X) or isinstance(X, np.matrix):
        return X
    if _is_plain_frame(X):
        return X
    columns = _columns_of_frame(X)
    if columns is not None:
        return _side_by_side(map(np.asarray, columns), _names_of_frame(X), X.shape[0])
    array = _as_array(X)
    refuse_more_axes(array.shape)
    if array.dtype.names is not None:
        raise ValueError(
            f"X is a structured array with the fields {list(array.dtype.names)}; pass a frame, "
            "such as pandas.DataFrame(X), or numpy.lib.recfunctions.structured_to_unstructured(X)."
        )
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(array)
    elif array.dtype.kind in "biuf":
        return X
    if array.ndim != 2 or array.dtype.kind in "biuf":
        return array
    return _side_by_side(array.T, names, len(array))


def as_table(X):
    """Turn a batch of rows of pyarrow into its table; everything else stays as it is."""
    if _is_frame_of(X, "pyarrow", "RecordBatch"):
        return sys.modules["pyarrow"].Table.from_batches([X])
    if _is_frame_of(X, "polars", "LazyFrame"):
        raise TypeError("X is a LazyFrame, which has no rows yet; pass X.collect().")
    return X


def name_column(number, names):
    """Name a column in a message: by its name if it has one, else by its number."""
    return repr(names[number]) if names is not None and number < len(names) else str(number)


def name_columns(columns, names):
    """Name columns in a message; of many columns, the first few."""
    named = ", ".join(name_column(number, names) for number in columns[:_NAMED_AT_MOST])
    if len(columns) == 1:
        return f"column {named}"
    more = len(columns) - _NAMED_AT_MOST
    return f"columns [{named}]{f' and {more} more' if more > 0 else ''}"


def refuse_more_axes(shape):
    """Raise ValueError if X has more than two axes, with advice on how to pass images."""
    if len(shape) < 3:
        return
    flatten, image = "X.reshape(len(X), -1)", ("channels", "height", "width")
    if len(shape) == 3:
        image = (1, *shape[1:])
    elif looks_channels_last(shape[1:]):
        flatten = "X.transpose(0, 3, 1, 2).reshape(len(X), -1)"
        image = (shape[3], *shape[1:3])
    elif len(shape) == 4:
        image = tuple(shape[1:])
    raise ValueError(
        f"Found array with dim {len(shape)}, of shape {tuple(shape)}, where X has two axes, rows "
        f"and columns. Flatten them: {flatten}; and for images pass "
        f"image_shape=({', '.join(map(str, image))}), which is (channels, height, width)."
    )


def looks_channels_last(shape):
    """Tell whether the shape of an image looks like (height, width, channels)."""
    return len(shape) == 3 and shape[2] <= 4 < min(shape[:2])


def _names_of_frame(X):
    """Return the names of the columns of a frame, or None if they are not all text."""
    names = X.column_names if _is_frame_of(X, "pyarrow", "Table") else list(X.columns)
    return names if all(isinstance(name, str) for name in names) else None


def _columns_of_frame(X):
    """Return the columns of a frame of pandas, polars or pyarrow; None for anything else."""
    if _is_frame_of(X, "pandas", "DataFrame"):
        return [column for _, column in X.items()]
    if _is_frame_of(X, "polars", "DataFrame"):
        return X.get_columns()
    if _is_frame_of(X, "pyarrow", "Table"):
        return [_decoded(column) for column in X.columns]
    return None


def _is_frame_of(X, library, kind):
    """Tell whether X is a frame of a library; if it is, the library has been imported."""
    module = sys.modules.get(library)
    return module is not None and isinstance(X, getattr(module, kind, ()))


def _decoded(column):
    """Return a column of pyarrow without a dictionary: arrays of such columns lose their nulls."""
    is_dictionary = sys.modules["pyarrow"].types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def _is_plain_frame(X):
    """Tell whether X is a frame of pandas whose columns are all NumPy's numbers, or all sparse."""
    if not _is_frame_of(X, "pandas", "DataFrame"):
        return False
    sparse_type = sys.modules["pandas"].SparseDtype
    types = list(X.dtypes)
    numpy_numbers = all(isinstance(t, np.dtype) and t.kind in "biuf" for t in types)
    return numpy_numbers or all(isinstance(t, sparse_type) for t in types)


def _as_array(X):
    """Return an array of any dtype; a masked array if rows of a list are masked."""
    if isinstance(X, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in X):
        return np.ma.asarray(X)
    return X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)


def _unmasked(array):
    """Return a masked array as an array with the missing value of its dtype in masked cells."""
    mask, data = np.ma.getmaskarray(array), array.data
    if not mask.any():
        return data
    kind = data.dtype.kind
    if kind in "biu":
        data = data.astype(float)
    missing = {"M": np.datetime64("NaT"), "m": np.timedelta64("NaT"), "f": np.nan}
    data = data.astype(object) if data.dtype.kind not in "fMm" else data.copy()
    data[mask] = missing.get(data.dtype.kind)
    return data


def _side_by_side(columns, names, n_rows):
    """Turn columns of any dtype into numbers, and join them to a table."""
    turned, texts = [], {}
    for number, column in enumerate(columns):
        try:
            turned.append(numbers_of(column))
        except TextError as error:
            texts[number] = error.text
        except (TypeError, ValueError) as error:
            raise type(error)(_no_numbers(column, name_column(number, names), error)) from error
    if texts:
        raise ValueError(_text_found(texts, names))
    return np.column_stack(turned) if turned else np.empty((n_rows, 0))


def _no_numbers(column, name, error):
    return (
        f"column {name} of X, of type {column.dtype}, cannot be read as numbers: {error}. X takes "
        "numbers, datetimes and durations; convert the column, or leave it out."
    )


def _text_found(texts, names):
    columns = list(texts)
    first = name_column(columns[0], names)
    verb = "holds" if len(columns) == 1 else "hold"
    return (
        f"{name_columns(columns, names)} of X {verb} text: could not convert string "
        f"{texts[columns[0]]!r} in column {first} to a number. Turn text into codes with "
        f"OrdinalEncoder, which suit likelihood=[('categorical', [{first}]), ...]; or the whole "
        "table into numbers with a ColumnTransformer or skrub's TableVectorizer."
    )
