import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import chisquare, logistic

from sk_hvae.nn.likelihoods import DataSummary, DiscretizedLogistic, DiscretizedLogisticMixture

KINDS = [DiscretizedLogistic, DiscretizedLogisticMixture]


def adapted(likelihood, x, n_channels=1):
    return likelihood.adapt(DataSummary.of([torch.as_tensor(x)], n_channels))


def pixels(n_rows=40, n_columns=6, seed=0):
    """Images of 8 bits."""
    rng = np.random.default_rng(seed)
    x = rng.normal(100, 60, size=(n_rows, n_columns)).round().clip(0, 255)
    x[0] = 255
    return x


def level_mass(level, loc, scale, top):
    """P of a level by differences of distribution functions, from whichever tail is small."""
    low = np.where(level <= 0, -np.inf, (level - 0.5 - loc) / scale)
    high = np.where(level >= top, np.inf, (level + 0.5 - loc) / scale)
    left = logistic.cdf(high) - logistic.cdf(low)
    right = logistic.sf(low) - logistic.sf(high)
    return np.where(low > 0, right, left)


def with_scale(likelihood, levels):
    """Set the learned scale, in levels."""
    likelihood.log_scale.data.copy_((levels / likelihood.scale).log())
    return likelihood


def random_parameters(likelihood, n_rows, scale=1.0, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n_rows, likelihood.n_outputs, generator=generator)


