"""Tables, bins and symbols against SciPy, and against the distributions that they hold."""

import numpy as np
import pytest
from scipy import stats

from sk_hvae._codec.bins import Bins, InBins
from sk_hvae._codec.distributions import TOTAL, Bits
from sk_hvae._codec.reader import Reader
from sk_hvae._codec.stacks import Stacks
from sk_hvae._codec.tables import Tables
from sk_hvae.exceptions import CodecError

STDS, N_ASIDE = np.array([0.4, 3.0, 200.0]), np.array([2, 9, 1500])


@pytest.fixture(scope="module")
def columns():
    pairs = zip(STDS, N_ASIDE, strict=True)
    return [InBins(np.full((1, 1), std), np.full((1, 1), n_aside)) for std, n_aside in pairs]


def test_tables_have_the_intervals_of_their_distributions(columns):
    tables, rng = Tables(columns), np.random.default_rng(0)
    symbols = rng.integers(-N_ASIDE, N_ASIDE + 1, (2, 50, 3))
    found = tables.of_rows(2, 50).intervals(symbols.reshape(2, -1))
    whole = InBins(np.tile(STDS, (2, 50)), np.tile(N_ASIDE, (2, 50)))
    np.testing.assert_array_equal(found, whole.intervals(symbols.reshape(2, -1)))


def test_tables_find_what_distributions_find(columns):
    places = np.random.default_rng(0).integers(0, TOTAL, (4, 300)).astype(float)
    places[0, :6] = [0, 0, 0, TOTAL - 1, TOTAL - 1, TOTAL - 1]
    whole = InBins(np.tile(STDS, (4, 100)), np.tile(N_ASIDE, (4, 100)))
    for cells in (slice(0, 300), slice(4, 8)):
        expected = whole.find(places[:, cells], cells)
        found = Tables(columns).of_rows(4, 100).find(places[:, cells], cells)
        np.testing.assert_array_equal(found, expected)


def test_what_is_pushed_by_tables_is_popped(columns):
    rows = Tables(columns).of_rows(3, 20)
    rng = np.random.default_rng(0)
    symbols = rng.integers(-N_ASIDE, N_ASIDE + 1, (3, 20, 3)).reshape(3, -1)
    stacks = Stacks.new(3)
    stacks.push(Bits(np.full((3, 200), 16)), rng.integers(0, 2**16, (3, 200)))
    stacks.set_lanes(8)
    stacks.push(rows, symbols)
    np.testing.assert_array_equal(stacks.pop(rows)[0], symbols)


def test_bins_have_normal_probabilities():
    signals = np.array([0.5, 8.0, 2.0**10])
    bins = Bins.of_signals(3.0, signals)
    np.testing.assert_allclose(bins.signals, signals, rtol=1e-12)
    # Signal and noise add up to the prior's variance of 1.
    signal_std = np.sqrt(1 - 1 / (1 + signals))
    np.testing.assert_allclose(bins.stds * bins.widths, signal_std, rtol=1e-12)
    one = InBins(bins.stds[None], bins.n_aside[None])
    for symbol in (-1, 0, 1):
        _, lengths = one.intervals(np.full((1, 3), symbol))
        edges = (symbol + np.array([[-0.5], [0.5]])) * bins.widths / signal_std
        expected = np.diff(stats.norm.cdf(edges), axis=0)
        np.testing.assert_allclose(lengths / TOTAL, expected, atol=4e-3)


def test_bins_are_as_wide_in_terms_of_noise():
    # Where there is much signal, the noise of the posterior has a variance of one over it.
    bins = Bins.of_signals(2.5, np.array([100.0, 1e4, 1e6]))
    np.testing.assert_allclose(bins.widths, 2.5 / np.sqrt([100.0, 1e4, 1e6]), rtol=0.05)


def test_units_without_signal_have_one_bin():
    bins = Bins.of_signals(1.0, np.array([0.0, 1e-4, 1.0, -1e-9]))
    np.testing.assert_array_equal(bins.n_aside > 0, [False, False, True, False])


@pytest.mark.parametrize("step", [1e-6, 0.1, 1e6])
def test_bins_hold_any_latent_of_the_prior(step):
    bins = Bins.of_signals(step, np.array([1e-2, 1.0, 1e6, 1e9]))
    reach = (bins.n_aside + 0.5) * bins.widths
    assert (reach >= 16).all()
    assert bins.n_aside.max() <= 2**14


@pytest.mark.parametrize(
    "levels", [[], [0], [7], [0] * 300, [1, 2, 0, 0, 3, 0, 255], [0, 0, 9]], ids=str
)
def test_bins_come_back_from_bytes(levels):
    bins = Bins(0.75, np.array(levels, np.uint8))
    found = Bins.read(Reader(bins.to_bytes()), 5)
    assert found.step == bins.step
    np.testing.assert_array_equal(found.levels, bins.levels)


def test_wrong_bins_are_refused():
    good = Bins(0.75, np.array([0, 0, 4], np.uint8)).to_bytes()
    for bad in (good[:-1], b"\0" * 4 + good[4:], good[:4] + b"\2\0\5", good[:4] + b"\2\0\0"):
        with pytest.raises(CodecError):
            Bins.read(Reader(bad), 5)
