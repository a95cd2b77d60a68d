"""Conditions that hit targets, on planes whose answer is known."""

import itertools

import numpy as np
import pytest

from sk_hvae._fit.calibration import Calibration, PlanePoint

LOW, HIGH = 0.4, 40.0


def measured(answer, n_layers, n_per_axis):
    axis = np.geomspace(LOW, HIGH, n_per_axis)
    points = []
    for condition in itertools.product(axis, repeat=n_layers):
        condition = np.array(condition)
        points.append(
            PlanePoint(
                condition=condition,
                rates=answer(condition),
                distortion=100 - 5 * np.log(condition.sum()),
                betas=1 / condition,
                scales=np.repeat(condition, 2) ** -0.25,
            )
        )
    return Calibration.of(points)


def coupled(condition):
    """Layers that fall short of, and disturb, each other."""
    total = condition.sum()
    return condition**0.95 * (1 + 0.1 * np.sin(np.log(total)))


@pytest.mark.parametrize(("n_layers", "n_per_axis"), [(1, 12), (2, 8), (3, 5)])
def test_targets_are_hit(n_layers, n_per_axis):
    calibration = measured(coupled, n_layers, n_per_axis)
    for targets in np.random.default_rng(0).uniform(1, 20, (20, n_layers)):
        point = calibration.find(targets)
        np.testing.assert_allclose(point.rates, targets, rtol=2e-3)
        np.testing.assert_allclose(coupled(point.condition), targets, rtol=0.03)
        np.testing.assert_allclose(point.betas, 1 / point.condition, rtol=1e-4)
        np.testing.assert_allclose(point.scales, np.repeat(point.condition, 2) ** -0.25, rtol=1e-4)
        exact = 100 - 5 * np.log(point.condition.sum())
        np.testing.assert_allclose(point.distortion, exact, atol=0.2)


def test_few_nodes_are_interpolated_linearly():
    calibration = measured(lambda condition: 0.8 * condition, 4, 3)
    point = calibration.find([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(point.condition, np.array([1.0, 2.0, 3.0, 4.0]) / 0.8, rtol=2e-3)


def saturated(condition):
    """No more than 20 bits in all, of which z_1 comes first."""
    first = 12 * np.tanh(condition[0] / 12)
    return np.array([first, min(condition[1], 20 - first)])


def test_the_nearest_is_found_for_what_is_out_of_reach():
    calibration = measured(saturated, 2, 8)
    targets = np.array([10.0, 30.0])
    point = calibration.find(targets)
    first = np.linspace(1, 11, 1000)
    possible = np.stack([first, 20 - first], 1)
    nearest = np.square(np.log(possible / targets)).sum(1).min()
    found = np.square(np.log(saturated(point.condition) / targets)).sum()
    assert nearest <= found < 1.05 * nearest
    assert ((point.condition >= LOW * 0.999) & (point.condition <= HIGH * 1.001)).all()


def test_what_is_not_finite_stays_so():
    calibration = measured(lambda condition: condition * np.nan, 2, 8)
    assert np.isnan(calibration.find([1.0, 1.0]).rates).all()
