import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, entropy
from torch.distributions import Categorical, kl_divergence

from sk_hvae.nn import Architecture, Bernoulli, DataSummary, Gaussian, build_hierarchy
from sk_hvae.nn.latents.categorical import (
    CategoricalLatent,
    CategoricalPosterior,
    CategoricalPrior,
    top_latent,
)
from sk_hvae.nn.latents.gaussian import LadderLatent, TopDownLatent

INFERENCE = pytest.mark.parametrize("inference", ["top_down", "ladder"])


def normal_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def posterior(logits):
    """The posterior of a layer with a uniform prior."""
    log_probs = logits.log_softmax(1)
    return CategoricalPosterior(log_probs, CategoricalPrior.uniform(log_probs))


def random_posterior(n_rows=5, n_states=4, sharpness=2.0, seed=0):
    torch.manual_seed(seed)
    return posterior(sharpness * torch.randn(n_rows, n_states))


def random_model(sizes, inference="top_down", top_layer="categorical", seed=0):
    """A model of 4 columns in evaluation mode, all weights away from their start."""
    torch.manual_seed(seed)
    likelihood = Gaussian(0.5).adapt(DataSummary.of([torch.randn(30, 4)]))
    architecture = Architecture(sizes, (6,), inference=inference, top_layer=top_layer)
    model = build_hierarchy(architecture, likelihood)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.requires_grad_(requires_grad=False).eval()


