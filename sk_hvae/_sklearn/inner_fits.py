"""Principal axes, k-means and neighbours for use within a fit, as scikit-learn computes them.

Tools that record runs, such as mlflow, wrap the public ``fit`` of scikit-learn's estimators. A run
must record the estimator that the user fits, not those that are fitted within it. So no public
``fit`` is called here.
"""

import numpy as np
from scipy import linalg
from scipy.sparse import csr_array

# Where scikit-learn's PCA changes from one solver to another, with svd_solver="auto".
_TALL, _MOST_COLUMNS, _SMALL, _FEW_COMPONENTS = 10, 1_000, 500, 0.8
# The defaults of scikit-learn's KMeans.
_MOST_SWEEPS, _TOLERANCE = 300, 1e-4


def neighbour_graph(points, n):
    """Join points to the nearest others.

    Parameters
    ----------
    points : ndarray of shape (m, n_features)
        More than n points.
    n : int
        Number of neighbours of each point.

    Returns
    -------
    csr_array of shape (m, m)
        Ones for neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    # scikit-learn has no function for this; the private `_fit` is what the public `fit` calls.
    return csr_array(NearestNeighbors(n_neighbors=n)._fit(points).kneighbors_graph())


def principal_axes(points, n, seed):
    """Find the principal axes of points, with the solver that `sklearn.decomposition.PCA` takes.

    Parameters
    ----------
    points : ndarray of shape (m, n_features)
        At least 2.
    n : int
        Number of axes, at most min(m, n_features).
    seed : int
        Seed of the randomised solver, which is for many points with many features.

    Returns
    -------
    tuple of (ndarray of shape (n, n_features), ndarray of shape (n,))
        Axes of length 1, and the variances along them, the largest first.
    """
    from sklearn.utils.extmath import randomized_svd, svd_flip

    m, n_features = points.shape
    mean = points.mean(0)
    if n_features <= _MOST_COLUMNS and m >= _TALL * n_features:
        covariance = points.T @ points
        covariance -= m * mean[:, None] * mean
        covariance /= m - 1
        variances, vectors = np.linalg.eigh(covariance)
        axes, variances = vectors[:, ::-1].T, variances[::-1].clip(min=0)
    else:
        centred = points - mean
        if max(points.shape) <= _SMALL or n >= _FEW_COMPONENTS * min(points.shape):
            _, lengths, axes = linalg.svd(centred, full_matrices=False)
        else:
            random_state = np.random.RandomState(seed)
            _, lengths, axes = randomized_svd(
                centred, n, flip_sign=False, random_state=random_state
            )
        variances = lengths**2 / (m - 1)
    _, axes = svd_flip(None, axes, u_based_decision=False)
    # np.array keeps the order in memory, on which the last bits of products depend.
    return np.array(axes[:n]), np.array(variances[:n])


def k_means(points, n_clusters, n_init, seed, weights=None):
    """Cluster points as `sklearn.cluster.KMeans` does, with the same starts.

    Parameters
    ----------
    points : ndarray of shape (m, n_features)
        At least ``n_clusters``.
    n_clusters, n_init : int
        Number of clusters and of starts.
    seed : int
        Seed of the starts.
    weights : ndarray of shape (m,), default=None
        How much each point counts; None is 1 for all.

    Returns
    -------
    tuple of (ndarray of shape (n_clusters, n_features), ndarray of shape (m,))
        Centres and labels. Of all starts, the one with the least sum of squared distances counts.
    """
    from sklearn.cluster import kmeans_plusplus

    random_state = np.random.RandomState(seed)
    weights = np.ones(len(points), points.dtype) if weights is None else weights
    mean = points.mean(0)
    tolerance = _TOLERANCE * points.var(0).mean()
    points = points - mean
    best, least = None, np.inf
    for _ in range(n_init):
        centres, _ = kmeans_plusplus(
            points, n_clusters, sample_weight=weights, random_state=random_state
        )
        centres, labels = _lloyd(points, weights, centres, tolerance)
        error = weights @ np.square(points - centres[labels]).sum(1)
        if best is None or error < least:
            best, least = (centres + mean, labels), error
    return best


def _lloyd(points, weights, centres, tolerance):
    """Move centres to the means of their points until no label changes, or they hardly move."""
    labels = None
    for _ in range(_MOST_SWEEPS):
        before, labels = labels, _closest(points, centres)
        moved = _means(points, weights, centres, labels)
        shift = np.square(moved - centres).sum()
        centres = moved
        if before is not None and np.array_equal(labels, before):
            return centres, labels
        if shift <= tolerance:
            break
    return centres, _closest(points, centres)


def _closest(points, centres):
    return (np.square(centres).sum(1) - 2 * points @ centres.T).argmin(1)


def _means(points, weights, centres, labels):
    """Return the mean of each cluster; an empty one gets the point farthest from its own."""
    m, k = len(points), len(centres)
    # Sums in the order of the points, in their precision: the same in any number of threads.
    members = csr_array((weights, (labels, np.arange(m))), shape=(k, m))
    sums, masses = members @ points, np.bincount(labels, weights, k).astype(points.dtype)
    empty = np.flatnonzero(masses == 0)
    if len(empty):
        distances = np.square(points - centres[labels]).sum(1)
        if distances.max() > 0:
            farthest = np.argpartition(distances, -len(empty))[: -len(empty) - 1 : -1]
            for cluster, point in zip(empty, farthest, strict=True):
                carried = points[point] * weights[point]
                sums[labels[point]] -= carried
                masses[labels[point]] -= weights[point]
                sums[cluster], masses[cluster] = carried, weights[point]
    scale = np.divide(1, masses, out=np.zeros_like(masses), where=masses > 0)
    means = sums * scale[:, None]
    means[masses <= 0] = means[masses.argmax()]
    return means
