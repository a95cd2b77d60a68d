"""RateSearchCV is GridSearchCV with shared fits; rate_grid and RateDistribution write rates."""

import contextlib
import importlib
import inspect
import pickle
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from html_tables import Tables
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ParameterGrid,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sk_hvae import (
    HierarchicalVAETransformer,
    MultiRateHVAETransformer,
    RateDistribution,
    RateSearchCV,
    rate_grid,
)
from sk_hvae._fit import start
from sk_hvae._fit.loop import LocalNet
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._rates.search_costs import shared_cost, single_cost
from sk_hvae._rates.shared_fits import Step, _Group, _groups, fit_planes, reading
from sk_hvae._sklearn.fitted_state import set_fitted
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

RATES = [(1, 2), (2, 1), (2, 4)]


@pytest.fixture(scope="module")
def species():
    return load_iris().target


@pytest.fixture
def pipeline(small):
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("hvae", small(max_epochs=1, batch_size=100)),
            ("clf", LogisticRegression(max_iter=1000)),
        ]
    )


class Calls:
    def __init__(self):
        self.fits, self.taken = [], []


@pytest.fixture
def exact(monkeypatch, always_shared):
    """Make multi-rate models that are the single-rate ones, and tell of their use.

    A search with them must equal GridSearchCV's, whatever is shared.
    """
    calls = Calls()
    own = set(HierarchicalVAETransformer().get_params())

    def fit(self, X, y=None):
        calls.fits.append(self)
        self.rows_ = X
        return set_fitted(self, SimpleNamespace(calibration=None), {})

    def at(self, layer_rates):
        calls.taken.append(layer_rates)
        params = {k: v for k, v in clone(self).get_params().items() if k in own}
        params.update(layer_rates=layer_rates, batch_size=self.batch_size // 3)
        params.update(max_epochs=self.max_epochs // 2)
        return HierarchicalVAETransformer(**params).fit(self.rows_)

    monkeypatch.setattr(MultiRateHVAETransformer, "fit", fit)
    monkeypatch.setattr(MultiRateHVAETransformer, "at", at)
    return calls


def assert_same(search, reference, rtol=0.0):
    """Compare all that two fitted searches know, but times."""
    assert search.cv_results_.keys() == reference.cv_results_.keys()
    for key, expected in reference.cv_results_.items():
        if key.startswith("param"):
            assert repr(search.cv_results_[key]) == repr(expected)
        elif not key.endswith("_time"):
            np.testing.assert_allclose(search.cv_results_[key], expected, rtol, err_msg=key)
    attributes = {name for name in vars(reference) if name.endswith("_")}
    own = {name for name in vars(search) if name.endswith("_")}
    assert own == attributes | {"shared_fit_time_"}
    for name in attributes & {"best_index_", "best_params_", "n_splits_"}:
        assert getattr(search, name) == getattr(reference, name)
    assert search.multimetric_ is reference.multimetric_
    assert repr(search.scorer_) == repr(reference.scorer_)
    if "best_estimator_" in attributes:
        assert repr(search.best_estimator_) == repr(reference.best_estimator_)


def both(estimator, grid, X, y=None, fit_params=None, **params):
    """Fit both searches; returns ours, once compared."""
    params = {"cv": 2, **params}
    reference = GridSearchCV(estimator, grid, **params).fit(X, y, **(fit_params or {}))
    search = RateSearchCV(estimator, grid, **params).fit(X, y, **(fit_params or {}))
    assert_same(search, reference)
    return search


# What is shared. The numbers are those of one split: multi-rate fits, and candidates that take
# their model from them.

HVAE = HierarchicalVAETransformer(
    n_components=2, hidden_layer_sizes=(8,), max_epochs=1, batch_size=100, random_state=1
)

GRIDS = {
    "rates": ({"hvae__layer_rates": RATES}, 1, 3),
    "arrays": ({"hvae__layer_rates": [np.array([1.0, 2.0]), [2, 1]]}, 1, 2),
    "output layers": ({"hvae__layer_rates": RATES, "hvae__output_layers": ["all", "top", 1]}, 1, 9),
    "steps after": ({"hvae__layer_rates": RATES, "clf__C": [0.1, 1]}, 1, 6),
    "step after replaced": (
        {"hvae__layer_rates": RATES, "clf": [LogisticRegression(C=2), RidgeClassifier()]},
        1,
        6,
    ),
    "own parameters": ({"hvae__layer_rates": RATES, "hvae__n_components": [1, 2]}, 2, 6),
    "likelihoods": (
        {"hvae__layer_rates": RATES, "hvae__likelihood": ["gaussian", Gaussian(sigma=0.5)]},
        2,
        6,
    ),
    "steps before": ({"hvae__layer_rates": RATES, "scale__with_mean": [True, False]}, 2, 6),
    "step before replaced": (
        {"hvae__layer_rates": RATES, "scale": [StandardScaler(), MinMaxScaler(), "passthrough"]},
        3,
        9,
    ),
    "numbers of layers": ({"hvae__layer_rates": [1, 3.0, (2,), (1, 2), (1, 1)]}, 2, 5),
    "one rate": ({"hvae__layer_rates": [(1, 2)], "clf__C": [0.1, 1]}, 0, 0),
    "one rate of a kind": ({"hvae__layer_rates": [1, (1, 2), (2, 2)]}, 1, 2),
    "dicts": (
        [
            {"hvae__layer_rates": RATES},
            {"hvae__layer_rates": [(4, 4)], "clf__C": [0.1]},
            {"clf__C": [0.1]},
        ],
        1,
        5,
    ),
    "no rates": ({"clf__C": [0.1, 1]}, 0, 0),
    "betas": (
        [
            {"hvae__layer_rates": RATES},
            {"hvae__layer_rates": [None], "hvae__betas": [(1.0, 0.5), (0.5, 1.0)]},
        ],
        1,
        3,
    ),
    "early stopping": ({"hvae__layer_rates": RATES, "hvae__early_stopping": [True, False]}, 1, 3),
    "warm start": ({"hvae__layer_rates": RATES, "hvae__warm_start": [True]}, 0, 0),
    "other transformers": (
        [{"hvae__layer_rates": RATES}, {"hvae": [HVAE, "passthrough"], "clf__C": [1]}],
        1,
        3,
    ),
    "whole steps": (
        [
            {"hvae__layer_rates": RATES},
            {"steps": [[("hvae", HVAE), ("clf", LogisticRegression(max_iter=1000))]]},
        ],
        1,
        3,
    ),
}


@pytest.mark.parametrize(("grid", "n_fits", "n_taken"), GRIDS.values(), ids=GRIDS)
def test_what_is_shared(pipeline, iris, species, exact, grid, n_fits, n_taken):
    search = both(pipeline, grid, iris, species)
    assert len(exact.fits) == 2 * n_fits
    assert len(exact.taken) == 2 * n_taken
    assert (search.shared_fit_time_ > 0) is (n_fits > 0)
    fitted = search.best_estimator_.named_steps["hvae"]
    assert fitted == "passthrough" or type(fitted) is HierarchicalVAETransformer


def test_functions_as_parameters_are_not_shared(pipeline, iris, species, exact):
    def encoder(n_inputs):
        return nn.Linear(n_inputs, 4)

    grid = {"hvae__layer_rates": RATES, "hvae__network": [(encoder, nn.Linear)]}
    both(pipeline, grid, iris, species)
    assert exact.fits == []


def test_a_step_before_may_be_a_function(pipeline, iris, species, exact):
    pipeline.set_params(scale=FunctionTransformer(lambda X: X / 10))
    both(pipeline, {"hvae__layer_rates": RATES}, iris, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)


def test_derived_classes_are_searched_as_ever(pipeline, iris, species, exact):
    class Derived(HierarchicalVAETransformer):
        pass

    pipeline.set_params(hvae=Derived(**pipeline["hvae"].get_params()))
    both(pipeline, {"hvae__layer_rates": RATES}, iris, species)
    assert exact.fits == []


def test_the_transformer_alone(small, iris, exact):
    search = both(small(), {"layer_rates": RATES}, iris)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)
    assert search.transform(iris).shape == (150, 4)
    assert search.score(iris) == search.best_estimator_.score(iris)


def test_two_transformers(pipeline, small, iris, species, exact):
    pipeline.steps.insert(2, ("second", small(layer_rates=1, max_epochs=1)))
    grid = {"hvae__layer_rates": RATES[:2], "second__layer_rates": [1, 2]}
    both(pipeline, grid, iris, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 8)
    both(pipeline, {"second__layer_rates": [1, 2]}, iris, species)
    assert (len(exact.fits), len(exact.taken)) == (4, 12)


def test_parameters_of_the_multi_rate_fit(pipeline, iris, species, exact):
    pipeline.set_params(hvae__max_epochs=3, hvae__lr=1e-3, hvae__inference="ladder")
    grid = [{"hvae__layer_rates": [(1, 3), (4, 3)]}, {"hvae__layer_rates": [1, 2, 8]}]
    RateSearchCV(pipeline, grid, cv=2, refit=False).fit(iris, species)
    two, one = exact.fits[0], exact.fits[2]
    np.testing.assert_allclose(two.rate_range, [(1, 4), (3 / 1.1, 3 * 1.1)])
    np.testing.assert_allclose(one.rate_range, [(1, 8)])
    assert (two.max_epochs, two.batch_size, two.lr, two.inference) == (6, 300, 1e-3, "ladder")


# Searches that are too small to gain.


def no_multi_rate_fits(monkeypatch):
    def refuse(self, X, y=None):
        raise AssertionError("a multi-rate fit")

    monkeypatch.setattr(MultiRateHVAETransformer, "fit", refuse)


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("rates", [[1, 2], RATES], ids=str)
def test_small_searches_are_grid_searches(
    pipeline, small, iris, species, monkeypatch, rates, in_pipeline
):
    no_multi_rate_fits(monkeypatch)
    hvae, name = (pipeline, "hvae__layer_rates") if in_pipeline else (small(), "layer_rates")
    assert both(hvae, {name: rates}, iris, species).shared_fit_time_ == 0.0


def test_only_groups_that_gain_are_shared(small):
    many = rate_grid([1, 2, 4, 8], [1, 2, 4, 8])
    grid = [{"layer_rates": many}, {"layer_rates": many[:2], "n_components": [3]}]
    sizes, chosen = [75, 75], []
    for dicts in (grid[:1], grid[1:], grid):
        search = GridSearchCV(reading(small(max_epochs=60), Step(None), "folder"), dicts)
        chosen.append(
            [group.common["n_components"] for group in _groups(search, Step(None), sizes)]
        )
    assert chosen == [[2], [], [2]]


@pytest.mark.parametrize(("n_rows", "max_epochs", "batch_size"), [(75, 2, 256), (150, 3, 40)])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_costs_count_what_is_done(
    iris, monkeypatch, tmp_path, n_rows, max_epochs, batch_size, n_layers
):
    done = Counter()

    def counted(owner, name):
        function = getattr(owner, name)

        def call(*args, **kwargs):
            done[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    counted(LocalNet, "train_step_single")
    counted(PlaneSurvey, "measure")
    counted(start, "start_at_pca")
    params = {"hidden_layer_sizes": (4,), "n_components": 2, "random_state": 0}
    rates = (2,) * n_layers
    setting = {"max_epochs": max_epochs, "batch_size": batch_size}
    HierarchicalVAETransformer(rates, **setting, **params).fit(iris[:n_rows])
    assert done["train_step_single"] == single_cost(n_rows, batch_size, max_epochs)
    done.clear()
    common = {**params, "max_epochs": max_epochs, "batch_size": 3 * batch_size}
    group = _Group({}, common, [rates, (4,) * n_layers])
    group.writer(tmp_path, n_rows).fit(iris[:n_rows])
    price = 1 + 0.7 * min(n_rows, 3 * batch_size) / min(n_rows, batch_size)
    evaluations = done["measure"] + done["start_at_pca"]
    expected = price * done["train_step_single"] + 2 * evaluations
    assert shared_cost(n_rows, batch_size, max_epochs, n_layers) == pytest.approx(expected)


@pytest.mark.parametrize("max_epochs", ["auto", 2, 20, 200, 2000])
@pytest.mark.parametrize("n_rows", [30, 120, 700, 20_000])
def test_more_candidates_are_never_less_reason_to_share(n_rows, max_epochs):
    common = {"max_epochs": max_epochs, "batch_size": 768}
    shared = [_Group({}, common, [(1, 2)] * n).is_cheaper([n_rows] * 3) for n in range(1, 1000)]
    assert shared == sorted(shared)
    assert not shared[0]
    assert shared[-1]
    if max_epochs == "auto":
        assert shared[6 - 1]


@pytest.mark.parametrize("as_mask", [False, True])
def test_splits_may_be_indices_or_masks(small, iris, exact, as_mask):
    train = np.arange(150) % 3 > 0
    split = (train, ~train) if as_mask else (np.flatnonzero(train), np.flatnonzero(~train))
    search = RateSearchCV(small(), {"layer_rates": RATES}, cv=[split]).fit(iris)
    assert [len(multi.rows_) for multi in exact.fits] == [100]
    assert np.isfinite(search.best_score_)


# GridSearchCV's other parameters.


def accuracy_and_layers(estimator, X, y):
    return {"accuracy": estimator.score(X, y), "layers": estimator["hvae"].n_layers_}


@pytest.mark.parametrize(
    "params",
    [
        {"return_train_score": True},
        {"refit": False},
        {"refit": lambda results: 1},
        {"scoring": "neg_log_loss"},
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
        {"scoring": {"a": make_scorer(accuracy_score)}, "refit": False},
        {"scoring": accuracy_and_layers, "refit": "accuracy"},
        {"cv": StratifiedKFold(3)},
        {"cv": KFold(2, shuffle=True, random_state=0)},
        {"cv": [(np.arange(0, 150, 2), np.arange(1, 150, 2))]},
    ],
    ids=lambda params: "-".join(params),
)
def test_parameters_of_the_search(pipeline, iris, species, exact, params):
    search = both(pipeline, {"hvae__layer_rates": RATES}, iris, species, **params)
    assert len(exact.fits) == search.n_splits_
    assert len(exact.taken) == search.n_splits_ * 3


def test_verbose_tells_of_shared_fits(pipeline, iris, species, exact, capsys):
    RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=2, verbose=1).fit(iris, species)
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert err.rpartition("\r")[2].startswith("shared fits 2/2 models |")
    assert first == "Fitting 2 x 1 multi-rate models"
    assert second == "Fitting 2 folds for each of 3 candidates, totalling 6 fits"


def test_splits_are_drawn_once(pipeline, iris, species, exact):
    RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=ShuffleSplit(2)).fit(iris, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)
    splits = iter([(np.arange(100), np.arange(100, 150))])
    RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=splits).fit(iris, species)
    assert (len(exact.fits), len(exact.taken)) == (3, 9)


