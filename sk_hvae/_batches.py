"""Batches of rows, cut from a resident tensor."""

import math

import torch
from torch.utils.data import Dataset


class Rows(Dataset):
    """Rows of a resident tensor, or those with the given indices, which are not copied."""

    def __init__(self, rows, index=None):
        self.rows = rows
        self.index = torch.arange(len(rows), device=rows.device) if index is None else index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        return self.rows[self.index[i]]


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
        rows, index = self.dataset.rows, self.dataset.index
        if self.generator is not None:
            order = torch.randperm(len(index), generator=self.generator, device=index.device)
            index = index[order]
        for part in index.tensor_split(self.n_batches):
            yield rows.index_select(0, part)


def n_batches(n_rows, batch_size):
    """Return the number of batches of one pass over ``n_rows`` rows."""
    return max(1, math.ceil(n_rows / batch_size))
