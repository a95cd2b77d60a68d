"""Batches of rows, in an order that suits memory and files."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

_SHUFFLED_ELEMENTS = 2**26
_BLOCK_ELEMENTS = 2**18


class Share(NamedTuple):
    """Which part of every batch one of several processes works on.

    Attributes
    ----------
    number, n_shares : int
        This process, from 0, and how many there are.
    """

    number: int = 0
    n_shares: int = 1

    def of(self, rows):
        """Cut this process's part from a batch; all are equal, so that rows may be left over."""
        n_rows = len(rows) // self.n_shares
        return rows[self.number * n_rows :][:n_rows]


_WHOLE = Share()


@dataclass(frozen=True)
class GuidedBatch:
    """Rows of data, and the shares that states should have for them.

    Attributes
    ----------
    x : Tensor of shape (b, n_features)
        Raw data.
    state_shares : Tensor of shape (b, n_states)
        Shares of the states among a row's neighbours; zeros if its neighbours are not known.
    """

    x: Tensor
    state_shares: Tensor

    def __len__(self):
        return len(self.x)

    @property
    def device(self):
        """Where the rows are."""
        return self.x.device


class Selection(Dataset):
    """The rows to train on, or those of them with the given numbers, which are not copied.

    Parameters
    ----------
    rows : Rows
        All there are.
    index : LongTensor, default=None
        Numbers of the selected rows, in order; None selects all.
    """

    def __init__(self, rows, index=None):
        self.rows = rows
        self.index = torch.arange(len(rows), device=rows.device) if index is None else index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        return self.rows.take(self.index[i].view(1))[0]

    def batches(self, parts):
        """Give out batches, by LongTensors of row numbers."""
        return self.rows.batches(parts)


class GuidedSelection(Selection):
    """All rows, with `GuidedBatch.state_shares`, (n, n_states), on the same device."""

    def __init__(self, rows, state_shares):
        super().__init__(rows)
        self.state_shares = state_shares

    def batches(self, parts):
        for part, x in zip(parts, super().batches(parts), strict=True):
            yield GuidedBatch(x, self.state_shares.index_select(0, part))


class RowBatches:
    """Cut batches from rows by indexing: no worker process, no call per row.

    The rows are split evenly over the batches, so that none is nearly empty.

    Parameters
    ----------
    dataset : Selection
        The data.
    batch_size : int
        Largest number of rows of a batch.
    generator : torch.Generator, default=None
        Shuffles the rows anew for each pass, see `shuffled`; None keeps their order.
    share : Share, default=the only process
        Which part of every batch this process gets.
    """

    def __init__(self, dataset, batch_size, generator=None, share=_WHOLE):
        self.dataset = dataset
        self.n_batches = n_batches(len(dataset), batch_size)
        self.generator = generator
        self.share = share

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        return self.begin()

    def begin(self, first=0):
        """Draw the order of a pass; returns its batches from number ``first`` on."""
        index = self.dataset.index
        if self.generator is not None:
            order = shuffled(len(index), self.dataset.rows.shape[1], self.generator)
            index = index[order.to(index.device)]
        parts = index.tensor_split(self.n_batches)[first:]
        return iter(self.dataset.batches([self.share.of(part) for part in parts]))


def shuffled(n_rows, n_features, generator):
    """Draw an order of rows in which they can also be read from a file.

    Up to 2**26 numbers, every order is as likely. Larger data are dealt in blocks of 2**18
    numbers, in random order, and each 2**26 numbers of the result are shuffled: a batch draws
    from 256 places in the file, which is read in pieces of a megabyte.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the data; the same order comes out wherever these are kept.
    generator : torch.Generator
        Its device is that of the result.

    Returns
    -------
    LongTensor of shape (n_rows,)
    """

    def order(n):
        return torch.randperm(n, generator=generator, device=generator.device)

    if n_rows * n_features <= _SHUFFLED_ELEMENTS:
        return order(n_rows)
    block = max(1, _BLOCK_ELEMENTS // n_features)
    starts = order(math.ceil(n_rows / block)) * block
    rows = (starts[:, None] + torch.arange(block, device=starts.device)).flatten()
    parts = rows[rows < n_rows].split(max(1, _SHUFFLED_ELEMENTS // n_features))
    return torch.cat([part[order(len(part))] for part in parts])


def n_batches(n_rows, batch_size):
    """Return the number of batches of one pass over ``n_rows`` rows."""
    return max(1, math.ceil(n_rows / batch_size))
