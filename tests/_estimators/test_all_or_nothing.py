"""All fitted attributes change together, or none does: whatever ends a fit, and whenever."""

import copy
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from every_kind import make
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sk_hvae import HVAEClusterer, MultiRateHVAETransformer, exceptions
from sk_hvae.exceptions import TrainingDivergedError, TrainingMemoryError
from sk_hvae.nn import Gaussian, HierarchicalVAE

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.OutlierWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ScaleWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.usefixtures("coarse_plane"),
]

KINDS = {
    "transformer": {},
    "early stopping": {"early_stopping": True},
    "missing cells": {"missing": "mask", "likelihood": Gaussian(sigma="optimal")},
    "warm start": {"warm_start": True},
    "partial_fit": {},
    "multi-rate": {"kind": MultiRateHVAETransformer, "rate_range": (0.5, 4)},
    "clusterer": {
        "kind": HVAEClusterer,
        "n_clusters": 3,
        "n_init": 2,
        "layer_rates": (1, 1),
        "likelihood": "gaussian",
    },
}
CONTINUED = ("warm start", "partial_fit")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_kind_of_fit = pytest.mark.parametrize("kind", [k for k in KINDS if k != "partial_fit"])
every_new_fit = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CONTINUED])


def train(model, kind, X):
    return model.partial_fit(X) if kind == "partial_fit" else model.fit(X)


# Rows of the first fit and of the refits. Column "b" is constant at first, and then no more.
IRIS = load_iris().data
FIRST = pd.DataFrame(IRIS[:100], columns=list("abcd")).assign(b=1.0)
OTHER = pd.DataFrame(IRIS[60:] * [1, 1, 1, 2], columns=list("abcd"))
CHANGES = {
    "rows": (OTHER, {}),
    "fewer columns": (OTHER[["a", "c", "d"]], {}),
    "more columns": (OTHER.assign(e=OTHER["a"] ** 2), {}),
    "names": (OTHER.rename(columns={"a": "e"}), {}),
    "no names": (OTHER.to_numpy(), {}),
    "precision": (OTHER.astype("float32"), {}),
    "layers": (OTHER, {"layer_rates": (1, 1, 1)}),
    "rates": (OTHER, {"layer_rates": (0.5, 1.5), "n_components": 3}),
}


@pytest.fixture(scope="module")
def fitted():
    """Return a function that gives a copy of a fitted model of a kind."""
    models = {}

    def give(kind):
        if kind not in models:
            models[kind] = train(make(**{**KINDS[kind], "batch_size": 50}), kind, FIRST)
        return copy.deepcopy(models[kind])

    return give


# What is known of a fitted model.


def frozen(value):
    """Copy a fitted attribute to what `numpy.testing.assert_equal` can compare."""
    if isinstance(value, torch.nn.Module):
        weights = {name: frozen(tensor) for name, tensor in value.state_dict().items()}
        return {**weights, "training": value.training, "repr": repr(value)}
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, pd.DataFrame):
        return {"dtypes": value.dtypes.astype(str).to_dict(), **value.to_dict("list")}
    if isinstance(value, dict):
        return {name: frozen(item) for name, item in value.items()}
    if hasattr(value, "_asdict"):
        return frozen(value._asdict())
    return frozen(value.arrays) if hasattr(value, "arrays") else copy.deepcopy(value)


def public_attributes(model):
    """List the names that scikit-learn reads as those of a fitted model."""
    names = {*vars(model), *dir(type(model))}
    return sorted(n for n in names if n.endswith("_") and not n.startswith("_"))


def attributes(model):
    """Copy all fitted attributes of a model."""
    found = {n: frozen(getattr(model, n)) for n in public_attributes(model) if hasattr(model, n)}
    return {**found, "summary": frozen(model.likelihood_.summary)}


def answers(model, X):
    """Compute what a model says of rows."""
    found = {
        "transform": model.transform(X),
        "score_samples": model.score_samples(X),
        "typicality": model.typicality(X),
        "reconstruct": model.reconstruct(X, "top", resample=True),
        "sample": model.sample(3),
        "names": model.get_feature_names_out(),
    }
    if isinstance(model, HVAEClusterer):
        found["predict_proba"] = model.predict_proba(X)
        found["sample of a cluster"] = model.sample(3, cluster=0)
    return frozen(found)


