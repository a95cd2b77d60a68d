"""Gaussian likelihood."""

import math
from typing import SupportsFloat

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.base import ROUNDING, Likelihood
from sk_hvae.nn.likelihoods.linear_scale import LinearScale
from sk_hvae.nn.likelihoods.monotone import MonotoneScale
from sk_hvae.nn.likelihoods.refusal import ColumnError

# The least noise, in scales of a column. Columns that are reconstructed exactly would otherwise
# take sigma to 0, and the density to infinity.
_MIN_LOG_SIGMA = math.log(1e-4)
# float32 ends at 3e38, on the scale of the data and for squares of what is compared with sigma.
_LARGEST, _FARTHEST = 1e35, 1e12


class Gaussian(Likelihood):
    """Independent Gaussian features around the decoder's output.

    Parameters
    ----------
    sigma : float, "learned", "per_feature" or "optimal", default="learned"
        Standard deviation. A number is fixed, on the scale of the data (the paper uses 0.71
        for colour images in [0, 1]). "learned" trains one number for all features after
        scaling, "per_feature" one for each that varies; "optimal" sets the one number to the
        root mean squared error of each batch, its optimum in closed form [1]_. Rate targets
        settle how much is reconstructed, so sigma only calibrates the likelihood: one learned
        number is the robust choice. With ``scaling="quantile"`` a number is on the scale of
        normal scores instead, on which every continuous column has a standard deviation of 1,
        and "per_feature" is the better choice for tables.
    scaling : {"auto", "columns", "shared", "quantile"}, default="auto"
        How data are standardised inside the model. "columns" divides each column by its own
        standard deviation, so that all count alike whatever their units. "shared" divides
        all by one number, so that pixels or other parts of one signal keep their relative
        size and almost constant ones are not blown up. "auto" is "shared" for images, and
        "columns" otherwise. Images are data with an ``image_shape``, and columns that fill a
        grid of at least 8 by 8 on which neighbours go together in both directions, unless one
        scale would hide some that vary all the time; constants that are added do not matter.
        Spectra and other signals of one dimension are not recognised: pass "shared" for them.
        "quantile" is for the numbers of tables, skewed or with frequent values, such as zeros:
        it maps each column to normal scores, by a monotone function that follows the column's
        distribution, see Notes. Samples are then values that the data could have: between the
        smallest and the largest of the training data, and on the grid of the column, such as
        whole numbers or cents, if it has one. *Wild* values, which are few and ten times as far
        from the median as all others, are no such ends: samples and means do not go there.

    Attributes
    ----------
    scaling_ : {"columns", "shared", "quantile"}
        How the data were standardised.

    Notes
    -----
    Log-densities are those of the data as given: the standardisation is accounted for. Data
    may be up to 1e35, as float32 ends at 3e38, and new data up to 1e12 scales away from the
    training data. Means and samples are float64, which keeps the digits of columns whose
    offset is large against their spread.

    With ``scaling="quantile"``, the score of a value is Phi^-1 of the share of the training data
    below it, as in a Gaussian copula [2]_. Between about sqrt(n) knots, at most 126, scores are
    linear in the values. Knots are quantiles and, for frequent values, the edges of their
    *bins*. The grid of a column is the largest step of which all differences between its
    values are multiples, as decimals of up to nine digits. A value of a column with a grid of
    step r stands for its bin, r / 2 to either side, and its density is the probability of the
    bin over r: in columns of whole numbers it is the probability of the value. A column
    without a grid in which values occur repeatedly has bins of the smallest distance between
    two of its values; in all others the density is that of the value itself, the slope of the
    scale included. The density integrates to 1 over all numbers, of which those beyond the
    training data, where scores go on linearly, share two rows' worth at first. They count in
    the log-density, while samples and means put them at the ends of the data. Means are exact
    for this distribution, up to rounding within a bin: that of a flag of 0 and 1 is the
    probability of 1.

    The scale is learned from at most 10,000 rows at even distances, the ends and the grid from
    all rows.

    References
    ----------
    .. [1] Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with
       Calibrated Decoders", ICML 2021.
    .. [2] Liu, Lafferty and Wasserman, "The Nonparanormal: Semiparametric Estimation of High
       Dimensional Undirected Graphs", JMLR 10, 2009.

    Examples
    --------
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.nn import Gaussian
    >>> HierarchicalVAETransformer(likelihood=Gaussian(sigma=0.71)).likelihood
    Gaussian(sigma=0.71, scaling='auto')

    Whole numbers, half of them 0, have probabilities, and samples are whole numbers:

    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> x = torch.tensor([[0.0], [0.0], [0.0], [2.0], [1.0], [5.0]])
    >>> likelihood = Gaussian(sigma=1.0, scaling="quantile").adapt(DataSummary.of([x]))
    >>> likelihood.log_prob(x[:1], torch.zeros(1, 1)).exp()
    tensor([[0.3750]])
    >>> set(likelihood.sample(torch.zeros(99, 1), torch.randn_like).flatten().tolist()) <= {
    ...     *range(6)
    ... }
    True
    """

    location: Tensor
    scale: Tensor
    log_sigma: Tensor
    varies: Tensor
    monotone: MonotoneScale | None

    def __init__(self, sigma: float | str = "learned", scaling: str = "auto") -> None:
        super().__init__()
        self.sigma = sigma
        self.scaling = scaling

    def distributed_columns(self, n_features):
        return range(n_features if self.scaling == "quantile" else 0)

    def learn(self, summary):
        if self.scaling not in ("auto", "columns", "shared", "quantile"):
            raise ValueError(
                f"scaling must be 'auto', 'columns', 'shared' or 'quantile'; got {self.scaling!r}."
            )
        largest = torch.maximum(summary.maximum, -summary.minimum)
        if not largest.max() <= _LARGEST:
            column = int(largest.argmax())
            raise ColumnError(
                f"the values of X are too large for float32: max|X| is {largest[column]:.3g}, and "
                f"may be {_LARGEST:g}. Divide X by its scale, for example with MaxAbsScaler.",
                column,
            )
        self.monotone = MonotoneScale(summary) if self.scaling == "quantile" else None
        scale = summary.std
        shared = self.scaling == "shared" or (self.scaling == "auto" and summary.has_shared_scale)
        if shared and (scale > 0).any():
            scale = _root_mean_square(scale)
        rounding = (ROUNDING * summary.mean.abs()).clamp(min=1.0)
        scale = torch.where(scale == 0, rounding, scale)
        self.register_buffer("location", summary.mean.clone())
        self.register_buffer("scale", scale)
        self._scale_on_cpu = scale
        self._register_sigma()

    @property
    def _column_scale(self):
        """What maps the data of columns to numbers around which the noise is normal, and back."""
        return self.monotone or LinearScale(self.location, self.scale)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._scale_on_cpu = self.scale.cpu()

    @property
    def scaling_(self) -> str:
        """How the data were standardised, "columns", "shared" or "quantile"."""
        if self.scaling != "auto":
            return self.scaling
        varies = self.summary.std > 0
        scale, std = self._scale_on_cpu[varies].double(), self.summary.std[varies]
        own = torch.allclose(scale, std, rtol=1e-5, atol=0)
        return "columns" if own else "shared"

    def relearn(self, summary, columns):
        super().relearn(summary, columns)
        self._scale_on_cpu = self.scale.cpu()

    def _anew(self, summary):
        varied = self.summary.std > 0
        if not varied.any():
            return super()._anew(summary)
        scaling = self.scaling_
        if scaling == "shared":
            known = self._scale_on_cpu[varied][0].expand_as(summary.std)
            scaling, summary = "columns", summary._replace(std=known)
        return Gaussian(self.sigma, scaling).adapt(summary)

    @property
    def spread(self):
        return self._scale_on_cpu.double().masked_fill(self.summary.std == 0, math.inf)

    def _register_sigma(self):
        if self.sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        elif self.sigma == "per_feature":
            self.log_sigma = nn.Parameter(torch.zeros(len(self.scale)))
            self.register_buffer("varies", self.summary.std > 0)
        elif self.sigma == "optimal":
            self.register_buffer("log_sigma", torch.zeros(()))
        elif isinstance(self.sigma, SupportsFloat) and 0 < float(self.sigma) < math.inf:
            log_sigma = (float(self.sigma) / self._column_scale.unit).log().float()
            self.register_buffer("log_sigma", log_sigma)
        else:
            raise ValueError(
                "sigma must be a positive number, 'learned', 'per_feature' or 'optimal'; got "
                f"{self.sigma!r}."
            )

    def check(self, x):
        # By numbers on the CPU: rows that are read ahead are there, while the model is not.
        mean = self.summary.mean
        extremes = torch.stack(torch.aminmax(x, dim=0)).double().cpu()
        if extremes.isnan().any():
            present = torch.where(x.isnan(), mean.to(x), x)
            extremes = torch.stack(torch.aminmax(present, dim=0)).double().cpu()
        distance = (extremes - mean).abs().amax(0) / self.spread
        if distance.max() > _FARTHEST:
            column = int(distance.argmax())
            low, high = extremes[:, column].tolist()
            raise ColumnError(
                f"likelihood='gaussian' cannot place X's values from {low:.3g} to {high:.3g} in a "
                f"column with a mean of {mean[column]:.3g} and a scale of "
                f"{self.spread[column]:.3g} in training: more than {_FARTHEST:g} scales "
                "away. Correct or clip such cells, or fit on data of this range.",
                column,
            )

    def nearest(self, x):
        return x if self.monotone is None else self.monotone.nearest(x)

    @property
    def limits(self):
        if self.monotone is None:
            return super().limits
        return self.monotone.lowest.cpu().double(), self.monotone.highest.cpu().double()

    def rounded(self, expected):
        if self.monotone is None:
            return expected
        # Rounding adds a twelfth of the step squared to the squared error: of the variance, less
        # than a twelfth here, and a third for a flag.
        is_fine = self.monotone.step <= self.scale * self.monotone.units
        return torch.where(is_fine, self.monotone.nearest(expected), expected)

    def link(self, x):
        return self._column_scale.link(x)

    def scales(self, std):
        # A quantile scale is not divided by it, but means and imputed cells are as far off as for a
        # scale that is.
        return _root_mean_square(std) if self.scaling_ == "shared" else std

    @property
    def fits_each_batch(self):
        return self.sigma == "optimal"

    @torch.no_grad()
    def fit_scale(self, x, parameters):
        if self.sigma in ("learned", "per_feature", "optimal"):
            square = (self.link(x) - parameters).square()
            mse = square.nanmean(0 if self.sigma == "per_feature" else None)
            log_sigma = (0.5 * mse.log()).clamp(min=_MIN_LOG_SIGMA)
            self.log_sigma.copy_(torch.where(mse.isnan(), self.log_sigma, log_sigma))

    def prepared(self, x):
        return self._column_scale.prepared(x)

    def log_prob_of(self, prepared, parameters):
        return self._column_scale.log_density(*prepared, parameters, self._bounded_log_sigma())

    def log_prob(self, x, parameters):
        return self.log_prob_of(self.prepared(x), parameters)

    def mean(self, parameters):
        return self._column_scale.mean(parameters, self._bounded_log_sigma())

    @property
    def copula_columns(self):
        # Those with normal scores, for which the distributions of columns are known.
        return torch.arange(len(self.distributed_columns(self.n_linked)), device="cpu")

    def noise_limits(self, x, parameters):
        limits = self._column_scale.noise_limits(x, parameters, self._bounded_log_sigma())
        return lambda _: limits

    def sample(self, parameters, noise, correlated=None):
        noise = noise(parameters) if correlated is None else correlated
        return self._column_scale.values(parameters + self._bounded_log_sigma().exp() * noise)

    def _bounded_log_sigma(self):
        if self.sigma not in ("learned", "per_feature"):
            return self.log_sigma
        log_sigma = self.log_sigma.clamp(min=_MIN_LOG_SIGMA)
        return log_sigma.where(self.varies, 0.0) if self.sigma == "per_feature" else log_sigma


def _root_mean_square(std):
    """Return that of the columns that vary, for every column."""
    return std[std > 0].square().mean().sqrt().expand_as(std)
