"""Find the multipliers of all target rates in a box at once."""

import torch

from sk_hvae._rate_control import (
    AVERAGE_FROM,
    MAX_LOG_BETA,
    MAX_PUSHED_ERROR,
    OFFSET,
    SETTLE_AT,
    ramp_ahead,
)
from sk_hvae.nn.objective import balanced_objective

_N_NODES = {1: 12, 2: 8, 3: 5, 4: 3, 5: 3}
_FEWEST_NODES = 2
_SMOOTHING = 0.95
_INTEGRAL_GAIN = 0.05
_PROPORTIONAL_GAIN = 2.0


class RateGrid:
    """Nodes spread evenly over a box of rates, and multilinear interpolation between them.

    Parameters
    ----------
    box : RateBox
        On the device where it is needed.
    """

    def __init__(self, box):
        self.box = box
        n_layers = box.n_layers
        self.n_per_axis = _N_NODES.get(n_layers, _FEWEST_NODES)
        self.axis = torch.linspace(0, 1, self.n_per_axis, device=box.log_low.device)
        nodes = torch.cartesian_prod(*[self.axis] * n_layers).view(-1, n_layers)
        self.rates = box.rates(nodes)

    def weights(self, rates):
        """Return the weight of every node at given rates in nats, (n, n_nodes)."""
        places = self.box.places(rates).clamp(0, 1) * (self.n_per_axis - 1)
        hats = (1 - (places[..., None] - self.axis * (self.n_per_axis - 1)).abs()).clamp(min=0)
        weights = hats[:, 0]
        for of_axis in hats.unbind(1)[1:]:
            weights = (weights[:, :, None] * of_axis[:, None]).flatten(1)
        return weights


class PlaneController:
    """Hold every layer at every target in a box, by multipliers on a grid of targets.

    At each node of the grid a proportional-integral controller like `RateController` moves
    log beta by the ratio of the rates measured around the node to the targets there; between
    nodes, log beta is interpolated. The ratio is that of two moving sums, so that it is
    unbiased however few rows of a batch are near the node.

    Parameters
    ----------
    grid : RateGrid
        Nodes.
    betas : Tensor of shape (n_nodes, n_layers)
        Multipliers to start from.
    n_steps : int
        Number of optimiser steps to come.
    ramps : Tensor of shape (n_nodes, n_layers)
        Multiples of the nodes' targets to begin with, as in `RateController`.
    """

    def __init__(self, grid, betas, n_steps, ramps):
        self.grid = grid
        self._n_steps = n_steps
        self._step = 0
        self._ramps = ramps
        self._has_ramp = bool((ramps > 1).any())
        self._log_betas = betas.log()
        self._push = torch.zeros_like(betas)
        self._measured = torch.zeros_like(betas)
        self._wanted = torch.zeros_like(betas)
        self._sum = torch.zeros_like(betas)
        self._n_summed = 0
        low, high = grid.box.log_low, grid.box.log_high
        self.targets = (high.exp() - low.exp()) / (high - low)
        """Means of the targets over the box, (n_layers,)."""

    @property
    def is_ramping(self):
        """Whether the targets are still coming down."""
        return self._has_ramp and ramp_ahead(self._step, self._n_steps) > 0

    @property
    def betas(self):
        """Geometric mean of the multipliers over the box, (n_layers,)."""
        return self._log_betas.mean(0).exp()

    @property
    def node_betas(self):
        """Multipliers at the nodes, (n_nodes, n_layers)."""
        return self._log_betas.exp()

    def loss(self, output):
        """Weigh distortion and rates of a `ConditionedOutput`, each row by its own betas."""
        weights = self.grid.weights(output.targets)
        betas = (weights @ (self._log_betas + self._push)).exp()
        return balanced_objective(output, betas)

    def observe(self, output):
        """Move the betas after a batch, given its `ConditionedOutput`."""
        self._step += 1
        if self._step >= SETTLE_AT * self._n_steps:
            self._settle()
            return
        rates, targets = output.rates.detach(), output.targets
        weights = self.grid.weights(targets)
        ramps = (weights @ self._ramps) ** ramp_ahead(self._step, self._n_steps)
        finite = rates.isfinite()
        measured = weights.T @ torch.where(finite, rates + OFFSET, 0.0)
        wanted = weights.T @ torch.where(finite, ramps * targets + OFFSET, 0.0)
        self._measured = torch.lerp(measured, self._measured, _SMOOTHING)
        self._wanted = torch.lerp(wanted, self._wanted, _SMOOTHING)
        seen = self._wanted > 0
        error = torch.where(seen, self._measured / self._wanted.where(seen, 1.0), 1.0).log()
        step = _INTEGRAL_GAIN * error
        self._log_betas = (self._log_betas + step).clamp(-MAX_LOG_BETA, MAX_LOG_BETA)
        bounded = error.clamp(-MAX_PUSHED_ERROR, MAX_PUSHED_ERROR)
        self._push = _PROPORTIONAL_GAIN * bounded
        if self._step >= AVERAGE_FROM * self._n_steps:
            self._sum = self._sum + self._log_betas
            self._n_summed += 1

    def _settle(self):
        if self._n_summed:
            self._log_betas = self._sum / self._n_summed
            self._push = torch.zeros_like(self._push)
            self._n_summed = 0
