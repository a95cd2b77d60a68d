"""Information, rates and likelihood of linear-Gaussian models, whose values are known."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import make_spd_matrix

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae.metrics import log_likelihood, mutual_information
from sk_hvae.metrics._information import _about_x, _Densities, _densities, _infer
from sk_hvae.nn.latents.gaussian import GaussianPosterior, GaussianPrior
from sk_hvae.nn.noise import GeneratorNoise

pytestmark = pytest.mark.slow


class Affine(NamedTuple):
    """A function of known form: matrix and offset."""

    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, function, n_inputs):
        """Read an affine function of rows (b, n_inputs) off its values."""
        values = (
            function(torch.cat((torch.zeros(1, n_inputs), torch.eye(n_inputs)))).double().numpy()
        )
        return cls((values[1:] - values[0]).T, values[0])


class LinearModel:
    """A two-layer model of hidden layers that put out nothing, and what follows from it.

    z_2 = to_z2(x) + noise, z_1 = to_z1(x, z_2) + noise; a priori z_1 = prior(z_2) + noise, and
    x = decoder(z_1) + noise. All in the units of the module.
    """

    def __init__(self, X, inference, rates=(1.5, 1)):
        # A learning rate of almost nothing leaves the linear code that training starts at.
        self.hvae = HierarchicalVAETransformer(
            rates, n_components=(2, 1), inference=inference, lr=1e-12, max_epochs=1,
            random_state=0, hidden_layer_sizes=(4,),
        )  # fmt: skip
        self.hvae.fit(X)
        module, n = self.hvae.module_, X.shape[1]
        with torch.no_grad():
            bottom, top = module.layers

            def upper(x):
                return top.posterior(module.activations(x), None)

            def lower(x_and_z):
                x, z = x_and_z[:, :n].contiguous(), x_and_z[:, n:]
                return bottom.posterior(module.activations(x), z)

            def data(z):
                return module.likelihood.mean(module.decoder(z))

            self.to_z2 = Affine.of(lambda x: upper(x).mean, n)
            self.std_2 = upper(torch.zeros(1, n)).std[0].double().numpy()
            self.to_z1 = Affine.of(lambda both: lower(both).mean, n + 1)
            self.std_1 = lower(torch.zeros(1, n + 1)).std[0].double().numpy()
            self.prior = Affine.of(lambda z: bottom.prior(z, len(z)).mean, 1)
            self.prior_std = bottom.prior(torch.zeros(1, 1), 1).std[0].double().numpy()
            self.decoder = Affine.of(data, 2)
            parameters = module.decoder(torch.zeros(20_000, 2))
            noise = torch.randn(20_000, n, generator=torch.Generator().manual_seed(0))
            drawn = module.likelihood.sample(parameters, lambda like: noise)
            self.data_std = ((drawn - data(torch.zeros(1, 2))) / noise).mean(0).double().numpy()

    def rates(self, X):
        """Exact rates of rows, bits."""
        mean_2 = X @ self.to_z2.matrix.T + self.to_z2.offset
        rate_2 = 0.5 * (mean_2**2 + self.std_2**2 - 1) - np.log(self.std_2)
        n = X.shape[1]
        from_x, from_z = self.to_z1.matrix[:, :n], self.to_z1.matrix[:, n:] - self.prior.matrix
        offset = X @ from_x.T + mean_2 @ from_z.T + self.to_z1.offset - self.prior.offset
        square = offset**2 + (from_z * self.std_2) ** 2 @ np.ones(1)
        ratio = self.std_1 / self.prior_std
        rate_1 = 0.5 * (square / self.prior_std**2 + ratio**2 - 1) - np.log(ratio)
        return np.array([rate_1.sum(1).mean(), rate_2.sum(1).mean()]) / math.log(2)

    def log_likelihood(self, X):
        """Exact ln p(x) of rows, nats."""
        mean = self.decoder.matrix @ self.prior.offset + self.decoder.offset
        of_z1 = self.prior.matrix @ self.prior.matrix.T + np.diag(self.prior_std**2)
        covariance = self.decoder.matrix @ of_z1 @ self.decoder.matrix.T + np.diag(self.data_std**2)
        return multivariate_normal(mean, covariance).logpdf(X)

    def information(self, covariance):
        """Exact information of z_1 and of z_2 about Gaussian data, bits."""
        n = len(covariance)
        from_z = self.to_z1.matrix[:, n:]
        total = self.to_z1.matrix[:, :n] + from_z @ self.to_z2.matrix
        noise_2 = np.diag(self.std_2**2)
        noise_1 = from_z @ noise_2 @ from_z.T + np.diag(self.std_1**2)
        return np.array(
            [
                0.5 * math.log2(np.linalg.det(m @ covariance @ m.T + s) / np.linalg.det(s))
                for m, s in ((total, noise_1), (self.to_z2.matrix, noise_2))
            ]
        )


COVARIANCE = make_spd_matrix(3, random_state=0) + np.diag([3.0, 0.5, 0.1])


@pytest.fixture(scope="module", params=["top_down", "ladder"])
def model_and_data(request):
    X = np.random.default_rng(0).multivariate_normal([1, -2, 0.5], COVARIANCE, 3000)
    X = X.astype(np.float32).astype(float)
    return LinearModel(X, request.param), X


def test_rates(model_and_data):
    model, X = model_and_data
    measured = model.hvae.rates(X)
    error = measured.std(axis=0) / len(X) ** 0.5
    assert (np.abs(measured.mean(axis=0) - model.rates(X)) < 4 * error).all()
    np.testing.assert_allclose(measured.mean(axis=0), model.rates(X), rtol=0.02)


def test_likelihood(model_and_data):
    model, X = model_and_data
    exact = model.log_likelihood(X[:300])
    few, many = (log_likelihood(model.hvae, X[:300], k) for k in (1, 1000))
    assert few.mean() < many.mean()
    assert np.median(np.abs(many - exact)) < 0.1
    assert many.mean() == pytest.approx(exact.mean(), abs=0.02)


def test_likelihood_is_a_lower_bound_that_begins_at_the_elbo(model_and_data):
    model, X = model_and_data
    found = [log_likelihood(model.hvae, X, k).mean() for k in (1, 4, 16)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(model.hvae.score(X), abs=0.03)
    assert found[-1] < model.log_likelihood(X).mean() + 0.01


def test_likelihood_of_a_row_depends_on_no_other(model_and_data):
    model, X = model_and_data
    together = log_likelihood(model.hvae, X[:20], 5)
    np.testing.assert_allclose(log_likelihood(model.hvae, X[7:9], 5), together[7:9], rtol=1e-5)


def test_information_about_data_lies_between_the_estimates(model_and_data):
    model, X = model_and_data
    exact = model.information(COVARIANCE)
    found = mutual_information(model.hvae, X, random_state=0)
    assert (found.lower < exact + 4 * found.lower_error).all()
    assert (found.upper > exact - 4 * found.upper_error).all()
    np.testing.assert_allclose([found.lower[1], found.upper[1]], exact[1], atol=0.15)
    assert found.lower[0] > 0.8 * exact[0]
    assert (found.upper < np.cumsum(model.rates(X)[::-1])[::-1] + 0.2).all()


def assert_on_the_right_sides(runs, exact):
    """Compare means over runs with what is to lie between, within two standard errors."""
    lower, upper = np.array([r.lower for r in runs]), np.array([r.upper for r in runs])
    assert (lower.mean(axis=0) - 2 * lower.std(axis=0) / len(runs) ** 0.5 < exact).all()
    assert (upper.mean(axis=0) + 2 * upper.std(axis=0) / len(runs) ** 0.5 > exact).all()


@pytest.mark.parametrize(("n_rows", "n_draws"), [(40, 4), (8, 2)])
def test_bias_has_the_direction_that_it_is_said_to_have(model_and_data, n_rows, n_draws):
    model, X = model_and_data
    runs = [
        mutual_information(model.hvae, X, n_rows=n_rows, n_draws=n_draws, random_state=seed)
        for seed in range(100)
    ]
    assert_on_the_right_sides(runs, model.information(COVARIANCE))


def test_rows_that_are_far_apart():
    pairs = torch.full((6, 6), -100.0, dtype=torch.double).fill_diagonal_(0.0)
    lower, upper = _about_x(_Densities(pairs, pairs))
    torch.testing.assert_close(lower[0], torch.full((6,), math.log(6), dtype=torch.double))
    torch.testing.assert_close(upper[0], torch.full((6,), 100.0, dtype=torch.double))


def test_upper_estimates_are_no_more_than_the_rates():
    X = np.random.default_rng(0).multivariate_normal([1, -2, 0.5], COVARIANCE, 1000)
    model = LinearModel(X, "top_down", rates=(7, 1))
    runs = [
        mutual_information(model.hvae, X, n_rows=20, n_draws=2, random_state=seed)
        for seed in range(40)
    ]
    assert np.mean([run.upper[0] for run in runs]) < 1.05 * model.rates(X).sum()


def test_the_critic_does_not_know_the_layer_above_that_a_sample_came_from(model_and_data):
    model, X = model_and_data
    rows, generator = torch.tensor(X[:50]).float(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        draws = _infer(model.hvae.module_, rows, GeneratorNoise(generator), 3)
        others = _infer(model.hvae.module_, rows, GeneratorNoise(generator), 1)
        swapped = [draws[0]._replace(posteriors=others[0].posteriors), *draws[1:]]
        both, other = _densities(draws, 0), _densities(swapped, 0)
    torch.testing.assert_close(both.critic, other.critic)
    assert not torch.allclose(both.mixture, other.mixture)


@pytest.fixture(scope="module")
def two_classes():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 4000)
    X = rng.normal(size=(4000, 2)) * [1, 0.3] + 2.2 * (y[:, None] - 0.5) * [1, 0.2]
    return X.astype(np.float32).astype(float), y


def test_information_about_labels_lies_between_the_estimates(two_classes):
    X, y = two_classes
    model = LinearModel(X, "top_down")
    # z_2 has one unit: given the class it is Gaussian, up to the classes' sampled moments.
    direction = model.to_z2.matrix[0]
    centre = direction @ [1.1, 0.22]
    std = math.sqrt(direction**2 @ [1, 0.09] + model.std_2[0] ** 2)

    def excess(z):
        mixture = 0.5 * (norm.pdf(z, centre, std) + norm.pdf(z, -centre, std))
        one = norm.pdf(z, centre, std)
        return one * math.log2(one / mixture) if one > 0 else 0.0

    exact = quad(excess, -10 * std - abs(centre), 10 * std + abs(centre))[0]
    found = mutual_information(model.hvae, X, y, n_draws=8, random_state=0)
    assert found.lower[1] == pytest.approx(exact, abs=0.05)
    assert found.upper[1] == pytest.approx(exact, abs=0.05)
    assert found.lower[1] < exact + 3 * found.lower_error[1]
    assert (found.lower < found.upper + 0.01).all()
    assert (found.upper <= 1.0 + 1e-9).all()


@pytest.mark.parametrize("n_rows", [20, 500])
def test_labels_of_noise_carry_nothing(two_classes, n_rows):
    X, y = two_classes
    model = LinearModel(X, "top_down")
    shuffled = np.random.default_rng(0).permutation(y)
    runs = [
        mutual_information(model.hvae, X, shuffled, n_rows=n_rows, n_draws=2, random_state=seed)
        for seed in range(40)
    ]
    assert_on_the_right_sides(runs, np.zeros(2))


def test_the_upper_estimate_for_clear_classes_is_not_below_their_entropy():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 200)
    X = 10 * np.eye(5)[y] + 0.1 * rng.normal(size=(1000, 5))
    hvae = HierarchicalVAETransformer(16.0, lr=1e-12, max_epochs=1, random_state=0).fit(X)
    runs = [mutual_information(hvae, X, y, n_rows=60, random_state=seed) for seed in range(60)]
    assert_on_the_right_sides(runs, np.array([math.log2(5)]))


def test_states_of_a_cluster_layer(iris):
    clusterer = HVAEClusterer(2, max_epochs=30, random_state=0).fit(iris)
    found = mutual_information(clusterer, iris, random_state=0)
    assert found.lower[1] == pytest.approx(clusterer.rates_[1], abs=0.15)
    assert found.upper[1] < 1.1
    assert np.isfinite(log_likelihood(clusterer, iris, 5)).all()


def test_pairs_of_latents_and_posteriors_match_torch():
    generator = torch.Generator().manual_seed(0)
    mean, std, z = (torch.randn(5, 3, generator=generator).double() for _ in range(3))
    std = std.exp()
    prior = GaussianPrior(torch.randn(5, 3, generator=generator).double(), std.flip(0))
    q = GaussianPosterior(prior, (mean - prior.mean) / prior.std, std / prior.std)
    reference = torch.distributions.Normal(mean, std)
    cross = reference.log_prob(z[:, None]).sum(2)
    torch.testing.assert_close(q.cross_log_prob(z), cross)
    of_prior = torch.distributions.Normal(prior.mean, prior.std).log_prob(z).sum(1)
    torch.testing.assert_close(q.log_ratio(z), cross.diagonal() - of_prior)


def test_errors(fitted, iris):
    labels = np.repeat([0, 1], [149, 1])
    with pytest.raises(ValueError, match=r"every class needs 2 rows.*class 1 has 1.*leave rare"):
        mutual_information(fitted, iris, labels)
    with pytest.raises(ValueError, match="n_draws must be an int of at least 2; got 1"):
        mutual_information(fitted, iris, n_draws=1)
    with pytest.raises(ValueError, match="n_rows must be an int of at least 2; got 1"):
        mutual_information(fitted, iris, n_rows=1)
    with pytest.raises(ValueError, match="n_samples must be an int of at least 1; got 0"):
        log_likelihood(fitted, iris, 0)
