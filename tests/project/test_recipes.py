"""Searches and callbacks of other libraries, as the gallery shows them."""

import warnings

import numpy as np
import optuna
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import HalvingGridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback, Checkpoint, EpochScoring, LRScheduler, TensorBoard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")


class RaiseAt(Callback):
    """Raise an exception at the n-th call of a method."""

    def __init__(self, error, n=2, method="on_epoch_end"):
        self.error, self.n, self.n_calls = error, n, 0
        setattr(self, method, self._count)

    def _count(self, net, **kwargs):
        self.n_calls += 1
        if self.n_calls == self.n:
            raise self.error


class Dropping(torch.nn.Module):
    """A network that behaves differently in training."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(n_inputs, n_outputs), torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.linear(x))


def dropping_encoder(n_inputs):
    return Dropping(n_inputs, 8)


def state(model):
    """Return copies of all that is fitted."""
    arrays = {name: tensor.clone() for name, tensor in model.module_.state_dict().items()}
    return arrays, model.rates_.copy(), model.betas_.copy(), model.distortion_, model.n_iter_


def assert_same_state(a, b):
    for name, tensor in a[0].items():
        assert torch.equal(tensor, b[0][name]), name
    for left, right in zip(a[1:], b[1:], strict=True):
        np.testing.assert_array_equal(left, right)


# A callback's own exception.

KINDS = {
    "transformer": HierarchicalVAETransformer,
    "multi": MultiRateHVAETransformer,
    "clusterer": HVAEClusterer,
}


@pytest.mark.parametrize("method", ["on_train_begin", "on_batch_end", "on_epoch_end"])
def test_an_exception_of_a_callback_comes_out_as_it_is(small, iris, method):
    error = ValueError("enough")
    callback = RaiseAt(error, n=1, method=method)
    with pytest.raises(ValueError, match="enough") as raised:
        small(callbacks=[callback]).fit(iris)
    assert raised.value is error


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_fit_that_a_callback_broke_leaves_the_estimator_unfitted(kind, iris):
    model = KINDS[kind](hidden_layer_sizes=8, max_epochs=5, callbacks=[RaiseAt(ValueError())])
    with pytest.raises(ValueError):  # noqa: PT011
        model.fit(iris)
    assert not hasattr(model, "module_")
    assert not hasattr(model, "rates_")


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_fit_that_a_callback_broke_leaves_the_fit_before(small, iris, warm_start):
    model = small(warm_start=warm_start, network=(dropping_encoder, Dropping)).fit(iris)
    before, latents = state(model), model.transform(iris)
    model.set_params(callbacks=[RaiseAt(ValueError())], layer_rates=(2, 3))
    with pytest.raises(ValueError):  # noqa: PT011
        model.fit(iris[:100])
    assert_same_state(state(model), before)
    np.testing.assert_array_equal(model.transform(iris), latents)
    model.set_params(callbacks=None).fit(iris)
    assert not np.array_equal(model.transform(iris), latents)


def test_a_pass_that_a_callback_broke_leaves_the_passes_before(small, iris):
    model = small(callbacks=[RaiseAt(ValueError(), n=12, method="on_batch_end")])
    model.partial_fit(iris).partial_fit(iris)  # of five batches each
    before = state(model)
    with pytest.raises(ValueError):  # noqa: PT011
        model.partial_fit(iris)
    assert_same_state(state(model), before)
    assert model.partial_fit(iris).score(iris) != before[3]
    np.testing.assert_allclose(model.rates(iris).mean(0), model.rates_, rtol=1e-5)


# Optuna.


class Pruning(Callback):
    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        self.trial.report(-row["valid_distortion"] - sum(row["valid_rates"]), row["epoch"])
        if self.trial.should_prune():
            raise optuna.TrialPruned


@pytest.fixture
def study():
    """Return a maximising study whose pruner asks for better bounds than any."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    threshold = optuna.pruners.ThresholdPruner(lower=1e6, n_warmup_steps=3)
    return optuna.create_study(direction="maximize", pruner=threshold)


