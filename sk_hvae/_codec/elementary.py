"""Elementary functions that give the same number on every machine.

They are made of additions, multiplications, divisions and scaling by powers of 2 alone, one NumPy
operation each, which IEEE 754 rounds in one way only. The functions of NumPy, SciPy and torch
differ in their last bits between machines, versions and even lengths of arrays.
"""

from functools import cache

import numpy as np

_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_LN2 = 0.693147180559945309417
# exp(709) is near the largest float64.
_LARGEST_EXPONENT = 700.0
# Terms of the series: those that are left out are below what float64 rounds.
_N_EXP, _N_LOG = 14, 12
_ROOT_HALF = 0.70710678118654752440
# Nodes in 1 of curves that are read by linear interpolation, which is then off by at most 1e-7.
_NODES_PER_UNIT = 2**10
# Where the curves end: what is beyond is below what frequencies of 24 bits can tell.
_NORMAL_END, _LOGISTIC_END = 9, 40
_PER_ROOT_TAU = 0.39894228040143267794


def exp(x):
    """Return e to the power of x, which is taken to be between -700 and 700."""
    x = np.clip(x, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    twos = np.rint(x * (1 / _LN2))
    rest = (x - twos * _LN2_HIGH) - twos * _LN2_LOW
    series = np.ones_like(rest)
    for n in range(_N_EXP, 0, -1):
        series *= rest
        series *= 1 / n
        series += 1
    return np.ldexp(series, twos.astype(np.int32))


def log(x):
    """Return the natural logarithm of positive numbers."""
    part, twos = np.frexp(np.asarray(x, np.float64))
    is_low = part < _ROOT_HALF
    part, twos = np.where(is_low, 2 * part, part), twos - is_low
    ratio = (part - 1) / (part + 1)
    square, series = ratio * ratio, np.zeros_like(ratio)
    for n in range(_N_LOG, -1, -1):
        series *= square
        series += 1 / (2 * n + 1)
    return twos * _LN2_HIGH + (2 * ratio * series + twos * _LN2_LOW)


def softplus(x):
    """Return ln(1 + exp(x))."""
    return np.maximum(x, 0) + log(1 + exp(-np.abs(x)))


def sigmoid(x):
    """Return 1 / (1 + exp(-x)), to 1e-7, which increases with x."""
    return _interpolate(_logistic_curve(), _LOGISTIC_END, x)


def silu(x):
    """Return x times its sigmoid."""
    return x * sigmoid(x)


def tanh(x):
    """Return the hyperbolic tangent of x."""
    return 2 * sigmoid(2 * x) - 1


def normal_cdf(x):
    """Return the share of a standard normal variable below x, to 1e-7, which increases with x."""
    return _interpolate(_normal_curve(), _NORMAL_END, x)


def log_softmax(logits, axis):
    """Return logits less the logarithm of the sum of their exponentials, along an axis.

    The terms are added one by one, in order.
    """
    shifted = logits - logits.max(axis, keepdims=True)
    total = np.add.accumulate(exp(shifted), axis)
    return shifted - log(total.take([-1], axis))


def _interpolate(curve, end, x):
    values, slopes = curve
    place = (x + end) * _NODES_PER_UNIT
    place = np.clip(place, 0, len(slopes) - 1)
    node = place.astype(np.int32)
    return values[node] + (place - node) * slopes[node]


def _with_slopes(values):
    return values, np.append(np.diff(values), 0.0)


@cache
def _logistic_curve():
    x = np.arange(-_LOGISTIC_END * _NODES_PER_UNIT, _LOGISTIC_END * _NODES_PER_UNIT + 1)
    return _with_slopes(1 / (1 + exp(x * (-1 / _NODES_PER_UNIT))))


@cache
def _normal_curve():
    """Integrate the density by Simpson's rule from node to node, one by one."""
    half = np.arange(-2 * _NORMAL_END * _NODES_PER_UNIT, 2 * _NORMAL_END * _NODES_PER_UNIT + 1)
    x = half * (0.5 / _NODES_PER_UNIT)
    density = exp(-0.5 * x * x) * _PER_ROOT_TAU
    parts = (density[:-2:2] + 4 * density[1::2] + density[2::2]) / (6 * _NODES_PER_UNIT)
    below = np.add.accumulate(np.append(0.0, parts))
    return _with_slopes(below / below[-1])
