"""Likelihoods for data on a grid of levels, such as images of 8 bits."""

import math
import operator
from typing import Literal, NamedTuple, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn import functional

from sk_hvae.nn.likelihoods.base import Likelihood
from sk_hvae.nn.likelihoods.numerics import fit_parameter
from sk_hvae.nn.likelihoods.refusal import refuse
from sk_hvae.nn.noise import gumbel, uniform

# How far from a level a value may be: float16 rounds k / 255 by up to 0.06 levels.
_TOLERANCE = 0.1
# Those of 16 bits; the mean takes a pass over all levels.
_MOST_LEVELS = 2**16
# In levels; narrower than that, a component has all but 1e-4 of its mass on one level.
_MIN_SCALE = 0.05
# Levels in one operation of an exported graph: more make a smaller graph, and take more memory.
_EXPORTED_AT_ONCE = 16


class _Levels(Likelihood):
    """What the likelihoods of levels share: the grid, the link and a learned scale."""

    location: Tensor
    scale: Tensor
    largest: Tensor
    log_scale: Tensor

    _NAME: str

    n_levels: int
    maximum: str | float

    @property
    def _top(self):
        return self.n_levels - 1

    def learn(self, summary):
        self._check_arguments()
        largest = self.maximum
        if largest == "auto":
            largest = 1.0 if summary.maximum.max() <= 1 else self._top
        self.register_buffer("largest", torch.tensor(float(largest), dtype=torch.float64))
        self.check(torch.stack((summary.minimum, summary.maximum)))
        levels = self._top / float(largest)
        varying = summary.std[summary.std > 0] * levels
        scale = varying.square().mean().sqrt() if len(varying) else torch.ones(())
        self.register_buffer("location", (summary.mean * levels).float())
        self.register_buffer("scale", scale.float())
        self.log_scale = nn.Parameter(torch.zeros(()))

    def _check_arguments(self):
        if not 2 <= operator.index(self.n_levels) <= _MOST_LEVELS:
            raise ValueError(f"n_levels must be from 2 to 65536; got {self.n_levels!r}.")
        given = isinstance(self.maximum, SupportsFloat) and 0 < float(self.maximum) < math.inf
        if self.maximum != "auto" and not given:
            raise ValueError(f"maximum must be 'auto' or a positive number; got {self.maximum!r}.")

    def check(self, x):
        levels = x.float() * self._top / self.largest.float().to(x.device)
        on_grid = (levels - levels.round()).abs() <= _TOLERANCE
        in_range = (levels >= -_TOLERANCE) & (levels <= self._top + _TOLERANCE)
        refuse(x, ~(on_grid & in_range | x.isnan()), self._off_grid)

    def nearest(self, x):
        unit = self.largest.to(x) / self._top
        return (x / unit).round().clamp(0, self._top) * unit

    def _off_grid(self, value, _):
        largest = float(self.largest)
        return (
            f"likelihood={self._NAME!r} needs multiples of {largest:g}/{self._top} from 0 to "
            f"{largest:g}; found {value:.4g}. Pass the levels as they were recorded, set n_levels "
            "and maximum to theirs, or use likelihood='gaussian' for continuous data."
        )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        return (self._levels(x) - self.location) / self.scale

    def fit_scale(self, x, parameters):
        low, high = (limit.log() - self.scale.log() for limit in self._limits())
        fit_parameter(
            self.log_scale, low, high, lambda x, scale: self._log_prob(x, parameters, scale), x
        )

    def log_prob(self, x, parameters):
        return self._log_prob(x, parameters, self.log_scale)

    def _log_prob(self, x, parameters, log_scale):
        raise NotImplementedError

    def _levels(self, x):
        return (x.float() * self._top / self.largest).round()

    def _values(self, levels):
        return levels * self.largest / self._top

    def _drawn_values(self, levels):
        """Values of drawn levels, in double: exactly those that the data have."""
        return self._values(levels.to(self.largest.dtype))

    def _limits(self):
        lowest, highest = _MIN_SCALE, 10.0 * self.n_levels
        return torch.full_like(self.scale, lowest), torch.full_like(self.scale, highest)

    def _bounded(self, log_scale):
        """Scales in levels."""
        low, high = self._limits()
        return (log_scale + self.scale.log()).clamp(low.log(), high.log()).exp()

    def _log_mass(self, levels, mean, scale):
        """Log-probability that a logistic variable rounds and clips to given levels.

        sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), where nothing cancels.
        """
        is_first, is_last = levels <= 0, levels >= self._top
        above = functional.logsigmoid((mean - levels + 0.5) / scale)
        below = functional.logsigmoid((levels + 0.5 - mean) / scale)
        width = (-(-1 / scale).expm1()).log()
        return (
            above.masked_fill(is_first, 0.0)
            + below.masked_fill(is_last, 0.0)
            + width.expand_as(below).masked_fill(is_first | is_last, 0.0)
        )

    def _expected_level(self, mean, scale):
        """Mean level, the sum of the probabilities to exceed each."""
        total = torch.zeros_like(mean)
        if torch.compiler.is_exporting():
            # One operation per level makes a graph of thousands.
            for levels in torch.arange(self._top).split(_EXPORTED_AT_ONCE):
                thresholds = levels.view(-1, *(1,) * mean.dim()) + 0.5
                total = total + ((mean - thresholds) / scale).sigmoid().sum(0)
            return total
        for level in range(self._top):
            total = total + ((mean - (level + 0.5)) / scale).sigmoid()
        return total

    def _draw(self, mean, scale, noise):
        return (mean + scale * uniform(noise).logit()).round().clamp(0, self._top)


