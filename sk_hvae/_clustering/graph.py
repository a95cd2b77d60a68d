"""Clusters of rows in a graph: those that say most about the clusters of a row's neighbours.

A partition of a graph is judged by the information, in bits, that the cluster of one end of a
random edge carries about the cluster of the other end. It is the log-likelihood per edge of a
degree-corrected stochastic block model (Karrer & Newman, Physical Review E 83, 016107, 2011).
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, csr_matrix, diags_array, eye_array, vstack
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import softmax
from sklearn.utils.parallel import delayed

from sk_hvae._sklearn.inner_fits import k_means, neighbour_graph
from sk_hvae._sklearn.parallel import run_parallel

# Of the mean degree: enough to make eigenvectors of a graph in pieces unique, and to give none to a
# row that hardly any edge leads to; too little to join clusters.
_COUPLING = 0.01
# Eigenvectors are only where k-means starts, which a refinement follows.
_EIGENVALUE_TOLERANCE = 1e-4
# Starts are to differ: every second one weighs eigenvectors by a diffusion of so many steps, which
# leaves 1% of one whose eigenvalue is 0.8.
_DIFFUSION_STEPS = 20
# Runs of k-means within each start; the starts themselves differ already.
_RESTARTS = 2
# Samples of the code of each row: the noise of the edges falls with the root of their number, and
# the time grows in proportion.
_DRAWS = 30
# Sweeps over all nodes; they end when no more than 5 in 10,000 change their cluster.
_MOST_SWEEPS, _SETTLED = 20, 5e-4
# Eigenvectors beyond the number of clusters count if they diffuse at most twice as fast. Of the
# partitions whose clusters edges leave within 20% as seldom as in the best, the most informative
# wins: more tolerance prefers clusters of equal size, less prefers small closed ones.
# examples/benchmarks/clustering.py compares the clusters with classes.
_SIMILAR_PACE, _SIMILAR_ESCAPE = 2.0, 1.2
# Fewer rows than these are outliers, which edges hardly leave, and no cluster.
_FEWEST_ROWS = 5
# Rows have neighbours in common with many more rows than they are joined to, so that the product of
# the whole graph takes much more memory than the graph.
_ROWS_AT_ONCE = 4096
# Share of edges for which two clusters without any still count, so that its logarithm is finite.
_FLOOR = 1e-9


class Partition(NamedTuple):
    """Clusters of the nodes of a graph.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        Consecutive from 0.
    information : float
        Information, in bits, of the cluster of one end of an edge about that of the other.
    escape : float
        Mean over clusters of the share of edges that leave.
    """

    labels: np.ndarray
    information: float
    escape: float


class Clustering(NamedTuple):
    """The best of several partitions, and how well they agree.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        Of the best partition.
    stability : float
        Mean adjusted Rand index of all pairs of partitions; 1 if there is one only.
    """

    labels: np.ndarray
    stability: float


def shared_neighbour_graph(points, n_neighbors):
    """Join every point to its nearest neighbours, with a weight for the neighbours in common.

    The weight of an edge is the Jaccard index of the two neighbourhoods. It is small for edges
    that bridge dense regions (Jarvis & Patrick, IEEE Transactions on Computers, 1973).

    Parameters
    ----------
    points : ndarray of shape (n, n_features)
        At least 2 points.
    n_neighbors : int
        Fewer than n.

    Returns
    -------
    csr_array of shape (n, n)
        Symmetric, without loops.
    """
    joined = neighbour_graph(points, n_neighbors)
    near = joined + eye_array(len(points), format="csr")
    starts = range(0, len(points), _ROWS_AT_ONCE)
    blocks = (slice(start, start + _ROWS_AT_ONCE) for start in starts)
    shared = vstack([(near[block] @ near.T) * joined[block] for block in blocks], format="csr")
    shared.data /= 2 * (n_neighbors + 1) - shared.data
    return csr_array(shared + shared.T)


def confusion_graph(means, stds, weights, random_state):
    """Join rows that are confused if a row has to be guessed from a sample of its code.

    Somebody draws a row at random, and a sample of its code; two others guess independently
    which row it was. The weight of an edge is the probability that they guess its two ends. The
    weights are thus a joint distribution: symmetric, with the frequencies of the rows as sums,
    and with copies of a row joined to each other.

    Parameters
    ----------
    means, stds : ndarray of shape (n, n_units)
        Of the code of every row, Gaussian, units independent.
    weights : ndarray of shape (n,)
        How frequent the rows are.
    random_state : RandomState
        Draws 30 samples of the code of each row.

    Returns
    -------
    csr_array of shape (n, n)
        Adds up to 1.
    """
    shares, precisions = weights / weights.sum(), stds**-2.0
    constants = np.log(shares) - np.log(stds).sum(1) - 0.5 * (means**2 * precisions).sum(1)
    joint = np.zeros((len(means), len(means)))
    for _ in range(_DRAWS):
        z = means + stds * random_state.normal(size=means.shape)
        guesses = softmax(z @ (means * precisions).T - 0.5 * z**2 @ precisions.T + constants, 1)
        joint += guesses.T @ (shares[:, None] * guesses)
    return csr_array((joint + joint.T) / (2 * _DRAWS))


def no_bar(name, total=None, unit=""):  # noqa: ARG001 a bar would show them
    """Stand for a bar where none is shown."""
    return nullcontext(lambda: None)


def find_clusters(graph, n_clusters, n_init, random_state, weights=None, bar=no_bar):
    """Partition a graph from several starts and keep the best.

    A start is k-means on the leading eigenvectors of the normalised adjacency, rows scaled to
    length 1 (Ng, Jordan & Weiss, NeurIPS 2001). Starts differ in how many eigenvectors they
    take, from n_clusters to twice as many, as long as these diffuse at most twice as fast, and
    in whether these are weighted by a diffusion of 20 steps. Each is refined by moving nodes to
    the clusters that are most likely under the block model. Each has a seed of its own, so that
    ``joblib.parallel_config`` may spread them over processes without changing the result.

    Parameters
    ----------
    graph : csr_array of shape (n, n)
        Symmetric, non-negative.
    n_clusters : int
        At most n.
    n_init : int
        Number of starts.
    random_state : RandomState
        Seeds k-means and the eigenvectors.
    weights : ndarray of int of shape (n,), default=None
        How many rows each node stands for; None for one.
    bar : callable, default=no_bar
        Opens a bar for a step of the search, by its name, and by how much there is to do of what.

    Returns
    -------
    Clustering
        The best partition. Partitions with most clusters of at least 5 rows, and then with most
        clusters, come first; of these, those whose share of edges that leave their clusters is
        within 20% of the smallest; and of these, the one with most information. Information
        alone prefers clusters of equal size, the share of leaving edges alone prefers small ones.
    """
    if n_clusters == 1:
        return Clustering(np.zeros(graph.shape[0], dtype=int), 1.0)
    with bar("spectrum of the graph") as on_product:
        values, vectors = _spectrum(graph, 2 * n_clusters, random_state, on_product)
    slowest = 1 - values[min(n_clusters, len(values)) - 1]
    n_most = np.count_nonzero(1 - values <= _SIMILAR_PACE * slowest)
    shares = None if weights is None else weights / weights.sum()
    # dask sends large arguments to each worker once, and knows the size of matrices, not arrays.
    matrix = csr_matrix(graph)
    tasks = [
        delayed(_start)(matrix, shares, values, vectors, n_clusters, *start)
        for start in zip(
            np.linspace(min(n_clusters, n_most), n_most, n_init).round().astype(int),
            np.resize([0, _DIFFUSION_STEPS], n_init),
            random_state.randint(np.iinfo(np.int32).max, size=n_init),
            strict=True,
        )
    ]
    with bar(f"{n_clusters} clusters", n_init, "starts") as on_start:
        starts = run_parallel(tasks, lambda _: on_start())
    copies = 1 if weights is None else weights
    every = [np.repeat(start.labels, copies) for start in starts]
    return Clustering(_best(starts, weights).labels, _agreement(every))


def _start(graph, weights, values, vectors, n_clusters, n_vectors, n_steps, seed):
    """Partition a graph by k-means on the first of its eigenvectors, after a diffusion."""
    graph = csr_array(graph)
    points = (vectors * values**n_steps)[:, :n_vectors]
    points /= np.linalg.norm(points, axis=1, keepdims=True) + 1e-12
    _, labels = k_means(points, n_clusters, _RESTARTS, seed, weights)
    return partition(graph, _refine(graph, labels))


def _best(starts, weights):
    def numbers(start):
        sizes = np.bincount(start.labels, weights)
        return np.count_nonzero(sizes >= _FEWEST_ROWS), len(sizes)

    most = max(map(numbers, starts))
    complete = [start for start in starts if numbers(start) == most]
    least = min(start.escape for start in complete)
    closed = [start for start in complete if start.escape <= _SIMILAR_ESCAPE * least]
    return max(closed, key=lambda start: start.information)


def partition(graph, labels):
    """Judge labels, consecutive from 0, as a `Partition` of a graph."""
    joint = edge_shares(graph, labels)
    escape = max(0.0, 1 - float(np.mean(np.diag(joint) / joint.sum(1))))
    return Partition(labels, information(joint), escape)


def edge_shares(graph, labels):
    """Return the share of edges, by weight, between any two clusters, (k, k)."""
    return _edge_shares(_weights_to(graph, labels), labels)


def information(joint):
    """Return the mutual information of a joint distribution in bits."""
    expected = np.outer(joint.sum(1), joint.sum(0))
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / expected[some])).sum())


def neighbour_shares(graph, labels):
    """Return the clusters of every node's neighbours, as shares by weight, (n, k)."""
    weights = _weights_to(graph, labels)
    return weights / weights.sum(1, keepdims=True)


