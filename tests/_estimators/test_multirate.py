"""One fit, all rates: MultiRateHVAETransformer."""

import gc
import math
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer, rate_map
from sk_hvae._fit.plane import RatePlane
from sk_hvae._fit.plane_survey import PlaneMeasurement, PlaneSurvey
from sk_hvae.exceptions import (
    RateTargetWarning,
    TrainingDivergedError,
    TrainingInterruptedWarning,
    TrainingMemoryError,
)
from sk_hvae.nn import Gaussian

POINTS = [(0.7, 0.7), (0.7, 4), (4, 0.7), (2, 3), (4, 4)]
SMALL = {"n_components": (3, 2), "hidden_layer_sizes": (16,), "random_state": 0}
TINY = {**SMALL, "max_epochs": 2, "layer_rates": (2, 2)}


@pytest.fixture(scope="module")
def multi(wine):
    return MultiRateHVAETransformer((0.5, 5), layer_rates=(2, 3), max_epochs=500, **SMALL).fit(wine)


def restored(estimator):
    return pickle.loads(pickle.dumps(estimator))  # noqa: S301


def close_to(targets):
    return pytest.approx(targets, rel=0.05, abs=0.1)


class TestAt:
    @pytest.mark.parametrize("rates", POINTS)
    def test_asking_for_bits_gives_bits(self, multi, wine, rates):
        single = multi.at(rates)
        assert type(single) is HierarchicalVAETransformer
        assert single.layer_rates == rates
        assert single.converged_
        assert single.rates(wine).mean(0) == close_to(rates)
        assert single.rates_ == pytest.approx(single.rates(wine).mean(0), rel=0.03, abs=0.03)
        assert single.distortion_ == pytest.approx(single.distortion(wine).mean(), abs=0.2)
        total = single.distortion_ + single.rates_.sum()
        assert single.lower_bound_ == pytest.approx(-math.log(2) * total)

    def test_more_bits_cost_less_each_and_leave_less_distortion(self, multi, wine):
        poor, rich = multi.at((1, 1)), multi.at((4, 4))
        assert (poor.betas_ > rich.betas_).all()
        assert poor.distortion(wine).mean() > rich.distortion(wine).mean() + 2

    def test_it_is_a_plain_estimator_of_its_own(self, multi, wine):
        single = multi.at((2, 3))
        fitted = HierarchicalVAETransformer((2, 3), **SMALL).fit(wine)
        assert set(vars(restored(fitted))) == set(vars(single))
        assert len(pickle.dumps(single)) < len(pickle.dumps(multi))
        assert np.array_equal(restored(single).transform(wine), single.transform(wine))
        before = multi.transform(wine)
        with torch.no_grad():
            for parameter in single.module_.parameters():
                parameter.zero_()
        multi.set_params(layer_rates=(1, 1)).set_params(layer_rates=(2, 3))
        assert np.array_equal(multi.transform(wine), before)

    def test_it_can_be_saved_and_loaded(self, multi, wine, tmp_path):
        single = multi.at((2, 3))
        single.save(tmp_path / "hvae")
        loaded = HierarchicalVAETransformer.load(tmp_path / "hvae")
        assert np.array_equal(loaded.transform(wine), single.transform(wine))

    def test_it_can_be_trained_further(self, multi, wine):
        single = multi.at((2, 3)).partial_fit(wine)
        assert single.rates_ == pytest.approx([2, 3], rel=0.3)

    def test_rates_out_of_reach_warn_and_name_the_nearest(self, multi):
        with pytest.warns(RateTargetWarning, match=r"does not reach \(2\.0, 100\.0\) bits; near"):
            single = multi.at((2, 100))
        assert not single.converged_
        assert 5 <= single.rates_[1] < 10

    def test_the_number_of_layers_is_fixed(self, multi):
        with pytest.raises(ValueError, match="1 entries, but the model was fitted with 2 layers"):
            multi.at(3)

    def test_before_fit(self):
        with pytest.raises(NotFittedError):
            MultiRateHVAETransformer().at((1, 1))
        with pytest.raises(NotFittedError):
            MultiRateHVAETransformer().transform([[1.0]])


