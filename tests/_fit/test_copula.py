"""Noise that is correlated between columns: found as it was made, and no column notices."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae._fit.copula import correlated, noise_correlations
from sk_hvae._sklearn.fitted_state import fitted_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]
TRUTH = np.array([[1.0, 0.8, -0.5], [0.8, 1.0, 0.0], [-0.5, 0.0, 1.0]])


def copula_frame(n):
    """Columns made of correlated normal numbers: skewed, whole numbers, and yes or no."""
    normal = np.random.default_rng(0).multivariate_normal(np.zeros(3), TRUTH, n)
    return pd.DataFrame(
        {
            "money": np.exp(normal[:, 0]).round(2),
            "count": stats.poisson(3).ppf(stats.norm.cdf(normal[:, 1])).astype(int),
            "flag": normal[:, 2] > 0.5,
        }
    )


@pytest.fixture(scope="module")
def table():
    return copula_frame(2000)


@pytest.fixture(scope="module")
def model(table):
    """With latents that tell next to nothing, so that all correlation is left to the noise."""
    params = {"n_components": 1, "hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}
    return HierarchicalVAETransformer(1e-3, **params).fit(table)


def test_the_correlations_are_those_that_the_data_were_made_with(model):
    found = fitted_of(model).copula
    assert found[0, 1] == pytest.approx(0.8, abs=0.05)
    # Only the difference of the two columns of noise behind a flag counts. It is nearly normal, and
    # has a correlation of .5 with the money: then theirs differ by about .5 * 2**0.5.
    assert abs(found[0, 3] - found[0, 2]) == pytest.approx(0.5 * 2**0.5, abs=0.15)
    assert abs(found[1, 3] - found[1, 2]) < 0.15
    assert found[2, 3] == pytest.approx(0.0, abs=0.02)
    np.testing.assert_allclose(np.diag(found), 1.0)
    assert np.linalg.eigvalsh(found).min() > 0


def test_samples_go_together_as_the_rows_do(model, table):
    drawn = model.sample(4000, random_state=0)
    for first, second in (("money", "count"), ("money", "flag"), ("count", "flag")):
        expected = stats.spearmanr(table[first], table[second]).statistic
        found = stats.spearmanr(drawn[first], drawn[second]).statistic
        assert found == pytest.approx(expected, abs=0.07)


def test_columns_keep_the_distributions_that_they_have_without_correlations(model):
    module = model.module_
    parameters = module.decoder(torch.zeros(1, 1)).expand(5000, -1)
    generator = torch.Generator().manual_seed(0)

    def noise(like):
        return torch.randn(like.shape, generator=generator)

    with torch.inference_mode():
        alone = module.draw(parameters, noise).numpy()
        own = noise(torch.empty(5000, 4))
        together = module.draw(parameters, noise, correlated(own, fitted_of(model).copula)).numpy()
    assert stats.ks_2samp(alone[:, 0], together[:, 0]).pvalue > 0.01
    assert stats.ks_2samp(alone[:, 1], together[:, 1]).pvalue > 0.01
    flags = [np.bincount(rows[:, 2].astype(int), minlength=2) for rows in (alone, together)]
    assert stats.chi2_contingency(flags).pvalue > 0.01


def test_correlated_noise_has_its_correlations():
    noise = correlated(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0)), TRUTH)
    np.testing.assert_allclose(np.corrcoef(noise.numpy().T), TRUTH, atol=0.03)


def test_given_cells_draw_the_others_along(model, table):
    given = {"money": (5.0, None)}
    drawn = model.sample(1000, given=given, random_state=0)
    rich = table[table["money"] >= 5.0]
    assert (drawn["money"] >= 5.0).all()
    assert drawn["count"].mean() == pytest.approx(rich["count"].mean(), rel=0.1)
    assert drawn["flag"].mean() == pytest.approx(rich["flag"].mean(), abs=0.05)


def test_what_has_no_noise_to_correlate_has_no_copula(table):
    params = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    arrays = HierarchicalVAETransformer((1, 1), **params).fit(table.to_numpy(float))
    assert fitted_of(arrays).copula is None
    one = HierarchicalVAETransformer((1, 1), **params).fit(table[["money"]])
    assert fitted_of(one).copula is None


def test_missing_cells_have_no_limits(model, table):
    holey = table.astype({"flag": object})
    holey.loc[::3, "count"] = None
    holey.loc[1::3, "flag"] = None
    params = {"n_components": 1, "hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}
    found = fitted_of(HierarchicalVAETransformer(1e-3, **params).fit(holey)).copula
    assert found[0, 1] == pytest.approx(fitted_of(model).copula[0, 1], abs=0.1)


def test_files_clusters_and_seeds(model, table, tmp_path):
    model.save(tmp_path / "model")
    again = HierarchicalVAETransformer.load(tmp_path / "model")
    np.testing.assert_array_equal(fitted_of(again).copula, fitted_of(model).copula)
    pd.testing.assert_frame_equal(
        again.sample(20, random_state=1), model.sample(20, random_state=1)
    )
    params = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "n_init": 2}
    clusterer = HVAEClusterer(2, random_state=0, **params).fit(table[:300])
    assert fitted_of(clusterer).copula.shape == (4, 4)
    rows = fitted_of(model)
    assert noise_correlations(rows.module, _rows(table), torch.Generator().manual_seed(5))[
        0, 1
    ] == pytest.approx(0.8, abs=0.05)


def test_a_model_that_has_diverged_has_no_copula(model, table):
    diverged = copy.deepcopy(model.module_)
    with torch.no_grad():
        diverged.decoder.linear.bias.fill_(torch.inf)
    assert noise_correlations(diverged, _rows(table), torch.Generator()) is None


def _rows(table):
    from sk_hvae._data.rows import as_rows

    return as_rows(table.astype(float).to_numpy())
