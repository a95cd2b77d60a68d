"""What rates allow: bounds on the accuracy of any classifier that reads sampled latents."""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import xlog1py

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.typing import Labels, MatrixLike
from sk_hvae.metrics._checks import check_fitted_model, check_labels
from sk_hvae.nn.units import LN2

_PER_NAT = {"bits": 1 / LN2, "nats": 1.0}
# They narrow an accuracy down to 2**-64, which is less than its rounding.
_HALVINGS = 64
# An entropy that is computed elsewhere may differ from ours in its last digits.
_ROUNDING = 1e-14


def accuracy_bound(
    information: ArrayLike, class_prior: ArrayLike, unit: Literal["bits", "nats"] = "bits"
) -> Any:
    """Bound the accuracy of any classifier by the information that it has.

    This is the rate-distortion function of the classes, solved for the accuracy [1]_ [2]_. It is
    tight: no classifier with so much information about the class is more accurate, and for some
    source of information one is as accurate. If all classes are equally probable, it is Fano's
    inequality.

    Parameters
    ----------
    information : float or array-like
        Information about the class, not negative; or an upper bound on it, such as the sum of
        the rates of a layer and of those above it.
    class_prior : array-like of shape (n_classes,)
        Probabilities of the classes. Classes of probability 0 do not count.
    unit : {"bits", "nats"}, default="bits"
        Unit of ``information``; the estimators measure rates in bits.

    Returns
    -------
    float or ndarray of the shape of ``information``
        The largest accuracy. Without any information it is the largest of the probabilities, and
        it is 1 if the information is at least the entropy of the classes.

    Raises
    ------
    ValueError
        If information is negative or not finite, if ``class_prior`` does not hold
        probabilities, or if there is no such unit.

    See Also
    --------
    information_needed : The inverse.
    rate_bounds : The bound for every layer of a model.

    Notes
    -----
    The guesses of a classifier have no more information about the class than what it reads. Let
    p_1 >= p_2 >= ... be the probabilities of the classes. Guesses of an accuracy a above p_1 have
    the least information if only the k classes are guessed whose probability is above some level t.
    Once one of these is guessed, it has the probability a, the other k - 1 have the probability t
    each, and the rarer classes, which are never guessed, keep theirs. As probabilities sum to 1,
    a = p_1 + ... + p_k - (k - 1) t, and the information is

        a log a + (k - 1) t log t - (p_1 log p_1 + ... + p_k log p_k).

    Fano's inequality needs only the entropy and the number of the classes [3]_. It says the same
    where all classes are guessed. Where some are too rare for that, it allows higher accuracies
    than there can be.

    The bound is about single rows, and holds for every model and data set, under two conditions.
    The latents have to be *sampled*, ``latents(X, sample=True)``. Posterior means, which
    ``transform`` returns, are functions of x and may tell more. And ``class_prior`` has to be that
    of the rows on which rates and accuracy are measured.

    References
    ----------
    .. [1] Erokhin, "Epsilon-Entropy of a Discrete Random Variable", Theory of Probability and
       Its Applications 3, 1958.
    .. [2] Kostina, Polyanskiy and Verdu, "Variable-Length Compression Allowing Errors", IEEE
       Transactions on Information Theory 61, 2015.
    .. [3] Cover and Thomas, "Elements of Information Theory", 2nd edition, 2.10. The bound of
       Xiao and Bamler, "Trading Information between Latents in Hierarchical Variational
       Autoencoders", ICLR 2023, is of this kind.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.metrics import accuracy_bound
    >>> accuracy_bound([0, 1, 2, 4], np.full(10, 0.1)).round(3)
    array([0.1  , 0.577, 0.807, 1.   ])

    Without any information, the best guess is always the most frequent class:

    >>> accuracy_bound([0, 0.1, 0.2, 0.5], [0.9, 0.1]).round(3)
    array([0.9  , 0.929, 0.954, 1.   ])
    """
    classes = _Classes.of(class_prior)
    nats = _check_numbers("information", information, 0, math.inf) / _unit(unit)
    low, high = np.zeros_like(nats), np.full_like(nats, 1 - classes.largest)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_much = classes.nats_at(middle) >= nats
        low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
    certain = nats >= classes.entropy * (1 - _ROUNDING)
    return np.where(certain, 1.0, classes.largest + low)[()]


