"""Accuracies of classifiers on the latents of each layer."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv, cross_val_score

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.parameters import resolve_output_layers
from sk_hvae._estimators.typing import Labels, MatrixLike, OutputLayers
from sk_hvae._extras import import_extra
from sk_hvae.metrics._checks import check_fitted_model, check_labels

# Linear classifiers show what is easy to read off latents; the other two, what is in them at all.
CLASSIFIERS = ("logistic_regression", "linear_svm", "rbf_svm", "knn")


@dataclass(frozen=True, eq=False)
class DownstreamScores:
    """Accuracies of classifiers on latents, as `downstream_scores` returns them.

    Parameters
    ----------
    layers : tuple of str
        Names of the layers that were read, such as "z1" or "z1+z2".
    classifiers : tuple of str
        Names of the classifiers.
    accuracy : ndarray of shape (n_layers, n_classifiers)
        Mean accuracy over the splits.
    std : ndarray of shape (n_layers, n_classifiers)
        Standard deviation of the accuracy over the splits.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.metrics import DownstreamScores
    >>> scores = DownstreamScores(("z1",), ("knn",), np.array([[0.9]]), np.array([[0.01]]))
    >>> scores.to_frame().loc["z1", "knn"]
    np.float64(0.9)
    """

    layers: tuple[str, ...]
    classifiers: tuple[str, ...]
    accuracy: NDArray[np.float64]
    std: NDArray[np.float64]

    def to_frame(self) -> Any:
        """Return the accuracies as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A row for every layer, a column for every classifier.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pd = import_extra("pandas", "DownstreamScores.to_frame", "pandas")
        return pd.DataFrame(self.accuracy, index=self.layers, columns=self.classifiers)


def downstream_scores(
    estimator: LatentsMixin,
    X: MatrixLike,
    y: Labels,
    *,
    classifiers: str | Sequence[str] | Mapping[str, Any] = CLASSIFIERS,
    layers: OutputLayers | Sequence[OutputLayers] | None = None,
    sample: bool = False,
    cv: Any = 3,
) -> DownstreamScores:
    """Cross-validate classifiers on the latents of every layer.

    Parameters
    ----------
    estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
        Fitted. It has not seen any labels; for scores of new data, fit it to other rows than X.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Labels of the rows.
    classifiers : sequence of str or dict of str to classifier, optional
        Some of "logistic_regression", "linear_svm", "rbf_svm" and "knn", which have
        scikit-learn's default parameters; or a dict of classifiers of your own by name. The
        default is all four.
    layers : int, {"top", "all"} or list of these, default=None
        Which latents the classifiers read. Each entry of a list is scored by itself: a layer
        number, "top", "all", or a list of layer numbers that are read side by side. None takes
        every layer by itself, and then all layers side by side.
    sample : bool, default=False
        Whether classifiers read samples of the latents, to which the limits of `rate_bounds`
        apply, instead of posterior means, on which they score higher. Samples are drawn once.
    cv : int or cross-validation generator, default=3
        How to split the rows. The splits are the same for all layers and classifiers.

    Returns
    -------
    DownstreamScores
        Accuracies, layers by classifiers.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not one of this library.
    ValueError
        If there is no such classifier or layer, or y does not hold a class for each row.

    Notes
    -----
    Columns are not standardised. A column of ``transform`` varies the more, the more bits it
    carries; one that carries none hardly varies, and standardising would blow up its noise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.metrics import downstream_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> hvae = HierarchicalVAETransformer((3, 1), max_epochs=200, random_state=0).fit(X)
    >>> scores = downstream_scores(hvae, X, y, classifiers=["knn"])
    >>> scores.layers, scores.accuracy.shape
    (('z1', 'z2', 'z1+z2'), (3, 1))
    """
    check_fitted_model(estimator)
    y = check_labels(X, y)
    named = _resolve_classifiers(classifiers)
    n_layers = estimator.n_layers_
    entries: Any = layers
    if layers is None:
        entries = [*range(1, n_layers + 1), *(["all"] if n_layers > 1 else [])]
    elif isinstance(layers, (str, Integral)):
        entries = [layers]
    numbers = [resolve_output_layers(entry, n_layers, "an entry of layers") for entry in entries]
    latents = estimator.latents(X, sample=sample)
    tables = [np.hstack([latents[n - 1] for n in read]) for read in numbers]
    splits = list(check_cv(cv, y, classifier=True).split(tables[0], y))
    scores = np.array(
        [
            cross_val_score(classifier, table, y, cv=splits, scoring="accuracy")
            for table, classifier in itertools.product(tables, named.values())
        ]
    ).reshape(len(tables), len(named), -1)
    names = tuple("+".join(f"z{n}" for n in read) for read in numbers)
    return DownstreamScores(names, tuple(named), scores.mean(axis=2), scores.std(axis=2))


def _resolve_classifiers(classifiers):
    if isinstance(classifiers, Mapping):
        return dict(classifiers)
    names = [classifiers] if isinstance(classifiers, str) else classifiers
    if not isinstance(names, (list, tuple)) or not names or not set(names) <= set(CLASSIFIERS):
        raise ValueError(
            f"classifiers must be some of {', '.join(map(repr, CLASSIFIERS))}, or a dict of your "
            f"own by name; got {classifiers!r}."
        )
    return {name: make_classifier(name) for name in names}


def make_classifier(name):
    """Return one of `CLASSIFIERS`, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC, LinearSVC

    return {
        "logistic_regression": LogisticRegression(max_iter=1000),
        "linear_svm": LinearSVC(random_state=0),
        "rbf_svm": SVC(random_state=0),
        "knn": KNeighborsClassifier(),
    }[name]
