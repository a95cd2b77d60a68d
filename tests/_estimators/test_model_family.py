"""Every kind of network, inference and likelihood reaches its rates; warnings are errors."""

import math
from itertools import cycle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch import nn

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import DiscretizedLogisticMixture, Gaussian

pytestmark = pytest.mark.slow

STEPS = 400

# Digits without their margins, 0 to 16: every pixel varies.
DIGITS = load_digits().images[:300, 1:7, 1:7].reshape(300, 36)
BYTES = np.round(255 / 16 * DIGITS)
CODES = np.digitize(DIGITS, [4, 12])
TINTS = np.random.default_rng(0).uniform(0.2, 1, (300, 3, 1))
COLOURED = np.round(TINTS * BYTES[:, None]).reshape(300, 3 * 36)
MIXED = np.hstack([DIGITS[:, :12], DIGITS[:, 12:20] / 16, DIGITS[:, 20:28], CODES[:, 28:]])
PARTS = [
    ("gaussian", range(12)),
    ("bernoulli", range(12, 20)),
    ("poisson", range(20, 28)),
    ("categorical", range(28, 36)),
]

LIKELIHOODS = {
    "gaussian": ("gaussian", DIGITS),
    "gaussian fixed": (Gaussian(sigma=4.0), DIGITS),
    "gaussian per feature": (Gaussian(sigma="per_feature"), DIGITS),
    "gaussian optimal": (Gaussian(sigma="optimal"), DIGITS),
    "bernoulli": ("bernoulli", DIGITS / 16),
    "poisson": ("poisson", DIGITS),
    "negative binomial": ("negative_binomial", DIGITS),
    "categorical": ("categorical", CODES),
    "logistic": ("discretized_logistic", BYTES),
    "logistic mixture": ("discretized_logistic_mixture", BYTES),
    "logistic mixture of colours": (DiscretizedLogisticMixture(n_mixtures=2), COLOURED),
    "mixed": (PARTS, MIXED),
}
# The others are modelled by perceptrons; both have the two kinds of inference by turns.
CONVOLVED = {
    "gaussian": "top_down",
    "bernoulli": "ladder",
    "negative binomial": "top_down",
    "logistic mixture of colours": "ladder",
}
PERCEPTRONS = dict(
    zip((name for name in LIKELIHOODS if name not in CONVOLVED), cycle(["ladder", "top_down"]))
)


def encoder(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 32), nn.GELU())


def decoder(n_units, n_outputs):
    return nn.Sequential(nn.Linear(n_units, 32), nn.GELU(), nn.Linear(32, n_outputs))


def fit(X, steps=STEPS, *, batch_size=50, **params):
    """Fit a small model; raises if a rate is off its target, as warnings are errors."""
    small = {
        "layer_rates": (2, 4),
        "n_components": 6,
        "hidden_layer_sizes": (32,),
        "batch_size": batch_size,
        "max_epochs": math.ceil(steps / math.ceil(len(X) / batch_size)),
        "random_state": 0,
    }
    return HierarchicalVAETransformer(**small | params).fit(X)


def assert_on_target(model, X):
    """Check that measured rates are on target, and that what comes out can be used."""
    assert model.converged_
    rates, targets = model.rates(X).mean(0), np.atleast_1d(model.layer_rates)
    np.testing.assert_array_less(np.abs(rates - targets), np.maximum(0.05 * targets, 0.1) + 1e-6)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.sample(10)).all()
    # Codes tell something: less distortion than from the codes of other rows.
    shuffled = model.inverse_transform(np.roll(model.transform(X), 1, axis=0))
    X = np.nan_to_num(X)
    error, error_of_others = (np.square(Y - X).sum() for Y in (model.reconstruct(X), shuffled))
    assert error < error_of_others


def image_shape(likelihood):
    return (3 if "colours" in likelihood else 1, 6, 6)


@pytest.mark.parametrize(("likelihood", "inference"), PERCEPTRONS.items())
def test_perceptrons(likelihood, inference):
    spec, X = LIKELIHOODS[likelihood]
    shape = image_shape(likelihood) if "mixture" in likelihood else None
    model = fit(X, network="mlp", likelihood=spec, inference=inference, image_shape=shape)
    assert_on_target(model, X)


@pytest.mark.parametrize(
    ("likelihood", "inference"),
    [
        ("mixed", "ladder"),
        ("logistic mixture", "top_down"),
    ],
)
def test_own_networks(likelihood, inference):
    spec, X = LIKELIHOODS[likelihood]
    assert_on_target(fit(X, network=(encoder, decoder), likelihood=spec, inference=inference), X)


@pytest.mark.parametrize(("likelihood", "inference"), CONVOLVED.items())
def test_convolutions(likelihood, inference):
    spec, X = LIKELIHOODS[likelihood]
    model = fit(
        X,
        1000 if "colours" in likelihood else STEPS,
        network="conv",
        likelihood=spec,
        inference=inference,
        image_shape=image_shape(likelihood),
    )
    assert_on_target(model, X)


def test_full_convolutions():
    # Without a linear path to start from, they take more steps.
    model = fit(DIGITS, 900, network="fully-conv", inference="ladder", image_shape=(1, 6, 6))
    assert_on_target(model, DIGITS)


def test_published_model():
    images = np.kron(load_digits().images[:200] / 16, np.ones((3, 3)))
    X = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(200, 784)
    model = fit(
        X,
        800,
        network="hit-mnist",
        likelihood="bernoulli",
        batch_size=25,
        layer_rates=(4, 6),
    )
    assert_on_target(model, X)


@pytest.mark.parametrize(
    ("top_layer", "inference", "network"),
    [
        ("categorical", "ladder", "conv"),
        ("gumbel", "top_down", "mlp"),
    ],
)
def test_categorical_top(top_layer, inference, network):
    model = fit(
        DIGITS,
        500,
        network=network,
        image_shape=(1, 6, 6),
        inference=inference,
        top_layer=top_layer,
        layer_rates=(4, 2),
        n_components=(6, 10),
    )
    assert_on_target(model, DIGITS)


@pytest.mark.parametrize(
    ("likelihood", "inference"),
    [
        ("poisson", "ladder"),
        ("mixed", "top_down"),
    ],
)
def test_missing_cells(likelihood, inference):
    spec, X = LIKELIHOODS[likelihood]
    holes = np.random.default_rng(1).random(X.shape) < 0.2
    X = np.where(holes, np.nan, X)
    assert_on_target(fit(X, likelihood=spec, inference=inference, missing="mask"), X)


def test_missing_pixels():
    holes = np.random.default_rng(1).random(DIGITS.shape) < 0.2
    X = np.where(holes, np.nan, DIGITS)
    assert_on_target(fit(X, network="conv", image_shape=(1, 6, 6), missing="mask"), X)


def test_eight_layers_of_one_bit():
    X = load_digits().data[:600]
    model = HierarchicalVAETransformer(
        [1.0] * 8, hidden_layer_sizes=(32,), inference="ladder", random_state=0
    ).fit(X)
    assert_on_target(model, X)