def test_the_last_fit_is_one_by_itself(pipeline, iris, species, exact):
    # Also where a split trains on all rows.
    splits = [(np.arange(150), np.arange(150))]
    both(pipeline, {"hvae__layer_rates": RATES}, iris, species, cv=splits)
    assert len(exact.taken) == 3


def test_groups(pipeline, iris, species, exact):
    fit_params = {"groups": np.arange(150) % 7}
    grid = {"hvae__layer_rates": RATES}
    both(pipeline, grid, iris, species, fit_params=fit_params, cv=GroupKFold(2))
    assert (len(exact.fits), len(exact.taken)) == (2, 6)


def test_fit_parameters_reach_their_steps(pipeline, iris, species, exact):
    weights = np.linspace(0.1, 1, 150)
    fit_params = {"scale__sample_weight": weights, "clf__sample_weight": weights}
    both(pipeline, {"hvae__layer_rates": RATES}, iris, species, fit_params=fit_params)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)


@pytest.mark.parametrize("scaled", [True, False])
def test_routed_metadata_reach_their_steps(pipeline, iris, species, exact, scaled):
    fit_params = {"sample_weight": np.linspace(0.1, 1, 150), "groups": np.arange(150) % 7}
    grid = {"hvae__layer_rates": RATES}
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline["scale"].set_fit_request(sample_weight=scaled)
        pipeline["clf"].set_fit_request(sample_weight=True)
        scoring = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        params = {"scoring": scoring, "cv": GroupKFold(2)}
        both(pipeline, grid, iris, species, fit_params=fit_params, **params)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_frames(pipeline, iris, species, exact, library):
    frame = library.DataFrame(dict(zip("abcd", iris.T, strict=True)))
    pipeline.steps.pop(0)
    pipeline.set_params(hvae__likelihood=[("gaussian", ["a", "b"]), ("gaussian", ["c", "d"])])
    search = both(pipeline, {"hvae__layer_rates": RATES}, frame, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)
    assert search.feature_names_in_.tolist() == [*"abcd"]
    assert search.best_estimator_["hvae"].feature_names_in_.tolist() == [*"abcd"]