def everything(model, X):
    return {**attributes(model), **answers(model, X)}


def differing(found, expected):
    """List the names under which two dicts hold different things, or only one does."""
    names = [*(found.keys() ^ expected.keys())]
    for name in found.keys() & expected.keys():
        try:
            np.testing.assert_equal(found[name], expected[name])
        except AssertionError:
            names.append(name)
    return sorted(names)


def changed(model, before):
    """List what has changed in a model that was fitted to `FIRST`."""
    found = attributes(model)
    names = differing(found, {name: before[name] for name in before if name in found})
    names += [n for n in before if n.endswith("_") and n not in found]
    # With other columns, it would not even answer.
    return names or differing({**found, **answers(model, FIRST)}, before)


def assert_unchanged(model, before):
    names = changed(model, before)
    assert not names, f"a fit that failed has changed {', '.join(names)}, and nothing else"


def assert_all_or_none(model, before, X, new):
    """Check that a model is as before, or as ``new`` is, which was fitted to X."""
    since = changed(model, before)
    if since:
        old = differing(everything(model, X), everything(new, X))
        assert not old, (
            f"a fit that failed has changed {', '.join(since)}, but not {', '.join(old)}"
        )


class CallbackFailedError(Exception):
    pass


class Raises(Callback):
    """Raise at the n-th call of a method."""

    def __init__(self, method, n=1, error=CallbackFailedError):
        self.n_to_come, self.error = n, error
        setattr(self, method, self._count)

    def _count(self, *args, **kwargs):
        self.n_to_come -= 1
        if self.n_to_come == 0:
            raise self.error


# Callbacks of skorch that raise.


@every_kind
def test_fits_that_end_well_change_what_is_compared_here(fitted, kind):
    model = fitted(kind)
    before = everything(model, FIRST)
    train(model, kind, OTHER)
    expected = {"module_", "rates_", "distortion_", "likelihood_", "transform", "sample"}
    if kind == "clusterer":  # of which all starts may agree, both times
        expected |= {"labels_", "cluster_sizes_", "cluster_tree_", "predict_proba"}
    assert expected <= {*differing(everything(model, FIRST), before)}


MOMENTS = {
    "initialize": 1,
    "on_train_begin": 1,
    "on_epoch_begin": 1,
    "on_batch_begin": 1,
    "on_batch_end": 2,
    "on_epoch_end": 1,
    "on_train_end": 1,
}


@every_kind
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_callback_that_raises_at_any_moment_of_a_refit_leaves_all(fitted, kind, moment):
    model = fitted(kind)
    before = everything(model, FIRST)
    X = OTHER if kind in CONTINUED else OTHER[["a", "c", "d"]]
    model.set_params(callbacks=[Raises(moment, MOMENTS[moment])])
    with pytest.raises(CallbackFailedError):
        train(model, kind, X)
    assert_unchanged(model, before)


@every_kind
@pytest.mark.parametrize("change", CHANGES)
def test_a_refit_to_anything_that_fails_leaves_all(fitted, kind, change):
    X, params = CHANGES[change]
    model = fitted(kind)
    before, old_params = everything(model, FIRST), model.get_params()
    model.set_params(callbacks=[Raises("on_batch_end", 2)], **params)
    # Fits that go on refuse all but other rows.
    refused = kind in CONTINUED and change not in ("rows", "precision", "no names")
    with pytest.raises(ValueError if refused else CallbackFailedError):
        train(model, kind, X)
    model.set_params(**old_params)
    assert_unchanged(model, before)


@every_kind
def test_a_fit_after_one_that_failed_is_as_if_that_had_not_been(fitted, kind):
    model, other = fitted(kind), fitted(kind)
    model.set_params(callbacks=[Raises("on_epoch_end")])
    with pytest.raises(CallbackFailedError):
        train(model, kind, OTHER)
    train(model.set_params(callbacks=None), kind, OTHER)
    assert not differing(everything(model, OTHER), everything(train(other, kind, OTHER), OTHER))


