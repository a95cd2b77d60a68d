"""A linear scale from the data of a column to standardised numbers, and back."""

import math
from typing import NamedTuple

from torch import Tensor


class LinearScale(NamedTuple):
    """Subtracts a location from each column, and divides the column by a scale.

    Its methods are those of `MonotoneScale` that `Gaussian` needs.

    Attributes
    ----------
    location, scale : Tensor of shape (n_features,), float64
        On the scale of the data.
    """

    location: Tensor
    scale: Tensor

    @property
    def unit(self):
        """What a standard deviation of 1 after scaling is, if users name it: that of the data."""
        return self.scale

    def link(self, x):
        """Map raw data (b, n_features) to standardised numbers."""
        # In double, so that equal numbers have equal links whatever their dtype.
        return ((x.to(self.location.dtype) - self.location) / self.scale).float()

    def prepared(self, x):
        """Return what `log_density` needs of raw data."""
        return (self.link(x),)

    def log_density(self, linked, means, log_sigma):
        """Return ln of the density of raw data, given what is normal after scaling."""
        error = (linked - means) * (-log_sigma).exp()
        normaliser = log_sigma + (self.scale.log().float() + 0.5 * math.log(2 * math.pi))
        return -0.5 * error.square() - normaliser

    def values(self, standardised):
        """Map standardised numbers (b, n_features) to data."""
        return standardised * self.scale + self.location

    def mean(self, means, log_sigma):  # noqa: ARG002 for the monotone scale
        """Return the mean of `values` of normal variables: that of their means."""
        return self.values(means)
