"""What the likelihood reads of raw data: computed once for several passes over the same rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """Cells of a batch, prepared for their log-probabilities.

    Attributes
    ----------
    prepared : tuple
        What ``Likelihood.prepared`` gives: tensors with a row for each row of data, or tuples of
        them.
    ignored : Tensor of shape (b, n_features) or None
        Whether a cell does not count, because it is missing or its column was constant in
        training; None if all count.
    offset : Tensor of shape (b, n_outputs) or None
        What ``Likelihood.offset`` gives.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.cells import Cells
    >>> cells = Cells((torch.arange(6.0).view(3, 2),), None, None)
    >>> cells[1:].prepared
    (tensor([[2., 3.],
            [4., 5.]]),)
    """

    prepared: tuple[Any, ...]
    ignored: Tensor | None
    offset: Tensor | None

    @classmethod
    def joined(cls, parts):
        """Return the cells of several batches, one after the other."""
        columns = zip(*(part.tensors() for part in parts), strict=True)
        whole = iter([torch.cat(column) for column in columns])
        return parts[0].map(lambda _: next(whole))

    def __getitem__(self, rows):
        """Return the cells of a slice of rows."""
        return self.map(lambda tensor: tensor[rows])

    def index_select(self, dim, index):
        """Return the cells of some rows, as ``Tensor.index_select`` does; ``dim`` is 0."""
        return self.map(lambda tensor: tensor.index_select(dim, index))

    def map(self, function):
        """Apply a function to all tensors."""
        return Cells(*_mapped((self.prepared, self.ignored, self.offset), function))

    def tensors(self):
        """List all tensors."""
        found: list[Tensor] = []
        self.map(found.append)
        return found


def _mapped(value, function):
    if isinstance(value, tuple):
        return tuple(_mapped(part, function) for part in value)
    return None if value is None else function(value)