class TestCurrentRates:
    def test_set_params_moves_the_estimator_without_a_fit(self, multi, wine):
        moved = restored(multi)
        for rates in POINTS:
            moved.set_params(layer_rates=rates)
            single = multi.at(rates)
            assert np.array_equal(moved.transform(wine), single.transform(wine))
            assert moved.score(wine) == single.score(wine)
            assert np.array_equal(moved.rates_, single.rates_)
            assert np.array_equal(moved.betas_, single.betas_)
            assert moved.distortion_ == single.distortion_
            assert moved.lower_bound_ == single.lower_bound_
            assert moved.converged_

    def test_output_layers_too(self, multi, wine):
        moved = restored(multi).set_params(output_layers="top")
        assert np.array_equal(moved.transform(wine), multi.transform(wine)[:, 3:])
        assert list(moved.get_feature_names_out()) == ["z2_0", "z2_1"]

    def test_all_other_methods_work(self, multi, wine):
        assert [z.shape for z in multi.latents(wine, sample=True)] == [(178, 3), (178, 2)]
        assert multi.sample(3).shape == (3, 13)
        assert multi.inverse_transform(multi.transform(wine)) == pytest.approx(
            multi.reconstruct(wine), rel=1e-4
        )

    def test_the_units_are_those_of_the_rates(self, multi, wine):
        single = multi.at((4, 0.7))
        units = [layer.scale.clone() for layer in single.module_.layers]
        single.module_.set_scales(torch.tensor(wine))
        for layer, unit in zip(single.module_.layers, units, strict=True):
            torch.testing.assert_close(layer.scale, unit, rtol=0.1, atol=0.0)

    def test_in_a_pipeline(self, wine):
        y = np.repeat([0, 1, 2], [59, 71, 48])
        pipeline = make_pipeline(
            MultiRateHVAETransformer((0.5, 5), layer_rates=(2, 3), max_epochs=100, **SMALL),
            LogisticRegression(max_iter=1000),
        )
        assert pipeline.fit(wine, y).score(wine, y) > 0.9


