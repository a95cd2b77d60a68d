"""Some of the rows, as if there were no others."""

import torch

from sk_hvae._data.rows import Rows, chunk_rows


class SelectedRows(Rows):
    """Rows with given numbers, which are read where they are, and not copied.

    Parameters
    ----------
    rows : Rows
        All there are.
    index : LongTensor of shape (n,)
        Numbers of the selected rows, in the order in which they are given out.
    """

    def __init__(self, rows, index):
        super().__init__((len(index), rows.shape[1]), rows.device, rows.dtype)
        self.are_fixed = rows.are_fixed
        self._rows = rows
        self._index = index

    def on(self, device):
        return SelectedRows(self._rows.on(device), self._index)

    def check(self, function):
        self._rows.check(function)

    def chunks(self):
        return self.batches(torch.arange(len(self)).split(chunk_rows(self.shape)))

    def every(self, step):
        return self.take(torch.arange(0, len(self), step))

    def take(self, index):
        return self._rows.take(self._numbers(index))

    def batches(self, parts):
        return self._rows.batches([self._numbers(part) for part in parts])

    def _numbers(self, index):
        return self._index[index.to(self._index.device)]