class Recorder:
    """A callback of scikit-learn's protocol that keeps what it is told of."""

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        self.search = estimator

    def on_fit_task_begin(self, estimator, context, **kwargs):
        assert estimator is self.search
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        assert estimator is self.search

    def teardown(self, estimator, context):
        assert estimator is self.search


needs_callbacks = pytest.mark.skipif(
    not hasattr(GridSearchCV, "set_callbacks"), reason="scikit-learn < 1.9"
)


@needs_callbacks
def test_callbacks_see_the_tasks_of_a_grid_search_and_the_shared_fits(
    pipeline, iris, species, exact
):
    recorder, reference = Recorder(), Recorder()
    grid = {"hvae__layer_rates": RATES}
    RateSearchCV(pipeline, grid, cv=2).set_callbacks(recorder).fit(iris, species)
    GridSearchCV(pipeline, grid, cv=2).set_callbacks(reference).fit(iris, species)
    first, *others = reference.tasks
    assert recorder.tasks == [first, "shared-fits", "shared-fit", "shared-fit", *others]


class Watcher(Recorder):
    """One that is handed on to all estimators inside, as progress bars are."""

    max_propagation_depth = None

    def on_fit_task_begin(self, estimator, context, **kwargs):
        outer = context.source_task_name
        self.tasks.append((outer, context.estimator_name, context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, **kwargs):
        pass


@needs_callbacks
@pytest.mark.usefixtures("always_shared", "coarse_plane")
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_callbacks_see_shared_fits_under_public_names(small, iris, in_pipeline):
    watcher, hvae, name = Watcher(), small(max_epochs=2), "layer_rates"
    if in_pipeline:
        hvae, name = Pipeline([("scale", StandardScaler()), ("hvae", hvae)]), "hvae__layer_rates"
    RateSearchCV(hvae, {name: RATES}, cv=2).set_callbacks(watcher).fit(iris)
    tasks = [task for task in watcher.tasks if task[1] not in ("Pipeline", "StandardScaler")]
    within = "fit-final-estimator" if in_pipeline else None
    shared = (within or "shared-fit", "MultiRateHVAETransformer", "fit", 4)
    candidate = (within or "candidate-split-evaluation", "HierarchicalVAETransformer", "fit", 0)
    last = (within or "refit-with-best-params", "HierarchicalVAETransformer", "fit", 2)
    assert [task for task in tasks if task[1:3] == shared[1:3]] == [shared] * 2
    assert [task for task in tasks if task[1:3] == candidate[1:3]] == [candidate] * 6 + [last]
    assert (None, "RateSearchCV", "fit", 3) in tasks
    assert (None, "RateSearchCV", "shared-fits", 2) in tasks
    assert not [task for task in watcher.tasks if "Plane" in task[1]]


@needs_callbacks
@pytest.mark.usefixtures("always_shared", "coarse_plane")
def test_a_progress_bar_shows_shared_fits(small, iris, capsys):
    from sklearn.callback import ProgressBar

    pytest.importorskip("rich")
    search = RateSearchCV(small(max_epochs=2), {"layer_rates": RATES}, cv=2)
    search.set_callbacks(ProgressBar()).fit(iris)
    shown = capsys.readouterr().out
    assert "RateSearchCV - shared-fits #0" in shown
    assert shown.count("RateSearchCV - shared-fit | MultiRateHVAETransformer - fit") == 2
    assert "RateSearchCV - refit-with-best-params | HierarchicalVAETransformer - fit #2" in shown
    assert "Plane" not in shown


def test_set_output_is_kept(pipeline, iris, species, exact):
    pipeline.set_output(transform="pandas")
    search = both(pipeline, {"hvae__layer_rates": RATES}, iris, species)
    assert isinstance(search.best_estimator_[:-1].transform(iris), pd.DataFrame)
    assert search.best_estimator_["clf"].feature_names_in_[0] == "z1_0"


def test_memory_of_the_pipeline(pipeline, iris, species, exact, tmp_path):
    pipeline.set_params(memory=str(tmp_path))
    grid = {"hvae__layer_rates": RATES, "clf__C": [0.1, 1]}
    both(pipeline, grid, iris, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 6)


def test_the_search_leaves_its_parameters_alone(pipeline, iris, species, exact):
    grid = {"hvae__layer_rates": RATES}
    search = RateSearchCV(pipeline, grid, cv=2)
    before = search.get_params()
    search.fit(iris, species)
    after = search.get_params()
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    assert not hasattr(pipeline["hvae"], "module_")
    assert search.scorer_._estimator is pipeline
    assert set(vars(search)) == {
        *vars(GridSearchCV(pipeline, grid).fit(iris, species)),
        "shared_fit_time_",
    }
    copy = clone(search).set_params(param_grid={"hvae__layer_rates": RATES[:2]})
    assert len(copy.fit(iris, species).cv_results_["params"]) == 2


def test_epochs_of_the_multi_rate_fit_may_be_left_to_it(pipeline, iris, species, exact):
    pipeline.set_params(hvae__max_epochs="auto")
    splits = [(np.arange(0, 150, 30), np.arange(1, 150, 30))]
    RateSearchCV(pipeline, {"hvae__layer_rates": [1, 2]}, cv=splits, refit=False).fit(iris, species)
    # 5 steps an epoch are 15 of a single fit, which makes 60 passes then.
    assert [multi.max_epochs for multi in exact.fits] == [120]


def test_parameters_are_gridsearchcvs():
    assert str(inspect.signature(RateSearchCV)) == str(inspect.signature(GridSearchCV))


# Failures.


def test_candidates_fail_by_themselves(pipeline, iris, species, exact):
    grid = [
        {"hvae__layer_rates": RATES},
        {"hvae__layer_rates": RATES, "hvae__output_layers": [3]},
        {"hvae__layer_rates": [(1, 2), (-1, 2)], "hvae__n_components": [2, 0]},
    ]
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search = both(pipeline, grid, iris, species)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.tolist() == [False] * 3 + [True] * 3 + [False, True, True, True]
    with pytest.raises(ValueError, match="output_layers must be"):
        RateSearchCV(pipeline, grid, cv=2, error_score="raise").fit(iris, species)


@pytest.mark.parametrize("n_failing", [1, 2])
def test_a_shared_fit_that_fails_is_left_out(
    pipeline, iris, species, exact, monkeypatch, n_failing
):
    fit = MultiRateHVAETransformer.fit

    def diverge(self, X, y=None):
        if self.n_components <= n_failing:
            raise TrainingDivergedError("on purpose")
        return fit(self, X)

    monkeypatch.setattr(MultiRateHVAETransformer, "fit", diverge)
    grid = {"hvae__layer_rates": RATES, "hvae__n_components": [1, 2]}
    with pytest.warns(FitFailedWarning, match=f"{2 * n_failing} of 4 multi-rate fits failed"):
        both(pipeline, grid, iris, species)
    assert (len(exact.fits), len(exact.taken)) == (4 - 2 * n_failing, 12 - 6 * n_failing)


def test_workers_that_fit_shared_models_must_see_the_folder(
    pipeline, iris, species, exact, monkeypatch, tmp_path
):
    elsewhere = contextlib.nullcontext(str(tmp_path / "on another machine"))
    monkeypatch.setattr("sk_hvae._rates.search.TemporaryDirectory", lambda prefix: elsewhere)
    with pytest.raises(FileNotFoundError, match=r"does not see .*another machine.*Set TMPDIR"):
        RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=2).fit(iris, species)
    assert exact.fits == []


