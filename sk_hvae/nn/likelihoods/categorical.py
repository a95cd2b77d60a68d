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
)
from sk_hvae.nn.likelihoods.known_codes import KnownCodes
from sk_hvae.nn.likelihoods.rare_codes import RareCodes, are_rare, rank_by_count
from sk_hvae.nn.likelihoods.refusal import ColumnError, refuse
from sk_hvae.nn.noise import gumbel, normal_of_gumbel

# Share of the probability that the link spreads over all categories, so that logits are finite;
# with it, a column of two categories counts as much as one of a Bernoulli likelihood.
_SMOOTHING = 0.1
# Steps of iterative scaling. The first bring the most, and the decoder's own biases, which are
# trained, make up for what is left.
_FIT_STEPS = 20
# Categories of a column that have an output of their own: each takes weights in the networks.
_MOST_OUTPUTS = 10_000
# Codes that a message lists.
_MOST_LISTED = 10
_EXACT_IN_FLOAT32 = 2**24
_ADVICE = (
    "Encode categories as whole numbers, for example with OrdinalEncoder, or use "
    "likelihood='gaussian' for numbers."
)


class Categorical(Likelihood):
    """Independent categorical features; the decoder's output are logits of their categories.

    A column has the categories, or codes, that it holds in the training data: any whole
    numbers, with gaps or below 0. Other codes have no probability; they are never drawn, and
    refused in new data. The frequent categories of a column have an output of the decoder and
    a column of the link each. The rare ones share one of both, and are told apart by how
    often they occur: ln p(x) = ln p(group) + ln(count of x / count of group), a likelihood
    like any other. A column with 5,000 categories therefore takes no longer than one with 100,
    and one that numbers the rows, in which no category is frequent, tells the model nothing.

    Parameters
    ----------
    max_categories : int or None, default=100
        Most outputs of a column. In a column with more categories, those that occur most often
        have an output of their own, or the lower codes of those that occur equally often. All
        others are rare, and so are those that occur once, of which nothing can be learned. In
        columns of fewer categories, those that occur once are rare if most rows have one, as in a
        column of names. None is for no limit, and none is rare then; a column may have 10,000
        outputs at most.

    Notes
    -----
    The parameters, and the columns of the link, are the frequent categories of the first
    column in the order of their codes, then the group of its rare ones, then those of the
    second column, and so on: n_linked = n_outputs = sum of K_j. Log probabilities are in nats.

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
    Where their counts are not known either, none is rare. A column may have a million codes.

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
    is_group: Tensor
    log_share: Tensor
    known: KnownCodes
    rare: RareCodes | None

    _NAME = "categorical"

    def __init__(self, max_categories: int | None = 100) -> None:
        super().__init__()
        self.max_categories = max_categories

    def coded_columns(self, n_features):
        return range(n_features)

    def learn(self, summary):
        _check_limit(self.max_categories)
        ends = torch.stack((summary.minimum, summary.maximum))
        check_whole(ends, self._NAME, _ADVICE)
        table, n_features = self._known_codes(summary, ends), len(summary.mean)
        _check_codes(table[:, 0].bincount(minlength=n_features))
        is_rare = are_rare(table, self.max_categories)
        own, rare = table[~is_rare], table[is_rare]
        self.known = KnownCodes(*table[:, :2].T)
        self.rare = RareCodes(rare) if len(rare) else None
        # A group comes last in its column. Its code is that of its most frequent category.
        heads = rare[rank_by_count(rare) == 0]
        outputs = torch.cat((own, heads))
        order = outputs[:, 0].argsort(stable=True)
        column, code = outputs[order, :2].T
        n_categories = column.bincount(minlength=n_features)
        _check_outputs(n_categories)
        self.register_buffer("n_categories", n_categories)
        self.register_buffer("first", n_categories.cumsum(0) - n_categories)
        self.register_buffer("column", column.clone())
        self.register_buffer("code", code.clone())
        self.register_buffer("bias", torch.zeros(len(column)))
        is_group = order >= len(own)
        log_share = torch.zeros(len(column))
        if self.rare is not None:
            log_share[is_group] = (heads[:, 2] / self.rare.total).log()
        # These follow from the summary of the data, which files hold.
        self.register_buffer("is_group", is_group, persistent=False)
        self.register_buffer("log_share", log_share, persistent=False)
        self._is_wide = bool((table[:, 1].abs() > _EXACT_IN_FLOAT32).any())

    def _known_codes(self, summary, ends):
        """Return the table of codes that a `DataSummary` knows."""
        if summary.codes is not None:
            check_range(ends, -LARGEST_CODE, LARGEST_CODE, self._NAME, _ADVICE)
            return summary.codes
        check_range(ends, 0.0, _MOST_OUTPUTS - 1, self._NAME, _ADVICE)
        return all_codes(summary.maximum)

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
        refuse(x, (self.known.find(_whole(x)) < 0) & ~x.isnan(), self._unknown)

    def _unknown(self, value, column):
        codes = self.known.of_column(column)
        known = [str(code) for code in codes[:_MOST_LISTED].tolist()]
        if len(codes) > _MOST_LISTED:
            known = [*known[: _MOST_LISTED - 2], "...", f"{codes[-1]} ({len(codes)} in all)"]
        return (
            f"likelihood='categorical' knows the codes {', '.join(known)}; found {value:.0f}. Fit "
            "on rows that have all categories, or mark unknown ones as missing: NaN in their "
            "place, and in an array missing='mask' from the fit on."
        )

    @property
    def spread(self):
        return torch.full_like(self.summary.std, math.inf)

    def link(self, x):
        linked = self._link_shares(self._hits(x).float())
        return linked.masked_fill(x.isnan()[:, self.column], math.nan)

    def expected_link(self, parameters):
        return self._link_shares(self._of_outputs(parameters))

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
            expected = (self._of_outputs(parameters) * seen).sum(0)
            # Half a count on both sides keeps categories that the batch lacks possible.
            self.bias += ((counts + 0.5) / (expected + 0.5)).log()

    def prepared(self, x):
        shares = () if self.rare is None else (self.rare.log_share(_whole(x)),)
        return ~self._hits(x), *shares

    def log_prob_of(self, prepared, parameters):
        others, *shares = prepared
        logits = parameters + self.bias
        chosen = self._sum(logits.masked_fill(others, 0.0))
        return sum(shares, chosen - self._log_sum_exp(logits))

    def log_prob(self, x, parameters):
        return self.log_prob_of(self.prepared(x), parameters)

    def mean(self, parameters):
        return self._as_float(self.code[self._largest(parameters + self.bias + self.log_share)])

    def mixed_mean(self, weights, parameters):
        return self._as_float(self.code[self._largest(weights @ self.probabilities(parameters))])

    def probabilities(self, parameters):
        return self._of_outputs(parameters) * self.log_share.exp()

    @property
    def copula_columns(self):
        return self.column.cpu()

    def noise_limits(self, x, parameters):
        logits = (parameters + self.bias).double()
        is_there = ~x.isnan()[:, self.column]
        is_drawn = self._hits(x)

        def limits(noise):
            utility = logits + gumbel(noise)
            others = self._peak(utility.masked_fill(is_drawn, -math.inf))[:, self.column]
            drawn = self._peak(utility.masked_fill(~is_drawn, -math.inf))[:, self.column]
            low = torch.where(is_there & is_drawn, normal_of_gumbel(others - logits), -math.inf)
            high = torch.where(is_there & ~is_drawn, normal_of_gumbel(drawn - logits), math.inf)
            return low, high

        return limits

    def sample(self, parameters, noise, correlated=None):
        main = noise(parameters) if correlated is None else correlated
        place = self._largest(parameters + self.bias + gumbel(main))
        drawn = self.code[place]
        if self.rare is not None:
            columns = self.rare.columns
            members = self.rare.draw(noise(parameters[:, : len(columns)]))
            is_group = self.is_group[place[:, columns]]
            drawn[:, columns] = torch.where(is_group, members, drawn[:, columns])
        return self._as_float(drawn)

    def _of_outputs(self, parameters):
        """Return the probabilities of all outputs, where a group has that of its categories."""
        logits = parameters + self.bias
        return (logits - self._log_sum_exp(logits)[:, self.column]).exp()

    def _hits(self, x):
        """Tell which output each cell of raw data belongs to, (b, n_linked)."""
        hits = _whole(x).index_select(1, self.column) == self.code
        if self.rare is None:
            return hits
        is_none = self._sum(hits.float()) == 0
        return hits | (is_none[:, self.column] & self.is_group)

    def _log_sum_exp(self, logits):
        """Reduce (b, n_linked) to (b, n_features)."""
        peak = self._peak(logits.detach())
        relative = logits - peak.index_select(1, self.column)
        return peak + self._sum(relative.exp()).log()

    def _sum(self, values):
        """Sum (b, n_linked) over the categories of each column, (b, n_features)."""
        into = values.new_zeros(values.shape[0], len(self.first))
        return into.index_add(1, self.column, values)

    def _largest(self, logits):
        """Return the place of the first of the largest logits of each column, (b, n_features)."""
        is_peak = logits == self._peak(logits)[:, self.column]
        place = torch.arange(len(self.code), device=logits.device)
        return self._reduce(torch.where(is_peak, place, len(self.code)), "amin")

    def _as_float(self, codes):
        is_wide = self._is_wide and codes.device.type != "mps"
        return codes.to(torch.float64 if is_wide else torch.float32)

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


def _check_limit(max_categories):
    """Raise ValueError unless this is a number of categories, or None."""
    is_whole = isinstance(max_categories, int) and not isinstance(max_categories, bool)
    if max_categories is not None and not (is_whole and max_categories >= 1):
        raise ValueError(
            f"max_categories must be an int of at least 1, or None; got {max_categories!r}."
        )


def _check_codes(n_codes):
    """Raise an error if columns have too many codes, or none, given their numbers (n_features,)."""
    if n_codes.sum() > MOST_CODES_IN_ALL:
        raise ValueError(
            f"likelihood='categorical' takes {MOST_CODES_IN_ALL:,} different codes in all columns "
            "together; found more. Leave out columns that number the rows."
        )
    if n_codes.max() > MOST_CODES:
        raise ColumnError(
            f"likelihood='categorical' takes {MOST_CODES:,} different codes; found more. Leave "
            "the column out if it numbers the rows, or use likelihood='gaussian' or 'poisson' for "
            "numbers.",
            int(n_codes.argmax()),
        )
    if not n_codes.all():
        raise ColumnError("there is no code.", int(n_codes.argmin()))


def _check_outputs(n_outputs):
    """Raise ColumnError if a column has too many outputs, given their numbers (n_features,)."""
    if n_outputs.max() > _MOST_OUTPUTS:
        raise ColumnError(
            f"likelihood='categorical' takes {_MOST_OUTPUTS:,} categories with an output of their "
            f"own; found {n_outputs.max()}. Let rare ones share an output: "
            "Categorical(max_categories=100).",
            int(n_outputs.argmax()),
        )
