"""X as users pass it, checked: numbers, names and missing cells."""

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data
from torch.utils.data import Dataset

from sk_hvae._data.memmap import memory_map
from sk_hvae._data.rows import TORCH_DTYPES, as_rows
from sk_hvae._input.frames import array_of, read_frame
from sk_hvae._input.missing_patterns import MissingPatterns
from sk_hvae._input.schema import Schema
from sk_hvae._input.tables import as_numbers, as_table, name_column, name_columns, refuse_more_axes
from sk_hvae._sklearn.fitted_state import schema_of, set_schema

# A message stays readable if it counts the cells of no more columns than this.
_COUNTED_AT_MOST = 5


def check_rows(estimator, X, *, reset, min_rows=1, allow_nan=False, readings=None, unknown="error"):
    """Validate X without reading a file into memory, and without changing a dtype of torch's.

    Parameters
    ----------
    estimator : estimator
        If ``reset``, its ``n_features_in_`` and ``feature_names_in_`` are set, and the schema of
        a frame.
    X : array-like, frame, sparse matrix or Dataset of shape (n_samples, n_features)
        Finite numbers; in a frame also text, categories and truth values, which become codes.
        float64, float32, float16, uint8, int8, int16 and bool are kept as they are; other numbers
        become float64. Datetimes become seconds since 1970, durations become seconds.
    reset : bool
        True in ``fit``; False afterwards, when X must have the columns of the fit.
    min_rows : int, default=1
        Smallest number of rows that is allowed.
    allow_nan : bool, default=False
        Whether cells may be missing: NaN, None, NA, NaT, or masked.
    readings : dict of int to {"categories", "numbers"}, default=None
        How some columns of a frame are to be read in ``fit``; the others as their dtypes say.
    unknown : {"error", "missing"}, default="error"
        What categories are that were not there in ``fit``; if no cell may be missing, an error.

    Returns
    -------
    Rows
        On the CPU.
    """
    X = as_table(X)
    frame, unknown = read_frame(X), unknown if allow_nan else "error"
    if frame is not None:
        _refuse_repeated_names(frame.names)
    if reset and frame is not None:
        set_schema(estimator, Schema.of(frame, readings or {}))
    if isinstance(X, Dataset):
        rows = _dataset_rows(X)
        few = rows.take(torch.arange(min(min_rows, len(rows)))).numpy()
        _validate(estimator, few, reset, min_rows)
    elif _is_file_of_numbers(X) and not _has_text(estimator):
        refuse_more_axes(X.shape)
        # No conversion: a file must not be copied.
        rows = as_rows(_validate(estimator, X, reset, min_rows, dtype=None, order=None))
    else:
        if schema_of(estimator) is None:
            array = _as_checked_array(estimator, X, reset, min_rows)
        else:
            array = _encoded(estimator, X, frame, reset, min_rows, unknown)
        names, schema = getattr(estimator, "feature_names_in_", None), schema_of(estimator)
        if reset and frame is not None and not allow_nan:
            _refuse_columns_without_values(schema)
        allows = "mask" if schema is None else "auto"
        _check_finite(array, allow_nan, names, np.ma.is_masked(X), allows=allows)
        if reset and allow_nan and not sparse.issparse(array):
            _refuse_empty_columns(array, names)
        return as_rows(array)
    rows.check(lambda part: _check_finite(part.cpu().numpy(), allow_nan, is_part=True))
    return rows


def _refuse_repeated_names(names):
    """Raise ValueError if several columns of a frame have one name."""
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"X has several columns of the name {repeated[0]!r}; give each a name of its own."
        )


def _is_file_of_numbers(X):
    """Tell whether X is a memory-mapped file that can be read as it is."""
    is_masked = isinstance(X, np.ma.MaskedArray)
    return not is_masked and memory_map(X) is not None and X.dtype.kind in "biuf"


def _as_checked_array(estimator, X, reset, min_rows):
    """Return X as an array or CSR matrix, after setting or checking what its columns are."""
    names = None if reset else getattr(estimator, "feature_names_in_", None)
    turned = as_numbers(X, names)
    if turned is X or isinstance(X, (list, tuple, np.ndarray)):
        return _validate(estimator, turned, reset, min_rows)
    # The frame has the names of the columns, the array of its numbers has not.
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return check_array(turned, input_name="X", estimator=estimator, **_format(min_rows))


def _encoded(estimator, X, frame, reset, min_rows, unknown):
    """Return the numbers that rows are by the schema of an estimator."""
    schema = schema_of(estimator)
    if frame is None and not _has_text(estimator):
        return _as_checked_array(estimator, X, reset, min_rows)
    if frame is None:
        X = _as_array_of_any(X)
        columns, zoned = list(X.T), ()
    else:
        columns = [array_of(column) for column in frame.columns]
        zoned = frame.zoned
    # The frame has the names of the columns, the array of its numbers has not.
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    numbers = schema.encode(columns, unknown, zoned) if columns else np.empty((X.shape[0], 0))
    if reset:
        patterns = MissingPatterns.among(np.isnan(numbers))
        set_schema(estimator, schema._replace(patterns=patterns))
    return check_array(numbers, input_name="X", estimator=estimator, **_format(min_rows))


