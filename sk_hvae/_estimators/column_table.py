"""What an estimator takes the columns of a frame for, as a table that people read."""

import numpy as np
import torch

from sk_hvae._input.dtypes import restore_dtype
from sk_hvae._input.plain_numbers import plain
from sk_hvae._sklearn.notebooks import NumberText, as_html
from sk_hvae.nn.likelihoods import PerColumn

# Categories that a line of the table lists.
_LISTED = 5
# Longer names of categories, such as free text, would make the table too wide to read.
_LONGEST = 30
# Significant digits of the ends of a column.
_DIGITS = 6
# Lines that a notebook shows: of thousands, it would hold megabytes in every output.
_MOST_LINES = 200


def column_table(schema, likelihood):
    """Describe columns.

    Parameters
    ----------
    schema : Schema
        Of the frame of the fit.
    likelihood : Likelihood
        Fitted.

    Returns
    -------
    dict of str to list
        "column", "dtype", "kind", "likelihood", "values" and "missing", one entry per column:
        names, four kinds of text, and the share of cells that were missing.
    """
    likelihoods = _of_columns(likelihood, len(schema.columns))
    return {
        "column": schema.names,
        "dtype": [str(restore_dtype(column.dtype, schema.library)) for column in schema.columns],
        "kind": [column.kind for column in schema.columns],
        "likelihood": [repr(own) for own in likelihoods],
        "values": _values(schema, likelihood),
        "missing": [column.n_missing / max(schema.n_rows, 1) for column in schema.columns],
    }


def columns_html(table):
    """Write a table of `column_table` as HTML, to be opened by a click."""
    shares = [NumberText(f"{share:.1%}") for share in table["missing"]]
    return as_html(
        f"{len(shares)} columns, as they were taken in fit",
        {**table, "missing": shares},
        most_lines=_MOST_LINES,
        more="columns_",
        is_open=False,
    )


def _of_columns(likelihood, n_features):
    """Return the likelihood of each column."""
    if not isinstance(likelihood, PerColumn):
        return [likelihood] * n_features
    found = [likelihood] * n_features
    for part, (_, columns) in zip(likelihood.likelihoods, likelihood.parts, strict=True):
        for number in columns:
            found[number] = part
    return found


def _values(schema, likelihood):
    """Say which values each column had in fit."""
    summary = likelihood.summary
    ends = schema.cells(torch.stack((summary.minimum, summary.maximum)).numpy())
    return [_described(column, *own) for column, own in zip(schema.columns, ends, strict=True)]


def _described(column, low, high):
    if column.kind == "empty":
        return "none"
    if column.kind != "category":
        return f"{_shown(low)} to {_shown(high)}"
    names = [_short(category) for category in column.categories[:_LISTED]]
    n_categories = len(column.categories)
    more = ", ..." if n_categories > _LISTED else ""
    return f"{n_categories}: {', '.join(names)}{more}"


def _short(category):
    text = str(category)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _shown(value):
    value = value.item() if isinstance(value, np.generic) else value
    return plain(value, _DIGITS) if isinstance(value, float) else str(value)
