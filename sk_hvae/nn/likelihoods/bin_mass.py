"""Average of the normal density over a bin, accurate for all widths and far into the tails."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Bins that are narrower, times their distance from the mean where that is above 1, have their
# average from its series in the width, to 1e-6. Wider ones have it from a difference, in float32.
_NARROW = 0.3
# float32 holds the mass itself up to here. Farther out, its logarithm is known to 1e-4 from the
# first terms of Mills' ratio, or 1e-6 of itself.
_FAR = 12.0
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_ROOT_HALF = math.sqrt(0.5)


def log_average_density(centre, width):
    """Return ln of the average of the standard normal density over bins.

    Parameters
    ----------
    centre : Tensor
        Middles of the bins, in standard deviations.
    width : Tensor, of the same shape
        Widths, at least 0; with 0 the average is the density itself.

    Returns
    -------
    Tensor
        ln[(Phi(centre + width / 2) - Phi(centre - width / 2)) / width].

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.bin_mass import log_average_density
    >>> log_average_density(torch.zeros(2), torch.tensor([0.0, 2.0])).exp()
    tensor([0.3989, 0.3413])
    """
    return _LogAverageDensity.apply(centre, width)


class _LogAverageDensity(torch.autograd.Function):
    """The function with its derivatives in closed form.

    Those that autograd would find are not finite where another formula counts, and take longer.
    """

    @staticmethod
    def forward(ctx, centre, width):
        distance = centre.abs()
        slant = distance * width
        is_narrow = torch.maximum(slant, width) < _NARROW
        pairs = zip(_of_narrow(distance, width), _of_wide(distance, width, slant), strict=True)
        found = _Found(*(torch.where(is_narrow, *pair) for pair in pairs))
        ctx.save_for_backward(found.by_distance * centre.sign(), found.by_width)
        return found.value

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        by_centre, by_width = ctx.saved_tensors
        return gradient * by_centre, gradient * by_width


class _Found(NamedTuple):
    """The function and its derivatives by distance and width."""

    value: Tensor
    by_distance: Tensor
    by_width: Tensor


def _of_narrow(distance, width):
    """Take three terms of the series, written so that none overflows far out."""
    area, slant = width.square(), distance * width
    square = slant.square()
    both = square * area
    value = (square - area) / 24 - (square.square() + 4 * both - 2 * area.square()) / 2880
    by_distance = distance * (area / 12 - (both + 2 * area.square()) / 720 - 1)
    by_width = (distance * slant - width) / 12
    by_width = by_width - (slant * square * distance + width * (4 * square - 2 * area)) / 720
    return _Found(value - 0.5 * distance.square() - _HALF_LOG_TAU, by_distance, by_width)


def _of_wide(distance, width, slant):
    inner, outer = distance - 0.5 * width, distance + 0.5 * width
    # The density falls by exp(-slant) from the inner to the outer edge.
    log_density = -0.5 * inner.square() - _HALF_LOG_TAU
    near = (0.5 * (torch.erfc(inner * _ROOT_HALF) - torch.erfc(outer * _ROOT_HALF))).log()
    mills = _mills(inner) - (-slant).exp() * _mills(outer)
    is_far = inner > _FAR
    log_mass = torch.where(is_far, log_density + mills.log(), near)
    # Densities at both edges over the mass.
    at_inner = torch.where(is_far, mills.reciprocal(), (log_density - near).exp())
    fall = (-slant).expm1()
    by_width = at_inner * (1 + 0.5 * fall) - width.reciprocal()
    return _Found(log_mass - width.log(), at_inner * fall, by_width)


def _mills(t):
    """Return the tail beyond t over the density at t, for large t."""
    return (t + t.reciprocal()).reciprocal()
