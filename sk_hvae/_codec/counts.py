"""Columns of counts: Poisson and negative binomial.

The probabilities of small counts are tables. The distribution functions of large ones are those of
normal variables at places that Peizer and Pratt [1]_ found, which is exact to 1e-3 or better: files
get longer by less than 1e-3 bits a count.

References
----------
.. [1] Peizer and Pratt, "A Normal Approximation for Binomial, F, Beta, and Other Common, Related
   Tail Probabilities", Journal of the American Statistical Association 63, 1968.
"""

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.digits import digit_distribution, digit_steps, numbers_of_digits
from sk_hvae._codec.distributions import Shares
from sk_hvae._codec.elementary import exp, log, normal_cdf
from sk_hvae._codec.networks import as_numbers
from sk_hvae.nn.likelihoods import NegativeBinomial

# As the likelihoods have it.
_PSEUDOCOUNT, _LEAST_MEAN = 0.5, 1e-6
_LEAST_LOG_R, _LARGEST_LOG_R = log(1e-3), log(1e5)
# Beyond that a mean says nothing of counts that float64 can hold.
_LARGEST_MEAN = 1e18
# Counts up to four times the largest one of the training data have numbers; others are coded as
# they are.
_HEADROOM, _ROOM = 4, 16
# Numbers of columns that have tables, up to a power of 4: longer tables take longer than searches.
_SIZES_OF_TABLES = (32, 128, 512)
# Within that of 1, the function of Peizer and Pratt is a series: its numerator would cancel.
_NEAR_1 = 0.02
# The approximation is for inverse dispersions of 1 or more. Smaller ones are led back to those.
_N_LED_BACK = 4
# Where a count is seldom above 0, the approximation may decrease. There so many terms are all.
_SMALL_MEAN, _SMALL_CHANCE, _N_TERMS = 0.5, 0.3, 24
_HALF_LOG_TAU = 0.91893853320467274178


class CountCells(CellCoder):
    """Codes columns of counts.

    Parameters
    ----------
    likelihood : Poisson or NegativeBinomial
        Of the model, without an exposure.
    """

    def __init__(self, likelihood):
        mean = as_numbers(likelihood.column_mean)
        self._link_mean = mean
        self._log_mean = log(np.maximum(mean, _LEAST_MEAN))
        self._log_limit = as_numbers(likelihood.log_limit)
        self.n_features = self.n_linked = self.n_outputs = len(mean)
        self._r = None
        if isinstance(likelihood, NegativeBinomial):
            log_r = np.clip(as_numbers(likelihood.log_r), _LEAST_LOG_R, _LARGEST_LOG_R)
            self._r = np.broadcast_to(exp(log_r), mean.shape)
        sizes = _HEADROOM * likelihood.summary.maximum.numpy() + _ROOM
        place = np.searchsorted(_SIZES_OF_TABLES, sizes)
        has_digits = place == len(_SIZES_OF_TABLES)
        self._size = np.append(_SIZES_OF_TABLES, 0)[place]
        self._size = np.where(has_digits, numbers_of_digits(sizes), self._size)
        self.steps = digit_steps(np.flatnonzero(has_digits), sizes)
        self.steps += [Step(np.flatnonzero(place == i)) for i in np.unique(place[~has_digits])]
        self.n_numbers = 8 * self.n_features + 3 * int(self._size[~has_digits].sum())

    def link(self, x):
        return log((x + _PSEUDOCOUNT) / (self._link_mean + _PSEUDOCOUNT))

    def nearest(self, x):
        return np.clip(np.rint(x), 0, self._size - 1).astype(np.int64)

    def values(self, numbers):
        return numbers.astype(np.float64)

    def distribution(self, step, parameters, numbers, n_stacks):
        log_mean = parameters[:, step.columns] + self._log_mean[step.columns]
        limit = self._log_limit[step.columns]
        log_mean = np.minimum(log_mean, limit) + log(1 + np.maximum(log_mean - limit, 0))
        mean = np.clip(exp(log_mean), _LEAST_MEAN, _LARGEST_MEAN)
        r = None if self._r is None else np.broadcast_to(self._r[step.columns], mean.shape)
        if step.base is None:
            counts = np.arange(self._size[step.columns[0]])
            below = np.add.accumulate(exp(_log_probability(counts, mean, r)), 2)
            below = np.concatenate((np.zeros_like(below[:, :, :1]), below[:, :, :-1]), 2)
            return Shares(below.reshape(n_stacks, -1, len(counts)))

        def share(numbers, _, pick):
            if r is None:
                return _poisson_cdf(numbers - 1, pick(mean))
            return _negative_binomial_cdf(numbers - 1, pick(mean), pick(r))

        return digit_distribution(step, numbers, n_stacks, share)


