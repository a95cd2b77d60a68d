import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sk_hvae.nn.latents.gaussian import (
    GaussianPosterior,
    GaussianPrior,
    LadderLatent,
    LayerCode,
    TopDownLatent,
    inverse_positive,
    positive,
)
from sk_hvae.nn.networks.skip import Activations, SkipPosterior, SkipPrior

KINDS = pytest.mark.parametrize("kind", [TopDownLatent, LadderLatent])


def random_posterior(seed, n_rows=5, n_units=3):
    torch.manual_seed(seed)
    prior = GaussianPrior(torch.randn(n_rows, n_units), torch.rand(n_rows, n_units) * 3 + 0.01)
    return GaussianPosterior(
        prior, 2 * torch.randn(n_rows, n_units), torch.rand(n_rows, n_units) * 2 + 0.01
    )


def new_layer(kind, n_units=3, n_above=2, n_linear=4, n_hidden=5):
    """A layer with the networks of a perceptron; no layer above for ``n_above`` 0."""
    prior_net = SkipPrior(n_above, (6,), 2 * n_units) if n_above else None
    n_read = n_above if kind is TopDownLatent else 0
    posterior_net = SkipPosterior(n_linear, n_hidden, n_read, (6,), 2 * n_units)
    return kind(n_units, prior_net, posterior_net)


def random_layer(kind, n_units=3, n_above=2, seed=0):
    torch.manual_seed(seed)
    layer = new_layer(kind, n_units, n_above)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return layer


def random_activations(n_rows, n_linear=4, n_hidden=5):
    return Activations(torch.randn(n_rows, n_linear), torch.randn(n_rows, n_hidden))


class TestGaussianPosterior:
    @pytest.mark.parametrize("seed", range(5))
    def test_kl_is_that_of_two_normal_distributions(self, seed):
        q = random_posterior(seed)
        expected = kl_divergence(Normal(q.mean, q.std), Normal(*q.prior)).sum(1)
        torch.testing.assert_close(q.kl(), expected, rtol=1e-4, atol=1e-4)

    def test_offset_and_ratio_are_relative_to_the_prior(self):
        q = random_posterior(0)
        torch.testing.assert_close(q.offset, (q.mean - q.prior.mean) / q.prior.std)
        torch.testing.assert_close(q.ratio, q.std / q.prior.std)

    @pytest.mark.parametrize("seed", range(3))
    def test_samples_have_the_mean_and_std(self, seed):
        q = random_posterior(seed)
        torch.manual_seed(seed)
        noise = torch.randn(5, 3)
        sample, prior_sample = q.sample(lambda like: noise), q.prior.sample(lambda like: noise)
        torch.testing.assert_close(sample, q.mean + q.std * noise)
        torch.testing.assert_close(prior_sample, q.prior.mean + q.prior.std * noise)


class TestPositive:
    def test_zero_maps_to_one(self):
        assert positive(torch.zeros(())).item() == pytest.approx(1, abs=1e-6)

    def test_values_are_increasing_from_the_floor_to_the_ceiling(self):
        values = positive(torch.linspace(-200, 200, 401))
        assert values.min() == pytest.approx(1e-3)
        assert values.max() == pytest.approx(100, rel=1e-3)
        assert (values.diff() >= 0).all()

    def test_inverse_positive_solves_positive(self):
        std = torch.logspace(math.log10(2e-3), 2, 50)
        torch.testing.assert_close(positive(inverse_positive(std)), std)

    def test_a_std_below_the_floor_is_lifted_off_it(self):
        raw = inverse_positive(torch.tensor([0.0, 1e-4, 1e-3]))
        assert raw.isfinite().all()
        np.testing.assert_allclose(positive(raw), 1.1e-3, rtol=1e-3)


