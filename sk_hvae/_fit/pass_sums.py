"""Sums over the batches of a pass: plain numbers on the CPU, and tensors on other devices."""

import math
from typing import Any

import torch

from sk_hvae._fit.checkpoint import Checkpointed


class PassSums(Checkpointed):
    """Sums of distortion and rates over the rows of a pass.

    Batches whose terms are not finite are left out; the last of them is kept.

    Parameters
    ----------
    n_layers : int
        Number of layers.
    device : torch.device
        Where the terms are.
    """

    CHECKPOINTED = ("n_batches", "_sums", "_broken")

    _sums: Any
    _broken: Any

    def __init__(self, n_layers, device):
        self.n_batches = 0
        self._device = device
        self._sums, self._broken = ([0.0] * (2 + n_layers) for _ in range(2))
        if device.type != "cpu":
            self._sums, self._broken = torch.zeros(2, 2 + n_layers, device=device)

    def add(self, terms, n_rows):
        """Add the `LossTerms` of a batch."""
        self.n_batches += 1
        means = torch.cat((terms.distortion.view(1), terms.rates)).detach()
        if self._device.type == "cpu":
            self._add_numbers([n_rows * mean for mean in (1, *means.tolist())])
        else:
            self._add_on_device(n_rows * torch.cat((torch.ones_like(means[:1]), means)))

    def _add_numbers(self, row):
        if all(map(math.isfinite, row)):
            self._sums = [total + more for total, more in zip(self._sums, row, strict=True)]
        else:
            self._broken = row

    def _add_on_device(self, row):
        finite = row.isfinite().all()
        self._sums = torch.where(finite, self._sums + row, self._sums)
        self._broken = torch.where(finite, self._broken, row)

    def read(self, total):
        """Read the pass from the device.

        Parameters
        ----------
        total : callable
            Maps a tensor to its sum over all processes.

        Returns
        -------
        tuple of (list of float, list of float)
            Means of distortion and rates, empty if all batches were broken; and the terms of the
            last broken batch, zeros if none was.
        """
        sums, broken = (
            total(torch.as_tensor(numbers, dtype=torch.float32, device=self._device)).tolist()
            for numbers in (self._sums, self._broken)
        )
        n_rows, *rest = sums
        return [number / n_rows for number in rest] if n_rows else [], broken[1:]
