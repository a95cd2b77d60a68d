"""Run a model over rows in chunks, and measure its distortion and rates."""

import math
from typing import NamedTuple

import numpy as np
import torch

from sk_hvae._data import chunks, to_device
from sk_hvae.nn.noise import RowNoise

_LN2 = math.log(2)
_N_DRAWS = 4


class Measurement(NamedTuple):
    """Distortion (n,) and rates (n, n_layers) of rows, in bits, float64 arrays."""

    distortion: np.ndarray
    rates: np.ndarray

    @property
    def lower_bound(self):
        """Lower bound on ln p(x) per row, nats, (n,)."""
        return -_LN2 * (self.distortion + self.rates.sum(1))


def place(module, device):
    """Move a module to a device, in float32 where that is MPS, which has no float64.

    Convolutions are laid out channels last, which is the faster format on CPUs and GPUs.
    """
    device = torch.device(device)
    module = module.float() if device.type == "mps" else module
    return module.to(device, memory_format=torch.channels_last)


def module_device(module):
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


def map_rows(module, rows, function, width):
    """Apply a function to chunks of rows on the module's device.

    Parameters
    ----------
    module : torch.nn.Module
        Says which device.
    rows : Tensor of shape (n, n_features)
        On any device.
    function : callable
        Maps a chunk (b, n_features) to a tensor (b, width).
    width : int
        Number of columns of the result.

    Returns
    -------
    ndarray of shape (n, width), float32
    """
    device = module_device(module)
    result = np.empty((len(rows), width), np.float32)
    first = 0
    with torch.inference_mode():
        for chunk in chunks(rows):
            part = function(to_device(chunk, device)).cpu().numpy()
            result[first : first + len(part)] = part
            first += len(part)
    return result


def measure(module, rows, n_draws=_N_DRAWS):
    """Measure distortion and rates of rows with noise derived from each row.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    rows : Tensor of shape (n, n_features)
        Raw data, on any device.
    n_draws : int, default=4
        Number of draws of the latents.

    Returns
    -------
    Measurement
        Means over the draws.
    """

    def mean_terms(x):
        inputs = module.inputs(x)
        features = module.encoder(inputs)
        draws = [module.measure(x, features, RowNoise(inputs, n)) for n in range(n_draws)]
        terms = [torch.cat((draw.distortion[:, None], draw.rates), 1) for draw in draws]
        return torch.stack(terms).mean(0) / _LN2

    bits = map_rows(module, rows, mean_terms, 1 + len(module.layers)).astype(np.float64)
    return Measurement(bits[:, 0], bits[:, 1:])