def _weights_to(graph, labels):
    """Return the weight of the edges of every node to each cluster, (n, k)."""
    return graph @ np.eye(labels.max() + 1)[labels]


def _edge_shares(weights, labels):
    joint = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels))))) @ weights
    return joint / joint.sum()


def _consecutive(labels):
    return np.unique(labels, return_inverse=True)[1]


def _spectrum(graph, n_vectors, random_state, on_product):
    """Return the leading eigenvalues and vectors of the normalised adjacency, largest first.

    All nodes are joined to each other by a hundredth of the mean degree, spread evenly, so
    that the eigenvectors of a graph in pieces are unique, large pieces first (regularised
    spectral clustering: Amini et al., Annals of Statistics 41, 2013).
    """
    n = graph.shape[0]
    degrees = graph.sum(1)
    coupling = _COUPLING * max(degrees.mean(), 1e-12)
    scale = (degrees + coupling) ** -0.5
    n_vectors = min(n_vectors, n)
    if n_vectors >= n - 1:
        dense = scale[:, None] * (graph.toarray() + coupling / n) * scale
        values, vectors = np.linalg.eigh(dense)
    else:
        normalised = diags_array(scale) @ graph @ diags_array(scale)

        def multiply(v):
            on_product()
            v = v.ravel()
            return normalised @ v + coupling * scale * (scale @ v) / n

        values, vectors = eigsh(
            LinearOperator((n, n), multiply, dtype=float),
            n_vectors,
            which="LA",
            v0=random_state.normal(size=n),
            tol=_EIGENVALUE_TOLERANCE,
        )
    order = np.argsort(-values)[:n_vectors]
    return values[order].clip(0, 1), vectors[:, order]


