"""What makes tests, and the examples of the documentation, take less time."""

import copy
import functools
import gc
import pickle

import joblib
import pytest

import sk_hvae
from sk_hvae._input.kept import keep_rows
from sk_hvae._sklearn.fitted_state import fitted_of

_FITS = {}


def pytest_collection_finish():
    """Keep the garbage collector from going through modules and tests, which all stay."""
    gc.freeze()


@pytest.fixture
def shared_fits():
    """Fit equal estimators to equal rows once for all examples of the documentation.

    Each is complete, so that many begin with the same fit, which is copied. That the same seed
    gives the same model is tested elsewhere.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HierarchicalVAETransformer", "MultiRateHVAETransformer", "HVAEClusterer"):
            estimator = getattr(sk_hvae, name)
            patch.setattr(estimator, "fit", _shared(estimator.fit))
        yield


@pytest.fixture(autouse=True)
def _examples_of_docstrings_share_fits(request):
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("shared_fits")


def _shared(fit):
    @functools.wraps(fit)
    def fit_or_copy(estimator, *args, **kwargs):
        is_fitted = hasattr(estimator, "n_features_in_")
        is_told = estimator.callbacks or estimator.verbose
        if is_fitted or is_told or estimator.random_state is None:
            return fit(estimator, *args, **kwargs)
        try:
            key = joblib.hash([type(estimator), estimator.get_params(), args, kwargs])
        except pickle.PicklingError:  # a network or likelihood that the example defines
            return fit(estimator, *args, **kwargs)
        if key in _FITS:
            vars(estimator).update(copy.deepcopy(_FITS[key]))
            keep_rows(fitted_of(estimator), estimator, args[0])
        else:
            _FITS[key] = copy.deepcopy(vars(fit(estimator, *args, **kwargs)))
        return estimator

    return fit_or_copy
