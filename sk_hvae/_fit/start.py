"""A new model for given rows, and where its training starts."""

import math
import threading
from contextlib import contextmanager
from typing import NamedTuple

import torch

from sk_hvae._data.devices import place
from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.plan import stream
from sk_hvae._fit.principal_components import (
    choose_rows,
    cluster_centres,
    n_pca_rows,
    principal_components,
)
from sk_hvae.nn.building import build_hierarchy
from sk_hvae.nn.conditioned import ConditionedHierarchy
from sk_hvae.nn.hierarchy import HierarchicalVAE
from sk_hvae.nn.linear_start import (
    PrincipalComponents,
    finest_rate,
    fit_scale,
    start_at_clusters,
    start_at_pca,
    start_at_slope,
)

# Rows that a start is computed on, and a trained model brought to rest: enough for averages, and
# cheap beside one pass of training. A model of all rates is started at some hundred points, each on
# fewer rows.
START_ROWS, _PLANE_ROWS = 2048, 128
# Building draws from torch's global generator, which is put back: one thread at a time.
_BUILDING = threading.Lock()


def some_rows(rows):
    """Return rows at even distances, as many as are enough to measure on."""
    return rows.every(math.ceil(len(rows) / START_ROWS))


class NewModel(NamedTuple):
    """A model that has not been started, and what its start needs.

    Attributes
    ----------
    module : HierarchicalVAE
        On its device; likelihood and missing cells know the rows.
    few : Tensor of shape (m, n_features)
        Some of the rows.
    components : PrincipalComponents or None
        Of the rows; None if the model has no linear paths.
    centres : Tensor of shape (n_states, n) or None
        Clusters of the principal scores; None if the top layer is Gaussian.
    """

    module: HierarchicalVAE
    few: torch.Tensor
    components: PrincipalComponents | None
    centres: torch.Tensor | None

    def start_at(self, rates):
        """Start at PCA for rates in nats; returns the beta that belongs to it."""
        beta = start_at_pca(self.module, self.few, self.components, rates)
        self.start_clusters(rates)
        return beta

    def start_clusters(self, rates):
        """Start a categorical top layer at clusters of the rows."""
        if self.centres is not None:
            start_at_clusters(self.module, self.few, self.components, self.centres, rates)


def start_model(plan, ramp=(), shares=None):
    """Build a model and start it, at PCA if it can.

    Parameters
    ----------
    plan : Plan
        What to build, and for which rows.
    ramp : sequence of float
        Multiple of each target to start at; none for 1.
    shares : Tensor of shape (n, n_states), default=None
        States that the rows are to go to, for a clusterer.

    Returns
    -------
    tuple of (HierarchicalVAE, tuple of float)
        The model on its device, and the betas to start from.
    """
    goal, new = plan.goal, _build(plan, START_ROWS, shares)
    if new.components is None:
        fit_scale(new.module, new.few)
        return new.module, goal.betas or (1.0,) * goal.n_layers
    if goal.betas:
        rates = start_at_slope(new.module, new.few, new.components, goal.betas)
        new.start_clusters([*rates[:-1], 0.5 * math.log(plan.architecture.layer_sizes[-1])])
        return new.module, goal.betas
    rates = [m * r for m, r in zip(ramp, goal.nats, strict=True)] if ramp else goal.nats
    return new.module, (new.start_at(rates),) * goal.n_layers


def start_plane(plan, box, ramp):
    """Build a model for all rates in a box and start it, at PCA if it can.

    Parameters
    ----------
    plan : Plan
        What to build, and for which rows.
    box : RateBox
        Target rates. The model is built for those that the rows are fit for.
    ramp : callable
        Maps target rates in nats, one list per target, to the multiples of them to start at,
        a tensor (n, n_layers).

    Returns
    -------
    tuple of (ConditionedHierarchy, callable)
        The model on its device, and a function from target rates in nats (n, n_layers) to the
        betas to start from, likewise.
    """
    new = _build(plan, _PLANE_ROWS)
    if new.components is not None:
        box = box.up_to(finest_rate(new.components.variances) / box.n_layers)
    with _seeded(plan.seed):
        conditioned = place(ConditionedHierarchy(new.module, box), plan.device)
    if new.components is None:
        fit_scale(new.module, new.few)
        return conditioned, torch.ones_like

    def start_log_beta(rates):
        multiple = ramp([rates])[0].tolist()
        return math.log(new.start_at([m * r for m, r in zip(multiple, rates, strict=True)]))

    log_beta = conditioned.start_at(start_log_beta, stream(plan.seed, "plane").initial_seed())
    return conditioned, lambda rates: log_beta(rates).exp()[:, None].expand_as(rates)


def _build(plan, n_few, shares=None):
    """Build a model that knows the rows; returns a `NewModel`."""
    architecture, likelihood = plan.architecture, plan.likelihood
    module = place(build_seeded(architecture, likelihood, plan.seed), plan.device)
    generator = plan.start_generator()
    n_units = max(architecture.n_components)
    sample = choose_rows(plan.training, n_pca_rows(plan.rows.shape[1], n_units), generator)
    if module.missing is not None:
        some = choose_rows(ResidentRows(sample), module.missing.n_fit_rows, generator)
        module.missing.fit(likelihood.link(some), generator)
    few = choose_rows(ResidentRows(sample), n_few, generator)
    if not module.has_linear_paths:
        return NewModel(module, few, None, None)
    linked = module.inputs(sample)[:, : likelihood.n_linked]
    components = principal_components(linked, n_units, plan.seed)
    centres = None
    if architecture.has_categorical_top:
        if shares is None:
            n_states = architecture.n_components[-1]
            centres = cluster_centres(linked, components, n_states, plan.seed)
        else:
            centres = _centres(module, plan.rows, shares, components)
    return NewModel(module, few, components, centres)


def _centres(module, rows, shares, components):
    """Return the mean principal scores of the rows of each state, (n_states, n)."""
    sums, first = 0.0, 0
    for x in rows.chunks():
        part, first = shares[first : first + len(x)], first + len(x)
        linked = module.inputs(x)[:, : module.likelihood.n_linked]
        sums = sums + part.T @ ((linked - components.mean) @ components.directions.T)
    return sums / shares.sum(0)[:, None].clamp(min=1e-6)


def build_seeded(architecture, likelihood, seed):
    """Build a hierarchical VAE without touching torch's global generator."""
    with _seeded(seed):
        return build_hierarchy(architecture, likelihood)


@contextmanager
def _seeded(seed):
    """Seed torch's global generator for building modules, and put it back afterwards."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
