import math

import numpy as np
import pytest
import torch
from scipy.special import psi
from scipy.stats import multinomial, nbinom, poisson

from sk_hvae.nn import Architecture, build_hierarchy
from sk_hvae.nn.likelihoods import (
    DataSummary,
    Gaussian,
    NegativeBinomial,
    PerColumn,
    Poisson,
)
from sk_hvae.nn.likelihoods.refusal import ColumnError

COUNTS = [Poisson, NegativeBinomial]
# Column of the exposure in `with_years`.
YEARS = 1


def counts(n_rows=50, seed=0):
    """Counts whose rates are the same in all rows, and whose exposures differ by factors."""
    rng = np.random.default_rng(seed)
    exposure = rng.gamma(4, 0.25, size=(n_rows, 1)) + 0.1
    return rng.poisson(exposure * [0.3, 4.0, 60.0]).astype(float), exposure


def with_years(n_rows=50):
    x, years = counts(n_rows)
    return np.insert(x, YEARS, years[:, 0], axis=1)


def adapted(likelihood, x):
    return likelihood.adapt(DataSummary.of([torch.as_tensor(x)]))


def log_prob(likelihood, x, parameters):
    x = torch.as_tensor(x)
    return likelihood.log_prob(x, parameters + likelihood.offset(x)).detach()


def drawn_parameters(x, seed=1):
    return torch.tensor(np.random.default_rng(seed).normal(size=x.shape)).float()


class TestDensity:
    def test_the_total_scales_the_means(self):
        x, _ = counts()
        parameters = drawn_parameters(x)
        depth = x.sum(1, keepdims=True) / x.sum(1).mean()
        mean = x.mean(0) * depth * parameters.double().exp().numpy()
        result = log_prob(adapted(Poisson(exposure="total"), x), x, parameters)
        np.testing.assert_allclose(result, poisson(mean).logpmf(x), rtol=1e-5, atol=1e-5)
        likelihood = adapted(NegativeBinomial(exposure="total"), x)
        likelihood.log_r.data.fill_(math.log(2.0))
        result = log_prob(likelihood, x, parameters)
        np.testing.assert_allclose(result, nbinom(2, 2 / (2 + mean)).logpmf(x), atol=2e-5)

    def test_a_column_scales_the_means_and_is_not_scored(self):
        x = with_years()
        parameters = drawn_parameters(x)
        years = x[:, [YEARS]]
        mean = x.mean(0) * years / years.mean() * parameters.double().exp().numpy()
        expected = poisson(mean).logpmf(x.round())
        expected[:, YEARS] = 0
        result = log_prob(adapted(Poisson(exposure=YEARS), x), x, parameters)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)

    def test_given_the_total_the_truth_is_a_multinomial_above_the_value_of_the_total(self):
        x, _ = counts()
        parameters = drawn_parameters(x)
        rates = x.mean(0) * parameters.double().exp().numpy()
        truth = np.array(
            [
                multinomial(int(row.sum()), rate / rate.sum()).logpmf(row)
                for row, rate in zip(x, rates, strict=True)
            ]
        )
        result = log_prob(adapted(Poisson(exposure="total"), x), x, parameters).sum(1).numpy()
        of_total = poisson(rates.sum(1) * x.sum(1) / x.sum(1).mean()).logpmf(x.sum(1))
        np.testing.assert_allclose(result - of_total, truth, rtol=1e-4, atol=1e-4)
        assert (result <= truth).all()

    @pytest.mark.parametrize("kind", COUNTS)
    def test_rows_without_counts_are_almost_certain(self, kind):
        x, _ = counts()
        x[0] = 0
        likelihood = adapted(kind(exposure="total"), x)
        parameters = torch.zeros(x.shape, requires_grad=True)
        result = likelihood.log_prob(
            torch.tensor(x), parameters + likelihood.offset(torch.tensor(x))
        )
        result.sum().backward()
        assert (result[0] > -1e-3).all()
        assert parameters.grad.isfinite().all()


