"""Different likelihoods for different columns."""

import operator
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.base import Likelihood
from sk_hvae.nn.likelihoods.refusal import ColumnError, naming
from sk_hvae.nn.likelihoods.registry import LIKELIHOOD_SYNONYMS, LIKELIHOODS
from sk_hvae.nn.spelling import did_you_mean


class PerColumn(Likelihood):
    """Different likelihoods for different columns, independent given the decoder's output.

    Parameters
    ----------
    parts : sequence of (likelihood, columns)
        A likelihood, by name or as an object, which is left alone, and the numbers of its
        columns, an int or a sequence of int. Every column of the data belongs to exactly one
        part. Estimators also take names, slices, boolean masks and functions of X, see
        `HierarchicalVAETransformer`, and turn them into numbers.

    Notes
    -----
    The columns of the link are those of the first part, then those of the second, and so on.
    The parameters are the locations of all parts in this order, then the other parameters of
    all parts. Cells are scored, and means and samples returned, in the order of the data.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.likelihoods import PerColumn
    >>> x = torch.tensor([[7.0, 0.1, 2.0], [3.0, 0.3, 0.0]])
    >>> likelihood = PerColumn([("gaussian", 1), ("poisson", [0, 2])])
    >>> likelihood.adapt(DataSummary.of([x])).mean(torch.zeros(1, 3)).round(decimals=3)
    tensor([[5.0000, 0.2000, 1.0000]], dtype=torch.float64)
    """

    likelihoods: Any
    order: Tensor
    place: Tensor

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__()
        self.parts = parts

    def __repr__(self):
        parts = self.parts
        # What only an estimator can turn into numbers is shown as it is.
        with suppress(ValueError):
            parts = [(spec, _column_numbers(columns)) for spec, columns in parts]
        return f"{type(self).__name__}(parts={parts})"

    def coded_columns(self, n_features):
        return self._asked_for(Likelihood.coded_columns.__name__, n_features)

    def distributed_columns(self, n_features):
        return self._asked_for(Likelihood.distributed_columns.__name__, n_features)

    def _asked_for(self, question, n_features):
        """Return the columns that the parts name, in answer to a question to each."""
        found = []
        for spec, columns in self.parts:
            part = _column_numbers(columns)
            found += [part[i] for i in getattr(resolve(spec), question)(len(part))]
        return sorted(c for c in found if c in range(n_features))

    def learn(self, summary):
        columns = [_column_numbers(columns) for _, columns in self.parts]
        order = [column for part in columns for column in part]
        check_cover(order, len(summary.mean))
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("place", self.order.argsort(), persistent=False)
        self._sizes = [len(part) for part in columns]
        self.likelihoods = nn.ModuleList(resolve(spec) for spec, _ in self.parts)
        for likelihood, part in zip(self.likelihoods, columns, strict=True):
            with _naming(part):
                likelihood.adapt(summary.of_columns(torch.tensor(part)))

    def remember(self, summary):
        super().remember(summary)
        for likelihood, part in self._with_columns():
            likelihood.remember(summary.of_columns(part))

    def relearn(self, summary, columns):
        for likelihood, part in self._with_columns():
            likelihood.relearn(summary.of_columns(part), columns[part])
        super().remember(summary)

    def _with_columns(self):
        """Pair the likelihoods with the numbers of their columns, on the CPU."""
        return zip(self.likelihoods, self.order.cpu().split(self._sizes), strict=True)

    @property
    def spread(self):
        spread = torch.empty_like(self.summary.std)
        for likelihood, part in self._with_columns():
            spread[part] = likelihood.spread
        return spread

    @property
    def n_linked(self):
        return sum(self._n_linked())

    @property
    def n_outputs(self):
        return sum(likelihood.n_outputs for likelihood in self.likelihoods)

    @property
    def column_of_link(self):
        pairs = self._with_columns()
        return torch.cat([part[likelihood.column_of_link] for likelihood, part in pairs])

    def scales(self, std):
        order = self.order.cpu()
        parts = std[order].split(self._sizes)
        pairs = zip(self.likelihoods, parts, strict=True)
        return torch.cat([likelihood.scales(part) for likelihood, part in pairs])[order.argsort()]

    @property
    def nominal_categories(self):
        parts = []
        columns = self.order.cpu().split(self._sizes)
        for likelihood, part in zip(self.likelihoods, columns, strict=True):
            column, code = likelihood.nominal_categories.T
            parts.append(torch.stack((part[column.long()].double(), code), 1))
        return torch.cat(parts)

    @property
    def fits_each_batch(self):
        return any(likelihood.fits_each_batch for likelihood in self.likelihoods)

    def check(self, x):
        columns = self.order.to(x.device).split(self._sizes)
        for likelihood, part in zip(self.likelihoods, columns, strict=True):
            with _naming(part.tolist()):
                likelihood.check(x[:, part])

    def nearest(self, x):
        pairs = zip(self.likelihoods, self._split(x), strict=True)
        return self._join(likelihood.nearest(part) for likelihood, part in pairs)

    @property
    def limits(self):
        ends = torch.empty(2, len(self.summary.std), dtype=torch.float64)
        for likelihood, part in self._with_columns():
            ends[:, part] = torch.stack(likelihood.limits)
        return tuple(ends)

    def rounded(self, expected):
        pairs = zip(self.likelihoods, self._split(expected), strict=True)
        return self._join(likelihood.rounded(part) for likelihood, part in pairs)

    def link(self, x):
        pairs = zip(self.likelihoods, self._split(x), strict=True)
        return torch.cat([likelihood.link(part) for likelihood, part in pairs], 1)

    def fit_scale(self, x, parameters):
        for likelihood, part, of_part in self._aligned(x, parameters):
            likelihood.fit_scale(part, of_part)

    def prepared(self, x):
        pairs = zip(self.likelihoods, self._split(x), strict=True)
        return tuple(likelihood.prepared(part) for likelihood, part in pairs)

    def log_prob_of(self, prepared, parameters):
        triples = zip(self.likelihoods, prepared, self._split_parameters(parameters), strict=True)
        return self._join(
            likelihood.log_prob_of(part, of_part) for likelihood, part, of_part in triples
        )

    def log_prob(self, x, parameters):
        return self.log_prob_of(self.prepared(x), parameters)

    def offset(self, x):
        pairs = zip(self.likelihoods, self._split(x), strict=True)
        offsets = [likelihood.offset(part) for likelihood, part in pairs]
        if all(offset is None for offset in offsets):
            return None
        locations, extras = [], []
        for likelihood, offset in zip(self.likelihoods, offsets, strict=True):
            if offset is None:
                offset = torch.zeros(len(x), likelihood.n_outputs, device=x.device)
            locations.append(offset[:, : likelihood.n_linked])
            extras.append(offset[:, likelihood.n_linked :])
        return torch.cat(locations + extras, 1)

    def at_exposure(self, mean, x):
        triples = zip(self.likelihoods, self._split(mean), self._split(x), strict=True)
        return self._join(likelihood.at_exposure(part, of_x) for likelihood, part, of_x in triples)

    def mean(self, parameters):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return self._join(likelihood.mean(of_part) for likelihood, of_part in pairs)

    def mixed_mean(self, weights, parameters):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return self._join(likelihood.mixed_mean(weights, of_part) for likelihood, of_part in pairs)

    def expected_link(self, parameters):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return torch.cat([likelihood.expected_link(of_part) for likelihood, of_part in pairs], 1)

    def probabilities(self, parameters):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return torch.cat([likelihood.probabilities(of_part) for likelihood, of_part in pairs], 1)

    @property
    def copula_columns(self):
        pairs = self._with_columns()
        return torch.cat([part[likelihood.copula_columns] for likelihood, part in pairs])

    def noise_limits(self, x, parameters):
        sizes = self._n_correlated()
        parts = [
            likelihood.noise_limits(part, of_part)
            for likelihood, part, of_part in self._aligned(x, parameters)
            if len(likelihood.copula_columns)
        ]

        def limits(noise):
            pieces = noise.split([size for size in sizes if size], 1)
            pairs = [of_part(piece) for of_part, piece in zip(parts, pieces, strict=True)]
            low, high = (torch.cat(limit, 1) for limit in zip(*pairs, strict=True))
            return low, high

        return limits

    def sample(self, parameters, noise, correlated=None):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        if correlated is None:
            return self._join(likelihood.sample(of_part, noise) for likelihood, of_part in pairs)
        pieces = correlated.split(self._n_correlated(), 1)
        return self._join(
            likelihood.sample(of_part, noise, *([piece] if piece.shape[1] else []))
            for (likelihood, of_part), piece in zip(pairs, pieces, strict=True)
        )

    def _n_correlated(self):
        return [len(likelihood.copula_columns) for likelihood in self.likelihoods]

    def _n_linked(self):
        return [likelihood.n_linked for likelihood in self.likelihoods]

    def _split(self, x):
        return x.index_select(1, self.order).split(self._sizes, 1)

    def _split_parameters(self, parameters):
        n_linked = self._n_linked()
        n_extra = [part.n_outputs - part.n_linked for part in self.likelihoods]
        locations, extras = parameters.split([sum(n_linked), sum(n_extra)], 1)
        pairs = zip(locations.split(n_linked, 1), extras.split(n_extra, 1), strict=True)
        return [torch.cat(pair, 1) for pair in pairs]

    def _aligned(self, x, parameters):
        return zip(
            self.likelihoods, self._split(x), self._split_parameters(parameters), strict=True
        )

    def _join(self, parts):
        return torch.cat(list(parts), 1).index_select(1, self.place)


