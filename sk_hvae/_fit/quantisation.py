"""Latents on a grid, as files with loss hold them: from rows to symbols, and back to z_1."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from sk_hvae._codec.bins import Bins
from sk_hvae._codec.symbols import SymbolCode
from sk_hvae._data.devices import module_device
from sk_hvae._data.rows import ResidentRows, as_tensor, to_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae._fit.measurement import map_rows
from sk_hvae.nn.latents.gaussian import GaussianLatent

# Rows on which signals and the step are found: bits are then right to a hundredth.
_MOST_ROWS = 2048
# Bits of a file that are not of its rows, beside the bins: most of a header, and the last state.
# Few rows pay for these only up to a tenth of their bits.
_OVERHEAD, _MOST_OVERHEAD = 8 * 33, 0.1
# Steps from nearly no loss to nearly no bits, and how often their range is halved: to a thousandth.
_STEPS, _N_HALVINGS = (2.0**-6, 2.0**6), 14


def choose_bins(module, rows, step, bits):
    """Choose the bins of the units for some rows.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    rows : Rows
        Checked.
    step : float or None
        See `Bins`. None takes the one with which rows need ``bits``.
    bits : float
        Bits that a row may take on average, with its part of the file's header.

    Returns
    -------
    Bins
    """
    some = rows.every(math.ceil(len(rows) / _MOST_ROWS))
    with FixedThreads(), torch.inference_mode():
        activations = module.activations(to_device(some, module_device(module)))
        signals = _signals(module, activations)
        if step is not None:
            return Bins.of_signals(step, signals)
        overhead = (_OVERHEAD + 8 * len(Bins.of_signals(1.0, signals).to_bytes())) / len(rows)
        budget = bits - min(overhead, _MOST_OVERHEAD * bits)
        low, high = _STEPS
        for _ in range(_N_HALVINGS):
            bins = Bins.of_signals(math.sqrt(low * high), signals)
            symbols = _quantise(module, activations, bins).cpu().numpy()
            is_finer = SymbolCode(module, bins).bits(symbols) > budget
            low, high = (bins.step, high) if is_finer else (low, bins.step)
        return Bins.of_signals(high, signals)


def quantise(module, rows, bins):
    """Return the symbols of rows, (n, n_columns), float64, see `SymbolCode`."""
    n_columns = SymbolCode(module, bins).n_columns

    def symbols(x):
        return _quantise(module, module.activations(x), bins)

    return map_rows(module, rows, symbols, n_columns, np.empty((len(rows), n_columns)))


def restore_z_1(module, symbols, bins):
    """Return z_1 (n, n_units), as `HierarchicalVAE.encode` gives it, of symbols (n, n_columns)."""
    rows = ResidentRows(as_tensor(symbols.astype(np.float32)))

    def z_1(x):
        grids = _grids(module, bins)
        parts = x.split([grid.n_columns for grid in grids], 1)
        z = None
        for layer, grid, part in reversed([*zip(module.layers, grids, parts, strict=True)]):
            z = grid.values(layer.prior(z, len(x)), part)
        return z / module.layers[0].scale

    return map_rows(module, rows, z_1, module.layers[0].n_units)


def _quantise(module, activations, bins):
    """Return the symbols that belong to activations, each layer given the symbols above."""
    z, found = None, []
    for layer, grid in reversed([*zip(module.layers, _grids(module, bins), strict=True)]):
        q = layer.posterior(activations, z)
        symbols = grid.symbols(q)
        z = grid.values(q.prior, symbols)
        found.append(symbols)
    return torch.cat(found[::-1], 1)


def _signals(module, activations):
    """Return the variance of signal over that of noise, of all Gaussian units, z_1 first."""
    z, found = None, []
    for layer in reversed(module.layers):
        q = layer.posterior(activations, z)
        if isinstance(layer, GaussianLatent):
            z = q.mean
            found.append(q.ratio.square().reciprocal().mean(0) - 1)
        else:
            states = _States(layer.n_units)
            z = states.values(q.prior, states.symbols(q))
    nothing = module.layers[0].scale.new_zeros(0)
    return torch.cat([nothing, *found[::-1]]).double().cpu().numpy()


class _Units(NamedTuple):
    """Gaussian units of a layer: the widths of their bins in standard deviations of the prior."""

    widths: torch.Tensor
    n_aside: torch.Tensor

    @property
    def n_columns(self):
        """Number of symbols of a row."""
        return len(self.widths)

    def symbols(self, posterior):
        """Return the bins of the posterior means, (b, n_units)."""
        return (posterior.offset / self.widths).round().clamp(-self.n_aside, self.n_aside)

    def values(self, prior, symbols):
        """Return the middles of bins (b, n_units), as latents."""
        return prior.mean + prior.std * self.widths * symbols


class _States(NamedTuple):
    """States of a layer: the symbol is the number of the most probable one."""

    n_states: int
    n_columns: int = 1

    def symbols(self, posterior):
        """Return the most probable states, (b, 1)."""
        return posterior.log_probs.argmax(1, keepdim=True).to(posterior.log_probs)

    def values(self, prior, symbols):  # noqa: ARG002 of Gaussian units
        """Return states (b, 1) as latents, which are one-hot."""
        return functional.one_hot(symbols[:, 0].long(), self.n_states).float()


def _grids(module, bins):
    """Return how the layers of a module are quantised, z_1 first."""
    like = module.layers[0].scale
    parts = [torch.from_numpy(of_units).to(like) for of_units in (bins.widths, bins.n_aside)]
    sizes = [layer.n_units for layer in module.layers if isinstance(layer, GaussianLatent)]
    grids = [_Units(*of_layer) for of_layer in zip(*(p.split(sizes) for p in parts), strict=True)]
    states = [_States(layer.n_units) for layer in module.layers[len(sizes) :]]
    return [*grids, *states]
