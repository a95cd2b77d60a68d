"""Rows that stand for all when a plane is measured."""

import numpy as np
import pytest
import torch

from sk_hvae import MultiRateHVAETransformer
from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import measure
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._fit.survey_rows import SurveyRows
from sk_hvae.exceptions import RateTargetWarning, muted
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy

N_ROWS = 5000


@pytest.fixture(scope="module")
def table():
    """Rows of which one in a thousand is far out."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5)) @ rng.normal(size=(5, 5))
    X[7::1000] *= 30
    return X


@pytest.fixture(scope="module")
def module(table):
    x = torch.tensor(table)
    torch.manual_seed(0)
    likelihood = Gaussian().adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((3, 2), (8,)), likelihood).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def test_few_rows_all_count_once(module, table):
    found = SurveyRows.of(ResidentRows(torch.tensor(table[:2048])), [module])
    np.testing.assert_array_equal(found.rows, table[:2048])
    assert (found.weights == 1).all()


def test_rows_with_the_most_bits_count_once_and_the_others_stand_for_more(module, table):
    found = SurveyRows.of(ResidentRows(torch.tensor(table)), [module])
    activations = module.activations(torch.tensor(table))
    bits = module.infer(activations).rates().detach().numpy()
    shares = (bits / bits.mean(0)).max(1)
    once = found.rows[found.weights == 1].numpy()
    np.testing.assert_array_equal(once, table[np.sort(np.argsort(shares)[-512:])])
    assert found.weights.sum() == pytest.approx(N_ROWS)
    assert len(np.unique(found.rows, axis=0)) == len(found.rows) <= 2048


def test_of_many_numbers_a_part_is_looked_at(module, table, monkeypatch):
    monkeypatch.setattr("sk_hvae._fit.survey_rows._MOST_NUMBERS", table.size // 2)
    found = SurveyRows.of(ResidentRows(torch.tensor(table)), [module])
    half = table[::2]
    assert found.weights.sum() == pytest.approx(len(half))
    assert np.isin(found.rows.numpy()[:, 0], half[:, 0]).all()


@pytest.mark.parametrize("top_layer", ["gaussian", "categorical"])
def test_rates_and_distortion_of_a_plane_are_those_of_all_rows(table, top_layer):
    x = torch.tensor(table)
    multi = MultiRateHVAETransformer(
        layer_rates=(2, 1),
        rate_range=(0.3, 6),
        n_components=4,
        hidden_layer_sizes=(16,),
        top_layer=top_layer,
        max_epochs=4,
        random_state=0,
    )
    with muted(RateTargetWarning):
        module = multi.fit(x).module_
    chosen = SurveyRows.of(ResidentRows(x), [module])
    found = PlaneSurvey(module, chosen.rows, weights=chosen.weights).measure(module)
    expected = measure(module, ResidentRows(x))
    np.testing.assert_allclose(found.rates, expected.rates.mean(0), rtol=0.02)
    assert found.distortion == pytest.approx(expected.distortion.mean(), abs=0.2)


@pytest.mark.parametrize("targets", [(1.0, 2.0), (3.0, 3.0)])
def test_a_fit_knows_the_rates_of_all_rows(table, targets):
    multi = MultiRateHVAETransformer(
        layer_rates=targets,
        rate_range=(0.5, 6),
        n_components=4,
        hidden_layer_sizes=(16,),
        max_epochs=4,
        random_state=0,
    ).fit(table)
    np.testing.assert_allclose(multi.rates_, multi.rates(table).mean(0), rtol=0.03)
