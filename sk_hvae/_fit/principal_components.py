"""A sample of the rows, their principal components, and clusters of these."""

import numpy as np
import torch

from sk_hvae._sklearn.inner_fits import k_means, principal_axes
from sk_hvae.nn.linear_start import PrincipalComponents

# Numbers that the components are computed from. More make them more exact and take longer; they are
# only where training starts.
_PCA_ELEMENTS = 8_000_000
# Of the largest: components below are rounding of float32, and whitening would blow it up.
_SMALLEST_VARIANCE = 1e-6


def choose_rows(rows, n, generator):
    """Pick at most n rows at random, in order.

    Parameters
    ----------
    rows : Rows
        On any device.
    n : int
        How many.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor of shape (m, n_features)
        On the device of the rows.
    """
    if len(rows) <= n:
        return rows.every(1)
    return rows.take(torch.randperm(len(rows), generator=generator)[:n].sort().values)


def principal_components(linked, n_components, random_state):
    """Find the principal components of data on the likelihood's link scale.

    Parameters
    ----------
    linked : Tensor of shape (m, n_features), float32
        The rows to use, see `n_pca_rows`.
    n_components : int
        How many to look for; fewer come back from data of lower rank, none from constant
        data.
    random_state : int
        Seed of the randomised solver, which scikit-learn chooses for wide data.

    Returns
    -------
    PrincipalComponents
        On the device of ``linked``.
    """
    n = min(n_components, *linked.shape)
    if not (linked != linked[0]).any():
        n = 0
    points = linked.cpu().numpy()
    axes, variances = principal_axes(points, max(n, 1), random_state)
    n = int((variances[:n] > _SMALLEST_VARIANCE * variances[:n].max(initial=0.0)).sum())
    arrays = axes[:n], variances[:n], points.mean(0)
    return PrincipalComponents(*(torch.from_numpy(a).to(linked) for a in arrays))


def cluster_centres(linked, components, n_clusters, random_state):
    """Find clusters of the principal scores of data on the likelihood's link scale.

    Parameters
    ----------
    linked : Tensor of shape (m, n_features), float32
        The rows to use.
    components : PrincipalComponents
        Of the same data.
    n_clusters : int
        How many. Some centres coincide if there are fewer different rows, and all do without
        components.
    random_state : int
        Seed of k-means.

    Returns
    -------
    Tensor of shape (n_clusters, n)
        On the device of ``linked``.
    """
    if not len(components.variances):
        return linked.new_zeros(n_clusters, 0)
    scores = ((linked - components.mean) @ components.directions.T).cpu().numpy()
    n = min(n_clusters, len(np.unique(scores, axis=0)))
    centres, _ = k_means(scores, n, 1, random_state)
    return torch.from_numpy(np.resize(centres, (n_clusters, scores.shape[1]))).to(linked)


def n_pca_rows(n_features, n_components):
    """Return how many rows are enough for the start: 8 million numbers, 4 rows a component."""
    return max(_PCA_ELEMENTS // n_features, 4 * n_components)