@every_kind
@pytest.mark.parametrize("moment", ["initialize", "on_batch_end", "on_train_end"])
def test_a_first_fit_that_fails_leaves_an_estimator_that_is_not_fitted(kind, moment):
    model = make(**{**KINDS[kind], "callbacks": [Raises(moment)]})
    with pytest.raises(CallbackFailedError):
        train(model, kind, FIRST)
    assert [name for name in public_attributes(model) if hasattr(model, name)] == []
    with pytest.raises(NotFittedError):
        model.transform(FIRST)


# Callbacks of scikit-learn's protocol that raise.


class RaisesInTask:
    """Raise at the begin or end of a task, after having asked for the estimators so far."""

    def __init__(self, moment, task):
        self.moment, self.task = moment, task

    def setup(self, estimator, context):
        self._raise_at("setup", context)

    def on_fit_task_begin(self, estimator, context):
        self._raise_at("begin", context)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self._raise_at("end", context)

    def teardown(self, estimator, context):
        pass

    def _raise_at(self, moment, context):
        if (moment, context.task_name) == (self.moment, self.task):
            raise CallbackFailedError


@every_kind_of_fit
@pytest.mark.parametrize(
    ("moment", "task"),
    [("setup", "fit"), ("begin", "fit"), ("begin", "epoch 1"), ("end", "epoch 2"), ("end", "fit")],
)
def test_a_callback_of_scikit_learn_that_raises_leaves_all(fitted, kind, moment, task):
    pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
    model, other = fitted(kind), fitted(kind)
    before = everything(model, FIRST)
    X = OTHER if kind in CONTINUED else OTHER[["a", "c", "d"]]
    with pytest.raises(CallbackFailedError):
        model.set_callbacks(RaisesInTask(moment, task)).fit(X)
    if (moment, task) == ("end", "fit"):
        assert_all_or_none(model, before, X, other.fit(X))
    else:
        assert_unchanged(model, before)


# Ctrl-C outside of the training, which leaves no model that could be used.


def interrupt(monkeypatch, method, *, trained):
    """Press Ctrl-C at the next call of a method of a model that has been trained, or of any."""
    called = getattr(HierarchicalVAE, method)

    def replaced(self, *args, **kwargs):
        if trained and (self.training or not torch.is_inference_mode_enabled()):
            return called(self, *args, **kwargs)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(HierarchicalVAE, method, replaced)


@pytest.mark.parametrize("method", ["forward", "encode"])
def test_ctrl_c_before_a_clusterer_has_clusters_leaves_all(fitted, monkeypatch, method):
    model = fitted("clusterer")
    before = everything(model, FIRST)
    interrupt(monkeypatch, method, trained=False)
    with pytest.raises(KeyboardInterrupt):
        model.fit(OTHER[["a", "c", "d"]])
    assert_unchanged(model, before)


@every_kind
@pytest.mark.parametrize("method", ["infer_and_decode", "set_scales"])
def test_ctrl_c_while_the_trained_model_is_measured(fitted, monkeypatch, kind, method):
    model, other = fitted(kind), fitted(kind)
    before = everything(model, FIRST)
    new = train(other, kind, OTHER)
    interrupt(monkeypatch, method, trained=method != "set_scales")
    with pytest.raises(KeyboardInterrupt):
        train(model, kind, OTHER)
    assert_all_or_none(model, before, OTHER, new)


