"""HVAEClusterer: labels, what is said of them, and the model behind them."""

import pickle
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from every_kind import changed
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from sk_hvae import HVAEClusterer
from sk_hvae._clustering.lost_clusters import ClusterOutcome
from sk_hvae._clustering.state_shares import StateShares
from sk_hvae._fit.history import Epochs
from sk_hvae._sklearn.fitted_state import set_fitted
from sk_hvae.exceptions import (
    ClusterWarning,
    OutlierWarning,
    RateTargetWarning,
    TrainingDivergedError,
)
from sk_hvae.nn import Networks

FAST = {
    "hidden_layer_sizes": (32, 32),
    "n_components": 4,
    "max_epochs": 60,
    "random_state": 0,
}
LONG = {**FAST, "max_epochs": "auto"}
TINY = {**FAST, "max_epochs": 2, "n_init": 2}


@pytest.fixture(scope="module")
def blobs():
    centers = [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]]
    return make_blobs([60, 50, 40, 30], centers=centers, random_state=0)


@pytest.fixture(scope="module")
def fitted(blobs):
    """A clusterer of four blobs; tests must not change it."""
    return HVAEClusterer(4, **FAST).fit(blobs[0])


class TestLabels:
    def test_clear_clusters_are_found(self, fitted, blobs):
        assert adjusted_rand_score(blobs[1], fitted.labels_) == 1

    @pytest.mark.slow
    def test_shapes_that_k_means_and_mixtures_do_not_find(self):
        X, y = make_moons(600, noise=0.05, random_state=0)
        rng = np.random.default_rng(0)
        X = X @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(600, 10))
        ours = adjusted_rand_score(y, HVAEClusterer(2, **LONG).fit_predict(X))
        for peer in (KMeans(2, n_init=10), GaussianMixture(2, n_init=3)):
            assert ours > adjusted_rand_score(y, peer.fit_predict(X)) + 0.3
        assert ours > 0.95

    @pytest.mark.slow
    def test_wine_as_well_as_the_better_of_k_means_and_mixture(self, wine):
        y = np.repeat([0, 1, 2], [59, 71, 48])
        ours = adjusted_rand_score(y, HVAEClusterer(3, **LONG).fit_predict(wine))
        scaled = StandardScaler().fit_transform(wine)
        for peer in (KMeans(3, n_init=10, random_state=0), GaussianMixture(3, random_state=0)):
            assert ours >= adjusted_rand_score(y, peer.fit_predict(scaled))

    def test_predict_on_the_training_rows_gives_the_labels(self, fitted, blobs):
        assert np.array_equal(fitted.predict(blobs[0]), fitted.labels_)

    def test_new_rows_go_to_the_clusters_of_their_neighbours(self, fitted, blobs):
        X, y = blobs
        moved = X + 0.2 * np.random.default_rng(0).normal(size=X.shape)
        assert adjusted_rand_score(y, fitted.predict(moved)) == 1

    def test_probabilities_add_up_and_their_largest_is_the_label(self, fitted, blobs):
        probabilities = fitted.predict_proba(blobs[0])
        assert probabilities.shape == (180, 4)
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        assert np.array_equal(probabilities.argmax(1), fitted.labels_)

    def test_labels_are_consecutive_and_counted(self, fitted):
        assert np.array_equal(np.bincount(fitted.labels_), fitted.cluster_sizes_)
        assert sorted(fitted.cluster_sizes_) == [30, 40, 50, 60]

    def test_the_same_seed_gives_the_same_fit(self, fitted, blobs):
        again = clone(fitted)
        assert np.array_equal(again.fit_predict(blobs[0]), fitted.labels_)
        assert np.array_equal(again.labels_, fitted.labels_)
        assert np.array_equal(again.predict_proba(blobs[0]), fitted.predict_proba(blobs[0]))
        assert again.stability_ == fitted.stability_

    def test_a_state_that_no_row_takes_is_no_cluster(self, fitted, blobs):
        fewer = changed(fitted, states=np.array([0, 2, 3]))
        probabilities = fewer.predict_proba(blobs[0])
        assert probabilities.shape == (180, 3)
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)

    def test_one_cluster(self, blobs):
        clusterer = HVAEClusterer(1, **TINY).fit(blobs[0])
        assert not clusterer.labels_.any()
        assert clusterer.cluster_centers_.shape == (1, 3)
        assert clusterer.cluster_tree_.shape == (0, 4)
        assert clusterer.rates_[-1] == pytest.approx(0, abs=1e-6)

    def test_rows_beyond_the_graph_are_clustered_too(self, blobs, monkeypatch):
        monkeypatch.setattr("sk_hvae._clustering.state_shares._MOST_GRAPH_ROWS", 90)
        clusterer = HVAEClusterer(4, **FAST).fit(blobs[0])
        assert len(clusterer.labels_) == 180
        assert adjusted_rand_score(blobs[1], clusterer.labels_) == 1

    def test_missing_cells(self, blobs):
        X, y = blobs
        X = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X)
        labels = HVAEClusterer(4, missing="mask", **FAST).fit_predict(X)
        assert adjusted_rand_score(y, labels) > 0.85


