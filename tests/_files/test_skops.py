"""Pipelines in skops files, which name nothing but our own estimators to be trusted."""

import joblib
import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, get_untrusted_types, loads

from sk_hvae import HVAEClusterer
from sk_hvae.nn import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

PARAMS = [
    {},
    {"likelihood": Gaussian(sigma=0.3)},
    {"likelihood": [("gaussian", [0, 1, 2]), (Gaussian(), [3])]},
    {"likelihood": "categorical", "top_layer": "categorical"},
    {"likelihood": "poisson", "image_shape": (1, 2, 2), "missing": "mask"},
    {"random_state": np.random.RandomState(0), "early_stopping": True},
]


def restored(model):
    """Write and read a model, trusting what it says it needs."""
    content = dumps(model)
    needed = get_untrusted_types(data=content)
    return loads(content, trusted=needed), needed


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: "-".join(params) or "default")
def test_a_pipeline_needs_our_estimator_only(small, iris, params):
    whole = "likelihood" in params and not isinstance(params["likelihood"], (list, Gaussian))
    X = iris.round() if whole else iris
    pipeline = make_pipeline(small(**params), StandardScaler()).fit(X)
    again, needed = restored(pipeline)
    assert needed == ["sk_hvae._estimators.transformer.HierarchicalVAETransformer"]
    np.testing.assert_array_equal(again.transform(X), pipeline.transform(X))
    np.testing.assert_array_equal(again[0].sample(3), pipeline[0].sample(3))


def test_around_us_may_be_any_of_scikit_learn(small, iris):
    columns = ColumnTransformer([("hvae", small(), [0, 1, 2]), ("as it is", "passthrough", [3])])
    y = np.repeat([0, 1, 2], 50)
    pipeline = make_pipeline(StandardScaler(), columns, LogisticRegression()).fit(iris, y)
    again, needed = restored(pipeline)
    assert needed == ["sk_hvae._estimators.transformer.HierarchicalVAETransformer"]
    np.testing.assert_array_equal(again.predict_proba(iris), pipeline.predict_proba(iris))


def test_clusterers(iris):
    clusterer = HVAEClusterer(2, n_init=2, max_epochs=3, random_state=0).fit(iris)
    again, needed = restored(clusterer)
    assert needed == ["sk_hvae._estimators.clusterer.HVAEClusterer"]
    np.testing.assert_array_equal(again.predict_proba(iris), clusterer.predict_proba(iris))
    np.testing.assert_array_equal(again.labels_, clusterer.labels_)


def test_the_whole_plane(multi, iris):
    again, needed = restored(multi)
    assert needed == ["sk_hvae._estimators.multirate.MultiRateHVAETransformer"]
    np.testing.assert_array_equal(
        again.at((2, 1)).transform(iris), multi.at((2, 1)).transform(iris)
    )


def test_unfitted(small):
    again, needed = restored(small())
    assert needed == ["sk_hvae._estimators.transformer.HierarchicalVAETransformer"]
    assert again.get_params() == small().get_params()


def test_training_goes_on(small, iris):
    again, _ = restored(small(warm_start=True).fit(iris))
    assert again.fit(iris).n_iter_ == 3


def test_copies_have_the_same_hash(fitted, multi):
    for model in (fitted, multi):
        assert joblib.hash(restored(model)[0]) == joblib.hash(model)
