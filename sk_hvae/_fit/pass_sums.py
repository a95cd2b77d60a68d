"""Sums over the batches of a pass, on the device."""

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

    def __init__(self, n_layers, device):
        self.n_batches = 0
        self._sums = torch.zeros(2 + n_layers, device=device)
        self._broken = torch.zeros_like(self._sums)

    def add(self, terms, n_rows):
        """Add the `LossTerms` of a batch."""
        one = torch.ones_like(self._sums[:1])
        row = torch.cat((one, terms.distortion.view(1), terms.rates)).detach() * n_rows
        finite = row.isfinite().all()
        self._sums = torch.where(finite, self._sums + row, self._sums)
        self._broken = torch.where(finite, self._broken, row)
        self.n_batches += 1

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
        sums = total(self._sums)
        n_rows, *means = torch.cat((sums[:1], sums[1:] / sums[0])).tolist()
        return means if n_rows else [], total(self._broken).tolist()[1:]
