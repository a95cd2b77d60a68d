import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from sk_hvae.nn import (
    Architecture,
    DataSummary,
    DiscretizedLogisticMixture,
    Gaussian,
    build_hierarchy,
)
from sk_hvae.nn.linear_start import (
    PrincipalComponents,
    finest_rate,
    linear_codes,
    start_at_clusters,
    start_at_linear_code,
    start_at_pca,
    start_at_slope,
)
from sk_hvae.nn.noise import GeneratorNoise

INFERENCE = pytest.mark.parametrize("inference", ["top_down", "ladder"])


def water_level(variances, rate):
    """Level of the reverse water-filling that costs ``rate`` nats, by root finding."""

    def excess(log_level):
        return np.maximum(0, 0.5 * (np.log(variances) - log_level)).sum() - rate

    return math.exp(brentq(excess, np.log(variances.min()) - 2 * rate, np.log(variances.max())))


def gaussian_sample(variances, n_rows=20000, seed=0):
    """Rows whose sample mean is 0 and sample covariance a rotation of the given variances.

    Returns rows, and the orthonormal directions.
    """
    rng = np.random.default_rng(seed)
    d = len(variances)
    white = rng.normal(size=(n_rows, d))
    white = np.linalg.svd(white - white.mean(0), full_matrices=False)[0]
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0]
    rows = white * np.sqrt(n_rows * np.asarray(variances)) @ directions
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(directions, dtype=torch.float32)


def linear_problem(variances, sizes, inference="top_down", sigma="learned"):
    """Data, untrained model and principal components on the model's scale, with a mean off 0."""
    x, directions = gaussian_sample(variances)
    likelihood = Gaussian(sigma, scaling="shared").adapt(DataSummary.of([x]))
    x = x + torch.arange(1.0, 1.0 + len(variances))
    mean = likelihood.link(x).mean(0)
    torch.manual_seed(0)
    model = build_hierarchy(Architecture(sizes, (6,), inference=inference), likelihood)
    n = min(len(variances), max(sizes))
    linked = torch.tensor(variances)[:n] / likelihood.scale.float()[0] ** 2
    components = PrincipalComponents(directions[:n], linked, mean)
    return x, model.requires_grad_(requires_grad=False), components


def measured(model, x, seed=0):
    """Rates per layer in nats, and the squared error per row, on the model's scale."""
    output = model(x, GeneratorNoise(torch.Generator().manual_seed(seed)))
    error = model.likelihood.link(x) - model.decoder(output.latents[0])
    return output.rates.mean(0), error.square().sum(1).mean().item()


def principal_components(linked, n):
    """Principal components of all rows (b, n_linked), by an eigendecomposition in numpy."""
    linked = linked.double().numpy()
    variances, directions = np.linalg.eigh(np.cov(linked.T))
    order = np.argsort(-variances)[:n]
    parts = directions.T[order], variances[order], linked.mean(0)
    return PrincipalComponents(*(torch.tensor(part, dtype=torch.float32) for part in parts))


def started_model(x, likelihood, rates, sizes, n_components=None, **settings):
    """A model of raw data, with its principal components, started at PCA."""
    torch.manual_seed(0)
    model = build_hierarchy(Architecture(sizes, **settings), likelihood)
    model.requires_grad_(requires_grad=False)
    if model.missing is not None:
        model.missing.fit(likelihood.link(x), torch.Generator().manual_seed(0))
    linked = model.inputs(x)[:, : likelihood.n_linked]
    components = principal_components(linked, n_components or max(sizes))
    start_at_pca(model, x, components, rates)
    return model, components


def blobs(n_clusters=4, n_rows=400, n_features=6, seed=0):
    """Well separated clusters of equal size; returns rows, labels and centres."""
    rng = np.random.default_rng(seed)
    centres = 10 * np.linalg.qr(rng.normal(size=(n_features, n_features)))[0][:n_clusters]
    labels = np.arange(n_rows) % n_clusters
    rows = centres[labels] + rng.normal(size=(n_rows, n_features))
    return torch.tensor(rows, dtype=torch.float32), labels, centres