def test_workers_that_fit_candidates_must_see_the_folder(
    pipeline, iris, species, exact, monkeypatch
):
    def out_of_sight(search, stage, splits, context):
        fitted = fit_planes(search, stage, splits, context)
        shutil.rmtree(stage.folder)
        return fitted

    monkeypatch.setattr("sk_hvae._rates.search.fit_planes", out_of_sight)
    with pytest.raises(ValueError, match=r"fits failed(.|\n)*FileNotFoundError.*does not see"):
        RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=2).fit(iris, species)
    assert exact.taken == []


def test_rows_that_differ_from_fit_to_fit_are_not_mixed_up(pipeline, iris, species, exact):
    def noise(X):
        return X + 0.1 * np.random.default_rng().standard_normal(X.shape)

    pipeline.set_params(scale=FunctionTransformer(noise))
    RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, cv=2).fit(iris, species)
    assert (len(exact.fits), len(exact.taken)) == (2, 0)


def test_errors_come_before_any_fit(pipeline, iris, species, exact):
    def fails(match, **params):
        with pytest.raises(ValueError, match=match):
            RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, **params).fit(iris, species)

    fails("'cv' parameter of RateSearchCV", cv="two")
    fails("refit must be set", scoring=["accuracy", "f1_macro"])
    fails("greater than the number of members", cv=51)
    assert exact.fits == []


