"""Columns whose codes are names: what displays show of them are categories, not numbers."""

import numpy as np

from sk_hvae._sklearn.fitted_state import schema_of
from sk_hvae.plotting._figures import column_names


def categories_of(estimator):
    """Return column number and code of the categories of a fitted model: (n_categories, 2)."""
    return estimator.module_.likelihood.nominal_categories.numpy()


def no_categories():
    """Return the categories of a table that has none, (0, 2)."""
    return np.empty((0, 2))


def holds_numbers(categories, n_features):
    """Tell for each column whether it holds numbers, (n_features,), bool."""
    return ~np.isin(np.arange(n_features), categories[:, 0])


def labels_in_schema(estimator):
    """Return what codes of categories stand for, if the model was fitted to a frame, else None."""
    schema = schema_of(estimator)
    if schema is None:
        return None
    columns = [schema.columns[column] for column in categories_of(estimator)[:, 0].astype(int)]
    return [
        f"{code:g}" if column.kind != "category" else str(column.categories[int(code)])
        for column, (_, code) in zip(columns, categories_of(estimator), strict=True)
    ]


def category_labels(categories, labels=None):
    """Return what codes stand for: the codes themselves if nothing is known."""
    return [f"{code:g}" for _, code in categories] if labels is None else list(labels)


def category_names(categories, feature_names, n_features, labels=None):
    """Name categories by column and label, such as "colour = 2"."""
    names = column_names(feature_names, n_features)
    labels = category_labels(categories, labels)
    pairs = zip(categories, labels, strict=True)
    return [f"{names[int(column)]} = {label}" for (column, _), label in pairs]


def indicators(X, categories):
    """Return 1 where a row has a category, 0 where it has another, NaN where it is missing.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    categories : ndarray of shape (n_categories, 2)
        Column number and code of each.

    Returns
    -------
    ndarray of shape (n_samples, n_categories)
    """
    codes = X[:, categories[:, 0].astype(int)]
    return np.where(np.isnan(codes), np.nan, codes == categories[:, 1])