def _has_text(estimator):
    """Tell whether an estimator was fitted to columns whose cells are no numbers."""
    schema = schema_of(estimator)
    return schema is not None and bool(schema.texts)


def _as_array_of_any(X):
    """Return rows of cells of any kind, as in a frame, as an array of two axes."""
    if isinstance(X, (list, tuple)):
        X = np.array(X, dtype=object)  # One dtype for all would make text of numbers.
    elif isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(object), None)
    return check_array(X, dtype=None, ensure_all_finite=False, input_name="X")


def _validate(estimator, X, reset, min_rows, **kwargs):
    return validate_data(estimator, X, reset=reset, **{**_format(min_rows), **kwargs})


def _format(min_rows):
    """Tell scikit-learn which arrays are wanted; `_check_finite` checks the cells itself."""
    return {
        "accept_sparse": "csr",
        "ensure_min_samples": min_rows,
        "ensure_all_finite": False,
        "dtype": TORCH_DTYPES,
        "order": "C",
    }


def _dataset_rows(dataset):
    try:
        return as_rows(dataset)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            "a Dataset as X needs a length and items by number, which are tensors, arrays, or "
            f"tuples that begin with one; got {type(dataset).__name__}: {error}. Pass the batches "
            "of an IterableDataset to partial_fit one by one."
        ) from error


def _check_finite(array, allow_nan, names=None, is_masked=False, is_part=False, allows="mask"):
    """Raise ValueError if cells are infinite, or missing where none may be.

    The message says where such cells are and how many there are. If the array is only a part of
    the rows, it names the columns alone, because the rest is not known. ``allows`` is the value of
    ``missing`` that would let cells be missing.
    """
    try:
        assert_all_finite(array.data if sparse.issparse(array) else array, allow_nan=allow_nan)
    except ValueError:
        _, missing, _ = _cells(array, np.isnan)
        if len(missing) and not allow_nan:
            kind = "masked cells" if is_masked else "NaN"
            where = name_columns(np.unique(missing), names) if is_part else _count(missing, names)
            raise ValueError(_missing_found(kind, where, allows)) from None
        rows, columns, values = _cells(array, np.isinf)
        others = f" (and {len(rows) - 1} more such cells)" if len(rows) > 1 else ""
        raise ValueError(
            f"X contains infinity: {values[0]} in {'' if is_part else f'row {rows[0]}, '}column "
            f"{name_column(columns[0], names)}{others}. Correct such cells, or make them NaN"
            f"{'' if allow_nan else f' and set missing={allows!r} before fit'}."
        ) from None


def _missing_found(kind, where, allows):
    return (
        f"X contains {kind}: {where}. missing={allows!r} takes NaN, None, NA, NaT and masked "
        "cells as missing: set it before fit, or fill the cells in."
    )


def _refuse_columns_without_values(schema):
    """Raise ValueError if columns of a frame, in which no cell may be missing, have no value."""
    empty = schema.numbers_of(["empty"])
    if empty:
        where = _count(np.repeat(empty, schema.n_rows), schema.names)
        raise ValueError(_missing_found("NaN", where, "auto"))


def _cells(array, is_sought):
    """Return rows, columns and values of the cells for which a function is true."""
    if sparse.issparse(array):
        array = array.tocoo()
        found = is_sought(array.data)
        return array.row[found], array.col[found], array.data[found]
    rows, columns = np.nonzero(is_sought(array))
    return rows, columns, array[rows, columns]


def _count(columns, names):
    """Say how many cells each column has, given the column of every cell."""
    columns, counts = np.unique(columns, return_counts=True)
    shown = [
        f"{count} in column {name_column(column, names)}"
        for column, count in zip(columns[:_COUNTED_AT_MOST], counts, strict=False)
    ]
    if len(columns) > len(shown):
        rest = counts[len(shown) :]
        shown.append(f"{rest.sum()} in {len(rest)} more columns")
    return ", ".join(shown)


def _refuse_empty_columns(array, names):
    """Raise ValueError if a column has no value at all."""
    suspects = np.flatnonzero(np.isnan(array[0]))
    empty = suspects[np.isnan(array[:, suspects]).all(axis=0)]
    if len(empty):
        found = "has no value in any row; leave it out"
        if len(empty) > 1:
            found = "have no value in any row; leave them out"
        raise ValueError(f"{name_columns(empty, names)} of X {found}.")
