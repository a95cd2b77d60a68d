"""What every likelihood offers, and what it may know of the training data."""

import inspect
import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.codes import CodeCounts, merge_codes
from sk_hvae.nn.likelihoods.marginals import MarginalCollector, Marginals
from sk_hvae.nn.likelihoods.pixels import EvenSample, look_like_pixels
from sk_hvae.nn.likelihoods.refusal import ColumnError, refuse

# Some 50 times what float64 rounds off: columns that differ by less are constant.
ROUNDING = 1e-14
# How far values may be beyond a limit, or off a whole number, as float32 rounds them.
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
    are_pixels : bool
        Whether the columns are known to be pixels of images.
    rows : Tensor of shape (m, n_features), float64, or None
        At most 1,000 of the rows, at even distances, to see how columns go together. What
        `Likelihood.adapt` keeps has none.
    codes : Tensor of shape (n, 3), int64, or None
        The different whole numbers of the columns that were asked for: a column's number, a
        code, and how often it occurs, or 0 if that is not known; sorted. None if the codes are
        not known.
    marginals : Marginals or None
        The distributions of the columns that were asked for. What `Likelihood.adapt` keeps has
        none.
    """

    mean: Tensor
    std: Tensor
    minimum: Tensor
    maximum: Tensor
    n_channels: int = 1
    are_pixels: bool = False
    rows: Tensor | None = None
    codes: Tensor | None = None
    marginals: Marginals | None = None

    @classmethod
    def of(cls, chunks, n_channels=1, are_pixels=False, known=None, coded=None, distributed=None):
        """Summarise data that comes in chunks.

        Parameters
        ----------
        chunks : iterable of Tensor of shape (m, n_features)
            Parts of the data, any dtype, on any device; NaN marks a missing cell.
        n_channels : int, default=1
            Number of channels of images.
        are_pixels : bool, default=False
            Whether the columns are known to be pixels of images.
        known : DataSummary, default=None
            Where the statistics of columns without any value come from, and all else but the
            marginals; None raises an error.
        coded : sequence of int, default=None
            Numbers of the columns whose ``codes`` are wanted; None for all. Of a column with
            more of them than `Categorical` takes, only the smallest are kept, one too many.
        distributed : sequence of int, default=None
            Numbers of the columns whose ``marginals`` are wanted; None for all.

        Returns
        -------
        DataSummary
            On the CPU.

        Raises
        ------
        ValueError
            If a column has no value at all, and nothing is known of it.

        Examples
        --------
        >>> import torch
        >>> from sk_hvae.nn import DataSummary
        >>> DataSummary.of([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0]])]).mean
        tensor([3.], dtype=torch.float64)
        """
        count = mean = squares = torch.zeros((), dtype=torch.float64)
        minimum, maximum = mean + math.inf, mean - math.inf
        sample, codes = EvenSample(), CodeCounts(coded)
        collector = MarginalCollector(distributed)
        for chunk in chunks:
            chunk = chunk.cpu()
            sample.add(chunk)
            chunk = chunk.double()
            codes.add(chunk)
            collector.add(chunk)
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
        if known is None and not (count > 0).all():
            empty = (count == 0).nonzero().flatten().tolist()
            raise ValueError(f"columns {empty} of X have no value in any row; leave them out.")
        std = (squares / count).sqrt()
        constant = (minimum == maximum) | (std <= ROUNDING * mean.abs())
        std = std.masked_fill(constant, 0.0)
        found = cls(
            *(mean, std, minimum, maximum, n_channels, are_pixels, sample.rows, codes.table()),
            collector.marginals,
        )
        if known is None:
            return found
        return known.with_columns(found, count > 0)._replace(marginals=found.marginals)

    def updated(self, new, n_rows):
        """Update the columns that were constant so far, and vary once new rows are added.

        Their statistics are those of the new rows and of the constant, which counts as one more
        row, or for half if the new rows have another constant. All other columns stay.

        Parameters
        ----------
        new : DataSummary
            Of the new rows.
        n_rows : int
            Number of new rows.

        Returns
        -------
        DataSummary

        Examples
        --------
        >>> import torch
        >>> from sk_hvae.nn import DataSummary
        >>> known = DataSummary.of([torch.tensor([[7.0, 1.0], [7.0, 3.0]])])
        >>> new = DataSummary.of([torch.tensor([[8.0, 50.0], [9.0, 60.0]])])
        >>> known.updated(new, 2).mean
        tensor([8., 2.], dtype=torch.float64)
        """
        share = torch.full_like(new.std, 0.5).masked_fill(new.std > 0, 1 / (n_rows + 1))
        gap = self.mean - new.mean
        mean = new.mean + share * gap
        std = ((1 - share) * (new.std.square() + share * gap.square())).sqrt()
        low = torch.minimum(self.minimum, new.minimum)
        high = torch.maximum(self.maximum, new.maximum)
        alive = (self.std == 0) & (std > ROUNDING * mean.abs())
        updated = self.with_columns(DataSummary(mean, std, low, high), alive)
        marginals = new.marginals and new.marginals.with_value(self.minimum, new)
        return updated._replace(marginals=marginals)

    def with_columns(self, other, columns):
        """Take the statistics of some columns, a BoolTensor (n_features,), from another summary."""
        pairs = zip(other.statistics, self.statistics, strict=True)
        mean, std, low, high = (torch.where(columns, new, old) for new, old in pairs)
        return self._replace(mean=mean, std=std, minimum=low, maximum=high)

    def of_columns(self, columns):
        """Restrict the summary to some columns (a LongTensor of their numbers)."""
        mean, std, minimum, maximum = (statistic[columns] for statistic in self.statistics)
        rows = None if self.rows is None else self.rows[:, columns]
        codes = None if self.codes is None else _codes_of(self.codes, columns, len(self.mean))
        marginals = self.marginals and self.marginals.of_columns(columns)
        found = DataSummary(mean, std, minimum, maximum, are_pixels=self.are_pixels)
        return found._replace(rows=rows, codes=codes, marginals=marginals)

    @property
    def statistics(self):
        """The four statistics of the columns, a tuple of Tensor of shape (n_features,)."""
        return self[:4]

    @property
    def has_shared_scale(self):
        """Whether the columns are parts of one signal, as pixels are.

        True if they are known to be pixels, or go together like these
        (``sk_hvae.nn.likelihoods.pixels``), and any of them varies.
        """
        if not (self.std > 0).any():
            return False
        return self.are_pixels or (self.rows is not None and look_like_pixels(self.rows))


def _codes_of(codes, columns, n_features):
    """Restrict codes to some columns, which get new numbers, of all ``n_features``."""
    place = torch.full((n_features,), -1)
    place[columns] = torch.arange(len(columns))
    codes = torch.column_stack((place[codes[:, 0]], codes[:, 1:]))
    return merge_codes(codes[codes[:, 0] >= 0])


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
        self.summary = summary._replace(rows=None, marginals=None)
        self.learn(summary)
        return self

    def remember(self, summary):
        """Keep another `DataSummary` of the same columns, as `adapt` does; learn nothing."""
        self.summary = summary._replace(rows=None, marginals=None)

    @torch.no_grad()
    def relearn(self, summary, columns):
        """Learn some columns anew; all that is known of the others stays.

        Buffers and parameters of one number, or one row, for each column take over those of
        these columns from a likelihood that is adapted to the summary.

        Parameters
        ----------
        summary : DataSummary
            Of all columns, without ``rows``; with the ``marginals`` of these columns if the
            likelihood needs them.
        columns : BoolTensor of shape (n_features,)
            Which to learn, on the CPU.
        """
        new = self._anew(summary).state_dict()
        for name, tensor in self.state_dict().items():
            if tensor.shape == new[name].shape and tensor.shape[:1] == columns.shape:
                tensor[columns.to(tensor.device)] = new[name].to(tensor)[columns]
        self.remember(summary)

    def _anew(self, summary):
        """Return a likelihood like this one, adapted to a summary."""
        return type(self)(**self.config).adapt(summary)

    @property
    def spread(self):
        """How far from its mean a column's values are expected, (n_features,), on the CPU.

        The standard deviation of the training data unless overridden; infinite for constant
        columns, and where the values have limits anyway.
        """
        std = self.summary.std
        return std.masked_fill(std == 0, math.inf)

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

    def scales(self, std):
        """Return what `link` divides columns by, given their standard deviations.

        Where it divides, a single wild cell can hide the variation of the rest of the column.
        Where the mean of a column goes by its spread, a wild cell spoils this mean.

        Parameters
        ----------
        std : Tensor of shape (n_features,), float64
            On the CPU; 0 for constant columns.

        Returns
        -------
        Tensor of shape (n_features,)
            NaN for columns that are not divided by their spread: by default all.
        """
        return torch.full_like(std, math.nan)

    @property
    def fits_each_batch(self):
        """Whether `fit_scale` is called before every batch of training; False by default."""
        return False

    @property
    def nominal_categories(self):
        """Categories of the columns whose codes are names, not numbers; none by default.

        Column number and code of each, Tensor (n_categories, 2), on the CPU.
        """
        return torch.empty(0, 2, dtype=torch.float64, device="cpu")

    def coded_columns(self, n_features):  # noqa: ARG002 for those that have some
        """Return the numbers of the columns whose codes `learn` needs: none here."""
        return []

    def distributed_columns(self, n_features):  # noqa: ARG002 for those that have some
        """Return the numbers of the columns whose marginals `learn` needs: none here."""
        return []

    @abstractmethod
    def learn(self, summary):
        """Take from a `DataSummary` what the likelihood needs."""

    def check(self, x):
        """Raise ``ColumnError`` if raw data has values that the likelihood cannot produce."""

    def nearest(self, x):
        """Return the values nearest to raw data x, (b, n_features), that columns can have.

        NaN in a column that is not modelled, as that of an exposure is not.
        """
        return x

    @property
    def limits(self):
        """Smallest and largest value that means are to have: two Tensors (n_features,), on the CPU.

        The ends of the training data, unless overridden.
        """
        return self.summary.minimum, self.summary.maximum

    def rounded(self, expected):
        """Round expectations (b, n_features) to values that columns can have; by default none.

        Only where that loses little: a flag of 0 and 1 keeps its probability.
        """
        return expected

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

    def prepared(self, x):
        """Return what `log_prob_of` needs of raw data: a tuple of tensors (b, ...), or of tuples.

        What takes long and does not depend on parameters is done here, once for rows that are
        scored several times; by default nothing.
        """
        return (x,)

    def log_prob_of(self, prepared, parameters):
        """Return what `log_prob` does, given what `prepared` makes of raw data."""
        (x,) = prepared
        return self.log_prob(x, parameters)

    def offset(self, x):
        """Return what the exposure of raw rows adds to their parameters, (b, n_outputs).

        None, the default, if rows have no exposure. `log_prob` and `fit_scale` are then to be
        given parameters to which it was added. Where the rows are not known, as in `mean` and
        `sample`, parameters stand for the typical exposure.
        """

    def at_exposure(self, mean, x):  # noqa: ARG002 for those that have one
        """Bring `mean` from the typical exposure to that of raw rows x, (b, n_features)."""
        return mean

    @abstractmethod
    def mean(self, parameters):
        """Map parameters to the mean of the data, (b, n_features), on the data's own scale.

        In float64 where float32 would lose digits of it.
        """

    def mixed_mean(self, weights, parameters):
        """Map a mixture, of weights (b, m) of m rows of parameters, to its mean (b, n_features)."""
        means = self.mean(parameters)
        # Relative to one of them: weights in float32 do not add up to exactly 1.
        return means[0] + weights.to(means.dtype) @ (means - means[0])

    def expected_link(self, parameters):
        """Return the expectation of `link` given parameters, (b, n_linked); their location here."""
        return parameters[:, : self.n_linked]

    def probabilities(self, parameters):
        """Return the probabilities of the `nominal_categories`, (b, n_categories)."""
        return parameters.new_empty(len(parameters), 0)

    @abstractmethod
    def sample(self, parameters, noise):
        """Draw data given parameters; ``noise`` maps a tensor to standard normal noise.

        A likelihood with ``copula_columns`` has a third parameter, ``correlated`` (b, n): noise
        that is correlated between columns of the data, to take in place of independent noise.
        """

    @property
    def copula_columns(self):
        """Columns of the data whose noise in `sample` may be correlated, LongTensor (n,).

        One for each column of noise, on the CPU; by default there is none.
        """
        return torch.empty(0, dtype=torch.long, device="cpu")

    def noise_limits(self, x, parameters):
        """Return what tells the limits of the noise by which `sample` would give raw data.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            NaN marks a missing cell, whose noise has no limits.
        parameters : Tensor of shape (b, n_outputs)
            Of the decoder.

        Returns
        -------
        callable
            Maps noise (b, n) for the ``copula_columns`` to its lower and its upper limits, given
            the other noise of the same column of the data: two tensors (b, n), float64.
        """
        raise NotImplementedError

    def __repr__(self):
        # Of the arguments alone: what was learned would fill pages.
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return f"{type(self).__name__}({arguments})"


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
            lambda value, _: f"likelihood={name!r} needs whole numbers; found {value:g}. {advice}",
        )
