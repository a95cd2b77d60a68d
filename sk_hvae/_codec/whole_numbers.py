"""Whole numbers of any size, coded digit by digit: what counts and columns on a grid share."""

from abc import abstractmethod
from typing import final

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.distributions import Digits

# Numbers of one digit: with more of them, the floors of their frequencies add up to more.
_BASE = 2**10
# Digits of a number at most. Beyond 2**50, float64 hardly tells whole numbers apart.
_MOST_DIGITS = 5


class WholeCells(CellCoder):
    """Codes cells whose distribution function is known, by digits to the base of 1,024."""

    @final
    def _set_sizes(self, sizes):
        """Set the steps, given how many numbers each column has at least, (n_features,).

        Returns how many there are, a power of 1,024 for each column.
        """
        n_digits = np.ones(len(sizes), np.int64)
        for digits in range(1, _MOST_DIGITS):
            n_digits[sizes > float(_BASE) ** digits] = digits + 1
        self.steps = [
            Step(np.flatnonzero(n_digits == n), _BASE ** (n - 1 - place), _BASE, place == 0)
            for n in np.unique(n_digits).tolist()
            for place in range(n)
        ]
        self.n_numbers = 8 * len(sizes)
        return _BASE**n_digits

    @abstractmethod
    def _share_below(self, columns, parameters):
        """Return the distribution functions of cells.

        Parameters
        ----------
        columns : int64 array of shape (n,)
            Numbers of columns.
        parameters : float64 array of shape (n_rows, n_outputs)
            Of the rows.

        Returns
        -------
        callable
            Maps numbers (n_stacks, m), float64, their columns (m,), and a function that picks the
            m cells from an array (n_rows, n), to the probability of all smaller numbers.
        """

    @final
    def distribution(self, step, parameters, numbers, n_stacks):
        share_below = self._share_below(step.columns, parameters)
        columns = np.tile(step.columns, len(parameters) // n_stacks)

        def share(numbers, cells):
            def pick(of_cells):
                return of_cells.reshape(n_stacks, -1)[:, cells]

            return share_below(numbers, columns[cells], pick)

        span = step.width * _BASE
        first = numbers[:, step.columns] // span * span
        return Digits(share, first.reshape(n_stacks, -1), step.width, _BASE, step.is_leading)
