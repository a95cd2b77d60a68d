"""The model behind a fitted estimator, and the rows that are for it."""

from sk_hvae._fit.fitted import Fitted
from sk_hvae._input.checks import check_rows
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


def check_new_rows(estimator, X):
    """Check X for a fitted estimator; returns `Rows` on the CPU."""
    module = model_of(estimator).module
    rows = check_rows(estimator, X, reset=False, allow_nan=module.missing is not None)
    names = getattr(estimator, "feature_names_in_", None)
    rows.check(told_by_name(names)(module.likelihood.check))
    return rows
