"""Water levels against root finding, which knows nothing of breakpoints."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from sk_hvae.nn.water_filling import water_fill


def by_root_finding(variances, rate, floor=0.0, most=math.inf):
    """What every component gets, in nats, at the level that costs ``rate``."""

    def rates_at(log_level):
        return np.maximum(floor, np.minimum(most, 0.5 * (np.log(variances) - log_level)))

    lowest = np.log(variances).min() - 2 * rate - 20
    level = brentq(lambda level: rates_at(level).sum() - rate, lowest, 50, xtol=1e-13)
    return rates_at(level)


@pytest.mark.parametrize("rate", [0.01, 0.7, 3.0, 12.0, 400.0])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_an_independent_solver(rate, seed):
    variances = np.exp(np.random.default_rng(seed).normal(size=8))
    result = water_fill(torch.tensor(variances), rate)
    np.testing.assert_allclose(result, by_root_finding(variances, rate), atol=1e-10)
    assert result.sum() == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("rate", [4.0, 6.0, 11.0])
@pytest.mark.parametrize("most", [1.5, 2.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_no_component_falls_below_its_floor_or_exceeds_the_most(rate, most, seed):
    rng = np.random.default_rng(seed)
    variances, floor = np.exp(rng.normal(size=8)), rng.uniform(0, 0.3, size=8)
    floor[3] = 1.8  # above one of the limits
    result = water_fill(torch.tensor(variances), rate, torch.tensor(floor), most)
    np.testing.assert_allclose(result, by_root_finding(variances, rate, floor, most), atol=1e-10)
    assert result.sum() == pytest.approx(rate, rel=1e-12)


def test_equal_components_get_equal_shares():
    result = water_fill(torch.full((5,), 3.0, dtype=torch.float64), 2.0)
    np.testing.assert_allclose(result, 0.4, rtol=1e-14)


def test_more_than_all_components_can_carry_gives_what_they_can():
    result = water_fill(torch.tensor([2.0, 1.0, 0.1]), 100.0, most=6.0)
    np.testing.assert_array_equal(result, [6, 6, 6])


def test_a_rate_of_zero_gives_nothing():
    np.testing.assert_array_equal(water_fill(torch.tensor([2.0, 1.0]), 0.0), [0, 0])


def test_floors_that_cost_more_than_the_rate_stay():
    floor = torch.tensor([1.0, 7.0])
    assert torch.equal(water_fill(torch.tensor([1.0, 1.0]), 3.0, floor, most=6.0), floor)
