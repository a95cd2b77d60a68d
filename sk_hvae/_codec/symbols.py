"""Latents as the numbers of their bins, and of states: how a file with loss holds rows."""

import numpy as np

from sk_hvae._codec.bins import InBins
from sk_hvae._codec.distributions import PRECISION, Intervals, Shares
from sk_hvae._codec.latents import prior_shares
from sk_hvae._codec.row_code import Costs, RowCode
from sk_hvae._codec.tables import Tables
from sk_hvae.nn.latents.categorical import CategoricalLatent


class SymbolCode(RowCode):
    """Pushes and pops symbols: bins of all Gaussian units, z_1 first, and the state of the top.

    Parameters
    ----------
    module : HierarchicalVAE
        The model. Only the prior of its states is used, in exact numbers.
    bins : Bins
        Of the Gaussian units.
    """

    def __init__(self, module, bins):
        top = module.layers[-1]
        has_states = isinstance(top, CategoricalLatent)
        self._n_units = len(bins.levels)
        self._coded = np.flatnonzero(bins.n_aside)
        pairs = zip(bins.stds[self._coded], bins.n_aside[self._coded], strict=True)
        columns = [InBins(np.full((1, 1), std), np.full((1, 1), n_aside)) for std, n_aside in pairs]
        self._tables = Tables(columns) if columns else None
        self._states = prior_shares(top) if has_states else None
        self.n_columns = self.n_numbers = self._n_units + has_states

    def push(self, stacks, x):
        symbols = x.astype(np.int64)
        bits = np.zeros(len(x))
        for distribution, columns in reversed(self._parts(len(stacks), len(x))):
            part = symbols[:, columns].reshape(distribution.shape)
            bits += stacks.push(distribution, part).reshape(len(x), -1).sum(1)
        return Costs(bits, np.zeros(len(x)))

    def pop(self, stacks, n_rows):
        x = np.zeros((n_rows, self.n_columns))
        for distribution, columns in self._parts(len(stacks), n_rows):
            symbols, _ = stacks.pop(distribution)
            x[:, columns] = symbols.reshape(n_rows, -1)
        return x

    def bits(self, x):
        """Return the bits that rows of symbols (n, n_columns) take on average."""
        symbols = x.astype(np.int64)
        lengths = [
            distribution.intervals(symbols[:, columns].reshape(distribution.shape))[1]
            for distribution, columns in self._parts(1, len(x))
        ]
        return sum((PRECISION - np.log2(length)).sum() for length in lengths) / len(x)

    def _parts(self, n_stacks, n_rows):
        """List distributions and the columns of their symbols, for rows on stacks."""
        shape = n_stacks, n_rows // n_stacks
        parts: list[tuple[Intervals, np.ndarray]] = []
        if self._tables is not None:
            parts.append((self._tables.of_rows(*shape), self._coded))
        if self._states is not None:
            states = np.broadcast_to(self._states, (*shape, len(self._states)))
            parts.append((Shares(states), np.array([self._n_units])))
        return parts
