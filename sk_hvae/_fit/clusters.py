"""A model whose top layer has clusters for states: the value of its fit, and the recipes."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._clustering.state_shares import StateShares, shared_information
from sk_hvae._clustering.tree import merge_tree
from sk_hvae._data.devices import place
from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.measurement import map_rows
from sk_hvae._fit.recipe import Recipe
from sk_hvae._fit.single_rate import (
    SingleRate,
    measured,
    measured_on,
    rate_controller,
    target_ramp,
)
from sk_hvae._fit.start import some_rows, start_model
from sk_hvae.nn.guided import GuidedHierarchy
from sk_hvae.nn.likelihoods import Bernoulli, Gaussian
from sk_hvae.nn.likelihoods import resolve as new_likelihood

# Different rows of up to this many numbers, 64 MB of float32, are copied to train on them alone.
_MOST_COPIED = 2**24
# Share of the images that have black and white pixels, where these are the ends of a scale.
_REACH_BOTH_ENDS = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Clusters(Fitted):
    """A fitted model, and the clusters that its states stand for.

    Attributes
    ----------
    states : ndarray of shape (n_clusters,)
        States that are the most probable for some row; others are no clusters.
    labels : ndarray of shape (n_rows,)
        Cluster of each row of the fit.
    sizes : ndarray of shape (n_clusters,)
        Number of rows of each.
    centers : ndarray of shape (n_clusters, n_features)
        Clusters decoded.
    tree : ndarray of shape (n_clusters - 1, 4)
        Which clusters merge first, in scipy's linkage format.
    stability : float
        How well the starts of the search agreed.
    """

    states: NDArray[np.intp]
    labels: NDArray[np.intp]
    sizes: NDArray[np.intp]
    centers: NDArray[np.floating]
    tree: NDArray[np.float64]
    stability: float

    def probabilities(self, rows):
        """Compute the posterior probabilities of the clusters, (n, n_clusters), float32."""
        return _probabilities(self.in_place(), rows, self.states)

    def state_shares(self, rows):
        """Return the probabilities of all states as shares that rows should keep."""
        every_state = np.arange(self.n_components[-1])
        shares = _probabilities(self.in_place(), rows, every_state)
        return StateShares(shares, shared_information(shares), self.stability)

    def one_hot(self, cluster):
        """Return the state of a cluster as probabilities of the top layer, (n_states,)."""
        return torch.eye(self.n_components[-1])[self.states[cluster]]


class TowardsClusters(Recipe):
    """Train a categorical top layer whose states should be given clusters.

    Parameters
    ----------
    state_shares : StateShares
        Which states rows should take, and how surely.
    consistency : float
        Multiplier of the disagreement with them.
    """

    auto_epochs = SingleRate.auto_epochs

    def __init__(self, state_shares, consistency):
        self._state_shares = state_shares
        self._consistency = consistency

    def beside(self, plan):
        return {"state_shares": _shares(self._state_shares, plan)}

    def start(self, plan):
        ramp = target_ramp(plan)
        module, betas = start_model(plan, ramp, _shares(self._state_shares, plan))
        control = rate_controller(plan, module, betas, ramp, self._consistency)
        return GuidedHierarchy(module), control

    def at_goal(self, fitted, plan) -> Fitted:  # noqa: ARG002 there are no other rates
        return fitted

    def conclude(self, net, plan) -> Clusters:
        """Measure the trained model and see which clusters came out; returns `Clusters`."""
        module = net.module_.model
        fields = measured(module, net, plan)
        n_states = plan.architecture.layer_sizes[-1]
        states = np.unique(_probabilities(module, plan.rows, np.arange(n_states)).argmax(1))
        fields |= _clusters(module, plan, states)
        joint = np.eye(len(states))[fields["labels"]].T @ self._state_shares.shares[:, states]
        stability = self._state_shares.stability
        return Clusters(**fields, tree=merge_tree(joint + joint.T), stability=stability)


class WithClusters(Recipe):
    """Train a fitted model further, on rows that keep the clusters that it gives them.

    Parameters
    ----------
    fitted : Clusters
        Where to go on.
    state_shares : StateShares
        Those that it gives the rows.
    consistency : float
        As in `TowardsClusters`.
    """

    auto_epochs = SingleRate.auto_epochs

    def __init__(self, fitted, state_shares, consistency):
        self._fitted = fitted
        self._state_shares = state_shares
        self._consistency = consistency

    def beside(self, plan):
        return {"state_shares": _shares(self._state_shares, plan)}

    def start(self, plan):
        # A copy, so that the fitted model stays as it is if training comes to nothing.
        module = place(copy.deepcopy(self._fitted.module), plan.device)
        # A prior that has to learn that clusters have become rare makes the rate too high for long.
        module.layers[-1].start_prior(_shares(self._state_shares, plan))
        betas = tuple(self._fitted.betas)
        control = rate_controller(plan, module, betas, (), self._consistency)
        return GuidedHierarchy(module), control

    def at_goal(self, fitted, plan) -> Fitted:  # noqa: ARG002 there are no other rates
        return fitted

    def conclude(self, net, plan) -> Clusters:
        """Measure the trained model, whose clusters are those of before; returns `Clusters`."""
        module, before = net.module_.model, self._fitted
        fields = measured(module, net, plan) | _clusters(module, plan, before.states)
        return Clusters(**fields, tree=before.tree, stability=before.stability)


def _shares(state_shares, plan):
    return torch.from_numpy(state_shares.shares).to(plan.device)


def _clusters(module, plan, states):
    """Describe clusters by the states that they are, as arguments of `Clusters`."""
    labels = _probabilities(module, plan.rows, states).argmax(1)
    with torch.inference_mode():
        one_hot = torch.eye(module.layers[-1].n_units, device=plan.device)[states]
        centers = module.decode(one_hot, len(module.layers)).cpu().numpy()
    return {
        "states": states,
        "labels": labels,
        "sizes": np.bincount(labels, minlength=len(states)),
        "centers": centers.astype(plan.data_dtype, copy=False),
    }


def _probabilities(module, rows, states):
    """Compute the posterior probabilities of some states, which make up one."""

    def posterior(x):
        return module.layers[-1].posterior(module.activations(x), None).mean

    n_states = module.layers[-1].n_units
    probabilities = map_rows(module, rows, posterior, n_states)[:, states]
    return probabilities / probabilities.sum(1, keepdims=True)


def without_copies(rows, repeats):
    """Return the different rows, if the copies mean nothing and would be learnt by heart."""
    n = len(repeats.first)
    few = 1 < n <= len(rows) / 2 and n * rows.shape[1] <= _MOST_COPIED
    if repeats.are_density or not few:
        return rows
    return ResidentRows(rows.take(torch.from_numpy(repeats.first)))


def likelihood_for_search(likelihood, summary):
    """Return the likelihood of the model whose codes a search for clusters reads.

    It is the one of the fit, but for images with a scale from black to white. There, whether a
    pixel is lit at all says more about the kind of the image than how bright it is. To a Gaussian,
    a step of grey is a step of grey, while a Bernoulli likelihood tells values near the ends better
    apart than those in between. examples/benchmarks/clustering.py compares the clusters.

    Parameters
    ----------
    likelihood : Likelihood
        That of the fit, adapted.
    summary : DataSummary
        Of the rows to train on, with ``rows``.

    Returns
    -------
    Likelihood
        A new one.
    """
    low, high = float(summary.minimum.min()), float(summary.maximum.max())
    is_image = isinstance(likelihood, Gaussian) and likelihood.scaling_ == "shared"
    if is_image and low < high and _share_at_both_ends(summary.rows, low, high) >= _REACH_BOTH_ENDS:
        return Bernoulli(low, high)
    return new_likelihood(likelihood)


def _share_at_both_ends(rows, low, high):
    """Return the share of rows with cells of both values."""
    return float(((rows == low).any(1) & (rows == high).any(1)).double().mean())


def measured_for_search(module, net, plan):
    """Do what `measured` does for the continuous layers, of which a search reads the codes alone.

    Nobody sees how well they describe the rows, so that some rows tell whether training diverged.
    """
    return measured_on(ResidentRows(some_rows(plan.training)), module, net, plan)


def codes_for_search(model, rows, repeats):
    """Return what a search for clusters is told of the codes of rows.

    Returns
    -------
    tuple of (ndarray (m, n_units), ndarray (n,), ndarray (m, n_units) or None)
        Posterior means of the different rows, which of these each row is, and standard deviations
        if the numbers of copies are to count.
    """
    if not repeats.are_density:
        means = model.encode(rows, range(1, model.n_layers + 1))
        return means[repeats.first], repeats.member, None
    moments = model.posterior_moments(rows)
    means, stds = (part[repeats.first].astype(np.float64) for part in moments)
    return means, repeats.member, stds
