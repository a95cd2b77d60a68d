"""The accuracy of a classifier at each rate, and the highest that any classifier could have."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.parameters import resolve_layer
from sk_hvae._estimators.typing import Labels, Layer, LayerValues, MatrixLike
from sk_hvae.exceptions import RateTargetWarning, muted
from sk_hvae.metrics import accuracy_bound, downstream_scores
from sk_hvae.metrics._bounds import class_frequencies
from sk_hvae.metrics._checks import check_fitted_model, check_labels
from sk_hvae.plotting._colours import COLOURS
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes

_N_RATES = 7  # as `rate_map` takes for two layers: over the default range, one per factor of 2
_SAMPLES, _MEANS = "samples", "posterior means (not bounded)"


class AccuracyBoundDisplay(Display):
    """Draw the accuracy of classifiers on latents over the rate, together with its upper bound.

    The bound is for classifiers of *samples*. It begins at the share of the largest class, which
    can be guessed without any information. Posterior means are functions of x that may tell
    more than the rate, so that accuracies on them may lie above the bound. They are drawn too,
    and the legend says that they are not bounded.

    Parameters
    ----------
    rates : ndarray of shape (n_points,)
        Rate of the layer together with those above it, bits per sample.
    accuracies : dict of str to ndarray of shape (n_points,)
        Measured accuracies by name.
    class_prior : ndarray of shape (n_classes,)
        Probabilities of the classes.
    label : str
        Label of the horizontal axis, which is the rate.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the picture.
    figure_ : matplotlib.figure.Figure
        The figure.

    See Also
    --------
    sk_hvae.metrics.accuracy_bound : The bound.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.plotting import AccuracyBoundDisplay
    >>> display = AccuracyBoundDisplay(
    ...     rates=np.array([0.5, 1.0, 2.0]),
    ...     accuracies={"samples": np.array([0.6, 0.7, 0.9])},
    ...     class_prior=np.full(3, 1 / 3),
    ...     label="rate of $z_2$ (bits)",
    ... )
    >>> display.plot().ax_.get_ylabel()
    'accuracy'
    """

    def __init__(
        self,
        *,
        rates: NDArray[Any],
        accuracies: dict[str, NDArray[Any]],
        class_prior: NDArray[Any],
        label: str,
    ) -> None:
        self.rates = rates
        self.accuracies = accuracies
        self.class_prior = class_prior
        self.label = label

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: MatrixLike,
        y: Labels,
        *,
        layer: Layer = "top",
        classifier: str = "logistic_regression",
        layer_rates: Iterable[LayerValues] | None = None,
        cv: Any = 3,
    ) -> Self:
        """Measure a classifier of one layer at several rates of a multi-rate model.

        Parameters
        ----------
        estimator : MultiRateHVAETransformer or HierarchicalVAETransformer
            Fitted. A single-rate model gives a single point.
        X : array-like of shape (n_samples, n_features)
            Rows, preferably some to which the estimator was not fitted.
        y : array-like of shape (n_samples,)
            Labels of the rows.
        layer : int or "top", default="top"
            Number of the layer that the classifier reads.
        classifier : str, default="logistic_regression"
            Name of a classifier, as in `sk_hvae.metrics.downstream_scores`.
        layer_rates : sequence of (float or tuple of float), default=None
            Target rates of a multi-rate model. None takes 7 rates of the layer over
            ``rate_range_``, and leaves the other layers at the rates of the estimator's
            ``layer_rates``.
        cv : int or cross-validation generator, default=3
            How to split the rows.

        Returns
        -------
        AccuracyBoundDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        ValueError
            If there is no such layer or classifier, or if y does not hold a class for each row.
        """
        check_fitted_model(estimator)
        y = check_labels(X, y)
        number = resolve_layer(layer, estimator.n_layers_)
        if hasattr(estimator, "at"):
            targets = _sweep(estimator, number) if layer_rates is None else layer_rates
            with muted(RateTargetWarning):
                models = [estimator.at(rates) for rates in targets]
        else:
            models = [estimator]
        splits = list(check_cv(cv, y, classifier=True).split(X, y))
        how = {"classifiers": [classifier], "layers": [number], "cv": splits}
        accuracies = {
            name: np.array(
                [
                    downstream_scores(model, X, y, sample=sample, **how).accuracy[0, 0]
                    for model in models
                ]
            )
            for name, sample in ((_SAMPLES, True), (_MEANS, False))
        }
        above = "" if number == estimator.n_layers_ else " and the layers above"
        return cls(
            rates=np.array([model.rates(X).mean(0)[number - 1 :].sum() for model in models]),
            accuracies=accuracies,
            class_prior=class_frequencies(y),
            label=f"rate of $z_{number}${above} (bits)",
        )

    def _draw(self, ax):
        ax = axes(ax)
        order = np.argsort(self.rates)
        for index, (name, values) in enumerate(self.accuracies.items()):
            style = {"color": COLOURS[index % len(COLOURS)], "label": name}
            style |= {"linestyle": "--" if name == _MEANS else "-"}
            ax.plot(self.rates[order], values[order], marker="o", markersize=4, **style)
        rates = np.linspace(0, 1.05 * self.rates.max(), 400)
        bound = accuracy_bound(rates, self.class_prior)
        ax.plot(rates, bound, color="black", label="bound for samples")
        ax.fill_between(rates, bound, 1.02, color="black", alpha=0.08, lw=0)
        ax.set(xlabel=self.label, ylabel="accuracy", xlim=(0, rates[-1]), ylim=(None, 1.02))
        ax.legend(loc="lower right")
        return ax


def _sweep(multi, number):
    """Vary the rate of one layer over the range of a multi-rate model."""
    low, high = multi.rate_range_[number - 1]
    points = np.tile(np.atleast_1d(np.asarray(multi.layer_rates, float)), (_N_RATES, 1))
    points[:, number - 1] = np.geomspace(low, high, _N_RATES)
    return points
