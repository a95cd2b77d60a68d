"""The tree over clusters, against a direct computation of what a merger loses."""

import itertools

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, is_valid_linkage
from scipy.stats import entropy

from sk_hvae._clustering.tree import count_clusters, merge_to_rate, merge_tree


def random_joint(k, seed=0):
    joint = np.random.default_rng(seed).random((k, k)) + k * np.eye(k)
    return joint + joint.T


def information(joint):
    joint = joint / joint.sum()
    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())


def share_lost(walks, a, b):
    """Information between (a or b, where a walk from there ends) that merging a and b loses."""
    pair = walks[[a, b]]
    return information(pair) / entropy(pair.sum(1))


@pytest.mark.parametrize("seed", range(5))
def test_those_that_walks_confuse_most_are_merged_first(seed):
    joint = random_joint(5, seed)
    step = joint / joint.sum(1, keepdims=True)
    walks = joint.sum(1, keepdims=True) * np.linalg.matrix_power(step, 4)
    shares = {pair: share_lost(walks, *pair) for pair in itertools.combinations(range(5), 2)}
    first = merge_tree(joint)[0]
    assert tuple(first[:2].astype(int)) == min(shares, key=shares.get)
    assert first[2] == pytest.approx(min(shares.values()))


@pytest.mark.parametrize("k", [2, 3, 8])
def test_it_is_a_linkage_with_heights_from_0_to_1(k):
    tree = merge_tree(random_joint(k))
    assert is_valid_linkage(tree)
    assert tree.shape == (k - 1, 4)
    assert tree[-1, 3] == k
    assert (np.diff(tree[:, 2]) >= 0).all()
    assert tree[0, 2] >= 0
    assert tree[-1, 2] <= 1


def test_clusters_that_are_never_confused_are_at_height_1():
    np.testing.assert_allclose(merge_tree(np.diag([5.0, 1.0, 3.0]))[:, 2], 1)


def test_clusters_that_are_always_confused_are_at_height_0():
    np.testing.assert_allclose(merge_tree(np.ones((3, 3)))[:, 2], 0, atol=1e-9)


def test_one_cluster_has_an_empty_tree():
    assert merge_tree(np.ones((1, 1))).shape == (0, 4)


def groups_of(sizes, inside=0.4, across=0.001):
    """Edges among clusters that belong to groups."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(group[:, None] == group, inside, across) + np.eye(len(group))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 2, 4), (1, 1, 5)])
def test_the_number_of_clusters_is_that_of_groups_that_mix_inside(sizes):
    tree = merge_tree(groups_of(sizes))
    assert count_clusters(tree) == len(sizes)
    expected = np.repeat(np.arange(len(sizes)), sizes)
    merged = cut_tree(tree, n_clusters=len(sizes)).ravel()
    assert len({*zip(expected.tolist(), merged.tolist(), strict=True)}) == len(sizes)


@pytest.mark.parametrize("k", [1, 2])
def test_one_or_two_clusters_stay(k):
    assert count_clusters(merge_tree(random_joint(k))) == k


@pytest.mark.parametrize(("rate", "n_clusters"), [(0.5, 2), (1.0, 2), (1.5, 3), (2.0, 4), (2.2, 4)])
def test_clusters_are_merged_as_far_as_their_entropy_is_enough(rate, n_clusters):
    labels = np.repeat(np.arange(4), 10)
    merged = merge_to_rate(labels, merge_tree(groups_of((2, 2), 0.1)), rate)
    assert len(set(merged)) == n_clusters
    assert sorted(set(merged)) == list(range(n_clusters))