class TestModel:
    def test_centres_are_near_the_means_of_the_clusters(self, fitted, blobs):
        X = blobs[0]
        means = np.array([X[fitted.labels_ == c].mean(0) for c in range(4)])
        np.testing.assert_allclose(fitted.cluster_centers_, means, atol=1.5)

    def test_samples_of_a_cluster_belong_to_it(self, fitted):
        for cluster in range(4):
            drawn = fitted.sample(200, cluster=cluster)
            assert drawn.shape == (200, 3)
            assert np.mean(fitted.predict(drawn) == cluster) > 0.8

    def test_samples_of_the_whole_have_the_sizes_of_the_clusters(self, fitted):
        shares = np.bincount(fitted.predict(fitted.sample(4000)), minlength=4) / 4000
        np.testing.assert_allclose(shares, fitted.cluster_sizes_ / 180, atol=0.07)

    @pytest.mark.parametrize("cluster", [-1, 4, 1.0, "a"])
    def test_a_cluster_that_is_not_there(self, fitted, cluster):
        message = re.escape(f"0 to 3, or None; got {cluster!r}")
        with pytest.raises(ValueError, match=message):
            fitted.sample(2, cluster=cluster)

    def test_the_tree_is_a_linkage(self, fitted):
        assert is_valid_linkage(fitted.cluster_tree_)
        assert sorted(dendrogram(fitted.cluster_tree_, no_plot=True)["leaves"]) == [0, 1, 2, 3]

    def test_bounds_and_rates_agree(self, fitted, blobs):
        total = fitted.distortion_ + fitted.rates_.sum()
        assert fitted.lower_bound_ == pytest.approx(-np.log(2) * total)
        assert fitted.score(blobs[0]) == pytest.approx(fitted.lower_bound_)
        np.testing.assert_allclose(fitted.rates(blobs[0]).mean(0), fitted.rates_)

    def test_the_rate_of_the_clusters_is_the_entropy_of_their_sizes(self, fitted):
        shares = fitted.cluster_sizes_ / 180
        assert fitted.rates_[-1] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=0.1)

    def test_transform_puts_the_probabilities_last(self, fitted, blobs):
        Z = fitted.transform(blobs[0])
        assert Z.shape == (180, 8)
        np.testing.assert_allclose(Z[:, fitted.layer_slices_["z2"]].sum(1), 1, rtol=1e-5)
        assert fitted.n_components_ == (4, 4)

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    def test_pickles_hold_no_rows(self, blobs):
        X = np.tile(blobs[0], (20, 1))
        few, many = (HVAEClusterer(4, **TINY).fit(rows) for rows in (blobs[0], X))
        grown = len(pickle.dumps(many)) - len(pickle.dumps(few))
        assert grown < many.labels_.nbytes
        restored = pickle.loads(pickle.dumps(many))  # noqa: S301
        assert np.array_equal(restored.predict(X), many.labels_)

    def test_it_stands_at_the_end_of_a_pipeline(self, blobs):
        pipeline = make_pipeline(StandardScaler(), HVAEClusterer(4, **FAST))
        assert adjusted_rand_score(blobs[1], pipeline.fit_predict(blobs[0])) == 1

    def test_callbacks_see_the_last_training_only(self, blobs):
        class Count(Callback):
            n_epochs = 0

            def on_epoch_end(self, net, **kwargs):
                self.n_epochs += 1

        count = Count()
        clusterer = HVAEClusterer(4, callbacks=[count], **TINY).fit(blobs[0])
        assert count.n_epochs == clusterer.n_iter_ == 2

    def test_global_generators_are_left_alone(self, blobs):
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
        HVAEClusterer(4, **TINY).fit(blobs[0])
        assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
        assert torch.equal(before[1], torch.get_rng_state())

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    @pytest.mark.parametrize(
        "params",
        [
            {"image_shape": (1, 8, 8)},
            {"network": Networks(lambda n: nn.Linear(n, 5), nn.Linear)},
            {"inference": "top_down"},
            {"layer_rates": (4, 4, 1)},
            {"likelihood": "poisson"},
        ],
        ids=["conv", "own networks", "top-down", "three layers", "counts"],
    )
    def test_all_that_a_transformer_can_be(self, params):
        X = load_digits().data[:80]
        clusterer = HVAEClusterer(3, **{**TINY, "n_init": 4, **params})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RateTargetWarning)
            clusterer.fit(X)
        assert np.array_equal(clusterer.predict(X), clusterer.labels_)
        assert clusterer.sample(3, cluster=0).shape == (3, 64)
        assert np.isfinite(clusterer.score(X))

    def test_columns_of_a_mixed_table_may_be_named(self, blobs):
        X, y = blobs
        frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(kind=y % 2)
        likelihood = [("gaussian", ["a", "b", "c"]), ("bernoulli", ["kind"])]
        clusterer = HVAEClusterer(4, likelihood=likelihood, **FAST).fit(frame)
        assert adjusted_rand_score(y, clusterer.labels_) > 0.95
        assert set(clusterer.set_output(transform="pandas").transform(frame).columns[:2]) == {
            "z1_0",
            "z1_1",
        }


