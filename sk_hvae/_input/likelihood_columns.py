"""The columns of a list of likelihoods, as ColumnTransformer takes them, in numbers."""

import numbers

import numpy as np
import torch

from sk_hvae.nn.likelihoods import Likelihood, PerColumn, check_cover
from sk_hvae.nn.likelihoods import resolve as likelihood_of
from sk_hvae.nn.spelling import did_you_mean


def resolve_likelihood(likelihood, X, names, n_features):
    """Return a new likelihood from what the estimators take.

    Parameters
    ----------
    likelihood : str, Likelihood or list of (likelihood, columns)
        Objects are left alone. Columns as in ColumnTransformer: an int or str, a sequence of
        them, a slice of either, a boolean mask, or a function of X that returns any of these.
        A part without columns is left out.
    X : object
        As the user passed it, because functions that choose columns expect it so.
    names : sequence of str or None
        Names of the columns of X.
    n_features : int
        Number of columns of X.

    Returns
    -------
    Likelihood
        In a `PerColumn`, columns are numbers from 0.

    Raises
    ------
    ValueError
        If a part has a column that is not in X, or a column of X is not in exactly one part.
    """
    parts = _parts(likelihood)
    if parts is None:
        return likelihood_of(likelihood)
    try:
        pairs = [(part, columns) for part, columns in parts]
    except (TypeError, ValueError):
        raise ValueError(
            "a list as likelihood must hold pairs of a likelihood and its columns, for example "
            f"[('gaussian', [0, 1]), ('bernoulli', [2])]; got {likelihood!r}."
        ) from None
    names = None if names is None else list(names)
    numbered = [(part, _column_numbers(columns, X, names, n_features)) for part, columns in pairs]
    check_cover([number for _, columns in numbered for number in columns], n_features, names)
    return likelihood_of([(part, columns) for part, columns in numbered if columns])


def has_plain_columns(likelihood):
    """Tell whether a file can hold the columns of a likelihood as the user gave them."""
    return all(
        isinstance(column, str) or (isinstance(column, int) and not isinstance(column, bool))
        for _, columns in _parts(likelihood) or ()
        for column in (columns if isinstance(columns, (list, tuple, range)) else [columns])
    )


def _parts(likelihood):
    """Return the parts of a likelihood, or None if it has none."""
    if isinstance(likelihood, PerColumn):
        return likelihood.parts
    return None if isinstance(likelihood, (str, Likelihood)) else likelihood


def _column_numbers(columns, X, names, n_features):
    """Return the numbers of columns in a list; those beyond the last column stay as they are."""
    if callable(columns):
        columns = columns(X)
    if isinstance(columns, slice):
        return list(range(n_features)[_slice_of_numbers(columns, names)])
    try:
        keys = [columns] if isinstance(columns, str) else list(columns)
    except TypeError:
        keys = [columns]
    # Numbers of NumPy and torch become Python's, so that a truth value can be told from 0 and 1.
    keys = [key.item() if isinstance(key, (np.generic, torch.Tensor)) else key for key in keys]
    if keys and all(isinstance(key, bool) for key in keys) and not isinstance(columns, bool):
        return _of_mask(keys, n_features)
    if not all(_is_number(key) or isinstance(key, str) for key in keys):
        raise ValueError(
            "the columns of a part must be an int or a sequence of int, a name or a sequence of "
            "names, a slice, a boolean mask, or a function of X that returns one of these; got "
            f"{columns!r}."
        )
    known = _numbers_by_name([key for key in keys if isinstance(key, str)], names)
    return [
        known[key] if isinstance(key, str) else key % n_features if -n_features <= key < 0 else key
        for key in keys
    ]


def _slice_of_numbers(columns, names):
    """Turn a slice of names, which includes both of its ends, into a slice of numbers."""
    ends = [end for end in (columns.start, columns.stop) if end is not None]
    if all(map(_is_number, ends)):
        return columns
    if not all(isinstance(end, str) for end in ends) or columns.step not in (None, 1):
        raise ValueError(
            f"a slice of columns must have numbers, or names and no step, in it; got {columns!r}."
        )
    known = _numbers_by_name(ends, names)
    start = None if columns.start is None else known[columns.start]
    stop = None if columns.stop is None else known[columns.stop] + 1
    return slice(start, stop)


def _of_mask(mask, n_features):
    if len(mask) != n_features:
        raise ValueError(
            f"a boolean mask as columns of a likelihood must have one entry for each of the "
            f"{n_features} columns of X; got {len(mask)} entries."
        )
    return [number for number, is_chosen in enumerate(mask) if is_chosen]


def _is_number(key):
    return isinstance(key, numbers.Integral) and not isinstance(key, bool)


def _numbers_by_name(wanted, names):
    """Return the number of each wanted name; raise ValueError for a name that is not there."""
    if not wanted:
        return {}
    if names is None:
        raise ValueError(
            f"likelihood names the columns {wanted}, but X has no column names; use numbers."
        )
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        places.setdefault(name, []).append(number)
    unknown = [name for name in wanted if name not in places]
    if unknown:
        raise ValueError(
            f"likelihood names the columns {unknown}, but X has the columns {names}."
            + did_you_mean(unknown[0], names)
        )
    repeated = [name for name in wanted if len(places[name]) > 1]
    if repeated:
        raise ValueError(
            f"likelihood names the columns {repeated}, but X has several of that name; use numbers."
        )
    return {name: places[name][0] for name in wanted}