class TestRate:
    @pytest.mark.parametrize("n_states", [1, 2, 7])
    @pytest.mark.parametrize("sharpness", [0.0, 1.0, 10.0])
    def test_kl_is_that_to_the_uniform_distribution(self, n_states, sharpness):
        q = random_posterior(n_states=n_states, sharpness=sharpness)
        uniform = Categorical(torch.full((5, n_states), 1 / n_states))
        expected = kl_divergence(Categorical(logits=q.log_probs), uniform)
        torch.testing.assert_close(q.kl(), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("sharpness", [0.1, 1.0, 100.0, 1e6])
    def test_the_rate_is_at_most_the_log_of_the_number_of_states(self, sharpness):
        rates = random_posterior(200, 5, sharpness).kl()
        assert rates.max() <= math.log(5) + 1e-6
        assert rates.min() >= -1e-6

    def test_certainty_costs_the_log_of_the_number_of_states(self):
        q = posterior(torch.tensor([[500.0, 0.0, -500.0]]))
        assert q.kl().item() == pytest.approx(math.log(3))

    def test_the_gradient_is_finite_where_a_state_is_ruled_out(self):
        logits = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
        posterior(logits).kl().sum().backward()
        assert logits.grad.isfinite().all()

    def test_kl_to_a_learned_prior(self):
        q, prior = random_posterior(), random_posterior(1, seed=1).log_probs
        expected = kl_divergence(Categorical(logits=q.log_probs), Categorical(logits=prior))
        torch.testing.assert_close(q._replace(prior=CategoricalPrior(prior)).kl(), expected)

    def test_with_a_learned_prior_the_rate_is_at_best_the_mutual_information(self):
        torch.manual_seed(0)
        layer = CategoricalLatent(3, torch.nn.Identity(), learned_prior=True)
        logits = torch.randn(50, 3) + torch.tensor([2.0, 0.0, -1.0])
        optimizer = torch.optim.Adam([layer.prior_logits], lr=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            rate = layer.posterior(logits, None).kl().mean()
            rate.backward()
            optimizer.step()
        q = logits.softmax(1)
        information = entropy(q.mean(0)) - entropy(q, axis=1).mean()
        assert rate.item() == pytest.approx(information, rel=1e-4)
        layer.prior_logits.data.zero_()
        layer.start_prior(q)
        at_once = layer.posterior(logits, None).kl().mean()
        assert at_once.item() == pytest.approx(information, rel=1e-4)

    def test_a_state_that_no_row_takes_stays_possible(self):
        layer = CategoricalLatent(2, torch.nn.Identity(), learned_prior=True)
        layer.start_prior(torch.tensor([[1.0, 0.0]]))
        assert layer.prior(None, 1).mean[0, 1].item() == pytest.approx(1e-4, rel=1e-3)


class TestSample:
    @pytest.mark.parametrize("seed", range(3))
    def test_states_are_as_frequent_as_they_are_probable(self, seed):
        n = 20000
        q = random_posterior(1, 6, 1.0, seed)
        many = posterior(q.log_probs.expand(n, -1))
        counts = many.sample(normal_noise(seed)).round().sum(0)
        assert chisquare(counts, n * q.mean[0].double() / q.mean.double().sum()).pvalue > 1e-3

    def test_states_of_the_prior_are_equally_frequent(self):
        prior = CategoricalPrior.uniform(torch.empty(20000, 7))
        states = prior.sample(normal_noise(0))
        assert set(states.unique().tolist()) == {0.0, 1.0}
        assert chisquare(states.sum(0)).pvalue > 1e-3

    def test_samples_are_one_hot(self):
        drawn = random_posterior(300).sample(normal_noise(0))
        torch.testing.assert_close(drawn, drawn.round())
        torch.testing.assert_close(drawn.sum(1), torch.ones(300))
        assert drawn.min() == 0

    def test_rows_are_sampled_independently(self):
        n = 20000
        q = posterior(torch.tensor([0.3, 0.7]).log().expand(n, 2))
        first, second = q.sample(normal_noise(0)).round()[:, 0].view(2, -1)
        table = np.bincount((2 * first + second).int().numpy(), minlength=4)
        expected = np.outer([0.7, 0.3], [0.7, 0.3]).ravel() * n / 2
        assert chisquare(table, expected).pvalue > 1e-3

    def test_the_gradient_is_that_of_the_probabilities(self):
        torch.manual_seed(0)
        raw, weights = torch.randn(5, 4), torch.randn(5, 4)
        gradients = []
        for of in (lambda q: q.sample(normal_noise(1)), lambda q: q.mean):
            logits = raw.clone().requires_grad_()
            (of(posterior(logits)) * weights).sum().backward()
            gradients.append(logits.grad)
        torch.testing.assert_close(*gradients)
        assert gradients[0].abs().min() > 0

    @pytest.mark.parametrize("extreme", [-40.0, 40.0])
    def test_extreme_noise_gives_a_state(self, extreme):
        drawn = random_posterior().sample(lambda like: torch.full_like(like, extreme))
        torch.testing.assert_close(drawn.sum(1), torch.ones(5))


class TestLatent:
    @pytest.mark.parametrize(
        ("kind", "training", "enumerates"),
        [
            ("categorical", True, True),
            ("categorical", False, True),
            ("gumbel", True, False),
            ("gumbel", False, True),
        ],
    )
    def test_states_are_sampled_only_to_train_on_samples(self, kind, training, enumerates):
        layer = top_latent(kind, "top_down", 3, lambda n: torch.nn.Linear(2, n))
        assert layer.train(training).enumerates is enumerates

    def test_the_prior_is_uniform(self):
        layer = CategoricalLatent(4, torch.nn.Identity())
        assert torch.equal(layer.prior(None, 3).mean, torch.full((3, 4), 0.25))

    def test_the_posterior_is_the_softmax_of_the_logits(self):
        torch.manual_seed(0)
        logits = torch.randn(3, 4)
        q = CategoricalLatent(4, torch.nn.Identity()).posterior(logits, None)
        torch.testing.assert_close(q.mean, logits.softmax(1))

    @pytest.mark.parametrize(
        ("kind", "inference", "expected", "width"),
        [
            ("gaussian", "top_down", TopDownLatent, 6),
            ("gaussian", "ladder", LadderLatent, 6),
            ("categorical", "top_down", CategoricalLatent, 3),
            ("gumbel", "ladder", CategoricalLatent, 3),
        ],
    )
    def test_top_latent_asks_for_the_parameters_of_the_kind(self, kind, inference, expected, width):
        asked = []
        layer = top_latent(kind, inference, 3, lambda n: asked.append(n) or torch.nn.Linear(2, n))
        assert type(layer) is expected
        assert asked == [width]
        assert layer.n_units == 3


class TestEncode:
    @INFERENCE
    def test_means_are_probabilities_and_exact_posterior_means(self, inference):
        model = random_model((3, 5), inference)
        x = torch.randn(6, 4)
        activations = model.activations(x)
        probabilities = model.layers[1].logits_net(activations).softmax(1)
        expected = sum(
            probabilities[:, [i]] * model.layers[0].posterior(activations, state.expand(6, -1)).mean
            for i, state in enumerate(torch.eye(5))
        )
        z_1, z_2 = model.encode(x)
        torch.testing.assert_close(z_2, probabilities)
        torch.testing.assert_close(z_1, expected)

    @INFERENCE
    def test_every_state_goes_down_a_deep_hierarchy_on_its_own(self, inference):
        model = random_model((3, 2, 5), inference)
        x = torch.randn(6, 4)
        activations = model.activations(x)
        probabilities = model.layers[2].logits_net(activations).softmax(1)
        means = torch.zeros(6, 3), torch.zeros(6, 2)
        for i, state in enumerate(torch.eye(5)):
            z_2 = model.layers[1].posterior(activations, state.expand(6, -1)).mean
            z_1 = model.layers[0].posterior(activations, z_2).mean
            for mean, z in zip(means, (z_1, z_2), strict=True):
                mean += probabilities[:, [i]] * z
        for result, expected in zip(model.encode(x), (*means, probabilities), strict=True):
            torch.testing.assert_close(result, expected)

    @pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
    @pytest.mark.parametrize("training", [True, False])
    def test_samples_are_of_one_state(self, top_layer, training):
        model = random_model((3, 5), top_layer=top_layer).train(training)
        z_1, z_2 = model.encode(torch.randn(50, 4), normal_noise(0))
        assert z_1.shape == (50, 3)
        torch.testing.assert_close(z_2, z_2.round())
        torch.testing.assert_close(z_2.sum(1), torch.ones(50))

    def test_samples_have_the_mean_that_is_reported(self):
        model = random_model((3, 5))
        n = 20000
        x = torch.tensor([[1.0, -2.0, 0.5, 0.0]]).expand(n, 4)
        for drawn, mean in zip(model.encode(x, normal_noise(0)), model.encode(x[:1]), strict=True):
            error = drawn.std(0) / math.sqrt(n)
            assert ((drawn.mean(0) - mean[0]).abs() < 5 * error).all()

    def test_one_layer_gives_probabilities(self):
        model = random_model((5,))
        x = torch.randn(6, 4)
        (probabilities,) = model.encode(x)
        expected = model.layers[0].logits_net(model.activations(x)).softmax(1)
        torch.testing.assert_close(probabilities, expected)


class TestDecode:
    def decode_by_hand(self, model, state, n_rows):
        z = state.expand(n_rows, -1)
        for layer in reversed(model.layers[:-1]):
            z = layer.prior(z, n_rows).mean
        return model.likelihood.mean(model.decoder(z))

    @pytest.mark.parametrize("sizes", [(5,), (3, 5), (3, 2, 5)])
    def test_a_state_takes_the_prior_means_of_the_layers_below(self, sizes):
        model = random_model(sizes)
        decoded = model.decode(torch.eye(5), layer=len(sizes))
        expected = [self.decode_by_hand(model, state, 1) for state in torch.eye(5)]
        # The networks work in float32, and differ by what it rounds in batches of other sizes.
        torch.testing.assert_close(decoded, torch.cat(expected), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("sizes", [(5,), (3, 5), (3, 2, 5)])
    def test_probabilities_give_the_weighted_mean_of_the_states(self, sizes):
        model = random_model(sizes)
        torch.manual_seed(1)
        probabilities = torch.randn(7, 5).softmax(1)
        decoded = model.decode(probabilities, layer=len(sizes))
        states = torch.cat([self.decode_by_hand(model, state, 1) for state in torch.eye(5)])
        expected = probabilities.double() @ states
        torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-6)

    def test_the_layer_below_decodes_as_always(self):
        model = random_model((3, 5))
        z_1 = torch.randn(7, 3)
        torch.testing.assert_close(
            model.decode(z_1, layer=1), model.likelihood.mean(model.decoder(z_1))
        )


class TestModelSample:
    @pytest.mark.parametrize("sizes", [(5,), (3, 5), (3, 2, 5)])
    def test_samples_have_the_mean_of_the_equally_weighted_states(self, sizes):
        # A linear decoder, and prior means that are linear in what is above.
        model = random_model(sizes)
        for module in (model.decoder, *(layer.prior_net for layer in model.layers[:-1])):
            module.net[-1].weight.zero_()
        n = 20000
        drawn = model.sample(n, normal_noise(0))
        expected = model.decode(torch.full((1, 5), 0.2), layer=len(sizes))[0]
        assert drawn.shape == (n, 4)
        assert ((drawn.mean(0) - expected).abs() < 5 * drawn.std(0) / math.sqrt(n)).all()

    @pytest.mark.parametrize("sizes", [(5,), (3, 5)])
    def test_a_bernoulli_model_samples_binary_data(self, sizes):
        torch.manual_seed(0)
        likelihood = Bernoulli().adapt(DataSummary.of([torch.eye(4)]))
        model = build_hierarchy(Architecture(sizes, (6,), top_layer="categorical"), likelihood)
        assert set(model.sample(50, normal_noise(1)).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
def test_training_one_layer_of_states_finds_clusters(top_layer):
    torch.manual_seed(0)
    labels = torch.arange(200) % 5
    x = 4 * torch.randn(5, 4)[labels] + 0.1 * torch.randn(200, 4)
    likelihood = Gaussian(1.0).adapt(DataSummary.of([x]))
    model = build_hierarchy(Architecture((5,), (16,), top_layer=top_layer), likelihood)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    noise = normal_noise(0)
    first = None
    for _ in range(150):
        output = model(x, noise)
        loss = output.distortion.mean() + output.rates.sum(1).mean()
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.eval()(x, noise).rates.mean(0)[-1] > 0.5 * math.log(5)
    assert loss.item() < first - 5
