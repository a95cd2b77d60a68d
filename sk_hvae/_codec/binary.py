"""Bernoulli columns: those of two values."""

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.distributions import Shares
from sk_hvae._codec.elementary import log, sigmoid
from sk_hvae._codec.networks import as_numbers

# The link of the higher value, less the location, is the log of this: the logit of 0.95. That of
# the lower value is its negative.
_LINK_OF_1 = 19.0


class BinaryCells(CellCoder):
    """Codes columns of two values.

    Parameters
    ----------
    likelihood : Bernoulli
        Of the model.

    Attributes
    ----------
    pair : ndarray of shape (2,)
        The two values.
    """

    def __init__(self, likelihood):
        self._location = as_numbers(likelihood.location)
        self.pair = np.array([likelihood.low, likelihood.high], dtype=float)
        self.n_features = self.n_linked = self.n_outputs = len(self._location)
        self.n_numbers = 3 * self.n_features
        self.steps = [Step(np.arange(self.n_features))]

    def link(self, x):
        low, high = self.pair
        return (2 * (x - low) / (high - low) - 1) * log(_LINK_OF_1) - self._location

    def nearest(self, x):
        return (x >= self.pair.mean()).astype(np.int64)

    def values(self, numbers):
        return self.pair[numbers]

    def distribution(self, step, parameters, numbers, n_stacks):  # noqa: ARG002 there is one
        zero = sigmoid(-(parameters + self._location)).reshape(n_stacks, -1)
        return Shares(np.stack((np.zeros_like(zero), zero), 2))
