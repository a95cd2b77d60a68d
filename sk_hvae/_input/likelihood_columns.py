"""Which likelihood each column has: as users say it, or as the columns of a frame suggest."""

import itertools
import numbers

import numpy as np
import torch

from sk_hvae.nn.likelihoods import (
    Categorical,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    PerColumn,
    Poisson,
    check_cover,
)
from sk_hvae.nn.likelihoods import resolve as likelihood_of
from sk_hvae.nn.likelihoods.pixels import EvenSample, look_like_pixels
from sk_hvae.nn.spelling import did_you_mean

AUTO = "auto"
"""The likelihood that suits the columns of X."""


def resolve_likelihood(likelihood, X, names, rows, schema=None):
    """Return a new likelihood from what the estimators take.

    Parameters
    ----------
    likelihood : str, Likelihood, list of (likelihood, columns) or dict of column to likelihood
        Objects are left alone. Columns as in ColumnTransformer: an int or str, a sequence of
        them, a slice of either, a boolean mask, or a function of X that returns any of these.
        A part without columns is left out. What a dict does not name is "auto". An exposure of
        counts is a column of X, too.
    X : object
        As the user passed it, because functions that choose columns expect it so.
    names : sequence of str or None
        Names of the columns of X.
    rows : Rows
        The numbers of X.
    schema : Schema or None
        Of X if it is a frame.

    Returns
    -------
    Likelihood
        In a `PerColumn`, columns are numbers from 0. An exposure is a place among the columns of
        its likelihood.

    Raises
    ------
    ValueError
        If a part has a column that is not in X, a column of X is not in exactly one part, or an
        exposure is not among the columns of its likelihood.
    """
    n_features = rows.shape[1]
    if isinstance(likelihood, str) and likelihood == AUTO:
        return _auto(schema, rows)
    shown = None if names is None else list(names)
    if _parts(likelihood) is None:
        own = _with_place_of_exposure(likelihood, range(n_features), shown, n_features)
        return likelihood_of(own)
    numbered = _numbered(likelihood, X, names, n_features)
    check_cover([number for _, columns in numbered for number in columns], n_features, shown)
    parts = [_parts_of(spec, columns, schema) for spec, columns in numbered]
    return likelihood_of(
        [
            (_with_place_of_exposure(spec, columns, shown, n_features), columns)
            for spec, columns in itertools.chain.from_iterable(parts)
        ]
    )


def readings_of(likelihood, frame, X):
    """Say how the columns of a frame are to be read, where a likelihood is given for them.

    Parameters
    ----------
    likelihood : object
        As `resolve_likelihood` takes it.
    frame : Frame
        X, read.
    X : object
        As the user passed it.

    Returns
    -------
    dict of int to {"categories", "numbers"}
        Columns whose likelihood is "auto" have no entry.
    """
    n_features = len(frame.columns)
    numbered = [(likelihood, range(n_features))]
    if _parts(likelihood) is not None:
        numbered = _numbered(likelihood, X, frame.text_names, n_features)
    return {
        number: "categories" if isinstance(likelihood_of(spec), Categorical) else "numbers"
        for spec, columns in numbered
        if not _is_auto(spec)
        for number in columns
    }


def has_plain_columns(likelihood):
    """Tell whether a file can hold the columns of a likelihood as the user gave them."""
    return all(
        isinstance(column, str) or (isinstance(column, int) and not isinstance(column, bool))
        for _, columns in _parts(likelihood) or ()
        for column in (columns if isinstance(columns, (list, tuple, range)) else [columns])
    )


def _with_place_of_exposure(spec, columns, names, n_features):
    """Return a likelihood whose exposure is a place among its columns, if it is a column of X."""
    exposure = spec.exposure if isinstance(spec, (Poisson, NegativeBinomial)) else None
    if exposure is None or exposure == "total":
        return spec
    (number,) = _column_numbers(exposure, None, names, n_features)
    if number not in columns:
        raise ValueError(
            f"exposure={exposure!r} is not among the columns of its likelihood. Name it beside the "
            "counts, in a list that has all columns, for example "
            "[(Poisson(exposure='years'), ['visits', 'years']), ('categorical', ['region'])]."
        )
    return type(spec)(**{**spec.config, "exposure": list(columns).index(number)})


def _is_auto(spec):
    return isinstance(spec, str) and spec == AUTO


def _auto(schema, rows):
    """Return the likelihood that suits the columns of X.

    An array is Gaussian, and so is a frame of the pixels of images, whose sizes say something
    beside each other. In all other frames every column has its own likelihood.
    """
    if schema is None or (not schema.numbers_of(["category"]) and _are_pixels(rows)):
        return likelihood_of("gaussian")
    parts = _parts_of(AUTO, range(rows.shape[1]), schema)
    return likelihood_of(parts[0][0] if len(parts) == 1 else parts)


def _are_pixels(rows):
    sample = EvenSample()
    for chunk in rows.chunks():
        sample.add(chunk.cpu())
    return look_like_pixels(sample.rows)


def _parts_of(spec, columns, schema):
    """Return the parts of a `PerColumn` that columns are of; those without columns are left out."""
    if not _is_auto(spec):
        parts = [(spec, columns)]
    elif schema is None:
        parts = [("gaussian", columns)]
    else:
        named = set(schema.numbers_of(["category"]))
        parts = [
            (_numbers_of_table(), [number for number in columns if number not in named]),
            (Categorical(), [number for number in columns if number in named]),
        ]
    return [(spec, list(columns)) for spec, columns in parts if len(columns)]


def _numbers_of_table():
    """Return the likelihood of the numbers of a table: skewed, rounded, with values that repeat.

    Columns of a table differ in how well the others tell them, so each has its own sigma.
    """
    return Gaussian(sigma="per_feature", scaling="quantile")


def _parts(likelihood):
    """Return the parts of a likelihood, or None if it has none."""
    if isinstance(likelihood, PerColumn):
        return likelihood.parts
    if isinstance(likelihood, dict):
        return [(part, column) for column, part in likelihood.items()]
    return None if isinstance(likelihood, (str, Likelihood)) else likelihood


def _numbered(likelihood, X, names, n_features):
    """Return the parts of a likelihood with the numbers of their columns."""
    try:
        pairs = [(part, columns) for part, columns in _parts(likelihood)]
    except (TypeError, ValueError):
        raise ValueError(
            "a list as likelihood must hold pairs of a likelihood and its columns, for example "
            f"[('gaussian', [0, 1]), ('bernoulli', [2])]; got {likelihood!r}."
        ) from None
    names = None if names is None else list(names)
    numbered = [(part, _column_numbers(columns, X, names, n_features)) for part, columns in pairs]
    if isinstance(likelihood, dict):
        given = {number for _, columns in numbered for number in columns}
        numbered.append((AUTO, [n for n in range(n_features) if n not in given]))
    return numbered


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
