"""Batches of rows, cut from a resident tensor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True)
class GuidedBatch:
    """Rows of data, and where their states should go.

    Attributes
    ----------
    x : Tensor of shape (b, n_features)
        Raw data.
    targets : Tensor of shape (b, n_states)
        Shares of the states among a row's neighbours; zeros if its neighbours are not known.
    """

    x: Tensor
    targets: Tensor

    def __len__(self):
        return len(self.x)

    @property
    def device(self):
        """Where the rows are."""
        return self.x.device


class Rows(Dataset):
    """Rows of a resident tensor, or those with the given indices, which are not copied."""

    def __init__(self, rows, index=None):
        self.rows = rows
        self.index = torch.arange(len(rows), device=rows.device) if index is None else index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        return self.rows[self.index[i]]

    def take(self, index):
        """Copy the rows with the given indices into a batch."""
        return self.rows.index_select(0, index)


class GuidedRows(Rows):
    """Rows with `GuidedBatch.targets`, (n, n_states), on the same device."""

    def __init__(self, rows, targets):
        super().__init__(rows)
        self.targets = targets

    def take(self, index):
        return GuidedBatch(super().take(index), self.targets.index_select(0, index))


class RowBatches:
    """Cut batches from a resident tensor by indexing: no worker, no per-row call.

    The rows are split evenly over the batches, so that none is nearly empty.

    Parameters
    ----------
    dataset : Rows
        The data.
    batch_size : int
        Largest number of rows of a batch.
    generator : torch.Generator, default=None
        Shuffles the rows anew for each pass; None keeps their order.
    """

    def __init__(self, dataset, batch_size, generator=None):
        self.dataset = dataset
        self.n_batches = n_batches(len(dataset), batch_size)
        self.generator = generator

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        index = self.dataset.index
        if self.generator is not None:
            order = torch.randperm(len(index), generator=self.generator, device=index.device)
            index = index[order]
        for part in index.tensor_split(self.n_batches):
            yield self.dataset.take(part)


def n_batches(n_rows, batch_size):
    """Return the number of batches of one pass over ``n_rows`` rows."""
    return max(1, math.ceil(n_rows / batch_size))
