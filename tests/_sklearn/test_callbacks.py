"""Callbacks of scikit-learn's protocol get y, and the estimator as it is after each epoch."""

import copy

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    RateSearchCV,
)
from sk_hvae._fit.loop import HVAENet
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn import Gaussian

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
    pytest.mark.usefixtures("coarse_plane"),
]

TINY = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 3,
    "batch_size": 50,
    "random_state": 0,
}
KINDS = {
    "single": lambda: HierarchicalVAETransformer((1, 2), **TINY),
    "sigma of each batch": lambda: HierarchicalVAETransformer(
        1, likelihood=Gaussian(sigma="optimal"), **TINY
    ),
    "betas": lambda: HierarchicalVAETransformer(None, betas=(1.0, 1.0), **TINY),
    "categorical": lambda: HierarchicalVAETransformer((1, 1), top_layer="categorical", **TINY),
    "multi": lambda: MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 2), **TINY),
    "clusterer": lambda: HVAEClusterer(3, n_init=2, **TINY),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def species():
    return load_iris().target


def bound(estimator, X, y):
    """Score as the estimator itself does."""
    return estimator.score(X)


def monitor(**scores):
    return callback.ScoringMonitor(scoring=scores or {"bound": bound})


def scores_of(monitor, name="bound"):
    """Return the scores of the epochs in order, and that of the whole fit."""
    rows = monitor.get_logs().data
    epochs = [row[name] for row in rows if row["task_name"].startswith("epoch")]
    (whole,) = (row[name] for row in rows if row["task_name"] == "fit")
    return epochs, whole


class KeepEpochs(Callback):
    """Keep the weights after each epoch, by skorch's way."""

    def on_epoch_end(self, net, **kwargs):
        self.weights = [*getattr(self, "weights", []), copy.deepcopy(net.module_.state_dict())]


class Fitted:
    """Keep what a callback is given."""

    def __init__(self):
        self.estimators, self.rows, self.labels = {}, [], []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.rows.append(X)
        self.labels.append(y)
        assert fitted_estimator is None

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.rows.append(X)
        self.labels.append(y)
        self.estimators[context.task_name] = fitted_estimator

    def teardown(self, estimator, context):
        pass


@every_kind
def test_there_is_a_score_for_every_epoch(make, iris, species):
    scores = monitor()
    estimator = make().set_callbacks(scores).fit(iris, species)
    epochs, whole = scores_of(scores)
    assert len(epochs) == estimator.n_iter_
    assert len(set(epochs)) == len(epochs)
    assert epochs[-1] == whole == estimator.score(iris)


def test_early_stopping_goes_back_to_one_of_the_epochs(iris, species):
    scores = monitor()
    model = HierarchicalVAETransformer(1, early_stopping=True, **TINY)
    model.set_callbacks(scores).fit(iris, species)
    epochs, whole = scores_of(scores)
    assert len(epochs) == 3
    assert whole == model.score(iris)
    assert whole in epochs


@every_kind
def test_scores_change_nothing(make, iris, species):
    scored = make().set_callbacks(monitor()).fit(iris, species)
    plain = make().fit(iris)
    np.testing.assert_array_equal(scored.transform(iris), plain.transform(iris))
    np.testing.assert_array_equal(scored.rates_, plain.rates_)
    assert not [name for name in vars(plain) if name not in vars(scored)]


@pytest.mark.parametrize("kind", ["single", "betas", "categorical"])
def test_scores_are_those_of_the_weights_after_each_epoch(kind, iris, species):
    keep, scores = KeepEpochs(), monitor()
    model = KINDS[kind]().set_params(callbacks=[keep]).set_callbacks(scores).fit(iris, species)
    epochs, _ = scores_of(scores)
    assert len(keep.weights) == len(epochs) == 3
    for weights, score in zip(keep.weights, epochs, strict=True):
        other = copy.deepcopy(model)
        other.module_.load_state_dict(weights)
        assert other.score(iris) == pytest.approx(score, rel=1e-12)


@every_kind
def test_a_fit_that_is_stopped_is_what_the_callback_saw(make, iris):
    class StopAtTwo(Fitted):
        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.estimators[context.task_name] = fitted_estimator
            return context.task_name == "epoch 2"

    seen = StopAtTwo()
    model = make().set_callbacks(seen).fit(iris)
    assert list(seen.estimators) == ["epoch 1", "epoch 2", "fit"]
    for name, expected in vars(model).items():
        if name.endswith("_") and isinstance(expected, (int, float, tuple, np.ndarray)):
            np.testing.assert_array_equal(getattr(seen.estimators["epoch 2"], name), expected)
    for other in (seen.estimators["epoch 2"], seen.estimators["fit"]):
        np.testing.assert_array_equal(other.transform(iris), model.transform(iris))
        np.testing.assert_array_equal(other.rates(iris), model.rates(iris))
    first = seen.estimators["epoch 1"]
    assert first.n_iter_ == 1
    assert (first.transform(iris) != model.transform(iris)).any()


