"""From latents of rows to shares of the states that a categorical layer should learn."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.utils import check_random_state

from sk_hvae._clustering.graph import (
    confusion_graph,
    edge_shares,
    find_clusters,
    neighbour_shares,
    no_bar,
    shared_neighbour_graph,
)
from sk_hvae._clustering.tree import count_clusters, merge_to_rate, merge_tree

# Clusters to begin with where their number is to be chosen; a tree then merges them. More would
# find more small ones, and take longer.
MOST_CLUSTERS = 20
# Rows that a cluster needs at least to show in a graph of neighbours; fewer where rows stand for
# their copies.
_ROWS_PER_CLUSTER, _WEIGHTED_ROWS_PER_CLUSTER = 5, 2
# The time to join rows grows faster than their number. Those beyond have no shares: their states
# are learned from the data alone.
_MOST_GRAPH_ROWS = 70_000
# Share of the probability that certain shares give to all clusters before they are softened, and
# the logarithms of the powers that are tried: the ends are as good as uniform and as certain.
_DOUBT, _LOG_EXPONENTS = 1e-3, range(-6, 7)


class StateShares(NamedTuple):
    """The shares that each state should have for each row.

    Attributes
    ----------
    shares : ndarray of shape (n, n_states), float32
        Shares of the clusters among a row's neighbours; zeros for rows outside the graph.
    information : float
        Information of the rows in the graph about the states, in bits.
    stability : float
        As in `Clustering`.
    """

    shares: np.ndarray
    information: float
    stability: float


class ClusterSearch(NamedTuple):
    """How to look for clusters: parameters of `HVAEClusterer`, and the rate they are to carry.

    Attributes
    ----------
    n_clusters : int or None
        None chooses the number.
    rate : float or None
        Bits; None for what the neighbours agree on.
    n_init, n_neighbors : int
        As in `HVAEClusterer`.
    seed : int
        Of everything random.
    """

    n_clusters: int | None
    rate: float | None
    n_init: int
    n_neighbors: int
    seed: int

    def find(self, latents, member=None, stds=None, bar=no_bar):
        """Find the shares of states of all rows by the latents of the different rows.

        Parameters
        ----------
        latents : ndarray of shape (m, n_units)
            Posterior means of the different rows.
        member : ndarray of shape (n,), default=None
            Which of the different rows each row is a copy of; None if none is one.
        stds : ndarray of shape (m, n_units), default=None
            Posterior standard deviations, if the numbers of copies are to count.
        bar : callable, default=no_bar
            See `find_clusters`.

        Returns
        -------
        StateShares
        """
        random_state = check_random_state(self.seed)
        index = np.arange(len(latents))
        member = index if member is None else member
        if self.n_clusters and len(index) <= self.n_clusters and len(index) < len(member):
            return self._for_all_rows(np.eye(len(index)), index, member, 1.0)
        if len(index) > _MOST_GRAPH_ROWS:
            index = np.sort(random_state.choice(index, _MOST_GRAPH_ROWS, replace=False))
        with bar(f"graph of {len(index)} rows"):
            if stds is None:
                graph, weights = self._neighbours(latents[index]), None
                most, walk = len(index) // _ROWS_PER_CLUSTER, {}
            else:
                weights = np.bincount(member)
                graph = confusion_graph(latents, stds, weights, random_state)
                most, walk = len(index) // _WEIGHTED_ROWS_PER_CLUSTER, {"n_steps": 1}
        n_clusters = self.n_clusters or max(1, min(MOST_CLUSTERS, most))
        found = find_clusters(graph, n_clusters, self.n_init, random_state, weights, bar)
        if self.n_clusters is None and self.rate is None:
            n_clusters = count_clusters(merge_tree(edge_shares(graph, found.labels), **walk))
            found = find_clusters(graph, n_clusters, self.n_init, random_state, weights, bar)
        labels = found.labels
        if self.rate is not None:
            tree = merge_tree(edge_shares(graph, labels), **walk)
            labels = merge_to_rate(labels, tree, self.rate, weights)
        return self._for_all_rows(neighbour_shares(graph, labels), index, member, found.stability)

    def _neighbours(self, points):
        """Join rows to their neighbours, to fewer than are asked for where clusters are small."""
        if len(points) == 1:
            return csr_array(np.ones((1, 1)))
        widest = len(points) // (2 * (self.n_clusters or _ROWS_PER_CLUSTER))
        return shared_neighbour_graph(points, min(self.n_neighbors, max(1, widest)))

    def _for_all_rows(self, known, index, member, stability):
        """Hand shares of the rows in the graph, (m, k), on to all copies."""
        every = np.full((member.max() + 1, known.shape[1]), np.nan)
        every[index] = known
        shares = every[member]
        inside = ~np.isnan(shares[:, 0])
        known = shares[inside]
        if self.rate is not None:
            known = temper(known, self.rate)
        shares = np.zeros(shares.shape, np.float32)
        shares[inside] = known
        return StateShares(shares, shared_information(known), stability)


def shared_information(shares):
    """Return the information, in bits, of a node about the cluster of its neighbours."""
    return float(entropy(shares.mean(0), base=2) - entropy(shares, base=2, axis=1).mean())


def temper(shares, rate):
    """Sharpen or soften shares until they carry a rate.

    Parameters
    ----------
    shares : ndarray of shape (n, k)
        See `neighbour_shares`.
    rate : float
        Bits. Shares become as good as certain where it is out of reach.

    Returns
    -------
    ndarray of shape (n, k)
        A power of the shares, normalised: of those from exp(-6) to exp(6) the smallest that
        carries the rate, or the largest if none does.
    """
    log_shares = np.log((1 - _DOUBT) * shares + _DOUBT / shares.shape[1])

    def power(log_exponent):
        return softmax(np.exp(log_exponent) * log_shares, axis=1)

    def excess(log_exponent):
        return shared_information(power(log_exponent)) - rate

    # In steps, as information does not always rise to the end: rows that all agree carry none.
    enough = next((n for n in _LOG_EXPONENTS if excess(n) >= 0), None)
    if enough is None:
        return power(_LOG_EXPONENTS[-1])
    if enough == _LOG_EXPONENTS[0]:
        return power(enough)
    return power(brentq(excess, enough - 1, enough))
