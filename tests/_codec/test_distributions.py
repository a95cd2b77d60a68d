"""Distributions as whole numbers: intervals fill 2**24, and every place in them is found."""

import numpy as np
import pytest
from scipy import special, stats

from sk_hvae._codec import distributions
from sk_hvae._codec.distributions import TOTAL, Bits, Digits, Normal, OrEscape, Shares
from sk_hvae._codec.levels import Logistic

RNG = np.random.default_rng(0)
EVERY = slice(None)
MEAN, STD = RNG.uniform(-20, 140, (2, 6)), RNG.uniform(0.01, 40, (2, 6))
SHARES = np.sort(RNG.random((2, 6, 5)), 2)
SHARES[:, :, 0] = 0


def digits(is_leading):
    first = RNG.integers(0, 4, (2, 6)) * 64
    share = lambda numbers, cells: special.expit((numbers - MEAN[:, cells]) / STD[:, cells])  # noqa: E731
    return Digits(share, first * (not is_leading), 4, 16, is_leading)


CASES = {
    "bits": Bits(np.full((2, 6), 7), 7),
    "shares": Shares(SHARES),
    "normal": Normal(MEAN, STD, 120),
    "logistic": Logistic(np.ones((1, 2, 6)), MEAN[None], STD[None], 120),
    "escape": OrEscape(Shares(SHARES)),
    "leading digit": digits(True),
    "last digit": digits(False),
}
each = pytest.mark.parametrize("distribution", CASES.values(), ids=CASES)


@each
def test_intervals_follow_each_other_and_fill_all(distribution):
    first = np.zeros(distribution.shape, np.int64) + distribution.first
    n_symbols = np.zeros(distribution.shape, np.int64) + distribution.n_symbols
    assert (distribution.below(first, EVERY) == 0).all()
    assert (distribution.below(first + n_symbols, EVERY) == TOTAL).all()
    for place in range(int(n_symbols.max())):
        start, length = distribution.intervals(first + np.minimum(place, n_symbols - 1))
        assert (length >= 1).all()
        assert (start == np.rint(start)).all()


@each
@pytest.mark.parametrize(("largest", "at_once"), [(0, 0), (10**9, 0), (10**9, 10**6)])
def test_every_place_is_found(distribution, largest, at_once, monkeypatch):
    monkeypatch.setattr(distributions, "_LARGEST_TABLE", largest)
    monkeypatch.setattr(distributions, "_TABLES_AT_ONCE", at_once)
    for _ in range(50):
        places = RNG.integers(0, TOTAL, distribution.shape).astype(np.float64)
        parts = [slice(0, 3), slice(3, 5), slice(5, 6)]
        found = [distribution.find(places[:, cells], cells) for cells in parts]
        symbols, start, length = (np.concatenate(part, 1) for part in zip(*found, strict=True))
        assert ((start <= places) & (places < start + length)).all()
        np.testing.assert_array_equal(distribution.intervals(symbols), (start, length))


def test_normal_intervals_are_those_of_scipy():
    mean, std = np.array([[50.3, 7.0]]), np.array([[3.0, 20.0]])
    distribution = Normal(mean, std, 101)
    for symbol in (45, 50, 60):
        symbols = np.full((1, 2), symbol)
        _, length = distribution.intervals(symbols)
        edges = [stats.norm.cdf((symbol + side - mean) / std) for side in (-0.5, 0.5)]
        np.testing.assert_allclose(length / TOTAL, edges[1] - edges[0], rtol=1e-3, atol=1e-6)


def test_an_escape_takes_hardly_anything():
    _, length = OrEscape(Shares(SHARES)).intervals(np.full((2, 6), 5))
    assert (length <= 4).all()
