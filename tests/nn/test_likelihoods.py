import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from sk_hvae.nn import likelihoods
from sk_hvae.nn.likelihoods import (
    Bernoulli,
    Categorical,
    DataSummary,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
    PerColumn,
    Poisson,
    resolve,
)
from sk_hvae.nn.noise import GeneratorNoise


def correlated_columns(n_rows=50, seed=0):
    """Columns with different means and standard deviations."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 3)) * [1.0, 100.0, 0.01] + [5.0, -300.0, 0.2]


def adapted(likelihood, x):
    return likelihood.adapt(DataSummary.of([torch.as_tensor(x)]))


def gaussian_truth(x, loc, sigma):
    return norm(loc, sigma).logpdf(x)


def numpy_scale(x, scaling):
    return np.sqrt(x.var(0).mean()) if scaling == "shared" else x.std(0)


class TestGaussian:
    @pytest.mark.parametrize("scaling", ["columns", "shared"])
    @pytest.mark.parametrize("sigma", ["learned", "per_feature"])
    def test_log_prob_with_trained_sigma_is_the_density_of_the_raw_data(self, sigma, scaling):
        x = correlated_columns()
        likelihood = adapted(Gaussian(sigma, scaling), x)
        torch.manual_seed(1)
        parameters = torch.randn(len(x), 3)
        log_sigma = torch.randn_like(likelihood.log_sigma)
        likelihood.log_sigma.data.copy_(log_sigma)

        scale = numpy_scale(x, scaling)
        expected = gaussian_truth(
            x, parameters.numpy() * scale + x.mean(0), np.exp(log_sigma.numpy()) * scale
        )

        result = likelihood.log_prob(torch.tensor(x), parameters)
        np.testing.assert_allclose(result.detach(), expected, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("scaling", ["columns", "shared"])
    def test_a_number_for_sigma_is_a_standard_deviation_of_the_raw_data(self, scaling):
        x = correlated_columns()
        likelihood = adapted(Gaussian(0.71, scaling), x)
        scale = numpy_scale(x, scaling)
        torch.manual_seed(1)
        loc = x + np.random.default_rng(2).normal(size=x.shape)
        parameters = torch.tensor((loc - x.mean(0)) / scale).float()

        result = likelihood.log_prob(torch.tensor(x), parameters)

        np.testing.assert_allclose(result, gaussian_truth(x, loc, 0.71), rtol=1e-3, atol=1e-2)

    def test_sigma_as_a_number_is_not_trained(self):
        likelihood = adapted(Gaussian(0.71), correlated_columns())
        assert list(likelihood.parameters()) == []

    @pytest.mark.parametrize(("sigma", "n_trained"), [("learned", 1), ("per_feature", 3)])
    def test_number_of_trained_sigmas(self, sigma, n_trained):
        likelihood = adapted(Gaussian(sigma), correlated_columns())
        assert sum(p.numel() for p in likelihood.parameters()) == n_trained

    def test_a_sigma_far_below_the_scale_of_the_data_is_kept(self):
        x = np.random.default_rng(0).normal(size=(50, 2)) * 1e6
        likelihood = adapted(Gaussian(1.0), x)
        parameters = likelihood.link(torch.tensor(x))

        result = likelihood.log_prob(torch.tensor(x), parameters)

        np.testing.assert_allclose(result, gaussian_truth(x, x, 1.0), atol=0.1)

    @pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(2), 2])
    def test_any_real_number_is_a_sigma(self, number):
        x = np.random.default_rng(0).normal(size=(50, 2))
        likelihood = adapted(Gaussian(number), x)
        parameters = likelihood.link(torch.tensor(x))

        result = likelihood.log_prob(torch.tensor(x), parameters)

        np.testing.assert_allclose(result, gaussian_truth(x, x, float(number)), atol=1e-3)

    def test_float64_data_far_from_zero_keep_their_precision(self):
        x = np.random.default_rng(0).normal(size=(50, 2)) + 1e8
        likelihood = adapted(Gaussian(1.0), x)

        result = likelihood.log_prob(torch.tensor(x), torch.zeros(50, 2))

        np.testing.assert_allclose(result, gaussian_truth(x, x.mean(0), 1.0), atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.bool])
    def test_the_dtype_of_the_data_does_not_matter(self, dtype):
        x = (torch.arange(12).reshape(6, 2) % 5 % 2).to(dtype)
        likelihood = Gaussian(0.5).adapt(DataSummary.of([x]))
        expected = gaussian_truth(x.double().numpy(), x.double().numpy().mean(0), 0.5)

        result = likelihood.log_prob(x, torch.zeros(6, 2))

        np.testing.assert_allclose(result, expected, rtol=1e-5)

    @pytest.mark.parametrize("scaling", ["columns", "shared"])
    def test_a_constant_column_is_not_blown_up(self, scaling):
        x = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
        likelihood = adapted(Gaussian(0.5, scaling), x)

        result = likelihood.log_prob(x, torch.zeros(2, 2))

        expected = gaussian_truth(x.numpy(), [2.0, 7.0], 0.5)
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        assert likelihood.link(x + 1e-3)[:, 1].abs().max() < 0.01

    def test_data_without_variance_have_a_finite_density(self):
        x = torch.full((4, 2), 7.0)
        likelihood = adapted(Gaussian(), x)
        expected = gaussian_truth(x.numpy(), 7.0, 1.0)
        result = likelihood.log_prob(x, torch.zeros(4, 2)).detach()
        np.testing.assert_allclose(result, expected, rtol=1e-5)

    def test_columns_scaling_whitens_each_column(self):
        x = torch.tensor(correlated_columns())
        linked = adapted(Gaussian(scaling="columns"), x).link(x).double()
        np.testing.assert_allclose(linked.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(linked.std(0, correction=0), 1, rtol=1e-5)

    def test_shared_scaling_keeps_relative_sizes(self):
        x = torch.tensor(correlated_columns())
        linked = adapted(Gaussian(scaling="shared"), x).link(x).double()
        ratio = linked.std(0) / x.std(0)
        np.testing.assert_allclose(ratio / ratio[0], 1, rtol=1e-4)
        np.testing.assert_allclose(linked.var(0, correction=0).mean(), 1, rtol=1e-5)

    @pytest.mark.parametrize(("load", "scaling"), [(load_digits, "shared"), (load_wine, "columns")])
    def test_auto_scaling_is_shared_for_pixels_and_by_column_for_tables(self, load, scaling):
        x = torch.tensor(load().data)
        auto = adapted(Gaussian(scaling="auto"), x)
        explicit = adapted(Gaussian(scaling=scaling), x)
        assert torch.equal(auto.link(x), explicit.link(x))

    @pytest.mark.parametrize(
        ("sigma", "expected"), [("learned", math.sqrt(0.13)), ("per_feature", [0.1, 0.5])]
    )
    def test_fit_scale_takes_the_root_mean_squared_error(self, sigma, expected):
        x = torch.tensor([[0.0, 3.0], [1.0, -5.0]]).repeat(10, 1)
        likelihood = adapted(Gaussian(sigma), x)
        signs = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]).repeat(10, 1)
        errors = signs * torch.tensor([0.1, 0.5])

        with torch.no_grad():
            likelihood.fit_scale(x, likelihood.link(x) + errors)

        result = likelihood.log_sigma.detach().exp()
        np.testing.assert_allclose(result, expected, rtol=1e-4)

    @pytest.mark.parametrize("sigma", ["learned", "per_feature", "optimal"])
    def test_missing_cells_do_not_count_in_fit_scale(self, sigma):
        x = torch.tensor(correlated_columns(), dtype=torch.float32)
        torch.manual_seed(0)
        errors = torch.randn(len(x), 3)
        likelihood = adapted(Gaussian(sigma), x)
        parameters = likelihood.link(x) + errors
        missing = torch.rand(len(x), 3) < 0.3

        likelihood.fit_scale(x.masked_fill(missing, math.nan), parameters)

        of_columns = [errors[~missing[:, j], j] for j in range(3)]
        parts = of_columns if sigma == "per_feature" else [torch.cat(of_columns)]
        expected = torch.stack([part.square().mean().sqrt() for part in parts]).squeeze()
        torch.testing.assert_close(likelihood.log_sigma.detach().exp(), expected, rtol=1e-4, atol=0)

    def test_optimal_sigma_is_fitted_to_each_batch_and_is_not_trained(self):
        x = torch.tensor([[0.0, 3.0], [1.0, -5.0]])
        likelihood = adapted(Gaussian("optimal"), x)
        assert list(likelihood.parameters()) == []
        assert likelihood.fits_each_batch
        assert not adapted(Gaussian("learned"), x).fits_each_batch
        parameters = likelihood.link(x)
        for error in (0.5, 0.1):
            likelihood.fit_scale(x, parameters + error)
            fitted = likelihood.log_prob(x, parameters + error).sum()
            for factor in (0.9, 1.1):
                other = Gaussian("learned").adapt(likelihood.summary)
                other.log_sigma.data.fill_(math.log(factor * error))
                assert other.log_prob(x, parameters + error).sum() < fitted

    def test_missing_cells_are_missing_from_the_link(self):
        x = torch.tensor([[math.nan, 3.0], [1.0, -5.0], [2.0, math.nan]])
        x = x.sign().clamp(min=0)
        for likelihood in (adapted(Gaussian(), x), adapted(Bernoulli(), x)):
            likelihood.check(x)
            assert torch.equal(likelihood.link(x).isnan(), x.isnan())
            assert likelihood.column_of_link.tolist() == [0, 1]
            assert likelihood.n_outputs == likelihood.n_linked == 2

    def test_fit_scale_leaves_a_given_sigma_alone(self):
        x = torch.tensor(correlated_columns())
        likelihood = adapted(Gaussian(0.71), x)
        before = likelihood.log_sigma.clone()
        likelihood.fit_scale(x, torch.zeros(len(x), 3))
        assert torch.equal(likelihood.log_sigma, before)

    @pytest.mark.parametrize("sigma", [2.5, "learned", "per_feature"])
    def test_samples_and_mean_agree_with_the_density(self, sigma):
        x = torch.tensor(correlated_columns())
        likelihood = adapted(Gaussian(sigma), x)
        n = 20000
        parameters = torch.tensor([[0.3, -1.0, 2.0]]).expand(n, 3)
        torch.manual_seed(0)
        with torch.no_grad():
            draws = likelihood.sample(parameters, torch.randn_like).double()
            mean = likelihood.mean(parameters[:1])[0].double()
            # The mean of ln p over its own samples is minus the entropy, (1 + ln 2 pi s^2) / 2.
            log_prob = likelihood.log_prob(draws, parameters).double().sum(1)
        std = draws.std(0)
        assert ((draws.mean(0) - mean).abs() < 5 * std / math.sqrt(n)).all()
        entropy = 0.5 * (1 + (2 * math.pi * std.square()).log()).sum()
        assert abs(log_prob.mean() + entropy) < 5 * log_prob.std() / math.sqrt(n)

    @pytest.mark.parametrize("sigma", [0, -1.0, math.inf, math.nan, "fitted", None])
    def test_other_sigmas_are_refused(self, sigma):
        with pytest.raises(ValueError, match="sigma must be a positive number, 'learned', "):
            adapted(Gaussian(sigma), torch.eye(3))

    def test_other_scalings_are_refused(self):
        with pytest.raises(ValueError, match="scaling must be 'auto', 'columns', 'shared' or "):
            adapted(Gaussian(scaling="rows"), torch.eye(3))


class TestBernoulli:
    def test_log_prob_is_that_of_a_bernoulli_distribution(self):
        torch.manual_seed(0)
        x = (torch.rand(20, 4) < 0.3).float()
        likelihood = adapted(Bernoulli(), x)
        parameters = torch.randn(20, 4)
        logits = parameters + torch.logit(0.05 + 0.9 * x.mean(0))

        expected = torch.distributions.Bernoulli(logits=logits).log_prob(x)

        torch.testing.assert_close(likelihood.log_prob(x, parameters), expected)

    def test_mean_is_the_probability_that_log_prob_uses(self):
        torch.manual_seed(0)
        likelihood = adapted(Bernoulli(), torch.rand(20, 4).round())
        parameters = 2 * torch.randn(20, 4)
        p = likelihood.mean(parameters)
        ones = likelihood.log_prob(torch.ones(20, 4), parameters)
        torch.testing.assert_close(ones, p.log())

    def test_intensities_between_0_and_1_get_the_cross_entropy(self):
        torch.manual_seed(0)
        x = torch.rand(20, 4, dtype=torch.float64)
        likelihood = adapted(Bernoulli(), x)
        parameters = torch.randn(20, 4)
        p = likelihood.mean(parameters).double()
        expected = x * p.log() + (1 - x) * (1 - p).log()
        torch.testing.assert_close(likelihood.log_prob(x, parameters), expected.float())

    def test_other_ends_are_those_of_the_same_data_in_0_and_1(self):
        torch.manual_seed(0)
        x, parameters = torch.rand(20, 4), torch.randn(20, 4)
        scaled, raw = adapted(Bernoulli(), x), adapted(Bernoulli(-8.0, 24.0), 32 * x - 8)
        torch.testing.assert_close(raw.link(32 * x - 8), scaled.link(x))
        torch.testing.assert_close(
            raw.log_prob(32 * x - 8, parameters), scaled.log_prob(x, parameters)
        )
        torch.testing.assert_close(raw.mean(parameters), 32 * scaled.mean(parameters) - 8)
        torch.testing.assert_close(raw.expected_link(parameters), scaled.expected_link(parameters))
        assert set(raw.sample(parameters, torch.randn_like).unique().tolist()) == {-8.0, 24.0}

    @pytest.mark.parametrize(
        ("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (None, "1")]
    )
    def test_ends_that_make_no_sense_are_refused(self, low, high):
        with pytest.raises(ValueError, match="the lower one first; got low="):
            adapted(Bernoulli(low, high), torch.eye(3))

    def test_parameters_of_zero_give_the_mean_of_the_data_pulled_off_the_borders(self):
        x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        mean = adapted(Bernoulli(), x).mean(torch.zeros(1, 3))
        torch.testing.assert_close(mean, torch.tensor([[0.05, 0.95, 0.5]]))

    def test_link_is_finite_and_centred_on_the_mean(self):
        x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        linked = adapted(Bernoulli(), x).link(x)
        largest = math.log(0.95 / 0.05)
        torch.testing.assert_close(linked, torch.tensor([[-largest, 0.0], [largest, 0.0]]))

    def test_samples_are_binary_with_the_mean_as_their_frequency(self):
        likelihood = adapted(Bernoulli(), torch.eye(3))
        n = 20000
        parameters = torch.tensor([[-3.0, 0.0, 1.0]]).expand(n, 3)
        torch.manual_seed(0)
        draws = likelihood.sample(parameters, torch.randn_like)
        p = likelihood.mean(parameters[0])
        assert set(draws.unique().tolist()) == {0.0, 1.0}
        assert ((draws.mean(0) - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
    def test_the_dtype_of_the_data_does_not_matter(self, dtype):
        x = torch.eye(3)
        likelihood = Bernoulli().adapt(DataSummary.of([x.to(dtype)]))
        likelihood.check(x.to(dtype))
        expected = adapted(Bernoulli(), x).log_prob(x, x)
        torch.testing.assert_close(likelihood.log_prob(x.to(dtype), x), expected)

    @pytest.mark.parametrize("value", [-0.5, 1.5, 255.0])
    def test_data_outside_0_and_1_are_refused_with_their_range(self, value):
        x = torch.tensor([[0.0], [value]])
        found = f"found values from {min(0, value):.4g} to {max(0, value):.4g}. Name the ends"
        with pytest.raises(ValueError, match=found):
            adapted(Bernoulli(), x)

    def test_new_data_are_checked_too(self):
        likelihood = adapted(Bernoulli(), torch.eye(2))
        likelihood.check(torch.tensor([[0.0, 1.0 + 1e-7]]))
        with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
            likelihood.check(torch.tensor([[0.0, 1.1]]))


@pytest.mark.parametrize(
    "likelihood",
    [
        Gaussian(),
        Gaussian(0.71, "shared"),
        Gaussian("per_feature"),
        Gaussian(scaling="quantile"),
        Bernoulli(),
        Bernoulli(high=255),
        Poisson(),
        NegativeBinomial("shared"),
        Categorical(max_categories=5),
        DiscretizedLogistic(16, 1.0),
        DiscretizedLogisticMixture(3, 16, 15),
        PerColumn([("gaussian", 0), (NegativeBinomial("shared"), [1, 2])]),
    ],
)
class TestConfig:
    def test_config_makes_an_equal_likelihood(self, likelihood):
        again = type(likelihood)(**likelihood.config)
        assert again.config == likelihood.config

    def test_repr_can_be_read_back(self, likelihood):
        again = eval(repr(likelihood), vars(likelihoods).copy())  # noqa: S307
        assert type(again) is type(likelihood)
        assert repr(again) == repr(likelihood)

    def test_resolve_makes_a_new_one_that_knows_no_data(self, likelihood):
        again = resolve(likelihood)
        assert again is not likelihood
        assert type(again) is type(likelihood)
        assert again.config == likelihood.config
        assert not hasattr(again, "summary")


class TestResolve:
    def test_names_give_likelihoods_of_default_arguments(self):
        for name, kind in likelihoods.LIKELIHOODS.items():
            assert repr(resolve(name)) == repr(kind())

    @pytest.mark.parametrize("spec", ["normal", None, {}, 3])
    def test_anything_else_is_refused_with_the_names_there_are(self, spec):
        with pytest.raises(
            ValueError, match=r"there is no likelihood .*; pass one of 'bernoulli', "
        ):
            resolve(spec)


class TestDataSummary:
    @pytest.mark.parametrize("sizes", [[40], [1, 39], [13, 13, 14], [1] * 40])
    def test_chunks_give_what_numpy_gives_on_the_whole(self, sizes):
        x = correlated_columns(40) + 1e6
        summary = DataSummary.of(torch.tensor(x).split(sizes))
        np.testing.assert_allclose(summary.mean, x.mean(0), rtol=1e-12)
        np.testing.assert_allclose(summary.std, x.std(0), rtol=1e-7)
        np.testing.assert_array_equal(summary.minimum, x.min(0))
        np.testing.assert_array_equal(summary.maximum, x.max(0))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("value", [0.1, 1e8 / 3, -1e-20])
    def test_the_std_of_a_constant_column_is_exactly_0(self, value, dtype):
        x = torch.full((101, 1), value, dtype=dtype)
        assert DataSummary.of(x.split(7)).std.item() == 0

    def test_rounding_errors_are_no_variance(self):
        x = torch.tensor([[0.3], [0.1 * 3]], dtype=torch.float64)
        assert x[0] != x[1]
        assert DataSummary.of([x]).std.item() == 0

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float16])
    def test_small_dtypes_do_not_overflow(self, dtype):
        x = torch.full((1000, 1), 255.0).to(dtype)
        x[::2] = 0
        half = float(x[1]) / 2
        summary = DataSummary.of([x])
        assert (summary.mean.item(), summary.std.item()) == (half, half)

    @pytest.mark.parametrize(
        ("load", "shared"), [(load_digits, True), (load_wine, False), (load_breast_cancer, False)]
    )
    def test_pixels_share_a_scale_and_tables_do_not(self, load, shared):
        summary = DataSummary.of([torch.tensor(load().data)])
        assert summary.has_shared_scale is shared

    @pytest.mark.parametrize("sizes", [[40], [1, 39], [13, 13, 14], [1] * 40])
    def test_missing_cells_do_not_count(self, sizes):
        x = correlated_columns(40)
        x[np.random.default_rng(0).random(x.shape) < 0.4] = np.nan
        summary = DataSummary.of(torch.tensor(x).split(sizes))
        np.testing.assert_allclose(summary.mean, np.nanmean(x, 0), rtol=1e-12)
        np.testing.assert_allclose(summary.std, np.nanstd(x, 0), rtol=1e-9)
        np.testing.assert_array_equal(summary.minimum, np.nanmin(x, 0))
        np.testing.assert_array_equal(summary.maximum, np.nanmax(x, 0))

    def test_columns_without_any_value_are_refused(self):
        x = torch.tensor([[1.0, math.nan, math.nan], [2.0, math.nan, math.nan]])
        with pytest.raises(ValueError, match=r"columns \[1, 2\] of X have no value in any row"):
            DataSummary.of([x])

    def test_of_columns_is_the_summary_of_these_columns(self):
        x = torch.tensor(correlated_columns())
        columns = torch.tensor([2, 0])
        part = DataSummary.of([x], n_channels=3).of_columns(columns)
        for found, expected in zip(part, DataSummary.of([x[:, columns]]), strict=True):
            torch.testing.assert_close(found, expected)

    def test_data_without_variance_share_no_scale(self):
        assert not DataSummary.of([torch.ones(4, 2)]).has_shared_scale


@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "categorical"])
def test_the_expected_link_is_the_mean_of_the_links_of_samples(name):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (50, 3), generator=generator).float()
    likelihood = likelihoods.PerColumn([(name, [2, 0]), ("bernoulli", 1)]).adapt(
        DataSummary.of([x])
    )
    parameters = torch.randn(1, likelihood.n_outputs, generator=generator)
    noise = GeneratorNoise(generator)
    samples = likelihood.sample(parameters.expand(40_000, -1), noise)
    torch.testing.assert_close(
        likelihood.expected_link(parameters)[0], likelihood.link(samples).mean(0), atol=0.04, rtol=0
    )
