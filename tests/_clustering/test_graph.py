"""Partitions of graphs, checked by hand, by brute force and against scikit-learn."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import entropy
from sklearn.cluster import SpectralClustering
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from sk_hvae._clustering.graph import (
    Partition,
    _agreement,
    _best,
    _refine,
    _spectrum,
    edge_shares,
    find_clusters,
    information,
    neighbour_shares,
    partition,
    shared_neighbour_graph,
)


def random_state(seed=0):
    return np.random.RandomState(seed)


def random_graph(n, seed=0):
    weights = random_state(seed).rand(n, n)
    return csr_array(np.triu(weights, 1) + np.triu(weights, 1).T)


def two_cliques(n, bridge=1.0):
    """Two complete graphs of n nodes with one edge between them."""
    weights = np.kron(np.eye(2), np.ones((n, n))) - np.eye(2 * n)
    weights[n - 1, n] = weights[n, n - 1] = bridge
    return csr_array(weights)


class TestSharedNeighbourGraph:
    def test_weights_are_the_jaccard_index_of_the_neighbourhoods(self):
        points = random_state().normal(size=(30, 3))
        index = NearestNeighbors(n_neighbors=4).fit(points).kneighbors(return_distance=False)
        near = [{i, *index[i]} for i in range(30)]
        expected = np.zeros((30, 30))
        for i in range(30):
            for j in index[i]:
                expected[i, j] = len(near[i] & near[j]) / len(near[i] | near[j])
        graph = shared_neighbour_graph(points, 4).toarray()
        np.testing.assert_allclose(graph, expected + expected.T)

    def test_rows_that_are_all_alike_can_be_joined(self):
        graph = shared_neighbour_graph(np.ones((10, 2)), 3)
        assert (graph.sum(1) > 0).all()


class TestInformation:
    def test_it_is_the_mutual_information_of_the_ends_of_an_edge(self):
        graph = random_graph(12)
        labels = random_state(1).randint(3, size=12)
        joint = np.zeros((3, 3))
        for i, j in itertools.product(range(12), repeat=2):
            joint[labels[i], labels[j]] += graph[i, j]
        joint /= joint.sum()
        expected = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
        assert information(edge_shares(graph, labels)) == pytest.approx(expected / np.log(2))

    @pytest.mark.parametrize("n_clusters", [2, 4])
    def test_clusters_without_an_edge_between_them_tell_everything(self, n_clusters):
        joint = np.eye(n_clusters) / n_clusters
        assert information(joint) == pytest.approx(np.log2(n_clusters))

    def test_escape_is_the_mean_share_of_edges_that_leave(self):
        found = partition(two_cliques(3), np.repeat([0, 1], 3))
        assert found.escape == pytest.approx(1 / 7)

    def test_neighbour_shares_add_up_by_weight(self):
        graph = csr_array(np.array([[0, 1, 3], [1, 0, 0], [3, 0, 0]]))
        shares = neighbour_shares(graph, np.array([0, 0, 1]))
        assert shares.tolist() == [[0.25, 0.75], [1, 0], [1, 0]]


class TestSpectrum:
    @pytest.mark.parametrize("n", [8, 40])
    def test_it_is_that_of_the_normalised_adjacency(self, n):
        graph = random_graph(n)
        values, vectors = _spectrum(graph, 3, random_state(), lambda: None)
        joined = graph.toarray() + 0.01 * graph.sum() / n**2
        scale = joined.sum(1) ** -0.5
        expected = np.sort(np.linalg.eigvalsh(scale[:, None] * joined * scale))[::-1]
        np.testing.assert_allclose(values, expected[:3].clip(0), atol=1e-4)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-6)

    def test_pieces_of_a_graph_are_told_apart(self):
        graph = csr_array(np.kron(np.eye(3), np.ones((20, 20)) - np.eye(20)))
        _, vectors = _spectrum(graph, 3, random_state(), lambda: None)
        pieces = vectors.reshape(3, 20, 3)
        assert np.ptp(pieces, axis=1).max() < 1e-3
        assert np.linalg.matrix_rank(pieces.mean(1), tol=1e-3) == 3


class TestFindClusters:
    def test_it_finds_the_partition_of_most_information(self):
        graph = two_cliques(4) + 0.05 * random_graph(8)
        best = max(
            (
                partition(graph, np.array((0, *rest)))
                for rest in itertools.product((0, 1), repeat=7)
                if any(rest)
            ),
            key=lambda found: found.information,
        )
        found = find_clusters(graph, 2, 4, random_state())
        assert adjusted_rand_score(found.labels, best.labels) == 1

    def test_nodes_on_the_wrong_side_are_moved(self):
        labels = np.repeat([0, 1], 6)
        labels[[2, 8]] = labels[[8, 2]]
        refined = _refine(two_cliques(6), labels)
        assert adjusted_rand_score(refined, np.repeat([0, 1], 6)) == 1

    @pytest.mark.parametrize("seed", range(4))
    def test_nodes_are_moved_as_by_the_edges_of_all_of_them(self, seed):
        X, _ = make_blobs(300, centers=5, cluster_std=2, random_state=seed)
        graph = shared_neighbour_graph(X, 10)
        start = np.unique(random_state(seed).randint(12, size=300), return_inverse=True)[1]

        labels = start
        for _ in range(20):
            own = np.eye(labels.max() + 1)[labels]
            weights = graph.toarray() @ own
            joint = own.T @ weights / graph.sum()
            share = joint.sum(1)
            odds = np.log((joint + 1e-9) / np.outer(share, share))
            before, labels = labels, np.unique((weights @ odds).argmax(1), return_inverse=True)[1]
            if np.mean(labels != before) <= 5e-4:
                break

        np.testing.assert_array_equal(_refine(graph, start), labels)

    def test_shapes_that_are_not_round(self):
        X, y = make_moons(400, noise=0.05, random_state=0)
        graph = shared_neighbour_graph(X, 15)
        found = find_clusters(graph, 2, 10, random_state())
        peer = SpectralClustering(2, affinity="precomputed", random_state=0).fit(graph.toarray())
        assert adjusted_rand_score(y, found.labels) >= adjusted_rand_score(y, peer.labels_)
        assert adjusted_rand_score(y, found.labels) > 0.95

    @pytest.mark.parametrize("seed", range(3))
    def test_clusters_of_very_unequal_size(self, seed):
        centers = [[0, 0], [12, 0], [0, 12]]
        X, y = make_blobs([500, 40, 30], centers=centers, random_state=seed)
        found = find_clusters(shared_neighbour_graph(X, 10), 3, 10, random_state(seed))
        assert adjusted_rand_score(y, found.labels) == 1

    def test_clear_clusters_are_found_by_every_start(self):
        X, _ = make_blobs(90, centers=[[0, 0], [20, 0], [0, 20]], random_state=0)
        assert find_clusters(shared_neighbour_graph(X, 10), 3, 5, random_state()).stability == 1

    # scikit-learn 1.7 takes clusters of one row each for the targets of a regression.
    @pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
    def test_agreement_is_the_mean_rand_index_of_all_pairs(self):
        labellings = [random_state(k).randint(k, size=40) for k in (1, 2, 3, 3, 7)]
        labellings += [np.zeros(40, int), np.arange(40), np.arange(40)[::-1]]
        pairs = itertools.combinations(labellings, 2)
        expected = np.mean([adjusted_rand_score(a, b) for a, b in pairs])
        assert _agreement(labellings) == pytest.approx(expected, abs=1e-12)
        assert _agreement(labellings[:1]) == 1

    def test_starts_disagree_where_there_are_no_clusters(self):
        X = random_state().normal(size=(300, 8))
        assert find_clusters(shared_neighbour_graph(X, 10), 6, 8, random_state()).stability < 0.5

    def test_the_best_start_has_most_clusters_is_closed_and_tells_most(self):
        def start(n_clusters, information, escape):
            return Partition(np.arange(n_clusters), information, escape)

        fewer, open_, best, dull = starts = [
            start(2, 1.9, 0.0),
            start(3, 1.8, 0.25),
            start(3, 1.5, 0.21),
            start(3, 1.4, 0.2),
        ]
        assert _best(starts, None) is best
        assert _best([fewer, open_], None) is open_
        assert _best([dull], None) is dull

    def test_a_few_outliers_are_no_cluster(self):
        halves = Partition(np.repeat([0, 1], 10), 0.9, 0.1)
        outlier = Partition(np.repeat([0, 1], [19, 1]), 0.1, 0.0)
        assert _best([outlier, halves], None) is halves
        assert _best([outlier, halves], np.array([1] * 19 + [5])) is outlier

    def test_a_row_that_hardly_any_edge_leads_to_is_no_cluster(self):
        weights = np.kron(np.eye(2), np.ones((20, 20))) + 0.05
        weights = np.pad(weights, (0, 1), constant_values=0.0)
        weights[-1, -1], weights[-1, 0], weights[0, -1] = 1.0, 0.01, 0.01
        found = find_clusters(csr_array(weights), 2, 4, np.random.RandomState(0))
        assert sorted(np.bincount(found.labels)) == [20, 21]

    @pytest.mark.parametrize("n_clusters", [1, 2, 5])
    def test_labels_are_consecutive(self, n_clusters):
        graph = shared_neighbour_graph(random_state().normal(size=(12, 2)), 2)
        labels = find_clusters(graph, n_clusters, 3, random_state()).labels
        assert sorted(set(labels)) == list(range(labels.max() + 1))
        assert labels.max() < n_clusters

    def test_more_clusters_than_different_rows_give_fewer(self):
        graph = shared_neighbour_graph(np.repeat(np.eye(2), 6, axis=0), 5)
        assert find_clusters(graph, 4, 3, random_state()).labels.max() < 4

    def test_the_same_seed_gives_the_same_clusters(self):
        graph = shared_neighbour_graph(random_state().normal(size=(100, 3)), 5)
        first, second = (find_clusters(graph, 4, 5, random_state(3)) for _ in range(2))
        assert first.labels.tolist() == second.labels.tolist()
        assert first.stability == second.stability