def information_needed(
    accuracy: ArrayLike, class_prior: ArrayLike, unit: Literal["bits", "nats"] = "bits"
) -> Any:
    """Return the least information that a classifier of a given accuracy must have.

    This is the inverse of `accuracy_bound`, the rate-distortion function of the classes. If a
    layer and those above it have fewer bits together, no classifier of samples of the layer can
    be as accurate.

    Parameters
    ----------
    accuracy : float or array-like
        Accuracy, in [0, 1].
    class_prior : array-like of shape (n_classes,)
        Probabilities of the classes. Classes of probability 0 do not count.
    unit : {"bits", "nats"}, default="bits"
        Unit of the result.

    Returns
    -------
    float or ndarray of the shape of ``accuracy``
        The least information. It is 0 for accuracies up to the largest probability of a class,
        because always guessing that class needs none.

    Raises
    ------
    ValueError
        If an accuracy is outside [0, 1], if ``class_prior`` does not hold probabilities, or if
        there is no such unit.

    See Also
    --------
    accuracy_bound : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.metrics import information_needed
    >>> information_needed([0.1, 0.5, 0.9, 1], np.full(10, 0.1)).round(3)
    array([0.   , 0.737, 2.536, 3.322])
    """
    classes = _Classes.of(class_prior)
    above_chance = _check_numbers("accuracy", accuracy, 0, 1) - classes.largest
    return (classes.nats_at(above_chance.clip(min=0)) * _unit(unit))[()]


class RateBounds(NamedTuple):
    """What the rates of a model allow, layer by layer; `rate_bounds` returns it.

    Attributes
    ----------
    rates : ndarray of shape (n_layers,)
        Rate of every layer, bits per sample, z_1 first.
    cumulative_rates : ndarray of shape (n_layers,)
        Rate of every layer together with those above it, R_l + ... + R_L, in bits. The samples
        of z_l and of the layers above have at most this much information about x.
    label_entropy : float
        Entropy of the labels, bits.
    information : ndarray of shape (n_layers,)
        The most that samples of z_l and of the layers above can tell about the label, in bits:
        the smaller one of ``cumulative_rates`` and ``label_entropy``.
    accuracy : ndarray of shape (n_layers,)
        The highest accuracy that any classifier of such samples can have. Where it is 1, the
        rates do not limit the accuracy.
    """

    rates: NDArray[np.float64]
    cumulative_rates: NDArray[np.float64]
    label_entropy: float
    information: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def rate_bounds(estimator: LatentsMixin, X: MatrixLike, y: Labels) -> RateBounds:
    """Bound what the layers of a model can tell about labels by the rates of the layers.

    I(y; z_l) <= I(y; z_l, ..., z_L) <= min(H(y), R_l + ... + R_L), and `accuracy_bound` gives the
    accuracy that this allows.

    Parameters
    ----------
    estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows to measure the rates on.
    y : array-like of shape (n_samples,)
        Labels of the rows. Their frequencies are taken as the probabilities of the classes.

    Returns
    -------
    RateBounds
        Rates, information and accuracies, in arrays (n_layers,), z_1 first.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not one of this library.
    ValueError
        If y does not hold a class for each row, or X does not suit the model.

    Notes
    -----
    These are bounds for *samples* of the latents, see `accuracy_bound`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.metrics import rate_bounds
    >>> X, y = load_iris(return_X_y=True)
    >>> hvae = HierarchicalVAETransformer((2, 0.5), max_epochs=200, random_state=0).fit(X)
    >>> bounds = rate_bounds(hvae, X, y)
    >>> bounds.cumulative_rates.round(1), bounds.accuracy.round(1)
    (array([2.5, 0.5]), array([1. , 0.7]))
    """
    check_fitted_model(estimator)
    y = check_labels(X, y)
    rates = estimator.rates(X).mean(axis=0)
    cumulative = np.cumsum(rates[::-1])[::-1]
    prior = class_frequencies(y)
    label_entropy = float(stats.entropy(prior, base=2))
    accuracy = accuracy_bound(cumulative, prior)
    return RateBounds(
        rates, cumulative, label_entropy, np.minimum(cumulative, label_entropy), accuracy
    )


