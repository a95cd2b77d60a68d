"""Categorical likelihood."""

import math

import torch
from torch import Tensor

from sk_hvae.nn.likelihoods.base import Likelihood, check_range, check_whole
from sk_hvae.nn.likelihoods.codes import (
    LARGEST_CODE,
    MOST_CODES,
    MOST_CODES_IN_ALL,
    all_codes,
    merge_codes,
    no_codes,
)
from sk_hvae.nn.likelihoods.refusal import ColumnError, refuse
from sk_hvae.nn.noise import gumbel

# Share of the probability that the link spreads over all categories, so that logits are finite;
# with it, a column of two categories counts as much as one of a Bernoulli likelihood.
_SMOOTHING = 0.1
# Steps of iterative scaling. The first bring the most, and the decoder's own biases, which are
# trained, make up for what is left.
_FIT_STEPS = 20
# Codes that a message lists.
_MOST_LISTED = 10
_EXACT_IN_FLOAT32 = 2**24
_ADVICE = (
    "Encode categories as whole numbers, for example with OrdinalEncoder, or use "
    "likelihood='gaussian' for numbers."
)


class Categorical(Likelihood):
    """Independent categorical features; the decoder's output are logits of all categories.

    Column j has K_j categories, the different codes that it holds in the training data: any
    whole numbers, with gaps or below 0, at most 10,000 in a column. Other codes have no
    probability; they are never drawn, and refused in new data. The parameters, and the columns
    of the link, are the categories of the first column in the order of their codes, then those
    of the second, and so on: n_linked = n_outputs = sum of K_j. Log probabilities are in nats.

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
    first of several. Codes are float32, or float64 if one is beyond 2**24.

    A `DataSummary` without ``codes`` stands for data that have all codes from 0 to the largest.

    References
    ----------
    .. [1] Darroch and Ratcliff, "Generalized Iterative Scaling for Log-Linear Models",
       Annals of Mathematical Statistics 43, 1972.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import Categorical
    >>> x = torch.tensor([[0, 1], [40, 0], [300, 1]])
    >>> likelihood = Categorical().adapt(DataSummary.of([x]))
    >>> likelihood.column_of_link
    tensor([0, 0, 0, 1, 1])
    >>> likelihood.mean(torch.tensor([[0.0, 0.0, 1.0, 2.0, 0.0]]))
    tensor([[300.,   0.]])
    """

    n_categories: Tensor
    first: Tensor
    column: Tensor
    code: Tensor
    bias: Tensor

    _NAME = "categorical"

    def coded_columns(self, n_features):
        return range(n_features)

    def learn(self, summary):
        ends = torch.stack((summary.minimum, summary.maximum))
        check_whole(ends, self._NAME, _ADVICE)
        column, code = self._known_codes(summary, ends).T
        n_categories = column.bincount(minlength=len(summary.mean))
        self._check_numbers(n_categories)
        self.register_buffer("n_categories", n_categories)
        self.register_buffer("first", n_categories.cumsum(0) - n_categories)
        self.register_buffer("column", column.clone())
        self.register_buffer("code", code.clone())
        self.register_buffer("bias", torch.zeros(len(column)))
        self._is_wide = bool((code.abs() > _EXACT_IN_FLOAT32).any())

    def _known_codes(self, summary, ends):
        """Return the pairs of a column and a code (n, 2) that a `DataSummary` knows."""
        if summary.codes is not None:
            check_range(ends, -LARGEST_CODE, LARGEST_CODE, self._NAME, _ADVICE)
            return merge_codes(no_codes(), summary.codes)
        check_range(ends, 0.0, MOST_CODES - 1, self._NAME, _ADVICE)
        return all_codes(summary.maximum)

    def _check_numbers(self, n_categories):
        if n_categories.sum() > MOST_CODES_IN_ALL:
            raise ValueError(
                f"likelihood='categorical' takes {MOST_CODES_IN_ALL:,} categories in all columns "
                "together; found more. Merge rare categories."
            )
        if n_categories.max() > MOST_CODES:
            raise ColumnError(
                f"likelihood='categorical' takes {MOST_CODES:,} different codes; found more. "
                "Merge rare categories, for example with OrdinalEncoder(max_categories=...), or "
                "use likelihood='gaussian' or 'poisson' for numbers.",
                int(n_categories.argmax()),
            )
        if not n_categories.all():
            raise ColumnError("there is no code.", int(n_categories.argmin()))

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
        check_whole(x, self._NAME, _ADVICE)
        refuse(x, ~(self._is_known(_whole(x)) | x.isnan()), self._unknown)

    def _is_known(self, whole):
        """Tell which cells of whole numbers hold a code of their column, (b, n_features)."""
        code, column = self.code.to(whole.device), self.column.to(whole.device)
        levels = code.unique()
        keys = column * len(levels) + torch.searchsorted(levels, code)
        rank = torch.searchsorted(levels, whole).clamp(max=len(levels) - 1)
        wanted = torch.arange(whole.shape[1], device=whole.device) * len(levels) + rank
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return (levels[rank] == whole) & (keys[place] == wanted)

    def _unknown(self, value, column):
        known = [str(code) for code in self.code[self.column == column].tolist()]
        if len(known) > _MOST_LISTED:
            known = [*known[: _MOST_LISTED - 2], "...", f"{known[-1]} ({len(known)} in all)"]
        return (
            f"likelihood='categorical' knows the codes {', '.join(known)}; found {value:.0f}. Fit "
            "on rows that have all categories, or mark unknown ones as missing: NaN in their "
            "place, and missing='mask' from the fit on."
        )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        linked = self._link_shares(self._hits(x).float())
        return linked.masked_fill(x.isnan()[:, self.column], math.nan)

    def expected_link(self, parameters):
        return self._link_shares(self.probabilities(parameters))

    def _link_shares(self, shares):
        """Map shares of the categories in their columns, such as one-hot codes, to the link."""
        n = self.n_categories.float()
        size = (1 + n * (1 - _SMOOTHING) / _SMOOTHING).log()
        return size[self.column] * (shares - n.reciprocal()[self.column])

    @torch.no_grad()
    def fit_scale(self, x, parameters):
        seen = ~x.isnan()[:, self.column]
        counts = (self._hits(x) & seen).float().sum(0)
        self.bias.zero_()
        for _ in range(_FIT_STEPS):
            expected = (self.probabilities(parameters) * seen).sum(0)
            # Half a count on both sides keeps categories that the batch lacks possible.
            self.bias += ((counts + 0.5) / (expected + 0.5)).log()

    def log_prob(self, x, parameters):
        logits = parameters + self.bias
        chosen = self._sum(logits.masked_fill(~self._hits(x), 0.0))
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
        """Tell which category each cell of raw data is of, (b, n_linked)."""
        return _whole(x)[:, self.column] == self.code

    def _log_sum_exp(self, logits):
        """Reduce (b, n_linked) to (b, n_features)."""
        peak = self._peak(logits.detach())
        return peak + self._sum((logits - peak[:, self.column]).exp()).log()

    def _sum(self, values):
        """Sum (b, n_linked) over the categories of each column, (b, n_features)."""
        into = values.new_zeros(values.shape[0], len(self.first))
        return into.index_add(1, self.column, values)

    def _largest(self, logits):
        """Code of the largest logit of every column, (b, n_features)."""
        is_peak = logits == self._peak(logits)[:, self.column]
        place = torch.arange(len(self.code), device=logits.device)
        first_peak = self._reduce(torch.where(is_peak, place, len(self.code)), "amin")
        wide = self._is_wide and logits.device.type != "mps"
        return self.code[first_peak].to(torch.float64 if wide else torch.float32)

    def _peak(self, logits):
        return self._reduce(logits, "amax")

    def _reduce(self, values, how):
        into = values.new_zeros(values.shape[0], len(self.first))
        index = self.column.expand_as(values)
        return into.scatter_reduce(1, index, values, how, include_self=False)


def _whole(x):
    """Round raw data to int64, with 0 for missing cells."""
    # Not by nan_to_num, whose limits for infinities ONNX cannot take in double.
    return x.masked_fill(x.isnan(), 0.0).round().long() if x.is_floating_point() else x.long()
