"""Missing cells: which there are, and what the encoder reads in their place."""

import numpy as np

from sk_hvae._codec.distributions import Shares
from sk_hvae._codec.networks import ExactProduct, as_numbers


class MissingPattern:
    """Codes which cells of rows are missing, independently of each other.

    Parameters
    ----------
    rates : uint8 array of shape (n_features,)
        How often each column is missing, out of 256.
    """

    def __init__(self, rates):
        present = 1 - (rates + 0.5) / 256
        self._below = np.stack((np.zeros(len(rates)), present), 1)

    @staticmethod
    def rates(n_missing, n_rows):
        """Return the rates of columns in which given numbers of cells are missing."""
        return np.minimum(256 * n_missing // n_rows, 255).astype(np.uint8)

    def push(self, stacks, is_missing):
        """Push which cells of rows (n, n_features) are missing; returns the bits of each row."""
        symbols = is_missing.astype(np.int64).reshape(len(stacks), -1)
        return stacks.push(self._shares(symbols.shape), symbols).reshape(is_missing.shape).sum(1)

    def pop(self, stacks, n_rows):
        """Pop which cells of ``n_rows`` rows are missing."""
        shape = len(stacks), n_rows // len(stacks) * len(self._below)
        symbols, _ = stacks.pop(self._shares(shape))
        return symbols.reshape(n_rows, -1) > 0

    def _shares(self, shape):
        below = np.tile(self._below, (shape[1] // len(self._below), 1))
        return Shares(np.broadcast_to(below, (shape[0], *below.shape)))


class ExactFilling:
    """Does what `MissingCells` does before the encoder: fills cells in, and marks them.

    Parameters
    ----------
    missing : MissingCells
        Of the model.
    """

    def __init__(self, missing):
        self._column_of_link = missing.column_of_link.cpu().numpy()
        self._n_marks = missing.n_marks
        self._mean, noise = as_numbers(missing.mean), as_numbers(missing.noise)
        loadings = as_numbers(missing.loadings)
        self._n_factors = loadings.shape[1]
        products = loadings[:, :, None] * loadings[:, None, :] / noise[:, None, None]
        self._precision = ExactProduct(products.reshape(len(noise), -1).T, 0, 0)
        self._pull = ExactProduct((loadings / noise[:, None]).T)
        self._expectation = ExactProduct(loadings)

    def mark(self, linked):
        """Fill in rows on the scale of the link (n, n_linked), and append 1 for missing cells."""
        missing = np.isnan(linked)
        marks = np.zeros((len(linked), self._n_marks))
        marks[:, self._column_of_link] = missing
        rows = np.flatnonzero(missing.any(1))
        filled = linked.copy()
        filled[rows] = self._fill(linked[rows], missing[rows])
        return np.concatenate((filled, marks), 1)

    def _fill(self, linked, missing):
        shape = len(linked), self._n_factors, self._n_factors
        precision = self._precision(~missing).reshape(shape) + np.eye(self._n_factors)
        pull = self._pull(np.where(missing, 0.0, linked - self._mean))
        expected = self._mean + self._expectation(_solved(precision, pull))
        return np.where(missing, expected, linked)


def _solved(matrices, vectors):
    """Solve positive definite systems (n, k, k) for vectors (n, k), in operations of one order."""
    rows = np.concatenate((matrices, vectors[:, :, None]), 2)
    for i, unit in enumerate(np.eye(matrices.shape[1])[:, :, None]):
        pivot = rows[:, i : i + 1] / rows[:, i : i + 1, i : i + 1]
        rows = rows - (rows[:, :, i : i + 1] - unit) * pivot
    return rows[:, :, -1]