class TestRates:
    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    @pytest.mark.parametrize("rates", [(4, 1.9), (2, 1, 1.0)])
    def test_asking_for_bits_gives_bits(self, blobs, rates):
        params = {**FAST, "max_epochs": 100, "batch_size": 30}
        clusterer = HVAEClusterer(4, layer_rates=rates, **params).fit(blobs[0])
        assert clusterer.converged_
        assert clusterer.rates_ == pytest.approx(rates, rel=0.05, abs=0.1)

    def test_fewer_bits_give_fewer_clusters(self, blobs):
        message = r"2 of the 4 clusters asked for came out, at 0\.\d+ bits"
        with pytest.warns(ClusterWarning, match=message) as caught:
            clusterer = HVAEClusterer(4, layer_rates=(4, 0.5), **LONG).fit(blobs[0])
        assert caught[0].filename == __file__
        assert len(clusterer.cluster_sizes_) == 2
        merged = np.unique(np.stack((blobs[1], clusterer.labels_)), axis=1)
        assert merged.shape[1] == 4

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    def test_consistency_keeps_the_clusters_to_their_neighbours(self, blobs):
        loose, tight = (
            HVAEClusterer(2, consistency=weight, **FAST).fit(blobs[0]) for weight in (0.0, 100.0)
        )
        near = NearestNeighbors(n_neighbors=10).fit(blobs[0]).kneighbors(return_distance=False)
        shared = [np.mean(c.labels_[near] == c.labels_[:, None]) for c in (loose, tight)]
        assert shared[1] > 0.99
        assert shared[1] >= shared[0]

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"layer_rates": (3,)}, "an entry for each continuous layer"),
            ({"layer_rates": (3, 3)}, "asks for 3 bits, but n_clusters=4 carries at most 2"),
            ({"layer_rates": (3, -1)}, "must be positive"),
            ({"n_clusters": "auto", "layer_rates": (3, 5)}, "carries at most 4.32"),
            ({"n_clusters": 181}, "n_clusters=181 needs at least as many rows; X has 180"),
            ({"n_clusters": 0}, "n_clusters"),
            ({"n_components": (2, 3)}, "n_components has 2 entries"),
            ({"network": "fully-conv"}, "network"),
        ],
    )
    def test_parameters_that_make_no_sense(self, blobs, params, message):
        with pytest.raises(ValueError, match=message):
            HVAEClusterer(**{"n_clusters": 4, **TINY, **params}).fit(blobs[0])


