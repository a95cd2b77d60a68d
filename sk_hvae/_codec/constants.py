"""Columns that were constant in training, which take hardly any bits unless they vary after all."""

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.distributions import Shares

# How probable it is that a cell is one more than it was in training, or one less, or anything else.
# It then takes 14 bits, and 16,000 cells that do not vary take 4.
_SHARE = 2.0**-14


class ConstantCells(CellCoder):
    """Codes columns that have the same value in nearly all rows.

    Parameters
    ----------
    value : float64 array of shape (n_features,)
        The value of each.
    """

    n_linked = n_outputs = 0
    escape_share = _SHARE

    def __init__(self, value):
        self._value = value
        self.n_features = self.n_numbers = len(value)
        self.steps = [Step(np.arange(self.n_features))]

    def link(self, x):
        return x[:, :0]

    def nearest(self, x):
        return np.where(x == self._value + 1, 1, np.where(x == self._value - 1, 2, 0))

    def values(self, numbers):
        return self._value + np.array([0.0, 1.0, -1.0])[numbers]

    def distribution(self, step, parameters, numbers, n_stacks):  # noqa: ARG002 it is certain
        below = np.array([0.0, 1 - 2 * _SHARE, 1 - _SHARE])
        return Shares(np.broadcast_to(below, (n_stacks, numbers.size // n_stacks, 3)))
