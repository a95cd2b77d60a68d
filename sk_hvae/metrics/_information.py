"""Monte Carlo estimates of the information of single layers about the data, or about labels."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sk_hvae._data.devices import module_device
from sk_hvae._data.rows import ResidentRows, to_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import check_count
from sk_hvae._estimators.typing import Labels, MatrixLike, RandomState
from sk_hvae.metrics._bounds import class_frequencies
from sk_hvae.metrics._checks import check_fitted_model, check_labels
from sk_hvae.nn.latents.gaussian import GaussianPosterior, GaussianPrior
from sk_hvae.nn.noise import GeneratorNoise
from sk_hvae.nn.units import LN2

# Log-densities are divided by these: 1 leaves the posteriors as they are, and 2,048 flattens even
# those of hundreds of bits. Steps of 2 keep the number of passes over the (n, n) densities small.
_TEMPERATURES = [2.0**power for power in range(12)]


class InformationEstimate(NamedTuple):
    """Two estimates that enclose mutual information; `mutual_information` returns it.

    Attributes
    ----------
    lower : ndarray of shape (n_layers,)
        Estimate whose expectation is at most the information, bits, z_1 first. Where there is
        hardly any information, it may be a little below zero.
    upper : ndarray of shape (n_layers,)
        Estimate whose expectation is at least the information, bits.
    lower_error : ndarray of shape (n_layers,)
        Standard error of ``lower`` over rows, bits.
    upper_error : ndarray of shape (n_layers,)
        Standard error of ``upper`` over rows, bits.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    lower_error: NDArray[np.float64]
    upper_error: NDArray[np.float64]


class _MeanOfRows(NamedTuple):
    """Mean of values of rows, and its standard error; bits."""

    mean: float
    error: float

    @classmethod
    def of(cls, nats):
        return cls(float(nats.mean()) / LN2, float(nats.std()) / len(nats) ** 0.5 / LN2)


class _Densities(NamedTuple):
    """Log-densities of a layer's samples, one sample per row, under the posterior of every row.

    Attributes
    ----------
    mixture : Tensor of shape (n, n)
        ln q(z_i | x_j), where q is a mean over samples of the layers above, drawn for row j. On
        the diagonal, one of these is the sample from which z_i was drawn.
    critic : Tensor of shape (n, n)
        The same without that sample, with a Gaussian of the same mean and variances in place of
        the mixture.
    """

    mixture: torch.Tensor
    critic: torch.Tensor

    def among_others(self):
        """Return the critic with -inf on the diagonal, so that no row is compared with itself."""
        return self.critic.clone().fill_diagonal_(-math.inf)


class _Bounds(NamedTuple):
    """Values (n,) of rows, in nats. The mean of each is a lower, or an upper, bound."""

    lower: list[torch.Tensor]
    upper: list[torch.Tensor]


def mutual_information(
    estimator: LatentsMixin,
    X: MatrixLike,
    y: Labels | None = None,
    *,
    n_rows: int = 1000,
    n_draws: int = 32,
    random_state: RandomState = None,
) -> InformationEstimate:
    """Estimate the information in a sample of each layer about the data, or about labels.

    The information is I(x; z_l), or I(y; z_l) if labels are given. One estimate of it is biased
    downwards, and one upwards, so that it lies between them in expectation. The rate
    R_l + ... + R_L is an upper bound on both kinds of information. It exceeds the information by
    the divergence of the aggregate posterior from the prior.

    Parameters
    ----------
    estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows, preferably some to which the estimator was not fitted.
    y : array-like of shape (n_samples,), default=None
        Labels of the rows. None estimates the information about x.
    n_rows : int, default=1000
        Number of rows to draw from X at random; all are taken if there are fewer. The lower
        estimate about x cannot exceed log2(n_rows) bits, and time and memory grow with the square
        of ``n_rows``.
    n_draws : int, default=32
        Number of samples of the layers above z_l over which q(z_l | x) is averaged, at least 2.
    random_state : int, RandomState instance or None, default=None
        Seed for the choice of rows and for the samples.

    Returns
    -------
    InformationEstimate
        Two estimates and their standard errors, in bits, each of shape (n_layers,), z_1 first.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not one of this library.
    ValueError
        If a number is too small, if y does not hold a class for each row, or if only one of the
        drawn rows belongs to some class.

    See Also
    --------
    rate_bounds : Bounds that need no Monte Carlo estimate.

    Notes
    -----
    The marginal q(z) is estimated by the mean of the posteriors of n rows [1]_:

    - About x, lower: the mean of ln q(z|x) - ln q(z), where q(z) includes the row's own
      posterior.
    - About x, upper: the same, where q(z) leaves the row's own posterior out.
    - About y, lower: H(y) plus the mean of ln q(y|z), where the classifier q(y|z) is made of the
      posteriors of the other rows [2]_.
    - About y, upper: the same, where the classifier also has the row's own posterior, which makes
      its task too easy.

    Below the top layer, q(z_l | x) is a mean over samples of the layers above. Upper estimates
    include the sample from which z_l was drawn. Lower estimates leave it out, and replace the
    mean over the others by a Gaussian of the same mean and variances, which is allowed because
    they are lower bounds for any density. A temperature smooths these densities.

    Upper estimates are capped by the rates, and, about labels, by H(y). The entropy of the
    observed frequencies is itself too low, by about (M - 1) / 2n nats for M classes, which is
    corrected [3]_. The temperature and the cap of each half of the rows are chosen by the other
    half, so that the choice adds hardly any bias.

    Standard errors are those of a mean over independent rows; they neglect that all rows are
    compared with the same mixture.

    References
    ----------
    .. [1] Poole et al., "On Variational Bounds of Mutual Information", ICML 2019.
    .. [2] Barber and Agakov, "The IM Algorithm", NeurIPS 2003.
    .. [3] Miller, "Note on the bias of information estimates", 1955.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.metrics import mutual_information
    >>> X, y = load_iris(return_X_y=True)
    >>> hvae = HierarchicalVAETransformer((2, 1), max_epochs=200, random_state=0).fit(X)
    >>> about_y = mutual_information(hvae, X, y, random_state=0)
    >>> bool((about_y.lower < about_y.upper + 0.05).all())
    True
    """
    check_fitted_model(estimator)
    check_count("n_rows", n_rows, 2)
    check_count("n_draws", n_draws, 2)
    rows = check_new_rows(estimator, X)
    check_count("the number of rows of X", len(rows), 2)
    random = check_random_state(random_state)
    chosen = random.permutation(len(rows))[:n_rows]
    labels = None if y is None else _class_numbers(check_labels(X, y)[chosen])
    module = model_of(estimator).in_place()
    generator = torch.Generator(module_device(module)).manual_seed(random.randint(2**31 - 1))
    with FixedThreads(), torch.inference_mode():
        draws = _infer(
            module, rows.take(torch.from_numpy(chosen)), GeneratorNoise(generator), n_draws
        )
        rates = torch.stack([draw.rates() for draw in draws]).mean(0).cpu().double()
        limits = rates.flip(1).cumsum(1).flip(1).T
        estimates = []
        for number, limit in enumerate(limits):
            densities = _densities(draws, number)
            found = _about_x(densities) if labels is None else _about_labels(densities, labels)
            lower = _cross_chosen(found.lower, torch.argmax)
            upper = _cross_chosen([*found.upper, limit], torch.argmin)
            estimates.append((_MeanOfRows.of(lower), _MeanOfRows.of(upper)))
    lower, upper = zip(*estimates, strict=True)
    return InformationEstimate(
        np.array([bound.mean for bound in lower]),
        np.array([bound.mean for bound in upper]),
        np.array([bound.error for bound in lower]),
        np.array([bound.error for bound in upper]),
    )


