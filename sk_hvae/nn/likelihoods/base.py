"""What every likelihood offers, and what it may know of the training data."""

import inspect
import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.codes import distinct_codes, merge_codes, no_codes
from sk_hvae.nn.likelihoods.refusal import ColumnError, refuse

ROUNDING = 1e-12
_TOLERANCE = 1e-6


class DataSummary(NamedTuple):
    """What a likelihood may know of the training data.

    Attributes
    ----------
    mean, std, minimum, maximum : Tensor of shape (n_features,), float64
        Per column, over the cells that are not missing; std is exactly 0 for a constant
        column.
    n_channels : int
        Number of channels of images; the columns are flattened (channels, height, width).
    codes : Tensor of shape (n, 2), int64, or None
        The different whole numbers of the columns that were asked for: pairs of a column's
        number and a code, sorted. None if they are not known.
    """

    mean: Tensor
    std: Tensor
    minimum: Tensor
    maximum: Tensor
    n_channels: int = 1
    codes: Tensor | None = None

    @classmethod
    def of(cls, chunks, n_channels=1, coded=None):
        """Summarise data that comes in chunks.

        Parameters
        ----------
        chunks : iterable of Tensor of shape (m, n_features)
            Parts of the data, any dtype, on any device; NaN marks a missing cell.
        n_channels : int, default=1
            Number of channels of images.
        coded : sequence of int, default=None
            Numbers of the columns whose ``codes`` are wanted; None for all. Of a column with
            more of them than `Categorical` takes, only the smallest are kept, one too many.

        Returns
        -------
        DataSummary
            On the CPU.

        Raises
        ------
        ValueError
            If a column has no value at all.

        Examples
        --------
        >>> import torch
        >>> from sk_hvae.nn import DataSummary
        >>> DataSummary.of([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0]])]).mean
        tensor([3.], dtype=torch.float64)
        """
        count = mean = squares = torch.zeros((), dtype=torch.float64)
        minimum, maximum = mean + math.inf, mean - math.inf
        codes = no_codes()
        for chunk in chunks:
            chunk = chunk.cpu().double()
            wanted = range(chunk.shape[1]) if coded is None else coded
            codes = merge_codes(codes, distinct_codes(chunk, wanted))
            missing = chunk.isnan()
            n_seen = (~missing).sum(0)
            chunk_mean = chunk.masked_fill(missing, 0.0).sum(0) / n_seen.clamp(min=1)
            shift = (chunk_mean - mean) * (n_seen > 0)
            total = count + n_seen
            weight = n_seen / total.clamp(min=1)
            mean = mean + shift * weight
            squares = squares + (chunk - chunk_mean).masked_fill(missing, 0.0).square().sum(0)
            squares = squares + shift.square() * (count * weight)
            minimum = torch.minimum(minimum, chunk.masked_fill(missing, math.inf).amin(0))
            maximum = torch.maximum(maximum, chunk.masked_fill(missing, -math.inf).amax(0))
            count = total
        if not (count > 0).all():
            empty = (count == 0).nonzero().flatten().tolist()
            raise ValueError(f"columns {empty} of X have no value in any row; leave them out.")
        std = (squares / count).sqrt()
        constant = (minimum == maximum) | (std <= ROUNDING * mean.abs())
        return cls(mean, std.masked_fill(constant, 0.0), minimum, maximum, n_channels, codes)

    def of_columns(self, columns):
        """Restrict the summary to some columns (a LongTensor of their numbers)."""
        codes = self.codes
        if codes is not None:
            place = torch.full((len(self.mean),), -1)
            place[columns] = torch.arange(len(columns))
            codes = torch.stack((place[codes[:, 0]], codes[:, 1]), 1)
            codes = merge_codes(no_codes(), codes[codes[:, 0] >= 0])
        mean, std, minimum, maximum = (statistic[columns] for statistic in self.statistics)
        return DataSummary(mean, std, minimum, maximum, codes=codes)

    @property
    def statistics(self):
        """The four statistics of the columns, a tuple of Tensor of shape (n_features,)."""
        return self[:4]

    @property
    def has_shared_scale(self):
        """Whether the columns look like parts of one signal, as pixels do.

        True if at least half of the columns that vary start at one common minimum and span
        at least half of the widest range.
        """
        varies = self.std > 0
        if not varies.any():
            return False
        low = self.minimum[varies]
        span = self.maximum[varies] - low
        widest = span.max()
        common = (low - low.median()).abs() <= 0.01 * widest
        return bool((common & (span >= 0.5 * widest)).double().mean() >= 0.5)


