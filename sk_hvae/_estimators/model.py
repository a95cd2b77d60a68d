"""The model behind a fitted estimator, and the rows that are for it."""

from contextlib import contextmanager

import torch

from sk_hvae._fit.fitted import Fitted
from sk_hvae._input.checks import check_rows
from sk_hvae._sklearn.fitted_state import schema_of
from sk_hvae.nn.likelihoods.refusal import told_by_name


def model_of(estimator) -> Fitted:
    """Return the model of a fitted estimator, at its current rates if it has several.

    Estimators answer by the method ``__hvae_model__``, in the manner of ``__sklearn_tags__``.

    Raises
    ------
    NotFittedError
        Before ``fit``.
    """
    return estimator.__hvae_model__()


def as_in_fit(estimator, numbers, index=None):
    """Return rows of numbers as the X of ``fit`` was: a frame if that was one.

    In a frame, times are in the steps of their column, such as whole days.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    numbers : ndarray of shape (n, n_features)
        On the scale of the data.
    index : pandas.Index, default=None
        Labels of the rows, for a frame of pandas.
    """
    schema = schema_of(estimator)
    if schema is None:
        return numbers
    times = schema.numbers_of(["datetime", "duration", "time"])
    if times:
        numbers = numbers.copy()
        numbers[:, times] = model_of(estimator).nearest(numbers)[:, times]
    return schema.decode(numbers, index)


@contextmanager
def frame_attribute(estimator, name):
    """Raise AttributeError, as ``hasattr`` expects, where an attribute that is a frame cannot be.

    ``fit`` was given no frame, or a model was loaded where its frame's library is not installed.
    """
    if schema_of(estimator) is None:
        raise AttributeError(f"{name} exists only if fit was given a frame.")
    try:
        yield
    except ImportError as error:
        raise AttributeError(f"there is no {name}: {error}") from error


def check_new_rows(estimator, X):
    """Check X for a fitted estimator; returns `Rows` on the CPU."""
    module = model_of(estimator).module
    may_miss = module.missing is not None and estimator.missing != "error"
    unknown = estimator.handle_unknown
    rows = check_rows(estimator, X, reset=False, allow_nan=may_miss, unknown=unknown)
    names = getattr(estimator, "feature_names_in_", None)
    check = told_by_name(names)(module.likelihood.check)
    try:
        rows.check(check)
    except ValueError as error:
        row = _first_refused(rows, check)
        raise ValueError(f"{error} The first row with such a cell is row {row}.") from None
    return rows


def check_like(estimator, like):
    """Check rows that samples are to be like; returns `Rows` on the CPU."""
    try:
        return check_new_rows(estimator, like)
    except ValueError as error:
        raise ValueError(f"like does not suit the model: {error}") from None


def _first_refused(rows, check):
    """Return the number of the first row that a check refuses, of which there is one."""
    passed, refused = 0, len(rows)
    while refused - passed > 1:
        middle = (passed + refused) // 2
        try:
            check(rows.take(torch.arange(passed, middle)))
            passed = middle
        except ValueError:
            refused = middle
    return passed
