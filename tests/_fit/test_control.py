import math

import pytest
import torch

from sk_hvae._fit.control import FixedMultipliers, RateController
from sk_hvae.nn import HVAEOutput


def output_with(rates):
    return HVAEOutput(torch.zeros(1), rates[None], ())


def drive(control, plant, n_steps):
    """Let a plant answer the betas; returns the betas and rates of every step."""
    betas, rates = [], []
    for _ in range(n_steps):
        rate = plant(control.betas)
        control.observe(output_with(rate))
        betas.append(control.betas)
        rates.append(rate)
    return torch.stack(betas), torch.stack(rates)


def lagged_plant(scale, lag=0.9, noise=0.0):
    """Rates that follow scale / beta with a first-order lag, measured with noise."""
    generator = torch.Generator().manual_seed(0)
    state = torch.zeros_like(scale)

    def plant(betas):
        nonlocal state
        state = lag * state + (1 - lag) * scale / betas
        return state * (1 + noise * torch.randn(state.shape, generator=generator))

    return plant


def competing_plant(n_components=8, variance=10.0, speed=0.02):
    """Gradient flow of a linear code: its distortion depends on the total rate alone."""
    rates = torch.tensor([1.0, 1.0])

    def plant(betas):
        nonlocal rates
        gain = n_components * variance * torch.exp(-2 * rates.sum() / n_components)
        rates = (rates + speed * (gain - betas)).clamp(min=0)
        return rates

    return plant


