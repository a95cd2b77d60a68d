"""A new model for given rows, and where its training starts."""

import math
import threading
from contextlib import contextmanager
from typing import NamedTuple

import torch

from sk_hvae._data import (
    choose_rows,
    chunks,
    cluster_centres,
    n_pca_rows,
    principal_components,
)
from sk_hvae._measurement import place
from sk_hvae._rate_control import Goal
from sk_hvae.nn.building import Architecture, build_hierarchy
from sk_hvae.nn.likelihoods import DataSummary, Likelihood
from sk_hvae.nn.linear_start import fit_scale, start_at_clusters, start_at_pca, start_at_slope

START_ROWS = 2048
_BUILDING = threading.Lock()


class Plan(NamedTuple):
    """What a call of ``fit`` or ``partial_fit`` has to do, resolved."""

    goal: Goal
    architecture: Architecture
    likelihood: Likelihood
    device: torch.device
    rows: torch.Tensor
    seed: int


def start_model(plan, ramp=()):
    """Build a model and start it, at PCA if it can.

    Parameters
    ----------
    plan : Plan
        What to build, and for which rows.
    ramp : sequence of float
        Multiple of each target to start at; none for 1.

    Returns
    -------
    tuple of (HierarchicalVAE, tuple of float)
        The model on its device, and the betas to start from.
    """
    architecture, goal = plan.architecture, plan.goal
    n_channels = architecture.image_shape[0] if architecture.image_shape else 1
    likelihood = plan.likelihood.adapt(DataSummary.of(chunks(plan.rows), n_channels))
    for chunk in chunks(plan.rows):
        likelihood.check(chunk)
    with _seeded(plan.seed):
        module = place(build_hierarchy(architecture, likelihood), plan.device)
    generator = torch.Generator().manual_seed(plan.seed)
    n_units = max(architecture.n_components)
    sample = choose_rows(plan.rows, n_pca_rows(plan.rows.shape[1], n_units), generator)
    if module.missing is not None:
        some = choose_rows(sample, module.missing.n_fit_rows, generator)
        module.missing.fit(likelihood.link(some), generator)
    if not module.has_linear_paths:
        fit_scale(module, choose_rows(sample, START_ROWS, generator))
        return module, goal.betas or (1.0,) * goal.n_layers
    linked = module.inputs(sample)[:, : likelihood.n_linked]
    components = principal_components(linked, n_units, plan.seed)
    few = choose_rows(sample, START_ROWS, generator)
    if goal.betas:
        start_at_slope(module, few, components, goal.betas)
        betas = goal.betas
    else:
        rates = [m * r for m, r in zip(ramp, goal.nats, strict=True)] if ramp else goal.nats
        beta = start_at_pca(module, few, components, rates)
        betas = (beta,) * goal.n_layers
    if architecture.has_categorical_top:
        n_states = architecture.n_components[-1]
        centres = cluster_centres(linked, components, n_states, plan.seed)
        rate = goal.nats[-1] if goal.nats else 0.5 * math.log(n_states)
        start_at_clusters(module, few, components, centres, rate)
    return module, betas


@contextmanager
def _seeded(seed):
    """Seed torch's global generator for building modules, and put it back afterwards."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