class TestLinearCodes:
    @pytest.mark.parametrize(
        ("rates", "sizes"),
        [((2.0,), (3,)), ((1.0, 4.0), (5, 2)), ((3.0, 5.0), (2, 9)), ((1.0, 2.0, 3.0), (4, 2, 3))],
    )
    def test_every_layer_costs_its_rate(self, rates, sizes):
        codes = linear_codes(torch.tensor([5.0, 2.0, 1.0, 0.5, 0.1]), rates, sizes)
        total = [float(-0.5 * torch.log1p(-code.signal.square()).sum()) for code in codes]
        np.testing.assert_allclose(np.subtract(total, [*total[1:], 0]), rates, rtol=1e-6)

    def test_layers_are_as_wide_as_units_and_components_allow(self):
        codes = linear_codes(torch.tensor([3.0, 2.0, 1.0]), (1.0, 1.0), (2, 9))
        assert [len(code.signal) for code in codes] == [2, 3]

    def test_a_layer_leaves_out_components_that_the_layer_below_cannot_pass_on(self):
        _, upper = linear_codes(torch.tensor([3.0, 2.0, 1.0]), (1.0, 5.0), (2, 3))
        assert (upper.signal > 0).tolist() == [True, True, False]

    def test_the_signal_reaches_a_layer_through_the_one_below(self):
        lower, upper = linear_codes(torch.tensor([3.0, 2.0, 1.0]), (1.0, 2.0), (3, 3))
        torch.testing.assert_close(lower.signal * lower.above, upper.signal)
        assert (upper.above == 0).all()

    def test_a_layer_with_almost_no_rate_of_its_own_is_still_a_code(self):
        codes = linear_codes(torch.tensor([3.0, 2.0]), (1e-9, 2.0), (2, 2))
        for code in codes:
            assert ((code.signal >= 0) & (code.signal < 1)).all()
            assert ((code.above >= 0) & (code.above < 1)).all()


@INFERENCE
@pytest.mark.parametrize(
    ("rates", "sizes"),
    [
        ((3.0,), (4,)),
        ((0.5,), (4,)),
        ((2.0, 2.0), (4, 4)),
        ((3.0, 0.5), (4, 2)),
        ((1.0, 1.0, 2.0), (4, 3, 4)),
        ((2.0, 0.7, 0.5), (3, 4, 1)),
        ((2.0, 1.0), (8, 6)),  # more units than columns
    ],
)
def test_the_linear_start_has_the_asked_rates_and_the_least_error(inference, rates, sizes):
    variances = [4.0, 2.0, 1.0, 0.5]
    x, model, components = linear_problem(variances, sizes, inference)

    start_at_linear_code(model, components, rates)

    result, error = measured(model, x)
    np.testing.assert_allclose(result, rates, rtol=0.02)
    coded = np.array(variances)[: min(sizes[0], len(variances))]
    least = np.minimum(coded, water_level(coded, sum(rates))).sum() + sum(variances[len(coded) :])
    assert error == pytest.approx(least / model.likelihood.scale[0].item() ** 2, rel=0.02)


@INFERENCE
def test_the_prior_of_the_linear_start_is_the_aggregate_of_the_posteriors(inference):
    x, model, components = linear_problem([4.0, 2.0, 1.0, 0.5], (4, 3), inference)
    start_at_linear_code(model, components, (2.0, 1.5))
    z_1, z_2 = model.encode(x, GeneratorNoise(torch.Generator().manual_seed(0)))
    for z in (z_1, z_2):
        torch.testing.assert_close(z.T.cov(), torch.eye(z.shape[1]), atol=0.05, rtol=0)


class TestStartAtPCA:
    @INFERENCE
    @pytest.mark.parametrize("sizes", [(4,), (4, 4), (4, 4, 4)])
    def test_the_slope_is_water_level_over_mean_squared_error(self, inference, sizes):
        # At sigma^2 = MSE per feature, D = |error|^2 / (2 MSE) + const and d|error|^2/dR = -2
        # level: the level is the same for all components that are coded.
        variances = np.array([4.0, 2.0, 1.0, 0.5])
        rate = 0.6
        x, model, components = linear_problem(variances.tolist(), sizes, inference)
        level = water_level(variances, rate)
        mse = np.minimum(variances, level).sum() / 4

        slope = start_at_pca(model, x, components, [rate / len(sizes)] * len(sizes))

        assert slope == pytest.approx(level / mse, rel=0.1)

    @INFERENCE
    def test_the_model_is_left_at_the_asked_rates_with_its_own_sigma(self, inference):
        x, model, components = linear_problem([4.0, 2.0, 1.0, 0.5], (4, 4), inference)

        start_at_pca(model, x, components, [2.0, 1.0])

        rates, error = measured(model, x)
        np.testing.assert_allclose(rates, [2.0, 1.0], rtol=0.02)
        sigma = model.likelihood.log_sigma.exp().item()
        assert sigma == pytest.approx(math.sqrt(error / 4), rel=0.02)

    def test_data_without_variance_start_at_a_slope_of_1(self):
        x = torch.zeros(10, 3)
        likelihood = Gaussian().adapt(DataSummary.of([x]))
        model = build_hierarchy(Architecture((2,), (6,)), likelihood)
        components = PrincipalComponents(torch.zeros(0, 3), torch.zeros(0), torch.zeros(3))
        assert start_at_pca(model, x, components, [1.0]) == 1

    def test_the_slope_is_positive_and_finite_where_rate_buys_nothing_more(self):
        x, model, components = linear_problem([4.0, 2.0], (2,), sigma=10.0)
        slope = start_at_pca(model, x, components, [30.0])
        assert 0 < slope < 0.1


