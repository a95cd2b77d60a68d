"""Categorical likelihood."""

import math

import torch
from torch import Tensor

from sk_hvae.nn.likelihoods.base import Likelihood, check_whole
from sk_hvae.nn.noise import gumbel

_MAX_CATEGORIES, _MAX_IN_ALL = 10_000, 10_000_000
_SMOOTHING = 0.1
_FIT_STEPS = 20
_ADVICE = (
    "Encode categories as 0, 1, 2, ..., for example with OrdinalEncoder, or use "
    "likelihood='gaussian' for numbers."
)


class Categorical(Likelihood):
    """Independent categorical features; the decoder's output are logits of all categories.

    Column j holds the codes 0, ..., K_j - 1, where K_j - 1 is the largest one in the training
    data, at most 9999. The parameters, and the columns of the link, are the categories of the
    first column, then those of the second, and so on: n_linked = n_outputs = sum of K_j. Log
    probabilities are in nats.

    Notes
    -----
    The linear paths work on one-hot codes, less 1 / K_j, times
    ln((1 - e + e / K_j) / (e / K_j)) with e = 0.1: the difference of logits between the
    category and the others if a share e of the probability is spread over all of them. A
    column of two categories counts as much as it does for `Bernoulli`.

    Logits are the parameters plus a bias, 0 at first, for uniform probabilities. When training
    starts, `fit_scale` sets it so that the mean probabilities are the frequencies in the
    batch, which maximises the batch's likelihood (generalised iterative scaling [1]_).

    The mean of a code means nothing: `mean` returns the most probable category instead, the
    first of several.

    References
    ----------
    .. [1] Darroch and Ratcliff, "Generalized Iterative Scaling for Log-Linear Models",
       Annals of Mathematical Statistics 43, 1972.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import Categorical
    >>> x = torch.tensor([[0, 1], [2, 0]])
    >>> likelihood = Categorical().adapt(DataSummary.of([x]))
    >>> likelihood.column_of_link
    tensor([0, 0, 0, 1, 1])
    >>> likelihood.mean(torch.tensor([[0.0, 0.0, 1.0, 2.0, 0.0]]))
    tensor([[2., 0.]])
    """

    n_categories: Tensor
    first: Tensor
    column: Tensor
    code: Tensor
    bias: Tensor

    def learn(self, summary):
        check_whole(torch.stack((summary.minimum, summary.maximum)), "categorical", _ADVICE)
        largest = summary.maximum.max()
        if largest >= _MAX_CATEGORIES:
            raise ValueError(
                f"likelihood='categorical' takes codes up to {_MAX_CATEGORIES - 1}; found "
                f"{float(largest):.0f}. Merge rare categories, for example with "
                "OrdinalEncoder(max_categories=...), or use likelihood='poisson' for counts."
            )
        n_categories = summary.maximum.round().long() + 1
        if n_categories.sum() > _MAX_IN_ALL:
            raise ValueError(
                f"likelihood='categorical' takes {_MAX_IN_ALL:,} categories in all columns "
                f"together; found {int(n_categories.sum()):,}. Merge rare categories."
            )
        first = n_categories.cumsum(0) - n_categories
        column = torch.arange(len(first)).repeat_interleave(n_categories)
        self.register_buffer("n_categories", n_categories)
        self.register_buffer("first", first)
        self.register_buffer("column", column)
        self.register_buffer("code", torch.arange(len(column)) - first[column])
        self.register_buffer("bias", torch.zeros(len(column)))

    @property
    def n_linked(self):
        return len(self.code)

    @property
    def column_of_link(self):
        return self.column.cpu()

    @property
    def nominal_categories(self):
        return torch.stack((self.column, self.code), 1).cpu().double()

    def check(self, x):
        check_whole(x, "categorical", _ADVICE)
        n_categories = self.n_categories.to(x.device)
        excess = (x.nan_to_num(0.0).float() - n_categories + 1).amax(0)
        if excess.max() > 0.5:
            known = int(n_categories[int(excess.argmax())]) - 1
            raise ValueError(
                f"likelihood='categorical' knows the codes 0 to {known} of a column; found "
                f"{known + float(excess.max()):.0f}. Fit on data that have all categories, or "
                "mark unknown ones as missing."
            )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        values = x.float()[:, self.column]
        n = self.n_categories.float()
        size = (1 + n * (1 - _SMOOTHING) / _SMOOTHING).log()
        linked = size[self.column] * (self._hits(x) - n.reciprocal()[self.column])
        return linked.masked_fill(values.isnan(), math.nan)

    @torch.no_grad()
    def fit_scale(self, x, parameters):
        seen = ~x.isnan()[:, self.column]
        counts = self._hits(x).sum(0)
        self.bias.zero_()
        for _ in range(_FIT_STEPS):
            expected = (self.probabilities(parameters) * seen).sum(0)
            # Half a count on both sides keeps categories that the batch lacks possible.
            self.bias += ((counts + 0.5) / (expected + 0.5)).log()

    def log_prob(self, x, parameters):
        logits = parameters + self.bias
        chosen = logits.gather(1, self.first + x.float().round().long())
        return chosen - self._log_sum_exp(logits)

    def mean(self, parameters):
        return self._largest(parameters + self.bias)

    def mixed_mean(self, weights, parameters):
        return self._largest(weights @ self.probabilities(parameters))

    def probabilities(self, parameters):
        logits = parameters + self.bias
        return (logits - self._log_sum_exp(logits)[:, self.column]).exp()

    def sample(self, parameters, noise):
        return self._largest(parameters + self.bias + gumbel(noise(parameters)))

    def _hits(self, x):
        return (x.float().round()[:, self.column] == self.code).float()

    def _log_sum_exp(self, logits):
        """Reduce (b, n_linked) to (b, n_features)."""
        peak = self._peak(logits.detach())
        weight = (logits - peak[:, self.column]).exp()
        return peak + torch.zeros_like(peak).index_add(1, self.column, weight).log()

    def _largest(self, logits):
        """Code of the largest logit of every column, (b, n_features)."""
        is_peak = logits == self._peak(logits)[:, self.column]
        code = torch.where(is_peak, self.code, _MAX_CATEGORIES)
        return self._reduce(code, "amin").float()

    def _peak(self, logits):
        return self._reduce(logits, "amax")

    def _reduce(self, values, how):
        into = values.new_zeros(values.shape[0], len(self.first))
        index = self.column.expand_as(values)
        return into.scatter_reduce(1, index, values, how, include_self=False)