class Truth:
    """The mixture in numpy, one pixel at a time, from the documented order of parameters."""

    def __init__(self, likelihood, parameters, row=0, pixel=0):
        self.top = likelihood.n_levels - 1
        self.n_channels = c = likelihood.summary.n_channels
        k = likelihood.n_mixtures
        planes = parameters[row].detach().double().numpy().reshape(-1, likelihood.n_linked // c)
        values = planes[:, pixel]
        sizes = np.cumsum([c, k, k * c, k * c])
        location, logits, offsets, log_scales, coupling = np.split(values, sizes)
        assert coupling.shape == (k * (3 if c == 3 else 0),)
        unit = float(likelihood.scale)
        shared = float(likelihood.log_scale.detach().double().exp())
        mean = likelihood.location.double().numpy().reshape(c, -1)[:, pixel]
        spread = np.linspace(-1, 1, k) if k > 1 else np.zeros(1)
        self.weights = np.exp(log_softmax(logits))
        self.means = mean + unit * (location + offsets.reshape(k, c) + shared * spread[:, None])
        self.scales = unit * shared * np.exp(log_scales.reshape(k, c))
        self.scales = self.scales.clip(0.05, 10 * likelihood.n_levels)
        self.coupling = np.tanh(coupling.reshape(k, -1))

    def log_joint(self, levels):
        """ln P of the levels of all channels up to each, (n_channels,)."""
        so_far, result = np.log(self.weights), []
        for c, level in enumerate(levels):
            loc = self.means[:, c].copy()
            if c == 1:
                loc += self.coupling[:, 0] * (levels[0] - self.means[:, 0])
            if c == 2:
                loc += self.coupling[:, 1] * (levels[0] - self.means[:, 0])
                loc += self.coupling[:, 2] * (levels[1] - self.means[:, 1])
            so_far = so_far + np.log(level_mass(level, loc, self.scales[:, c], self.top))
            result.append(logsumexp(so_far))
        return np.array(result)

    def cells(self, levels):
        return np.diff(self.log_joint(levels), prepend=0)


class TestDiscretizedLogistic:
    @pytest.mark.parametrize("scale", [0.06, 0.5, 3.0, 300.0])
    def test_log_prob_is_that_of_the_rounded_and_clipped_logistic(self, scale):
        x = pixels()
        likelihood = with_scale(adapted(DiscretizedLogistic(), x), scale)
        # Means within 15 scales of the data: further out differences in float64 are 0.
        rng = np.random.default_rng(1)
        loc = x + np.minimum(15 * scale, 60) * rng.uniform(-1, 1, size=x.shape)
        parameters = ((torch.tensor(loc) - likelihood.location) / likelihood.scale).float()
        loc = (parameters * likelihood.scale + likelihood.location).double().numpy()
        expected = np.log(level_mass(x, loc, scale, 255))
        result = likelihood.log_prob(torch.tensor(x), parameters).detach()
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=2e-3)

    @pytest.mark.parametrize("scale", [0.05, 1.0, 100.0])
    def test_probabilities_sum_to_1(self, scale):
        likelihood = with_scale(adapted(DiscretizedLogistic(), pixels(n_columns=3)), scale)
        values = torch.arange(256.0)[:, None].expand(256, 3)
        parameters = torch.tensor([[-3.0, 0.1, 3.0]]).expand(256, 3)
        p = likelihood.log_prob(values, parameters).exp()
        torch.testing.assert_close(p.sum(0), torch.ones(3), rtol=1e-4, atol=0)

    def test_mean_and_link_invert_each_other_where_the_scale_is_small(self):
        x = torch.tensor(pixels()).float()
        likelihood = with_scale(adapted(DiscretizedLogistic(), x), 0.05)
        torch.testing.assert_close(
            likelihood.mean(likelihood.link(x)).detach(), x, atol=0.01, rtol=0
        )
        assert likelihood.n_outputs == likelihood.n_linked == 6

    @pytest.mark.parametrize("scale", [0.3, 2.0, 60.0])
    def test_mean_is_that_of_the_density(self, scale):
        likelihood = with_scale(adapted(DiscretizedLogistic(), pixels(n_columns=4)), scale)
        values = torch.arange(256.0)[:, None].expand(256, 4)
        parameters = torch.tensor([[-2.0, 0.0, 0.123, 3.0]])
        p = likelihood.log_prob(values, parameters.expand(256, 4)).double().exp()
        expected = (p * values).sum(0).float()
        torch.testing.assert_close(likelihood.mean(parameters)[0], expected, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("scale", [0.5, 10.0])
    def test_draws_follow_the_density(self, scale):
        n = 20_000
        x = np.array([[0.0, 0.0], [15.0, 15.0]])
        likelihood = with_scale(adapted(DiscretizedLogistic(16), x), scale)
        parameters = torch.tensor([[-0.8, 0.3]])
        torch.manual_seed(0)
        draws = likelihood.sample(parameters.expand(n, 2), torch.randn_like).detach()
        values = torch.arange(16.0)[:, None].expand(16, 2)
        p = likelihood.log_prob(values, parameters.expand(16, 2)).detach().double().exp()
        for j in range(2):
            often = n * p[:, j].numpy() > 5
            found = np.bincount(draws[:, j].int(), minlength=16)[often]
            expected = p[often, j].numpy()
            assert found.sum() > 0.999 * n
            assert chisquare(found, expected / expected.sum() * found.sum()).pvalue > 0.01

    def test_fit_scale_maximises_the_likelihood(self):
        x = torch.tensor(pixels())
        likelihood = adapted(DiscretizedLogistic(), x)
        errors = torch.tensor(np.random.default_rng(1).logistic(0, 4.0, size=x.shape))
        parameters = likelihood.link(x + 0.0) + (errors / likelihood.scale).float()
        likelihood.fit_scale(x, parameters)
        fitted = likelihood.log_prob(x, parameters).sum()
        for step in (-0.05, 0.05):
            other = DiscretizedLogistic().adapt(likelihood.summary)
            other.log_scale.data.copy_(likelihood.log_scale + step)
            assert other.log_prob(x, parameters).sum() < fitted
        # 240 draws; the standard error of the logarithm is about 0.06.
        assert abs((likelihood.log_scale.exp() * likelihood.scale).item() / 4.0 - 1) < 0.2


class TestMixture:
    @pytest.mark.parametrize("n_mixtures", [1, 2, 5])
    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_log_prob_is_that_of_the_mixture(self, n_channels, n_mixtures):
        x = pixels(6, 6)
        likelihood = adapted(DiscretizedLogisticMixture(n_mixtures), x, n_channels)
        with_scale(likelihood, 20.0)
        parameters = random_parameters(likelihood, len(x), 0.5)
        result = likelihood.log_prob(torch.tensor(x), parameters).detach()
        planes = result.reshape(len(x), n_channels, -1)
        for row, pixel in itertools.product(range(len(x)), range(planes.shape[2])):
            truth = Truth(likelihood, parameters, row, pixel)
            levels = x.reshape(len(x), n_channels, -1)[row, :, pixel]
            np.testing.assert_allclose(
                planes[row, :, pixel], truth.cells(levels), rtol=1e-4, atol=1e-4
            )

    @pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
    def test_probabilities_of_all_colours_sum_to_1(self, scale):
        x = torch.arange(4.0)[:, None].expand(4, 3)
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(3, 4), x, 3), scale)
        colours = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
        parameters = random_parameters(likelihood, 1, 2.0).expand(64, -1)
        cells = likelihood.log_prob(colours, parameters).detach().double()
        np.testing.assert_allclose(cells.sum(1).exp().sum(), 1, rtol=1e-4)
        # So do those of a channel given the ones before it.
        conditional = cells.exp().reshape(4, 4, 4, 3)
        np.testing.assert_allclose(conditional[:, 0, 0, 0].sum(), 1, rtol=1e-4)
        np.testing.assert_allclose(conditional[:, :, 0, 1].sum(1), 1, rtol=1e-4)
        np.testing.assert_allclose(conditional[..., 2].sum(2), 1, rtol=1e-4)

    def test_probabilities_of_all_greys_sum_to_1(self):
        likelihood = adapted(DiscretizedLogisticMixture(), pixels(n_columns=2))
        values = torch.arange(256.0)[:, None].expand(256, 2)
        parameters = random_parameters(likelihood, 1).expand(256, -1)
        p = likelihood.log_prob(values, parameters).exp()
        torch.testing.assert_close(p.sum(0), torch.ones(2), rtol=1e-4, atol=0)

    @pytest.mark.parametrize(("n_channels", "n_outputs"), [(1, 12 + 12 * 15), (3, 12 + 4 * 50)])
    def test_number_of_parameters(self, n_channels, n_outputs):
        likelihood = adapted(DiscretizedLogisticMixture(), pixels(n_columns=12), n_channels)
        assert (likelihood.n_linked, likelihood.n_outputs) == (12, n_outputs)

    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_parameters_of_zero_give_about_the_mean_of_the_data(self, n_channels):
        x = pixels()
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(), x, n_channels), 2.0)
        result = likelihood.mean(torch.zeros(1, likelihood.n_outputs)).detach()[0]
        np.testing.assert_allclose(result, x.mean(0), atol=0.01)

    def test_components_differ_from_the_start(self):
        x = torch.tensor(pixels())
        likelihood = adapted(DiscretizedLogisticMixture(), x)
        parameters = torch.zeros(len(x), likelihood.n_outputs, requires_grad=True)
        likelihood.log_prob(x, parameters).sum().backward()
        offsets = parameters.grad[:, 6 * 6 : 6 * 11].reshape(-1, 5, 6).sum((0, 2))
        assert len(offsets.unique()) == 5

    def brute_mean(self, likelihood, parameters):
        n, c = likelihood.n_levels, likelihood.summary.n_channels
        colours = torch.cartesian_prod(*[torch.arange(float(n))] * c).reshape(n**c, c)
        repeated = parameters.expand(len(colours), -1)
        p = likelihood.log_prob(colours, repeated).detach().double().sum(1).exp()
        return (p[:, None] * colours).sum(0).float()

    def test_the_mean_of_one_channel_is_that_of_the_density(self):
        likelihood = adapted(DiscretizedLogisticMixture(), pixels(n_columns=1))
        for seed in range(4):
            parameters = random_parameters(likelihood, 1, seed=seed)
            torch.testing.assert_close(
                likelihood.mean(parameters)[0].detach(),
                self.brute_mean(likelihood, parameters),
                rtol=1e-4,
                atol=1e-3,
            )

    @pytest.mark.parametrize("coupled", [False, True])
    def test_the_mean_of_three_channels_is_exact_without_clipping_or_coupling(self, coupled):
        x = np.array([[0.0] * 3, [39.0] * 3])
        likelihood = adapted(DiscretizedLogisticMixture(2, 40), x, 3)
        # With a scale of 0.7, the ends of the levels are out of reach of all three channels.
        with_scale(likelihood, 0.7 if coupled else 6.0)
        for seed in range(3):
            parameters = random_parameters(likelihood, 1, 0.2, seed)
            parameters[:, -6:] *= 10 * coupled
            torch.testing.assert_close(
                likelihood.mean(parameters)[0].detach(),
                self.brute_mean(likelihood, parameters),
                rtol=0,
                atol=1e-3,
            )

    def test_the_mean_of_later_channels_is_exact_if_only_earlier_ones_are_clipped(self):
        x = np.array([[0.0] * 3, [39.0] * 3])
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(2, 40), x, 3), 0.7)
        parameters = random_parameters(likelihood, 1, 0.1)
        parameters[0, 0] = -1.1  # Red has its mean 2 levels below the lowest.
        parameters[0, -6:] = 1.0
        torch.testing.assert_close(
            likelihood.mean(parameters)[0].detach(),
            self.brute_mean(likelihood, parameters),
            rtol=0,
            atol=1e-3,
        )

    def test_the_mean_of_three_channels_is_close_where_clipping_matters(self):
        x = np.array([[0.0] * 3, [39.0] * 3])
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(2, 40), x, 3), 4.0)
        for seed in range(5):
            parameters = random_parameters(likelihood, 1, 0.5, seed)
            found = likelihood.mean(parameters)[0].detach()
            expected = self.brute_mean(likelihood, parameters)
            torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-3)
            assert (found - expected).abs().max() < 1.0

    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_draws_follow_the_density(self, n_channels):
        n = 30_000
        x = torch.arange(4.0)[:, None].expand(4, n_channels)
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(3, 4), x, n_channels), 0.6)
        parameters = random_parameters(likelihood, 1, 1.0)
        torch.manual_seed(0)
        draws = likelihood.sample(parameters.expand(n, -1), torch.randn_like).detach()
        places = 4 ** torch.arange(n_channels - 1, -1, -1).float()
        colours = torch.cartesian_prod(*[torch.arange(4.0)] * n_channels).reshape(-1, n_channels)
        p = likelihood.log_prob(colours, parameters.expand(len(colours), -1)).sum(1)
        expected = p.detach().double().exp().numpy()
        found = np.bincount((draws.float() @ places).int(), minlength=len(colours))
        often = n * expected > 5
        found = np.append(found[often], found[~often].sum())
        expected = np.append(expected[often], expected[~often].sum())
        keep = expected > 1e-6
        expected = expected[keep] / expected[keep].sum()
        assert chisquare(found[keep], expected * found[keep].sum()).pvalue > 0.01

    def test_draws_of_pixels_are_in_their_places(self):
        x = pixels(n_columns=12)
        likelihood = with_scale(adapted(DiscretizedLogisticMixture(2), x, 3), 0.05)
        torch.manual_seed(0)
        parameters = torch.zeros(20, likelihood.n_outputs)
        parameters[:, :12] = likelihood.link(torch.tensor(x[:20]))
        draws = likelihood.sample(parameters, torch.randn_like)
        np.testing.assert_allclose(draws.detach(), x[:20], atol=1.01)

    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_fit_scale_maximises_the_likelihood(self, n_channels):
        x = torch.tensor(pixels())
        likelihood = adapted(DiscretizedLogisticMixture(), x, n_channels)
        parameters = torch.zeros(len(x), likelihood.n_outputs)
        parameters[:, :6] = likelihood.link(x) + 0.2 * random_parameters(likelihood, len(x))[:, :6]
        likelihood.fit_scale(x, parameters)
        fitted = likelihood.log_prob(x, parameters).sum()
        for step in (-0.05, 0.05):
            other = DiscretizedLogisticMixture().adapt(likelihood.summary)
            other.log_scale.data.copy_(likelihood.log_scale + step)
            assert other.log_prob(x, parameters).sum() < fitted

    @pytest.mark.parametrize(("n_channels", "n_columns"), [(2, 6), (4, 8), (3, 7)])
    def test_other_numbers_of_channels_are_refused(self, n_channels, n_columns):
        match = f"needs images of 1 or 3 channels; found {n_channels} channels in {n_columns} col"
        with pytest.raises(ValueError, match=match):
            adapted(DiscretizedLogisticMixture(), pixels(n_columns=n_columns), n_channels)

    def test_a_mixture_has_components(self):
        with pytest.raises(ValueError, match="n_mixtures must be at least 1; got 0"):
            adapted(DiscretizedLogisticMixture(0), pixels())