class DiscretizedLogistic(_Levels):
    """Levels that a logistic variable around the decoder's output rounds and clips to.

    For data that take the values k / (n_levels - 1) * maximum, k = 0, ..., n_levels - 1, such as
    pixels of 8 bits: log-probabilities (nats) are comparable between models, and cannot grow
    without bound as densities of such data can. One learned scale serves all features.

    Parameters
    ----------
    n_levels : int, default=256
        Number of levels; those of 8 bits by default.
    maximum : "auto" or float, default="auto"
        Value of the largest level in the data; the smallest is 0. "auto" is 1 if no value of
        the training data exceeds it, as for images scaled to [0, 1], and n_levels - 1 if not.

    Notes
    -----
    The linear paths work on levels, less their column's mean, over one number for all columns,
    so that almost constant pixels are not blown up. A value may be up to 0.1 levels off the
    grid, more than float16 rounds.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import DiscretizedLogistic
    >>> x = torch.tensor([[0, 128], [255, 130]], dtype=torch.uint8)
    >>> likelihood = DiscretizedLogistic().adapt(DataSummary.of([x]))
    >>> (likelihood.log_prob(x, likelihood.link(x)).exp() > 0).all()
    tensor(True)
    """

    _NAME = "discretized_logistic"

    def __init__(self, n_levels: int = 256, maximum: float | Literal["auto"] = "auto") -> None:
        super().__init__()
        self.n_levels = n_levels
        self.maximum = maximum

    def mean(self, parameters):
        scale = self._bounded(self.log_scale)
        return self._values(self._expected_level(self._means(parameters), scale))

    def sample(self, parameters, noise):
        scale = self._bounded(self.log_scale)
        return self._drawn_values(self._draw(self._means(parameters), scale, noise(parameters)))

    def _log_prob(self, x, parameters, log_scale):
        return self._log_mass(self._levels(x), self._means(parameters), self._bounded(log_scale))

    def _means(self, parameters):
        return parameters * self.scale + self.location


class _Mixture(NamedTuple):
    """Components of the pixels, in levels: (b, n_mixtures, planes, n_pixels)."""

    log_weights: Tensor
    means: Tensor
    scales: Tensor
    coupling: Tensor

    def conditional_mean(self, channel, deviations):
        """Mean of a channel given how far the ones before it are from their means."""
        first = channel * (channel - 1) // 2
        return self.means[:, :, channel] + sum(
            self.coupling[:, :, first + i] * deviations[i] for i in range(channel)
        )

    def select(self, component):
        """Keep one component of every pixel; ``component`` is (b, 1, 1, n_pixels)."""
        return _Mixture(*(tensor.take_along_dim(component, 1) for tensor in self))


