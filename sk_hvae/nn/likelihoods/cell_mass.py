"""Average of the normal density over a cell, accurate for all widths and far into the tails."""

import math

import torch

# Cells that are narrower, times their distance from the mean where that is above 1, have their
# average from its series in the width, to 1e-6. Wider ones have it from a difference, in float32.
_NARROW = 0.3
# Farther out, Mills' ratio is known to 1e-6 from four terms of its series; float32 could hold the
# mass itself up to 12.
_FAR = 10.0
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def log_average_density(centre, width):
    """Return ln of the average of the standard normal density over cells.

    Parameters
    ----------
    centre : Tensor
        Middles of the cells, in standard deviations.
    width : Tensor, of the same shape
        Widths, at least 0; with 0 the average is the density itself.

    Returns
    -------
    Tensor
        ln[(Phi(centre + width / 2) - Phi(centre - width / 2)) / width].

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.cell_mass import log_average_density
    >>> log_average_density(torch.zeros(2), torch.tensor([0.0, 2.0])).exp()
    tensor([0.3989, 0.3413])
    """
    distance = centre.abs()
    is_narrow = distance.clamp(min=1.0) * width < _NARROW
    # Where another formula counts, each sees numbers at which its own gradients are finite.
    narrow = _of_narrow(distance, width.masked_fill(~is_narrow, 0.0))
    wide = _of_wide(distance, width.masked_fill(is_narrow, 1.0))
    return torch.where(is_narrow, narrow, wide)


def _of_narrow(distance, width):
    # In terms that are small in all of these cells, so that none overflows.
    area, slant = width.square(), (distance * width).square()
    second = (slant - area) / 24
    fourth = (slant.square() + 4 * slant * area - 2 * area.square()) / 2880
    return second - fourth - 0.5 * distance.square() - _HALF_LOG_TAU


def _of_wide(distance, width):
    inner, outer = distance - 0.5 * width, distance + 0.5 * width
    is_far = inner > _FAR
    near = inner.masked_fill(is_far, 0.0)
    mass = 0.5 * (torch.erfc(near * math.sqrt(0.5)) - torch.erfc(outer * math.sqrt(0.5)))
    far = inner.masked_fill(~is_far, _FAR)
    # The density falls by exp(-distance * width) from the inner to the outer edge.
    fall = (distance * width).masked_fill(~is_far, 1.0)
    ratio = _mills(far) - (-fall).exp() * _mills(outer.clamp(min=_FAR))
    of_far = ratio.log() - 0.5 * far.square() - _HALF_LOG_TAU
    return torch.where(is_far, of_far, mass.log()) - width.log()


def _mills(t):
    """Return the tail beyond t over the density at t."""
    inverse = t.reciprocal()
    square = inverse.square()
    return inverse * (1 - square * (1 - square * (3 - 15 * square)))