class TestRateController:
    @pytest.mark.parametrize("start", [0.01, 1.0, 100.0])
    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_independent_layers_reach_their_targets(self, start, noise):
        targets, scale = torch.tensor([0.5, 2.0, 20.0]), torch.tensor([3.0, 3.0, 3.0])
        control = RateController(targets, torch.full((3,), start), 2000)
        betas, rates = drive(control, lagged_plant(scale, noise=noise), 2000)
        torch.testing.assert_close(rates[-200:].mean(0), targets, rtol=0.03, atol=0)
        torch.testing.assert_close(betas[-1], scale / targets, rtol=0.05, atol=0)

    @pytest.mark.parametrize("targets", [(4.0, 4.0), (1.0, 8.0), (12.0, 2.0)])
    def test_layers_that_compete_for_the_same_information_keep_their_split(self, targets):
        targets = torch.tensor(targets)
        control = RateController(targets, torch.ones(2), 2000)
        betas, rates = drive(control, competing_plant(), 1800)
        torch.testing.assert_close(rates[-200:].mean(0), targets, rtol=0.02, atol=0)
        # Where the rates are still, both betas equal the gain of the plant.
        gain = 80 * math.exp(-2 * targets.sum().item() / 8)
        torch.testing.assert_close(betas[-2], torch.full((2,), gain), rtol=0.05, atol=0)

    def test_betas_start_where_they_are_told(self):
        control = RateController(torch.tensor([1.0]), torch.tensor([7.0]), 100)
        assert control.betas.tolist() == [7.0]

    @pytest.mark.parametrize(("rate", "rises"), [(2.0, True), (0.5, False)])
    def test_a_beta_rises_with_a_rate_above_target_and_falls_below(self, rate, rises):
        control = RateController(torch.tensor([1.0]), torch.tensor([1.0]), 100)
        control.observe(output_with(torch.tensor([rate])))
        assert (control.betas.item() > 1) is rises

    def test_rates_on_target_leave_the_betas_alone(self):
        targets, start = torch.tensor([1.0, 4.0]), torch.tensor([0.3, 5.0])
        control = RateController(targets, start, 100)
        betas, _ = drive(control, lambda betas: targets, 100)
        torch.testing.assert_close(betas, start.expand(100, 2))

    @pytest.mark.parametrize("n_steps", [10, 50, 200, 2001])
    def test_betas_are_constant_over_the_last_twentieth_of_the_steps(self, n_steps):
        control = RateController(torch.tensor([1.0, 4.0]), torch.ones(2), n_steps)
        plant = lagged_plant(torch.tensor([3.0, 3.0]), noise=0.3)
        betas, _ = drive(control, plant, n_steps)
        last = betas[math.ceil(0.95 * n_steps) - 1 :]
        assert torch.equal(last, last[:1].expand_as(last))
        assert not torch.equal(betas[0], betas[1])

    def test_settled_betas_average_out_most_of_the_noise(self):
        n_layers, n_steps = 200, 4000
        control = RateController(torch.full((n_layers,), 2.0), torch.ones(n_layers), n_steps)
        betas, _ = drive(control, lagged_plant(torch.full((n_layers,), 3.0), 0.5, 0.3), n_steps)
        spread = betas.log().std(1)
        assert spread[-1] < 0.12 * spread[2800:3200].mean()

    @pytest.mark.parametrize(("rate", "limit"), [(0.0, 1e-4), (1e6, 1e4)])
    def test_a_target_out_of_reach_leaves_its_beta_at_the_limit(self, rate, limit):
        control = RateController(torch.tensor([1.0]), torch.ones(1), 2000)
        betas, _ = drive(control, lambda betas: torch.tensor([rate]), 2000)
        assert betas.isfinite().all()
        assert betas[-1].item() == pytest.approx(limit, rel=1e-3)

    def test_a_beta_leaves_its_limit_soon_after_the_rate_comes_back(self):
        control = RateController(torch.tensor([1.0]), torch.ones(1), None)
        drive(control, lambda betas: torch.tensor([0.0]), 5000)
        _, rates = drive(control, lagged_plant(torch.tensor([3.0])), 500)
        assert rates[-1].item() == pytest.approx(1, rel=0.05)

    def test_without_an_end_betas_never_settle(self):
        control = RateController(torch.tensor([1.0]), torch.ones(1), None)
        betas, _ = drive(control, lagged_plant(torch.tensor([3.0]), noise=0.3), 500)
        assert (betas.diff(dim=0) != 0).all()

    def test_the_loss_is_a_mean_weighed_by_the_betas(self):
        for beta in (0.01, 1.0, 1000.0):
            control = RateController(torch.tensor([4.0]), torch.tensor([beta]), n_steps=100)
            equal = HVAEOutput(torch.tensor([3.0]), torch.tensor([[3.0]]), ())
            assert control.loss(equal).loss == pytest.approx(3.0)
            other = HVAEOutput(torch.tensor([3.0]), torch.tensor([[5.0]]), ())
            expected = (3.0 + beta * 5.0) / (1 + beta)
            assert control.loss(other).loss == pytest.approx(expected)

    def test_gradients_stay_as_large_when_a_rate_jumps(self):
        control = RateController(torch.ones(2), torch.full((2,), 30.0), n_steps=1000)
        jumped = torch.tensor([6.0, 1.0])
        for _ in range(20):
            control.observe(output_with(jumped))
        assert control.betas[0] > 3000
        rates = jumped[None].requires_grad_()
        control.loss(HVAEOutput(torch.zeros(1), rates, ())).loss.backward()
        assert rates.grad.norm() < 2

    def test_nothing_is_read_back_from_the_device(self):
        # Tensors on the meta device have no numbers: reading one raises.
        start = torch.ones(2, device="meta")
        control = RateController(start, start, 100)
        betas, _ = drive(control, lambda betas: betas, 100)
        assert betas.device.type == "meta"
        with pytest.raises(RuntimeError, match="meta tensors"):
            betas[0, 0].item()

    def test_the_tensors_passed_in_are_not_changed(self):
        targets, start = torch.tensor([1.0]), torch.tensor([2.0])
        drive(RateController(targets, start, 20), lambda betas: torch.tensor([5.0]), 20)
        assert (targets.item(), start.item()) == (1.0, 2.0)


def test_fixed_multipliers_stay_as_they_are():
    betas = torch.tensor([0.5, 3.0])
    control = FixedMultipliers(betas)
    driven, _ = drive(control, lagged_plant(torch.ones(2)), 20)
    assert torch.equal(driven, betas.expand(20, 2))
