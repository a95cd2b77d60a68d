"""Bits-back coding: rows cost what the lower bound says, though latents are sent along with them.

To encode rows, the latents are popped from the stack under the posterior, from the top layer down,
as if the stack held random bits; then the data are pushed given z_1, and the latents under their
priors. The decoder pops these, and pushes the latents back under the posterior. What was borrowed
for the latents is thereby returned, and what remains are D + the total rate [1]_ [2]_ [3]_.

References
----------
.. [1] Townsend, Bird and Barber, "Practical Lossless Compression with Latent Variables using Bits
   Back Coding", ICLR 2019.
.. [2] Townsend, Bird, Kunze and Barber, "HiLLoC: Lossless Image Compression with Hierarchical
   Latent Variable Models", ICLR 2020.
.. [3] Kingma, Abbeel and Ho, "Bit-Swap: Recursive Bits-Back Coding for Lossless Compression with
   Hierarchical Latent Variables", ICML 2019.
"""

import numpy as np

from sk_hvae._codec.cells import Precision
from sk_hvae._codec.latents import exact_layer
from sk_hvae._codec.missing_cells import ExactFilling, MissingPattern
from sk_hvae._codec.networks import exact
from sk_hvae._codec.row_code import Costs, RowCode
from sk_hvae._codec.rows import RowCoder, completed


class BitsBack(RowCode):
    """Pushes and pops rows of the data by a model; NaN is missing.

    Parameters
    ----------
    module : HierarchicalVAE
        The model.
    exactness : Exactness
        What has to come back.

    Raises
    ------
    ColumnError
        If the cells of a column cannot be coded.
    TypeError
        If a network of the model has no exact counterpart; the message is the name of its type.
    """

    def __init__(self, module, exactness):
        resolution = completed(exactness.resolution, module.likelihood, exactness.dtype)
        self._rows = RowCoder(module.likelihood, resolution)
        self._precision = Precision(exactness.is_single)
        rates = exactness.missing_rates
        self._missing = None if rates is None else MissingPattern(rates)
        self._encoder, self._decoder = exact(module.encoder), exact(module.decoder)
        self._layers = [exact_layer(layer) for layer in module.layers]
        self._filling = None if module.missing is None else ExactFilling(module.missing)
        self.n_columns = self._rows.n_features
        n_units = sum(layer.n_units for layer in module.layers)
        self.n_numbers = self._rows.n_numbers + 8 * n_units

    def stored(self, x):
        """Return rows as they will be decoded: columns of stated resolution are rounded to it."""
        return self._rows.stored(x, self._precision)

    def push(self, stacks, x):
        activations = self._activations(x)
        popped, z, borrowed = [], None, np.zeros(len(x))
        for layer in reversed(self._layers):
            prior = layer.prior(z, len(x))
            q = layer.under_posterior(activations, z, prior, len(stacks))
            symbols, bits = stacks.pop(q)
            borrowed = borrowed + bits.reshape(len(x), -1).sum(1)
            popped.append((layer.under_prior(prior, len(stacks)), symbols))
            z = layer.values(symbols, prior)
        pushed = self._rows.push(stacks, x, self._decoder(z), self._precision)
        for p, symbols in reversed(popped):
            pushed += stacks.push(p, symbols).reshape(len(x), -1).sum(1)
        if self._missing is not None:
            pushed += self._missing.push(stacks, np.isnan(x))
        return Costs(pushed - borrowed, borrowed)

    def pop(self, stacks, n_rows):
        present = np.ones((n_rows, self.n_columns), bool)
        if self._missing is not None:
            present = ~self._missing.pop(stacks, n_rows)
        popped, z = [], None
        for layer in reversed(self._layers):
            prior = layer.prior(z, n_rows)
            symbols, _ = stacks.pop(layer.under_prior(prior, len(stacks)))
            popped.append((layer, z, prior, symbols))
            z = layer.values(symbols, prior)
        x = self._rows.pop(stacks, self._decoder(z), present, self._precision)
        activations = self._activations(x)
        for layer, above, prior, symbols in reversed(popped):
            q = layer.under_posterior(activations, above, prior, len(stacks))
            stacks.push(q, symbols)
        return x

    def _activations(self, x):
        linked = self._rows.link(x)
        return self._encoder(linked if self._filling is None else self._filling.mark(linked))
