"""What an estimator knows after a fit: one value, and what the columns of X were.

Both are set in one place and at one time, so that an estimator is never half of an old fit and half
of a new one.
"""

from sklearn.utils.validation import check_is_fitted

_FITTED = "_fitted"
_SCHEMA = "_schema"
_COLUMNS = ("n_features_in_", "feature_names_in_", _SCHEMA)


def columns_of(estimator):
    """Return what is known of the columns of X, by attribute."""
    return {name: value for name, value in vars(estimator).items() if name in _COLUMNS}


def schema_of(estimator):
    """Return the schema of the frame that an estimator was fitted to, or None if it was none."""
    return vars(estimator).get(_SCHEMA)


def set_schema(estimator, schema):
    """Let an estimator know the schema of the frame that it is about to be fitted to."""
    vars(estimator)[_SCHEMA] = schema


def set_fitted(estimator, fitted, columns):
    """Give an estimator its fitted value and its columns, in place of those of an earlier fit."""
    state = {name: value for name, value in vars(estimator).items() if name not in _COLUMNS}
    estimator.__dict__ = {**state, **columns, _FITTED: fitted}
    return estimator


def as_attributes(fitted, columns):
    """Return the attributes of an estimator with a fitted value, or None if there is no value."""
    return None if fitted is None else {**columns, _FITTED: fitted}


def is_fitted(estimator):
    """Tell whether an estimator has a fitted value."""
    return _FITTED in vars(estimator)


def fitted_of(estimator):
    """Return the fitted value of an estimator; raises NotFittedError if it has none."""
    check_is_fitted(estimator, _FITTED)
    return vars(estimator)[_FITTED]