def test_a_search_that_fails_leaves_its_parameters_alone(pipeline, iris, species, exact):
    search = RateSearchCV(pipeline, {"hvae__layer_rates": RATES}, scoring=["accuracy"])
    before = dict(vars(search))
    with pytest.raises(ValueError, match="refit must be set"):
        search.fit(iris, species)
    assert vars(search) == before


# The multi-rate model itself.


def by_hand(pipeline, grid, splits, X, y):
    """Score candidates in a loop over splits, with one multi-rate model for each."""
    candidates = list(ParameterGrid(grid))
    hvae = pipeline["hvae"]
    rates = np.array([c["hvae__layer_rates"] for c in candidates]).reshape(len(candidates), -1)
    scores = np.empty((len(candidates), len(splits)))
    for j, (train, test) in enumerate(splits):
        scale = StandardScaler().fit(X[train])
        multi = MultiRateHVAETransformer(
            np.stack([rates.min(0), rates.max(0)], axis=1).tolist(),
            layer_rates=candidates[0]["hvae__layer_rates"],
            n_components=hvae.n_components,
            hidden_layer_sizes=hvae.hidden_layer_sizes,
            max_epochs=2 * hvae.max_epochs,
            batch_size=3 * hvae.batch_size,
            random_state=hvae.random_state,
        ).fit(scale.transform(X[train]))
        for i, candidate in enumerate(candidates):
            single = multi.at(candidate["hvae__layer_rates"])
            single.set_params(output_layers=candidate["hvae__output_layers"])
            clf = LogisticRegression(max_iter=1000, C=candidate["clf__C"])
            clf.fit(single.transform(scale.transform(X[train])), y[train])
            scores[i, j] = clf.score(single.transform(scale.transform(X[test])), y[test])
    return scores


