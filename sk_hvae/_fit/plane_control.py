"""Find the multipliers of all target rates in a box at once."""

import math

import torch

from sk_hvae._fit.control import OFFSET
from sk_hvae._fit.proportional_integral import ProportionalIntegral
from sk_hvae.nn.objective import balanced_objective

# Nodes along the rates of a layer, by the number of layers. With more, betas may bend more from
# target to target; each node then counts fewer rows, and all, 12 to 243 for up to five layers,
# are measured after training.
_N_NODES = {1: 12, 2: 8, 3: 5, 4: 3, 5: 3}
_FEWEST_NODES = 2
# A node counts a part of the rows only. Rates are thus averaged over some 20 batches, twice as
# many as for a single model, and both gains are half of those there.
_SMOOTHING = 0.95
_INTEGRAL_GAIN, _PROPORTIONAL_GAIN = 0.05, 2.0
# Price of squared second differences of log beta between nodes: a higher one averages more of the
# noise out, a lower one lets betas bend more with the rates. examples/benchmarks/rate_plane.py
# shows rates and costs at 16 points.
_ROUGHNESS_PRICE = 0.02
# Higher than for a single model: a node whose rates are out of reach pulls its neighbours along.
_MIN_LOG_BETA = math.log(1e-3)


def nodes_per_axis(n_layers):
    """Return how many nodes the grid has along the rates of each layer."""
    return _N_NODES.get(n_layers, _FEWEST_NODES)


class TargetGrid:
    """Nodes spread evenly over a box of rates, and multilinear interpolation between them.

    Parameters
    ----------
    box : RateBox
        On the device where it is needed.
    """

    def __init__(self, box):
        self.box = box
        n_layers = box.n_layers
        self.n_per_axis = nodes_per_axis(n_layers)
        self.axis = torch.linspace(0, 1, self.n_per_axis, device=box.log_low.device)
        nodes = torch.cartesian_prod(*[self.axis] * n_layers).view(-1, n_layers)
        self.rates = box.rates(nodes)
        self.corners = self.rates[((nodes == 0) | (nodes == 1)).all(1)]

    def smoother(self, price):
        """Return the matrix that smooths values at the nodes, (n_nodes, n_nodes).

        As in a P-spline (Eilers & Marx, 1996), squared second differences along every axis
        are paid for; what is linear along the axes is kept as it is.
        """
        eye = torch.eye(self.n_per_axis, device=self.axis.device)
        bends = eye[:-2] - 2 * eye[1:-1] + eye[2:]
        roughness = torch.zeros_like(eye[:1, :1])
        for _ in range(self.box.n_layers):
            along, across = eye.new_ones(len(roughness)).diag(), bends.T @ bends
            roughness = torch.kron(roughness, eye) + torch.kron(along, across)
        return torch.linalg.inv(eye.new_ones(len(roughness)).diag() + price * roughness)

    def weights(self, rates):
        """Return the weight of every node at given rates in nats, (n, n_nodes)."""
        places = self.box.places(rates).clamp(0, 1) * (self.n_per_axis - 1)
        hats = (1 - (places[..., None] - self.axis * (self.n_per_axis - 1)).abs()).clamp(min=0)
        weights = hats[:, 0]
        for of_axis in hats.unbind(1)[1:]:
            weights = (weights[:, :, None] * of_axis[:, None]).flatten(1)
        return weights


class PlaneController(ProportionalIntegral):
    """Hold every layer at every target in a box, by multipliers on a grid of targets.

    At each node of the grid a proportional-integral controller like `RateController` moves
    log beta by the ratio of the rates measured around the node to the targets there; between
    nodes, log beta is interpolated. The ratio is that of two moving sums, so that it is
    unbiased however few rows of a batch are near the node.

    Parameters
    ----------
    grid : TargetGrid
        Nodes.
    betas : Tensor of shape (n_nodes, n_layers)
        Multipliers to start from.
    n_steps : int
        Number of optimiser steps to come.
    ramps : Tensor of shape (n_nodes, n_layers)
        Multiples of the nodes' targets to begin with, as in `RateController`.
    """

    CHECKPOINTED = (*ProportionalIntegral.CHECKPOINTED, "_measured", "_wanted")

    current_targets = None

    def __init__(self, grid, betas, n_steps, ramps):
        super().__init__(
            betas,
            n_steps,
            bool((ramps > 1).any()),
            (_INTEGRAL_GAIN, _PROPORTIONAL_GAIN),
            _MIN_LOG_BETA,
            grid.smoother(_ROUGHNESS_PRICE),
        )
        self.grid = grid
        self._ramps = ramps
        self._measured = torch.zeros_like(betas)
        self._wanted = torch.zeros_like(betas)
        low, high = grid.box.log_low, grid.box.log_high
        self.targets = (high.exp() - low.exp()) / (high - low)
        """Means of the targets over the box, (n_layers,)."""

    @property
    def betas(self):
        """Geometric mean of the multipliers over the box, (n_layers,)."""
        return self._log_betas.mean(0).exp()

    @property
    def node_betas(self):
        """Multipliers at the nodes, (n_nodes, n_layers)."""
        return self._log_betas.exp()

    def loss(self, output):
        """Weigh distortion and rates of a `ConditionedOutput`, each target by its own betas."""
        return balanced_objective(output, self.betas_at(output.targets))

    def betas_at(self, targets):
        """Return the multipliers for targets in nats, (n, n_layers)."""
        return (self.grid.weights(targets) @ (self._log_betas + self._push)).exp()

    def observe(self, output):
        """Move the betas after a batch, given its `ConditionedOutput`."""
        self._advance(output)

    def _error(self, output):
        rates, targets = output.mean_rates().detach(), output.targets
        weights = self.grid.weights(targets)
        ramps = (weights @ self._ramps) ** self._ramp_ahead
        finite = rates.isfinite()
        measured = weights.T @ torch.where(finite, rates + OFFSET, 0.0)
        wanted = weights.T @ torch.where(finite, ramps * targets + OFFSET, 0.0)
        self._measured = torch.lerp(measured, self._measured, _SMOOTHING)
        self._wanted = torch.lerp(wanted, self._wanted, _SMOOTHING)
        seen = self._wanted > 0
        error = torch.where(seen, self._measured / self._wanted.where(seen, 1.0), 1.0).log()
        return self._smoother @ error
