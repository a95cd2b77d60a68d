"""What columns have in common beyond the latents: a Gaussian copula of the noise of samples."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_hvae._data.devices import module_device
from sk_hvae.nn.noise import uniform

# More rows make correlations hardly more exact than their prior does, and take longer.
_MOST_ROWS = 2000
# The correlations of more columns of noise take longer than a fit, and mean little in a wide table,
# where each column has others that tell it.
_MOST_COLUMNS = 500
# Sweeps over all noise: in the first half noise and correlations come to agree, and of the second
# half the mean is taken.
_N_SWEEPS = 30
# Where correlations are known, the noise of a row forgets how it began within a few sweeps.
_N_GIVEN_SWEEPS = 10
# Factors that stand for the correlations within a sweep, and steps of the search for them.
_MOST_FACTORS, _N_FACTOR_STEPS = 32, 10
# Variance of a column of noise that is its own at least. Columns that determine each other would
# make matrices that cannot be inverted.
_LEAST_OWN = 0.02
# Normal noise is never farther out, for probabilities in float64 to be told from 0 and 1.
_FARTHEST = 6.0


@torch.no_grad()
def noise_correlations(module, rows, generator):
    """Estimate how the noise is correlated by which the columns of a row are drawn.

    The decoder gives every column a distribution of its own, and z_1 carries few bits, so that
    columns have more in common than z_1 tells. If each column is drawn by standard normal noise,
    correlations of this noise make up for it, and leave every column the distribution that it has
    given z_1: this is a Gaussian copula. The noise of the training rows is not known, but their
    cells tell limits of it. It is drawn between these limits by Gibbs sampling, in turns with the
    correlations, as in the extended rank likelihood of Hoff ("Extending the rank likelihood for
    semiparametric copula estimation", Annals of Applied Statistics 1, 2007), with factors in place
    of single columns, so that all columns are drawn at once.

    Parameters
    ----------
    module : HierarchicalVAE
        Trained, in evaluation mode.
    rows : Rows
        Of the training.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    ndarray of shape (n, n), float64, or None
        Correlations of the columns of noise that the likelihood can take from a copula. None if
        there are fewer than two of them, or more than 500, or if the model has diverged.
    """
    columns = module.likelihood.copula_columns
    if not 2 <= len(columns) <= _MOST_COLUMNS:
        return None

    def draw(like):
        return torch.randn(like.shape, generator=generator).to(like.device)

    x = rows.every(-(-len(rows) // _MOST_ROWS)).to(module_device(module))
    z_1 = module.encode(x, draw)[0]
    parameters = module.decoder(z_1 * module.layers[0].scale)
    if not parameters.isfinite().all():
        return None
    limits = NoiseLimits.of(module, x, parameters)
    own = columns[:, None] == columns
    noise = limits.start(draw)
    total = torch.zeros(own.shape, dtype=torch.float64)
    for sweep in range(_N_SWEEPS):
        found = _correlations(noise, own)
        noise = limits.sweep(noise, Factors.of(found), draw)
        if sweep >= _N_SWEEPS // 2:
            total += _correlations(noise, own)
    return _definite(total).numpy()


def correlated(noise, correlations):
    """Correlate independent standard normal noise (b, n), by correlations (n, n)."""
    root = torch.from_numpy(np.linalg.cholesky(correlations))
    return noise @ root.T.to(noise)


def correlated_given(module, x, parameters, correlations, draw):
    """Draw correlated noise by which some cells of rows come out as they are given.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    x : Tensor of shape (b, n_features)
        The given cells; all others are NaN.
    parameters : Tensor of shape (b, n_outputs)
        Of the likelihood.
    correlations : ndarray of shape (n, n)
        See `noise_correlations`.
    draw : callable
        Maps a tensor on the CPU to standard normal noise.

    Returns
    -------
    Tensor of shape (b, n), float64, on the CPU
    """
    limits = NoiseLimits.of(module, x, parameters)
    factors = Factors.of(torch.from_numpy(correlations))
    noise = limits.start(draw)
    for _ in range(_N_GIVEN_SWEEPS):
        noise = limits.sweep(noise, factors, draw)
    return noise


class Factors(NamedTuple):
    """Correlations as loadings (n, k) of factors, and what variance (n,) is a column's own."""

    loadings: Tensor
    own_variance: Tensor

    @classmethod
    def of(cls, correlations):
        """Find those of correlations (n, n), by iterated principal factors."""
        n = len(correlations)
        n_factors = min(n - 1, _MOST_FACTORS)
        own_variance = torch.full((n,), 0.5, dtype=torch.float64)
        for _ in range(_N_FACTOR_STEPS):
            reduced = correlations - own_variance.diag()
            variances, directions = torch.linalg.eigh(reduced)
            loadings = (
                directions[:, n - n_factors :] * variances[n - n_factors :].clamp(min=0).sqrt()
            )
            own_variance = (1 - loadings.square().sum(1)).clamp(min=_LEAST_OWN)
        scale = (loadings.square().sum(1) + own_variance).sqrt()
        return cls(loadings / scale[:, None], own_variance / scale.square())

    def squared_length(self, noise, is_there):
        """Return the squared Mahalanobis length (b,) of the part of noise (b, n) that is there."""
        weights = is_there / self.own_variance
        products = (self.loadings[:, :, None] * self.loadings[:, None, :]).flatten(1)
        precision = (weights @ products).unflatten(1, (-1, self.loadings.shape[1]))
        precision = precision + torch.eye(self.loadings.shape[1], dtype=noise.dtype)
        pull = (noise * weights) @ self.loadings
        along = torch.linalg.solve(precision, pull)
        return (noise.square() * weights).sum(1) - (pull * along).sum(1)

    def draw(self, noise, draw):
        """Draw the factors of noise (b, n) from what is known of them: (b, k)."""
        weighted = self.loadings / self.own_variance[:, None]
        precision = self.loadings.T @ weighted
        precision.diagonal().add_(1.0)
        root = torch.linalg.cholesky(precision)
        mean = torch.cholesky_solve((noise @ weighted).T, root)
        own = draw(mean).double()
        return (mean + torch.linalg.solve_triangular(root.T, own, upper=True)).T


class NoiseLimits:
    """Between which limits the noise of rows may be, given their cells.

    Parameters
    ----------
    of_noise : callable
        See `Likelihood.noise_limits`.
    shape : tuple of int
        Of the noise.
    """

    def __init__(self, of_noise, shape):
        self._of_noise, self._shape = of_noise, shape

    @classmethod
    def of(cls, module, x, parameters):
        """Find the limits for rows of raw data (b, n_features) and parameters, on any device."""
        x = x if module.constants is None else module.constants.hide(x)
        likelihood = copy.deepcopy(module.likelihood).cpu()
        shape = len(x), len(likelihood.copula_columns)
        return cls(likelihood.noise_limits(x.cpu(), parameters.cpu()), shape)

    def start(self, draw):
        """Draw noise without correlations."""
        noise = torch.zeros(self._shape, dtype=torch.float64)
        return self._draw(noise, torch.zeros_like(noise), torch.ones_like(noise[0]), draw)

    def sweep(self, noise, factors, draw):
        """Draw all noise anew, given the factors of the noise there is."""
        mean = factors.draw(noise, draw) @ factors.loadings.T
        return self._draw(noise, mean, factors.own_variance.sqrt(), draw)

    def _draw(self, noise, mean, std, draw):
        """Draw noise between its limits, which depend on other noise of the same cell.

        What is bounded from below comes first, and then what it is to exceed.
        """
        low, high = self._of_noise(noise)
        is_first = low > -torch.inf
        noise = torch.where(is_first, _truncated(mean, std, low, high, draw), noise)
        low, high = self._of_noise(noise)
        return torch.where(is_first, noise, _truncated(mean, std, low, high, draw))


def _truncated(mean, std, low, high, draw):
    """Draw normal variables between limits."""
    below, above = (torch.special.ndtr((limit - mean) / std) for limit in (low, high))
    score = torch.special.ndtri(below + (above - below) * uniform(draw(mean).double()))
    drawn = (mean + std * score).nan_to_num(0.0)
    return drawn.clamp(-_FARTHEST, _FARTHEST).maximum(low).minimum(high)


def _correlations(noise, own):
    """Correlate noise between the columns of the data, and draw the result towards none.

    The noise of one column of the data stays uncorrelated, as its distribution needs it.
    """
    n_rows, n_columns = noise.shape
    centred = noise - noise.mean(0)
    scaled = centred / centred.square().mean(0).sqrt().clamp(min=1e-9)
    found = scaled.T @ scaled / (n_rows + n_columns)
    return found.masked_fill(own, 0.0).fill_diagonal_(1.0)


def _definite(correlations):
    """Return the nearest correlations that a matrix of them can have, up to a least variance."""
    scale = correlations.diagonal().sqrt()
    variances, directions = torch.linalg.eigh(correlations / scale / scale[:, None])
    definite = directions * variances.clamp(min=_LEAST_OWN) @ directions.T
    scale = definite.diagonal().sqrt()
    return definite / scale / scale[:, None]
