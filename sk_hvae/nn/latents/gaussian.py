"""A layer of Gaussian latents: its prior, its posterior, their KL divergence and samples."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Limits of standard deviations, so that no division and no logarithm gets out of hand: a posterior
# at the lower one carries ln(1000), 7 nats a unit, which is more than codes are started with.
MIN_STD, MAX_STD = 1e-3, 1e2
# Raw standard deviation of a std of 4.5. A Gaussian that is read off the data then carries about a
# thousandth of a nat a unit.
_WIDE = 4.0
_SOFTPLUS_AT_ONE = math.log(math.expm1(1.0 - MIN_STD))


class GaussianPrior(NamedTuple):
    """Diagonal Gaussian p(z_l | z_{l+1}); both tensors (b, n_units)."""

    mean: Tensor
    std: Tensor

    def sample(self, noise):
        """Sample p; ``noise`` maps a tensor to standard normal noise of its shape."""
        return self.mean + self.std * noise(self.mean)


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
        return self.prior.mean + self.prior.std * self.offset

    @property
    def std(self):
        """Standard deviation of q, (b, n_units)."""
        return self.prior.std * self.ratio

    def sample(self, noise):
        """Sample q; ``noise`` maps a tensor to standard normal noise of its shape."""
        relative = torch.addcmul(self.offset, self.ratio, noise(self.offset))
        return torch.addcmul(self.prior.mean, self.prior.std, relative)

    def kl(self):
        """KL(q || p) in nats, summed over the units, (b,).

        In relative terms the scale of the prior drops out:
        KL = 1/2 sum_i (offset_i^2 + ratio_i^2 - 1 - ln ratio_i^2).
        """
        return self.kl_of_units().sum(1)

    def kl_of_units(self):
        """KL(q || p) of each unit in nats, (b, n_units)."""
        terms = self.offset.square() + self.ratio.square() - 1 - 2 * self.ratio.log()
        return 0.5 * terms

    def log_ratio(self, z):
        """Ln q(z) - ln p(z) of latents (b, n_units), whose mean over q is the KL: (b,)."""
        relative = (z - self.prior.mean) / self.prior.std
        noise = (relative - self.offset) / self.ratio
        return (0.5 * (relative.square() - noise.square()) - self.ratio.log()).sum(1)

    def cross_log_prob(self, z):
        """Ln q(z_i | row j) of latents (n, n_units) for every i and j: (n, b).

        Computed where z is, in its precision; single precision is too little for narrow q.
        """
        mean, std = self.mean.to(z), self.std.to(z)
        precision = std.square().reciprocal()
        squares = z.square() @ precision.T - 2 * z @ (mean * precision).T
        squares = squares + (mean.square() * precision).sum(1)
        constant = std.log().sum(1) + 0.5 * z.shape[1] * math.log(2 * math.pi)
        return -0.5 * squares - constant


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


class Latent(nn.Module, ABC):
    """A stochastic layer: what the model asks of each, whatever its distribution.

    Parameters
    ----------
    n_units : int
        Number of latent units.
    """

    unit: Tensor

    def __init__(self, n_units):
        super().__init__()
        self.n_units = n_units
        # Saved files know the scale by this name.
        self.register_buffer("unit", torch.ones(n_units))

    @property
    def scale(self):
        """What latents are divided by when the model reports them to the outside, (n_units,)."""
        return self.unit

    @property
    @abstractmethod
    def enumerates(self):
        """Whether a pass goes through all states of the layer, to take exact expectations.

        Only a layer that has states can.
        """

    @abstractmethod
    def prior(self, z_above, n_rows):
        """Build the prior.

        Parameters
        ----------
        z_above : Tensor of shape (b, n_above) or None
            Sample or mean of the layer above; None for the top layer.
        n_rows : int
            Number of rows of the prior of the top layer.

        Returns
        -------
        GaussianPrior or CategoricalPrior
        """

    @abstractmethod
    def posterior(self, activations, z_above):
        """Build the posterior from the encoder's activations and the layer above."""


class GaussianLatent(Latent):
    """A layer of Gaussian latents; subclasses say how the posterior is inferred.

    Parameters
    ----------
    n_units : int
        Number of latent units.
    prior_net : nn.Module or None
        Maps the layer above (b, n_above) to means and raw standard deviations of the prior,
        (b, 2 n_units); None for the top layer, whose prior is N(0, 1).
    """

    def __init__(self, n_units, prior_net):
        super().__init__(n_units)
        self.prior_net = prior_net

    @property
    def enumerates(self):
        return False

    def prior(self, z_above, n_rows):
        if self.prior_net is None:
            mean = self.scale.new_zeros(n_rows, self.n_units)
            return GaussianPrior(mean, torch.ones_like(mean))
        mean, raw_std = self.prior_net(z_above).float().chunk(2, 1)
        return GaussianPrior(mean, positive(raw_std))

    @abstractmethod
    def start_at(self, code):
        """Set the linear paths of the networks to a `LayerCode`."""

    def start_at_groups(self, signal, means, std):
        """Set the linear paths to a code of the data whose prior depends on a group.

        Parameters
        ----------
        signal : Tensor of shape (n,)
            As in `LayerCode`.
        means : Tensor of shape (n_groups, n)
            Mean of the units in each group; the layer above is one-hot.
        std : Tensor of shape (n,)
            Standard deviation of the units within groups.
        """
        linear = self.prior_net.linear
        n = len(signal)
        linear.weight[:n] = means.T
        linear.bias[self.n_units :][:n] = inverse_positive(std)

    def _start_prior(self, code):
        if self.prior_net is not None:
            linear = self.prior_net.linear
            n = min(len(code.above), linear.in_features)
            _set_diagonal(linear, code.above[:n])
            std = (1 - code.above.square()).sqrt()
            linear.bias[self.n_units :][: len(std)] = inverse_positive(std)


