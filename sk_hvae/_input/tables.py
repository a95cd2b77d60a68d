"""Tables as users have them, frames and masked arrays among them, as arrays of numbers."""

import sys

import numpy as np
from scipy import sparse

from sk_hvae._input.cells import TextError, numbers_of
from sk_hvae._input.frames import array_of, is_frame_of, is_sparse_frame, read_frame

# A message stays readable if it names no more columns than this.
_NAMED_AT_MOST = 5
# What a message advises on columns of text, of which {column} is the first.
WITH_LIKELIHOODS = (
    "with likelihood='auto', which takes text as categories, or with "
    "likelihood={{{column}: 'categorical'}}."
)
_PASS_A_FRAME = f"Pass a frame, of pandas or polars, {WITH_LIKELIHOODS}"


def as_numbers(X, names=None, if_text=_PASS_A_FRAME):
    """Turn X into numbers, where scikit-learn would not do so, or would change their meaning.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of shape (n_samples, n_features)
        Datetimes become seconds since 1970, and durations become seconds. Masked cells become
        NaN, as does whatever else stands for a missing cell.
    names : sequence of str or None
        Names of the columns, for messages. A frame has its own.
    if_text : str
        What a message advises if columns hold text; {column} stands for the first of them.

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
    frame = read_frame(X)
    if frame is not None:
        columns = map(array_of, frame.columns)
        return _side_by_side(columns, frame.text_names, X.shape[0], if_text)
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
    return _side_by_side(array.T, names, len(array), if_text)


def as_table(X):
    """Turn a batch of rows of pyarrow into its table; everything else stays as it is."""
    if is_frame_of(X, "pyarrow", "RecordBatch"):
        return sys.modules["pyarrow"].Table.from_batches([X])
    if is_frame_of(X, "polars", "LazyFrame"):
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


def _is_plain_frame(X):
    """Tell whether X is a frame of pandas that scikit-learn reads rightly.

    Its columns are all NumPy's numbers, or all sparse.
    """
    if not is_frame_of(X, "pandas", "DataFrame"):
        return False
    types = list(X.dtypes)
    numpy_numbers = all(isinstance(t, np.dtype) and t.kind in "biuf" for t in types)
    return numpy_numbers or is_sparse_frame(X)


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


def columns_as_numbers(columns, names, if_text):
    """Turn columns of any dtype into numbers.

    Parameters
    ----------
    columns : dict of int to ndarray
        Some columns of a table, by their numbers.
    names : sequence or None
        Names of all columns of the table, for messages.
    if_text : str
        What a message advises if columns hold text; {column} stands for the first of them.

    Returns
    -------
    dict of int to ndarray

    Raises
    ------
    ValueError, TypeError
        If a column holds text or something else that no number can stand for.
    """
    turned, texts = {}, {}
    for number, column in columns.items():
        try:
            turned[number] = numbers_of(column)
        except TextError as error:
            texts[number] = error.text
        except (TypeError, ValueError) as error:
            raise type(error)(_no_numbers(column, name_column(number, names), error)) from error
    if texts:
        raise ValueError(_text_found(texts, names, if_text))
    return turned


def _side_by_side(columns, names, n_rows, if_text):
    """Turn columns of any dtype into numbers, and join them to a table."""
    turned = columns_as_numbers(dict(enumerate(columns)), names, if_text)
    return np.column_stack(list(turned.values())) if turned else np.empty((n_rows, 0))


def _no_numbers(column, name, error):
    return (
        f"column {name} of X, of type {column.dtype}, cannot be read as numbers: {error}. X takes "
        "numbers, datetimes and durations; convert the column, or leave it out."
    )


def _text_found(texts, names, if_text):
    columns = list(texts)
    first = name_column(columns[0], names)
    verb = "holds" if len(columns) == 1 else "hold"
    return (
        f"{name_columns(columns, names)} of X {verb} text: could not convert string "
        f"{texts[columns[0]]!r} in column {first} to a number. {if_text.format(column=first)}"
    )
