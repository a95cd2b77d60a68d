"""Repeated rows: found wherever they are kept, and weights of a row for the clusterer."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_wine
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch.utils.data import TensorDataset

from sk_hvae import HVAEClusterer
from sk_hvae._clustering.graph import confusion_graph
from sk_hvae._clustering.state_shares import ClusterSearch
from sk_hvae._data.rows import SparseRows, as_rows
from sk_hvae._input.repeats import Repeats
from sk_hvae.exceptions import ClusterWarning

FAST = {"hidden_layer_sizes": (32, 32), "n_components": 4, "random_state": 0}


def three_blobs(n=20):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(n, 5)) + 9 * e for e in np.eye(5)[:3]])
    return X, np.repeat(np.arange(3), n)


def answers(seed=0, n=600, p=0.96):
    """Six yes/no questions to three groups: about 30 different rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    profiles = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]])[y]
    return np.where(rng.random((n, 6)) < p, profiles, 1 - profiles).astype(float), y


def scales(seed=0, n=600):
    """Four answers from 1 to 5."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    means = np.array([[1, 1, 4, 4], [4, 4, 1, 1], [2, 4, 4, 2]])[y]
    return (means + 0.6 * rng.normal(size=(n, 4))).round().clip(1, 5), y


def small_counts(seed=0, n=600):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.poisson(np.array([[0.3, 0.3, 6], [6, 0.3, 0.3], [0.3, 6, 0.3]])[y]), y


class TestRepeats:
    @pytest.mark.parametrize(
        "kept",
        [
            as_rows,
            lambda X: as_rows(X.astype(np.float32)),
            lambda X: as_rows(X.astype(np.int8)),
            lambda X: SparseRows(sparse.csr_array(X)),
            lambda X: as_rows(TensorDataset(torch.from_numpy(X))),
        ],
        ids=["float64", "float32", "int8", "sparse", "Dataset"],
    )
    def test_they_are_those_of_numpy_in_order_of_appearance(self, kept, monkeypatch):
        monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 600)
        X, _ = answers()
        found = Repeats.among(kept(X))
        different, counts = np.unique(X, axis=0, return_counts=True)
        assert np.array_equal(X[found.first][found.member], X)
        assert (np.diff(found.first) > 0).all()
        assert len(found.first) == len(different)
        assert sorted(found.counts) == sorted(counts)
        shares = counts / 600
        assert found.entropy == pytest.approx(-(shares * np.log2(shares)).sum())

    def test_missing_cells_are_alike_and_unlike_values(self):
        X = np.array([[np.nan, 1], [np.nan, 1], [0, 1], [1, np.nan], [0.0, 1], [-0.0, 1]])
        assert Repeats.among(as_rows(X)).member.tolist() == [0, 0, 1, 2, 1, 1]

    @pytest.mark.parametrize("offset", [0, 1.7e9])
    def test_rounding_makes_no_difference(self, offset):
        X = three_blobs()[0] + offset
        noisy = np.concatenate([X, X / 3 * 3, X / 7 * 7])
        assert Repeats.among(as_rows(noisy)).member.tolist() == [*range(60)] * 3

    def test_one_wild_cell_makes_nobody_alike(self):
        X = three_blobs()[0]
        X[0, 0] = 1e12
        assert len(Repeats.among(as_rows(X)).first) == 60

    @pytest.mark.parametrize(
        ("X", "are_density"),
        [
            (answers()[0], True),
            (scales()[0], True),
            (small_counts()[0], True),
            (np.repeat(answers(n=50, p=0.7)[0], 3, axis=0)[:140], True),
            (three_blobs()[0], False),
            (np.repeat(three_blobs()[0], 7, axis=0), False),
            (np.repeat(three_blobs()[0], np.arange(2, 62), axis=0), False),
            (np.repeat(np.unique(scales()[0], axis=0), 20, axis=0), False),
            (np.ones((20, 3)), False),
        ],
    )
    def test_counts_are_a_density_where_rows_are_no_individuals(self, X, are_density):
        assert Repeats.among(as_rows(X)).are_density is are_density


class TestConfusionGraph:
    def test_it_is_the_joint_distribution_of_two_guesses(self):
        means, stds = np.array([[0.0], [1.0], [4.0]]), np.array([[0.5], [1.0], [0.7]])
        shares = np.array([0.5, 0.3, 0.2])
        z = np.linspace(-12, 16, 20_001)
        density = np.exp(-0.5 * ((z - means) / stds) ** 2) / stds / np.sqrt(2 * np.pi)
        both = shares[:, None] * density
        guesses = both / both.sum(0)
        expected = (guesses * both.sum(0)) @ guesses.T * (z[1] - z[0])
        draws = [
            confusion_graph(means, stds, 7 * shares, np.random.RandomState(seed)).toarray()
            for seed in range(100)
        ]
        np.testing.assert_allclose(np.mean(draws, 0), expected, atol=0.01)
        np.testing.assert_allclose(draws[0], draws[0].T)
        assert draws[0].sum() == pytest.approx(1)


class TestTargets:
    def test_every_copy_has_those_of_its_row(self):
        X, _ = three_blobs()
        member = np.repeat(np.arange(60), np.arange(1, 61))
        once = ClusterSearch(3, None, 4, 10, 0).find(X)
        copied = ClusterSearch(3, None, 4, 10, 0).find(X, member)
        assert np.array_equal(copied.shares, once.shares[member])
        assert copied.stability == once.stability

    def test_no_more_different_rows_than_clusters(self):
        found = ClusterSearch(4, None, 4, 10, 0).find(np.eye(3), np.arange(9) % 3)
        assert np.array_equal(found.shares, np.eye(3)[np.arange(9) % 3])

    @pytest.mark.parametrize("n_clusters", [3, None])
    def test_weights_are_scale_free(self, n_clusters):
        X, _ = scales()
        different, member = np.unique(X, axis=0, return_inverse=True)
        member = member.ravel()  # numpy 2.0 gives it a second axis
        search = ClusterSearch(n_clusters, None, 4, 10, 0)
        stds = np.full(different.shape, 0.7)
        once = search.find(different, member, stds)
        copied = search.find(different, np.repeat(member, 3), stds)
        assert np.array_equal(copied.shares, np.repeat(once.shares, 3, axis=0))


class TestClusterer:
    def test_equal_copies_change_nothing_before_the_training(self, monkeypatch):
        X, seen = load_wine().data[::2], []
        find = ClusterSearch.find

        def look(self, latents, *others, **options):
            seen.append(latents)
            return find(self, latents, *others, **options)

        monkeypatch.setattr(ClusterSearch, "find", look)
        for rows in (X, np.repeat(X, 5, axis=0), pd.DataFrame(np.tile(X, (3, 1)))):
            as_array = {"likelihood": "gaussian", "missing": "error"}
            HVAEClusterer(3, max_epochs=5, n_init=2, **as_array, **FAST).fit(rows)
        assert np.array_equal(seen[0], seen[1])
        assert np.array_equal(seen[0], seen[2])

    @pytest.mark.parametrize(
        ("times", "n_clusters"),
        [
            (2, "auto"),
            (20, 3),
            (np.random.default_rng(1).integers(2, 30, 60), 3),
            (np.r_[[40] * 4, [1] * 56], "auto"),
        ],
    )
    def test_copies_of_blobs(self, times, n_clusters):
        X, y = three_blobs()
        X, y = np.repeat(X, times, axis=0), np.repeat(y, times)
        clusterer = HVAEClusterer(n_clusters, max_epochs=40, **FAST).fit(X)
        assert adjusted_rand_score(y, clusterer.labels_) == 1
        assert clusterer.stability_ == 1
        assert sorted(clusterer.cluster_sizes_) == sorted(np.bincount(y))
        assert clusterer.cluster_tree_.shape == (2, 4)

    @pytest.mark.parametrize(
        ("table", "likelihood"),
        [
            (answers, "bernoulli"),
            (answers, "categorical"),
            (scales, "gaussian"),
            (small_counts, "poisson"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_small_discrete_tables_as_well_as_peers(self, table, likelihood):
        X, y = table()
        labels = HVAEClusterer(3, likelihood=likelihood, **FAST).fit_predict(X)
        peers = (KMeans(3, n_init=10, random_state=0), GaussianMixture(3, n_init=3, random_state=0))
        best = max(adjusted_rand_score(y, peer.fit_predict(X)) for peer in peers)
        assert adjusted_rand_score(y, labels) >= best - 0.03

    def test_the_number_of_groups_of_answers(self):
        assert 2 <= HVAEClusterer("auto", **FAST).fit_predict(scales()[0]).max() + 1 <= 4

    @pytest.mark.parametrize("n_different", [1, 3])
    def test_fewer_different_rows_than_clusters(self, n_different):
        X = np.repeat(10 * np.eye(4)[:n_different], 30, axis=0)
        message = f"X has only {n_different} different row"
        with pytest.warns(ClusterWarning, match=message):
            clusterer = HVAEClusterer(4, max_epochs=30, **FAST).fit(X)
        assert clusterer.cluster_sizes_.tolist() == [30] * n_different