class Likelihood(nn.Module, ABC):
    """What the decoder's output means; subclasses are final.

    A subclass stores its constructor arguments under their own names, registers what it
    learns from the data in `learn`, and works on raw data everywhere else. Two scales matter:
    data are mapped by `link` to ``n_linked`` columns on which linear paths work, and the
    decoder puts out ``n_outputs`` parameters, of which the first ``n_linked`` are a location
    on that same scale, so that a parameter of 0 stands for the typical row; the others start
    at 0.

    `check`, `link` and `fit_scale` may meet NaN, which marks a missing cell; `log_prob`
    never does.
    """

    summary: DataSummary

    @property
    def config(self):
        """Constructor arguments, a dict."""
        return {
            name: getattr(self, name)
            for name, parameter in inspect.signature(type(self)).parameters.items()
            if parameter.kind is not parameter.VAR_POSITIONAL
            and parameter.kind is not parameter.VAR_KEYWORD
        }

    def adapt(self, summary):
        """Prepare for data like those of a `DataSummary`; returns self."""
        self.summary = summary
        self.learn(summary)
        return self

    @property
    def n_linked(self):
        """Number of columns of `link`; one for each column of the data unless overridden."""
        return len(self.summary.mean)

    @property
    def n_outputs(self):
        """Number of parameters for a row; ``n_linked`` unless overridden."""
        return self.n_linked

    @property
    def column_of_link(self):
        """Column of the data that each column of `link` belongs to, LongTensor (n_linked,)."""
        return torch.arange(self.n_linked, device="cpu")

    @property
    def fits_each_batch(self):
        """Whether `fit_scale` is called before every batch of training; False by default."""
        return False

    def coded_columns(self, n_features):
        """Return the numbers of the columns whose `DataSummary.codes` `learn` needs; none here."""
        return []

    @abstractmethod
    def learn(self, summary):
        """Take from a `DataSummary` what the likelihood needs."""

    def check(self, x):
        """Raise `ColumnError` if raw data has values that the likelihood cannot produce."""

    @abstractmethod
    def link(self, x):
        """Map raw data to the float32 scale on which the linear paths work, (b, n_linked)."""

    def fit_scale(self, x, parameters):
        """Fit free scale parameters, if any, to a batch of data and decoder output.

        Called once when training starts, and before every batch if ``fits_each_batch``.
        """

    @abstractmethod
    def log_prob(self, x, parameters):
        """Return ln p(x | parameters) of every cell, or ln P for discrete data: (b, n_features)."""

    @abstractmethod
    def mean(self, parameters):
        """Map parameters to the mean of the data, (b, n_features), on the data's own scale.

        In float64 where float32 would lose digits of it.
        """

    @abstractmethod
    def sample(self, parameters, noise):
        """Draw data given parameters; ``noise`` maps a tensor to standard normal noise."""

    def extra_repr(self):
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def check_range(x, low, high, name, advice):
    """Raise ColumnError unless all values of x that are not missing lie in [low, high]."""
    values = x.nan_to_num(low) if x.is_floating_point() else x
    minimum, maximum = values.amin(0).double().cpu(), values.amax(0).double().cpu()
    outside = (minimum < low - _TOLERANCE) | (maximum > high + _TOLERANCE)
    if outside.any():
        column = int(outside.nonzero()[0])
        limits = f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"of at least {low:g}"
        raise ColumnError(
            f"likelihood={name!r} needs data {limits}; found values from {minimum[column]:.4g} to "
            f"{maximum[column]:.4g}. {advice}",
            column,
        )


def check_whole(x, name, advice):
    """Raise ColumnError unless all values of x that are not missing are whole numbers."""
    if x.is_floating_point():
        values = x.nan_to_num(0.0)
        refuse(
            x,
            (values - values.round()).abs() > _TOLERANCE,
            lambda value, _: (
                f"likelihood={name!r} needs whole numbers; found {value:.4g}. {advice}"
            ),
        )
