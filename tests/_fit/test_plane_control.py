"""The betas of a whole box of targets, on plants whose answer is known."""

import math

import pytest
import torch

from sk_hvae._fit.plane_control import PlaneController, TargetGrid
from sk_hvae.nn.conditioned import ConditionedOutput, RateBox
from sk_hvae.nn.objective import balanced_objective, objective

LOW, HIGH = 0.3, 12.0


def make(n_layers=2, n_steps=1000, ramp=1.0):
    grid = TargetGrid(RateBox([LOW] * n_layers, [HIGH] * n_layers))
    return PlaneController(
        grid, torch.ones_like(grid.rates), n_steps, torch.full_like(grid.rates, ramp)
    )


def drive(control, plant, n_steps=1000, n_rows=128, noise=0.0):
    """Let a plant answer the betas of random targets, with the noise of single rows."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_steps):
        places = torch.rand(n_rows, control.grid.box.n_layers, generator=generator)
        targets = control.grid.box.rates(places)
        rates = plant(control.betas_at(targets))
        factor = -torch.rand(rates.shape, generator=generator).log() if noise else 1.0
        control.observe(ConditionedOutput(torch.zeros(n_rows), rates * factor, targets))


class TestGrid:
    @pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 6])
    def test_weights_interpolate_what_is_linear_in_the_log_rates(self, n_layers):
        grid = TargetGrid(RateBox([LOW] * n_layers, [HIGH] * n_layers))
        slope = torch.arange(1.0, n_layers + 1)
        targets = grid.box.rates(torch.rand(50, n_layers))
        at_nodes = grid.rates.log() @ slope
        weights = grid.weights(targets)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(50))
        torch.testing.assert_close(weights @ at_nodes, targets.log() @ slope, atol=1e-4, rtol=1e-4)

    def test_the_last_layer_runs_fastest(self):
        rates = TargetGrid(RateBox([LOW] * 2, [HIGH] * 2)).rates
        assert rates[0, 0] == rates[1, 0]
        assert rates[0, 1] < rates[1, 1]

    def test_targets_outside_take_the_nearest_node(self):
        grid = TargetGrid(RateBox([LOW], [HIGH]))
        assert grid.weights(torch.tensor([[100.0]]))[0, -1] == 1
        assert grid.weights(torch.tensor([[0.01]]))[0, 0] == 1

    @pytest.mark.parametrize("n_layers", [1, 2, 3, 6])
    def test_smoothing_takes_noise_and_leaves_slopes(self, n_layers):
        grid = TargetGrid(RateBox([LOW] * n_layers, [HIGH] * n_layers))
        smoother = grid.smoother(0.1)
        slopes = grid.rates.log() @ torch.arange(1.0, n_layers + 1)
        torch.testing.assert_close(smoother @ slopes, slopes, atol=1e-4, rtol=0)
        # Ridge regression on squared second differences, for one axis by hand.
        if n_layers == 1:
            y = torch.randn(12)
            x = (smoother @ y).requires_grad_()
            bends = x[:-2] - 2 * x[1:-1] + x[2:]
            ((x - y).square().sum() + 0.1 * bends.square().sum()).backward()
            torch.testing.assert_close(x.grad, torch.zeros(12), atol=1e-4, rtol=0)


class TestController:
    # The rates of the plant are scale / beta, so that beta = scale / target is the solution,
    # and is linear on the logarithmic grid.
    @pytest.mark.parametrize("noise", [0.0, 1.0])
    def test_betas_of_all_targets_are_found(self, noise):
        control = make()
        scale = torch.tensor([3.0, 0.5])
        drive(control, lambda betas: scale / betas, noise=noise)
        found = control.node_betas * control.grid.rates / scale
        assert found.log().abs().max() < (0.5 if noise else 0.02)
        assert found.log().abs().mean() < (0.1 if noise else 0.02)

    def test_the_loss_weighs_each_row_by_its_own_betas(self):
        control = make()
        drive(control, lambda betas: 2.0 / betas, n_steps=400)
        targets = torch.tensor([[0.5, 8.0], [8.0, 4.0]])
        rates = torch.ones(2, 2, requires_grad=True)
        output = ConditionedOutput(torch.tensor([1.0, 2.0]), rates, targets)
        terms = control.loss(output)
        terms.loss.backward()
        betas = control.betas_at(targets)
        weights = (1 + betas.mean(1)) ** (-1 / 3)
        torch.testing.assert_close(rates.grad, weights[:, None] * betas / weights.sum())
        assert (terms.distortion, terms.rates.tolist()) == (1.5, [1.0, 1.0])

    def test_unreachable_targets_leave_those_well_below_alone(self):
        # A plant that saturates at 4 bits: there, beta falls as far as it may.
        control = make(n_layers=1)
        drive(control, lambda betas: (1 / betas).clamp(max=4.0))
        reachable = control.grid.rates[:, 0] < 2
        error = (control.node_betas * control.grid.rates).log()[reachable]
        assert error.abs().max() < 0.25
        assert control.node_betas[-1] < 0.02

    def test_broken_rates_are_ignored(self):
        control = make()
        drive(control, lambda betas: 2.0 / betas, n_steps=50)
        kept = control.node_betas
        rates = torch.full((8, 2), torch.nan)
        targets = control.grid.box.rates(torch.rand(8, 2))
        control.observe(ConditionedOutput(torch.zeros(8), rates, targets))
        assert control.node_betas.isfinite().all()
        torch.testing.assert_close(control.node_betas, kept, rtol=0.1, atol=0.0)

    def test_betas_settle_for_the_last_steps(self):
        control = make(n_steps=100)
        drive(control, lambda betas: 2.0 / betas, n_steps=95, noise=1.0)
        settled = control.node_betas
        drive(control, lambda betas: 20.0 / betas, n_steps=5)
        assert torch.equal(control.node_betas, settled)

    def test_targets_start_at_the_ramp_and_come_down(self):
        control = make(ramp=2.0)
        assert control.is_ramping
        drive(control, lambda betas: 1.0 / betas, n_steps=150)
        early = (control.node_betas * control.grid.rates).log().mean()
        assert early < -0.15
        drive(control, lambda betas: 1.0 / betas, n_steps=600)
        assert not control.is_ramping
        assert (control.node_betas * control.grid.rates).log().abs().max() < 0.1

    def test_summaries_are_means_over_the_box(self):
        control = make(n_layers=1)
        assert control.betas == 1.0
        exact = (HIGH - LOW) / math.log(HIGH / LOW)
        torch.testing.assert_close(control.targets, torch.tensor([exact]))


def test_balanced_objective_with_equal_betas_is_the_objective():
    output = ConditionedOutput(torch.rand(10), torch.rand(10, 2), torch.ones(10, 2))
    betas = torch.tensor([0.5, 3.0])
    plain, balanced = objective(output, betas), balanced_objective(output, betas.expand(10, 2))
    torch.testing.assert_close(balanced, plain)
