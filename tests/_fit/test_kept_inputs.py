import numpy as np
import pytest
import torch

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._data.rows import ResidentRows
from sk_hvae._data.selected import SelectedRows
from sk_hvae._fit import kept_inputs as module_under_test
from sk_hvae._fit.kept_inputs import kept_inputs
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy

X = np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture
def model():
    x = torch.from_numpy(X)
    likelihood = Gaussian().adapt(DataSummary.of([x]))
    return build_hierarchy(Architecture((2,), (4,)), likelihood)


def test_are_those_of_the_rows_in_their_order(model):
    rows = SelectedRows(ResidentRows(torch.from_numpy(X)), torch.tensor([5, 2, 9]))
    expected = model.inputs(torch.from_numpy(X[[5, 2, 9]]))
    assert torch.equal(kept_inputs(model, rows)["inputs"], expected)


def test_nothing_is_kept_of_large_data_or_of_rows_that_change(model, monkeypatch):
    rows = ResidentRows(torch.from_numpy(X))
    monkeypatch.setattr(module_under_test, "_KEPT_ELEMENTS", 2 * X.size - 1)
    assert kept_inputs(model, rows) == {}
    monkeypatch.setattr(module_under_test, "_KEPT_ELEMENTS", 2 * X.size)
    assert set(kept_inputs(model, rows)) == {"inputs", "cells"}
    rows.are_fixed = False
    assert kept_inputs(model, rows) == {}


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        HierarchicalVAETransformer((1, 2), n_components=2),
        MultiRateHVAETransformer((2, 4), layer_rates=(2, 3), n_components=2),
        HVAEClusterer(3, n_components=2),
    ],
)
def test_a_fit_is_the_same_with_and_without(estimator, monkeypatch):
    with_holes = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
    estimator.set_params(hidden_layer_sizes=(8,), max_epochs=4, batch_size=30, random_state=0)
    estimator.set_params(missing="mask")
    kept = estimator.fit(with_holes).transform(with_holes)
    monkeypatch.setattr(module_under_test, "_KEPT_ELEMENTS", 0)
    np.testing.assert_array_equal(estimator.fit(with_holes).transform(with_holes), kept)