@pytest.mark.slow
@pytest.mark.usefixtures("always_shared", "coarse_plane")
@pytest.mark.parametrize("rates", [[0.5, 1, 3], [(0.5, 1), (1, 0.5)]], ids=str)
def test_scores_are_those_of_a_loop_by_hand(pipeline, iris, species, rates):
    grid = {"hvae__layer_rates": rates, "hvae__output_layers": ["all", 1], "clf__C": [0.1, 10]}
    splits = list(StratifiedKFold(2).split(iris, species))
    search = RateSearchCV(pipeline, grid, cv=2).fit(iris, species)
    scores = np.stack([search.cv_results_[f"split{j}_test_score"] for j in (0, 1)], axis=1)
    np.testing.assert_array_equal(scores, by_hand(pipeline, grid, splits, iris, species))
    best = clone(pipeline).set_params(**search.best_params_).fit(iris, species)
    np.testing.assert_array_equal(search.predict_proba(iris), best.predict_proba(iris))


@pytest.mark.slow
@pytest.mark.usefixtures("always_shared")
def test_jobs_give_the_same(pipeline, iris, species):
    grid = {"hvae__layer_rates": [0.5, 1, 3], "hvae__likelihood": ["gaussian", Gaussian()]}
    one, two = (
        RateSearchCV(pipeline, grid, scoring="neg_log_loss", cv=2, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )
    # Single-rate models score otherwise.
    assert_same(two.fit(iris, species), one.fit(iris, species), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("always_shared", "coarse_plane")
def test_pickle_of_a_fitted_search(pipeline, iris, species):
    search = RateSearchCV(pipeline, {"hvae__layer_rates": [0.5, 1]}, cv=2).fit(iris, species)
    stored = pickle.dumps(search)
    assert b"Plane" not in stored
    np.testing.assert_array_equal(pickle.loads(stored).predict(iris), search.predict(iris))  # noqa: S301


# scikit-learn's own tests.

# By default, a frame of numbers is another table than an array, and one of the tests compares them.
AS_ARRAYS = clone(HVAE).set_params(likelihood="gaussian", missing="error")


@parametrize_with_checks(
    [
        RateSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, error_score="raise"),
        RateSearchCV(
            Pipeline([("hvae", AS_ARRAYS), ("clf", LogisticRegression())]),
            {"hvae__layer_rates": [1, 2]},
            cv=2,
            error_score="raise",
        ),
    ],
    # As it does for GridSearchCV.
    expected_failed_checks=lambda search: (
        {"check_supervised_y_2d": "ridge takes it"} if isinstance(search.estimator, Ridge) else {}
    ),
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("exact")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def pytest_generate_tests(metafunc):
    """Give `test_tests_of_scikit_learn` those on GridSearchCV that need no fixtures."""
    if "sklearn_test" not in metafunc.fixturenames:
        return
    # Their module asks for this marker when it is imported.
    metafunc.config.addinivalue_line("markers", "thread_unsafe: of scikit-learn's tests")
    module = importlib.import_module("sklearn.model_selection.tests.test_search")
    tests = [
        pytest.param(test, id=name, marks=getattr(test, "pytestmark", ()))
        for name, test in vars(module).items()
        if inspect.isfunction(test)
        and name.startswith("test_")
        and not inspect.signature(test).parameters
        and "GridSearchCV" in test.__code__.co_names
        # It wants every attribute that GridSearchCV has to be one of a base class too.
        and name != "test_custom_run_search"
    ]
    assert len(tests) >= 40
    metafunc.parametrize("sklearn_test", tests)


@pytest.mark.filterwarnings("ignore")
def test_tests_of_scikit_learn(sklearn_test, monkeypatch):
    monkeypatch.setitem(sklearn_test.__globals__, "GridSearchCV", RateSearchCV)
    sklearn_test()


# Grids and distributions of rates.


def test_rate_grid():
    grid = rate_grid([1, 4], np.array([0.5, 2, 8]), (3,))
    assert grid == [(a, b, 3.0) for a in (1.0, 4.0) for b in (0.5, 2.0, 8.0)]
    assert all(type(rate) is float for rates in grid for rate in rates)
    assert rate_grid([1, 2]) == [(1.0,), (2.0,)]
    assert rate_grid(2, [1, 4]) == [(2.0, 1.0), (2.0, 4.0)]


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ((), "needs the rates of a layer"),
        (([[1]], 4), r"rates of z_1 must be a number, or a sequence.*got \[\[1\]\]\."),
        (([1], []), r"rates of z_2 must be a number.*got \[\]\."),
        (([1], [2, 0]), r"every entry of the rates of z_2 must be positive.*\(2\.0, 0\.0\)"),
        ((["a"],), "the rates of z_1 must be"),
    ],
)
def test_rate_grid_refuses(layers, match):
    with pytest.raises(ValueError, match=match):
        rate_grid(*layers)


