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

from typing import NamedTuple

import numpy as np

from sk_hvae._codec.latents import exact_layer
from sk_hvae._codec.missing_cells import ExactFilling, MissingPattern
from sk_hvae._codec.networks import exact
from sk_hvae._codec.rows import RowCoder


class Costs(NamedTuple):
    """What rows cost.

    Attributes
    ----------
    bits : float64 array of shape (n,)
        Bits of each row: what was pushed less what was popped.
    borrowed : float64 array of shape (n,)
        Bits that were popped for the latents of each row.
    """

    bits: np.ndarray
    borrowed: np.ndarray


class BitsBack:
    """Pushes and pops rows by a model.

    Parameters
    ----------
    module : HierarchicalVAE
        The model.
    resolution : float64 array of shape (n_features,)
        See `RowCoder`.

    Raises
    ------
    ColumnError
        If the cells of a column cannot be coded.
    TypeError
        If a network of the model has no exact counterpart; the message is the name of its type.
    """

    def __init__(self, module, resolution):
        self.rows = RowCoder(module.likelihood, resolution)
        self._encoder, self._decoder = exact(module.encoder), exact(module.decoder)
        self._layers = [exact_layer(layer) for layer in module.layers]
        self._filling = None if module.missing is None else ExactFilling(module.missing)
        self.n_numbers = self.rows.n_numbers + 8 * sum(layer.n_units for layer in module.layers)

    def push(self, stacks, x, precision, missing_rates):
        """Push rows.

        Parameters
        ----------
        stacks : Stacks
            The rows of the first stack come first, as many for each.
        x : float64 array of shape (n, n_features)
            Rows; NaN is missing.
        precision : Precision
            That of the data.
        missing_rates : uint8 array of shape (n_features,) or None
            See `MissingPattern`; None if no cell is missing.

        Returns
        -------
        Costs
        """
        activations = self._activations(x)
        popped, z, borrowed = [], None, np.zeros(len(x))
        for layer in reversed(self._layers):
            prior = layer.prior(z, len(x))
            q = layer.under_posterior(activations, z, prior, len(stacks))
            symbols, bits = stacks.pop(q)
            borrowed = borrowed + bits.reshape(len(x), -1).sum(1)
            popped.append((layer.under_prior(prior, len(stacks)), symbols))
            z = layer.values(symbols, prior)
        pushed = self.rows.push(stacks, x, self._decoder(z), precision)
        for p, symbols in reversed(popped):
            pushed += stacks.push(p, symbols).reshape(len(x), -1).sum(1)
        if missing_rates is not None:
            pushed += MissingPattern(missing_rates).push(stacks, np.isnan(x))
        return Costs(pushed - borrowed, borrowed)

    def pop(self, stacks, n_rows, precision, missing_rates):
        """Pop ``n_rows`` rows: the inverse of `push`."""
        present = np.ones((n_rows, self.rows.n_features), bool)
        if missing_rates is not None:
            present = ~MissingPattern(missing_rates).pop(stacks, n_rows)
        popped, z = [], None
        for layer in reversed(self._layers):
            prior = layer.prior(z, n_rows)
            symbols, _ = stacks.pop(layer.under_prior(prior, len(stacks)))
            popped.append((layer, z, prior, symbols))
            z = layer.values(symbols, prior)
        x = self.rows.pop(stacks, self._decoder(z), present, precision)
        activations = self._activations(x)
        for layer, above, prior, symbols in reversed(popped):
            q = layer.under_posterior(activations, above, prior, len(stacks))
            stacks.push(q, symbols)
        return x

    def _activations(self, x):
        linked = self.rows.link(x)
        return self._encoder(linked if self._filling is None else self._filling.mark(linked))
