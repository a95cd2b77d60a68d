"""How the values of single columns are distributed, collected from chunks of data."""

from typing import NamedTuple

import torch
from torch import Tensor

from sk_hvae.nn.likelihoods.grids import GridSearch
from sk_hvae.nn.likelihoods.pixels import EvenSample

# Rows to take quantiles of: those near the median are then known to a hundredth of a standard
# deviation. At most 64 MB of float64.
_MOST_ROWS, _MOST_ELEMENTS = 10_000, 2**23


class Marginals(NamedTuple):
    """What is known of the distribution of some columns.

    Attributes
    ----------
    columns : Tensor of shape (n_columns,), int64
        Numbers of the columns.
    values : Tensor of shape (m, n_columns), float64
        At most 10,000 of the rows, at even distances; NaN marks a missing cell.
    steps : Tensor of shape (2, n_columns), float64
        Of the grid on which all values lie, such as whole numbers or cents: the distance of
        its points as a whole number of units, and the number of units in 1, a power of 10.
        The distance is 0 where there is no grid.
    """

    columns: Tensor
    values: Tensor
    steps: Tensor

    def of_columns(self, columns):
        """Restrict to some columns (a LongTensor of their numbers), which get new numbers."""
        hits = columns[:, None] == self.columns
        new, old = hits.nonzero(as_tuple=True)
        return Marginals(new, self.values[:, old], self.steps[:, old])


class MarginalCollector:
    """Collects the marginals of some columns from all chunks of the data.

    Parameters
    ----------
    columns : sequence of int, default=None
        Numbers of the columns; None for all.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.marginals import MarginalCollector
    >>> collector = MarginalCollector([1])
    >>> collector.add(torch.tensor([[7.0, 0.5], [8.0, 2.0]], dtype=torch.float64))
    >>> collector.marginals.values
    tensor([[0.5000],
            [2.0000]], dtype=torch.float64)
    """

    def __init__(self, columns=None):
        self._columns = columns if columns is None else list(columns)
        self._sample = EvenSample(_MOST_ROWS, _MOST_ELEMENTS)
        self._grids = None

    def add(self, chunk):
        """Take the next rows of the data (m, n_features), float64 on the CPU."""
        if self._columns is None:
            self._columns = list(range(chunk.shape[1]))
        if not self._columns:
            return
        if self._grids is None:
            self._grids = GridSearch(len(self._columns))
        part = chunk[:, self._columns]
        self._sample.add(part)
        self._grids.add(part)

    @property
    def marginals(self):
        """The marginals of all rows so far; None if no columns were asked for."""
        if self._grids is None:
            return None
        columns = torch.tensor(self._columns, device="cpu")
        return Marginals(columns, self._sample.rows, self._grids.steps)
