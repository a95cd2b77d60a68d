"""Likelihoods for counts."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.base import Likelihood, check_range, check_whole
from sk_hvae.nn.likelihoods.exposure import check_exposure, exposure_columns
from sk_hvae.nn.likelihoods.numerics import fit_parameter, quantile
from sk_hvae.nn.noise import uniform

# The constant for which ln(x + c) is unbiased to first order, see `Poisson`.
_PSEUDOCOUNT = 0.5
# e to the power of minus Euler's constant, see the notes of `Poisson`.
_ZERO = 0.5615
# Mean of a column of zeros, whose logarithm is needed.
_MIN_MEAN = 1e-6
# Beyond that float64 does not tell a count from the next.
_LARGEST = 1e15
# Means grow exponentially up to ten times the largest count seen, which leaves room for new rows,
# and linearly beyond, so that they do not overflow.
_HEADROOM = 10.0
# From there on, two terms of Stirling's series are exact in float32.
_SERIES_FROM = 8.0
# Inverse dispersions: at the largest the distribution is practically Poisson, below the smallest
# nearly all counts of a column are 0.
_MIN_LOG_R, _MAX_LOG_R = math.log(1e-3), math.log(1e5)
# Rows without any count had less exposure than can be told; the logarithm of that must be finite.
_LEAST_EXPOSURE = 1e-6
# -ln of the smallest probability that `uniform` leaves in a tail.
_TAIL = 17.0


class _Counts(Likelihood):
    """What the likelihoods of counts share: a log link, a bounded mean, and exposures.

    At the typical exposure, the mean is exp(parameter) times the column's mean; beyond ten times
    the largest training value it goes on linearly, so that nothing overflows and the gradient
    does not vanish.
    """

    column_mean: Tensor
    log_limit: Tensor
    typical_exposure: Tensor

    _NAME: str

    def __init__(self, exposure: int | str | None = None) -> None:
        super().__init__()
        self.exposure = exposure

    def learn(self, summary):
        exposed_by = exposure_columns(self.exposure, len(summary.mean))
        self.check(torch.stack((summary.minimum, summary.maximum)))
        self.register_buffer("column_mean", summary.mean.float())
        limit = _HEADROOM * summary.maximum.clamp(min=1)
        self.register_buffer("log_limit", limit.log().float())
        if self.exposure is not None:
            # A column that is the same in all rows says nothing of the exposure of any.
            is_exposure = exposed_by & (summary.std > 0)
            typical = summary.mean.masked_fill(~is_exposure, 0.0)
            self.register_buffer("typical_exposure", typical.float())

    def check(self, x):
        if self._column is not None:
            check_exposure(x, self._column)
            x = self._without_exposure(x, 0)
        advice = "Pass raw counts, not scaled or averaged, or use likelihood='gaussian'."
        check_range(x, 0.0, math.inf, self._NAME, advice)
        check_whole(x, self._NAME, advice)
        check_range(x, 0.0, _LARGEST, self._NAME, advice)

    def nearest(self, x):
        return self._without_exposure(x.round(), math.nan)

    def link(self, x):
        x = x.float()
        if self.exposure is None:
            return ((x + _PSEUDOCOUNT) / (self.column_mean + _PSEUDOCOUNT)).log()
        linked = ((x + _ZERO) / (self._relative_exposure(x) * self.column_mean + 1)).log()
        return self._without_exposure(linked, 0.0)

    def offset(self, x):
        if self.exposure is None:
            return None
        return self._relative_exposure(x).log().expand(-1, self.n_outputs)

    def at_exposure(self, mean, x):
        if self.exposure is None:
            return mean
        # The column that holds the exposure becomes the row's own, too.
        return mean * self._relative_exposure(x)

    def mean(self, parameters):
        return self._with_typical_exposure(self._log_mean(parameters).exp())

    @abstractmethod
    def _log_prob(self, x, log_mean):
        """Return ln P of counts, float32, given the logarithm of their mean."""

    def log_prob(self, x, parameters):
        cells = self._log_prob(x.float(), self._log_mean(parameters))
        return self._without_exposure(cells, 0.0)

    @abstractmethod
    def _sample(self, mean, noise):
        """Draw counts of a given mean."""

    def sample(self, parameters, noise):
        return self._with_typical_exposure(self._sample(self._log_mean(parameters).exp(), noise))

    @property
    def _column(self):
        """Number of the column that holds the exposure; None if there is none."""
        return None if self.exposure in (None, "total") else self.exposure

    def _relative_exposure(self, x):
        """Return how many times the typical exposure each row of raw data had, (b, 1).

        It is the sum of the columns that tell the exposure, over what the typical row has in the
        same cells. A row of which none is known is taken to be typical.
        """
        tells = (self.typical_exposure > 0) & ~x.isnan()
        found = x.float().where(tells, 0.0).sum(1, keepdim=True)
        typical = self.typical_exposure.where(tells, 0.0).sum(1, keepdim=True)
        return torch.where(typical > 0, found / typical, 1.0).clamp(min=_LEAST_EXPOSURE)

    def _without_exposure(self, cells, value):
        """Put a value for the column that holds the exposure, if there is one."""
        if self._column is None:
            return cells
        return cells.index_fill(1, torch.tensor(self._column, device=cells.device), value)

    def _with_typical_exposure(self, decoded):
        """Put the mean exposure into the column that holds it, if there is one."""
        if self._column is None:
            return decoded
        is_exposure = torch.arange(decoded.shape[1], device=decoded.device) == self._column
        return torch.where(is_exposure, self.column_mean, decoded)

    def _log_mean(self, parameters):
        log_mean = parameters + self.column_mean.clamp(min=_MIN_MEAN).log()
        beyond = (log_mean - self.log_limit).clamp(min=0)
        return torch.minimum(log_mean, self.log_limit) + beyond.log1p()


class Poisson(_Counts):
    """Independent Poisson counts; the decoder's output is ln of their mean over the column's.

    For whole numbers from 0 to 1e15 whose variance is about their mean given the latents. Log
    probabilities are in nats.

    Parameters
    ----------
    exposure : "total", int or None, default=None
        What the counts of a row are in proportion to, besides what the latents say: the time for
        which it was watched, the people who live there, or how deep a cell was sequenced.
        "total" takes the sum of the row's counts. An int is the number of the column that holds
        the exposure, in any unit; it must be positive, need not be whole, and is not modelled. In
        `HierarchicalVAETransformer` and its like, it is the number or the name of a column of X.

    Notes
    -----
    The linear paths work on ln((x + 1/2) / (column's mean + 1/2)): finite for zeros, and 1/2 is
    the constant for which E ln(x + c) = ln(mean) + (c - 1/2) / mean + ... is unbiased to first
    order. Means above ten times the largest training value grow linearly with the output
    rather than exponentially. A column of zeros is taken to have the mean 1e-6.

    With an ``exposure``, the mean of a row's counts is multiplied by s, its exposure over the mean
    exposure of the training rows. The link is ln((x + 0.56) / (s * column's mean + 1)), which is,
    up to 0.03, the expectation of ln(rate / column's mean) given x, for a rate that is
    exponentially distributed about the column's mean. Rows of little exposure are therefore drawn
    towards the typical row, instead of having their noise enlarged. Whatever knows only latents,
    such as `mean` and `sample`, gives counts at the mean exposure, and the mean exposure as the
    exposure's column. If cells are missing, the total of the others is compared with the mean
    total of the same columns. Columns that are constant in training do not count in a total. A row
    whose exposure is missing is taken to have the mean exposure.

    With ``exposure="total"``, log probabilities are those of independent counts whose expectation
    the exposure scales. This is a lower bound on ln P(x | total, latents), which a multinomial
    distribution gives: the difference is -ln P(total | latents), about ln(2 pi total) / 2.

    Samples invert the distribution function, an incomplete gamma function, in float64 on the
    CPU; they are float32.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import Poisson
    >>> x = torch.tensor([[0.0, 3.0], [4.0, 5.0]])
    >>> Poisson().adapt(DataSummary.of([x])).mean(torch.zeros(1, 2)).round(decimals=3)
    tensor([[2., 4.]])

    The second row has three times as many counts as the first one. Their mean total is 6:

    >>> deep = Poisson(exposure="total").adapt(DataSummary.of([x]))
    >>> deep.offset(x).exp()[:, :1]
    tensor([[0.5000],
            [1.5000]])
    """

    _NAME = "poisson"

    def _log_prob(self, x, log_mean):
        log_ratio = log_mean - x.clamp(min=1).log()
        some = x * (log_ratio - log_ratio.expm1()) - _stirling_rest(x)
        return torch.where(x > 0, some, -log_mean.exp())

    def _sample(self, mean, noise):
        return _sample_poisson(mean, noise(mean))


class NegativeBinomial(_Counts):
    """Independent overdispersed counts, Poisson with a gamma-distributed rate.

    The decoder's output is ln of their mean over the column's, as for `Poisson`; the variance
    is mean + mean**2 / r with a learned inverse dispersion r between 1e-3 and 1e5, at which
    the distribution is practically Poisson. Log probabilities are in nats.

    Parameters
    ----------
    dispersion : {"per_feature", "shared"}, default="per_feature"
        Whether every column learns its own r, as columns of counts differ in how bursty they
        are, or all share one, which needs less data.
    exposure : "total", int or None, default=None
        What the counts of a row are in proportion to, as for `Poisson`.

    Notes
    -----
    Link, mean and exposure are those of `Poisson`. Log probabilities are sums of ratios near 1
    and of Stirling's series in place of differences of ln Gamma, so that float32 suffices for
    large counts and large r [1]_. Samples draw the rate, then the count, both by inverting
    incomplete gamma functions in float64 on the CPU.

    References
    ----------
    .. [1] Loader, "Fast and Accurate Computation of Binomial Probabilities", 2000.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import NegativeBinomial
    >>> x = torch.tensor([[0.0, 3.0], [40.0, 5.0]])
    >>> likelihood = NegativeBinomial().adapt(DataSummary.of([x]))
    >>> likelihood.fit_scale(x, torch.zeros(2, 2))
    >>> likelihood.log_r[0] < likelihood.log_r[1]
    tensor(True)
    """

    log_r: Tensor

    _NAME = "negative_binomial"

    def __init__(self, dispersion: str = "per_feature", exposure: int | str | None = None) -> None:
        super().__init__(exposure)
        self.dispersion = dispersion

    def learn(self, summary):
        if self.dispersion not in ("per_feature", "shared"):
            raise ValueError(
                f"dispersion must be 'per_feature' or 'shared'; got {self.dispersion!r}."
            )
        super().learn(summary)
        shape = () if self.dispersion == "shared" else summary.mean.shape
        self.log_r = nn.Parameter(torch.zeros(shape))

    def fit_scale(self, x, parameters):
        log_mean = self._log_mean(parameters)
        fit_parameter(
            self.log_r,
            _MIN_LOG_R,
            _MAX_LOG_R,
            lambda x, log_r: _log_negative_binomial(x, log_mean, log_r),
            self._without_exposure(x.float(), math.nan),
        )

    def _log_prob(self, x, log_mean):
        return _log_negative_binomial(x, log_mean, self._bounded_log_r())

    def _sample(self, mean, noise):
        r = self._bounded_log_r().exp().expand_as(mean)
        rate = mean * (_sample_gamma(r, noise(mean)) / r)
        return _sample_poisson(rate, noise(mean))

    def _bounded_log_r(self):
        return self.log_r.clamp(_MIN_LOG_R, _MAX_LOG_R)


def _log_negative_binomial(x, log_mean, log_r):
    """Compute r ln((r+x)/(r+mean)) + x ln(mean (r+x)/(x (r+mean))) + ..., which do not cancel."""
    mean, r, some = log_mean.exp(), log_r.exp(), x.clamp(min=1)
    total, log_total, log_sum = x + r, (x + r).log(), (r + mean).log()
    failures = _log_ratio((x - mean) / (r + mean), log_total - log_sum)
    successes = _log_ratio(
        r * (mean - some) / (some * (r + mean)), log_mean + log_total - some.log() - log_sum
    )
    rest = _stirling_rest(total) - _stirling_rest(r) - _stirling_rest(x)
    return r * failures + x * successes + rest - (log_total - log_r)


def _log_ratio(excess, log):
    """Compute ln(1 + excess), which is ``log``, the more exact way."""
    near = excess.abs() < 0.5
    return torch.where(near, excess.clamp(-0.5, 0.5).log1p(), log)


def _stirling_rest(x):
    """Compute ln x! - (x ln x - x), by Stirling's series where ln Gamma would cancel."""
    low, high = x.clamp(max=_SERIES_FROM), x.clamp(min=_SERIES_FROM)
    exact = torch.lgamma(low + 1) - torch.xlogy(low, low) + low
    series = (1 / 12 - high.square().reciprocal() / 360) / high
    return torch.where(x < _SERIES_FROM, exact, 0.5 * (2 * math.pi * high).log() + series)


def _sample_poisson(rate, noise):
    """Draw the smallest k with P(X <= k) >= uniform noise."""
    wide = rate.cpu().double().clamp(min=1e-30)
    # P(X <= k) is the regularised upper incomplete gamma function of k + 1; Bernstein's
    # inequality bounds the tail.
    k = quantile(
        lambda k: torch.special.gammaincc(k.floor() + 1, wide),
        uniform(noise.cpu().double()),
        torch.full_like(wide, -1.0),
        wide + (2 * _TAIL * wide).sqrt() + _TAIL,
    )
    return k.floor().to(rate)


def _sample_gamma(shape, noise):
    """Draw from gamma distributions of scale 1 by their quantiles."""
    wide, probability = shape.cpu().double(), uniform(noise.cpu().double())
    # x**a / Gamma(a + 1) bounds the distribution function from above; for the other tail see
    # Laurent & Massart, Annals of Statistics 28 (2000), lemma 1.
    log_draw = quantile(
        lambda log: torch.special.gammainc(wide, log.exp()),
        probability,
        (probability.log() + torch.lgamma(wide + 1)) / wide - 1e-6,
        (wide + (2 * _TAIL * wide).sqrt() + _TAIL).log(),
    )
    return log_draw.exp().to(shape)