def test_rates_are_log_uniform_and_independent():
    draws = np.log2(RateDistribution(0.5, (8, 32)).rvs(4000, random_state=0))
    low, high = np.array([-1, -1]), np.array([3, 5])
    unit = np.sort((draws - low) / (high - low), axis=0)
    assert unit.min() >= 0
    assert unit.max() <= 1
    # Kolmogorov's distance, whose 0.1% point is 1.95 / sqrt(n).
    assert abs(unit - np.linspace(0, 1, 4000)[:, None]).max() < 1.95 / 4000**0.5
    assert abs(np.corrcoef(draws.T)[0, 1]) < 3.3 / 4000**0.5


def test_a_layer_may_keep_its_rate():
    assert RateDistribution([1, 2, 3], [9, 2, 9], n_layers=3).rvs(random_state=0)[1] == (
        pytest.approx(2)
    )


def test_shapes_and_seeds_of_draws():
    rates = RateDistribution(n_layers=3)
    one = rates.rvs(random_state=0)
    assert type(one) is tuple
    assert [type(rate) for rate in one] == [float] * 3
    assert rates.rvs(1, random_state=0) == [one]
    assert len(rates.rvs(5, np.random.RandomState(0))) == 5
    assert rates.rvs(2) != rates.rvs(2)