def resolve(spec):
    """Make a new likelihood that knows no data yet.

    Parameters
    ----------
    spec : str, Likelihood or list of (spec, columns)
        A name, an object, which is left alone, or the parts of a `PerColumn`.

    Returns
    -------
    Likelihood

    Raises
    ------
    ValueError
        If there is no such likelihood.

    Examples
    --------
    >>> from sk_hvae.nn.likelihoods import resolve
    >>> resolve([("bernoulli", 0), ("gaussian", [1, 2])])
    PerColumn(parts=[('bernoulli', [0]), ('gaussian', [1, 2])])
    """
    if isinstance(spec, Likelihood):
        return type(spec)(**spec.config)
    if isinstance(spec, list | tuple):
        return PerColumn(spec)
    if isinstance(spec, str) and spec in LIKELIHOODS:
        return LIKELIHOODS[spec]()
    known = ", ".join(map(repr, sorted(LIKELIHOODS)))
    raise ValueError(
        f"there is no likelihood {spec!r}; pass one of {known}, a Likelihood object, or a list of "
        "(likelihood, columns)." + did_you_mean(spec, LIKELIHOODS, LIKELIHOOD_SYNONYMS)
    )


def check_cover(order, n_features, names=None):
    """Raise ValueError unless every column belongs to exactly one part.

    Parameters
    ----------
    order : sequence of int
        The columns of all parts, one part after the other.
    n_features : int
        Number of columns of the data.
    names : sequence of str or None
        Names of the columns, for the message.
    """
    columns, count = range(n_features), Counter(order)
    shown = columns if names is None else names
    problems = {
        "none": [shown[column] for column in columns if column not in count],
        "several": [shown[column] for column in columns if count[column] > 1],
        "one but are not in X": sorted(column for column in count if column not in columns),
    }
    found = [f"columns {found} have {what}" for what, found in problems.items() if found]
    if found:
        raise ValueError(
            f"every column of X needs one likelihood; {'; '.join(found)}. X has {n_features} "
            "columns, numbered from 0."
        )


def _column_numbers(columns):
    try:
        given = list(columns)
    except TypeError:
        given = [columns]
    try:
        numbers = [_index(number) for number in given]
    except TypeError:
        numbers = []
    if not numbers:
        raise ValueError(
            "the columns of a part must be an int or a sequence of int that is not empty; got "
            f"{columns!r}."
        )
    return numbers


def _index(number):
    """Return an int; truth values are none, though Python takes them for 0 and 1."""
    if isinstance(number, bool) or str(getattr(number, "dtype", "")).endswith("bool"):
        raise TypeError
    return operator.index(number)


@contextmanager
def _naming(columns):
    """Name the column that an error is about, or those of the part if it is about no single one."""
    try:
        with naming(columns):
            yield
    except ColumnError:
        raise
    except ValueError as error:
        raise ValueError(f"columns {columns} of X: {error}") from error