def test_ctrl_c_while_the_centres_of_clusters_are_computed(fitted, monkeypatch):
    model, other = fitted("clusterer"), fitted("clusterer")
    before = everything(model, FIRST)
    new = other.fit(OTHER)
    interrupt(monkeypatch, "decode", trained=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(OTHER)
    assert_all_or_none(model, before, OTHER, new)


# Rows and parameters that are refused.


def with_cell(value):
    X = OTHER[["a", "c", "d"]].astype(object if isinstance(value, str) else float)
    X.iloc[3, 1] = value
    return X


REFUSED_ROWS = {
    "infinity": with_cell(np.inf),
    "words": with_cell("three").to_numpy(),
    "lists": OTHER[["a", "c"]].assign(d=[[1]] * len(OTHER)),
    "too few": OTHER[["a", "c", "d"]][:1],
    "none": OTHER[["a", "c", "d"]][:0],
    "one axis": OTHER["a"],
    "three axes": np.ones((9, 3, 3)),
    "no columns": OTHER[[]],
}
REFUSED_PARAMS = {
    "lr": -1.0,
    "max_epochs": 0,
    "batch_size": 0.5,
    "layer_rates": (1, -1),
    "n_components": (1, 2, 3),
    "hidden_layer_sizes": (8, 0),
    "network": "conv",
    "image_shape": (1, 7, 7),
    "likelihood": "bernoulli",
    "output_layers": 9,
    "device": "cuda:99",
    "callbacks": ["no callback"],
    "random_state": "no seed",
}


@every_kind
def test_rows_that_are_refused_leave_all(fitted, kind):
    cases = dict(REFUSED_ROWS)
    # Where cells may be missing, a column still needs a value.
    holey = with_cell(np.nan) if kind != "missing cells" else with_cell(1).assign(c=np.nan)
    cases["NaN"] = holey.to_numpy()
    model = fitted(kind)
    before, wrong = everything(model, FIRST), {}
    for case, X in cases.items():
        with pytest.raises((ValueError, TypeError)):
            train(model, kind, X)
        if names := changed(model, before):
            model, wrong[case] = fitted(kind), names
    assert not wrong, f"rows that were refused have changed {wrong}"


@every_kind
def test_parameters_that_are_refused_leave_all(fitted, kind):
    cases = dict(REFUSED_PARAMS)
    if kind == "partial_fit":  # for which scikit-learn checks parameters in the first call only
        del cases["max_epochs"], cases["batch_size"]
    X = OTHER if kind in CONTINUED else OTHER[["a", "c", "d"]]
    model = fitted(kind)
    before, old_params, wrong = everything(model, FIRST), model.get_params(), {}
    for name, value in cases.items():
        with pytest.raises((ValueError, TypeError)):
            train(model.set_params(**{name: value}), kind, X)
        if names := changed(model.set_params(**old_params), before):
            model, wrong[name] = fitted(kind), names
    assert not wrong, f"parameters that were refused have changed {wrong}"


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("early stopping", {"validation_fraction": 0.99}),
        ("multi-rate", {"rate_range": (4, 0.5)}),
        ("multi-rate", {"top_layer": "categorical", "n_components": (2, 1)}),
        ("clusterer", {"n_clusters": 1000}),
        ("clusterer", {"layer_rates": (1, 9)}),
    ],
)
def test_parameters_of_a_kind_that_are_refused_leave_all(fitted, kind, params):
    model = fitted(kind)
    before, old_params = everything(model, FIRST), model.get_params()
    with pytest.raises(ValueError, match=r"validation_fraction|rate_range|n_components|n_clusters"):
        model.set_params(**params).fit(OTHER[["a", "c", "d"]])
    model.set_params(**old_params)
    assert_unchanged(model, before)


# Warnings that a user has turned into errors.