class TestLayers:
    @KINDS
    def test_the_prior_of_the_top_layer_is_standard_normal(self, kind):
        prior = random_layer(kind, n_above=0).prior(None, 7)
        assert torch.equal(prior.mean, torch.zeros(7, 3))
        assert torch.equal(prior.std, torch.ones(7, 3))

    @KINDS
    def test_a_new_layer_has_no_rate_to_speak_of(self, kind):
        layer = new_layer(kind)
        torch.manual_seed(0)
        q = layer.posterior(random_activations(7), torch.randn(7, 2))
        # A new ladder layer multiplies N(0, 1) by N(0, 1): that is N(0, 1/2).
        expected = Normal(0.0, 1.0 if kind is TopDownLatent else math.sqrt(0.5))
        kl = 3 * kl_divergence(expected, Normal(0.0, 1.0))
        torch.testing.assert_close(q.kl(), kl.expand(7), atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("n_above", [0, 2])
    def test_the_ladder_posterior_is_the_precision_weighted_product(self, n_above):
        layer = random_layer(LadderLatent, n_above=n_above)
        torch.manual_seed(1)
        activations = random_activations(7)
        z_above = torch.randn(7, 2) if n_above else None
        net = layer.bottom_up_net
        raw = net.linear(activations.linear) + net.net(activations.hidden)
        mean, std = raw[:, :3], positive(raw[:, 3:])
        prior = layer.prior(z_above, 7)
        precision = 1 / std**2 + 1 / prior.std**2

        q = layer.posterior(activations, z_above)

        torch.testing.assert_close(q.std, precision**-0.5)
        expected = (mean / std**2 + prior.mean / prior.std**2) / precision
        torch.testing.assert_close(q.mean, expected, rtol=1e-4, atol=1e-4)

    @KINDS
    def test_posteriors_are_measured_against_the_prior_given_the_layer_above(self, kind):
        layer = random_layer(kind)
        torch.manual_seed(1)
        z_above = torch.randn(7, 2)
        prior = layer.prior(z_above, 7)
        q = layer.posterior(random_activations(7), z_above)
        torch.testing.assert_close(q.prior.mean, prior.mean)
        torch.testing.assert_close(q.prior.std, prior.std)

    @KINDS
    def test_the_posterior_depends_on_data_and_on_the_layer_above(self, kind):
        layer = random_layer(kind)
        torch.manual_seed(1)
        activations, z_above = random_activations(7), torch.randn(7, 2)
        q = layer.posterior(activations, z_above)
        for part in (activations._replace(linear=-activations.linear), activations):
            other = layer.posterior(part, z_above if part is not activations else -z_above)
            assert not torch.allclose(q.mean, other.mean, atol=1e-2)

    @KINDS
    def test_standard_deviations_stay_above_the_floor_for_extreme_weights(self, kind):
        layer = random_layer(kind)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1e3)
        torch.manual_seed(1)
        q = layer.posterior(random_activations(50), 10 * torch.randn(50, 2))
        assert q.prior.std.min() >= 1e-3
        assert q.ratio.min() > 0
        assert q.kl().isfinite().all()


class TestStartAt:
    """The start is the exact conditional of x -> z_l -> z_{l+1} with unit variances."""

    @KINDS
    @pytest.mark.parametrize(("signal", "above"), [(0.8, 0.5), (0.99, 0.9), (0.1, 0.3)])
    def test_the_posterior_is_the_conditional_of_the_linear_gaussian_chain(
        self, kind, signal, above
    ):
        layer = new_layer(kind, 2, 2, n_linear=2)
        code = LayerCode(torch.full((2,), signal), torch.full((2,), above))
        with torch.no_grad():
            layer.start_at(code)
        torch.manual_seed(0)
        whitened, z_above = torch.randn(7, 2), torch.randn(7, 2)

        q = layer.posterior(Activations(whitened, torch.randn(7, 5)), z_above)

        covariance = np.array(
            [[1, signal, above], [signal, 1, signal * above], [above, signal * above, 1]]
        )
        weights = np.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
        expected = weights[0] * whitened.numpy() + weights[1] * z_above.numpy()
        np.testing.assert_allclose(q.mean.detach(), expected, atol=1e-4)
        variance = 1 - weights @ covariance[1:, 0]
        np.testing.assert_allclose(q.std.detach(), math.sqrt(variance), rtol=1e-3)

    @KINDS
    def test_the_prior_is_the_regression_on_the_layer_above(self, kind):
        layer = new_layer(kind, 2, 3, n_linear=2)
        code = LayerCode(torch.tensor([0.9, 0.6]), torch.tensor([0.5, 0.0]))
        with torch.no_grad():
            layer.start_at(code)
        torch.manual_seed(0)
        z_above = torch.randn(7, 3)
        prior = layer.prior(z_above, 7)
        expected = np.stack([0.5 * z_above[:, 0], np.zeros(7)], 1)
        np.testing.assert_allclose(prior.mean.detach(), expected, atol=1e-6)
        np.testing.assert_allclose(prior.std.detach(), [[math.sqrt(0.75), 1.0]] * 7, rtol=1e-4)

    @KINDS
    def test_units_without_signal_carry_no_rate(self, kind):
        layer = new_layer(kind, 2, 2, n_linear=2)
        with torch.no_grad():
            layer.start_at(LayerCode(torch.zeros(2), torch.zeros(2)))
        torch.manual_seed(0)
        q = layer.posterior(Activations(torch.randn(7, 2), torch.randn(7, 5)), torch.randn(7, 2))
        assert q.kl().max() < 1e-5
