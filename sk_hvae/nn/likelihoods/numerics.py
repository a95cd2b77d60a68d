"""Bisection for quantiles and for the best value of a scale parameter."""

import torch

# Bisections: more than the 53 bits of float64 for quantiles, which are to be exact, and 2**-16 of
# the range for scales, which training goes on to move.
_QUANTILE_STEPS, _FIT_STEPS = 60, 16


def quantile(cdf, probability, low, high):
    """Find where a distribution function reaches given probabilities.

    Parameters
    ----------
    cdf : callable
        Maps a tensor to probabilities of its shape; never decreases.
    probability : Tensor
        What to reach.
    low, high : Tensor
        Ends with cdf(low) < probability <= cdf(high); they shrink by 2**60.

    Returns
    -------
    Tensor
        Just above the smallest value whose ``cdf`` is at least ``probability``.
    """
    for _ in range(_QUANTILE_STEPS):
        middle = (low + high) / 2
        reached = cdf(middle) >= probability
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high


@torch.no_grad()
def fit_parameter(parameter, low, high, log_prob, x):
    """Set a parameter to a maximum of the likelihood of a batch, by bisecting the slope.

    The maximum is the global one wherever there is only one.

    Parameters
    ----------
    parameter : Tensor
        Set in place; its elements must not interact.
    low, high : float or Tensor
        Limits of every element; the result is within 2**-16 of their distance.
    log_prob : callable
        Maps (x, value of the parameter) to ln p of every cell of x.
    x : Tensor of shape (b, n_features)
        Raw data; cells that are NaN do not count.
    """
    seen, x = ~x.isnan(), x.nan_to_num(0.0)
    low, high = torch.zeros_like(parameter) + low, torch.zeros_like(parameter) + high
    for _ in range(_FIT_STEPS):
        middle = ((low + high) / 2).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(log_prob(x, middle)[seen].sum(), middle)
        rises = slope > 0
        low, high = torch.where(rises, middle, low), torch.where(rises, high, middle)
    parameter.copy_(low)