class TopDownLatent(GaussianLatent):
    """Gaussian latents whose posterior is a network of its own, q(z_l | z_{l+1}, x).

    Parameters
    ----------
    n_units : int
        Number of latent units.
    prior_net : nn.Module or None
        As in `GaussianLatent`.
    posterior_net : nn.Module
        Maps activations and the layer above to offsets and raw ratios of the posterior relative
        to the prior, (b, 2 n_units).
    """

    def __init__(self, n_units, prior_net, posterior_net):
        super().__init__(n_units, prior_net)
        self.posterior_net = posterior_net

    def posterior(self, activations, z_above):
        raw = self.posterior_net(activations, z_above).float()
        offset, raw_ratio = raw.chunk(2, 1)
        return GaussianPosterior(self.prior(z_above, raw.shape[0]), offset, positive(raw_ratio))

    def start_at(self, code):
        self._start_prior(code)
        prior_var = 1 - code.above.square()
        snr = code.signal.square() / (1 - code.signal.square())
        gain = snr * prior_var / (1 + snr * prior_var)
        pull = gain / prior_var.sqrt()
        seen = code.signal > 0
        from_data = torch.where(seen, pull / code.signal.where(seen, 1), 0)
        linear = self.posterior_net.linear
        _set_diagonal(linear, from_data)
        if self.prior_net is not None:
            n_above = self.prior_net.linear.in_features
            n = min(len(code.above), n_above)
            from_above = (-pull * code.above)[:n]
            _set_diagonal(linear, from_above, first_input=linear.in_features - n_above)
        ratio = (1 + snr * prior_var).rsqrt()
        linear.bias[self.n_units :][: len(ratio)] = inverse_positive(ratio)

    def start_at_groups(self, signal, means, std):
        super().start_at_groups(signal, means, std)
        linear = self.posterior_net.linear
        n = len(signal)
        _set_diagonal(linear, signal / std)
        linear.weight[:n, -len(means) :] = -(means / std).T
        linear.bias[self.n_units :][:n] = inverse_positive((1 - signal.square()).sqrt() / std)


class LadderLatent(GaussianLatent):
    """Gaussian latents whose posterior is the prior times a Gaussian read off the data.

    The posterior is the precision-weighted product of p(z_l | z_{l+1}) and a bottom-up
    N(mean(x), std(x)^2), as in the ladder VAE (Sonderby et al., NeurIPS 2016).

    Parameters
    ----------
    n_units : int
        Number of latent units.
    prior_net : nn.Module or None
        As in `GaussianLatent`.
    bottom_up_net : nn.Module
        Maps activations to means and raw standard deviations of the Gaussian read off the data,
        (b, 2 n_units).
    """

    # Units that code nothing start with a std of 33 instead of an infinite one.
    _MIN_SIGNAL = 0.03

    def __init__(self, n_units, prior_net, bottom_up_net):
        super().__init__(n_units, prior_net)
        self.bottom_up_net = bottom_up_net

    def posterior(self, activations, z_above):
        mean, raw_std = self.bottom_up_net(activations).float().chunk(2, 1)
        prior = self.prior(z_above, mean.shape[0])
        variance = positive(raw_std).square()
        total = variance + prior.std.square()
        offset = (mean - prior.mean) * prior.std / total
        return GaussianPosterior(prior, offset, (variance / total).sqrt())

    def start_at(self, code):
        self._start_prior(code)
        linear = self.bottom_up_net.linear
        linear.bias[self.n_units :] = 1 / self._MIN_SIGNAL
        signal = code.signal.clamp(min=self._MIN_SIGNAL)
        _set_diagonal(linear, torch.where(code.signal > 0, 1 / signal, 0))
        std = (1 - signal.square()).sqrt() / signal
        linear.bias[self.n_units :][: len(std)] = inverse_positive(std)


def gaussian_latent(inference, n_units, prior_net, posterior_net):
    """Build a layer of Gaussian latents.

    Parameters
    ----------
    inference : {"top_down", "ladder"}
        Form of the posterior.
    n_units : int
        Number of latent units.
    prior_net : nn.Module or None
        As in `GaussianLatent`.
    posterior_net : nn.Module
        ``posterior_net`` of `TopDownLatent` or ``bottom_up_net`` of `LadderLatent`.

    Returns
    -------
    GaussianLatent
    """
    kind = {"top_down": TopDownLatent, "ladder": LadderLatent}[inference]
    return kind(n_units, prior_net, posterior_net)


@torch.no_grad()
def start_wide(heads):
    """Let a layer that puts out means and raw standard deviations start with wide Gaussians.

    A ladder whose Gaussians read off the data are wide starts at its priors, with rates near
    zero; random ones of std 1 cost tenths of a bit per unit, for nothing.
    """
    heads.bias[len(heads.bias) // 2 :] = _WIDE
    return heads


def positive(raw):
    """Map any real number to a standard deviation between 1e-3 and 100, and 0 to 1."""
    return functional.softplus(raw + _SOFTPLUS_AT_ONE).clamp(max=MAX_STD - MIN_STD) + MIN_STD


def inverse_positive(std):
    """Solve ``positive(raw) = std`` for raw; a std at or below the floor is lifted off it."""
    value = (std - MIN_STD).clamp(min=1e-4)
    return value + torch.log(-torch.expm1(-value)) - _SOFTPLUS_AT_ONE


def _set_diagonal(linear, values, first_input=0):
    index = torch.arange(len(values))
    linear.weight[index, first_input + index] = values.to(linear.weight)
