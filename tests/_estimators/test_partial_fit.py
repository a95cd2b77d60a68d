"""partial_fit goes on counting whatever comes between calls, and says if it misses its targets."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
from sk_hvae.exceptions import RateTargetWarning


def saved(model, tmp_path):
    model.save(tmp_path / "model")
    return HierarchicalVAETransformer.load(tmp_path / "model")


def dumped(model, tmp_path):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


INTERRUPTIONS = {
    "none": lambda model, tmp_path: model,
    "pickle": lambda model, tmp_path: pickle.loads(pickle.dumps(model)),  # noqa: S301
    "joblib": dumped,
    "copy": lambda model, tmp_path: copy.copy(model),
    "deepcopy": lambda model, tmp_path: copy.deepcopy(model),
    "file": saved,
    "other rates": lambda model, tmp_path: model.set_params(layer_rates=(2, 1)),
    "other settings": lambda model, tmp_path: model.set_params(lr=1e-3, batch_size=50),
}


@pytest.mark.parametrize("interrupt", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_counts_go_on(small, iris, tmp_path, interrupt):
    model = small().partial_fit(iris).partial_fit(iris)
    before = {name: values.copy() for name, values in model.history_.items()}
    model = interrupt(model, tmp_path)
    for n_iter in (3, 4):
        model.partial_fit(iris[:100])
        assert model.n_iter_ == n_iter
    assert set(model.history_) == set(before)
    for name, values in before.items():
        assert len(model.history_[name]) == 4
        np.testing.assert_array_equal(model.history_[name][:2], values)
        assert np.isfinite(model.history_[name]).all()
    np.testing.assert_allclose(model.history_["target_rates"][-1], model.layer_rates)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_counts_go_on_after_fit_and_begin_anew_with_it(small, iris):
    model = small(max_epochs=3).fit(iris)
    assert model.partial_fit(iris).partial_fit(iris).n_iter_ == 5
    assert len(model.history_["train_rates"]) == 5
    for warm_start in (True, False):
        model.set_params(warm_start=warm_start).fit(iris)
        assert model.n_iter_ == len(model.history_["betas"]) == 3
    assert pickle.loads(pickle.dumps(model)).partial_fit(iris).n_iter_ == 4  # noqa: S301


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_what_only_some_epochs_have_is_nan_in_others(small, iris):
    model = small(early_stopping=True, max_epochs=2, n_iter_no_change=9).fit(iris)
    validated = model.history_["valid_rates"]
    model.partial_fit(iris)
    np.testing.assert_array_equal(model.history_["valid_rates"][:2], validated)
    assert np.isnan(model.history_["valid_rates"][2]).all()
    assert model.history_["valid_rates"].shape == (3, 2)
    model.set_params(layer_rates=None, betas=(1.0, 1.0)).partial_fit(iris)
    assert np.isnan(model.history_["target_rates"][3]).all()
    assert {len(values) for values in model.history_.values()} == {4}
    assert np.isfinite(model.history_["train_rates"]).all()


@pytest.mark.usefixtures("coarse_plane")
def test_a_model_of_one_point_goes_on_from_the_plane(iris):
    multi = MultiRateHVAETransformer(
        (0.5, 4), layer_rates=1, n_components=2, hidden_layer_sizes=8, max_epochs=3, random_state=0
    ).fit(iris)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RateTargetWarning)
        single = multi.at(2).partial_fit(iris)
    assert (multi.n_iter_, single.n_iter_) == (3, 4)
    assert len(multi.history_["betas"]) == 3
    assert np.isnan(single.history_["target_rates"][:3]).all()


def test_numbers_of_callbacks_go_on(small, iris):
    class Count(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("count", 7)

    model = small(callbacks=[Count()]).partial_fit(iris)
    model.set_params(callbacks=None).partial_fit(iris)
    np.testing.assert_array_equal(model.history_["count"], [7, np.nan])


def test_a_call_that_fails_counts_nothing(small, iris):
    class Break(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("on purpose")

    model = small().partial_fit(iris)
    with pytest.raises(RuntimeError, match="on purpose"):
        model.set_params(callbacks=[Break()]).partial_fit(iris)
    assert model.n_iter_ == 1
    assert model.set_params(callbacks=None).partial_fit(iris).n_iter_ == 2


# Targets that are missed.

# Two states have one bit.
OUT_OF_REACH = {"top_layer": "categorical", "n_components": (3, 2), "layer_rates": (1, 3)}


def test_rates_that_stay_off_are_said_once(small, iris):
    model = small(**OUT_OF_REACH, batch_size=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(17):  # of 75 steps each
            model.partial_fit(iris)
    (warning,) = caught
    assert warning.category is RateTargetWarning
    assert warning.filename == __file__
    for words in ("z_2 carries", "of its 3 bits", "1050 steps", "converged_"):
        assert words in str(warning.message)
    assert not model.converged_
    model.set_params(layer_rates=(1, 2))
    for _ in range(13):
        model.partial_fit(iris)
    with pytest.warns(RateTargetWarning, match=r"of its 2 bits"):
        model.partial_fit(iris)


@pytest.mark.parametrize(
    ("layer_rates", "n_rows"), [(1, 150), ((2, 0.5), 150), ((1, 2), 30)], ids=str
)
def test_rates_within_reach_are_not_warned_of(small, iris, layer_rates, n_rows):
    model = small(layer_rates=layer_rates, batch_size=2).partial_fit(iris)
    order = np.random.default_rng(0).permutation(150)
    for i in range(1000 // (n_rows // 2)):
        model.partial_fit(iris[order.take(range(i * n_rows, (i + 1) * n_rows), mode="wrap")])


def test_fixed_betas_have_no_targets_to_miss(small, iris):
    model = small(layer_rates=None, betas=(1.0, 3.0), batch_size=2)
    for _ in range(15):
        model.partial_fit(iris)
    assert model.converged_


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ScaleWarning")
def test_converged_tells_of_the_last_call(small, iris):
    far = 10 * iris
    model = small(n_components=3).partial_fit(iris)
    assert model.converged_
    off = abs(model.rates(far).mean(0) - (1, 2)) > np.maximum(0.1, 0.05 * np.array((1, 2)))
    assert off.all()
    assert not model.partial_fit(far).converged_


def test_a_fit_that_fails_leaves_the_session(small, iris):
    class Fails(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("of the callback")

    one, two = (small().partial_fit(iris) for _ in range(2))
    with pytest.raises(RuntimeError, match="of the callback"):
        one.set_params(callbacks=[Fails()]).fit(iris)
    one.set_params(callbacks=None).partial_fit(iris)
    two.partial_fit(iris)
    np.testing.assert_array_equal(one.transform(iris), two.transform(iris))