class TestFit:
    def test_it_starts_at_the_best_linear_code(self):
        # Reverse water-filling on components of variance 16 and 1.
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4000, 2)) * [4.0, 1.0]
        likelihood = Gaussian(scaling="shared")
        multi = MultiRateHVAETransformer(
            (0.5, 4), likelihood=likelihood, lr=1e-9, batch_size=4000, **TINY
        ).fit(X)
        for rates in [(1, 1), (0.7, 2), (2, 0.7)]:
            errors = np.square(X - multi.at(rates).inverse_transform(self.sampled(multi, rates, X)))
            total = sum(rates)
            # The second component is coded, too, once the total exceeds log2(4 / 1) bits.
            expected = 2 * 4 * 2.0**-total if total > 2 else 16 * 4.0**-total + 1
            assert errors.sum(1).mean() == pytest.approx(expected, rel=0.1)

    @staticmethod
    def sampled(multi, rates, X):
        return np.hstack(multi.at(rates).latents(X, sample=True))

    def test_the_same_seed_gives_the_same_model(self, wine, coarse_plane):
        first, second = (MultiRateHVAETransformer((0.5, 5), **TINY).fit(wine) for _ in range(2))
        assert np.array_equal(first.transform(wine), second.transform(wine))
        other = MultiRateHVAETransformer((0.5, 5), **{**TINY, "random_state": 1}).fit(wine)
        assert not np.array_equal(first.transform(wine), other.transform(wine))

    def test_global_generators_are_left_alone(self, wine, coarse_plane):
        states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        MultiRateHVAETransformer((0.5, 5), **TINY).fit(wine).transform(wine)
        assert torch.equal(states[0], torch.random.get_rng_state())
        assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002

    def test_history_has_means_over_the_plane(self, multi):
        assert multi.history_["train_rates"].shape == (multi.n_iter_, 2)
        mean_target = (6 - 0.5 / 1.2) / math.log(6 * 1.2 / 0.5)
        last = multi.history_["train_rates"][-200:].mean(0)
        assert last == pytest.approx([mean_target] * 2, rel=0.1)

    @pytest.mark.parametrize(
        ("rate_range", "message"),
        [
            ((5, 1), "0 < low < high"),
            ((0, 5), "0 < low < high"),
            ((1, math.inf), "0 < low < high"),
            ((1, 2, 3), "one such pair per layer"),
            (["a", "b"], "one such pair per layer"),
            ([(1, 2)] * 3, "for 2 layers"),
        ],
    )
    def test_bad_ranges(self, wine, rate_range, message):
        with pytest.raises(ValueError, match=message):
            MultiRateHVAETransformer(rate_range, **TINY).fit(wine)

    def test_a_range_per_layer(self, wine):
        multi = MultiRateHVAETransformer([(0.5, 1), (2, 5)], **{**TINY, "layer_rates": (0.7, 3)})
        plan, _ = multi._plan(wine, RatePlane.auto_epochs)
        plane = RatePlane((0.5, 2), (1, 5), plan.architecture)
        assert plane.low == pytest.approx([0.5 / 1.2, 2 / 1.2])
        assert plane.high == pytest.approx([1.2, 6])

    def test_few_columns_get_no_more_bits_than_they_have(self, iris):
        small = {"hidden_layer_sizes": (32,), "random_state": 0}
        multi = MultiRateHVAETransformer(**small).fit(iris)
        assert (multi.rate_range_[:, 0] == 0.5).all()
        assert (multi.rate_range_[:, 1] > 8).all()
        assert (multi.rate_range_[:, 1] < 10).all()
        for rates in [(1, 1), (4, 2), (2, 8)]:
            single = HierarchicalVAETransformer(rates, max_epochs=300, **small).fit(iris)
            assert multi.at(rates).rates(iris).mean(0) == close_to(rates)
            assert multi.at(rates).lower_bound_ > single.lower_bound_ - 0.5
        with pytest.warns(RateTargetWarning, match="trained for at most .* as rate_range_ says"):
            multi.at((16, 16))
        assert rate_map(multi, iris).layer_rates.max() == multi.rate_range_.max()

    def test_few_units_get_no_more_bits_than_they_hold(self, wine):
        units = {"n_components": 2, "hidden_layer_sizes": 32}
        few = MultiRateHVAETransformer(layer_rates=(2, 2), random_state=0, **units).fit(wine)
        assert (few.rate_range_[:, 1] < 6).all()
        for rates in [(1, 1), (2, 4)]:
            assert few.at(rates).rates(wine).mean(0) == close_to(rates)

    def test_many_columns_and_units_get_what_is_asked_for(self):
        plain = MultiRateHVAETransformer(**{**TINY, "n_components": "auto"})
        plain.fit(load_digits().data[:300])
        assert plain.rate_range_.tolist() == [[0.5, 32], [0.5, 32]]

    def test_interruption(self, wine):
        class Interrupt(Callback):
            def on_train_begin(self, net, **kwargs):
                net.noise = self.interrupt

            def interrupt(self, like):
                raise KeyboardInterrupt

        multi = MultiRateHVAETransformer((0.5, 5), callbacks=[Interrupt()], **TINY)
        with pytest.warns(TrainingInterruptedWarning):
            multi.fit(wine)
        assert not multi.converged_
        assert multi.transform(wine).shape == (178, 5)

    def test_divergence_is_an_error_and_leaves_finite_weights(self, wine):
        multi = MultiRateHVAETransformer((0.5, 5), lr=1e30, **{**TINY, "max_epochs": 30})
        with pytest.raises(TrainingDivergedError, match="lr is 1e"):
            multi.fit(wine)
        assert np.isfinite(multi.set_params(layer_rates=(1, 1)).transform(wine)).all()
        assert not multi.converged_

    @pytest.mark.parametrize("layer_rates", [2, (1, 2, 1)])
    def test_any_number_of_layers(self, wine, layer_rates):
        multi = MultiRateHVAETransformer(
            (0.5, 4), layer_rates=layer_rates, max_epochs=200, **{**SMALL, "n_components": 3}
        ).fit(wine)
        assert multi.converged_
        assert multi.rates(wine).mean(0) == close_to(np.atleast_1d(layer_rates))

    def test_a_categorical_top_has_no_more_bits_than_states(self, wine):
        multi = MultiRateHVAETransformer(
            (0.3, 4),
            layer_rates=(2, 1),
            top_layer="categorical",
            max_epochs=300,
            **{**SMALL, "n_components": 4},
        ).fit(wine)
        assert multi.rates(wine).mean(0) == close_to((2, 1))
        with pytest.warns(RateTargetWarning, match="does not reach"):
            assert multi.at((2, 4)).rates_[1] <= 2

    def test_one_state_has_no_bits_to_choose_from(self, wine):
        multi = MultiRateHVAETransformer(top_layer="categorical", **{**SMALL, "n_components": 1})
        with pytest.raises(ValueError, match=r"one state.*n_components must be at least 2"):
            multi.fit(wine)

    @pytest.mark.slow
    def test_it_is_as_good_as_one_fit_for_each_point(self):
        X, _ = load_digits(return_X_y=True)
        train, test = X[:600], X[1200:]
        common = {"n_components": 8, "hidden_layer_sizes": (64,), "random_state": 0}
        multi = MultiRateHVAETransformer((1, 12), **common).fit(train)
        excess = []
        for rates in [(1, 8), (8, 2)]:
            dedicated, shared = (
                HierarchicalVAETransformer(rates, **common).fit(train),
                multi.at(rates),
            )
            costs = [
                hvae.distortion(test).mean() + dedicated.betas_ @ hvae.rates(test).mean(0)
                for hvae in (dedicated, shared)
            ]
            excess.append(costs[1] / costs[0] - 1)
        assert np.mean(excess) < 0.02