class TestStartAtSlope:
    @pytest.mark.parametrize("betas", [(1.0,), (1.0, 3.0), (4.0, 1.0, 2.0)])
    def test_rates_double_until_they_cost_more_than_they_gain(self, betas):
        # Four components of variance 1 at rate R have level exp(-R / 2); a nat buys
        # level / sigma^2 nats, 6.2 at 8 ln 2 nats and 0.4 at 16 ln 2.
        sizes = (4,) * len(betas)
        x, model, components = linear_problem([1.0] * 4, sizes, sigma=0.1)

        start_at_slope(model, x, components, betas)

        expected = [16 * math.log(2) / len(betas)] * len(betas)
        np.testing.assert_allclose(measured(model, x)[0], expected, rtol=0.02)

    def test_a_price_that_no_rate_is_worth_starts_at_the_least_rate(self):
        x, model, components = linear_problem([1.0] * 4, (4,), sigma=10.0)
        start_at_slope(model, x, components, (50.0,))
        assert measured(model, x)[0].item() == pytest.approx(math.log(2), rel=0.02)

    def test_data_without_variance_are_accepted(self):
        x = torch.zeros(10, 3)
        likelihood = Gaussian().adapt(DataSummary.of([x]))
        model = build_hierarchy(Architecture((2,), (6,)), likelihood)
        components = PrincipalComponents(torch.zeros(0, 3), torch.zeros(0), torch.zeros(3))
        start_at_slope(model, x, components, (1e-6,))
        assert model.encode(x)[0].abs().max() == 0


class TestOtherModels:
    @INFERENCE
    @pytest.mark.parametrize("rates", [(3.0, 2.0, 4.0), (1.0, 5.0, 2.0)])
    def test_a_convolutional_model_of_three_layers_starts_at_its_rates(self, inference, rates):
        variances = np.geomspace(5.0, 0.05, 35)
        x, _ = gaussian_sample(variances, n_rows=5000)
        likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
        model, _ = started_model(
            x,
            likelihood,
            rates,
            (10, 9, 8),
            hidden_layer_sizes=(7,),
            network="conv",
            image_shape=(1, 5, 7),
            inference=inference,
        )

        result, error = measured(model, x)

        np.testing.assert_allclose(result, rates, rtol=0.02)
        coded = variances[:10]
        # The upper layers read 8 components, so the code of the first ten is not quite the best.
        least = np.minimum(coded, water_level(coded, sum(rates))).sum() + variances[10:].sum()
        assert error == pytest.approx(least / likelihood.scale[0].item() ** 2, rel=0.03)

    @INFERENCE
    def test_parameters_beside_the_locations_start_at_zero(self, inference):
        # Levels of a linear-Gaussian source, coarse enough to be far from both ends.
        x, _ = gaussian_sample([900.0, 400.0, 100.0, 25.0], n_rows=5000)
        x = (x + 128).round().clamp(0, 255)
        likelihood = DiscretizedLogisticMixture(3).adapt(DataSummary.of([x]))
        rates = (3.0, 1.5)
        model, components = started_model(
            x, likelihood, rates, (4, 4), hidden_layer_sizes=(6,), inference=inference
        )

        output = model(x, GeneratorNoise(torch.Generator().manual_seed(0)))
        parameters = model.decoder(output.latents[0])

        assert parameters.shape == (5000, likelihood.n_outputs)
        assert parameters[:, 4:].abs().max() == 0
        np.testing.assert_allclose(output.rates.mean(0), rates, rtol=0.02)
        variances = components.variances.double().numpy()
        least = np.minimum(variances, water_level(variances, sum(rates))).sum()
        error = (likelihood.link(x) - parameters[:, :4]).square().sum(1).mean().item()
        assert error == pytest.approx(least, rel=0.03)
        decoded = (likelihood.link(likelihood.mean(parameters)) - parameters[:, :4]).square()
        assert decoded.sum(1).mean() < 0.05 * least

    @INFERENCE
    def test_missing_cells_leave_the_rates_as_asked(self, inference):
        x, _ = gaussian_sample([4.0, 2.0, 1.0, 0.5, 0.1], n_rows=5000)
        x[torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.2] = torch.nan
        likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
        rates = (2.0, 1.0)

        model, components = started_model(
            x, likelihood, rates, (4, 4), hidden_layer_sizes=(6,), inference=inference, missing=True
        )

        output = model(x, GeneratorNoise(torch.Generator().manual_seed(0)))
        np.testing.assert_allclose(output.rates.mean(0), rates, rtol=0.03)
        assert output.distortion.isfinite().all()
        # What is filled in is coded as if it had been there.
        variances = components.variances.double().numpy()
        rest = model.inputs(x)[:, :5].double().var(0).sum().item() - variances.sum()
        least = np.minimum(variances, water_level(variances, sum(rates))).sum() + rest
        error = model.inputs(x)[:, :5] - model.decoder(output.latents[0])
        assert error.square().sum(1).mean().item() == pytest.approx(least, rel=0.03)
        seen = (likelihood.link(x) - model.decoder(output.latents[0])).square().nanmean()
        assert likelihood.log_sigma.exp().item() == pytest.approx(seen.sqrt().item(), rel=0.02)


