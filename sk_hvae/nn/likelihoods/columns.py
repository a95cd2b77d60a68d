"""Different likelihoods for different columns."""

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.base import Likelihood
from sk_hvae.nn.likelihoods.refusal import ColumnError, naming
from sk_hvae.nn.likelihoods.registry import LIKELIHOODS


class PerColumn(Likelihood):
    """Different likelihoods for different columns, independent given the decoder's output.

    Parameters
    ----------
    parts : sequence of (likelihood, columns)
        A likelihood, by name or as an object, which is left alone, and the numbers of its
        columns, an int or a sequence of int. Every column of the data belongs to exactly one
        part.

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

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__()
        self.parts = parts

    def __repr__(self):
        parts = [(spec, _column_numbers(columns)) for spec, columns in self.parts]
        return f"{type(self).__name__}(parts={parts})"

    def coded_columns(self, n_features):
        coded = []
        for spec, columns in self.parts:
            part = _column_numbers(columns)
            coded += [part[i] for i in resolve(spec).coded_columns(len(part))]
        return sorted(c for c in coded if c in range(n_features))

    def learn(self, summary):
        columns = [_column_numbers(columns) for _, columns in self.parts]
        order = [column for part in columns for column in part]
        _check_cover(order, len(summary.mean))
        self.register_buffer("order", torch.tensor(order))
        self._sizes = [len(part) for part in columns]
        self.likelihoods = nn.ModuleList(resolve(spec) for spec, _ in self.parts)
        for likelihood, part in zip(self.likelihoods, columns, strict=True):
            with _naming(part):
                likelihood.adapt(summary.of_columns(torch.tensor(part)))

    @property
    def n_linked(self):
        return sum(self._n_linked())

    @property
    def n_outputs(self):
        return sum(likelihood.n_outputs for likelihood in self.likelihoods)

    @property
    def column_of_link(self):
        columns = self.order.cpu().split(self._sizes)
        pairs = zip(self.likelihoods, columns, strict=True)
        return torch.cat([part[likelihood.column_of_link] for likelihood, part in pairs])

    @property
    def fits_each_batch(self):
        return any(likelihood.fits_each_batch for likelihood in self.likelihoods)

    def check(self, x):
        columns = self.order.to(x.device).split(self._sizes)
        for likelihood, part in zip(self.likelihoods, columns, strict=True):
            with _naming(part.tolist()):
                likelihood.check(x[:, part])

    def link(self, x):
        pairs = zip(self.likelihoods, self._split(x), strict=True)
        return torch.cat([likelihood.link(part) for likelihood, part in pairs], 1)

    def fit_scale(self, x, parameters):
        for likelihood, part, of_part in self._aligned(x, parameters):
            likelihood.fit_scale(part, of_part)

    def log_prob(self, x, parameters):
        return self._join(
            likelihood.log_prob(part, of_part)
            for likelihood, part, of_part in self._aligned(x, parameters)
        )

    def mean(self, parameters):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return self._join(likelihood.mean(of_part) for likelihood, of_part in pairs)

    def sample(self, parameters, noise):
        pairs = zip(self.likelihoods, self._split_parameters(parameters), strict=True)
        return self._join(likelihood.sample(of_part, noise) for likelihood, of_part in pairs)

    def _n_linked(self):
        return [likelihood.n_linked for likelihood in self.likelihoods]

    def _split(self, x):
        return x[:, self.order].split(self._sizes, 1)

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
        return torch.cat(list(parts), 1)[:, self.order.argsort()]


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
    raise ValueError(
        f"there is no likelihood {spec!r}; pass one of {', '.join(map(repr, LIKELIHOODS))}, a "
        "Likelihood object, or a list of (likelihood, columns)."
    )


def _column_numbers(columns):
    try:
        return [operator.index(columns)]
    except TypeError:
        numbers = list(columns) if isinstance(columns, Iterable) else []
    if not numbers or not all(hasattr(number, "__index__") for number in numbers):
        raise ValueError(
            "the columns of a part must be an int or a sequence of int that is not empty; got "
            f"{columns!r}."
        )
    return [operator.index(number) for number in numbers]


def _check_cover(order, n_features):
    columns, count = range(n_features), Counter(order)
    problems = {
        "none": [column for column in columns if column not in count],
        "several": [column for column in columns if count[column] > 1],
        "one but are not in X": sorted(column for column in count if column not in columns),
    }
    found = [f"columns {found} have {what}" for what, found in problems.items() if found]
    if found:
        raise ValueError(
            f"every column of X needs one likelihood; {'; '.join(found)}. X has {n_features} "
            "columns, numbered from 0."
        )


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