def _refine(graph, labels):
    """Move every node to the cluster that its neighbours' clusters make most likely."""
    labels = _consecutive(labels)
    weights = _weights_to(graph, labels)
    for _ in range(_MOST_SWEEPS):
        joint = _edge_shares(weights, labels)
        share = joint.sum(1)
        odds = np.log((joint + _FLOOR) / np.outer(share, share))
        before, labels = labels, _consecutive((weights @ odds).argmax(1))
        moved = np.flatnonzero(labels != before)
        if len(moved) <= _SETTLED * len(labels):
            break
        if labels.max() < before.max():
            weights = _weights_to(graph, labels)
        else:
            # Most nodes stay, so that it takes less time to tell what the edges of the others do.
            corner = np.eye(weights.shape[1])
            change = corner[labels[moved]] - corner[before[moved]]
            weights += graph[moved].T @ change
    return labels


def _agreement(labellings):
    """Return the mean adjusted Rand index (Hubert & Arabie, 1985) of all pairs of labellings.

    With the tables of all pairs at once it takes a small part of the time that scikit-learn's
    function takes pair by pair.
    """
    labels = np.stack(labellings, 1)
    n_nodes, n_labellings = labels.shape
    if n_labellings == 1:
        return 1.0
    first = np.concatenate(([0], np.cumsum(labels.max(0) + 1)[:-1]))
    columns = (labels + first).ravel().astype(np.int32)
    rows = np.arange(0, columns.size + 1, n_labellings, dtype=np.int32)
    members = csr_array((np.ones(columns.size, np.float32), columns, rows))
    tables = np.square((members.T @ members).toarray().astype(float))
    # Of ordered pairs of nodes: those in one cluster of both, of the one, and expected by chance.
    both = np.add.reduceat(np.add.reduceat(tables, first, 0), first, 1) - n_nodes
    one = np.diag(both)
    chance = np.outer(one, one) / (n_nodes * (n_nodes - 1))
    most = (one[:, None] + one) / 2
    different = most > chance  # else all nodes are one cluster, or each is one of its own
    index = np.where(different, (both - chance) / np.where(different, most - chance, 1), 1.0)
    return float(index[np.triu_indices(n_labellings, 1)].mean())