class TestAuto:
    def test_the_number_of_clear_clusters_is_found(self, blobs):
        clusterer = HVAEClusterer("auto", **FAST).fit(blobs[0])
        assert adjusted_rand_score(blobs[1], clusterer.labels_) == 1

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    def test_with_a_rate_there_are_as_many_as_it_takes(self, blobs):
        clusterer = HVAEClusterer("auto", layer_rates=(4, 2.3), **FAST).fit(blobs[0])
        assert 4 < len(clusterer.cluster_sizes_) <= 20
        assert clusterer.rates_[-1] == pytest.approx(2.3, rel=0.1)

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    @pytest.mark.parametrize("n_rows", [2, 4, 11])
    def test_a_few_rows(self, blobs, n_rows):
        labels = HVAEClusterer("auto", **TINY).fit_predict(blobs[0][:n_rows])
        assert labels.shape == (n_rows,)


class TestWarmStart:
    @pytest.fixture
    def going_on(self, fitted):
        """A copy of the clusterer of four blobs that keeps its clusters."""
        return pickle.loads(pickle.dumps(fitted)).set_params(warm_start=True)  # noqa: S301

    def test_the_first_fit_is_like_any_other(self, fitted, blobs):
        first = HVAEClusterer(4, warm_start=True, **FAST).fit(blobs[0])
        np.testing.assert_array_equal(first.labels_, fitted.labels_)
        np.testing.assert_array_equal(first.cluster_tree_, fitted.cluster_tree_)

    def test_clusters_keep_their_numbers_and_the_model_follows_the_rows(self, going_on, blobs):
        moved = blobs[0] + [1.5, 1.5, 1.5]
        expected, before = going_on.predict(moved), going_on.distortion(moved).mean()
        centers, tree = going_on.cluster_centers_, going_on.cluster_tree_
        stability, rates = going_on.stability_, going_on.rates_
        going_on.fit(moved)
        np.testing.assert_array_equal(going_on.labels_, expected)
        np.testing.assert_array_equal(going_on.predict(moved), expected)
        assert going_on.cluster_sizes_.tolist() == np.bincount(expected).tolist()
        assert going_on.distortion(moved).mean() < before
        assert (going_on.cluster_centers_ - centers).mean() == pytest.approx(1.5, abs=0.3)
        assert going_on.rates_ == pytest.approx(rates, rel=0.05, abs=0.2)
        assert going_on.stability_ == stability
        assert going_on.cluster_tree_ is tree

    def test_a_cluster_without_rows_stays(self, going_on, blobs):
        gone = going_on.labels_[0]
        going_on.fit(blobs[0][going_on.labels_ != gone])
        assert going_on.cluster_sizes_[gone] == 0
        assert len(going_on.cluster_sizes_) == len(going_on.cluster_centers_) == 4
        assert gone not in going_on.labels_
        sizes = going_on.cluster_sizes_[going_on.cluster_sizes_ > 0]
        assert going_on.rates_[-1] == pytest.approx(entropy(sizes, base=2), abs=0.1)
        assert going_on.predict_proba(blobs[0]).shape == (180, 4)

    def test_rows_on_which_a_constant_column_varies(self):
        X, _ = make_blobs(90, centers=3, n_features=4, random_state=3)
        varying = X.copy()
        X[:, 3] = 7.0
        clusterer = HVAEClusterer(3, warm_start=True, **FAST).fit(X)
        labels = clusterer.labels_
        np.testing.assert_array_equal(clusterer.fit(varying).labels_, labels)
        assert clusterer.reconstruct(varying)[:, 3].std() > 0.5 * varying[:, 3].std()

    def test_a_fit_that_fails_leaves_the_clusterer_as_it_was(self, going_on, blobs):
        class Fail(Callback):
            def on_batch_end(self, net, **kwargs):
                raise RuntimeError("enough")

        rows = blobs[0][going_on.labels_ != 0]
        rates, distortion = going_on.rates(blobs[0]), going_on.distortion(blobs[0])
        with pytest.raises(RuntimeError, match="enough"):
            going_on.set_params(callbacks=[Fail()]).fit(rows)
        np.testing.assert_array_equal(going_on.rates(blobs[0]), rates)
        np.testing.assert_array_equal(going_on.distortion(blobs[0]), distortion)

    @pytest.mark.parametrize(
        "params",
        [
            {"consistency": 0.0},
            {"layer_rates": (4, 1.9), "max_epochs": 100, "batch_size": 30},
            {"n_clusters": "auto"},
            {"n_clusters": 1},
            {"likelihood": "poisson"},
            {"missing": "mask"},
        ],
    )
    def test_whatever_it_was_fitted_with(self, blobs, params):
        X = (blobs[0] - blobs[0].min()).round()
        if "missing" in params:
            X[0, 0] = np.nan
        clusterer = HVAEClusterer(**{"n_clusters": 4, **FAST, **params}).fit(X)
        labels, n_clusters = clusterer.labels_, len(clusterer.cluster_sizes_)
        clusterer.set_params(warm_start=True).fit(X)
        assert (clusterer.labels_ == labels).mean() > 0.98
        assert len(clusterer.cluster_sizes_) == n_clusters
        assert np.isfinite(clusterer.lower_bound_)

    def test_fewer_clusters_are_refused_and_more_are_told(self, going_on, blobs):
        with pytest.raises(
            ValueError, match="the 4 clusters of the last fit stay, but n_clusters=3"
        ):
            going_on.set_params(n_clusters=3).fit(blobs[0])
        with pytest.warns(ClusterWarning, match="the 4 clusters of the last fit stay"):
            going_on.set_params(n_clusters=6).fit(blobs[0])

    def test_other_layers_are_refused(self, going_on, blobs):
        with pytest.raises(ValueError, match="cannot be trained further with n_components"):
            going_on.set_params(n_components=5).fit(blobs[0])


