"""Numbers as people write them."""

import math

import pytest

from sk_hvae._input.plain_numbers import plain


@pytest.mark.parametrize(
    ("value", "n_digits", "text"),
    [
        (2_300_000.0, 6, "2300000"),
        (-1649.6, 3, "-1650"),
        (999.6, 3, "1000"),
        (12.345, 3, "12.3"),
        (0.00001234, 3, "1.23e-05"),
        (0.0, 3, "0"),
        (3e18, 3, "3e+18"),
        (math.inf, 3, "inf"),
    ],
)
def test_large_numbers_are_whole_and_small_ones_short(value, n_digits, text):
    assert plain(value, n_digits) == text
