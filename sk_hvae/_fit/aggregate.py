"""How z_1 is distributed over some rows, for samples that are like them."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import map_rows
from sk_hvae.nn.latents.categorical import CategoricalLatent
from sk_hvae.nn.noise import gumbel

# By 8,000, 20,000 and 60,000 images of Fashion-MNIST, inception scores are 6.2, 6.5 and 6.5, and
# mixtures take 3, 9 and 25 seconds.
_MOST_ROWS = 20_000
# Of few rows, several draws each show how far their posteriors reach.
_FEWEST_DRAWS = 2000
# Gaussians with covariances of their own in more directions have too many numbers to be learnt.
_MOST_DIRECTIONS = 32
# In wide layers, what rows have in common is in fewer directions than this; all else is noise.
_MOST_SHARED_DIRECTIONS = 512
# Variance of a direction that tells rows apart, where posteriors have one of about 1.
_TELLING = 2.0
_MOST_GAUSSIANS, _ROWS_OF_GAUSSIAN = 64, 4
_HELD_OUT = 0.2
# Added to all variances, in the same unit: a Gaussian need not be narrower than posteriors are.
_LEAST_VARIANCE = 0.1
# A mixture that changes less, nats per row, describes other rows no better.
_TOLERANCE, _MOST_ITERATIONS = 1e-2, 30


class AggregatePosterior(NamedTuple):
    """A mixture of Gaussians for z_1, which differ in the first p of q directions.

    Attributes
    ----------
    log_weights : Tensor of shape (k,)
        ln of the share of each.
    centers : Tensor of shape (k, n_units)
        Means.
    roots : Tensor of shape (k, p, p)
        Roots of their covariances in the first directions.
    directions : Tensor of shape (q, n_units)
        What noise is multiplied by, after the first p columns of it are multiplied by a root.
    """

    log_weights: Tensor
    centers: Tensor
    roots: Tensor
    directions: Tensor

    @classmethod
    def of(cls, module, rows, noise, seed):
        """Fit it to the posteriors of rows.

        Samples of a model come from its prior, but what the posteriors of all rows make up
        together, the aggregate posterior, is never quite the prior. Where they differ, the prior
        has latents that no row has, and their samples look like no row. A density that is fitted
        to the latents after training has fewer of them: see Dai & Wipf, "Diagnosing and Enhancing
        VAE Models", ICLR 2019, and Ghosh et al., "From Variational to Deterministic Autoencoders",
        ICLR 2020, who fit a mixture of Gaussians. The decoder reads z_1 alone, so that the
        mixture is one of z_1. Held-out rows tell how many Gaussians it needs.

        Parameters
        ----------
        module : HierarchicalVAE
            In evaluation mode.
        rows : Rows
            Raw data.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        seed : int
            Of the mixture.
        """
        layer = module.layers[0]
        some = rows.every(-(-len(rows) // _MOST_ROWS))
        n_draws = -(-_FEWEST_DRAWS // len(some))
        drawn = ResidentRows(some.repeat(n_draws, 1))
        z_1 = map_rows(module, drawn, lambda x: module.encode(x, noise)[0], layer.n_units)
        if isinstance(layer, CategoricalLatent):
            arrays = _of_states(z_1)
        else:
            # The scale is the root of the posteriors' standard deviation: their noise becomes 1.
            scale = layer.scale.cpu().double().numpy()
            with threadpool_limits(1, "blas"):  # Products of small matrices are faster on one.
                log_weights, centers, roots, directions = _of_units(z_1 / scale, len(some), seed)
            arrays = (log_weights, centers * scale**2, roots, directions * scale**2)
        return cls(*(torch.as_tensor(array).to(layer.scale) for array in arrays))

    def __call__(self, n_samples, noise):
        """Draw z_1 by standard normal noise: (n_samples, n_units)."""
        scores = self.log_weights.expand(n_samples, -1)
        chosen = (scores + gumbel(noise(scores))).argmax(1)
        drawn = noise(scores.new_empty(n_samples, len(self.directions)))
        n_own = self.roots.shape[1]
        for number, root in enumerate(self.roots):
            is_from = chosen == number
            drawn[is_from, :n_own] = drawn[is_from, :n_own] @ root.T
        return self.centers[chosen] + drawn @ self.directions


def _of_states(one_hot):
    """Return the arrays of a mixture without noise, by how often states (m, n_states) occur."""
    n_states = one_hot.shape[1]
    with np.errstate(divide="ignore"):  # States that do not occur have no weight.
        log_weights = np.log(one_hot.mean(0))
    return log_weights, np.eye(n_states), np.zeros((n_states, 0, 0)), np.zeros((0, n_states))


def _of_units(z_1, n_rows, seed):
    """Return the arrays of a mixture for draws (m, n_units), whose noise is about 1.

    All of the first draw of n_rows rows come first.
    """
    from sklearn.decomposition import PCA  # With its neighbours it takes a while to import.

    pca = PCA(min(_MOST_SHARED_DIRECTIONS, *z_1.shape), random_state=seed).fit(z_1)
    n_telling = int((pca.explained_variance_ > _TELLING).sum())
    n_own = min(max(1, n_telling), _MOST_DIRECTIONS)
    mixture = _fit_mixture(pca.transform(z_1)[:, :n_own], n_rows, seed)
    stds = np.sqrt(pca.explained_variance_)
    stds[:n_own] = 1.0  # The roots have those of the first directions.
    centers = pca.mean_ + mixture.means_ @ pca.components_[:n_own]
    roots = np.linalg.cholesky(mixture.covariances_)
    return np.log(mixture.weights_), centers, roots, stds[:, None] * pca.components_


def _fit_mixture(codes, n_rows, seed):
    """Fit a mixture with as many Gaussians as describe held-out rows best."""
    numbers = [1]
    while 2 * numbers[-1] <= min(_MOST_GAUSSIANS, n_rows / _ROWS_OF_GAUSSIAN):
        numbers.append(2 * numbers[-1])
    if len(numbers) == 1:
        return _mixture(1, codes, seed)
    order = np.random.default_rng(seed).permutation(n_rows)
    is_held_out = np.isin(np.arange(len(codes)) % n_rows, order[: int(_HELD_OUT * n_rows)])
    scores: dict[int, float] = {}
    best = 1
    for number in numbers:
        scores[number] = _mixture(number, codes[~is_held_out], seed).score(codes[is_held_out])
        best = max(scores, key=scores.__getitem__)
        if number > 2 * best:  # Twice worse is not chance: more Gaussians learn rows by heart.
            break
    return _mixture(best, codes, seed)


def _mixture(n_gaussians, codes, seed):
    from sklearn.mixture import GaussianMixture  # As above.

    mixture = GaussianMixture(
        n_gaussians,
        tol=_TOLERANCE,
        reg_covar=_LEAST_VARIANCE,
        max_iter=_MOST_ITERATIONS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(codes)
