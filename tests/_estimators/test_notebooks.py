"""What notebooks show of estimators: once, whatever parameters are set, and not too much."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn
from html_tables import Tables
from sklearn.utils import estimator_html_repr

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._sklearn.fitted_state import columns_of, fitted_of, set_fitted
from sk_hvae.exceptions import UnsuitableParameterError

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
FRAME = pd.DataFrame({"city": ["Oslo", "Rome"] * 20, "age": range(40)})
SUMMARY = "columns, as they were taken in fit"
LAYERS = "layers, rates and targets"
ESTIMATORS = [
    HierarchicalVAETransformer((1, 2), **TINY),
    MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **TINY),
    HVAEClusterer(2, n_init=2, **TINY),
]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


@every_estimator
def test_the_columns_are_shown_once(estimator):
    estimator.fit(FRAME)
    for shown in (estimator._repr_html_(), estimator._repr_mimebundle_()["text/html"]):
        assert shown.count(SUMMARY) == 1
    assert SUMMARY not in type(estimator)()._repr_html_()


@every_estimator
def test_parameters_that_do_not_suit_the_model_do_no_harm(estimator):
    estimator.fit(FRAME)
    before, known = estimator.get_params(), dir(estimator)
    assert "layer_slices_" in known
    wrong = [{"output_layers": 9}]
    if isinstance(estimator, MultiRateHVAETransformer):
        wrong += [{"layer_rates": rates} for rates in ((1, 1, 1), "many", None, -1)]
    for params in wrong:
        estimator.set_params(**params)
        assert estimator._repr_html_().count(SUMMARY) == 1
        assert not hasattr(estimator, "layer_slices_")
        with pytest.raises(UnsuitableParameterError, match=next(iter(params))):
            estimator.transform(FRAME)
        estimator.set_params(**before)
    assert dir(estimator) == known


def test_of_many_columns_the_first_are_shown():
    numbers = np.random.default_rng(0).normal(size=(10, 1000))
    frame = pd.DataFrame(numbers, columns=[f"column {n}" for n in range(1000)])
    shown = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)._repr_html_()
    table = shown[shown.index("1000 " + SUMMARY) :]
    assert table.count(">column ") == 200
    assert "and 800 more, see <code>columns_</code>" in table


@every_estimator
def test_a_model_of_a_frame_whose_library_is_not_installed(estimator, monkeypatch):
    model = estimator.fit(FRAME)

    def missing(*_):
        raise ImportError

    monkeypatch.setattr("sk_hvae._input.dtypes.import_extra", missing)
    shown = model._repr_html_()
    assert SUMMARY not in shown
    assert not any(hasattr(model, name) for name in ("columns_", "cluster_centers_frame_"))
    assert type(model).__name__ in shown


def layers_of(estimator):
    """Targets and rates as they are shown, layer by layer, and the other cells."""
    head, *lines = Tables(estimator._repr_html_()).after(LAYERS)
    assert head == ["layer", "units", "names in transform", "target", "rate"]
    return [line[-2:] for line in lines], [line[:-2] for line in lines]


def close(texts, numbers):
    return np.allclose(np.array(texts, float), numbers, rtol=0.005, atol=0.005)


@every_estimator
def test_rates_stand_beside_targets(estimator):
    estimator.fit(FRAME)
    shown, named = layers_of(estimator)
    targets = estimator.layer_rates
    if targets is None:  # The clusterer finds them; the last ones stay after the ramp.
        targets = estimator.history_["target_rates"][-1]
    expected = np.column_stack((targets, estimator.rates_))
    assert close(shown, np.vstack((expected, expected.sum(axis=0))))
    last = estimator.get_feature_names_out()[1::2]
    assert [line[2] for line in named] == [*(f"{name[:2]}_0 to {name}" for name in last), ""]
    assert [line[0] for line in named] == ["z_1", "z_2", "total"]


def test_targets_are_those_of_the_model_that_there_is():
    single = HierarchicalVAETransformer((1, 2), **TINY).fit(FRAME)
    single.set_params(layer_rates=(7, 7))
    assert [target for target, _ in layers_of(single)[0]] == ["1.00", "2.00", "3.00"]
    multi = MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **TINY).fit(FRAME)
    multi.set_params(layer_rates=(0.5, 2))
    for estimator in (multi, multi.at((0.5, 2))):
        assert [target for target, _ in layers_of(estimator)[0]] == ["0.5", "2.00", "2.50"]
    fixed = HierarchicalVAETransformer(None, betas=(1, 1), **TINY).fit(FRAME)
    assert [target for target, _ in layers_of(fixed)[0]] == ["none"] * 3


def test_of_many_clusters_the_first_are_shown():
    model = HVAEClusterer(2, n_init=2, **TINY).fit(FRAME)
    sizes = np.arange(5, 30)
    set_fitted(model, replace(fitted_of(model), sizes=sizes), columns_of(model))
    shown = model._repr_html_()
    head, *lines = Tables(shown).after(f"25 clusters of {sizes.sum()} rows")
    assert head == ["cluster", "rows", "share"]
    shares = 100 * sizes / sizes.sum()
    assert lines == [[str(n), str(sizes[n]), f"{shares[n]:.1f}%"] for n in range(20)]
    assert "and 5 more, see <code>cluster_sizes_</code>" in shown


def test_names_are_no_markup():
    name = "<script>alert(1)</script>&\"'"
    frame = FRAME.rename(columns={"age": name, "city": "<i>" * 50})
    frame["<i>" * 50] = frame["<i>" * 50] + "<img src=x>"
    shown = Tables(HierarchicalVAETransformer((1, 2), **TINY).fit(frame)._html_below_diagram())
    assert not shown.tags & {"script", "img", "i"}
    _, (first, *_), (second, *_) = shown.after(SUMMARY)
    assert second == name
    assert first == ("<i>" * 50)[:59] + "…"


@every_estimator
def test_unfitted_ones_are_shown_as_scikit_learn_does(estimator):
    def without_numbers(markup):
        return re.sub(r"-id-\d+", "", markup)

    new = sklearn.clone(estimator)
    assert without_numbers(new._repr_html_()) == without_numbers(estimator_html_repr(new))


@every_estimator
def test_text_alone_where_that_is_asked_for(estimator):
    estimator.fit(FRAME)
    with sklearn.config_context(display="text"):
        assert [*estimator._repr_mimebundle_()] == ["text/plain"]
        assert not hasattr(estimator, "_repr_html_")


@every_estimator
def test_what_is_below_a_diagram_does_not_hang_in_it(estimator):
    shown = estimator.fit(FRAME)._repr_html_()
    assert shown.count("<div") == shown.count("</div")
