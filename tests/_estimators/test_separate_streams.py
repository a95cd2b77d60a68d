"""Held-out rows have no say in the start, and split, start and noise draw independent numbers."""

import copy

import numpy as np
import pytest
import torch
from every_kind import make
from skorch.callbacks import Callback
from torch.overrides import TorchFunctionMode

from sk_hvae import MultiRateHVAETransformer
from sk_hvae.nn import DiscretizedLogistic, Gaussian, NegativeBinomial

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.OutlierWarning"),
    pytest.mark.usefixtures("coarse_plane"),
]

N_ROWS, N_COLUMNS, N_HELD_OUT = 40, 12, 4


class Watch(Callback):
    """Copy what a fit starts from, and the rows of all batches."""

    def on_train_begin(self, net, **kwargs):
        module = net.module_
        self.weights = {k: v.numpy().copy() for k, v in module.state_dict().items()}
        self.betas = net.control.betas.numpy().copy()
        self.summary = [
            part.numpy().copy() if isinstance(part, torch.Tensor) else part
            for part in module.likelihood.summary
        ]
        self.batches = {True: [], False: []}

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.batches[training].append(batch.x.numpy().copy())

    def rows(self, training):
        """Return the rows of the first pass, (m, n_features), in an order of their own."""
        rows = np.concatenate(self.batches[training])
        return rows[np.lexsort(rows.T)]


def watch(X, **params):
    """Fit with early stopping; returns what was seen."""
    seen = Watch()
    make(early_stopping=True, callbacks=[seen], **{"max_epochs": 1, **params}).fit(X)
    return seen


def held_out_by(seen, X):
    """Return the numbers of the held-out rows of X, which are all different."""
    held_out = {row.tobytes() for row in seen.rows(training=False)}
    return [number for number, row in enumerate(X) if row.tobytes() in held_out]


# Which rows are held out.


@pytest.fixture(scope="module")
def numbers():
    """Return rows of whole numbers of all kinds, no two of them alike."""
    return np.random.default_rng(0).integers(0, 6, (N_ROWS, N_COLUMNS)).astype(float)


def test_rows_are_held_out_from_training_whole_and_once(numbers):
    seen = watch(numbers)
    held_out = held_out_by(seen, numbers)
    assert len(held_out) == N_HELD_OUT
    trained = np.delete(numbers, held_out, axis=0)
    np.testing.assert_array_equal(seen.rows(training=True), trained[np.lexsort(trained.T)])


def test_random_state_alone_decides_which_of_n_rows_are_held_out(numbers):
    expected = held_out_by(watch(numbers), numbers)
    for params in (
        {"layer_rates": 1},
        {"layer_rates": None, "betas": (1.0, 1.0)},
        {"likelihood": NegativeBinomial()},
        {"batch_size": 40, "max_epochs": 2},
        {"top_layer": "categorical"},
    ):
        assert held_out_by(watch(numbers, **params), numbers) == expected
    others = np.random.default_rng(1).normal(size=(N_ROWS, 3))
    assert held_out_by(watch(others), others) == expected
    assert held_out_by(watch(numbers, random_state=1), numbers) != expected


# What held-out rows have no say in.

STARTS = {
    "default": {},
    "one layer": {"layer_rates": 2},
    "fixed betas": {"layer_rates": None, "betas": (0.5, 2.0)},
    "ladder": {"inference": "ladder"},
    "sigma per feature": {"likelihood": Gaussian(sigma="per_feature")},
    "optimal sigma": {"likelihood": Gaussian(sigma="optimal")},
    "poisson": {"likelihood": "poisson"},
    "negative binomial": {"likelihood": NegativeBinomial()},
    "categorical": {"likelihood": "categorical"},
    "levels": {"likelihood": DiscretizedLogistic(n_levels=6, maximum=5.0)},
    "by column": {"likelihood": [("gaussian", slice(0, 6)), ("poisson", slice(6, 12))]},
    "missing cells": {"missing": "mask"},
    "categorical top": {"top_layer": "categorical"},
    "conv": {"image_shape": (3, 2, 2), "network": "conv"},
    "no linear paths": {"image_shape": (3, 2, 2), "network": "fully-conv"},
}


@pytest.mark.parametrize("name", STARTS)
def test_held_out_rows_have_no_say_in_the_start(numbers, name):
    params, X = STARTS[name], numbers.copy()
    if name == "missing cells":
        X[1::3, 2] = np.nan
    before = watch(X, **params)
    held_out = held_out_by(before, X)
    assert len(held_out) == N_HELD_OUT
    # Other rows that the likelihood takes as well: from 0 to 5, with all codes in the others.
    X[held_out] = np.where(X[held_out] > 2, 0.0, 5.0)
    after = watch(X, **params)
    assert held_out_by(after, X) == held_out
    np.testing.assert_equal(after.weights, before.weights)
    np.testing.assert_array_equal(after.betas, before.betas)
    np.testing.assert_equal(after.summary, before.summary)