@INFERENCE
def test_the_slope_is_that_of_all_the_bits(inference):
    # The Gaussian layers code what the states will tell. Over noise, the slope of 20,000 rows has
    # a standard deviation of half a percent.
    x, _ = gaussian_sample([4.0, 2.0, 1.0, 0.5])
    slopes = []
    for sizes, rates, top_layer in [
        ((4,), (2.5,), "gaussian"),
        ((4, 5), (1.0, 1.5), "categorical"),
    ]:
        torch.manual_seed(0)
        likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
        architecture = Architecture(sizes, (6,), inference=inference, top_layer=top_layer)
        model = build_hierarchy(architecture, likelihood)
        components = principal_components(likelihood.link(x), 4)
        slopes.append(start_at_pca(model, x, components, rates))
    assert slopes[1] == pytest.approx(slopes[0], rel=0.02)


class TestStartAtClusters:
    def start(self, rate, sizes=(3, 4), holes=0.0, **settings):
        x, labels, centres = blobs(sizes[-1])
        x[torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < holes] = torch.nan
        likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
        rates = [1.0] * (len(sizes) - 1) + [rate]
        model, components = started_model(
            x,
            likelihood,
            rates,
            sizes,
            hidden_layer_sizes=(6,),
            top_layer="categorical",
            missing=holes > 0,
            **settings,
        )
        linked = likelihood.link(torch.tensor(centres, dtype=torch.float32))
        scores = (linked - components.mean) @ components.directions.T
        before = model(x, model.row_noise(x)).rates
        start_at_clusters(model, x, components, scores, rates)
        return x, labels, model, before

    @INFERENCE
    @pytest.mark.parametrize("rate", [0.01, 0.3, 1.0, 1.38])
    @pytest.mark.parametrize("sizes", [(4,), (3, 4), (5, 2, 4)])
    def test_the_layer_has_the_asked_rate(self, inference, rate, sizes):
        x, _, model, before = self.start(rate, sizes, inference=inference)
        rates = model(x, model.row_noise(x)).rates
        assert rates[:, -1].mean().item() == pytest.approx(rate, abs=1e-3)
        if inference == "top_down":
            torch.testing.assert_close(rates[:, :-2], before[:, :-2])

    @INFERENCE
    @pytest.mark.parametrize("rate", [0.3, 1.0])
    @pytest.mark.parametrize("sizes", [(3, 4), (5, 2, 4)])
    def test_the_layer_below_need_not_tell_what_the_state_tells(self, inference, rate, sizes):
        x, _, model, before = self.start(rate, sizes, inference=inference)
        saved = (before - model(x, model.row_noise(x)).rates)[:, -2].mean().item()
        assert 0.3 * rate < saved < 2 * rate

    def test_the_prior_of_a_state_has_the_moments_of_its_codes(self):
        x, _, model, _ = self.start(1.38)
        z = model.encode(x)[0] * model.layers[0].scale
        prior = model.layers[0].prior(torch.eye(4), 4)
        states = model.encode(x)[-1].argmax(1)
        for state in range(4):
            codes = z[states == state]
            torch.testing.assert_close(prior.mean[state], codes.mean(0), atol=0.05, rtol=0.05)

    @pytest.mark.parametrize("rate", [0.3, 1.3])
    @pytest.mark.parametrize("n_states", [2, 4, 6])
    def test_the_most_probable_state_is_the_cluster(self, rate, n_states):
        rate = rate * math.log(n_states) / math.log(4)
        x, labels, model, _ = self.start(rate, (3, n_states))
        probabilities = model.encode(x)[-1]
        assert (probabilities.argmax(1).numpy() == labels).all()

    def test_assignments_are_softmax_of_distances_to_the_centres(self):
        x, _, model, _ = self.start(0.7)
        components = principal_components(model.inputs(x), 4)
        centres = model.likelihood.link(torch.tensor(blobs(4)[2], dtype=torch.float32))
        scores, projected = (
            (rows - components.mean) @ components.directions.T
            for rows in (model.inputs(x), centres)
        )
        distances = torch.cdist(scores, projected).square()
        logits = model.layers[-1].posterior(model.activations(x), None).log_probs
        # Logits are -distance / (2 temperature) up to a common term.
        centred = logits - logits.mean(1, keepdim=True)
        expected = -(distances - distances.mean(1, keepdim=True))
        slope = (centred * expected).sum() / expected.square().sum()
        assert slope > 0
        torch.testing.assert_close(centred, slope * expected, rtol=1e-3, atol=1e-3)

    @INFERENCE
    def test_rows_with_missing_cells_are_assigned_too(self, inference):
        x, labels, model, _ = self.start(1.0, holes=0.2, inference=inference)
        assert x.isnan().any(1).float().mean() > 0.5
        output = model(x, model.row_noise(x))
        assert output.rates[:, -1].mean().item() == pytest.approx(1.0, abs=1e-3)
        assert output.distortion.isfinite().all()
        accuracy = (model.encode(x)[-1].argmax(1).numpy() == labels).mean()
        assert accuracy > 0.95

    def test_a_rate_out_of_reach_still_gives_finite_assignments(self):
        x, labels, model, _ = self.start(5.0)
        probabilities = model.encode(x)[-1]
        assert probabilities.isfinite().all()
        assert (probabilities.argmax(1).numpy() == labels).all()
        assert model(x, model.row_noise(x)).rates[:, -1].mean() <= math.log(4) + 1e-5

    @pytest.mark.parametrize("rate", [math.log(4), 5.0])
    def test_a_rate_out_of_reach_leaves_logits_that_can_learn(self, rate):
        x, _, model, _ = self.start(rate)
        linear = model.layers[-1].logits_net.linear.requires_grad_()
        model.layers[-1].posterior(model.activations(x), None).kl().mean().backward()
        assert linear.bias.grad.abs().max() > 0

    def test_centres_that_coincide_share_their_rows(self):
        x, _, centres = blobs(2)
        likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
        rates = [1.0, 0.5]
        model, components = started_model(
            x, likelihood, rates, (3, 4), hidden_layer_sizes=(6,), top_layer="categorical"
        )
        linked = likelihood.link(torch.tensor(centres, dtype=torch.float32))
        scores = (linked - components.mean) @ components.directions.T
        start_at_clusters(model, x, components, scores[[0, 1, 0, 1]], rates)
        probabilities = model.encode(x)[-1]
        torch.testing.assert_close(probabilities[:, :2], probabilities[:, 2:])
        assert model.layers[-1].posterior(model.activations(x), None).kl().mean().item() == (
            pytest.approx(0.5, abs=1e-3)
        )


class TestFinestRate:
    def test_it_leaves_a_64th_of_the_spread(self):
        variances = np.array([4.0, 1.0, 0.5, 1e-5])
        rate = finest_rate(torch.tensor(variances))
        assert water_level(variances, rate) == pytest.approx(variances.mean() / 64**2)

    def test_constant_data_set_no_limit(self):
        assert finest_rate(torch.zeros(0)) == math.inf
