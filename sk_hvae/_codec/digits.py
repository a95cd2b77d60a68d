"""Whole numbers of any size, coded digit by digit, given their distribution function."""

import numpy as np

from sk_hvae._codec.cells import Step
from sk_hvae._codec.distributions import Digits

# Numbers of one digit: with more of them, the floors of their frequencies would add up to more.
_BASE = 2**10
# Digits of a number at most. Beyond 2**50, float64 hardly tells whole numbers apart.
_MOST_DIGITS = 5


def numbers_of_digits(sizes):
    """Return how many numbers the digits can tell that columns with so many numbers need."""
    return _BASE ** _n_digits(sizes)


def digit_steps(columns, sizes):
    """List the steps that code some columns digit by digit, given how many numbers all have."""
    n_digits = _n_digits(sizes)[columns]
    return [
        Step(columns[n_digits == n], _BASE ** (n - 1 - place), _BASE, place == 0)
        for n in np.unique(n_digits).tolist()
        for place in range(n)
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

    span = step.width * _BASE
    first = numbers[:, step.columns] // span * span
    return Digits(share_of_cells, first.reshape(n_stacks, -1), step.width, _BASE, step.is_leading)


def _n_digits(sizes):
    n_digits = np.ones(len(sizes), np.int64)
    for digits in range(1, _MOST_DIGITS):
        n_digits[sizes > float(_BASE) ** digits] = digits + 1
    return n_digits