@contextmanager
def as_error(kind):
    """Raise warnings of a kind, and expect one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", kind)
        with pytest.raises(kind):
            yield


def wild():
    X = OTHER[["a", "c", "d"]].copy()
    X.iloc[3, 1] = 1e9
    return X


BEFORE_TRAINING = {
    "OutlierWarning": (wild(), {"likelihood": "gaussian"}),
    "CategoryWarning": (
        pd.DataFrame({"n": np.arange(300.0)}),
        {"likelihood": "categorical"},
    ),
    "ImageShapeWarning": (
        pd.DataFrame(np.tile(OTHER, 19)[:, :75]),
        {"image_shape": (5, 5, 3)},
    ),
}


@every_new_fit
@pytest.mark.parametrize("warning", BEFORE_TRAINING)
def test_a_warning_before_the_training_as_an_error_leaves_all(fitted, kind, warning):
    X, params = BEFORE_TRAINING[warning]
    model = fitted(kind)
    before, old_params = everything(model, FIRST), model.get_params()
    model.set_params(**params)
    with as_error(getattr(exceptions, warning)):
        model.fit(X)
    model.set_params(**old_params)
    assert_unchanged(model, before)


@pytest.mark.parametrize("kind", CONTINUED)
def test_a_warning_of_other_scales_as_an_error_leaves_all(fitted, kind):
    model = fitted(kind)
    before = everything(model, FIRST)
    with as_error(exceptions.ScaleWarning):
        train(model, kind, OTHER * 1000)
    assert_unchanged(model, before)


@every_kind_of_fit
def test_a_warning_after_the_training_as_an_error_leaves_all_or_nothing(fitted, kind):
    model, other = fitted(kind), fitted(kind)
    before = everything(model, FIRST)
    out_of_reach = {"layer_rates": (30, 30)}
    if kind == "clusterer":
        out_of_reach = {"n_clusters": 60, "layer_rates": (1, 0.1)}
    new = other.set_params(**out_of_reach).fit(OTHER)
    model.set_params(**out_of_reach)
    with as_error(
        exceptions.ClusterWarning if kind == "clusterer" else exceptions.RateTargetWarning
    ):
        model.fit(OTHER)
    assert_all_or_none(model, before, OTHER, new)


# Fits that keep what they have come to: all of it is of the new fit.


class Poison(Callback):
    """Make the weights non-finite at the begin of the second pass."""

    def __init__(self):
        self.n_begun = 0

    def on_epoch_begin(self, net, **kwargs):
        self.n_begun += 1
        if self.n_begun == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(np.nan)


def assert_of_one_fit(model, X):
    """Check that attributes describe the weights, as measured on X."""
    assert model.n_features_in_ == X.shape[1]
    assert list(model.feature_names_in_) == list(X.columns)
    assert len(model.history_["train_distortion"]) == model.n_iter_
    assert len(model.rates_) == len(model.betas_) == model.n_layers_ == len(model.n_components_)
    assert not model.converged_
    assert model.transform(X).shape == (len(X), sum(model.n_components_))
    assert model.sample(2).shape == (2, X.shape[1])
    if not isinstance(model, MultiRateHVAETransformer):
        # Those of a multi-rate model are interpolated.
        np.testing.assert_allclose(model.rates(X).mean(0), model.rates_, rtol=1e-3)
        assert model.score(X) == pytest.approx(model.lower_bound_, rel=1e-3)
    if isinstance(model, HVAEClusterer):
        np.testing.assert_array_equal(model.predict(X), model.labels_)
        np.testing.assert_array_equal(np.bincount(model.labels_), model.cluster_sizes_)
        assert model.predict_proba(X).shape == (len(X), len(model.cluster_sizes_))
        assert model.cluster_centers_.shape == (len(model.cluster_sizes_), X.shape[1])
        assert len(model.cluster_tree_) == len(model.cluster_sizes_) - 1


ENDS = {
    "divergence": (Poison, TrainingDivergedError),
    "no memory": (lambda: Raises("on_batch_begin", 4, MemoryError), TrainingMemoryError),
}


@pytest.mark.parametrize("end", ENDS)
@every_kind_of_fit
def test_a_fit_that_keeps_what_it_has_come_to_keeps_all_of_it(fitted, kind, end):
    make_callback, error = ENDS[end]
    model, fresh = fitted(kind), make(**{**KINDS[kind], "batch_size": 50})
    X = OTHER if kind in CONTINUED else OTHER[["a", "c", "d"]]
    old = model.rates_
    with pytest.raises(error):
        model.set_params(callbacks=[make_callback()]).fit(X)
    assert (model.rates_ != old).any()
    assert_of_one_fit(model, X)
    if kind not in CONTINUED:
        with pytest.raises(error):
            fresh.set_params(callbacks=[make_callback()]).fit(X)
        assert not differing(everything(model, X), everything(fresh, X))


def test_divergence_before_a_clusterer_has_clusters_leaves_all(fitted, monkeypatch):
    model = fitted("clusterer")
    before = everything(model, FIRST)
    forward = HierarchicalVAE.forward

    def lost(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        return output._replace(distortion=output.distortion * np.nan)

    monkeypatch.setattr(HierarchicalVAE, "forward", lost)
    with pytest.raises(TrainingDivergedError, match="the clusterer is as it was before"):
        model.fit(OTHER[["a", "c", "d"]])
    monkeypatch.undo()
    assert_unchanged(model, before)
