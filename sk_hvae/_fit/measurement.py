"""Run a model over rows in chunks, and measure its distortion and rates."""

from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from sk_hvae._data.devices import module_device
from sk_hvae._data.memmap import MappedPages
from sk_hvae._data.rows import to_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae.nn.even_rows import EVEN_ROWS, even_rows
from sk_hvae.nn.hierarchy import map_activations
from sk_hvae.nn.units import LN2

# Draws of the latents per row: the noise of a row's value halves with four times as many, which
# take four times as long. The documentation of `rates` and its like states the number.
_N_DRAWS = 4
# States of a categorical layer that a row takes less probably make so little of a mean that one
# draw is enough for them. Of the ten states of images, some two are more probable.
_UNLIKELY = 0.01
# Rows for which networks work at once, or pairs of a row and a state that is enumerated, most of
# which are drawn once. What layers put out for so many stays in the cache: with 32 times as many, a
# measurement takes 1.2 to 1.8 times as long.
_ROWS_AT_ONCE, _PAIRS_AT_ONCE = 2**10, 2**12


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
    module : HierarchicalVAE
        Says which device, and how many rows at once.
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
    device, top = module_device(module), module.layers[-1]
    n_at_once = _PAIRS_AT_ONCE // top.n_units if top.enumerates else _ROWS_AT_ONCE
    n_at_once = max(EVEN_ROWS, n_at_once)
    result = np.empty((len(rows), width), np.float32) if out is None else out
    pages = MappedPages(result)
    first = 0
    with FixedThreads(), torch.inference_mode():
        for some in chain.from_iterable(chunk.split(n_at_once) for chunk in rows.chunks()):
            part = function(even_rows(to_device(some, device)))[: len(some)]
            result[first : first + len(part)] = part.cpu().numpy()
            first += len(part)
            pages.forget()
    return result


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
        Means over 4 draws of the latents, and over all states of a categorical layer.
    """
    mean_terms = _over_states if module.layers[-1].enumerates else _over_draws
    width = 1 + len(module.layers)
    bits = map_rows(module, rows, lambda x: mean_terms(module, x) / LN2, width).astype(np.float64)
    return Measurement(bits[:, 0], bits[:, 1:])


def _over_draws(module, x):
    """Return distortion and rates of rows, (b, 1 + n_layers), in nats."""
    activations, cells, noise = module.activations(x), module.cells(x), module.row_noise(x)
    draws = [module.forward_from(x, activations, noise.draw(n), cells) for n in range(_N_DRAWS)]
    return torch.stack([_terms(draw) for draw in draws]).mean(0)


def _over_states(module, x):
    """Return the same for a model with states, of which those that are unlikely are drawn once."""
    activations, cells, noise = module.activations(x), module.cells(x), module.row_noise(x)
    q = module.layers[-1].posterior(activations, None)
    states = torch.eye(q.mean.shape[1], device=x.device)
    n_draws = torch.where(q.mean < _UNLIKELY, 1, _N_DRAWS)
    sums = torch.zeros(n_draws.numel(), 1 + len(module.layers), device=x.device)
    for n in range(_N_DRAWS):
        pairs = (n_draws.flatten() > n).nonzero()[:, 0]
        row, state = even_rows(pairs // len(states)), even_rows(pairs % len(states))
        found = module.forward_from(
            x.index_select(0, row),
            map_activations(partial(torch.index_select, dim=0, index=row), activations),
            partial(_of_rows, noise=noise.draw(n), n_rows=len(x), row=row),
            cells.index_select(0, row),
            top=states[state],
        )
        sums[pairs] += _terms(found)[: len(pairs)]
    means = sums.unflatten(0, n_draws.shape) / n_draws[:, :, None]
    total = (means * q.mean[:, :, None]).sum(1)
    total[:, -1] = q.kl()
    return total


def _of_rows(like, noise, n_rows, row):
    """Give each pair of a row and a state the noise of its row."""
    return noise(like[:1].expand(n_rows, -1))[row]


def _terms(output):
    return torch.cat((output.distortion[:, None], output.rates), 1)
