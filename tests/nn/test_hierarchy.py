import math

import pytest
import torch
from torch.distributions import Normal, OneHotCategorical, kl_divergence

from sk_hvae.nn import (
    Architecture,
    Bernoulli,
    DataSummary,
    Gaussian,
    build_hierarchy,
    objective,
)

SIZES = {1: (3,), 2: (3, 2), 3: (3, 1, 2)}
HIERARCHIES = pytest.mark.parametrize(
    ("n_layers", "inference"),
    [(n, kind) for n in (1, 2, 3) for kind in ("top_down", "ladder")],
)


def random_model(
    sizes,
    inference="top_down",
    n_features=4,
    likelihood=None,
    spread=0.3,
    seed=0,
    top_layer="gaussian",
):
    """A small model with all weights perturbed away from their start."""
    torch.manual_seed(seed)
    x = torch.randn(30, n_features)
    likelihood = (likelihood or Gaussian(0.5)).adapt(DataSummary.of([x]))
    architecture = Architecture(sizes, (6,), inference=inference, top_layer=top_layer)
    model = build_hierarchy(architecture, likelihood)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return model.requires_grad_(requires_grad=False)


def normal_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def log_ratios(model, x, latents):
    """Log q(z_l | z_{l+1}, x) - log p(z_l | z_{l+1}) of every layer, (b, n_layers)."""
    activations = model.activations(x)
    ratios = []
    for layer, z, z_above in zip(model.layers, latents, (*latents[1:], None), strict=True):
        q, p = layer.posterior(activations, z_above), layer.prior(z_above, len(x))
        log_q, log_p = Normal(q.mean, q.std).log_prob(z), Normal(p.mean, p.std).log_prob(z)
        ratios.append((log_q - log_p).sum(1))
    return torch.stack(ratios, 1)