def test_optuna_prunes_fits_by_epoch(study, small, iris):
    models = []

    def objective(trial):
        rate = trial.suggest_float("rate", 1, 4)
        callbacks = [Pruning(trial)] if trial.number else []
        models.append(
            small(layer_rates=(1, rate), early_stopping=True, max_epochs=8, callbacks=callbacks)
        )
        return models[-1].fit(iris).score(iris)

    study.optimize(objective, n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [0, 3, 3]
    assert [hasattr(model, "module_") for model in models] == [True, False, False]
    assert study.best_value == models[0].score(iris)


def test_optuna_sees_the_held_out_bound_of_the_fit(study, small, iris):
    trial = study.ask()
    study.pruner = optuna.pruners.NopPruner()
    model = small(early_stopping=True, callbacks=[Pruning(trial)]).fit(iris)
    bound = -model.history_["valid_distortion"] - model.history_["valid_rates"].sum(1)
    reported = study.trials[0].intermediate_values
    assert reported == pytest.approx(dict(enumerate(bound, start=1)))


def test_copied_trials_report_elsewhere(study, small, iris):
    # Why the recipe fits by hand: searches and cross_val_score copy callbacks.
    trial = study.ask()
    model = small(early_stopping=True, callbacks=[Pruning(trial)], max_epochs=2)
    cross_val_score(model, iris, cv=2)
    assert study.trials[0].intermediate_values == {}


# Successive halving.


def by_hand(estimator, params, splits, X, y):
    scores = []
    for train, test in splits:
        model = clone(estimator).set_params(**params)
        y_train, y_test = (None, None) if y is None else (y[train], y[test])
        scores.append(model.fit(X[train], y_train).score(X[test], y_test))
    return np.mean(scores)


@pytest.mark.slow
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_halving_over_epochs_gives_the_scores_of_fits_by_hand(small, in_pipeline):
    X, y = load_iris(return_X_y=True)
    prefix = "hvae__" if in_pipeline else ""
    estimator = small(max_epochs="auto")
    if in_pipeline:
        estimator = Pipeline([("hvae", estimator), ("clf", LogisticRegression())])
    else:
        y = None
    rng = np.random.default_rng(0)
    splits = [(order[:100], order[100:]) for order in (rng.permutation(150) for _ in range(2))]
    search = HalvingGridSearchCV(
        estimator,
        {f"{prefix}layer_rates": [(1, 1), (1, 2), (2, 1), (2, 2)]},
        resource=f"{prefix}max_epochs",
        min_resources=2,
        max_resources=4,
        factor=2,
        cv=splits,
        random_state=0,
    ).fit(X, y)
    results = search.cv_results_
    assert search.n_resources_ == [2, 4]
    assert search.n_candidates_ == [4, 2]
    assert [params[f"{prefix}max_epochs"] for params in results["params"]] == [2] * 4 + [4] * 2
    expected = [by_hand(estimator, params, splits, X, y) for params in results["params"]]
    np.testing.assert_allclose(results["mean_test_score"], expected, rtol=1e-6)
    best = clone(estimator).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(
        search.best_estimator_[:-1].transform(X) if in_pipeline else search.transform(X),
        best[:-1].transform(X) if in_pipeline else best.transform(X),
    )


def test_halving_must_be_told_the_largest_number_of_epochs(small, iris):
    search = HalvingGridSearchCV(small(), {"layer_rates": [(1, 1), (1, 2)]}, resource="max_epochs")
    with pytest.raises(ValueError, match="max_resources"):
        search.fit(iris)


# skorch's callbacks.


class LayersOnBoard(TensorBoard):
    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        for name in ("train_rates", "target_rates", "betas"):
            for layer, value in enumerate(row[name], start=1):
                self.writer.add_scalar(f"{name}/z_{layer}", value, row["epoch"])
        super().on_epoch_end(net, **kwargs)


def test_tensorboard_has_the_history(small, iris, tmp_path):
    callbacks = [LayersOnBoard(SummaryWriter(tmp_path))]
    history = small(callbacks=callbacks, early_stopping=True).fit(iris).history_
    log = EventAccumulator(str(tmp_path)).Reload()

    def logged(tag):
        return [event.value for event in log.Scalars(tag)]

    for name in ("train_distortion", "valid_distortion"):
        np.testing.assert_allclose(logged(f"Loss/{name}"), history[name], rtol=1e-6)
    for name in ("train_rates", "target_rates", "betas"):
        columns = np.transpose([logged(f"{name}/z_{layer}") for layer in (1, 2)])
        np.testing.assert_allclose(columns, history[name], rtol=1e-6)
    assert [event.step for event in log.Scalars("betas/z_1")] == [1, 2, 3]


def test_skorch_writes_numbers_and_passes_over_lists(small, iris, tmp_path):
    small(callbacks=[TensorBoard(SummaryWriter(tmp_path))]).fit(iris)
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert set(tags) == {"Loss/train_loss", "Loss/train_distortion"}


def n_dimensions(net, rows, y=None):
    """Score that rises with the epoch."""
    return 10.0 * len(net.history) + net.module_.encode(torch.ones(1, 4))[0].shape[1]


def test_history_keeps_the_scores_of_callbacks(small, iris):
    scoring = EpochScoring(n_dimensions, lower_is_better=False, use_caching=False)
    history = small(callbacks=[scoring], early_stopping=True).fit(iris).history_
    assert history["n_dimensions"].tolist() == [12.0, 22.0, 32.0]
    assert history["n_dimensions_best"].tolist() == [True, True, True]


class Note(Callback):
    """Record something else each epoch."""

    def __init__(self, *notes):
        self.notes = notes

    def on_epoch_end(self, net, **kwargs):
        net.history.record("note", self.notes[len(net.history) - 1])


@pytest.mark.parametrize(
    ("notes", "kept"),
    [((1, 2.5, True), [1, 2.5, 1]), (("a", 2, 3), None), ((1, [2, 3], 4), None)],
    ids=["numbers", "a text", "a list"],
)
def test_history_keeps_numbers_only(small, iris, notes, kept, tmp_path):
    model = small(callbacks=[Note(*notes)]).fit(iris)
    assert set(model.history_) - {"note"} == set(small().fit(iris).history_)
    if kept is None:
        assert "note" not in model.history_
    else:
        assert model.history_["note"].tolist() == kept
    model.save(tmp_path / "model")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model")
    assert set(loaded.history_) == set(model.history_)


def test_checkpoints_hold_the_weights_of_their_epochs(small, iris, tmp_path):
    checkpoint = Checkpoint(monitor=None, f_params="{last_epoch[epoch]}.pt", dirname=tmp_path)
    model = small(callbacks=[checkpoint]).fit(iris)
    kept = torch.load(tmp_path / "3.pt")
    for name, tensor in model.module_.named_parameters():
        assert torch.equal(kept[name], tensor), name
    assert (tmp_path / "1.pt").exists()


def test_a_schedule_of_learning_rates_has_no_power(small, iris):
    scheduled = small(callbacks=[LRScheduler("StepLR", step_size=1, gamma=1e-3)]).fit(iris)
    np.testing.assert_array_equal(scheduled.transform(iris), small().fit(iris).transform(iris))


def test_a_writer_cannot_be_copied_with_its_estimator(small, tmp_path):
    # Why a search needs callbacks that open it themselves.
    with SummaryWriter(tmp_path) as writer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="pickle"):
            clone(small(callbacks=[TensorBoard(writer)]))