@every_kind
@pytest.mark.parametrize("labelled", [True, False])
def test_rows_and_labels_are_handed_on_as_they_are(make, iris, species, labelled):
    seen = Fitted()
    y = species if labelled else None
    make().set_callbacks(seen).fit(iris, y)
    assert len(seen.rows) == 2 * (3 + 1)
    assert all(X is iris for X in seen.rows)
    assert all(label is y for label in seen.labels)


@every_kind
def test_no_epoch_is_measured_for_callbacks_that_do_not_ask(make, iris, monkeypatch):
    class Counts(Fitted):
        def on_fit_task_begin(self, estimator, context):
            self.estimators[context.task_name] = 1

        def on_fit_task_end(self, estimator, context, *, X=None):
            self.estimators[context.task_name] += 1

    def refuse(net):
        raise AssertionError("measured")

    estimator, seen = make(), Counts()
    monkeypatch.setattr(HVAENet, "stopped", refuse)
    estimator.set_callbacks(seen).fit(iris)
    assert seen.estimators == dict.fromkeys(["fit", "epoch 1", "epoch 2", "epoch 3"], 2)


def test_warm_starts_are_scored(iris, species):
    scores = monitor()
    model = KINDS["single"]().fit(iris)
    model.set_params(warm_start=True).set_callbacks(scores).fit(iris, species)
    epochs, whole = scores_of(scores)
    assert len(epochs) == 3
    assert epochs[-1] == whole == model.score(iris)


def test_scores_of_clusters_need_labels(iris, species):
    scores = monitor(ari=lambda est, X, y: adjusted_rand_score(y, est.predict(X)))
    model = KINDS["clusterer"]().set_callbacks(scores).fit(iris, species)
    epochs, whole = scores_of(scores, "ari")
    assert len(epochs) == 3
    assert whole == adjusted_rand_score(species, model.labels_)


def test_broken_weights_are_not_rebuilt(iris, species):
    class Break(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                next(net.module_.parameters()).data.fill_(np.nan)

    scores = monitor()
    model = KINDS["single"]().set_params(callbacks=[Break()]).set_callbacks(scores)
    with pytest.raises(TrainingDivergedError):
        model.fit(iris, species)
    assert [row["task_name"] for row in scores.get_logs().data] == ["epoch 1"]


# Inside other estimators.


def inside(hvae):
    return Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])


def test_in_a_pipeline(iris, species):
    scores = monitor()
    pipeline = inside(KINDS["single"]().set_callbacks(scores)).fit(iris, species)
    rows = [row for row in scores.get_logs().data if row["task_name"].startswith("epoch")]
    assert len(rows) == 3
    assert rows[-1]["bound"] == pipeline["hvae"].score(iris)


@pytest.mark.parametrize("search", [GridSearchCV, RateSearchCV])
def test_in_a_search_of_few_candidates(iris, species, search):
    scores = monitor()
    pipeline = inside(KINDS["single"]().set_callbacks(scores))
    grid = {"hvae__layer_rates": [(1, 2), (2, 1)]}
    fitted = search(pipeline, grid, cv=KFold(2, shuffle=True, random_state=0)).fit(iris, species)
    rows = [row for row in scores.get_logs().data if row["task_name"].startswith("epoch")]
    assert len(rows) == 3 * (2 * 2 + 1)
    # The last fit is the one that is not below "search".
    last = [row for row in rows if len(row["task_id_path"]) == 4]
    assert last[-1]["bound"] == fitted.best_estimator_["hvae"].score(iris)


def test_in_a_search_with_shared_fits(iris, species, always_shared):
    scores = monitor()
    pipeline = inside(KINDS["single"]().set_callbacks(scores))
    grid = {"hvae__layer_rates": [(1, 2), (2, 1)]}
    fitted = RateSearchCV(pipeline, grid, cv=2).fit(iris, species)
    names = [row["task_name"] for row in scores.get_logs().data]
    # Candidates that take their model from a shared fit have no epochs of their own.
    assert names.count("fit") == 2 * 2 + 1
    assert sum(name.startswith("epoch") for name in names) == 3
    assert fitted.shared_fit_time_ > 0


def test_a_bar_counts_the_epochs(iris, capsys):
    pytest.importorskip("rich")
    KINDS["single"]().set_callbacks(callback.ProgressBar()).fit(iris)
    shown = capsys.readouterr().out
    assert "HierarchicalVAETransformer - fit" in shown
    assert "100%" in shown
