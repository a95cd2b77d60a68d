"""Run a model over rows in chunks, and measure its distortion and rates."""

from typing import NamedTuple

import numpy as np
import torch

from sk_hvae._data.devices import module_device
from sk_hvae._data.memmap import MappedPages
from sk_hvae._data.rows import to_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae.nn.even_rows import EVEN_ROWS
from sk_hvae.nn.units import LN2

# Draws of the latents per row: the noise of a row's value halves with four times as many, which
# take four times as long. The documentation of `rates` and its like states the number.
_N_DRAWS = 4


class Measurement(NamedTuple):
    """Distortion (n,) and rates (n, n_layers) of rows, in bits, float64 arrays."""

    distortion: np.ndarray
    rates: np.ndarray

    @property
    def lower_bound(self):
        """Lower bound on ln p(x) per row, nats, (n,)."""
        return -LN2 * (self.distortion + self.rates.sum(1))


def map_rows(module, rows, function, width, out=None):
    """Apply a function to chunks of rows on the module's device; a row's result is its own.

    Parameters
    ----------
    module : torch.nn.Module
        Says which device.
    rows : Rows
        On any device.
    function : callable
        Maps a chunk (b, n_features) to a tensor (b, width).
    width : int
        Number of columns of the result.
    out : ndarray of shape (n, width), default=None
        Where to write the result, in its dtype; None makes an array, float32.

    Returns
    -------
    ndarray of shape (n, width)
    """
    device = module_device(module)
    result = np.empty((len(rows), width), np.float32) if out is None else out
    pages = MappedPages(result)
    first = 0
    with FixedThreads(), torch.inference_mode():
        for chunk in rows.chunks():
            part = function(_evened(to_device(chunk, device)))[: len(chunk)]
            result[first : first + len(part)] = part.cpu().numpy()
            first += len(part)
            pages.forget()
    return result


def _evened(rows):
    """Repeat the last row up to a multiple of 32 rows.

    Matrix products round in one way for these, and in others for what is left over: a row's
    result would depend on how many rows come with it, in the last digits.
    """
    n_more = -len(rows) % EVEN_ROWS
    return torch.cat((rows, rows[-1:].expand(n_more, -1))) if n_more else rows


def measure(module, rows):
    """Measure distortion and rates of rows with noise derived from each row.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    rows : Rows
        Raw data, on any device.

    Returns
    -------
    Measurement
        Means over 4 draws of the latents.
    """

    def mean_terms(x):
        activations, cells = module.activations(x), module.cells(x)
        draws = [
            module.forward_from(x, activations, module.row_noise(x, n), cells)
            for n in range(_N_DRAWS)
        ]
        terms = [torch.cat((draw.distortion[:, None], draw.rates), 1) for draw in draws]
        return torch.stack(terms).mean(0) / LN2

    bits = map_rows(module, rows, mean_terms, 1 + len(module.layers)).astype(np.float64)
    return Measurement(bits[:, 0], bits[:, 1:])
