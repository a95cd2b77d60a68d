"""How diverse samples are, and how clear, as a classifier sees them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr


class GenerationScore(NamedTuple):
    """How diverse and clear samples are for a classifier; `generation_score` returns it.

    Attributes
    ----------
    inception_score : float
        diversity * sharpness, from 1 to the number of classes.
    diversity : float
        How many classes the samples spread over: exp of the entropy of the mean of p(y | x),
        from 1 to the number of classes.
    sharpness : float
        How certain the classifier is of each sample: exp of minus the mean entropy of p(y | x),
        from 1 / n_classes to 1.
    """

    inception_score: float
    diversity: float
    sharpness: float


def generation_score(samples: ArrayLike, classifier: Any) -> GenerationScore:
    """Score samples of a model by the class probabilities that a classifier gives them.

    This is the inception score [1]_, split into two factors as Xiao & Bamler do [2]_. Samples are
    good if together they cover all classes, and if each one clearly belongs to one class.

    Parameters
    ----------
    samples : array-like of shape (n_samples, n_features)
        Samples, such as ``sample(1000, mean=True)`` of a fitted estimator.
    classifier : object with ``predict_proba``
        Fitted to data and labels: any probabilistic classifier of scikit-learn, for example.

    Returns
    -------
    GenerationScore
        Inception score, diversity and sharpness.

    Raises
    ------
    TypeError
        If the classifier has no ``predict_proba``.

    Notes
    -----
    With few samples the diversity is biased downwards, and so is the score. Scores depend on the
    classifier: compare scores of the same classifier only, and compare them with its score of
    real data.

    References
    ----------
    .. [1] Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016.
    .. [2] Xiao and Bamler, "Trading Information between Latents in Hierarchical
       Variational Autoencoders", ICLR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sk_hvae.metrics import generation_score
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=1000).fit(X, y)
    >>> score = generation_score(X, classifier)
    >>> round(score.diversity, 1), round(score.sharpness, 1)
    (3.0, 0.8)
    """
    if not hasattr(classifier, "predict_proba"):
        raise TypeError(
            f"classifier must have predict_proba; {type(classifier).__name__} has not. "
            "CalibratedClassifierCV gives it to any classifier."
        )
    probabilities = classifier.predict_proba(samples)
    diversity = float(np.exp(entr(probabilities.mean(axis=0)).sum()))
    sharpness = float(np.exp(-entr(probabilities).sum(axis=1).mean()))
    return GenerationScore(diversity * sharpness, diversity, sharpness)
