import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import ks_2samp, norm

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import OutlierWarning, RateTargetWarning
from sk_hvae.nn.likelihoods import DataSummary, Gaussian, PerColumn
from sk_hvae.nn.likelihoods.bin_mass import log_average_density
from sk_hvae.nn.likelihoods.grids import GridSearch


def table(n=1500, seed=0):
    """Columns of tables: skewed, with zeros, counts, cents, days in seconds, flags, tails."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.lognormal(3, 1, n),
            np.where(rng.random(n) < 0.39, 0, rng.lognormal(3, 1, n)),
            rng.poisson(3, n),
            np.round(rng.lognormal(8, 1, n), 2),
            86400.0 * rng.integers(10_000, 20_000, n),
            rng.random(n) < 0.1,
            np.round(rng.lognormal(8, 1, n), -3),
            rng.standard_cauchy(n),
            rng.choice([0, 1, 5, 1000], n) / 10,
        ]
    )


GRIDDED = [2, 3, 4, 5, 6, 8]
SMALL_GRIDS = [2, 5, 6, 8]


def adapted(x, sigma="per_feature"):
    return Gaussian(sigma, "quantile").adapt(DataSummary.of([torch.as_tensor(x)]))


class TestGridSearch:
    @pytest.mark.parametrize(
        ("values", "step"),
        [
            ([3.0, 8.0, -2.0], 5.0),
            ([0.0, 1.0], 1.0),
            ([1000.0, 4000.0, 6000.0], 1000.0),
            ([0.1, 0.7, 0.4], 0.3),
            ([0.1 * 3, 0.1 + 0.2, 0.3, 0.7, 1.0], 0.1),
            ([12.34, 1e6 + 0.01, 7.0], 0.01),
            ([86400.0 * day for day in (19000, 19001, 4)], 86400.0),
            ([1.5e9 + 0.001, 1.5e9, 3.0], 0.001),
            ([math.nan, 2.5, math.nan, 5.0], 2.5),
            ([7.0, 7.0], 0.0),
            ([math.pi, math.e, math.sqrt(2)], 0.0),
            ([1e300, 0.0, 1.0], 0.0),
            ([2.0**53, 0.5, 1.0], 0.0),
        ],
    )
    @pytest.mark.parametrize("size", [1, 2, 100])
    def test_steps_are_those_of_decimals(self, values, step, size):
        search = GridSearch(1)
        for part in torch.tensor(values, dtype=torch.float64)[:, None].split(size):
            search.add(part)
        found, units = search.steps.flatten().tolist()
        assert found / units == step

    def test_decimals_in_float32_are_recognised(self):
        rng = np.random.default_rng(0)
        x = np.column_stack([np.round(rng.random(500) * 100, 1), rng.random(500)])
        search = GridSearch(2)
        search.add(torch.tensor(x).float().double())
        steps, units = search.steps
        assert (steps / units).tolist() == [0.1, 0.0]

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_numbers_of_full_precision_have_no_grid(self, scale, dtype):
        x = scale * torch.randn(300, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
        search = GridSearch(5)
        search.add(x.double())
        assert not search.steps[0].any()


class TestLogAverageDensity:
    CENTRES = (0.0, 0.3, -1.0, 3.0, -9.0, 9.9, 10.2, 30.0, 3000.0)
    WIDTHS = (1e-4, 0.03, 0.09, 0.29, 0.31, 1.0, 4.0, 30.0, 100.0)

    @staticmethod
    def truth(centre, width):
        """In log space, on the side where probabilities are small."""
        distance = np.abs(centre)
        upper, lower = norm.logcdf(width / 2 - distance), norm.logcdf(-width / 2 - distance)
        return upper + np.log(-np.expm1(lower - upper)) - np.log(width)

    def test_it_is_the_difference_of_distribution_functions(self):
        centre, width = np.meshgrid(self.CENTRES, self.WIDTHS)
        # The truth cancels where bins are narrow, far out: there, the density itself is nearer.
        known = width * np.maximum(np.abs(centre), 1) > 1e-2
        result = log_average_density(torch.tensor(centre).float(), torch.tensor(width).float())
        expected = self.truth(centre, width)
        np.testing.assert_allclose(result[known], expected[known], rtol=2e-6, atol=2e-6)

    def test_narrow_bins_have_the_density(self):
        centre = torch.tensor(self.CENTRES)
        for width in (0.0, 1e-6):
            result = log_average_density(centre, torch.full_like(centre, width))
            np.testing.assert_allclose(result, norm.logpdf(centre.numpy()), rtol=1e-6)

    def test_gradients_are_those_of_the_truth(self):
        centre, width = (
            torch.tensor(v, dtype=torch.float64).flatten().requires_grad_()
            for v in np.meshgrid(self.CENTRES[1:-1], self.WIDTHS[1:])
        )
        assert torch.autograd.gradcheck(log_average_density, (centre, width), atol=1e-4)

    def test_gradients_are_finite_everywhere(self):
        centre = torch.tensor([0.0, 1e-20, 1.0, 1e3, 1e6, 1e12]).repeat(6, 1).requires_grad_()
        width = torch.tensor([0.0, 1e-12, 1e-3, 1.0, 1e3, 1e8])[:, None].repeat(1, 6)
        width.requires_grad_()
        log_average_density(centre, width).sum().backward()
        assert centre.grad.isfinite().all()
        assert width.grad.isfinite().all()


class TestQuantileScaling:
    def test_the_scale_increases(self):
        scale = adapted(table()).monotone
        assert (scale.knots.diff(dim=1) > 0).all()
        assert (scale.scores.diff(dim=1) > 0).all()

    @pytest.mark.parametrize("sigma", [0.05, 1.0, 4.0])
    @pytest.mark.parametrize("location", [-1.0, 0.0, 2.5, 6.0])
    def test_probabilities_of_grid_points_add_up_to_one(self, location, sigma):
        x = torch.tensor(table()[:, SMALL_GRIDS])
        likelihood = adapted(x, sigma)
        scale = likelihood.monotone
        step = scale.step / scale.units
        # From one end far beyond the data to the other.
        points = x.amin(0) + step * torch.arange(-40_000, 60_000)[:, None]
        log_prob = likelihood.log_prob(points, torch.full_like(points, location).float())
        total = (log_prob.double().exp() * step).sum(0)
        np.testing.assert_allclose(total, 1, atol=1e-4)

    @pytest.mark.parametrize("location", [-1.0, 0.0, 2.5])
    def test_densities_integrate_to_one(self, location):
        x = torch.tensor(table()[:, [0, 7]])
        likelihood = adapted(x, 0.7)
        scale = likelihood.monotone

        def density(value, column):
            row = torch.full((1, 2), value, dtype=torch.float64)
            parameters = torch.full((1, 2), location)
            return likelihood.log_prob(row, parameters)[0, column].exp().item()

        for column in range(2):
            knots = scale.knots[column]
            knots = knots[: int((scale.scores[column] < 9).sum())].tolist()
            edges = [2 * knots[0] - knots[-1], *knots]
            total = sum(quad(density, a, b, (column,), limit=20)[0] for a, b in pairwise(edges))
            assert total == pytest.approx(1, abs=1e-3)

    def test_whole_numbers_have_the_probability_of_their_bin(self):
        x = np.repeat([0.0, 1.0, 2.0, 3.0], [50, 30, 15, 5])[:, None]
        likelihood = adapted(x, 0.8)
        below = np.cumsum([1, 50, 30, 15, 5]) / 102
        edges = norm.ppf(below)
        expected = np.diff(norm.cdf((edges - 0.3) / 0.8))
        points = torch.arange(4.0)[:, None]
        result = likelihood.log_prob(points, torch.full((4, 1), 0.3)).exp()[:, 0]
        np.testing.assert_allclose(result, expected, rtol=1e-5)

    def test_links_are_scores_of_the_middle_of_bins(self):
        x = np.repeat([0.0, 1.0], [90, 10])[:, None]
        linked = adapted(x).link(torch.tensor([[0.0], [1.0], [math.nan]]))[:, 0]
        np.testing.assert_allclose(linked[:2], norm.ppf([46 / 102, 96 / 102]), rtol=1e-5)
        assert linked[2].isnan()

    def test_links_of_continuous_columns_are_normal_scores(self):
        x = table()[:, :1]
        linked = adapted(x).link(torch.tensor(x))[:, 0].numpy()
        scores = norm.ppf((x[:, 0].argsort().argsort() + 1) / (len(x) + 1))
        np.testing.assert_allclose(linked, scores, atol=0.4)
        assert np.abs(linked - scores).mean() < 0.03

    @pytest.mark.parametrize("log_sigma", [-1.0, 0.0])
    def test_mean_is_that_of_samples(self, log_sigma):
        likelihood = adapted(table())
        likelihood.log_sigma.data.fill_(log_sigma)
        n = 40_000
        torch.manual_seed(0)
        with torch.no_grad():
            for location in (-0.5, 0.4, 1.5):
                parameters = torch.full((n, 9), location)
                draws = likelihood.sample(parameters, torch.randn_like)
                error = (draws.mean(0) - likelihood.mean(parameters[:1])[0]).abs()
                assert (error <= 5 * draws.std(0) / math.sqrt(n) + 1e-9 * draws.abs().amax()).all()

    def test_the_mean_of_a_flag_is_its_probability(self):
        likelihood = adapted(np.repeat([0.0, 1.0], [90, 10])[:, None], 0.6)
        parameters = torch.linspace(-4, 4, 20)[:, None]
        threshold = norm.ppf(91 / 102)
        expected = norm.sf((threshold - parameters.numpy()) / 0.6)
        np.testing.assert_allclose(likelihood.mean(parameters), expected, rtol=1e-5, atol=1e-9)

    def test_samples_are_values_that_the_data_could_have(self):
        x = table()
        likelihood = adapted(x)
        torch.manual_seed(0)
        with torch.no_grad():
            draws = likelihood.sample(3 * torch.randn(20_000, 9), torch.randn_like).numpy()
        assert (draws >= x.min(0)).all()
        assert (draws <= x.max(0)).all()
        for column, decimals in ((2, 0), (3, 2), (4, 0), (5, 0), (6, 0), (8, 1)):
            assert np.array_equal(draws[:, column], np.round(draws[:, column], decimals))
        for column in (5, 8):
            assert set(x[:, column]) <= set(draws[:, column])
        assert not (draws[:, 4] % 86400).any()
        assert not (draws[:, 6] % 1000).any()
        assert (draws[:, 1] == 0).mean() > 0.1

    def test_samples_at_the_start_are_distributed_like_the_data(self):
        x = table()
        likelihood = adapted(x, 1.0)
        torch.manual_seed(0)
        draws = likelihood.sample(torch.zeros(20_000, 9), torch.randn_like).numpy()
        for column in range(9):
            assert ks_2samp(draws[:, column], x[:, column]).statistic < 0.02

    def test_chunks_make_no_difference(self):
        x = torch.tensor(table())
        whole, parts = DataSummary.of([x]), DataSummary.of(x.split(97))
        for name, tensor in Gaussian(scaling="quantile").adapt(whole).state_dict().items():
            other = Gaussian(scaling="quantile").adapt(parts).state_dict()[name]
            np.testing.assert_allclose(other, tensor, rtol=1e-9)

    def test_without_marginals_the_scale_is_linear_and_has_the_same_shape(self):
        x = torch.tensor(table())
        bare = DataSummary.of([x])._replace(marginals=None)
        likelihood = Gaussian(scaling="quantile").adapt(bare)
        expected = {
            name: tensor.shape for name, tensor in adapted(x, "learned").state_dict().items()
        }
        assert {n: t.shape for n, t in likelihood.state_dict().items()} == expected
        plain = Gaussian(scaling="columns").adapt(bare)
        np.testing.assert_allclose(likelihood.link(x), plain.link(x), atol=1e-4, rtol=1e-4)

    def test_new_values_beyond_the_data_have_a_finite_density(self):
        x = torch.tensor(table())
        likelihood = adapted(x)
        far = torch.stack((x.amin(0) - 10 * x.std(0), x.amax(0) + 10 * x.std(0)))
        assert likelihood.log_prob(far, torch.zeros(2, 9)).isfinite().all()
        assert likelihood.link(far).isfinite().all()


class TestOnceConstantColumns:
    @pytest.mark.parametrize(
        ("constant", "new", "step"),
        [
            (7.0, [8.5, 9.5, 10.5], 0.5),
            (7.0, [8.0, 8.0], 1.0),
            (7.0, [9.0, 11.0, 15.0], 2.0),
            (7.0, [0.0, 1.0, 1 / 3], 0.0),
        ],
    )
    def test_the_constant_is_on_the_grid_too(self, constant, new, step):
        known = DataSummary.of([torch.full((5, 1), constant)])
        new = torch.tensor(new, dtype=torch.float64)[:, None]
        steps, units = known.updated(DataSummary.of([new]), len(new)).marginals.steps
        assert (steps / units).item() == step

    def test_only_columns_that_come_alive_are_learned(self):
        x = torch.tensor(table())
        before = x.clone()
        before[:, [2, 7]] = torch.tensor([3.0, 0.25], dtype=torch.float64)
        likelihood = adapted(before)
        link = likelihood.link(x)
        summary = likelihood.summary.updated(DataSummary.of([x]), len(x))
        alive = torch.zeros(9, dtype=torch.bool)
        alive[[2, 7]] = True

        likelihood.relearn(summary, alive)

        whole = adapted(x)
        assert torch.equal(likelihood.link(x)[:, ~alive], link[:, ~alive])
        np.testing.assert_allclose(likelihood.link(x)[:, 2], whole.link(x)[:, 2], atol=1e-2)
        np.testing.assert_allclose(likelihood.link(x)[:, 7], whole.link(x)[:, 7], atol=1e-1)
        assert likelihood.summary.marginals is None


class TestInMixedTables:
    def test_columns_of_a_part_have_their_own_marginals(self):
        x = torch.tensor(table())
        parts = [("gaussian", [3, 0]), (Gaussian(scaling="quantile"), [8, 1, 5])]
        parts.append(("gaussian", [2, 4, 6, 7]))
        likelihood = PerColumn(parts)
        assert likelihood.distributed_columns(9) == [1, 5, 8]
        likelihood.adapt(DataSummary.of([x], distributed=[1, 5, 8]))
        alone = adapted(x[:, [8, 1, 5]], "learned")
        assert torch.equal(likelihood.link(x)[:, 2:5], alone.link(x[:, [8, 1, 5]]))

    def test_quantile_columns_have_no_scale_that_a_wild_cell_could_hide(self):
        likelihood = adapted(table())
        std = likelihood.summary.std
        assert torch.equal(likelihood.scales(std), std)
        assert likelihood.scaling_ == "quantile"


def test_an_estimator_keeps_held_out_rows_out_of_the_quantiles_but_on_the_grid():
    x = table(400)[:, [0, 3, 5]]
    x[0] = [1e6, 0.0001, 1]
    model = HierarchicalVAETransformer(
        (1, 2),
        likelihood=Gaussian("per_feature", "quantile"),
        hidden_layer_sizes=8,
        max_epochs=3,
        early_stopping=True,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RateTargetWarning)
        warnings.simplefilter("ignore", OutlierWarning)
        model.fit(x)
    scale = model.module_.likelihood.monotone
    assert (scale.knots[1].diff() > 1.1 * scale.knots[1].diff().amin()).any()
    draws = model.sample(2000)
    assert (draws >= x.min(0)).all()
    assert (draws <= x.max(0)).all()
    assert np.array_equal(draws[:, 1], np.round(draws[:, 1], 4))
    assert set(draws[:, 2]) == {0.0, 1.0}


def test_expectations_are_rounded_where_a_step_is_less_than_the_deviation():
    random = torch.Generator().manual_seed(0)
    whole = (30 * torch.randn(200, 1, generator=random)).round().double()
    flag = (torch.rand(200, 1, generator=random) < 0.3).double()
    real = torch.randn(200, 1, generator=random).double()
    x = torch.cat((whole, flag, real), 1)
    likelihood = PerColumn([(Gaussian(scaling="quantile"), [0, 1, 2])])
    likelihood.adapt(DataSummary.of([x]))
    expected = torch.tensor([[3.4, 0.3, 0.123456], [1e9, 0.7, 0.5]]).double()
    wanted = expected.clone()
    wanted[:, 0] = torch.tensor([3.0, whole.max()])
    assert torch.equal(likelihood.rounded(expected), wanted)
    linear = Gaussian().adapt(DataSummary.of([x]))
    assert torch.equal(linear.rounded(expected), expected)
