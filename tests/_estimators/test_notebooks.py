"""What notebooks show of estimators: once, whatever parameters are set, and not too much."""

import numpy as np
import pandas as pd
import pytest

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.exceptions import UnsuitableParameterError

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
FRAME = pd.DataFrame({"city": ["Oslo", "Rome"] * 20, "age": range(40)})
SUMMARY = "columns, as they were taken in fit"
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
    assert table.count("<td>column ") == 200
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