class TestWarnings:
    def test_starts_that_disagree_are_told_with_the_number(self, blobs):
        with pytest.warns(ClusterWarning, match="the 20 starts agree poorly") as caught:
            clusterer = HVAEClusterer(2, **{**TINY, "n_init": 20}).fit(blobs[0])
        assert f"mean pairwise ARI {clusterer.stability_:.2f}" in str(caught[0].message)
        assert caught[0].filename == __file__
        assert clusterer.stability_ < 0.5

    def test_a_short_training_is_what_lost_clusters(self, blobs):
        params = {**FAST, "lr": 1e-9, "max_epochs": 1, "n_init": 4}
        clusterer = HVAEClusterer(4, **params)
        found = SimpleNamespace(
            rates=np.array([6.0, 0.5]),
            labels=np.minimum(blobs[1], 1),
            states=np.arange(2),
            sizes=np.array([90, 90]),
            stability=1.0,
            epochs=Epochs(1),
        )
        set_fitted(clusterer, found, {})
        targets = StateShares(np.eye(4)[blobs[1]], 2.0, 1.0)
        message = r"4 were found among neighbours.* 1 epochs 61% .* Train longer \(max_epochs\)"
        with pytest.warns(ClusterWarning, match=message):
            clusterer._warn_of_clusters(SimpleNamespace(has_wild_cells=False), targets, 180)

    @pytest.mark.parametrize(
        ("rates", "n_different", "n_sought", "reason"),
        [
            (None, 180, 4, r"Train longer \(max_epochs\)\.$"),
            ((4, 1), 180, 4, r"Train longer \(max_epochs\) or ask for more bits"),
            (None, 3, 2, "X has only 3 different rows"),
            ((4, 1), 180, 2, "Ask for fewer clusters, or ask for more bits"),
            (None, 18, 2, "X has 18 different rows, too few .* or pass more rows"),
            (None, 180, 2, "Neighbours do not tell more clusters apart"),
        ],
    )
    def test_each_loss_of_clusters_has_its_reason(self, rates, n_different, n_sought, reason):
        shares, states = np.eye(n_sought)[np.arange(180) % n_sought], np.arange(180) % 2
        outcome = ClusterOutcome.of(shares, states, n_different, has_wild_cells=False)
        assert re.search(reason, outcome.why_fewer(4, 2, 100, has_rates=rates is not None))

    def test_wild_cells_come_first(self, blobs):
        X = blobs[0].copy()
        X[0] = 1e7
        with (
            pytest.warns(OutlierWarning, match="row 0 has 1e\\+07"),
            pytest.warns(ClusterWarning, match="cells that an OutlierWarning has named"),
        ):
            HVAEClusterer(4, **{**TINY, "n_init": 20}).fit(X)

    def test_rates_that_nobody_asked_for_are_no_reason_to_warn(self):
        X = make_blobs(60, n_features=12, centers=2, random_state=0)[0]
        clusterer = HVAEClusterer(2, **{**TINY, "n_components": 1}).fit(X)
        assert not clusterer.converged_

    def test_a_missed_rate_is_told(self, blobs):
        with pytest.warns(RateTargetWarning, match="z_1 reached") as caught:
            HVAEClusterer(4, layer_rates=(300, 1.9), **TINY).fit(blobs[0])
        assert caught[0].filename == __file__

    def test_fit_comes_first(self, blobs):
        for call in (
            lambda clusterer: clusterer.predict(blobs[0]),
            lambda clusterer: clusterer.predict_proba(blobs[0]),
            lambda clusterer: clusterer.sample(2),
            lambda clusterer: clusterer.sample(2, cluster=0),
        ):
            with pytest.raises(NotFittedError):
                call(HVAEClusterer(4))

    @pytest.mark.parametrize("trained", ["first", "second"])
    def test_divergence_is_an_error(self, blobs, trained):
        class Break(Callback):
            def on_batch_end(self, net, **kwargs):
                with torch.no_grad():
                    next(net.module_.parameters()).fill_(torch.nan)

        params = {"first": {"lr": 1e30}, "second": {"callbacks": [Break()]}}[trained]
        clusterer = HVAEClusterer(4, **{**TINY, "max_epochs": 20, **params})
        with pytest.raises(TrainingDivergedError, match="diverged") as raised:
            clusterer.fit(blobs[0])
        assert ("the clusterer is as it was before" in str(raised.value)) == (trained == "first")
        if trained == "first":
            with pytest.raises(NotFittedError):
                clusterer.transform(blobs[0])
        else:
            assert np.isfinite(clusterer.transform(blobs[0])).all()


@pytest.mark.slow
def test_digits():
    X, y = load_digits(return_X_y=True)
    clusterer = HVAEClusterer(10, max_epochs=30, random_state=0).fit(X)
    peer = KMeans(10, n_init=10, random_state=0).fit(X)
    assert adjusted_rand_score(y, clusterer.labels_) > adjusted_rand_score(y, peer.labels_) + 0.1
    assert clusterer.stability_ > 0.7


@pytest.mark.slow
def test_states_are_drawn_when_layers_are_resampled(iris):
    clusterer = HVAEClusterer(3, max_epochs=20, random_state=0).fit(iris)
    states = clusterer.predict(iris)
    drawn = clusterer.reconstruct(iris, layer=2, resample=True)
    for cluster, size in enumerate(clusterer.cluster_sizes_):
        same = clusterer.sample(2000, cluster=cluster, mean=True)
        inside = drawn[states == cluster]
        assert len(inside) == size
        error = same.std(0) / size**0.5
        assert (np.abs(inside.mean(0) - same.mean(0)) < 5 * error + 0.1).all()
