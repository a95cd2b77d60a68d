"""What makes tests, and the examples of docstrings, take less time."""

import copy
import functools
import gc

import joblib
import pytest

import sk_hvae

_FITS = {}


def pytest_collection_finish(session):
    """Keep the garbage collector from going through modules and tests, which all stay."""
    gc.freeze()


@pytest.fixture(autouse=True)
def shared_fits(request):
    """Fit equal estimators to equal rows once for all examples of docstrings, and copy them.

    Each example is complete, so that many begin with the same fit. That the same seed gives the
    same model is tested elsewhere.
    """
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HierarchicalVAETransformer", "MultiRateHVAETransformer", "HVAEClusterer"):
            estimator = getattr(sk_hvae, name)
            patch.setattr(estimator, "fit", _shared(estimator.fit))
        yield


def _shared(fit):
    @functools.wraps(fit)
    def fit_or_copy(estimator, *args, **kwargs):
        is_fitted = hasattr(estimator, "n_features_in_")
        is_told = estimator.callbacks or estimator.verbose
        is_own = not isinstance(estimator.network, str)
        if is_fitted or is_told or is_own or estimator.random_state is None:
            return fit(estimator, *args, **kwargs)
        key = joblib.hash([type(estimator), estimator.get_params(), args, kwargs])
        if key in _FITS:
            vars(estimator).update(copy.deepcopy(_FITS[key]))
        else:
            _FITS[key] = copy.deepcopy(vars(fit(estimator, *args, **kwargs)))
        return estimator

    return fit_or_copy
