"""Bernoulli likelihood."""

import math
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional

from sk_hvae.nn.likelihoods.base import Likelihood, check_range
from sk_hvae.nn.noise import uniform


class Bernoulli(Likelihood):
    """Independent Bernoulli features; the decoder's output are logits, less their mean.

    For binary data, and for intensities in [0, 1] as they are common in the literature: the
    cross-entropy x ln p + (1 - x) ln(1 - p) is then not a density, but still compares models.

    Parameters
    ----------
    low, high : float, default=0.0 and 1.0
        The two values of binary data, or the ends of intensities: pixels from 0 to 255 need
        no other preparation than ``high=255``. Of intensities x, the cross-entropy is that of
        (x - low) / (high - low).

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

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def learn(self, summary):
        are_numbers = all(isinstance(end, Real) for end in (self.low, self.high))
        if not (are_numbers and -math.inf < self.low < self.high < math.inf):
            raise ValueError(
                "low and high of a Bernoulli likelihood must be two numbers, the lower one first; "
                f"got low={self.low!r} and high={self.high!r}."
            )
        self.check(torch.stack((summary.minimum, summary.maximum)))
        mean = self._intensity(summary.mean).clamp(0, 1)
        self.register_buffer("location", self._soft_logit(mean).float())

    def _intensity(self, x):
        """Map data to what it would be in [0, 1]."""
        return (x - self.low) / (self.high - self.low)

    def _value(self, intensity):
        return self.low + (self.high - self.low) * intensity

    def _soft_logit(self, intensity):
        return torch.logit(self._MARGIN + (1 - 2 * self._MARGIN) * intensity)

    def check(self, x):
        check_range(
            x,
            self.low,
            self.high,
            "bernoulli",
            "Name the ends of all pixels, for example Bernoulli(high=255), scale X, for example "
            "with MinMaxScaler(clip=True), or use likelihood='gaussian'.",
        )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        return self._soft_logit(self._intensity(x.float())) - self.location

    def log_prob(self, x, parameters):
        logits, intensity = parameters + self.location, self._intensity(x.float())
        return -functional.binary_cross_entropy_with_logits(logits, intensity, reduction="none")

    def _probability(self, parameters):
        """Return how probable ``high`` is."""
        return (parameters + self.location).sigmoid()

    def mean(self, parameters):
        return self._value(self._probability(parameters))

    def expected_link(self, parameters):
        # That of binary data; the link has one value for each of the two.
        least, most = self._soft_logit(torch.tensor([0.0, 1.0])).tolist()
        return least - self.location + (most - least) * self._probability(parameters)

    def sample(self, parameters, noise):
        is_high = uniform(noise(parameters)) < self._probability(parameters)
        return self._value(is_high.float())
