"""Columns of counts: Poisson and negative binomial.

Their distribution functions are those of normal variables at places that Peizer and Pratt [1]_ found,
to 1e-3 or better: files get longer by less than 1e-3 bits a count.

References
----------
.. [1] Peizer and Pratt, "A Normal Approximation for Binomial, F, Beta, and Other Common, Related Tail
   Probabilities", Journal of the American Statistical Association 63, 1968.
"""

import numpy as np

from sk_hvae._codec.elementary import exp, log, normal_cdf
from sk_hvae._codec.networks import as_numbers
from sk_hvae._codec.whole_numbers import WholeCells
from sk_hvae.nn.likelihoods import NegativeBinomial

_PSEUDOCOUNT = 0.5
_LEAST_MEAN, _LARGEST_MEAN = 1e-6, 1e18
_LEAST_LOG_R, _LARGEST_LOG_R = log(1e-3), log(1e5)
# Counts up to four times the largest one of the training data have digits; others are coded as they
# are.
_HEADROOM, _ROOM = 4, 64
# Within that of 1, the function of Peizer and Pratt is a series: its numerator would cancel.
_NEAR_1 = 0.02
# The approximation is for inverse dispersions of 1 or more. Smaller ones are led back to those.
_N_LED_BACK = 2


class CountCells(WholeCells):
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
        largest = likelihood.summary.maximum.numpy()
        self._largest = self._set_sizes(_HEADROOM * largest + _ROOM) - 1

    def link(self, x):
        return log((x + _PSEUDOCOUNT) / (self._link_mean + _PSEUDOCOUNT))

    def nearest(self, x):
        return np.clip(np.rint(x), 0, self._largest).astype(np.int64)

    def values(self, numbers):
        return numbers.astype(np.float64)

    def _share_below(self, columns, parameters):
        log_mean = parameters[:, columns] + self._log_mean[columns]
        limit = self._log_limit[columns]
        log_mean = np.minimum(log_mean, limit) + log(1 + np.maximum(log_mean - limit, 0))
        mean = np.clip(exp(log_mean), _LEAST_MEAN, _LARGEST_MEAN)
        if self._r is None:
            return lambda numbers, _, pick: _poisson_cdf(numbers - 1, pick(mean))
        r = np.broadcast_to(self._r[columns], mean.shape)
        return lambda numbers, _, pick: _negative_binomial_cdf(numbers - 1, pick(mean), pick(r))


def _poisson_cdf(k, mean):
    """Return the probability of at most k, for k from -1 on."""
    known = np.maximum(k, 0)
    distance = known + 2 / 3 - mean + 0.02 / (known + 1)
    place = distance * np.sqrt((1 + _bend((known + 0.5) / mean)) / mean)
    return np.where(k < 0, 0.0, normal_cdf(place))


def _negative_binomial_cdf(k, mean, r):
    """Return the probability of at most k, for k from -1 on.

    That of an inverse dispersion r is that of r + 1, for the same chance of a success, plus
    Gamma(r + k + 1) / (Gamma(r + 1) k!) p^r q^(k + 1).
    """
    known = np.maximum(k, 0)
    log_p, log_q = -log(1 + mean / r), -log(1 + r / mean)
    more = 0.0
    for _ in range(_N_LED_BACK):
        log_term = _log_gamma(r + known + 1) - _log_gamma(r + 1) - _log_gamma(known + 1)
        more = more + exp(log_term + r * log_p + (known + 1) * log_q)
        r = r + 1
    p, q = exp(log_p), exp(log_q)
    n = known + r
    distance = known + 2 / 3 - (n + 1 / 3) * q
    distance += 0.02 * (p / (known + 1) - q / r + (p - 0.5) / (n + 1))
    bend = p * _bend((known + 0.5) / (n * q)) + q * _bend((r - 0.5) / (n * p))
    place = distance * np.sqrt((1 + bend) / ((n + 1 / 6) * p * q))
    return np.where(k < 0, 0.0, np.minimum(normal_cdf(place) + more, 1.0))


def _bend(x):
    """Compute (1 - x^2 + 2 x ln x) / (1 - x)^2."""
    away = x - 1
    is_near = np.abs(away) < _NEAR_1
    far = np.where(is_near, 2.0, x)
    value = (1 - far * far + 2 * far * log(far)) / ((1 - far) * (1 - far))
    series = away * (-1 / 3 + away * (1 / 6 + away * (-1 / 10 + away * (1 / 15))))
    return np.where(is_near, series, value)


def _log_gamma(x):
    """Return ln Gamma of x from 1 on, by Stirling's series from 8 on."""
    factor, large = np.ones_like(x), np.asarray(x, np.float64)
    for _ in range(7):
        is_small = large < 8
        factor = np.where(is_small, factor * large, factor)
        large = np.where(is_small, large + 1, large)
    inverse = 1 / large
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260)))
    return (large - 0.5) * log(large) - large + 0.91893853320467274178 + series - log(factor)
