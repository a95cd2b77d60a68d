"""Columns of levels, such as pixels: logistic variables, and mixtures of these."""

import functools

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.distributions import Distribution
from sk_hvae._codec.elementary import exp, log, log_softmax, sigmoid, tanh
from sk_hvae._codec.networks import as_numbers

# In levels, as the likelihoods have it; and in numbers of levels.
_LEAST_SCALE, _LARGEST_SCALE = 0.05, 10.0
# A component that cannot have given what came before keeps so much of its probability.
_LEAST_MASS = 1e-12


class Logistic(Distribution):
    """Mixtures of logistic variables, rounded to levels and clipped to the ends.

    Parameters
    ----------
    weights, means, scales : float64 array of shape (n_mixtures, n_stacks, n_cells)
        Of the components, in levels.
    n_levels : int
        Number of levels.
    """

    def __init__(self, weights, means, scales, n_levels):
        self.shape, self.n_symbols = means.shape[1:], n_levels
        self._weights, self._means, self._slopes = weights, means, 1 / scales

    def share_below(self, symbols, cells):
        places = symbols[..., None, :, :] - 0.5 - self._means[:, :, cells]
        shares = self._weights[:, :, cells] * sigmoid(places * self._slopes[:, :, cells])
        # One by one, so that the order is the same everywhere.
        return functools.reduce(np.add, np.moveaxis(shares, -3, 0))


class LevelCells(CellCoder):
    """Codes columns of levels around the decoder's output.

    Parameters
    ----------
    likelihood : DiscretizedLogistic
        Of the model.
    """

    def __init__(self, likelihood):
        self._grid = _Grid(likelihood)
        self.n_features = self.n_linked = self.n_outputs = likelihood.n_linked
        self.n_numbers = 4 * self.n_features
        self.steps = [Step(np.arange(self.n_features))]

    def link(self, x):
        return self._grid.link(x)

    def nearest(self, x):
        return self._grid.nearest(x)

    def values(self, numbers):
        return self._grid.values(numbers)

    def distribution(self, step, parameters, numbers, n_stacks):  # noqa: ARG002 there is one
        means = self._grid.means(parameters).reshape(1, n_stacks, -1)
        scales = np.broadcast_to(self._grid.scales(np.zeros(())), means.shape)
        return Logistic(np.ones_like(means), means, scales, self._grid.n_levels)


class MixedLevelCells(CellCoder):
    """Codes images of levels, channel by channel, each given those before it.

    Parameters
    ----------
    likelihood : DiscretizedLogisticMixture
        Of the model.
    """

    def __init__(self, likelihood):
        self._grid = _Grid(likelihood)
        self._n_mixtures, self._n_channels = likelihood.n_mixtures, likelihood.summary.n_channels
        self.n_features = self.n_linked = likelihood.n_linked
        self.n_outputs = likelihood.n_outputs
        self.n_numbers = 4 * self.n_outputs
        columns = np.arange(self.n_features)
        self.steps = [Step(part) for part in np.split(columns, self._n_channels)]

    def link(self, x):
        return self._grid.link(x)

    def nearest(self, x):
        return self._grid.nearest(x)

    def values(self, numbers):
        return self._grid.values(numbers)

    def distribution(self, step, parameters, numbers, n_stacks):
        channel = self._channel_of(step)
        log_weights, means, scales, coupling = self._mixture(parameters)
        levels = numbers.reshape(len(numbers), 1, self._n_channels, -1)
        weights = exp(log_weights)
        deviations = levels - means
        for earlier in range(channel):
            mean = _conditional(means, coupling, deviations, earlier)
            weights = weights * self._mass(levels[:, :, earlier], mean, scales[:, :, earlier])
        if channel:
            weights = weights / np.add.accumulate(weights, 1)[:, -1:]
        mean = _conditional(means, coupling, deviations, channel)
        parts = weights, mean, scales[:, :, channel]
        by_mixture = [part.swapaxes(0, 1).reshape(self._n_mixtures, n_stacks, -1) for part in parts]
        weights, mean, scale = by_mixture
        return Logistic(weights, mean, scale, self._grid.n_levels)

    def _channel_of(self, step):
        return int(step.columns[0]) // len(step.columns)

    def _mass(self, levels, mean, scale):
        """Return the probability of levels under each component, (n, n_mixtures, n_pixels)."""
        above = np.where(
            levels >= self._grid.n_levels - 1, 1.0, sigmoid((levels + 0.5 - mean) / scale)
        )
        below = np.where(levels <= 0, 0.0, sigmoid((levels - 0.5 - mean) / scale))
        return np.maximum(above - below, _LEAST_MASS)

    def _mixture(self, parameters):
        """Do what the likelihood does with parameters; arrays (n, n_mixtures, planes, pixels)."""
        n, k, n_channels = len(parameters), self._n_mixtures, self._n_channels
        location = self._grid.means(parameters[:, : self.n_linked])
        location = location.reshape(n, 1, n_channels, -1)
        planes = parameters[:, self.n_linked :].reshape(n, -1, location.shape[3])
        ends = np.cumsum([k, k * n_channels, k * n_channels])
        logits, offsets, log_scales, coupling = (
            part.reshape(n, k, -1, location.shape[3]) for part in np.split(planes, ends, axis=1)
        )
        spread = ((2 * np.arange(k) - (k - 1)) / max(k - 1, 1)).reshape(-1, 1, 1)
        shift = offsets + self._grid.relative_scale * spread
        means = location + self._grid.scale * shift
        log_weights = log_softmax(logits, 1)[:, :, 0]
        return log_weights, means, self._grid.scales(log_scales), tanh(coupling)


class _Grid:
    """The levels, and their link, of a likelihood of levels."""

    def __init__(self, likelihood):
        self.n_levels = likelihood.n_levels
        self._largest = float(likelihood.largest)
        self._location = as_numbers(likelihood.location)
        self.scale = float(likelihood.scale)
        log_scale = as_numbers(likelihood.log_scale)
        self.relative_scale = exp(log_scale)
        self._log_scale = log_scale + log(self.scale)

    def link(self, x):
        levels = np.rint(x * (self.n_levels - 1) / self._largest)
        return (levels - self._location) / self.scale

    def nearest(self, x):
        levels = np.rint(x * (self.n_levels - 1) / self._largest)
        return np.clip(levels, 0, self.n_levels - 1).astype(np.int64)

    def values(self, numbers):
        return numbers * self._largest / (self.n_levels - 1)

    def means(self, location):
        """Map locations on the scale of the link to levels."""
        return location * self.scale + self._location

    def scales(self, log_factor):
        """Return the learned scale times a factor, in levels."""
        low, high = log(_LEAST_SCALE), log(_LARGEST_SCALE * self.n_levels)
        return exp(np.clip(self._log_scale + log_factor, low, high))


def _conditional(means, coupling, deviations, channel):
    """Return the mean of a channel given how far those before it are from their means."""
    first = channel * (channel - 1) // 2
    mean = means[:, :, channel]
    for earlier in range(channel):
        mean = mean + coupling[:, :, first + earlier] * deviations[:, :, earlier]
    return mean