class TestRelativeExposure:
    def test_missing_cells_do_not_change_what_the_others_say(self):
        x, _ = counts()
        likelihood = adapted(Poisson(exposure="total"), x)
        expected = likelihood.column_mean * 3.0
        with_hole = torch.stack([expected, expected.index_fill(0, torch.tensor(2), math.nan)])
        torch.testing.assert_close(likelihood.offset(with_hole).exp(), torch.full((2, 3), 3.0))

    @pytest.mark.parametrize("exposure", ["total", YEARS])
    def test_nothing_known_is_the_mean_exposure(self, exposure):
        x = with_years().round() + 1
        likelihood = adapted(Poisson(exposure=exposure), x)
        missing = torch.full((1, 4), math.nan)
        assert (likelihood.offset(missing) == 0).all()

    def test_constant_columns_are_no_part_of_a_total(self):
        x, _ = counts()
        likelihood = adapted(Poisson(exposure="total"), np.column_stack([x, np.full(50, 1000.0)]))
        alone = adapted(Poisson(exposure="total"), x)
        x = torch.tensor(x)
        wider = torch.cat((x, torch.full((50, 1), 5.0)), 1)
        torch.testing.assert_close(likelihood.offset(wider)[:, :1], alone.offset(x)[:, :1])

    @pytest.mark.parametrize("unit", [1e-6, 1.0, 365.25])
    def test_the_unit_of_an_exposure_does_not_matter(self, unit):
        x = with_years()
        expected = adapted(Poisson(exposure=YEARS), x).offset(torch.tensor(x))
        x[:, YEARS] *= unit
        result = adapted(Poisson(exposure=YEARS), x).offset(torch.tensor(x))
        torch.testing.assert_close(result, expected)

    @pytest.mark.parametrize("kind", COUNTS)
    def test_without_exposure_there_is_no_offset(self, kind):
        x, _ = counts()
        likelihood = adapted(kind(), x)
        mean = torch.ones(50, 3)
        assert likelihood.offset(torch.tensor(x)) is None
        assert likelihood.at_exposure(mean, torch.tensor(x)) is mean

    def test_columns_that_vary_later_count_from_then_on(self):
        x, _ = counts()
        x[:, 2] = 7
        likelihood = adapted(Poisson(exposure="total"), x)
        later, _ = counts(seed=3)
        summary = DataSummary.of([torch.tensor(later)])
        likelihood.relearn(summary, torch.tensor([True, True, True]))
        expected = adapted(Poisson(exposure="total"), later).offset(torch.tensor(later))
        torch.testing.assert_close(likelihood.offset(torch.tensor(later)), expected)


@pytest.mark.parametrize("kind", COUNTS)
class TestScale:
    def test_latents_alone_give_the_mean_exposure(self, kind):
        x = with_years()
        likelihood = adapted(kind(exposure=YEARS), x)
        parameters = drawn_parameters(x)
        mean = likelihood.mean(parameters)
        rates = x.mean(0) * parameters.double().exp().numpy()
        rates[:, YEARS] = x[:, YEARS].mean()
        np.testing.assert_allclose(mean, rates, rtol=1e-5)
        torch.manual_seed(0)
        draws = likelihood.sample(parameters, torch.randn_like).detach()
        assert (draws[:, YEARS] == likelihood.column_mean[YEARS]).all()
        is_count = torch.arange(4) != YEARS
        assert torch.equal(draws[:, is_count], draws[:, is_count].round())

    def test_rows_give_their_own_exposure(self, kind):
        x = with_years()
        likelihood = adapted(kind(exposure=YEARS), x)
        result = likelihood.at_exposure(likelihood.mean(torch.zeros(x.shape)), torch.tensor(x))
        years = x[:, [YEARS]]
        expected = x.mean(0) * years / years.mean()
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        np.testing.assert_allclose(result[:, YEARS], x[:, YEARS], rtol=1e-6)

    def test_link_is_the_expected_log_rate_under_an_exponential_prior(self, kind):
        # A gamma prior of shape 1 about the column's mean has, after x counts at exposure s, the
        # shape 1 + x and the rate 1 + s * mean, relative to the mean.
        x, _ = counts()
        likelihood = adapted(kind(exposure="total"), x)
        depth = x.sum(1, keepdims=True) / x.sum(1).mean()
        expected = psi(x + 1) - np.log1p(depth * x.mean(0))
        np.testing.assert_allclose(likelihood.link(torch.tensor(x)), expected, atol=0.03)

    def test_link_says_nothing_of_the_exposure_itself(self, kind):
        x = with_years()
        x[0, YEARS] = math.nan
        likelihood = adapted(kind(exposure=YEARS), x)
        linked = likelihood.link(torch.tensor(x))
        assert (linked[:, YEARS] == 0).all()
        assert linked.isfinite().all()


