"""Likelihoods: the decoder's output to log-probability, mean and samples of the data."""

import inspect
import math
from abc import ABC, abstractmethod
from typing import NamedTuple, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn import functional

_MIN_LOG_SIGMA = math.log(1e-4)
_ROUNDING = 1e-12


class DataSummary(NamedTuple):
    """What a likelihood may know of the training data.

    Attributes
    ----------
    mean, std, minimum, maximum : Tensor of shape (n_features,), float64
        Per column; std is exactly 0 for a constant column.
    """

    mean: Tensor
    std: Tensor
    minimum: Tensor
    maximum: Tensor

    @classmethod
    def of(cls, chunks):
        """Summarise data that comes in chunks.

        Parameters
        ----------
        chunks : iterable of Tensor of shape (m, n_features)
            Parts of the data, any dtype, on any device.

        Returns
        -------
        DataSummary
            On the CPU.

        Examples
        --------
        >>> import torch
        >>> from sk_hvae.nn import DataSummary
        >>> DataSummary.of([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0]])]).mean
        tensor([3.], dtype=torch.float64)
        """
        count = 0
        mean = squares = torch.zeros((), dtype=torch.float64)
        minimum, maximum = mean + math.inf, mean - math.inf
        for chunk in chunks:
            chunk = chunk.cpu().double()
            chunk_mean = chunk.mean(0)
            shift = chunk_mean - mean
            total = count + len(chunk)
            mean = mean + shift * (len(chunk) / total)
            squares = squares + (chunk - chunk_mean).square().sum(0)
            squares = squares + shift.square() * (count * len(chunk) / total)
            minimum = torch.minimum(minimum, chunk.amin(0))
            maximum = torch.maximum(maximum, chunk.amax(0))
            count = total
        std = (squares / count).sqrt()
        constant = (minimum == maximum) | (std <= _ROUNDING * mean.abs())
        return cls(mean, std.masked_fill(constant, 0.0), minimum, maximum)

    @property
    def has_shared_scale(self):
        """Whether the columns look like parts of one signal, as pixels do.

        True if at least half of the columns that vary start at one common minimum and span
        at least half of the widest range.
        """
        varies = self.std > 0
        if not varies.any():
            return False
        low = self.minimum[varies]
        span = self.maximum[varies] - low
        widest = span.max()
        common = (low - low.median()).abs() <= 0.01 * widest
        return bool((common & (span >= 0.5 * widest)).double().mean() >= 0.5)


class Likelihood(nn.Module, ABC):
    """What the decoder's output means; subclasses are final.

    A subclass stores its constructor arguments under their own names, registers what it
    learns from the data in `adapt`, and works on raw data everywhere else.
    """

    @property
    def config(self):
        """Constructor arguments, a dict."""
        return {
            name: getattr(self, name)
            for name, parameter in inspect.signature(type(self)).parameters.items()
            if parameter.kind is not parameter.VAR_POSITIONAL
            and parameter.kind is not parameter.VAR_KEYWORD
        }

    @abstractmethod
    def adapt(self, summary):
        """Take from a `DataSummary` what the likelihood needs; returns self."""

    def check(self, x):
        """Raise ValueError if raw data has values that the likelihood cannot produce."""

    @abstractmethod
    def link(self, x):
        """Map raw data to the float32 scale on which the linear paths work, (b, n_features)."""

    def fit_scale(self, x, parameters):
        """Fit free scale parameters, if any, to a batch of data and decoder output."""

    @abstractmethod
    def log_prob(self, x, parameters):
        """Sum ln p(x | parameters) over the features: nats, (b,)."""

    @abstractmethod
    def mean(self, parameters):
        """Map parameters to the mean of the data, (b, n_features), on the data's own scale."""

    @abstractmethod
    def sample(self, parameters, noise):
        """Draw data given parameters; ``noise`` maps a tensor to standard normal noise."""

    def extra_repr(self):
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


