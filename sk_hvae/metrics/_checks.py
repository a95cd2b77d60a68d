"""Checks that metrics and displays make first: of models, labels and rows."""

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch.utils.data import Dataset

from sk_hvae._data.rows import as_rows
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._input.tables import as_numbers
from sk_hvae._sklearn.fitted_state import fitted_of

_IF_TEXT = "Only numbers can be measured: pass their columns, X.select_dtypes('number') of pandas."


def check_fitted_model(estimator):
    """Raise TypeError or NotFittedError unless this is a fitted estimator of the library."""
    if not isinstance(estimator, LatentsMixin):
        raise TypeError(
            "estimator must be a fitted hierarchical VAE of sk_hvae; got "
            f"{type(estimator).__name__}. Of a pipeline, pass the step."
        )
    fitted_of(estimator)


def check_labels(X, y):
    """Return labels as an array (n,); raise ValueError unless each row of X has a class."""
    if y is None:
        raise ValueError("labels are needed; pass y.")
    y = column_or_1d(np.asarray(y))
    check_consistent_length(X, y)
    check_classification_targets(y)
    return y


def dense_rows(X, name, least=1, finite="allow-nan"):
    """Turn rows, of any kind that the estimators take, into an array (n, n_features), float64.

    Parameters
    ----------
    X : array-like, frame, sparse matrix or Dataset of shape (n, n_features)
        Rows.
    name : str
        How messages call them.
    least : int, default=1
        Smallest number of rows.
    finite : bool or "allow-nan", default="allow-nan"
        True if no cell may be missing.

    Returns
    -------
    ndarray of shape (n, n_features)
    """
    if isinstance(X, Dataset):
        X = as_rows(X).every(1).numpy()
    elif sparse.issparse(X):
        X = X.toarray()
    return check_array(
        as_numbers(X, if_text=_IF_TEXT),
        dtype=float,
        ensure_all_finite=finite,
        ensure_min_samples=least,
        input_name=name,
    )