class TestFineTune:
    def test_it_polishes_one_point_and_leaves_the_rest(self, wine):
        short = {**SMALL, "max_epochs": 20, "layer_rates": (1, 1)}
        multi = MultiRateHVAETransformer((0.5, 5), **short).fit(wine)
        rates = (2, 3)
        before, at = multi.transform(wine), multi.at(rates)
        tuned = multi.fine_tune(rates, max_epochs=500)
        assert type(tuned) is HierarchicalVAETransformer
        assert not tuned.warm_start
        assert tuned.rates_ == close_to(rates)
        costs = [
            hvae.distortion(wine).mean() + at.betas_ @ hvae.rates(wine).mean(0)
            for hvae in (tuned, at)
        ]
        assert costs[0] < costs[1]
        assert np.array_equal(multi.transform(wine), before)

    def test_other_rows_may_be_given(self, multi, wine):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RateTargetWarning)
            tuned = multi.fine_tune((2, 3), wine[::2], max_epochs=2)
        assert tuned.n_iter_ == 2

    def test_a_pickled_model_needs_rows(self, multi, wine):
        with pytest.raises(ValueError, match="Pass X"):
            restored(multi).fine_tune((2, 3))


def test_pickles_and_clones(multi, wine):
    again = restored(multi)
    assert np.array_equal(again.transform(wine), multi.transform(wine))
    assert clone(multi).get_params() == multi.get_params()
    assert not hasattr(clone(multi), "calibration_")
    assert wine.tobytes() not in pickle.dumps(multi)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
class TestDivergence:
    def test_measurements_that_are_not_finite_are_one(self, wine, monkeypatch, coarse_plane):
        broken = PlaneMeasurement(math.nan, np.array([1.0, math.nan]), math.nan)
        monkeypatch.setattr(PlaneSurvey, "measure", lambda survey, module: broken)
        multi = MultiRateHVAETransformer(**TINY)
        with pytest.raises(TrainingDivergedError, match="non-finite rate of z_2, distortion"):
            multi.fit(wine)
        assert multi.n_iter_ == 2
        assert not multi.converged_

    def test_a_node_that_is_far_from_the_current_rates_is_none(
        self, wine, monkeypatch, coarse_plane
    ):
        measure, calls = PlaneSurvey.measure, []

        def break_the_last(survey, module):
            calls.append(module)
            found = measure(survey, module)
            return found._replace(distortion=math.nan) if len(calls) == 9 else found

        monkeypatch.setattr(PlaneSurvey, "measure", break_the_last)
        multi = MultiRateHVAETransformer((0.5, 30), **TINY).fit(wine)
        assert len(calls) == 9  # three nodes for each of the two layers
        assert math.isfinite(multi.distortion_)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_a_refit_that_is_cut_short_lets_the_rows_of_the_first_go(wine, coarse_plane):
    class Stop(Callback):
        def on_batch_begin(self, net, **kwargs):
            raise MemoryError("none left")

    X = wine.copy()
    multi = MultiRateHVAETransformer(**TINY).fit(X)
    gone = weakref.ref(multi.module_)
    with pytest.raises(TrainingMemoryError):
        multi.set_params(callbacks=[Stop()]).fit(wine)
    gc.collect()
    assert gone() is None
    with pytest.raises(ValueError, match="the rows of fit are not there"):
        multi.fine_tune((1, 1))


def test_refused_rates_leave_no_checkpoint(wine, tmp_path):
    with pytest.raises(ValueError, match="0 < low < high"):
        MultiRateHVAETransformer((4, 1), checkpoint=tmp_path, **TINY).fit(wine)
    assert not [*tmp_path.iterdir()]
