"""Latents that are distributed as those of some rows, on models whose posteriors are known."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.aggregate import AggregatePosterior
from sk_hvae.nn import Architecture, Categorical, DataSummary, Gaussian, build_hierarchy
from sk_hvae.nn.noise import GeneratorNoise
from sk_hvae.plotting import SampleDisplay


def seeded(seed):
    return GeneratorNoise(torch.Generator().manual_seed(seed))


def aggregate(module, x, seed=0):
    module.set_scales(x)
    with torch.inference_mode():
        return AggregatePosterior.of(module, ResidentRows(x), seeded(seed), seed)


def build(x, *sizes):
    """Return a model with weights by chance."""
    likelihood = Gaussian(sigma=1.0, scaling="columns").adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture(sizes, (4,)), likelihood).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in module.layers:
            for parameter in layer.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.fixture(scope="module")
def clustered():
    """Return rows of two clusters that are far apart, 300 and 100 of them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=generator)
    x[:300] += 6
    return x


@pytest.mark.parametrize("sizes", [(3,), (3, 2), (40,), (40, 2)])
def test_moments_are_those_of_the_posteriors(clustered, sizes):
    module = build(clustered, *sizes)
    found = aggregate(module, clustered)
    with torch.no_grad():
        encoded = torch.cat([module.encode(clustered, seeded(n))[0] for n in range(50)])
        expected = encoded * module.layers[0].scale
        drawn = found(20_000, seeded(7))
    spread = expected.std(0)
    # The mixture is fitted to 2,000 draws, and what it finds depends on last digits. Most of the
    # deviations are half as large as is allowed.
    np.testing.assert_allclose(drawn.mean(0) / spread, expected.mean(0) / spread, atol=0.2)
    np.testing.assert_allclose(drawn.std(0) / spread, np.ones(sizes[0]), atol=0.2)
    # The two clusters make the units go together.
    correlations, found_ones = np.corrcoef(expected.T), np.corrcoef(drawn.T)
    assert np.linalg.norm(found_ones - correlations) < 0.3 * np.linalg.norm(correlations)


def test_a_single_row_has_its_own_posterior(clustered):
    module, row = build(clustered, 3), clustered[:1]
    module.set_scales(clustered)
    with torch.inference_mode():
        found = AggregatePosterior.of(module, ResidentRows(row), seeded(0), 0)
        (posterior,) = module.infer(module.activations(row)).posteriors
        drawn = found(20_000, seeded(1))
    np.testing.assert_allclose(drawn.mean(0), posterior.mean[0], atol=0.1 * posterior.std.max())
    # A tenth of the variance is added, and some of the draws' own error.
    np.testing.assert_allclose(drawn.std(0), posterior.std[0], rtol=0.15)


def test_states_come_as_often_as_rows_have_them():
    x = torch.tensor([0.0] * 60 + [1.0] * 30 + [2.0] * 10)[:, None]
    likelihood = Categorical().adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((3,), (4,), top_layer="categorical"), likelihood).eval()
    found = aggregate(module, x.repeat(50, 1))
    with torch.no_grad():
        shares = module.encode(x)[0].mean(0).double().numpy()
        drawn = found(5000, seeded(3))
    assert set(drawn.sum(1).tolist()) == {1.0}
    assert chisquare(drawn.sum(0), 5000 * shares / shares.sum()).pvalue > 1e-3


@pytest.fixture(scope="module")
def fitted(clustered):
    return HierarchicalVAETransformer((1, 5), max_epochs=30, random_state=0).fit(clustered.numpy())


class TestSample:
    def test_draws_what_rows_are_like(self, fitted, clustered):
        few = fitted.sample(2000, like=clustered[300:].numpy())
        assert (few.mean(axis=1) < 3).mean() > 0.99
        both = fitted.sample(2000, like=clustered.numpy())
        assert (both.mean(axis=1) < 3).mean() == pytest.approx(0.25, abs=0.04)

    def test_is_between_clusters_less_often_than_the_prior(self, fitted, clustered):
        def between(samples):
            return (abs(samples.mean(axis=1) - 3) < 1.5).mean()

        like = fitted.sample(5000, mean=True, like=clustered.numpy())
        assert between(like) < 0.5 * between(fitted.sample(5000, mean=True))

    def test_is_the_same_for_the_same_seed(self, fitted, clustered):
        first, same, other = (
            fitted.sample(5, like=clustered.numpy(), random_state=seed) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)

    def test_meets_conditions(self, fitted, clustered):
        drawn = fitted.sample(200, like=clustered[300:].numpy(), given={0: (0.5, None)})
        assert (drawn[:, 0] >= 0.5).all()
        assert (drawn[:, 1:].mean(axis=1) < 3).mean() > 0.99

    def test_is_shown_as_it_is_drawn(self, fitted, clustered):
        X = clustered[300:].numpy()
        display = SampleDisplay.from_estimator(fitted, X, like=X, n_samples=50)
        np.testing.assert_array_equal(display.samples, fitted.sample(50, like=X))

    def test_refuses_rows_that_the_model_cannot_read(self, fitted, clustered):
        with pytest.raises(ValueError, match=r"^like does not suit the model: X has 4 features"):
            fitted.sample(5, like=clustered[:, :4].numpy())
        with pytest.raises(ValueError, match=r"^like does not suit the model: X has 4 features"):
            SampleDisplay.from_estimator(fitted, clustered.numpy(), like=clustered[:, :4].numpy())


def test_a_cluster_and_rows_are_not_both_asked_for(clustered):
    X = clustered.numpy()
    clusterer = HVAEClusterer(2, max_epochs=5, random_state=0).fit(X)
    drawn = clusterer.sample(500, like=X[300:])
    assert (clusterer.predict(drawn) == clusterer.predict(X[300:])[0]).mean() > 0.95
    with pytest.raises(ValueError, match="cluster and like both say"):
        clusterer.sample(5, cluster=0, like=X)


@pytest.mark.parametrize("is_like", [False, True])
def test_many_rows_are_drawn_in_parts(fitted, clustered, monkeypatch, is_like):
    like, sizes = clustered.numpy() if is_like else None, []
    decode = fitted.module_.decoder.forward
    monkeypatch.setattr(
        fitted.module_.decoder, "forward", lambda z: (sizes.append(len(z)), decode(z))[1]
    )
    monkeypatch.setattr("sk_hvae._fit.fitted._DRAWN_AT_ONCE", 400)
    drawn = fitted.sample(1000, like=like, random_state=0)
    assert sizes == [400, 400, 200]
    assert len(np.unique(drawn, axis=0)) == 1000
