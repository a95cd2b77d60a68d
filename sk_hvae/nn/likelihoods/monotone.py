"""A monotone scale from the data of a column to normal scores, and back."""

import math

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.base import ROUNDING
from sk_hvae.nn.likelihoods.bin_mass import log_average_density
from sk_hvae.nn.likelihoods.knots import N_KNOTS, find_knots

# A segment is one bin if it is no wider, up to what float64 rounds.
_ONE_BIN = 1 + 1e-6
# Of the error function, by Abramowitz and Stegun (1964), formula 7.1.26: to 2e-7.
_ERF_SCALE = 0.3275911
_ERF_WEIGHTS = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class MonotoneScale(nn.Module):
    """Maps each column to normal scores by a function that is linear between knots.

    The function follows the distribution of the training data: the share of the data below a
    knot is that of a standard normal variable below the knot's score. A value of a column with
    a grid, such as whole numbers or cents, stands for its *bin*: half a step to either side.
    Beyond the training data the function goes on linearly. Values and means stay between the
    ends of the data; *wild* values, which alone are as far out as they are, do not count there.

    Parameters
    ----------
    summary : DataSummary
        Of the training data. Columns of which it has no ``marginals`` get a linear scale from
        their mean and standard deviation.
    """

    knots: Tensor
    scores: Tensor
    middles: Tensor
    bin_width: Tensor
    step: Tensor
    units: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, summary):
        super().__init__()
        n_features = len(summary.mean)
        rounding = (ROUNDING * summary.mean.abs()).clamp(min=1.0)
        scale = torch.where(summary.std == 0, rounding, summary.std)
        low, high = summary.minimum - scale, summary.maximum + scale
        ramp = torch.linspace(0, 1, N_KNOTS, dtype=torch.float64)
        knots = low[:, None] + (high - low)[:, None] * ramp
        scores = (knots - summary.mean[:, None]) / scale[:, None]
        middles = scores.clone()
        bin_width, step, units = torch.zeros(3, n_features, dtype=torch.float64)
        lowest, highest = summary.minimum.clone(), summary.maximum.clone()
        marginals = summary.marginals
        for i, column in enumerate([] if marginals is None else marginals.columns.tolist()):
            if summary.std[column] > 0:
                limits = summary.minimum[column], summary.maximum[column]
                found = find_knots(marginals.values[:, i], marginals.steps[:, i], *limits)
                knots[column], scores[column], middles[column] = (
                    found.knots,
                    found.scores,
                    found.middles,
                )
                bin_width[column] = found.bin_width
                lowest[column], highest[column] = found.lowest, found.highest
                step[column], units[column] = marginals.steps[:, i]
        self.register_buffer("knots", knots)
        self.register_buffer("scores", scores)
        self.register_buffer("middles", middles)
        self.register_buffer("bin_width", bin_width)
        self.register_buffer("step", step)
        self.register_buffer("units", units)
        self.register_buffer("lowest", lowest)
        self.register_buffer("highest", highest)

    def _slopes(self):
        return self.scores.diff() / self.knots.diff()

    def _is_bin(self):
        """Tell which segments are the bin of a single value, (n_features, N_KNOTS - 1)."""
        return self.knots.diff() <= _ONE_BIN * self.bin_width[:, None]

    def link(self, x):
        """Map raw data (b, n_features) to scores: of the middle of the mass of their bins."""
        values, place = self._find(x, self.knots)
        is_bin = self._is_bin()
        start = torch.where(is_bin, self.middles[:, :-1], self.scores[:, :-1])
        slope = self._slopes().masked_fill(is_bin, 0.0)
        offset = values - self.knots.gather(1, place)
        return (start.gather(1, place) + slope.gather(1, place) * offset).T.float()

    @property
    def unit(self):
        """What a standard deviation of 1 after scaling is, if users name it: 1 of a score."""
        return torch.ones_like(self.lowest)

    def _bins(self, x):
        """Map raw data (b, n_features) to where their bins are on the scale of scores.

        Returns
        -------
        tuple of Tensor of shape (b, n_features)
            Centres and widths of the bins, and the slope of the scale there; float32.
        """
        values, place = self._find(x, self.knots)
        slope = self._slopes().gather(1, place)
        centre = self.scores.gather(1, place) + slope * (values - self.knots.gather(1, place))
        width = slope * self.bin_width[:, None]
        return centre.T.float(), width.T.float(), slope.T.float()

    def prepared(self, x):
        """Return what `log_density` needs of raw data."""
        centre, width, slope = self._bins(x)
        return centre, width, slope.log()

    def log_density(self, centre, width, log_slope, means, log_sigma):
        """Return ln of the average density in the bins of raw data, given normal scores."""
        per_sigma = (-log_sigma).exp()
        average = log_average_density((centre - means) * per_sigma, width * per_sigma)
        return average - log_sigma + log_slope

    def noise_limits(self, x, means, log_sigma):
        """Return the noise at both ends of the bins of raw data, (b, n_features), float64."""
        centre, width, _ = self._bins(x)
        sigma = log_sigma.exp()
        low = ((centre - width / 2 - means) / sigma).double()
        high = ((centre + width / 2 - means) / sigma).double()
        return low.nan_to_num(-math.inf), high.masked_fill(high.isnan(), math.inf)

    def values(self, scores):
        """Map scores (b, n_features) to values that the data have, between the ends of these."""
        scores, place = self._find(scores, self.scores)
        left, right = self.knots[:, :-1], self.knots[:, 1:]
        offset = (scores - self.scores.gather(1, place)) / self._slopes().gather(1, place)
        x = left.gather(1, place) + offset
        x = torch.where(self._is_bin().gather(1, place), ((left + right) / 2).gather(1, place), x)
        return self.nearest(x.T)

    def nearest(self, x):
        """Round to the decimals of the grid, exactly as they are written, between the ends."""
        has_grid = self.step > 0
        step = torch.where(has_grid, self.step, 1.0)
        origin = (self.lowest * self.units).round()
        whole = ((x * self.units - origin) / step).round()
        x = torch.where(has_grid, (origin + whole * step) / self.units.clamp(min=1.0), x)
        return x.clamp(self.lowest, self.highest)

    def mean(self, means, log_sigma):
        """Mean of `values` of normal variables, given their means (b, n_features) and ln sigma.

        Within a segment values go linearly from the middle of its first bin to that of its
        last, and from one segment to the next by a bin.
        """
        half = self.bin_width[:, None] / 2
        ends = self.lowest[:, None], self.highest[:, None]
        first = (self.knots[:, :-1] + half).clamp(*ends)
        last = (self.knots[:, 1:] - half).clamp(*ends)
        last = torch.maximum(first, last)
        sigma = log_sigma.exp().to(self.scores.dtype)
        width = self.scores.diff() / (sigma[:, None] if sigma.dim() else sigma)
        total, before = first[:, 0], None
        means = means.to(self.scores.dtype)
        for k in range(N_KNOTS):
            t = (means - self.scores[:, k]) / sigma
            above = _normal_cdf(t)
            excess = t * above + (-0.5 * t.square()).exp() / math.sqrt(2 * math.pi)
            if before is not None:
                total = total + (last - first)[:, k - 1] * (before - excess) / width[:, k - 1]
            if 0 < k < N_KNOTS - 1:
                total = total + (first[:, k] - last[:, k - 1]) * above
            before = excess
        return total.clamp(self.lowest, self.highest)

    def _find(self, x, ascending):
        """Find the segments of raw data or scores (b, n_features): both as (n_features, b)."""
        x = x.to(ascending.dtype).T.contiguous()
        inner = ascending[:, 1:-1]
        if torch.compiler.is_exporting():
            # ONNX has no searches.
            return x, (x[:, :, None] >= inner[:, None]).sum(2)
        return x, torch.searchsorted(inner.contiguous(), x, right=True)


def _normal_cdf(t):
    if not torch.compiler.is_exporting():
        return torch.special.ndtr(t)
    # ONNX has no error function in double.
    size = t.abs() * math.sqrt(0.5)
    inverse = (1 + _ERF_SCALE * size).reciprocal()
    series = torch.zeros_like(inverse)
    for weight in reversed(_ERF_WEIGHTS):
        series = (series + weight) * inverse
    tail = 0.5 * series * (-size.square()).exp()
    return torch.where(t < 0, tail, 1 - tail)
