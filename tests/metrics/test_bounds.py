"""Bounds on accuracy: published values, Blahut and Arimoto's iteration, inversion."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import entropy

from sk_hvae import HVAEClusterer
from sk_hvae.metrics import accuracy_bound, information_needed, rate_bounds

BALANCED = [2, 3, 7, 10, 49, 1000]
SKEWED = np.array([0.5, 0.3, 0.1, 0.1])
RARE = np.array([0.98, 0.01, 0.006, 0.004])
TWO_LARGEST = np.array([0.3, 0.3, 0.3 - 1e-9, 0.1 + 1e-9])
PRIORS = [*(np.full(n, 1 / n) for n in BALANCED), SKEWED, RARE, TWO_LARGEST]

# Values of the bound for balanced classes: (classes, unit, {information: accuracy}).
KNOWN = [
    (10, "bits", {0.1: 0.228, 0.25: 0.314, 0.5: 0.419, 1: 0.5775, 1.5: 0.702, 2: 0.807}),
    (10, "bits", {2.5: 0.894, 3: 0.966, 3.2: 0.989, 3.322: 1}),
    (10, "nats", {0.1: 0.257, 0.5: 0.495, 1: 0.689, 2: 0.951, 2.303: 1}),
    (3, "bits", {0.25: 0.622, 0.5: 0.741, 1: 0.896, 1.585: 1}),
    (2, "bits", {0.25: 0.7855, 0.5: 0.890, 1: 1}),
]


@pytest.mark.parametrize(("n_classes", "unit", "values"), KNOWN)
def test_known_values(n_classes, unit, values):
    found = accuracy_bound(list(values), np.full(n_classes, 1 / n_classes), unit=unit)
    np.testing.assert_allclose(found, list(values.values()), atol=6e-4)


@pytest.mark.parametrize("prior", PRIORS)
def test_inversion_is_exact_at_all_accuracies(prior):
    chance, small = prior.max(), 10.0 ** -np.arange(1, 15)
    accuracies = np.concatenate(([chance, 1.0], chance + small, 1 - small))
    accuracies = accuracies[(accuracies >= chance) & (accuracies <= 1)]
    again = accuracy_bound(information_needed(accuracies, prior), prior)
    np.testing.assert_allclose(again, accuracies, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
def test_inversion_is_exact_at_all_rates(prior):
    bits = np.linspace(0, entropy(prior, base=2), 1001)
    again = information_needed(accuracy_bound(bits, prior), prior)
    np.testing.assert_allclose(again, bits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_ends_are_exact(prior):
    assert accuracy_bound(0, prior) == pytest.approx(prior.max(), rel=4e-16)
    assert accuracy_bound(entropy(prior), prior, unit="nats") == 1
    assert accuracy_bound(entropy(prior, base=2) * (1 - 1e-9), prior) < 1
    assert information_needed(1, prior) == pytest.approx(entropy(prior, base=2), rel=1e-13)
    np.testing.assert_array_equal(information_needed([0, prior.max() / 2], prior), 0)


def test_digits_close_to_chance():
    gain = 1e-11
    first_order = gain * np.log(0.5 / 0.3)
    needed = information_needed(0.5 + gain, SKEWED, unit="nats")
    assert needed == pytest.approx(first_order, rel=1e-4)
    second_order = 2 * gain**2
    needed = information_needed(0.5 + gain, [0.5, 0.5], unit="nats")
    assert needed == pytest.approx(second_order, rel=1e-4)


@pytest.mark.parametrize("slope", [0.2, 1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_iteration_of_blahut_and_arimoto(seed, slope):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(rng.integers(2, 8)))
    accuracy, nats = blahut_arimoto(prior, slope)
    assert information_needed(accuracy, prior, unit="nats") == pytest.approx(nats, abs=1e-7)
    assert accuracy_bound(nats, prior, unit="nats") == pytest.approx(accuracy, abs=1e-6)


def blahut_arimoto(prior, slope):
    """Minimise I(Y; guess) + slope P(guess != Y), to 1e-8 nats; returns accuracy and nats."""
    reward = np.exp(-slope * (1 - np.eye(len(prior))))
    guesses = np.full(len(prior), 1 / len(prior))
    for _ in range(100_000):
        evidence = reward @ guesses
        growth = (prior / evidence) @ reward
        if growth.max() < 1 + 1e-8:  # how far the minimum can be below, at most
            break
        guesses = guesses * growth
    joint = prior[:, None] * reward * guesses / evidence[:, None]
    assert growth.max() < 1 + 1e-8
    independent = np.outer(prior, joint.sum(0))
    return np.trace(joint), entropy(joint.ravel(), independent.ravel())


@pytest.mark.parametrize(
    ("prior", "nats", "is_equal"),
    [
        (np.full(4, 0.25), 0.05, True),
        (np.full(4, 0.25), 0.9, True),
        (SKEWED, 0.05, False),
        (SKEWED, 0.1, False),
        (SKEWED, 0.9, True),  # so accurate that no class is too rare to be guessed
    ],
)
def test_against_fano(prior, nats, is_equal):
    def excess(a):
        fano = entropy(prior) - entropy([a, 1 - a]) - (1 - a) * np.log(len(prior) - 1)
        return fano - nats

    allowed = brentq(excess, prior.max(), 1 - 1e-12, xtol=1e-14)
    found = accuracy_bound(nats, prior, unit="nats")
    assert found == pytest.approx(allowed, abs=1e-10) if is_equal else found < allowed - 0.001


def test_no_joint_distribution_is_above_the_bound():
    rng = np.random.default_rng(0)
    for _ in range(300):
        joint = rng.gamma(0.3, size=(rng.integers(2, 6), rng.integers(2, 8))) + 1e-9
        joint /= joint.sum()
        prior, of_z = joint.sum(1), joint.sum(0)
        information = entropy(joint.ravel(), np.outer(prior, of_z).ravel(), base=2)
        best_accuracy = joint.max(axis=0).sum()
        assert best_accuracy <= accuracy_bound(information, prior) + 1e-12


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_symmetric_channel_meets_the_bound(n_classes):
    for accuracy in (0.6, 0.9):
        wrong = (1 - accuracy) / (n_classes - 1)
        row = np.where(np.arange(n_classes) == 0, accuracy, wrong)
        information = np.log2(n_classes) - entropy(row, base=2)
        prior = np.full(n_classes, 1 / n_classes)
        assert accuracy_bound(information, prior) == pytest.approx(accuracy, abs=1e-9)


def test_shapes_and_units():
    table = np.array([[0.0, 1.0, 2.0]])
    found = accuracy_bound(table, SKEWED)
    assert found.shape == (1, 3)
    assert np.isscalar(accuracy_bound(1, SKEWED))
    np.testing.assert_array_equal(accuracy_bound(table * np.log(2), SKEWED, unit="nats"), found)
    with_empty_class = np.append(SKEWED, 0.0)
    np.testing.assert_array_equal(accuracy_bound(table, with_empty_class), found)
    assert accuracy_bound(0, [1.0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, SKEWED), "information must be finite and of at least 0; got -0.1"),
        ((np.nan, SKEWED), "information must be finite"),
        ((1, [0.5, 0.4]), "class_prior must hold the probabilities of the classes"),
        ((1, [50, 50]), r"np.bincount\(y\) / len\(y\)"),
        ((1, SKEWED, "bytes"), "unit must be 'bits' or 'nats'; got 'bytes'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        accuracy_bound(*arguments)
    with pytest.raises(ValueError, match=r"accuracy must be finite and between 0 and 1; got 1\.2"):
        information_needed(1.2, SKEWED)


class TestRateBounds:
    def test_by_hand(self, fitted, iris):
        labels = np.repeat(["a", "b", "c"], 50)[:120]
        bounds = rate_bounds(fitted, iris[:120], labels)
        rates = fitted.rates(iris[:120]).mean(axis=0)
        prior = np.array([50, 50, 20]) / 120
        np.testing.assert_array_equal(bounds.rates, rates)
        np.testing.assert_allclose(bounds.cumulative_rates, [rates.sum(), rates[1]])
        assert bounds.label_entropy == pytest.approx(entropy(prior, base=2))
        np.testing.assert_allclose(
            bounds.information, np.minimum(bounds.cumulative_rates, entropy(prior, base=2))
        )
        np.testing.assert_allclose(bounds.accuracy, accuracy_bound(bounds.information, prior))

    def test_errors(self, fitted, iris):
        with pytest.raises(TypeError, match=r"must be a fitted hierarchical VAE.*Of a pipeline"):
            rate_bounds("model", iris, np.zeros(150))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            rate_bounds(fitted, iris, np.zeros(3))
        with pytest.raises(ValueError, match="labels are needed"):
            rate_bounds(fitted, iris, None)
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            rate_bounds(fitted, iris, iris[:, 0])
        with pytest.raises(ValueError, match="should be a 1d array"):
            rate_bounds(fitted, iris, np.eye(150)[:, :3])
        with pytest.raises(ValueError, match="not fitted"):
            rate_bounds(HVAEClusterer(), iris, np.zeros(150))
