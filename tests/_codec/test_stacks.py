"""Stacks give back what was pushed, take as many bits as the symbols say, and tell their end."""

import numpy as np
import pytest

from sk_hvae._codec.distributions import Bits, Normal
from sk_hvae._codec.stacks import Stacks
from sk_hvae.exceptions import CodecError

N_CELLS = 400
LANES = [1, 1, 2, 8, 8, 32]


def normal(moments):
    return Normal(*moments, 101, reach=20)


@pytest.fixture(scope="module")
def pushed():
    """Stacks of two, what was pushed to them in parts, and how many bits that takes."""
    rng = np.random.default_rng(0)
    stacks, parts, bits = Stacks.new(2), [], 0.0
    for n_lanes in LANES:
        stacks.set_lanes(n_lanes)
        moments = rng.normal(50, 5, (2, N_CELLS)), np.full((2, N_CELLS), 4.0)
        symbols = np.clip(rng.normal(50, 5, (2, N_CELLS)).round(), 0, 100).astype(np.int64)
        active = rng.random((2, N_CELLS)) < 0.9
        bits += stacks.push(normal(moments), symbols, active).sum(1)
        parts.append((n_lanes, moments, symbols, active))
    return stacks.to_bytes(), parts, bits


def popped(payloads, parts):
    stacks = Stacks.of_bytes(payloads)
    for n_lanes, moments, symbols, active in reversed(parts):
        stacks.undo_lanes(n_lanes)
        found, _ = stacks.pop(normal(moments), active)
        np.testing.assert_array_equal(found, np.where(active, symbols, 0))
    stacks.undo_lanes(1)
    return stacks


def test_what_was_pushed_comes_back(pushed):
    payloads, parts, _ = pushed
    assert popped(payloads, parts).is_new


def test_a_stack_decodes_without_its_neighbour(pushed):
    payloads, parts, _ = pushed
    for stack in (0, 1):
        of_stack = Stacks.of_bytes(payloads[stack : stack + 1])
        n_lanes, moments, symbols, active = parts[-1]
        own = normal([part[stack : stack + 1] for part in moments])
        of_stack.undo_lanes(n_lanes)
        found, _ = of_stack.pop(own, active[stack : stack + 1])
        expected = np.where(active, symbols, 0)[stack : stack + 1]
        np.testing.assert_array_equal(found, expected)


def test_bytes_are_as_many_as_the_symbols_say(pushed):
    payloads, _, bits = pushed
    lengths = np.array([8 * len(payload) for payload in payloads])
    # A state of 64 bits, and what 32 lanes cost.
    assert (np.abs(lengths - bits) < 64 + 8 * 32).all()


def test_bits_cost_what_they_are():
    rng = np.random.default_rng(1)
    n_bits = rng.integers(0, 17, (1, 500))
    numbers = rng.integers(0, 2**16, (1, 500)) % (1 << n_bits)
    stacks = Stacks.new(1)
    bits = stacks.push(Bits(n_bits), numbers)
    assert bits.sum() == pytest.approx(n_bits.sum(), rel=0.01)
    np.testing.assert_array_equal(stacks.pop(Bits(n_bits))[0], numbers)
    assert stacks.is_new


def test_the_end_of_a_stack_is_told():
    stacks = Stacks.of_bytes([Stacks.new(1).to_bytes()[0]])
    with pytest.raises(CodecError, match="end too early"):
        stacks.pop(Bits(np.full((1, 50), 16)))


@pytest.mark.parametrize("payload", [b"", b"1234", b"\0" * 8, b"1234\0"])
def test_what_is_no_stack_is_refused(payload):
    with pytest.raises(CodecError, match="damaged"):
        Stacks.of_bytes([payload])
