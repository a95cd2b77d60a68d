"""Layers of latents on a grid: what a coder needs of them, in numbers that are exact."""

from abc import ABC, abstractmethod

import numpy as np

from sk_hvae._codec.distributions import Distribution, Intervals, Normal, Shares
from sk_hvae._codec.elementary import exp, log, log_softmax, softplus
from sk_hvae._codec.networks import as_numbers, exact
from sk_hvae._codec.tables import Tables
from sk_hvae.nn.latents.categorical import CategoricalLatent
from sk_hvae.nn.latents.gaussian import MAX_STD, MIN_STD, LadderLatent, TopDownLatent

# Spacing of the grid in standard deviations of the prior. Files are equally long from 2**-3 to
# 2**-8, to 1 in 1,000, also with units of 7 bits; a finer grid only takes more bits that the first
# row has to borrow.
_SPACING = 2.0**-3
# The grid ends 16 standard deviations of the prior away from its mean.
_N_SIDE = 128
_N_POINTS = 2 * _N_SIDE + 1


class ExactLayer(ABC):
    """A layer of latents whose values are symbols: what a coder asks of each."""

    @abstractmethod
    def prior(self, z_above, n_rows):
        """Return the prior's parameters, given the layer above (n, n_above) or None: two arrays."""

    @abstractmethod
    def under_prior(self, prior, n_stacks) -> Intervals:
        """Return the distribution of the symbols under the prior, for stacks of as many rows."""

    @abstractmethod
    def under_posterior(self, activations, z_above, prior, n_stacks) -> Distribution:
        """Return the distribution of the symbols under the posterior."""

    @abstractmethod
    def values(self, symbols, prior):
        """Map symbols (n_stacks, n_cells) to values of the layer (n, n_units)."""


class ExactGaussian(ExactLayer):
    """Gaussian units, each on a grid around the mean of its prior, in its standard deviations.

    Parameters
    ----------
    layer : GaussianLatent
        Of the model.
    """

    def __init__(self, layer):
        self._n_units = layer.n_units
        self._prior_net = None if layer.prior_net is None else exact(layer.prior_net)
        self._moments = _MOMENTS[type(layer)](layer)
        middle, std = np.array([[float(_N_SIDE)]]), np.array([[1 / _SPACING]])
        standard = Normal(middle, std, _N_POINTS, reach=_N_SIDE * _SPACING)
        self._standard = Tables([standard])

    def prior(self, z_above, n_rows):
        if self._prior_net is None:
            return np.zeros((n_rows, self._n_units)), np.ones((n_rows, self._n_units))
        mean, raw_std = np.split(self._prior_net(z_above), 2, axis=1)
        return mean, _positive(raw_std)

    def under_prior(self, prior, n_stacks):
        return self._standard.of_rows(n_stacks, prior[0].size // n_stacks)

    def under_posterior(self, activations, z_above, prior, n_stacks):
        offset, ratio = self._moments(activations, z_above, *prior)
        # A mean beyond the grid would leave the symbol at its end to chance.
        mean = np.clip(offset * (1 / _SPACING), -_N_SIDE, _N_SIDE) + _N_SIDE
        std = ratio * (1 / _SPACING)
        return Normal(mean.reshape(n_stacks, -1), std.reshape(n_stacks, -1), _N_POINTS)

    def values(self, symbols, prior):
        mean, std = prior
        return mean + std * (_SPACING * (symbols.reshape(mean.shape) - _N_SIDE))


class ExactCategorical(ExactLayer):
    """A top layer that has states.

    Parameters
    ----------
    layer : CategoricalLatent
        Of the model.
    """

    def __init__(self, layer):
        self._n_states = layer.n_units
        self._logits_net = exact(layer.logits_net)
        self._prior_shares = prior_shares(layer)

    def prior(self, z_above, n_rows):  # noqa: ARG002 nothing is above
        below = np.broadcast_to(self._prior_shares, (n_rows, self._n_states))
        return below, below

    def under_prior(self, prior, n_stacks):
        below, _ = prior
        return Shares(below.reshape(n_stacks, -1, self._n_states))

    def under_posterior(self, activations, z_above, prior, n_stacks):  # noqa: ARG002
        below = shares_below(self._logits_net(activations))
        return Shares(below.reshape(n_stacks, -1, self._n_states))

    def values(self, symbols, prior):  # noqa: ARG002 of Gaussian units
        return np.eye(self._n_states)[symbols.flatten()]


def exact_layer(layer):
    """Make an `ExactLayer` of a layer of a model; raises TypeError if a network of it has none."""
    kind = ExactCategorical if isinstance(layer, CategoricalLatent) else ExactGaussian
    return kind(layer)


def prior_shares(layer):
    """Return the prior probability of all states before each, of a categorical layer."""
    learned = layer.prior_logits
    return shares_below(np.zeros(layer.n_units) if learned is None else as_numbers(learned))


def shares_below(logits):
    """Return the probability of all categories before each, given logits on the last axis."""
    below = np.add.accumulate(exp(log_softmax(logits, -1)), -1)
    return np.concatenate((np.zeros_like(below[..., :1]), below[..., :-1]), -1)


def _positive(raw):
    """Do what ``positive`` of ``nn.latents.gaussian`` does."""
    at_one = log(exp(1 - MIN_STD) - 1)
    return np.minimum(softplus(raw + at_one), MAX_STD - MIN_STD) + MIN_STD


def _top_down_moments(layer):
    net = exact(layer.posterior_net)

    def moments(activations, z_above, mean, std):  # noqa: ARG001 offsets are relative to these
        offset, raw_ratio = np.split(net(activations, z_above), 2, axis=1)
        return offset, _positive(raw_ratio)

    return moments


def _ladder_moments(layer):
    net = exact(layer.bottom_up_net)

    def moments(activations, z_above, mean, std):  # noqa: ARG001 by the prior only
        bottom_up, raw_std = np.split(net(activations), 2, axis=1)
        variance = np.square(_positive(raw_std))
        total = variance + std * std
        return (bottom_up - mean) * std / total, np.sqrt(variance / total)

    return moments


_MOMENTS = {TopDownLatent: _top_down_moments, LadderLatent: _ladder_moments}