class DiscretizedLogisticMixture(_Levels):
    """Mixture of discretized logistic distributions for every pixel of an image.

    For images of 1 or 3 channels in levels, as `DiscretizedLogistic`; the channels of a pixel
    share their component and depend on the channels before them, after PixelCNN++ [1]_.
    Log-probabilities are in nats.

    Parameters
    ----------
    n_mixtures : int, default=5
        Components of a pixel; about 5 suffice according to [1]_.
    n_levels : int, default=256
        Number of levels; those of 8 bits by default.
    maximum : "auto" or float, default="auto"
        Value of the largest level in the data; the smallest is 0. "auto" is 1 if no value of
        the training data exceeds it, as for images scaled to [0, 1], and n_levels - 1 if not.

    Notes
    -----
    Rows are flattened (channels, height, width). With K components, C channels and P pixels,
    the parameters of a row are planes of P numbers: C locations, then K logits of the
    components, K x C offsets of the means, K x C logarithms of relative scales and, for 3
    channels, K x 3 couplings (green on red, blue on red, blue on green), component by
    component. A component's mean is
    location + offset + spread, on the scale of the link, with a fixed spread of at most one
    learned scale to either side, which makes components differ from the start; its scale is
    the learned one times exp(logarithm). tanh(coupling) times the deviation of an earlier
    channel from its component's mean is added to the mean of a later channel: this is
    PixelCNN++ in parameters for which the location stays the mean.

    The log-probability of a cell is given the channels before it in the same pixel; the sum
    over a pixel is that of the pixel. Where an earlier channel is missing, whatever value is
    put in its place counts as given.

    `mean` is exact for the first channel. For the others it takes, in every component, the
    earlier channels at their exact means: exact if couplings are 0, and up to rounding, less
    than 0.001 levels for scales of half a level or more, if the later channel is not clipped
    at either end of the levels; otherwise an approximation.

    References
    ----------
    .. [1] Salimans, Karpathy, Chen and Kingma, "PixelCNN++: Improving the
       PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications", ICLR
       2017.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import DiscretizedLogisticMixture
    >>> x = torch.randint(256, (10, 3 * 4), dtype=torch.uint8)
    >>> summary = DataSummary.of([x], n_channels=3)
    >>> likelihood = DiscretizedLogisticMixture(n_mixtures=2).adapt(summary)
    >>> likelihood.n_linked, likelihood.n_outputs
    (12, 92)
    """

    _NAME = "discretized_logistic_mixture"

    def __init__(
        self, n_mixtures: int = 5, n_levels: int = 256, maximum: float | Literal["auto"] = "auto"
    ) -> None:
        super().__init__()
        self.n_mixtures = n_mixtures
        self.n_levels = n_levels
        self.maximum = maximum

    def learn(self, summary):
        if operator.index(self.n_mixtures) < 1:
            raise ValueError(f"n_mixtures must be at least 1; got {self.n_mixtures!r}.")
        if summary.n_channels not in (1, 3) or len(summary.mean) % summary.n_channels:
            raise ValueError(
                f"likelihood={self._NAME!r} needs images of 1 or 3 channels; found "
                f"{summary.n_channels} channels in {len(summary.mean)} columns. Use "
                "likelihood='discretized_logistic'."
            )
        super().learn(summary)

    @property
    def n_outputs(self):
        return self.n_linked + sum(self._extra_planes()) * self._n_pixels

    def mean(self, parameters):
        mixture = self._mixture(parameters, self.log_scale)
        expected: list[Tensor] = []
        deviations: list[Tensor] = []
        for channel in range(self.summary.n_channels):
            mean = mixture.conditional_mean(channel, deviations)
            expected.append(self._expected_level(mean, mixture.scales[:, :, channel]))
            deviations.append(expected[-1] - mixture.means[:, :, channel])
        weighted = mixture.log_weights.exp() * torch.stack(expected, 2)
        return self._values(weighted.sum(1).flatten(1))

    def sample(self, parameters, noise):
        mixture = self._mixture(parameters, self.log_scale)
        choice = noise(mixture.log_weights.flatten(1)).view_as(mixture.log_weights)
        component = (mixture.log_weights + gumbel(choice)).argmax(1, keepdim=True)
        mixture = mixture.select(component)
        noises = self._planes(noise(parameters[:, : self.n_linked]))
        drawn: list[Tensor] = []
        deviations: list[Tensor] = []
        for channel in range(self.summary.n_channels):
            mean = mixture.conditional_mean(channel, deviations)
            scale = mixture.scales[:, :, channel]
            drawn.append(self._draw(mean, scale, noises[:, :, channel]))
            deviations.append(drawn[-1] - mixture.means[:, :, channel])
        return self._drawn_values(torch.cat(drawn, 1).flatten(1))

    def _log_prob(self, x, parameters, log_scale):
        mixture = self._mixture(parameters, log_scale)
        levels = self._planes(self._levels(x))
        channels = range(self.summary.n_channels)
        deviations = (levels - mixture.means).unbind(2)
        means = torch.stack([mixture.conditional_mean(c, deviations) for c in channels], 2)
        joint = mixture.log_weights + self._log_mass(levels, means, mixture.scales).cumsum(2)
        so_far = joint.logsumexp(1)
        return so_far.diff(dim=1, prepend=torch.zeros_like(so_far[:, :1])).flatten(1)

    @property
    def _n_pixels(self):
        return self.n_linked // self.summary.n_channels

    def _extra_planes(self):
        k, n_channels = self.n_mixtures, self.summary.n_channels
        return k, k * n_channels, k * n_channels, k * (n_channels * (n_channels - 1) // 2)

    def _planes(self, row):
        return row.view(row.shape[0], 1, self.summary.n_channels, -1)

    def _mixture(self, parameters, log_scale):
        location = self._planes(parameters[:, : self.n_linked] * self.scale + self.location)
        extras = parameters[:, self.n_linked :].view(parameters.shape[0], -1, self._n_pixels)
        logits, offsets, log_scales, coupling = (
            plane.unflatten(1, (self.n_mixtures, plane.shape[1] // self.n_mixtures))
            for plane in extras.split(self._extra_planes(), 1)
        )
        means = location + self.scale * (offsets + log_scale.exp() * self._spread())
        scales = self._bounded(log_scale + log_scales)
        return _Mixture(logits.log_softmax(1), means, scales, coupling.tanh())

    def _spread(self):
        """Offsets of the components, (n_mixtures, 1, 1), from -1 to 1."""
        k = self.n_mixtures
        spread = 2 * torch.arange(k, device=self.scale.device) - (k - 1)
        return (spread / max(k - 1, 1)).view(-1, 1, 1)