def _infer(module, rows, noise, n_draws):
    """Sample all layers, several times for each row."""
    device = module_device(module)
    parts = [module.activations(to_device(x, device)) for x in ResidentRows(rows).chunks()]
    activations = tuple.__new__(type(parts[0]), map(torch.cat, zip(*parts, strict=True)))
    return [module.infer(activations, noise, enumerate_states=False) for _ in range(n_draws)]


def _densities(draws, number):
    """Compare the first draw's samples of a layer with the posteriors of all draws."""
    z = draws[0].latents[number].cpu().double()
    if number == len(draws[0].latents) - 1:
        exact = draws[0].posteriors[number].cross_log_prob(z)
        return _Densities(exact, exact)
    posteriors = [draw.posteriors[number] for draw in draws]
    mixture = torch.full((len(z), len(z)), -math.inf, dtype=z.dtype)
    for q in posteriors:
        mixture = torch.logaddexp(mixture, q.cross_log_prob(z))
    critic = _of_same_moments(posteriors[1:]).cross_log_prob(z)
    return _Densities(mixture - math.log(len(posteriors)), critic)


def _of_same_moments(posteriors):
    """Return Gaussians with the means and variances of mixtures of Gaussians."""
    means = torch.stack([q.mean for q in posteriors]).cpu().double()
    variances = torch.stack([q.std for q in posteriors]).cpu().double().square()
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    standard = GaussianPrior(torch.zeros_like(mean), torch.ones_like(mean))
    return GaussianPosterior(standard, mean, variance.sqrt())


def _about_x(densities):
    """Estimate I(x; z_l)."""
    n = len(densities.critic)
    critics = (densities.critic / t for t in _TEMPERATURES)
    lower = [c.diagonal() - c.logsumexp(1) + math.log(n) for c in critics]
    marginal = densities.among_others().logsumexp(1) - math.log(n - 1)
    return _Bounds(lower, [densities.mixture.diagonal() - marginal])


def _about_labels(densities, labels):
    """Estimate I(y; z_l)."""
    frequencies = class_frequencies(labels)
    surprise = -torch.from_numpy(np.log(frequencies))[labels]
    too_low = (len(frequencies) - 1) / (2 * len(labels))
    others = densities.among_others()
    lower = [surprise + _log_share(others / t, labels) for t in _TEMPERATURES]
    upper = [surprise + too_low + _log_share(densities.mixture, labels), surprise + too_low]
    return _Bounds(lower, upper)


def _log_share(log_weights, labels):
    """Return the logarithm of the share of each row's weights (n, n) that its class has, (n,)."""
    same = torch.from_numpy(labels[:, None] == labels)
    own = log_weights.masked_fill(~same, -math.inf)
    return own.logsumexp(1) - log_weights.logsumexp(1)


def _cross_chosen(bounds, best):
    """Take, of several bounds, the one that is best on the other half of the rows: (n,).

    The one that is best on the rows themselves would be best by chance, and no bound.
    """
    values = torch.stack(list(bounds))
    is_first = torch.arange(values.shape[1]) < values.shape[1] // 2
    best_of_first, best_of_rest = (best(values[:, half].mean(1)) for half in (is_first, ~is_first))
    return torch.where(is_first, values[best_of_rest], values[best_of_first])


def _class_numbers(y):
    """Return labels as class numbers (n,)."""
    classes, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"every class needs 2 rows or more; of {len(y)} rows, class "
            f"{classes[counts.argmin()]} has 1. Raise n_rows or leave rare classes out."
        )
    return labels
