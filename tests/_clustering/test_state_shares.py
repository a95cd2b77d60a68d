"""The shares of states that a categorical layer should learn, and what they carry."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from sk_hvae._clustering.state_shares import ClusterSearch, shared_information, temper


def random_shares(k=3, n=200):
    return np.random.default_rng(0).dirichlet([0.3] * k, size=n)


def search(**params):
    given = {"n_clusters": 3, "rate": None, "n_init": 4, "n_neighbors": 10, "seed": 0}
    return ClusterSearch(**{**given, **params})


@pytest.fixture(scope="module")
def blobs():
    return make_blobs([50, 40, 30], centers=[[0, 0], [12, 0], [0, 12]], random_state=0)


class TestSearch:
    @pytest.mark.parametrize("n_clusters", [3, None])
    def test_shares_are_those_of_the_clusters_of_the_neighbours(self, blobs, n_clusters):
        found = search(n_clusters=n_clusters).find(blobs[0])
        assert found.shares.dtype == np.float32
        np.testing.assert_allclose(found.shares.sum(1), 1, rtol=1e-6)
        assert adjusted_rand_score(blobs[1], found.shares.argmax(1)) == 1

    def test_information_is_the_entropy_of_clear_clusters(self, blobs):
        p = np.bincount(blobs[1]) / len(blobs[1])
        assert search().find(blobs[0]).information == pytest.approx(-(p * np.log2(p)).sum())

    @pytest.mark.parametrize(("rate", "n_states"), [(0.5, 2), (0.8, 2), (1.2, 3)])
    def test_they_carry_the_rate_in_as_many_states_as_it_takes(self, blobs, rate, n_states):
        found = search(rate=rate).find(blobs[0])
        assert found.shares.shape[1] == n_states
        assert found.information == pytest.approx(rate, abs=1e-3)

    def test_rows_outside_the_graph_have_none(self, blobs, monkeypatch):
        monkeypatch.setattr("sk_hvae._clustering.state_shares._MOST_GRAPH_ROWS", 60)
        shares = search().find(blobs[0]).shares
        assert (shares.sum(1) > 0).sum() == 60
        assert shares.shape == (120, 3)

    @pytest.mark.parametrize("n_rows", [2, 3, 7])
    @pytest.mark.parametrize("n_clusters", [None, 1, 2])
    def test_a_few_rows(self, blobs, n_rows, n_clusters):
        shares = search(n_clusters=n_clusters).find(blobs[0][:n_rows]).shares
        assert len(shares) == n_rows
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)


class TestTemper:
    @pytest.mark.parametrize("rate", [0.2, 1.0, 1.5])
    def test_shares_carry_the_rate_and_keep_their_order(self, rate):
        shares = random_shares()
        tempered = temper(shares, rate)
        assert shared_information(tempered) == pytest.approx(rate, abs=1e-3)
        np.testing.assert_allclose(tempered.sum(1), 1)
        assert np.array_equal(tempered.argmax(1), shares.argmax(1))

    def test_shares_that_are_certain_can_be_softened(self):
        assert shared_information(temper(np.eye(4), 0.5)) == pytest.approx(0.5, abs=1e-3)

    def test_a_rate_out_of_reach_makes_shares_certain(self):
        tempered = temper(np.array([[0.6, 0.4], [0.3, 0.7]]), 5.0)
        np.testing.assert_allclose(tempered, np.eye(2), atol=1e-6)

    def test_a_rate_that_is_reached_before_all_rows_agree_is_carried(self):
        # Both rows prefer the first cluster, so that their largest powers carry nothing.
        shares = np.array([[0.9, 0.1], [0.6, 0.4]])
        powers = shares ** np.geomspace(0.01, 100, 2000)[:, None, None]
        carried = [shared_information(p / p.sum(1, keepdims=True)) for p in powers]
        assert carried[-1] < 1e-6
        rate = 0.5 * max(carried)
        assert shared_information(temper(shares, rate)) == pytest.approx(rate, abs=1e-6)

    def test_information_is_the_entropy_of_the_mean_less_the_mean_entropy(self):
        assert shared_information(np.array([[1, 0], [0, 1], [0.5, 0.5]])) == pytest.approx(2 / 3)
