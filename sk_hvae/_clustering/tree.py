"""A tree over clusters: those that walks among neighbours confuse are merged first."""

import numpy as np
from scipy.stats import entropy

# Longer walks confuse more clusters, in the end all; a single step hardly ever confuses two.
_WALK_STEPS = 4


def merge_tree(joint, n_steps=_WALK_STEPS):
    """Merge clusters step by step, each time the two that are hardest to distinguish.

    This is the agglomerative information bottleneck (Slonim & Tishby, NeurIPS 1999) with another
    cost. Merging two clusters loses information between them and the end of a walk. The cost is
    the lost share of that information, not its amount, so that small clusters count as much as
    large ones.

    Parameters
    ----------
    joint : ndarray of shape (k, k)
        Weight of the edges between any two clusters, symmetric; every cluster has some. Walks
        are taken from cluster to cluster.
    n_steps : int, default=4
        Length of the walks.

    Returns
    -------
    ndarray of shape (k - 1, 4)
        In scipy's linkage format. Heights are 0 if walks from the two clusters end alike and
        1 if never; the last column counts clusters.
    """
    k = len(joint)
    share = joint.sum(1, keepdims=True)
    joint = share * np.linalg.matrix_power(joint / share, n_steps) / share.sum()
    rows, counts = dict(enumerate(joint)), dict.fromkeys(range(k), 1)
    merges, height = [], 0.0
    for new in range(k, 2 * k - 1):
        names = list(rows)
        shares = _shares_lost(np.array(list(rows.values())))
        a, b = np.unravel_index(shares.argmin(), shares.shape)
        first, second = sorted((names[a], names[b]))
        height = max(height, float(shares[a, b]))
        count = counts[first] + counts[second]
        merged = rows.pop(first) + rows.pop(second)
        rows[new], counts[new] = merged, count
        merges.append([first, second, height, count])
    return np.array(merges, dtype=float).reshape(-1, 4)


def merge_to_rate(labels, tree, rate, weights=None):
    """Merge clusters as far as their entropy still reaches a rate.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Clusters of the tree.
    tree : ndarray of shape (k - 1, 4)
        See `merge_tree`.
    rate : float
        Bits.
    weights : ndarray of shape (n,), default=None
        How much each label counts; None for 1.

    Returns
    -------
    ndarray of shape (n,)
        The smallest number of clusters whose entropy is at least ``rate``; all k if there is
        none.
    """
    from scipy.cluster.hierarchy import cut_tree

    for k in range(1, len(tree) + 1):
        merged = cut_tree(tree, n_clusters=k).ravel()[labels]
        if entropy(np.bincount(merged, weights), base=2) >= rate:
            return merged
    return labels


def count_clusters(tree):
    """Choose a number of clusters: before the largest step in the heights of their tree."""
    heights = tree[:, 2]
    if len(heights) < 2:
        return len(heights) + 1
    return len(heights) - int(np.argmax(np.diff(heights)))


def _shares_lost(rows):
    """Return the share of information lost by merging any two rows; inf on the diagonal."""
    left_open = _weighted_entropy(rows)
    merged = _weighted_entropy(rows[:, None] + rows[None])
    lost = merged - (left_open[:, None] + left_open[None])
    sizes = rows.sum(1)
    pair = np.stack(np.broadcast_arrays(sizes[:, None], sizes[None]), -1)
    shares = lost / _weighted_entropy(pair)
    np.fill_diagonal(shares, np.inf)
    return shares


def _weighted_entropy(rows):
    """Return the entropies over the last axis, in nats, times the sums over it."""
    return rows.sum(-1) * entropy(rows, axis=-1)
