"""n_components="auto": as many units in every layer as there are bits in all of them."""

import numpy as np
import pytest

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

SHORT = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}


@pytest.mark.parametrize(
    ("params", "units"),
    [
        ({}, (16, 16)),
        ({"layer_rates": 3}, (16,)),
        ({"layer_rates": (2, 14.6)}, (17, 17)),
        ({"layer_rates": (1, 4, 35)}, (40, 40, 40)),
        ({"layer_rates": (300, 50)}, (256, 256)),
        ({"layer_rates": None, "betas": (99.0, 1.0)}, (16, 16)),
        ({"layer_rates": (30, 2), "top_layer": "categorical"}, (32, 16)),
        ({"layer_rates": (30, 2), "n_components": 3}, (3, 3)),
        ({"layer_rates": (30, 2), "n_components": (3, 5)}, (3, 5)),
    ],
    ids=str,
)
def test_units_follow_the_bits(iris, params, units):
    assert HierarchicalVAETransformer(**SHORT, **params).fit(iris).n_components_ == units


def test_maps_do_not():
    X = np.random.default_rng(0).normal(size=(20, 64))
    images = {"network": "fully-conv", "image_shape": (1, 8, 8)}
    many, few = (
        HierarchicalVAETransformer(40, **SHORT, **images, n_components=n).fit(X)
        for n in ("auto", 16)
    )
    assert many.n_components_ == few.n_components_


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_model_that_is_trained_further_keeps_them(iris, method):
    hvae = HierarchicalVAETransformer(**SHORT, warm_start=True).fit(iris)
    module = hvae.module_
    getattr(hvae.set_params(layer_rates=(8, 32)), method)(iris)
    assert hvae.n_components_ == (16, 16)
    assert hvae.module_ is module


def test_one_model_for_all_rates_has_as_many_as_its_highest_rate(iris):
    multi = MultiRateHVAETransformer([(1, 9), (2, 30)], **SHORT).fit(iris)
    assert multi.n_components_ == (30, 30)
    assert multi.at((1, 2)).n_components_ == (30, 30)
    assert multi.fine_tune((1, 2), max_epochs=1).n_components_ == (30, 30)


def test_other_words_are_refused(iris):
    with pytest.raises(ValueError, match=r"'n_components' parameter.*'auto'.*Got 'many'"):
        HierarchicalVAETransformer(n_components="many").fit(iris)
