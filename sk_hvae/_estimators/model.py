"""The model behind a fitted estimator, and the rows that are for it."""

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
    return numbers if schema is None else schema.decode(numbers, index)


def check_new_rows(estimator, X):
    """Check X for a fitted estimator; returns `Rows` on the CPU."""
    module = model_of(estimator).module
    may_miss = module.missing is not None
    unknown = estimator.handle_unknown if may_miss else "error"
    rows = check_rows(estimator, X, reset=False, allow_nan=may_miss, unknown=unknown)
    names = getattr(estimator, "feature_names_in_", None)
    rows.check(told_by_name(names)(module.likelihood.check))
    return rows