def test_the_dispersion_is_fitted_at_the_exposure_of_each_row():
    rng = np.random.default_rng(0)
    years = np.exp(rng.normal(size=(20_000, 1)))
    rate = 30.0 * years * rng.gamma(4.0, 1 / 4.0, size=(20_000, 1))
    x = torch.tensor(np.column_stack([years, rng.poisson(rate)]))
    for dispersion in ("per_feature", "shared"):
        likelihood = adapted(NegativeBinomial(dispersion, exposure=0), x)
        level = float(30 * years.mean() / x[:, 1].mean())
        parameters = torch.full(x.shape, math.log(level)) + likelihood.offset(x)
        likelihood.fit_scale(x, parameters)
        log_r = likelihood.log_r.detach().expand(2)[1]
        np.testing.assert_allclose(log_r.exp(), 4.0, rtol=0.05)


class TestPerColumn:
    def test_each_part_has_its_own_exposure(self):
        x, _ = counts()
        mixed = np.column_stack([x[:, 2], with_years(), x[:, 0]])
        parts = [
            (NegativeBinomial(exposure=YEARS), [1, 2, 3, 4]),
            (Gaussian(), [5]),
            (Poisson(), [0]),
        ]
        likelihood = adapted(PerColumn(parts), mixed)
        mixed = torch.tensor(mixed)
        alone = adapted(NegativeBinomial(exposure=YEARS), mixed[:, 1:5])
        offset = likelihood.offset(mixed)
        torch.testing.assert_close(offset[:, :4], alone.offset(mixed[:, 1:5]))
        assert (offset[:, 4:] == 0).all()
        mean = likelihood.at_exposure(torch.ones(mixed.shape), mixed)
        torch.testing.assert_close(
            mean[:, 1:5], alone.at_exposure(torch.ones(50, 4), mixed[:, 1:5])
        )
        assert (mean[:, [0, 5]] == 1).all()

    def test_without_exposures_there_is_no_offset(self):
        x, _ = counts()
        likelihood = adapted(PerColumn([("poisson", [0, 2]), ("gaussian", [1])]), x)
        assert likelihood.offset(torch.tensor(x)) is None


class TestRefusals:
    @pytest.mark.parametrize("exposure", ["years", 4, -1, 1.5, True])
    def test_what_is_no_exposure(self, exposure):
        with pytest.raises(ValueError, match=r"exposure must be .*there are 4 columns"):
            adapted(Poisson(exposure=exposure), with_years())

    def test_an_exposure_without_counts(self):
        with pytest.raises(ValueError, match="exposure is the only column"):
            adapted(Poisson(exposure=0), [[1.0], [2.0]])

    @pytest.mark.parametrize("value", [0.0, -2.0])
    def test_exposures_that_are_not_positive(self, value):
        x = with_years()
        likelihood = adapted(Poisson(exposure=YEARS), x)
        x[3, YEARS] = value
        with pytest.raises(ColumnError, match=f"must be positive; found {value:g}") as caught:
            likelihood.check(torch.tensor(x))
        assert caught.value.column == YEARS

    def test_counts_beside_an_exposure_are_checked(self):
        x = with_years()
        likelihood = adapted(Poisson(exposure=YEARS), x)
        likelihood.check(torch.tensor(x))
        x[3, 2] = 0.5
        with pytest.raises(ColumnError, match="needs whole numbers") as caught:
            likelihood.check(torch.tensor(x))
        assert caught.value.column == 2


class TestModel:
    @pytest.mark.parametrize("exposure", ["total", YEARS])
    def test_distortion_is_at_the_exposure_of_each_row(self, exposure):
        x = with_years()
        x[:, YEARS] = x[:, YEARS].round() + 1
        x[4, 2] = math.nan
        likelihood = adapted(Poisson(exposure=exposure), x)
        model = build_hierarchy(Architecture((2,), missing=True), likelihood)
        x = torch.tensor(x)
        parameters = drawn_parameters(x)
        seen = x.nan_to_num(0.0)
        cells = likelihood.log_prob(seen, parameters + likelihood.offset(x))
        expected = -cells.masked_fill(x.isnan(), 0.0).sum(1)
        torch.testing.assert_close(model.distortion(x, parameters), expected)
