"""How typical rows are, against Mahalanobis distances by brute force."""

import numpy as np
import pandas as pd
import pytest
import torch

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
from sk_hvae._fit.copula import Factors
from sk_hvae._sklearn.fitted_state import fitted_of

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
TINY = {"n_components": 1, "hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    """Two skewed columns that nearly tell each other, and one of its own."""
    normal = np.random.default_rng(0).normal(size=(1500, 3))
    normal[:, 1] = 0.95 * normal[:, 0] + np.sqrt(1 - 0.95**2) * normal[:, 1]
    return pd.DataFrame(np.exp(normal), columns=["length", "width", "weight"])


@pytest.fixture(scope="module")
def model(frame):
    """With latents that tell next to nothing, so that the noise is the whole row."""
    return HierarchicalVAETransformer(1e-3, **TINY).fit(frame)


def mismatched(frame):
    """Return rows of which one has two ordinary cells that do not go together."""
    few = frame.head(100).copy()
    few.loc[7, ["length", "width"]] = frame["length"].quantile([0.1, 0.9]).to_numpy()
    return few


def test_the_length_is_that_of_the_part_that_is_there():
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(6, 2, generator=generator).double()
    own_variance = torch.linspace(0.1, 2.0, 6).double()
    noise = torch.randn(20, 6, generator=generator).double()
    is_there = torch.rand(noise.shape, generator=generator) < 0.6
    found = Factors(loadings, own_variance).squared_length(noise, is_there)
    covariance = (loadings @ loadings.T + own_variance.diag()).numpy()
    for row, there, length in zip(noise.numpy(), is_there.numpy(), found, strict=True):
        inverse = np.linalg.inv(covariance[np.ix_(there, there)])
        assert float(length) == pytest.approx(row[there] @ inverse @ row[there])


def test_rows_are_as_typical_as_their_noise(model, frame):
    module, copula = model.module_, fitted_of(model).copula
    x = torch.tensor(frame.to_numpy())
    with torch.inference_mode():
        location = module.decoder(torch.zeros(1, 1))[0, :3]
        noise = (module.link(x) - location) / module.likelihood.log_sigma.exp()
    noise = noise.double().numpy()
    lengths = np.einsum("ij,jk,ik->i", noise, np.linalg.inv(copula), noise)
    truth = -lengths / 2 - np.log(2) * model.rates(frame).sum(axis=1)
    inner = (np.abs(noise) < 2).all(axis=1)
    np.testing.assert_allclose(model.typicality(frame)[inner], truth[inner], rtol=0.1, atol=0.3)


def test_what_does_not_go_together_is_odd(model, frame):
    assert model.typicality(mismatched(frame)).argmin() == 7
    assert model.score_samples(mismatched(frame)).argmin() != 7


def test_missing_cells_do_not_count(frame):
    holey = frame.copy()
    holey.loc[::4, "width"] = np.nan
    model = HierarchicalVAETransformer(1e-3, **TINY).fit(holey)
    few = mismatched(frame)
    odd = model.typicality(few)[7]
    few.loc[7, "width"] = np.nan
    assert model.typicality(few)[7] > odd + 5


def test_a_row_is_judged_without_the_others(model, frame):
    found = model.typicality(frame.head(50))
    np.testing.assert_allclose(model.typicality(frame.iloc[[9, 3]]), found[[9, 3]], rtol=1e-5)


def test_without_such_noise_it_is_the_bound(frame):
    model = HierarchicalVAETransformer(1.0, likelihood="gaussian", **TINY).fit(frame)
    np.testing.assert_array_equal(model.typicality(frame), model.score_samples(frame))


def test_other_columns_count_by_their_log_probability(frame):
    counts = np.random.default_rng(1).poisson(3.0, len(frame))
    mixed = frame[["length", "weight"]].assign(count=counts)
    model = HierarchicalVAETransformer(1e-3, likelihood={"count": "poisson"}, **TINY).fit(mixed)
    rows = pd.concat([mixed.head(1)] * 2, ignore_index=True).assign(count=[3, 12])
    found = model.typicality(rows) + np.log(2) * model.rates(rows).sum(axis=1)
    with torch.inference_mode():
        parameters = model.module_.decoder(torch.zeros(2, 1))
        cells = model.module_.cell_log_probs(torch.from_numpy(rows.to_numpy(float)), parameters)
    assert found[0] - found[1] == pytest.approx(float(cells[0, 2] - cells[1, 2]), rel=0.1)


def test_models_of_all_rates_know_no_correlations(frame):
    model = MultiRateHVAETransformer((0.1, 1.0), layer_rates=0.5, **TINY).fit(frame)
    typical = model.typicality(mismatched(frame))
    assert np.isfinite(typical).all()
    assert typical.argmin() != 7
