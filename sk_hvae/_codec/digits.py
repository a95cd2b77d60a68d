"""Whole numbers of any size, coded digit by digit, given their distribution function."""

import numpy as np

from sk_hvae._codec.cells import Step
from sk_hvae._codec.distributions import Digits

# Bits of a digit: with more of them, the floors of their frequencies would add up to more.
_MOST_BITS = 10
# Digits of a number at most. Beyond 2**50, float64 hardly tells whole numbers apart.
_MOST_DIGITS = 5


def numbers_of_digits(sizes):
    """Return how many numbers the digits can tell that columns with so many numbers need."""
    n_digits, bits = _digits(sizes)
    return 1 << n_digits * bits


def digit_steps(columns, sizes):
    """List the steps that code some columns digit by digit, given how many numbers all have."""
    of_columns = np.stack(_digits(sizes), 1)[columns]
    return [
        Step(
            columns[(of_columns == (n, bits)).all(1)], 1 << bits * place, 1 << bits, place == n - 1
        )
        for n, bits in np.unique(of_columns, axis=0).tolist()
        for place in reversed(range(n))
    ]


def digit_distribution(step, numbers, n_stacks, share):
    """Return the distribution of a step's digits.

    Parameters
    ----------
    step : Step
        Of `digit_steps`.
    numbers : int64 array of shape (n, n_features)
        Known up to the digits before.
    n_stacks : int
        How many stacks the rows belong to.
    share : callable
        Maps numbers (n_stacks, m), float64, their columns (m,), and a function that picks the m
        cells from an array (n, len(step.columns)), to the probability of all smaller numbers.

    Returns
    -------
    Digits
    """
    columns = np.tile(step.columns, len(numbers) // n_stacks)

    def share_of_cells(numbers, cells):
        return share(numbers, columns[cells], lambda of_all: of_all.reshape(n_stacks, -1)[:, cells])

    span = step.width * step.base
    first = numbers[:, step.columns] // span * span
    return Digits(
        share_of_cells, first.reshape(n_stacks, -1), step.width, step.base, step.is_leading
    )


def _digits(sizes):
    """Return how many digits the numbers of columns have, and bits of each: an even number.

    There are then few kinds of columns, and those of few numbers take short searches.
    """
    bits = np.frexp(sizes - 1.0)[1].astype(np.int64)
    n_digits = np.clip(-(-bits // _MOST_BITS), 1, _MOST_DIGITS)
    return n_digits, np.minimum(2 * -(-bits // (2 * n_digits)), _MOST_BITS)