def test_repr_of_a_distribution():
    rates = RateDistribution([1, 2], 8)
    assert repr(rates) == "RateDistribution(low=[1, 2], high=8, n_layers=2)"
    assert eval(repr(rates)).rvs(random_state=0) == rates.rvs(random_state=0)  # noqa: S307


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"low": 0}, "every entry of low must be positive"),
        ({"high": "a"}, "high must be a positive number"),
        ({"low": [1, 2, 3]}, "low has 3 entries but n_layers is 2"),
        ({"low": 4, "high": (8, 2)}, r"low must not exceed high in any layer; got low=4 and"),
        ({"n_layers": 0}, "n_layers must be a positive int; got 0"),
        ({"n_layers": 1.5}, "n_layers must be a positive int; got 1.5"),
    ],
)
def test_a_distribution_refuses(params, match):
    with pytest.raises(ValueError, match=match):
        RateDistribution(**params)


def test_a_distribution_in_a_random_search(pipeline, iris, species):
    space = {"hvae__layer_rates": RateDistribution(1, 4)}
    search = RandomizedSearchCV(pipeline, space, n_iter=3, cv=2, random_state=0)
    search.fit(iris, species)
    again = clone(search).fit(iris, species)
    assert search.cv_results_["params"] == again.cv_results_["params"]
    rates = np.array([c["hvae__layer_rates"] for c in search.cv_results_["params"]])
    assert rates.shape == (3, 2)
    assert ((rates >= 1) & (rates <= 4)).all()


def test_notebooks_show_the_best_candidates_first(pipeline, iris, species, exact):
    grid = {"hvae__layer_rates": RATES, "clf__C": [1, 10], "clf__fit_intercept": [True, "<b>"]}
    search = RateSearchCV(pipeline, grid, cv=2, error_score=-1.0)
    with pytest.warns(FitFailedWarning):
        search.fit(iris, species)
    shown = search._repr_html_()
    head, *lines = Tables(shown).after("12 candidates, scored on 2 splits")
    assert head == ["clf__C", "clf__fit_intercept", "hvae__layer_rates", "mean score"]
    scores = [float(line[-1].split()[0]) for line in lines]
    expected = np.sort(search.cv_results_["mean_test_score"])[::-1]
    np.testing.assert_allclose(scores, expected[:5], atol=1e-4)
    assert lines[0][:3] == [repr(search.best_params_[name]) for name in head[:3]]
    assert "and 7 more, see <code>cv_results_</code>" in shown
    rates = search.best_estimator_["hvae"].rates_
    layers = Tables(shown).after("2 layers, rates and targets")
    np.testing.assert_allclose([float(line[-1]) for line in layers[1:3]], rates, atol=0.005)
    assert "candidates" not in clone(search)._repr_html_()


def test_notebooks_show_a_search_without_a_best_estimator(small, iris, exact):
    scoring = {
        "low": lambda estimator, X, y=None: -estimator.layer_rates[0],
        "high": lambda estimator, X, y=None: estimator.layer_rates[0],
    }
    search = RateSearchCV(small(), {"layer_rates": RATES}, cv=2, scoring=scoring, refit=False)
    head, first, *_ = Tables(search.fit(iris)._repr_html_()).after("3 candidates")
    assert head == ["layer_rates", "mean low", "mean high"]
    assert first == [repr(RATES[0]), "-1 ± 0", "1 ± 0"]


def test_notebooks_show_no_layers_of_other_transformers(pipeline, iris, species, exact):
    grid = [{"hvae__layer_rates": RATES[:1]}, {"hvae": [StandardScaler(), "passthrough"]}]
    search = RateSearchCV(pipeline, grid, cv=2).fit(iris, species)
    assert not isinstance(search.best_estimator_["hvae"], HierarchicalVAETransformer)
    shown = Tables(search._repr_html_())
    assert shown.after("3 candidates")[0] == ["hvae__layer_rates", "hvae", "mean score"]
    assert not any("layers" in summary for summary in shown.summaries)
