import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import chisquare

from sk_hvae.nn.likelihoods import Bernoulli, Categorical, DataSummary

SIZES = (3, 1, 5, 2)


def adapted(x):
    return Categorical().adapt(DataSummary.of([torch.as_tensor(x)]))


def codes(n_rows=200, seed=0):
    """Codes of columns with different numbers of categories, some of them rare."""
    rng = np.random.default_rng(seed)
    x = np.minimum(rng.geometric(0.5, size=(n_rows, len(SIZES))) - 1, np.array(SIZES) - 1)
    x[0] = np.array(SIZES) - 1
    return x.astype(float)


def random_parameters(n_rows, scale=2.0):
    return scale * torch.randn(n_rows, sum(SIZES), generator=torch.Generator().manual_seed(1))


def log_probabilities(likelihood, parameters):
    """List of arrays (b, K_j), by scipy."""
    logits = (parameters + likelihood.bias).double().numpy()
    ends = np.cumsum(SIZES)[:-1]
    return [log_softmax(part, axis=1) for part in np.split(logits, ends, axis=1)]


class TestDensity:
    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64]
    )
    def test_log_prob_is_the_log_softmax_at_the_code(self, dtype):
        x = codes()
        likelihood = adapted(torch.tensor(x).to(dtype))
        likelihood.check(torch.tensor(x).to(dtype))
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(len(x))
        rows = np.arange(len(x))
        expected = np.stack(
            [
                p[rows, x[:, j].astype(int)]
                for j, p in enumerate(log_probabilities(likelihood, parameters))
            ],
            1,
        )
        result = likelihood.log_prob(torch.tensor(x).to(dtype), parameters)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)

    def test_parameters_of_zero_give_equal_probabilities_at_first(self):
        x = codes()
        likelihood = adapted(x)
        result = likelihood.log_prob(torch.tensor(x), torch.zeros(len(x), sum(SIZES)))
        expected = -torch.tensor(SIZES).log().expand(len(x), -1)
        torch.testing.assert_close(result, expected)

    @pytest.mark.parametrize("scale", [1e4, 1e30])
    def test_extreme_parameters_have_finite_densities_and_gradients(self, scale):
        x = torch.tensor(codes())
        parameters = random_parameters(len(x), scale).requires_grad_()
        log_prob = adapted(x).log_prob(x, parameters)
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert parameters.grad.isfinite().all()

    def test_gradients_are_those_of_cross_entropy(self):
        x = torch.tensor(codes())
        parameters = random_parameters(len(x)).requires_grad_()
        adapted(x).log_prob(x, parameters).sum().backward()
        found, parameters.grad = parameters.grad, None
        parts = parameters.split(SIZES, 1)
        for j, part in enumerate(parts):
            torch.nn.functional.cross_entropy(
                part, x[:, j].long(), reduction="sum"
            ).neg().backward()
        torch.testing.assert_close(found, parameters.grad)


class TestLink:
    def test_columns_of_the_link_are_the_categories_in_turn(self):
        likelihood = adapted(codes())
        assert likelihood.n_linked == likelihood.n_outputs == sum(SIZES)
        assert likelihood.column_of_link.tolist() == [0] * 3 + [1] + [2] * 5 + [3] * 2

    def test_it_is_a_smoothed_one_hot_code(self):
        x = codes()
        linked = adapted(x).link(torch.tensor(x)).double().numpy()
        for part, column in zip(
            np.split(linked, np.cumsum(SIZES)[:-1], axis=1), x.astype(int).T, strict=True
        ):
            k = part.shape[1]
            smoothed = 0.9 * np.eye(k)[column] + 0.1 / k
            expected = np.log(smoothed) - np.log(smoothed).mean(1, keepdims=True)
            np.testing.assert_allclose(part, expected, atol=1e-5)

    def test_rounding_errors_in_codes_do_not_matter(self):
        x = torch.tensor(codes())
        off = x - 9e-7 * (x > 0)
        likelihood = adapted(x)
        likelihood.check(off)
        parameters = random_parameters(len(x))
        assert torch.equal(likelihood.link(off), likelihood.link(x))
        assert torch.equal(likelihood.log_prob(off, parameters), likelihood.log_prob(x, parameters))

    def test_two_categories_count_as_for_bernoulli(self):
        x = torch.tensor([[0.0], [1.0]])
        linked = adapted(x).link(x)
        bernoulli = Bernoulli().adapt(DataSummary.of([x])).link(x)
        torch.testing.assert_close(linked[:, 1:] - linked[:, :1], bernoulli)

    def test_missing_cells_are_missing_in_all_their_categories(self):
        x = torch.tensor(codes())
        missing = torch.rand(x.shape) < 0.3
        likelihood = adapted(x)
        with_gaps = x.masked_fill(missing, math.nan)
        likelihood.check(with_gaps)
        linked = likelihood.link(with_gaps)
        assert torch.equal(linked.isnan(), missing[:, likelihood.column_of_link])
        seen = ~linked.isnan()
        assert torch.equal(linked[seen], likelihood.link(x)[seen])


