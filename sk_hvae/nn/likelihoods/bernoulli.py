"""Bernoulli likelihood."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from sk_hvae.nn.likelihoods.base import Likelihood, check_range
from sk_hvae.nn.noise import uniform


class Bernoulli(Likelihood):
    """Independent Bernoulli features; the decoder's output are logits, less their mean.

    For binary data, and for intensities in [0, 1] as they are common in the literature: the
    cross-entropy x ln p + (1 - x) ln(1 - p) is then not a density, but still compares models.

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

    def learn(self, summary):
        self.check(torch.stack((summary.minimum, summary.maximum)))
        self.register_buffer("location", self._soft_logit(summary.mean.clamp(0, 1)).float())

    def _soft_logit(self, x):
        return torch.logit(self._MARGIN + (1 - 2 * self._MARGIN) * x)

    def check(self, x):
        check_range(
            x,
            0.0,
            1.0,
            "bernoulli",
            "Scale X, for example with MinMaxScaler(clip=True), or use likelihood='gaussian'.",
        )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        return self._soft_logit(x.float()) - self.location

    def log_prob(self, x, parameters):
        logits = parameters + self.location
        return -functional.binary_cross_entropy_with_logits(logits, x.float(), reduction="none")

    def mean(self, parameters):
        return (parameters + self.location).sigmoid()

    def expected_link(self, parameters):
        # That of binary data; the link has one value for each of the two.
        least, most = self._soft_logit(torch.tensor([0.0, 1.0])).tolist()
        return least - self.location + (most - least) * self.mean(parameters)

    def sample(self, parameters, noise):
        return (uniform(noise(parameters)) < self.mean(parameters)).float()