class TestRates:
    @HIERARCHIES
    def test_rates_are_the_terms_of_the_kl_of_all_latents(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        n = 20000
        x = torch.tensor([[1.0, -2.0, 0.5, 0.0]]).expand(n, 4)

        output = model(x, normal_noise(1))

        # Both sides have the same expectation over the latents, layer by layer.
        difference = log_ratios(model, x, output.latents) - output.rates
        standard_error = difference.std(0) / math.sqrt(n)
        assert (standard_error < 0.05 * output.rates.mean(0)).all()
        assert (difference.mean(0).abs() < 5 * standard_error).all()

    @HIERARCHIES
    def test_rates_sum_to_the_kl_divergence_of_the_joint_distributions(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        n = 20000
        x = torch.tensor([[1.0, -2.0, 0.5, 0.0]]).expand(n, 4)
        torch.manual_seed(1)
        log_ratio, z = torch.zeros(n), None
        for layer in reversed(model.layers):
            q, p = layer.posterior(model.activations(x), z), layer.prior(z, n)
            q, p = Normal(q.mean, q.std), Normal(p.mean, p.std)
            z = q.sample()
            log_ratio += (q.log_prob(z) - p.log_prob(z)).sum(1)

        rates = model(x, normal_noise(2)).rates.sum(1)

        standard_error = math.sqrt((log_ratio.var() + rates.var()) / n)
        assert standard_error < 0.05 * rates.mean()
        assert abs(log_ratio.mean() - rates.mean()) < 5 * standard_error

    @pytest.mark.parametrize("inference", ["top_down", "ladder"])
    @pytest.mark.parametrize("beta", [0.5, 4.0])
    def test_one_layer_is_a_plain_beta_vae(self, inference, beta):
        model = random_model((3,), inference)
        x = torch.randn(10, 4)
        noise = torch.randn(10, 3)
        q = model.layers[0].posterior(model.activations(x), None)
        rate = kl_divergence(Normal(q.mean, q.std), Normal(0.0, 1.0)).sum(1)
        decoded = model.likelihood.mean(model.decoder(q.mean + q.std * noise)).float()
        distortion = -Normal(decoded, 0.5).log_prob(x).sum(1)

        output = model(x, lambda like: noise)
        terms = objective(output, torch.tensor([beta]))

        torch.testing.assert_close(output.rates, rate[:, None])
        torch.testing.assert_close(output.distortion, distortion, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            terms.loss, distortion.mean() + beta * rate.mean(), rtol=1e-4, atol=1e-4
        )

    @HIERARCHIES
    def test_distortion_is_minus_the_log_likelihood_of_the_sampled_z1(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(10, 4)
        output = model(x, normal_noise(1))
        mean = model.decode(output.latents[0]).float()
        expected = -Normal(mean, 0.5).log_prob(x).sum(1)
        torch.testing.assert_close(output.distortion, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("inference", ["top_down", "ladder"])
    def test_the_elbo_is_what_quadrature_gives_and_bounds_the_evidence(self, inference):
        model = random_model((1, 1), inference, n_features=2, likelihood=Gaussian(1.5))
        x = torch.tensor([[0.7, -0.4]])
        axis = torch.linspace(-9, 9, 601)
        log_cell = 2 * math.log(float(axis[1] - axis[0]))
        z_1, z_2 = (z.reshape(-1, 1) for z in torch.meshgrid(axis, axis, indexing="ij"))
        many = x.expand(len(z_1), 2)
        prior = Normal(*model.layers[0].prior(z_2, len(z_2)))
        log_p = (Normal(0.0, 1.0).log_prob(z_2) + prior.log_prob(z_1)).double()[:, 0]
        log_joint = log_p + model.likelihood.log_prob(many, model.decoder(z_1)).sum(1)
        log_q = log_p + log_ratios(model, many, (z_1, z_2)).sum(1)
        q = (log_q + log_cell).exp()
        evidence = (log_joint + log_cell).logsumexp(0)
        elbo = (q * (log_joint - log_q)).sum()
        assert q.sum() == pytest.approx(1, abs=1e-4)  # the grid is fine and wide enough

        n = 20000
        many = x.expand(n, 2)
        output = model(many, normal_noise(1))
        bound = (-output.distortion - output.rates.sum(1)).double()
        log_weights = -output.distortion - log_ratios(model, many, output.latents).sum(1)
        weights = (log_weights - evidence).exp()

        assert elbo < evidence - 0.01
        assert abs(bound.mean() - elbo) < 5 * bound.std() / math.sqrt(n)
        assert abs(weights.mean() - 1) < 5 * weights.std() / math.sqrt(n)


def measure_by_enumeration(model, x, seed):
    """Distortion, and rates of the layers, by a loop over the states of the top layer."""
    *below, top = model.layers
    activations = model.activations(x)
    probabilities = top.logits_net(activations).softmax(1)
    distortion, rates = torch.zeros(len(x)), torch.zeros(len(x), len(below))
    for state in range(top.n_units):
        z, noise = torch.eye(top.n_units)[state].expand(len(x), -1), normal_noise(seed)
        for i in reversed(range(len(below))):
            q, p = below[i].posterior(activations, z), below[i].prior(z, len(x))
            q, p = Normal(q.mean, q.std), Normal(p.mean, p.std)
            rates[:, i] += probabilities[:, state] * kl_divergence(q, p).sum(1)
            z = q.mean + q.stddev * noise(q.mean)
        log_prob = model.likelihood.log_prob(x, model.decoder(z)).sum(1)
        distortion -= probabilities[:, state] * log_prob
    uniform = OneHotCategorical(torch.full((len(x), top.n_units), 1 / top.n_units))
    top_rate = kl_divergence(OneHotCategorical(probabilities), uniform)
    return distortion, torch.cat((rates, top_rate[:, None]), 1)


class TestCategoricalTop:
    @pytest.mark.parametrize("inference", ["top_down", "ladder"])
    @pytest.mark.parametrize("sizes", [(3, 4), (3, 2, 5)])
    @pytest.mark.parametrize("training", [True, False])
    def test_distortion_and_rates_are_exact_expectations_over_the_states(
        self, inference, sizes, training
    ):
        model = random_model(sizes, inference, top_layer="categorical").train(training)
        x = torch.randn(6, 4)

        output = model(x, normal_noise(3))

        distortion, rates = measure_by_enumeration(model, x, seed=3)
        torch.testing.assert_close(output.distortion, distortion)
        torch.testing.assert_close(output.rates, rates)

    def test_one_layer_of_states_is_a_mixture_with_an_exact_bound(self):
        model = random_model((4,), top_layer="categorical")
        x = torch.randn(6, 4)
        output = model(x, normal_noise(0))
        log_q = model.layers[0].posterior(model.activations(x), None).log_probs
        log_joint = torch.stack(
            [
                model.likelihood.log_prob(x, model.decoder(state.expand(6, -1))).sum(1)
                for state in torch.eye(4)
            ],
            1,
        ) - math.log(4)
        bound = (log_q.exp() * (log_joint - log_q)).sum(1)
        torch.testing.assert_close(-output.distortion - output.rates.sum(1), bound)
        assert (bound < log_joint.logsumexp(1)).all()

    def test_latents_have_a_row_for_every_state_of_every_row(self):
        model = random_model((3, 4), top_layer="categorical")
        z_1, z_2 = model(torch.randn(6, 4), normal_noise(0)).latents
        assert z_1.shape == (24, 3)
        assert torch.equal(z_2, torch.eye(4).repeat(6, 1))

    @pytest.mark.parametrize("inference", ["top_down", "ladder"])
    def test_sampled_states_give_the_same_expectations(self, inference):
        model = random_model((3, 4), inference, top_layer="gumbel", seed=1)
        n = 20000
        x = torch.tensor([[1.0, -2.0, 0.5, 0.0]]).expand(n, 4)
        sampled = model.train()(x, normal_noise(0))
        exact = model.eval()(x, normal_noise(1))
        assert len(sampled.latents[0]) == n
        pairs = [(sampled.distortion, exact.distortion)]
        pairs += zip(sampled.rates.T, exact.rates.T, strict=True)
        for draws, expectation in pairs:
            error = math.sqrt((draws.var() + expectation.var()) / n)
            assert abs(draws.mean() - expectation.mean()) < 5 * error + 1e-5

    def test_rows_do_not_see_each_other(self):
        model = random_model((3, 2, 5), top_layer="categorical")
        x = torch.randn(6, 4)
        noise = torch.randn(6, 5)

        def rows(which):
            return lambda like: noise[which, : like.shape[1]]

        whole, alone = model(x, rows(slice(None))), model(x[2:3], rows(slice(2, 3)))
        torch.testing.assert_close(whole.rates[2:3], alone.rates)
        torch.testing.assert_close(whole.distortion[2:3], alone.distortion)


class TestOptimalSigma:
    @HIERARCHIES
    def test_training_sets_it_to_the_error_of_the_batch(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference, likelihood=Gaussian("optimal")).train()
        x = torch.randn(10, 4)
        z_1 = model(x, normal_noise(1)).latents[0]
        error = (model.likelihood.link(x) - model.decoder(z_1)).square().mean()
        torch.testing.assert_close(model.likelihood.log_sigma.exp().square(), error)

    def test_evaluation_leaves_it_as_it_is(self):
        model = random_model((3, 2), likelihood=Gaussian("optimal")).eval()
        model(torch.randn(10, 4), normal_noise(1))
        assert model.likelihood.log_sigma == 0

    def test_enumerated_states_count_by_their_probability(self):
        likelihood = Gaussian("optimal")
        model = random_model((3, 4), likelihood=likelihood, top_layer="categorical").train()
        x = torch.randn(5000, 4)
        output = model(x, normal_noise(1))
        error = model.likelihood.link(x.repeat_interleave(4, 0)) - model.decoder(output.latents[0])
        weights = model.layers[1].posterior(model.activations(x), None).mean.flatten()
        expected = (weights * error.square().mean(1)).sum() / 5000
        assert likelihood.log_sigma.exp().square().item() == pytest.approx(
            expected.item(), rel=0.05
        )


class TestUnits:
    @HIERARCHIES
    def test_units_are_the_root_of_the_typical_std_of_the_posterior(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(50, 4)
        latents = model.encode(x, model.row_noise(x))
        stds = [
            layer.posterior(model.activations(x), z_above).std
            for layer, z_above in zip(model.layers, (*latents[1:], None), strict=True)
        ]
        model.set_scales(x)
        for layer, std in zip(model.layers, stds, strict=True):
            torch.testing.assert_close(layer.scale, std.square().mean(0).sqrt().sqrt())

    @HIERARCHIES
    def test_only_what_goes_in_and_out_is_in_units(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(10, 4)
        before = model.encode(x), model(x, normal_noise(0))
        decoded = [model.decode(z, number) for number, z in enumerate(before[0], start=1)]

        model.set_scales(x)

        latents, output = model.encode(x), model(x, normal_noise(0))
        torch.testing.assert_close(output, before[1])
        for number, (z, old) in enumerate(zip(latents, before[0], strict=True), start=1):
            torch.testing.assert_close(z * model.layers[number - 1].scale, old)
            again = model.decode(z, number)
            torch.testing.assert_close(again.float(), decoded[number - 1].float())

    def test_layers_below_states_take_the_expectation_of_their_variance(self):
        model = random_model((3, 4), top_layer="categorical")
        x = torch.randn(50, 4)
        activations = model.activations(x)
        weights = model.layers[1].logits_net(activations).softmax(1)
        variance = sum(
            weights[:, [i]] * model.layers[0].posterior(activations, state.expand(50, -1)).std ** 2
            for i, state in enumerate(torch.eye(4))
        )
        model.set_scales(x)
        torch.testing.assert_close(model.layers[0].scale, variance.mean(0) ** 0.25)
        assert torch.equal(model.layers[1].scale, torch.ones(4))


class TestEncode:
    @HIERARCHIES
    def test_without_noise_every_layer_passes_on_its_mean(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(10, 4)
        activations = model.activations(x)
        latents = model.encode(x)
        for layer, z, z_above in zip(model.layers, latents, (*latents[1:], None), strict=True):
            torch.testing.assert_close(z, layer.posterior(activations, z_above).mean)
        again = model.encode(x)
        assert all(torch.equal(a, b) for a, b in zip(latents, again, strict=True))

    @HIERARCHIES
    def test_noise_of_zero_gives_the_means(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(10, 4)
        zipped = zip(model.encode(x), model.encode(x, torch.zeros_like), strict=True)
        for mean, sample in zipped:
            torch.testing.assert_close(mean, sample)

    @HIERARCHIES
    def test_latents_come_z1_first_with_their_widths(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        widths = tuple(z.shape[1] for z in model.encode(torch.randn(10, 4)))
        assert widths == SIZES[n_layers]

    def test_forward_samples_what_encode_samples(self):
        model = random_model((3, 2), "top_down")
        x = torch.randn(10, 4)
        encoded = model.encode(x, normal_noise(5))
        output = model(x, normal_noise(5))
        assert all(torch.equal(a, b) for a, b in zip(encoded, output.latents, strict=True))

    @HIERARCHIES
    def test_rows_do_not_see_each_other(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        x = torch.randn(10, 4)
        for whole, alone in zip(model.encode(x), model.encode(x[3:4]), strict=True):
            torch.testing.assert_close(whole[3:4], alone)


class TestDecode:
    def test_layers_below_take_their_prior_means(self):
        model = random_model((3, 1, 2), "top_down")
        z_3 = torch.randn(10, 2)
        z_2 = model.layers[1].prior(z_3, 10).mean
        z_1 = model.layers[0].prior(z_2, 10).mean
        expected = model.likelihood.mean(model.decoder(z_1))
        for z, layer in [(z_3, 3), (z_2, 2), (z_1, 1)]:
            torch.testing.assert_close(model.decode(z, layer), expected)

    def test_a_sample_without_noise_decodes_the_origin_of_the_top_layer(self):
        model = random_model((3, 1, 2), "ladder")
        drawn = model.sample(2, torch.zeros_like)
        torch.testing.assert_close(drawn, model.decode(torch.zeros(2, 2), layer=3))

    @HIERARCHIES
    def test_samples_have_the_shape_of_data(self, n_layers, inference):
        model = random_model(SIZES[n_layers], inference)
        assert model.sample(11, normal_noise(1)).shape == (11, 4)

    def test_samples_of_a_linear_model_have_its_covariance(self):
        model = random_model((2, 2), "top_down", spread=0)
        weight, pull = torch.randn(4, 2), torch.diag(torch.tensor([0.8, 0.3]))
        model.decoder.linear.weight.copy_(weight)
        model.layers[0].prior_net.linear.weight[:2] = pull
        n = 40000

        drawn = (model.sample(n, normal_noise(1)) / model.likelihood.scale).double()

        noise = torch.diag((0.5 / model.likelihood.scale) ** 2)
        w = weight.double()
        expected = w @ (torch.eye(2) + pull @ pull.T).double() @ w.T + noise
        torch.testing.assert_close(drawn.T.cov(), expected, atol=0.1, rtol=0.05)

    def test_a_bernoulli_model_samples_binary_data(self):
        torch.manual_seed(0)
        likelihood = Bernoulli().adapt(DataSummary.of([torch.eye(4)]))
        model = build_hierarchy(Architecture((2, 2), (6,)), likelihood)
        assert set(model.sample(50, normal_noise(1)).unique().tolist()) == {0.0, 1.0}


def test_a_model_without_hidden_layers_works():
    torch.manual_seed(0)
    x = torch.randn(10, 4)
    likelihood = Gaussian().adapt(DataSummary.of([x]))
    for inference in ("top_down", "ladder"):
        model = build_hierarchy(Architecture((3, 2), (), inference=inference), likelihood)
        output = model(x, normal_noise(0))
        assert output.rates.shape == (10, 2)
        assert output.distortion.isfinite().all()


@HIERARCHIES
def test_every_weight_gets_a_gradient(n_layers, inference):
    model = random_model(SIZES[n_layers], inference, likelihood=Gaussian("learned"))
    model.requires_grad_()
    output = model(torch.randn(10, 4), normal_noise(1))
    (output.distortion.mean() + output.rates.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
@pytest.mark.parametrize("inference", ["top_down", "ladder"])
def test_every_weight_below_and_of_a_categorical_layer_gets_a_gradient(top_layer, inference):
    model = random_model((3, 2, 4), inference, top_layer=top_layer).train()
    model.requires_grad_()
    output = model(torch.randn(10, 4), normal_noise(1))
    (output.distortion.mean() + output.rates.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