class Gaussian(Likelihood):
    """Independent Gaussian features around the decoder's output.

    Parameters
    ----------
    sigma : float, "learned" or "per_feature", default="learned"
        Standard deviation. A number is fixed, on the scale of the data (the paper uses 0.71
        for colour images in [0, 1]). "learned" trains one number for all features after
        scaling, "per_feature" one for each. Rate targets settle how much is reconstructed,
        so sigma only calibrates the likelihood: one learned number is the robust choice.
    scaling : {"auto", "columns", "shared"}, default="auto"
        How data are standardised inside the model. "columns" divides each column by its own
        standard deviation, so that all count alike whatever their units. "shared" divides
        all by one number, so that pixels or other parts of one signal keep their relative
        size and almost constant ones are not blown up. "auto" is "shared" if at least half
        of the columns have the same minimum and span at least half of the widest range, as
        those of images do, and "columns" otherwise.

    Notes
    -----
    Log-densities are those of the data as given: the standardisation is accounted for.

    Examples
    --------
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.nn import Gaussian
    >>> HierarchicalVAETransformer(likelihood=Gaussian(sigma=0.71)).likelihood
    Gaussian(sigma=0.71, scaling='auto')
    """

    location: Tensor
    scale: Tensor
    log_sigma: Tensor

    def __init__(self, sigma="learned", scaling="auto"):
        super().__init__()
        self.sigma = sigma
        self.scaling = scaling

    def adapt(self, summary):
        if self.scaling not in ("auto", "columns", "shared"):
            raise ValueError(
                f"scaling must be 'auto', 'columns' or 'shared'; got {self.scaling!r}."
            )
        scale = summary.std.clone()
        if not scale.isfinite().all():
            raise ValueError(
                "the columns of X vary too much to compute their standard deviation: max|X| is "
                f"{float(torch.maximum(summary.maximum, -summary.minimum).max()):.3g}. Divide X "
                "by its scale, for example with MaxAbsScaler."
            )
        shared = self.scaling == "shared" or (self.scaling == "auto" and summary.has_shared_scale)
        if shared and (scale > 0).any():
            scale = scale[scale > 0].square().mean().sqrt().expand_as(scale).clone()
        scale[scale == 0] = 1.0
        self.register_buffer("location", summary.mean.clone())
        self.register_buffer("scale", scale)
        self._register_sigma()
        return self

    def _register_sigma(self):
        if self.sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        elif self.sigma == "per_feature":
            self.log_sigma = nn.Parameter(torch.zeros(len(self.scale)))
        elif isinstance(self.sigma, SupportsFloat) and 0 < float(self.sigma) < math.inf:
            self.register_buffer("log_sigma", (float(self.sigma) / self.scale).log().float())
        else:
            raise ValueError(
                f"sigma must be a positive number, 'learned' or 'per_feature'; got {self.sigma!r}."
            )

    def link(self, x):
        if x.dtype != torch.float64:
            x = x.float()
        return ((x - self.location.to(x.dtype)) / self.scale.to(x.dtype)).float()

    def fit_scale(self, x, parameters):
        if isinstance(self.log_sigma, nn.Parameter):
            square = (self.link(x) - parameters).square()
            mse = square.mean(0) if self.sigma == "per_feature" else square.mean()
            self.log_sigma.copy_((0.5 * mse.log()).clamp(min=_MIN_LOG_SIGMA))

    def log_prob(self, x, parameters):
        log_sigma = self._bounded_log_sigma()
        error = (self.link(x) - parameters) * (-log_sigma).exp()
        density = -0.5 * error.square() - log_sigma - 0.5 * math.log(2 * math.pi)
        return density.sum(1) - self.scale.log().sum().float()

    def mean(self, parameters):
        return (parameters * self.scale + self.location).float()

    def sample(self, parameters, noise):
        return self.mean(parameters + self._bounded_log_sigma().exp() * noise(parameters))

    def _bounded_log_sigma(self):
        learned = isinstance(self.log_sigma, nn.Parameter)
        return self.log_sigma.clamp(min=_MIN_LOG_SIGMA) if learned else self.log_sigma


class Bernoulli(Likelihood):
    """Independent Bernoulli features; the decoder's output are logits, less their mean.

    For binary data, and for intensities in [0, 1] as they are common in the literature: the
    cross-entropy x ln p + (1 - x) ln(1 - p) is then no density, but ranks models alike.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import Bernoulli, DataSummary
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    >>> likelihood = Bernoulli().adapt(DataSummary.of([x]))
    >>> likelihood.mean(torch.tensor([[0.0, 5.0]]))[0, 0]
    tensor(0.5000)
    """

    location: Tensor

    _MARGIN = 0.05
    _TOLERANCE = 1e-6

    def adapt(self, summary):
        self._check_bounds(summary.minimum.min(), summary.maximum.max())
        self.register_buffer("location", self._soft_logit(summary.mean.clamp(0, 1)).float())
        return self

    def _soft_logit(self, x):
        return torch.logit(self._MARGIN + (1 - 2 * self._MARGIN) * x)

    def check(self, x):
        self._check_bounds(x.amin(), x.amax())

    def _check_bounds(self, minimum, maximum):
        if minimum < -self._TOLERANCE or maximum > 1 + self._TOLERANCE:
            raise ValueError(
                "likelihood='bernoulli' needs data in [0, 1]; "
                f"found values from {float(minimum):.4g} to {float(maximum):.4g}. Scale X, for "
                "example with MinMaxScaler(clip=True), or use likelihood='gaussian'."
            )

    def link(self, x):
        return self._soft_logit(x.float()) - self.location

    def log_prob(self, x, parameters):
        x = x.float()
        return -functional.binary_cross_entropy_with_logits(
            parameters + self.location, x, reduction="none"
        ).sum(1)

    def mean(self, parameters):
        return (parameters + self.location).sigmoid()

    def sample(self, parameters, noise):
        uniform = 0.5 * torch.erfc(-noise(parameters) / math.sqrt(2))
        return (uniform < self.mean(parameters)).float()


LIKELIHOODS = {"gaussian": Gaussian, "bernoulli": Bernoulli}
