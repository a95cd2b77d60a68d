"""Columns of tables count alike, whatever constant is added; what was chosen can be read."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    RateSearchCV,
)
from sk_hvae.nn import Gaussian

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {"hidden_layer_sizes": 16, "n_components": 4, "random_state": 0}
SHIFTS = pytest.mark.parametrize("shift", [0, 1, -1e4])


def months_and_share(shift, n_rows=300):
    """Months from 0 to 89, and beside them a share in [0, 1] that carries the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n_rows)
    months = rng.integers(0, 90, n_rows)
    share = np.clip(0.25 + 0.5 * y + 0.05 * rng.normal(size=n_rows), 0, 1)
    months[0] = share[0] = 0
    return np.c_[months + shift, share], y


def amounts_and_flags():
    """Min-max-scaled skewed amounts beside flags."""
    rng = np.random.default_rng(1)
    wealth = rng.normal(size=(300, 2))
    amounts = np.exp(2.5 * wealth @ rng.normal(size=(2, 4)))
    flags = wealth @ rng.normal(size=(2, 4)) > 0
    return MinMaxScaler().fit_transform(np.hstack([amounts, flags]))


@SHIFTS
def test_every_column_is_reconstructed(shift):
    X, _ = months_and_share(shift)
    hvae = HierarchicalVAETransformer((1, 4), **TINY).fit(X)
    assert hvae.likelihood_.scaling_ == "columns"
    assert (r2_score(X, hvae.reconstruct(X), multioutput="raw_values") > 0.95).all()


def test_amounts_in_0_to_1_are_reconstructed_beside_flags():
    X = amounts_and_flags()
    shares = []
    for likelihood in ("gaussian", Gaussian(scaling="columns")):
        hvae = HierarchicalVAETransformer((2, 12), likelihood=likelihood, **TINY).fit(X)
        shares.append(r2_score(X, hvae.reconstruct(X)))
    assert shares[0] == shares[1] > 0.5


@SHIFTS
def test_clusters_are_found_by_a_column_of_small_numbers(shift):
    X, y = months_and_share(shift)
    clusterer = HVAEClusterer(2, max_epochs=30, n_init=3, **TINY).fit(X)
    assert clusterer.likelihood_.scaling_ == "columns"
    assert adjusted_rand_score(y, clusterer.labels_) > 0.9


@pytest.mark.parametrize("shift", [0, -1e4])
def test_searches_and_multi_rate_models_see_it(shift, coarse_plane):
    X, y = months_and_share(shift)
    pipe = make_pipeline(HierarchicalVAETransformer(max_epochs=60, **TINY), LogisticRegression())
    grid = {"hierarchicalvaetransformer__layer_rates": [(1, 2), (1, 3)]}
    assert RateSearchCV(pipe, grid, cv=2).fit(X, y).best_score_ > 0.95
    multi = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 3), max_epochs=150, **TINY).fit(X)
    assert multi.likelihood_.scaling_ == "columns"
    assert (r2_score(X, multi.reconstruct(X), multioutput="raw_values") > 0.8).all()


KINDS = {
    "table": ({}, lambda: load_wine().data, "columns"),
    "pixels": ({}, lambda: load_digits().data[:200], "shared"),
    "shape": ({"image_shape": (1, 2, 6)}, lambda: load_wine().data[:, :12], "shared"),
    "by hand": ({"likelihood": Gaussian(scaling="shared")}, lambda: load_wine().data, "shared"),
    "not shared": (
        {"likelihood": Gaussian(scaling="columns")},
        lambda: load_digits().data[:200],
        "columns",
    ),
}
ESTIMATORS = [HierarchicalVAETransformer, MultiRateHVAETransformer, HVAEClusterer]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
def test_what_was_chosen_survives_files(kind, estimator, tmp_path, coarse_plane):
    params, load, expected = KINDS[kind]
    X = load()
    options = {"n_clusters": 2, "n_init": 1} if estimator is HVAEClusterer else {}
    fitted = estimator(max_epochs=1, **TINY, **params, **options).fit(X)
    fitted.save(tmp_path / "model")
    loaded = estimator.load(tmp_path / "model")
    for model in (fitted, loaded):
        assert model.likelihood_ is model.module_.likelihood
        assert model.likelihood_.scaling_ == expected
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    # How far new values may lie off is by the scales of the file, too.
    np.testing.assert_array_equal(loaded.likelihood_.spread, fitted.likelihood_.spread)
    scales = fitted.likelihood_.scale[fitted.likelihood_.summary.std > 0]
    assert (len(set(scales.tolist())) == 1) is (expected == "shared")


def test_parts_of_a_list_choose_by_their_own_columns():
    X = np.c_[load_digits().data[:200], load_digits().target[:200]]
    parts = [("gaussian", range(64)), ("gaussian", [64])]
    model = HierarchicalVAETransformer(max_epochs=1, likelihood=parts, **TINY).fit(X)
    assert [part.scaling_ for part in model.likelihood_.likelihoods] == ["shared", "columns"]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
def test_before_a_fit_there_is_no_fitted_likelihood(estimator):
    assert not hasattr(estimator(), "likelihood_")
    assert not hasattr(Gaussian(), "scaling_")
