"""Reverse water-filling: how a rate is best split over independent Gaussian components."""

import math

import torch


def water_fill(variances, rate, floor=None, most=math.inf):
    """Split a rate over independent Gaussian components so that their squared error is least.

    All components that get a share keep the same error, the water level, and those whose
    variance is below the level get none (Cover & Thomas, Elements of Information Theory,
    10.3.3). Component i keeps the error variance_i * exp(-2 nats_i).

    Parameters
    ----------
    variances : Tensor of shape (n,)
        Variance of each component, positive.
    rate : float
        Total rate in nats.
    floor : Tensor of shape (n,), default=None
        Nats that each component has already; None for none.
    most : float, default=inf
        Nats that no component exceeds, unless its floor does.

    Returns
    -------
    Tensor of shape (n,)
        max(floor_i, min(most, ln(variance_i / level) / 2)), with the level that makes the sum
        ``rate``. The sum is that of the floors where they cost more than ``rate``, and n times
        ``most`` where ``rate`` is more than that.

    Notes
    -----
    As the logarithm of the level falls, every component gains half a nat per unit from one
    level on, at which it leaves its floor, up to another, at which it has the most. The total
    is thus linear between these 2 n levels: sorted and summed up they give the level exactly.

    Examples
    --------
    >>> import math, torch
    >>> from sk_hvae.nn.water_filling import water_fill
    >>> (water_fill(torch.tensor([4.0, 1.0, 0.1]), math.log(2)) / math.log(2)).round()
    tensor([1., 0., 0.])
    """
    log_variances = variances.log()
    floor = torch.zeros_like(variances) if floor is None else floor
    starts = log_variances - 2 * floor
    ends = log_variances - 2 * floor.clamp(min=most)
    ends = ends[ends.isfinite()]
    log_levels, order = torch.cat((starts, ends)).sort(descending=True)
    slopes = torch.cat((torch.full_like(starts, 0.5), torch.full_like(ends, -0.5)))
    slopes = slopes[order].cumsum(0)
    totals = floor.sum() - torch.cat((slopes[:1] * 0, slopes[:-1] * log_levels.diff())).cumsum(0)
    last = int((totals < rate).sum()) - 1
    if last < 0:
        return floor
    log_level = log_levels[last] - (rate - totals[last]) / slopes[last]
    return torch.maximum(floor, (0.5 * (log_variances - log_level)).clamp(max=most))