def _log_probability(counts, mean, r):
    """Return ln P of all counts (n,) for each of the cells (b, m): (b, m, n)."""
    if r is None:
        log_mean = log(mean)[:, :, None]
        return (counts * log_mean - mean[:, :, None]) - _log_gamma(counts + 1.0)
    # The inverse dispersion of a column is the same in all rows.
    own = r[0][:, None]
    ways = _log_gamma(own + counts) - _log_gamma(own) - _log_gamma(counts + 1.0)
    log_p, log_q = -log(1 + mean / r), -log(1 + r / mean)
    return counts * log_q[:, :, None] + (r * log_p)[:, :, None] + ways


def _poisson_cdf(k, mean):
    """Return the probability of at most k, for k from -1 on."""
    known = np.maximum(k, 0)
    distance = known + 2 / 3 - mean + 0.02 / (known + 1)
    place = distance * np.sqrt((1 + _bend((known + 0.5) / mean)) / mean)
    return np.where(k < 0, 0.0, normal_cdf(place))


def _negative_binomial_cdf(k, mean, r):
    """Return the probability of at most k, for k from -1 on."""
    known = np.maximum(k, 0)
    log_p, log_q = -log(1 + mean / r), -log(1 + r / mean)
    q = exp(log_q)
    is_small = (mean <= _SMALL_MEAN) & (q <= _SMALL_CHANCE)
    share = np.where(
        is_small, _first_terms(known, r, log_p, q), _approximation(known, r, log_p, log_q)
    )
    return np.where(k < 0, 0.0, np.minimum(share, 1.0))


def _first_terms(k, r, log_p, q):
    """Add up the first probabilities, up to that of k."""
    term, total = exp(r * log_p), np.zeros_like(k)
    for j in range(_N_TERMS):
        total = total + np.where(k >= j, term, 0.0)
        term = term * ((j + r) / (j + 1)) * q
    return total


def _approximation(k, r, log_p, log_q):
    """Approximate the probability of at most k.

    That of an inverse dispersion r is that of r + 1, for the same chance of a success, plus
    Gamma(r + k + 1) / (Gamma(r + 1) k!) p^r q^(k + 1).
    """
    p, q = exp(log_p), exp(log_q)
    log_term = _log_gamma(r + k + 1) - _log_gamma(r + 1) - _log_gamma(k + 1)
    term, more = exp(log_term + r * log_p + (k + 1) * log_q), 0.0
    for _ in range(_N_LED_BACK):
        more, r = more + term, r + 1
        term = term * ((r + k) / r) * p
    n = k + r
    distance = k + 2 / 3 - (n + 1 / 3) * q
    distance += 0.02 * (p / (k + 1) - q / r + (p - 0.5) / (n + 1))
    bend = p * _bend((k + 0.5) / (n * q)) + q * _bend((r - 0.5) / (n * p))
    return normal_cdf(distance * np.sqrt((1 + bend) / ((n + 1 / 6) * p * q))) + more


def _bend(x):
    """Compute (1 - x^2 + 2 x ln x) / (1 - x)^2."""
    away = x - 1
    is_near = np.abs(away) < _NEAR_1
    far = np.where(is_near, 2.0, x)
    value = (1 - far * far + 2 * far * log(far)) / ((1 - far) * (1 - far))
    series = away * (-1 / 3 + away * (1 / 6 + away * (-1 / 10 + away * (1 / 15))))
    return np.where(is_near, series, value)


def _log_gamma(x):
    """Return ln Gamma of positive x, by Stirling's series at x + 8."""
    product = x
    for i in range(1, 8):
        product = product * (x + i)
    inverse = 1 / (x + 8)
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260)))
    return (x + 7.5) * log(x + 8) - (x + 8) + (_HALF_LOG_TAU + series) - log(product)
