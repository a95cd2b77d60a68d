"""The transformer inside scikit-learn's own tools."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import Bernoulli, Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

FEATURES = ["z1_0", "z1_1", "z2_0", "z2_1"]


@pytest.fixture(scope="module")
def species():
    return load_iris().target


@pytest.fixture
def pipeline(small):
    hvae = small(max_epochs=40)
    return Pipeline([("hvae", hvae), ("classify", LogisticRegression(C=10, max_iter=1000))])


@pytest.mark.slow
def test_grid_search_over_rates_and_layers(pipeline, iris, species):
    grid = {"hvae__layer_rates": [(0.5, 2.0), (2.0, 0.5)], "hvae__output_layers": ["top", 1]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(iris, species)
    assert search.best_score_ > 0.85
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.predict(iris).shape == (150,)


@pytest.mark.slow
def test_randomized_search(pipeline, iris, species):
    space = {"hvae__layer_rates": [1.0, (1, 2)], "hvae__n_components": [1, 2, 3]}
    search = RandomizedSearchCV(pipeline, space, n_iter=3, cv=2, random_state=0)
    search.fit(iris, species)
    assert search.best_params_["hvae__n_components"] in (1, 2, 3)
    assert search.best_score_ > 0.7


@pytest.mark.slow
def test_halving_search_with_epochs_as_the_resource(pipeline, iris, species):
    grid = {"hvae__layer_rates": [(1, 1), (1, 2), (2, 4)]}
    search = HalvingGridSearchCV(
        pipeline,
        grid,
        resource="hvae__max_epochs",
        min_resources=5,
        max_resources=45,
        cv=2,
        random_state=0,
    ).fit(iris, species)
    assert search.n_resources_ == [5, 15]
    assert search.best_estimator_["hvae"].n_iter_ == 15


@pytest.mark.slow
def test_search_without_labels_uses_the_lower_bound(small, iris):
    search = GridSearchCV(small(max_epochs=30), {"layer_rates": [0.1, 3.0]}, cv=2)
    search.fit(np.random.default_rng(0).permutation(iris))
    assert search.best_params_ == {"layer_rates": 3.0}


@pytest.mark.slow
def test_latents_of_three_bits_classify_iris(pipeline, iris, species):
    assert cross_val_score(pipeline, iris, species, cv=3).mean() > 0.85


# Cloning.


@pytest.mark.parametrize("fit_first", [False, True])
@pytest.mark.parametrize(
    "likelihood", ["bernoulli", Bernoulli(), Gaussian(sigma=0.5, scaling="columns")], ids=type
)
def test_clone(small, iris, likelihood, fit_first):
    model = small(likelihood=likelihood, layer_rates=np.array([1.0, 2.0]), n_components=[2, 1])
    X = iris / 10
    if fit_first:
        model.fit(X)
    copy = clone(model)
    assert not hasattr(copy, "module_")
    assert repr(copy) == repr(model)
    np.testing.assert_array_equal(copy.fit_transform(X), model.fit_transform(X))


def test_fit_leaves_the_likelihood_object_alone(small, iris):
    likelihood = Gaussian()
    model = small(likelihood=likelihood).fit(iris)
    assert model.likelihood is likelihood
    assert not likelihood.state_dict()
    assert model.module_.likelihood is not likelihood


def test_params_round_trip():
    params = HierarchicalVAETransformer().get_params()
    assert HierarchicalVAETransformer(**params).get_params() == params
    model = HierarchicalVAETransformer().set_params(layer_rates=5, lr=0.1)
    assert (model.layer_rates, model.lr) == (5, 0.1)


# Columns and frames.


def test_column_transformer(small, iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    hvae = small(likelihood="gaussian", missing="error")
    columns = ColumnTransformer([("h", hvae, ["a", "b", "c"]), ("keep", "passthrough", ["d"])])
    Z = columns.fit_transform(frame)
    assert columns.get_feature_names_out().tolist() == [*(f"h__{f}" for f in FEATURES), "keep__d"]
    np.testing.assert_allclose(Z[:, :4], small().fit_transform(iris[:, :3]), rtol=1e-6)
    np.testing.assert_array_equal(Z[:, 4], iris[:, 3])


def test_feature_union(small, iris):
    union = FeatureUnion([("a", small()), ("b", small(layer_rates=1, n_components=1))])
    Z = union.fit_transform(iris)
    assert Z.shape == (150, 5)
    assert union.get_feature_names_out().tolist() == [*(f"a__{f}" for f in FEATURES), "b__z1_0"]


@pytest.mark.parametrize(("library", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(small, iris, library, frame):
    model = small(likelihood="gaussian", missing="error").set_output(transform=library)
    X = frame(iris, ["a", "b", "c", "d"]) if library == "polars" else frame(iris, columns=[*"abcd"])
    Z = model.fit_transform(X)
    assert isinstance(Z, frame)
    assert list(Z.columns) == FEATURES
    np.testing.assert_array_equal(Z.to_numpy(), small().fit_transform(iris))
    # What is not transform stays an array, or a frame as that of fit was.
    assert isinstance(model.reconstruct(X), frame)
    assert isinstance(model.latents(X)[0], np.ndarray)
    np.testing.assert_allclose(model.inverse_transform(Z), model.reconstruct(X), rtol=1e-4)


def test_set_output_keeps_the_index(small, iris):
    X = pd.DataFrame(iris, columns=list("abcd"), index=[f"row {i}" for i in range(150)])
    Z = small(output_layers="top").set_output(transform="pandas").fit_transform(X)
    assert Z.index.equals(X.index)
    assert list(Z.columns) == FEATURES[2:]


def test_pipeline_feature_names(small, iris):
    pipeline = make_pipeline(StandardScaler(), small()).fit(iris)
    assert pipeline.get_feature_names_out().tolist() == FEATURES
    np.testing.assert_allclose(
        pipeline.inverse_transform(pipeline.transform(iris)).mean(0), iris.mean(0), atol=0.1
    )


class CountingTransformer(HierarchicalVAETransformer):
    n_fits = 0

    def fit(self, X, y=None):
        CountingTransformer.n_fits += 1
        return super().fit(X, y)


def test_pipeline_memory_is_hit(small, iris, species, tmp_path):
    params = small().get_params()

    def fit_pipeline(**changed):
        hvae = CountingTransformer(**{**params, **changed})
        steps = [("hvae", hvae), ("l", LogisticRegression())]
        return Pipeline(steps, memory=str(tmp_path)).fit(iris, species)

    before = CountingTransformer.n_fits
    first, second = fit_pipeline(), fit_pipeline()
    assert CountingTransformer.n_fits == before + 1
    np.testing.assert_array_equal(first.predict_proba(iris), second.predict_proba(iris))
    fit_pipeline(layer_rates=(2, 1))
    assert CountingTransformer.n_fits == before + 2


def test_pipeline_memory_is_hit_with_a_likelihood_object(small, iris, species, tmp_path):
    params = small().get_params()
    before = CountingTransformer.n_fits
    for _ in range(2):
        hvae = CountingTransformer(**{**params, "likelihood": Gaussian(sigma="per_feature")})
        steps = [("hvae", hvae), ("l", LogisticRegression())]
        Pipeline(steps, memory=str(tmp_path)).fit(iris, species)
    assert CountingTransformer.n_fits == before + 1