class TestFitScale:
    def test_mean_probabilities_become_the_frequencies(self):
        x = codes()
        likelihood = adapted(x)
        parameters = random_parameters(len(x), 0.5)
        likelihood.fit_scale(torch.tensor(x), parameters)
        for j, p in enumerate(log_probabilities(likelihood, parameters)):
            frequencies = np.bincount(x[:, j].astype(int), minlength=SIZES[j]) / len(x)
            np.testing.assert_allclose(np.exp(p).mean(0), frequencies, atol=2e-3)

    def test_it_does_not_depend_on_an_earlier_fit(self):
        x = torch.tensor(codes())
        once, twice = adapted(x), adapted(x)
        twice.fit_scale(x.flip(1).clamp(max=x.amax(0)), random_parameters(len(x), 5.0))
        for likelihood in (once, twice):
            likelihood.fit_scale(x, torch.zeros(len(x), sum(SIZES)))
        assert torch.equal(once.bias, twice.bias)

    def test_it_improves_the_likelihood(self):
        x = torch.tensor(codes())
        likelihood = adapted(x)
        parameters = random_parameters(len(x), 0.5)
        before = likelihood.log_prob(x, parameters).sum()
        likelihood.fit_scale(x, parameters)
        fitted = likelihood.log_prob(x, parameters).sum()
        assert fitted > before + 10
        best = likelihood.bias.clone()
        for category in range(sum(SIZES)):
            for step in (-0.3, 0.3):
                likelihood.bias.copy_(best)
                likelihood.bias[category] += step
                assert likelihood.log_prob(x, parameters).sum() < fitted + 1e-3

    def test_missing_cells_do_not_count(self):
        x = torch.tensor(codes())
        gaps = torch.full_like(x, math.nan)
        gaps[:, 2] = x[:, 2]
        likelihood, other = adapted(x), adapted(x)
        likelihood.fit_scale(x, torch.zeros(len(x), sum(SIZES)))
        other.fit_scale(torch.cat((x, gaps)), torch.zeros(2 * len(x), sum(SIZES)))
        torch.testing.assert_close(other.bias, likelihood.bias, atol=0.02, rtol=0.02)

    def test_categories_and_columns_that_the_batch_lacks_stay_possible(self):
        likelihood = adapted(codes())
        x = torch.zeros(5, 4)
        x[:, 2] = math.nan
        likelihood.fit_scale(x, torch.zeros(5, sum(SIZES)))
        assert likelihood.bias.isfinite().all()
        assert (likelihood.bias[4:9] == 0).all()


class TestMeanAndSample:
    def test_the_mean_is_the_first_of_the_most_probable_categories(self):
        x = codes()
        likelihood = adapted(x)
        parameters = random_parameters(len(x))
        expected = np.stack([p.argmax(1) for p in log_probabilities(likelihood, parameters)], 1)
        result = likelihood.mean(parameters)
        assert result.dtype == torch.float32
        np.testing.assert_array_equal(result, expected)
        assert (likelihood.mean(torch.zeros(1, sum(SIZES))) == 0).all()

    def test_probabilities_are_the_softmax_of_the_logits(self):
        likelihood = adapted(codes())
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(20)
        expected = np.exp(np.hstack(log_probabilities(likelihood, parameters)))
        np.testing.assert_allclose(likelihood.probabilities(parameters), expected, rtol=1e-5)
        column, code = likelihood.nominal_categories.T
        np.testing.assert_array_equal(column, np.repeat(range(len(SIZES)), SIZES))
        np.testing.assert_array_equal(code, np.concatenate([range(size) for size in SIZES]))

    def test_the_mean_of_a_mixture_is_its_most_probable_category(self):
        likelihood = adapted(codes())
        parameters, weights = random_parameters(4), torch.tensor([[0.4, 0.35, 0.25, 0.0]])
        parts = [np.exp(p) for p in log_probabilities(likelihood, parameters)]
        expected = [int((weights.numpy() @ p).argmax()) for p in parts]
        assert likelihood.mixed_mean(weights, parameters).tolist() == [expected]
        alone = likelihood.mixed_mean(torch.eye(4), parameters)
        assert torch.equal(alone, likelihood.mean(parameters))

    def test_draws_follow_the_density(self):
        n = 20_000
        likelihood = adapted(codes())
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(1, 1.0)
        torch.manual_seed(0)
        draws = likelihood.sample(parameters.expand(n, -1), torch.randn_like)
        assert draws.dtype == torch.float32
        for j, p in enumerate(log_probabilities(likelihood, parameters)):
            found = np.bincount(draws[:, j].int(), minlength=SIZES[j])
            if SIZES[j] > 1:
                assert chisquare(found, n * np.exp(p[0])).pvalue > 0.01

    def test_the_same_noise_gives_the_same_draws(self):
        likelihood = adapted(codes())
        torch.manual_seed(0)
        noise = torch.randn(10, sum(SIZES))
        first, second = (likelihood.sample(noise, lambda _: noise) for _ in range(2))
        assert torch.equal(first, second)


class TestErrors:
    @pytest.mark.parametrize("value", [-1.0, 0.5])
    def test_what_is_no_code_is_refused(self, value):
        match = "likelihood='categorical' needs .*; found .* Encode categories as 0, 1, 2"
        with pytest.raises(ValueError, match=match):
            adapted([[2.0], [value]])
        with pytest.raises(ValueError, match=match):
            adapted([[2.0], [0.0]]).check(torch.tensor([[1.0], [value]]))

    def test_unknown_codes_are_refused(self):
        likelihood = adapted([[2.0, 4.0], [0.0, 0.0]])
        likelihood.check(torch.tensor([[2.0, 4.0]]))
        match = r"knows the codes 0 to 2 of a column; found 4\. Fit on data that have all"
        with pytest.raises(ValueError, match=match):
            likelihood.check(torch.tensor([[4.0, 4.0], [math.nan, 1.0]]))

    def test_too_many_categories_are_refused(self):
        assert adapted([[9999]]).n_linked == 10_000
        with pytest.raises(ValueError, match=r"takes codes up to 9999; found 10000\. Merge rare"):
            adapted([[10_000]])