def class_frequencies(y):
    """Return the frequencies of the classes in labels (n,), (n_classes,)."""
    _, counts = np.unique(y, return_counts=True)
    return counts / counts.sum()


class _Classes(NamedTuple):
    """The classes, and pieces of the curve of the least information over the accuracy; in nats.

    Every piece begins at a ``level``, a probability at which ``others`` classes besides the most
    probable one come to be guessed. There the accuracy is ``start`` above that of chance, which is
    the ``largest`` probability, and needs ``nats``. The piece ends at the next level, ``width``
    further on.
    """

    largest: float
    entropy: float
    level: NDArray[np.float64]
    others: NDArray[np.int64]
    start: NDArray[np.float64]
    width: NDArray[np.float64]
    nats: NDArray[np.float64]

    @classmethod
    def of(cls, prior):
        prior = np.asarray(prior, dtype=float)
        if prior.ndim != 1 or not (prior >= 0).all() or abs(prior.sum() - 1) > 1e-6:
            raise ValueError(
                "class_prior must hold the probabilities of the classes, which sum to 1; got "
                f"{prior.tolist()!r}. For labels y, take np.bincount(y) / len(y)."
            )
        largest, *rest = np.sort(prior[prior > 0] / prior.sum())[::-1]
        level, counts = np.unique(rest, return_counts=True)
        level, others = level[::-1], np.cumsum(counts[::-1])
        width = others * (level - np.append(level[1:], 0.0))
        start = _sums_before(width)
        piece = _nats(width, largest, start, level, others)
        return cls(largest, float(piece.sum()), level, others, start, width, _sums_before(piece))

    def nats_at(self, above_chance):
        """Compute the least information at accuracies that are so much above chance."""
        if not len(self.level):
            return np.zeros_like(above_chance)
        piece = np.searchsorted(self.start, above_chance, side="right") - 1
        into = np.minimum(above_chance - self.start[piece], self.width[piece])
        added = _nats(into, self.largest, self.start[piece], self.level[piece], self.others[piece])
        return self.nats[piece] + added


def _nats(into, largest, start, level, others):
    """Compute the information that is added on the first part, ``into``, of a piece.

    While the accuracy rises by ``into``, the probability of each of the other classes that are
    guessed falls by into / others below ``level``. Both change terms p ln p. Near chance these
    cancel to a square of ``into``, and their digits would be lost. The terms here are not negative.
    """
    accuracy = largest + start
    right = accuracy * _divergence(into / accuracy)
    wrong = others * level * _divergence(-into / (others * level))
    return into * (np.log(accuracy) - np.log(level)) + right + wrong


def _sums_before(values):
    """Sum the values before each one."""
    return np.concatenate(([0.0], np.cumsum(values)))[:-1]


def _divergence(excess):
    """Compute r ln r - r + 1 >= 0 for r = 1 + excess, to full precision near r = 1."""
    return xlog1py(1 + excess, excess) - excess


def _check_numbers(name, values, low, high):
    values = np.asarray(values, dtype=float)
    wrong = ~((values >= low) & (values <= high) & np.isfinite(values))
    if wrong.any():
        least = f"of at least {low}" if high == math.inf else f"between {low} and {high}"
        raise ValueError(f"{name} must be finite and {least}; got {values[wrong].flat[0]}.")
    return values


def _unit(unit):
    if not isinstance(unit, str) or unit not in _PER_NAT:
        raise ValueError(f"unit must be 'bits' or 'nats'; got {unit!r}.")
    return _PER_NAT[unit]
