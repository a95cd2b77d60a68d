"""One stochastic layer: its prior, its posterior, their KL divergence and samples."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sk_hvae.nn.networks import zero_linear, zero_mlp

_MIN_STD = 1e-3
_SOFTPLUS_AT_ONE = math.log(math.expm1(1.0 - _MIN_STD))


class GaussianPrior(NamedTuple):
    """Diagonal Gaussian p(z_l | z_{l+1}); both tensors (b, n_units)."""

    mean: Tensor
    std: Tensor

    def sample(self, noise):
        """Map standard normal noise (b, n_units) to a sample of p."""
        return self.mean + self.std * noise


class GaussianPosterior(NamedTuple):
    """Diagonal Gaussian q(z_l | z_{l+1}, x), relative to its prior.

    Attributes
    ----------
    prior : GaussianPrior
        What the posterior is measured against.
    offset : Tensor of shape (b, n_units)
        (mean of q - mean of p) / std of p.
    ratio : Tensor of shape (b, n_units)
        std of q / std of p.
    """

    prior: GaussianPrior
    offset: Tensor
    ratio: Tensor

    @property
    def mean(self):
        """Mean of q, (b, n_units)."""
        return self.prior.sample(self.offset)

    @property
    def std(self):
        """Standard deviation of q, (b, n_units)."""
        return self.prior.std * self.ratio

    def sample(self, noise):
        """Map standard normal noise (b, n_units) to a sample of q."""
        return self.prior.sample(self.offset + self.ratio * noise)

    def kl(self):
        """KL(q || p) in nats, summed over the units, (b,).

        In relative terms the scale of the prior drops out:
        KL = 1/2 sum_i (offset_i^2 + ratio_i^2 - 1 - ln ratio_i^2).
        """
        terms = self.offset.square() + self.ratio.square() - 1 - 2 * self.ratio.log()
        return 0.5 * terms.sum(1)


class LayerCode(NamedTuple):
    """A layer of a linear-Gaussian code: where a layer of latents starts.

    Unit i of the layer codes component i of the data, and has variance 1.

    Attributes
    ----------
    signal : Tensor of shape (n,)
        Correlation of the units with their components, in [0, 1).
    above : Tensor of shape (n,)
        Correlation of the units with those of the layer above, in [0, 1).
    """

    signal: Tensor
    above: Tensor


class GaussianLatent(nn.Module, ABC):
    """A layer of Gaussian latents; subclasses say how the posterior is inferred.

    Priors and posteriors are a linear path plus a network that starts at zero. The buffer
    ``unit`` (n_units,) is what latents are divided by when the model reports them to the
    outside.

    Parameters
    ----------
    n_units : int
        Number of latent units.
    n_above : int
        Number of units of the layer above; 0 for the top layer, whose prior is N(0, 1).
    head_sizes : sequence of int
        Widths of the hidden layers of the networks that read the layer above.
    """

    unit: Tensor

    def __init__(self, n_units, n_above, head_sizes):
        super().__init__()
        self.n_units = n_units
        self.n_above = n_above
        self.register_buffer("unit", torch.ones(n_units))
        if n_above:
            self.prior_linear = zero_linear(n_above, 2 * n_units)
            self.prior_net = zero_mlp(n_above, head_sizes, 2 * n_units)

    def prior(self, z_above, n_rows):
        """Build p(z_l | z_{l+1}).

        Parameters
        ----------
        z_above : Tensor of shape (b, n_above) or None
            Sample or mean of the layer above; None for the top layer.
        n_rows : int
            Number of rows of the prior of the top layer.

        Returns
        -------
        GaussianPrior
        """
        if not self.n_above:
            mean = self.unit.new_zeros(n_rows, self.n_units)
            return GaussianPrior(mean, torch.ones_like(mean))
        raw = self.prior_linear(z_above).float() + self.prior_net(z_above).float()
        mean, raw_std = raw.chunk(2, 1)
        return GaussianPrior(mean, positive(raw_std))

    @abstractmethod
    def posterior(self, features, z_above):
        """Build q(z_l | z_{l+1}, x) from `Features` and the layer above."""

    @abstractmethod
    def start_at(self, code):
        """Set the linear paths to a `LayerCode`."""

    def _start_prior(self, code):
        if self.n_above:
            n = min(len(code.above), self.n_above)
            _set_diagonal(self.prior_linear, code.above[:n])
            std = (1 - code.above.square()).sqrt()
            self.prior_linear.bias[self.n_units :][: len(std)] = inverse_positive(std)


class TopDownLatent(GaussianLatent):
    """Gaussian latents whose posterior is a network of its own, q(z_l | z_{l+1}, x).

    Parameters
    ----------
    n_units : int
        Number of latent units.
    n_above : int
        Number of units of the layer above; 0 for the top layer.
    head_sizes : sequence of int
        Widths of the hidden layers of the networks that read the layer above.
    n_linear : int
        Width of the encoder's linear features.
    n_hidden : int
        Width of the encoder's hidden features.
    """

    def __init__(self, n_units, n_above, head_sizes, n_linear, n_hidden):
        super().__init__(n_units, n_above, head_sizes)
        self.n_linear = n_linear
        self.posterior_linear = zero_linear(n_linear + n_above, 2 * n_units)
        self.posterior_net = zero_mlp(
            n_hidden + n_above, head_sizes if n_above else (), 2 * n_units
        )

    def posterior(self, features, z_above):
        linear, hidden = features
        prior = self.prior(z_above, len(linear))
        if self.n_above:
            linear = torch.cat((linear, z_above), 1)
            hidden = torch.cat((hidden, z_above.to(hidden.dtype)), 1)
        raw = self.posterior_linear(linear).float() + self.posterior_net(hidden).float()
        offset, raw_ratio = raw.chunk(2, 1)
        return GaussianPosterior(prior, offset, positive(raw_ratio))

    def start_at(self, code):
        self._start_prior(code)
        prior_var = 1 - code.above.square()
        snr = code.signal.square() / (1 - code.signal.square())
        gain = snr * prior_var / (1 + snr * prior_var)
        pull = gain / prior_var.sqrt()
        seen = code.signal > 0
        from_data = torch.where(seen, pull / code.signal.where(seen, 1), 0)
        _set_diagonal(self.posterior_linear, from_data)
        n = min(len(code.above), self.n_above)
        _set_diagonal(self.posterior_linear, (-pull * code.above)[:n], first_input=self.n_linear)
        ratio = (1 + snr * prior_var).rsqrt()
        self.posterior_linear.bias[self.n_units :][: len(ratio)] = inverse_positive(ratio)


class LadderLatent(GaussianLatent):
    """Gaussian latents whose posterior is the prior times a Gaussian read off the data.

    The posterior is the precision-weighted product of p(z_l | z_{l+1}) and a bottom-up
    N(mean(x), std(x)^2), as in the ladder VAE (Sonderby et al., NeurIPS 2016).

    Parameters
    ----------
    n_units : int
        Number of latent units.
    n_above : int
        Number of units of the layer above; 0 for the top layer.
    head_sizes : sequence of int
        Widths of the hidden layers of the networks that read the layer above.
    n_linear : int
        Width of the encoder's linear features.
    n_hidden : int
        Width of the encoder's hidden features.
    """

    _MIN_SIGNAL = 0.03

    def __init__(self, n_units, n_above, head_sizes, n_linear, n_hidden):
        super().__init__(n_units, n_above, head_sizes)
        self.bottom_up_linear = zero_linear(n_linear, 2 * n_units)
        self.bottom_up_net = zero_linear(n_hidden, 2 * n_units)

    def posterior(self, features, z_above):
        linear, hidden = features
        prior = self.prior(z_above, len(linear))
        raw = self.bottom_up_linear(linear).float() + self.bottom_up_net(hidden).float()
        mean, raw_std = raw.chunk(2, 1)
        variance = positive(raw_std).square()
        total = variance + prior.std.square()
        offset = (mean - prior.mean) * prior.std / total
        return GaussianPosterior(prior, offset, (variance / total).sqrt())

    def start_at(self, code):
        self._start_prior(code)
        self.bottom_up_linear.bias[self.n_units :] = 1 / self._MIN_SIGNAL
        signal = code.signal.clamp(min=self._MIN_SIGNAL)
        _set_diagonal(self.bottom_up_linear, torch.where(code.signal > 0, 1 / signal, 0))
        std = (1 - signal.square()).sqrt() / signal
        self.bottom_up_linear.bias[self.n_units :][: len(std)] = inverse_positive(std)


LATENTS: dict[str, type] = {"top_down": TopDownLatent, "ladder": LadderLatent}


def positive(raw):
    """Map any real number to a standard deviation: 0 to 1, and never below 1e-3."""
    return functional.softplus(raw + _SOFTPLUS_AT_ONE) + _MIN_STD


def inverse_positive(std):
    """Solve ``positive(raw) = std`` for raw; a std at or below the floor is lifted off it."""
    value = (std - _MIN_STD).clamp(min=1e-4)
    return value + torch.log(-torch.expm1(-value)) - _SOFTPLUS_AT_ONE


def _set_diagonal(linear, values, first_input=0):
    index = torch.arange(len(values))
    linear.weight[index, first_input + index] = values.to(linear.weight)
