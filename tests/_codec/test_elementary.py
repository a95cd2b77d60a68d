"""Elementary functions against SciPy's, and what coders need of them."""

import numpy as np
import pytest
from scipy import special, stats

from sk_hvae._codec import elementary

X = np.concatenate((np.linspace(-60, 60, 4001), [0.0, 1e-12, -1e-12]))


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("softplus", lambda x: np.logaddexp(0, x), 1e-13),
        ("sigmoid", special.expit, 1e-7),
        ("silu", lambda x: x * special.expit(x), 1e-5),
        ("tanh", np.tanh, 1e-7),
        ("normal_cdf", stats.norm.cdf, 1e-7),
    ],
)
def test_curves(name, expected, tolerance):
    np.testing.assert_allclose(getattr(elementary, name)(X), expected(X), rtol=0, atol=tolerance)


def test_exponentials_and_logarithms_are_exact_to_the_last_digits():
    np.testing.assert_allclose(elementary.exp(X), np.exp(X), rtol=1e-15)
    positive = np.exp(np.linspace(-600, 600, 2001))
    np.testing.assert_allclose(elementary.log(positive), np.log(positive), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("name", ["sigmoid", "normal_cdf"])
def test_distribution_functions_increase(name):
    fine = np.linspace(-12, 12, 200_001)
    assert (np.diff(getattr(elementary, name)(fine)) >= 0).all()


def test_log_softmax():
    logits = np.random.default_rng(0).normal(scale=9, size=(5, 7))
    for axis in (0, 1):
        expected = special.log_softmax(logits, axis)
        np.testing.assert_allclose(elementary.log_softmax(logits, axis), expected, atol=1e-13)


def test_a_number_has_one_result_whatever_comes_with_it():
    for name in ("exp", "softplus", "sigmoid", "normal_cdf"):
        function = getattr(elementary, name)
        assert (function(X) == [function(X[i : i + 1])[0] for i in range(len(X))]).all()
