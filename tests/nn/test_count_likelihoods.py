import math
import re

import numpy as np
import pytest
import torch
from scipy.special import gammaln, xlogy
from scipy.stats import chisquare, nbinom, poisson

from sk_hvae.nn.likelihoods import DataSummary, NegativeBinomial, Poisson
from sk_hvae.nn.likelihoods.counts import _stirling_rest
from sk_hvae.nn.likelihoods.numerics import quantile

COUNTS = [Poisson, NegativeBinomial]


def adapted(likelihood, x):
    return likelihood.adapt(DataSummary.of([torch.as_tensor(x)]))


def counts(n_rows=60, seed=0):
    """Counts of different sizes: rare, common, large and bursty."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(2, 0.5, size=(n_rows, 4)) * [0.1, 5.0, 1000.0, 20.0]
    x = rng.poisson(rates).astype(float)
    x[0] = [1, 0, 0, 0]
    return x


def with_r(likelihood, r):
    likelihood.log_r.data.copy_(torch.as_tensor(r).log())
    return likelihood


def nb_truth(x, mean, r):
    return nbinom(r, r / (r + mean)).logpmf(x)


class TestDensity:
    def test_poisson(self):
        x = counts()
        likelihood = adapted(Poisson(), x)
        parameters = torch.tensor(np.random.default_rng(1).normal(size=x.shape)).float()
        mean = x.mean(0) * parameters.double().exp().numpy()
        result = likelihood.log_prob(torch.tensor(x), parameters)
        np.testing.assert_allclose(result, poisson(mean).logpmf(x), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("dispersion", ["per_feature", "shared"])
    @pytest.mark.parametrize("r", [0.002, 0.3, 5.0, 7.9, 200.0, 9e4])
    def test_negative_binomial(self, r, dispersion):
        x = counts()
        likelihood = with_r(adapted(NegativeBinomial(dispersion), x), r)
        parameters = torch.tensor(np.random.default_rng(1).normal(size=x.shape)).float()
        mean = x.mean(0) * parameters.double().exp().numpy()
        result = likelihood.log_prob(torch.tensor(x), parameters).detach()
        np.testing.assert_allclose(result, nb_truth(x, mean, r), rtol=2e-5, atol=2e-5)

    def test_negative_binomial_has_a_dispersion_for_each_column(self):
        x = counts()
        r = np.array([0.1, 1.0, 10.0, 100.0])
        likelihood = with_r(adapted(NegativeBinomial(), x), r)
        result = likelihood.log_prob(torch.tensor(x), torch.zeros(x.shape)).detach()
        np.testing.assert_allclose(result, nb_truth(x, x.mean(0), r), rtol=2e-5, atol=2e-5)
        assert adapted(NegativeBinomial("shared"), x).log_r.shape == ()

    def test_stirlings_series_and_ln_gamma_agree_with_scipy(self):
        x = np.concatenate([[0, 1e-3, 0.5], np.arange(1, 40, 0.5), [1e3, 1e6]])
        exact = gammaln(x + 1) - (xlogy(x, x) - x)
        np.testing.assert_allclose(_stirling_rest(torch.tensor(x)), exact, atol=1e-7, rtol=1e-9)
        result = _stirling_rest(torch.tensor(x).float())
        np.testing.assert_allclose(result, exact, atol=3e-6, rtol=1e-6)

    @pytest.mark.parametrize("offset", [0.0, 1e-3, -3e-3, 0.1])
    def test_counts_of_millions_keep_their_precision(self, offset):
        x = torch.tensor([[3e6], [5e6]])
        rate = 4e6 * math.exp(offset)
        draws = torch.tensor(np.round(rate + np.array([-5.0, 0, 1, 3]) * math.sqrt(rate)))[:, None]
        parameters = torch.full((4, 1), offset)
        exact = 4e6 * np.exp(parameters.double().numpy())
        result = adapted(Poisson(), x).log_prob(draws, parameters)
        # float32 knows the logarithm of the mean, 15, to 1e-6: times (x - mean), up to 1e4.
        np.testing.assert_allclose(result, poisson(exact).logpmf(draws), atol=0.03)
        near_poisson = with_r(adapted(NegativeBinomial(), x), 1e5)
        truth = nb_truth(draws.numpy(), exact, 1e5)
        result = near_poisson.log_prob(draws, parameters).detach()
        np.testing.assert_allclose(result, truth, atol=0.03)

    def test_probabilities_sum_to_1(self):
        x = counts()
        values = torch.arange(3000.0)[:, None].expand(-1, 2)
        for likelihood in (Poisson(), NegativeBinomial()):
            p = adapted(likelihood, x[:, [0, 1]]).log_prob(values, torch.ones(3000, 2)).exp()
            torch.testing.assert_close(p.sum(0), torch.ones(2))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float64])
    @pytest.mark.parametrize("kind", COUNTS)
    def test_the_dtype_of_the_data_does_not_matter(self, kind, dtype):
        x = torch.tensor([[0, 3], [7, 200]])
        expected = adapted(kind(), x.float())
        likelihood = adapted(kind(), x.to(dtype))
        likelihood.check(x.to(dtype))
        likelihood.fit_scale(x.to(dtype), torch.zeros(2, 2))
        expected.fit_scale(x.float(), torch.zeros(2, 2))
        result = likelihood.log_prob(x.to(dtype), torch.ones(2, 2))
        torch.testing.assert_close(result, expected.log_prob(x.float(), torch.ones(2, 2)))
        torch.testing.assert_close(likelihood.link(x.to(dtype)), expected.link(x.float()))


@pytest.mark.parametrize("kind", COUNTS)
class TestScale:
    def test_parameters_of_zero_give_the_mean_of_the_data(self, kind):
        x = counts()
        likelihood = adapted(kind(), x)
        result = likelihood.mean(torch.zeros(1, 4))[0]
        np.testing.assert_allclose(result, x.mean(0), rtol=1e-5)
        assert likelihood.n_outputs == likelihood.n_linked == 4

    def test_the_mean_is_that_of_the_density(self, kind):
        likelihood = adapted(kind(), [[0.0, 10.0], [4.0, 30.0]])
        values = torch.arange(4000.0)[:, None].expand(-1, 2)
        parameters = torch.tensor([[0.7, -1.0]])
        p = likelihood.log_prob(values, parameters.expand(4000, 2)).exp()
        torch.testing.assert_close(
            likelihood.mean(parameters)[0], (p * values).sum(0).detach(), rtol=1e-4, atol=1e-5
        )

    def test_link_is_0_at_the_mean_and_finite_for_zeros_and_constant_columns(self, kind):
        x = torch.tensor([[0.0, 0.0, 3.0], [0.0, 8.0, 3.0]])
        linked = adapted(kind(), x).link(x)
        expected = [[0, math.log(0.5 / 4.5), 0], [0, math.log(8.5 / 4.5), 0]]
        torch.testing.assert_close(linked, torch.tensor(expected))

    def test_link_estimates_the_parameter_without_bias(self, kind):
        rate = 20.0
        draws = np.random.default_rng(0).poisson(rate, size=(100_000, 1))
        likelihood = adapted(kind(), [[10.0]])
        linked = likelihood.link(torch.tensor(draws)).double()
        expected = math.log((rate + 0.5) / 10.5) - 0.5 / rate
        # Standard error 0.0007; without the 1/2 the bias would be -0.025.
        assert abs(linked.mean() - expected) < 0.004

    def test_zeros_alone_are_almost_certain(self, kind):
        x = torch.zeros(3, 2)
        likelihood = adapted(kind(), x)
        log_prob = likelihood.log_prob(x + torch.tensor([0.0, 1.0]), torch.zeros(3, 2))
        assert (log_prob[:, 0] > -1e-5).all()
        assert log_prob[:, 1].isfinite().all()

    def test_missing_cells_are_missing_from_the_link(self, kind):
        x = torch.tensor(counts())
        missing = torch.rand(x.shape) < 0.3
        likelihood = adapted(kind(), x)
        with_gaps = x.masked_fill(missing, math.nan)
        likelihood.check(with_gaps)
        assert torch.equal(likelihood.link(with_gaps).isnan(), missing)

    @pytest.mark.parametrize("parameter", [-1e4, -100.0, 100.0, 1e4])
    def test_extreme_parameters_have_finite_densities_and_gradients(self, kind, parameter):
        x = torch.tensor(counts())
        likelihood = adapted(kind(), x)
        parameters = torch.full(x.shape, parameter, requires_grad=True)
        log_prob = likelihood.log_prob(x, parameters)
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert parameters.grad.isfinite().all()
        # Somewhere it still pulls back: from above everywhere, from below where counts are not 0.
        pulls = parameters.grad < 0 if parameter > 0 else (parameters.grad > 0) | (x == 0)
        assert pulls.all()
        assert all(p.grad.isfinite().all() for p in likelihood.parameters())
        assert likelihood.mean(parameters).isfinite().all()

    def test_the_mean_is_exponential_up_to_ten_times_the_largest_value(self, kind):
        likelihood = adapted(kind(), [[1.0], [3.0]])
        limit = math.log(30 / 2)
        parameters = torch.tensor([[limit - 1], [limit], [limit + 1], [limit + 4]])
        expected = torch.tensor([[30 / math.e], [30.0], [60.0], [150.0]])
        torch.testing.assert_close(likelihood.mean(parameters), expected)
        values = torch.arange(40_000.0)[:, None]
        p = likelihood.log_prob(values, parameters[2:3].expand(40_000, 1)).exp()
        torch.testing.assert_close(p.sum(), torch.ones(()), rtol=1e-4, atol=0)

    @pytest.mark.parametrize("value", [-1.0, 0.5, 1e16])
    def test_what_is_no_count_is_refused(self, kind, value):
        x = torch.tensor([[3.0], [value]])
        match = f"needs .*; found .*{re.escape(f'{value:.4g}')}.* Pass raw counts"
        with pytest.raises(ValueError, match=match):
            adapted(kind(), x)
        likelihood = adapted(kind(), [[1.0], [3.0]])
        likelihood.check(torch.tensor([[5.0000001], [math.nan]]))
        with pytest.raises(ValueError, match=match):
            likelihood.check(x)


class TestFitScale:
    @pytest.mark.parametrize("dispersion", ["per_feature", "shared"])
    def test_it_maximises_the_likelihood(self, dispersion):
        x = counts(400)
        likelihood = adapted(NegativeBinomial(dispersion), x)
        parameters = torch.zeros(x.shape)
        x = torch.tensor(x)
        likelihood.fit_scale(x, parameters)
        fitted = likelihood.log_prob(x, parameters).sum(0).detach()
        for step in (-0.05, 0.05):
            other = NegativeBinomial(dispersion).adapt(likelihood.summary)
            other.log_r.data.copy_(likelihood.log_r + step)
            worse = other.log_prob(x, parameters).sum(0).detach()
            if dispersion == "shared":
                assert worse.sum() < fitted.sum()
            else:
                assert (worse < fitted).all()

    def test_it_recovers_the_dispersion_of_the_data(self):
        r = np.array([0.5, 4.0])
        x = np.random.default_rng(0).negative_binomial(r, r / (r + 30.0), size=(20_000, 2))
        likelihood = adapted(NegativeBinomial(), x)
        likelihood.fit_scale(torch.tensor(x), torch.zeros(x.shape))
        np.testing.assert_allclose(likelihood.log_r.detach().exp(), r, rtol=0.05)

    def test_counts_without_overdispersion_become_poisson(self):
        x = np.full((50, 1), 7.0)
        likelihood = adapted(NegativeBinomial(), x)
        likelihood.fit_scale(torch.tensor(x), torch.zeros(50, 1))
        result = likelihood.log_prob(torch.tensor(x), torch.zeros(50, 1)).detach()
        np.testing.assert_allclose(result, poisson(7).logpmf(x), atol=1e-3)

    def test_missing_cells_do_not_count(self):
        x = torch.tensor(counts())
        gaps = torch.full_like(x, math.nan)
        gaps[:, 1] = x[:, 1]
        summary = DataSummary.of([x])
        fits = []
        for rows in (x, torch.cat((x, gaps))):
            likelihood = NegativeBinomial().adapt(summary)
            likelihood.fit_scale(rows, torch.zeros(rows.shape))
            fits.append(likelihood.log_r.detach())
        torch.testing.assert_close(*fits, rtol=1e-3, atol=1e-3)

    def test_other_dispersions_are_refused(self):
        with pytest.raises(ValueError, match="dispersion must be 'per_feature' or 'shared'; got 2"):
            adapted(NegativeBinomial(2), [[1.0]])


def chi_square_p(draws, probability):
    """p-value of draws against probabilities of 0, 1, ..., rare values pooled."""
    expected = len(draws) * probability
    often = expected > 10
    found = np.bincount(draws.astype(int), minlength=len(expected))[: len(expected)]
    found, expected = found[often], expected[often]
    found = np.append(found, len(draws) - found.sum())
    expected = np.append(expected, len(draws) - expected.sum())
    return chisquare(found, expected).pvalue


class TestSample:
    @pytest.mark.parametrize("mean", [0.05, 3.0, 60.0])
    @pytest.mark.parametrize("r", [None, 0.3, 20.0])
    def test_draws_follow_the_density(self, mean, r):
        n = 20_000
        likelihood = adapted(Poisson() if r is None else NegativeBinomial(), [[mean * 0], [50.0]])
        if r is not None:
            with_r(likelihood, r)
        parameters = torch.full((n, 1), math.log(mean / 25))
        torch.manual_seed(0)
        draws = likelihood.sample(parameters, torch.randn_like).detach()
        values = torch.arange(2000.0)[:, None]
        p = likelihood.log_prob(values, parameters[:1].expand(2000, 1)).detach().exp()
        assert draws.dtype == torch.float32
        assert chi_square_p(draws[:, 0].numpy(), p[:, 0].double().numpy()) > 0.01

    @pytest.mark.parametrize("mean", [1e4, 1e7])
    @pytest.mark.parametrize("r", [None, 2.0])
    def test_large_counts_have_mean_and_variance_of_the_density(self, mean, r):
        n = 10_000
        likelihood = adapted(Poisson() if r is None else NegativeBinomial(), [[mean]])
        variance = mean
        if r is not None:
            with_r(likelihood, r)
            variance += mean**2 / r
        torch.manual_seed(0)
        draws = likelihood.sample(torch.zeros(n, 1), torch.randn_like).double()
        assert abs(draws.mean() - mean) < 4 * math.sqrt(variance / n)
        # The kurtosis of a negative binomial is 3 + 6 / r.
        error = math.sqrt((2 + (0 if r is None else 6 / r)) / n)
        assert abs(draws.var() / variance - 1) < 4 * error

    @pytest.mark.parametrize("mean", [0.3, 40.0, 95.0])
    def test_poisson_draws_are_quantiles(self, mean):
        noise = torch.linspace(-5, 5, 101)[:, None]
        likelihood = adapted(Poisson(), [[10.0]])
        parameters = torch.full((101, 1), math.log(mean / 10))
        draws = likelihood.sample(parameters, lambda like: noise)
        uniform = 0.5 * torch.erfc(-noise.double() / math.sqrt(2))
        rate = likelihood.mean(parameters)[0].item()
        np.testing.assert_array_equal(draws, poisson(rate).ppf(uniform))

    @pytest.mark.parametrize("kind", COUNTS)
    def test_extreme_means_give_finite_draws(self, kind):
        x = counts()
        likelihood = adapted(kind(), x)
        for parameter in (-1e4, 1e4):
            parameters = torch.full((5, 4), parameter)
            torch.manual_seed(0)
            draws = likelihood.sample(parameters, torch.randn_like)
            assert draws.isfinite().all()
            assert (draws >= 0).all()
        if kind is NegativeBinomial:
            with_r(likelihood, 1e-3)
            torch.manual_seed(0)
            draws = likelihood.sample(torch.zeros(1000, 4), torch.randn_like)
            assert draws.isfinite().all()
            assert (draws == 0).double().mean() > 0.9

    @pytest.mark.parametrize("kind", COUNTS)
    def test_the_same_noise_gives_the_same_draws(self, kind):
        likelihood = adapted(kind(), counts())
        torch.manual_seed(0)
        noise = torch.randn(10, 4)
        first, second = (likelihood.sample(torch.zeros(10, 4), lambda _: noise) for _ in range(2))
        assert torch.equal(first, second)

    def test_quantile_inverts_a_distribution_function(self):
        p = torch.tensor([0.01, 0.5, 0.9], dtype=torch.float64)
        low, high = torch.full_like(p, -20), torch.full_like(p, 20)
        torch.testing.assert_close(quantile(torch.sigmoid, p, low, high), p.logit())
