"""Digits of numbers: as many as a column needs, and each number is the sum of its own."""

import numpy as np
import pytest

from sk_hvae._codec.digits import digit_steps, numbers_of_digits

SIZES = np.array([64.0, 65, 112, 1024, 1025, 5000, 2.0**20, 1e9, 2.0**50, 1e18])


def test_digits_tell_as_many_numbers_as_a_column_needs():
    numbers = numbers_of_digits(SIZES)
    assert (numbers >= np.minimum(SIZES, 2.0**50)).all()
    # A digit has an even number of bits: each may be half of what the numbers need, or a quarter.
    assert (numbers <= 4.0 ** np.ceil(np.log2(SIZES) / 10) * SIZES * 2).all()


@pytest.mark.parametrize("columns", [[0], [3, 4, 5], range(len(SIZES))], ids=str)
def test_numbers_are_the_sums_of_their_digits(columns):
    numbers = np.random.default_rng(0).integers(0, numbers_of_digits(SIZES), (50, len(SIZES)))
    found, seen = np.zeros_like(numbers), np.zeros(len(SIZES), bool)
    for step in digit_steps(np.array(columns), SIZES):
        assert (seen[step.columns] != step.is_leading).all()
        seen[step.columns] = True
        symbols = step.symbols(numbers)
        assert symbols.max() < step.base <= 1024
        found[:, step.columns] += step.width * symbols
    assert seen.nonzero()[0].tolist() == [*columns]
    np.testing.assert_array_equal(found, np.where(seen, numbers, 0))
