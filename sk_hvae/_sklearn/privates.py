"""The one place where private names of scikit-learn are imported."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils._param_validation import StrOptions as UnorderedStrOptions
from sklearn.utils.metaestimators import _safe_split as safe_split
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params

__all__ = [
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "check_feature_names_in",
    "check_method_params",
    "fit_context",
    "safe_split",
    "validate_params",
]

Method = TypeVar("Method", bound=Callable[..., Any])


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
    """Check an estimator's parameters before a fit; the method keeps its type."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def validate_params(estimator):
    """Check the parameters of an estimator by themselves."""
    estimator._validate_params()


class StrOptions(UnorderedStrOptions):
    """Names to choose from, which messages list in alphabetical order."""

    def __str__(self):
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"