def test_held_out_rows_have_no_say_in_what_a_warm_start_learns_of_new_columns(numbers):
    first = numbers.copy()
    first[:, 0] = 1.0
    model = make(early_stopping=True, warm_start=True, max_epochs=1).fit(first)
    X, seen = numbers.copy(), [Watch(), Watch()]
    copy.deepcopy(model).set_params(callbacks=[seen[0]]).fit(X)
    held_out = held_out_by(seen[0], X)
    X[held_out] = np.where(X[held_out] > 2, 0.0, 5.0)
    model.set_params(callbacks=[seen[1]]).fit(X)
    assert held_out_by(seen[1], X) == held_out
    np.testing.assert_equal(seen[1].weights, seen[0].weights)
    np.testing.assert_equal(seen[1].summary, seen[0].summary)


def test_scales_and_start_are_those_of_the_training_rows_alone(numbers):
    early = watch(numbers)
    trained = np.delete(numbers, held_out_by(early, numbers), axis=0)
    seen = Watch()
    make(max_epochs=1, callbacks=[seen]).fit(trained)
    np.testing.assert_equal(early.summary, seen.summary)
    np.testing.assert_array_equal(early.betas, seen.betas)
    np.testing.assert_equal(early.weights, seen.weights)
    np.testing.assert_allclose(early.summary[0], trained.mean(0), rtol=1e-12)
    np.testing.assert_allclose(early.summary[1], trained.std(0), rtol=1e-12)


def test_a_wild_row_that_is_held_out_does_not_blur_the_scales(numbers):
    held_out = held_out_by(watch(numbers), numbers)
    X = numbers.copy()
    X[held_out[0]] *= 1e6
    model, plain = (make(early_stopping=True, max_epochs=20).fit(rows) for rows in (X, numbers))
    assert np.isfinite(model.transform(X)).all()
    rest = np.delete(numbers, held_out, axis=0)
    np.testing.assert_allclose(model.score(rest), plain.score(rest), atol=2)


# Held-out rows may hold what no training row does.

ONLY_HELD_OUT = {
    "a code": ({"likelihood": "categorical"}, 6.0),
    "a code, by column": ({"likelihood": [("categorical", [0]), ("gaussian", slice(1, 12))]}, 6.0),
    "a level": ({"likelihood": DiscretizedLogistic(n_levels=8)}, 7.0),
    "a one": ({"likelihood": [("bernoulli", [0]), ("gaussian", slice(1, 12))]}, 1.0),
    "a count": ({"likelihood": "poisson"}, 9.0),
    "a number": ({}, 9.0),
    "a cell": ({"missing": "mask"}, 9.0),
    "a cell with a code": ({"missing": "mask", "likelihood": "categorical"}, 6.0),
}


@pytest.mark.parametrize("name", ONLY_HELD_OUT)
@pytest.mark.parametrize("rest", ["varies", "does not"])
def test_held_out_rows_may_hold_what_no_training_row_does(numbers, name, rest):
    params, value = ONLY_HELD_OUT[name]
    X = numbers.copy()
    held_out = held_out_by(watch(X), X)
    if rest == "does not" or name == "a one":
        X[:, 0] = 0.0
    if name.startswith("a cell"):
        X[:, 0] = np.nan if rest == "does not" else np.where(X[:, 1] > 2, np.nan, X[:, 0])
    X[held_out[0], 0] = value
    model = make(early_stopping=True, max_epochs=4, **params).fit(X)
    assert held_out_by(watch(X, **params), X) == held_out
    assert np.isfinite(model.history_["valid_distortion"]).all()
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.reconstruct(X)).all()


# Independent numbers.


class Draws(TorchFunctionMode):
    """Note which generators are drawn from, and in which state they are.

    Attributes
    ----------
    generators : dict of bytes to set of int
        The generators that have drawn in a state, by their numbers.
    functions : dict of int to set of str
        What has been drawn from each.
    """

    def __init__(self):
        super().__init__()
        self.generators, self.functions, self._known = {}, {}, []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        generator = (kwargs or {}).get("generator")
        if generator is not None:
            if not any(generator is known for known in self._known):
                self._known.append(generator)  # so that no other gets its address
            number = next(n for n, known in enumerate(self._known) if known is generator)
            state = generator.get_state().numpy().tobytes()
            self.generators.setdefault(state, set()).add(number)
            self.functions.setdefault(number, set()).add(function.__name__)
        return function(*args, **(kwargs or {}))


STREAMS = {
    "split, start, noise": {"early_stopping": True},
    "start with missing cells": {"missing": "mask"},
    "split, start with missing cells, noise": {"early_stopping": True, "missing": "mask"},
    "start of a multi-rate model": {"kind": MultiRateHVAETransformer, "rate_range": (0.5, 4)},
}


@pytest.mark.parametrize("name", STREAMS)
def test_no_two_generators_of_a_fit_give_the_same_numbers(name):
    params = STREAMS[name]
    # So many rows that the start takes some of them.
    X = np.random.default_rng(0).normal(size=(2400, 3))
    if "missing" in params:
        X[::5, 1] = np.nan
    with Draws() as draws:
        make(**{**params, "batch_size": 1200, "max_epochs": 1}).fit(X)
    n_streams = 3 if "early_stopping" in params else 2
    assert len(draws.functions) >= n_streams, f"drawn by generator: {draws.functions}"
    shared = [
        [draws.functions[number] for number in numbers]
        for numbers in draws.generators.values()
        if len(numbers) > 1
    ]
    assert not shared, f"generators in the same state have drawn: {shared}"
