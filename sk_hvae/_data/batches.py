"""Batches of rows, in an order that suits memory and files."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

# A batch mixes rows from 2**26 / 2**18 = 256 places of a large file. Shuffling more numbers at a
# time mixes better, but then more of the file must stay in the system's cache: these are 256 MB of
# float32. Larger blocks read faster, in longer pieces, and mix less. larger_than_memory.py in
# examples/benchmarks times a fit from a file.
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
        """Cut this process's part from a batch.

        All processes get equally many rows, so that a few may be left over.
        """
        n_rows = len(rows) // self.n_shares
        return rows[self.number * n_rows :][:n_rows]


_WHOLE = Share()


@dataclass(frozen=True)
class Batch:
    """Rows of data, and what else the model is given of them.

    Attributes
    ----------
    x : Tensor of shape (b, n_features)
        Raw data.
    beside : dict of str to Tensor of shape (b, ...), or Cells
        More arguments of the model, by name.
    """

    x: Tensor
    beside: dict[str, Any]

    def __len__(self):
        return len(self.x)

    @property
    def device(self):
        """Where the rows are."""
        return self.x.device


class TrainingRows(Dataset):
    """Rows as a torch Dataset, which is what skorch trains on; their batches are `Batch`.

    Parameters
    ----------
    rows : Rows
        All of them are trained on.
    **beside : Tensor of shape (n_rows, ...), or Cells
        What the model is given of each row besides the raw data, on the device of the rows.
    """

    def __init__(self, rows, **beside):
        self.rows = rows
        self._beside = beside

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows.take(torch.tensor([i]))[0]

    def batches(self, parts):
        """Yield batches, given a sequence of LongTensors of row numbers."""
        for part, x in zip(parts, self.rows.batches(parts), strict=True):
            # An index in brackets takes four times as long.
            beside = {name: rows.index_select(0, part) for name, rows in self._beside.items()}
            yield Batch(x, beside)


class RowBatches:
    """Cut batches from rows by indexing, without worker processes and without a call per row.

    The rows are split evenly over the batches, so that no batch is nearly empty.

    Parameters
    ----------
    dataset : TrainingRows
        The data.
    batch_size : int
        Largest number of rows of a batch.
    generator : torch.Generator, default=None
        Shuffles the rows anew for each pass, see `shuffled`; None keeps their order.
    share : Share, default=the only process
        Which part of every batch this process gets, if several train together.
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
        """Draw the order of a pass, and return its batches from number ``first`` on."""
        rows = self.dataset.rows
        order = torch.arange(len(rows))
        if self.generator is not None:
            order = shuffled(len(rows), rows.shape[1], self.generator)
        parts = order.to(rows.device).tensor_split(self.n_batches)[first:]
        return iter(self.dataset.batches([self.share.of(part) for part in parts]))


def shuffled(n_rows, n_features, generator):
    """Draw a random order of rows that is also fit for reading them from a file.

    Up to 2**26 numbers, all orders are equally likely. Larger data are cut into blocks of 2**18
    numbers, the blocks are put into a random order, and then every 2**26 numbers are shuffled
    among themselves. So a batch has rows from 256 places in the file, which is nevertheless read
    in pieces of a megabyte.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the data. The order depends on the shape and the generator alone, not on where
        the rows are kept.
    generator : torch.Generator
        Draws the order, on its own device.

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