@pytest.mark.parametrize("kind", KINDS)
class TestLevels:
    @pytest.mark.parametrize("location", [-1e4, -30.0, 0.0, 30.0, 1e4])
    @pytest.mark.parametrize("extra", [-1e4, 0.0, 1e4])
    def test_far_away_levels_have_finite_densities_and_gradients(self, kind, location, extra):
        x = torch.tensor([[0.0, 1, 2], [128, 254, 255]]).repeat(1, 2)
        likelihood = adapted(kind(), x, 3)
        for log_scale in (-20.0, 0.0, 20.0):
            likelihood.log_scale.data.fill_(log_scale)
            parameters = torch.full((2, likelihood.n_outputs), extra)
            parameters[:, :6] = location
            parameters.requires_grad_()
            log_prob = likelihood.log_prob(x, parameters)
            log_prob.sum().backward()
            assert log_prob.isfinite().all()
            assert (log_prob < 1e-6).all()
            assert parameters.grad.isfinite().all()
            assert likelihood.log_scale.grad.isfinite()
            assert likelihood.mean(parameters).isfinite().all()

    def test_far_away_levels_pull_the_location_back(self, kind):
        x = torch.full((1, 3), 128.0)
        likelihood = with_scale(adapted(kind(), [[0.0] * 3, [255.0] * 3]), 0.05)
        parameters = torch.zeros(1, likelihood.n_outputs)
        parameters[:, :3] = torch.tensor([-50.0, 50.0, 500.0])
        parameters.requires_grad_()
        likelihood.log_prob(x, parameters).sum().backward()
        assert parameters.grad[0, :3].sign().tolist() == [1, -1, -1]

    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64]
    )
    def test_the_dtype_of_the_data_does_not_matter(self, kind, dtype):
        x = torch.tensor(pixels())
        expected, likelihood = adapted(kind(), x), adapted(kind(), x.to(dtype))
        likelihood.check(x.to(dtype))
        parameters = random_parameters(likelihood, len(x), 0.3)
        for each, rows in ((expected, x), (likelihood, x.to(dtype))):
            each.fit_scale(rows, parameters)
        result = likelihood.log_prob(x.to(dtype), parameters)
        torch.testing.assert_close(result, expected.log_prob(x, parameters))
        torch.testing.assert_close(likelihood.link(x.to(dtype)), expected.link(x))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_data_between_0_and_1_are_levels_too(self, kind, dtype):
        x = torch.tensor(pixels())
        scaled = (x / 255).to(dtype)
        whole, likelihood = adapted(kind(), x), adapted(kind(), scaled)
        likelihood.check(scaled)
        parameters = random_parameters(likelihood, len(x), 0.3)
        kwargs = {"rtol": 2e-3, "atol": 2e-3} if dtype == torch.float16 else {}
        torch.testing.assert_close(likelihood.link(scaled), whole.link(x), **kwargs)
        result = likelihood.log_prob(scaled, parameters)
        torch.testing.assert_close(result, whole.log_prob(x, parameters), **kwargs)
        torch.testing.assert_close(
            255 * likelihood.mean(parameters), whole.mean(parameters), rtol=1e-3, atol=0.2
        )

    @pytest.mark.parametrize("n_channels", [1, 3])
    @pytest.mark.parametrize("maximum", ["auto", 255, 1.0, 25.5])
    def test_draws_are_exactly_the_values_of_levels(self, kind, maximum, n_channels):
        largest = 255.0 if maximum == "auto" else maximum
        x = torch.tensor(pixels()).float() * largest / 255
        config = {"maximum": maximum}
        likelihood = adapted(kind(**config), x, n_channels)
        assert likelihood.config["maximum"] == maximum
        torch.manual_seed(0)
        noise = [torch.randn(40, likelihood.n_outputs) for _ in range(2)]
        parameters = random_parameters(likelihood, 40)
        first, second = (
            likelihood.sample(parameters, lambda like: noise[0][:, : like.shape[1]])
            for _ in range(2)
        )
        assert torch.equal(first, second)
        assert first.dtype == torch.float64
        levels = (first * 255 / largest).round().detach()
        assert torch.equal(first.detach(), levels * largest / 255)
        assert set(levels.unique().tolist()) <= set(range(256))
        likelihood.check(first.detach())

    def test_link_is_standardised_by_one_number(self, kind):
        x = np.column_stack([pixels(n_columns=2), np.full(40, 9.0), pixels(seed=1)[:, 0] // 4])
        linked = adapted(kind(), x).link(torch.tensor(x)).double().numpy()
        np.testing.assert_allclose(linked.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(linked.var(0)[[0, 1, 3]].mean(), 1, rtol=1e-5)
        assert (linked[:, 2] == 0).all()

    def test_data_without_variance_have_finite_probabilities(self, kind):
        x = torch.full((4, 3), 7.0)
        likelihood = adapted(kind(), x)
        assert (likelihood.link(x) == 0).all()
        parameters = torch.zeros(4, likelihood.n_outputs)
        likelihood.fit_scale(x, parameters)
        assert (likelihood.log_prob(x, parameters) > -0.01).all()

    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_missing_cells_do_not_count(self, kind, n_channels):
        x = torch.tensor(pixels())
        gaps = torch.full_like(x, math.nan)
        summary = DataSummary.of([x], n_channels)
        fits = []
        for rows in (x, torch.cat((x, gaps))):
            likelihood = kind().adapt(summary)
            likelihood.check(rows)
            assert torch.equal(likelihood.link(rows).isnan(), rows.isnan())
            likelihood.fit_scale(rows, torch.zeros(len(rows), likelihood.n_outputs))
            fits.append(likelihood.log_scale.detach())
        torch.testing.assert_close(*fits)

    @pytest.mark.parametrize("value", [-1.0, 0.5, 256.0])
    def test_what_is_no_level_is_refused(self, kind, value):
        likelihood = adapted(kind(), pixels())
        x = torch.tensor([[3.0, value]])
        match = rf"needs multiples of 255/255 from 0 to 255; found {value:.4g}\. Pass the levels"
        with pytest.raises(ValueError, match=match):
            likelihood.check(x)
        with pytest.raises(ValueError, match=match):
            adapted(kind(maximum=255), [[0.0], [value]])

    def test_continuous_data_between_0_and_1_are_refused(self, kind):
        x = torch.linspace(0, 1, 1000)[:, None]
        likelihood = adapted(kind(), x)
        with pytest.raises(ValueError, match=r"needs multiples of 1/255 from 0 to 1; found 0\.00"):
            likelihood.check(x)

    @pytest.mark.parametrize("maximum", [0, -1.0, math.inf, math.nan, "largest", None])
    def test_other_maxima_are_refused(self, kind, maximum):
        with pytest.raises(ValueError, match="maximum must be 'auto' or a positive number; got"):
            adapted(kind(maximum=maximum), pixels())

    def test_there_are_at_least_two_levels(self, kind):
        with pytest.raises(ValueError, match="n_levels must be from 2 to 65536; got 1"):
            adapted(kind(n_levels=1), pixels())
        binary = adapted(kind(n_levels=2), [[0.0], [1.0]])
        p = binary.log_prob(torch.tensor([[0.0], [1.0]]), torch.zeros(2, binary.n_outputs)).exp()
        torch.testing.assert_close(p.detach(), torch.full((2, 1), 0.5))
