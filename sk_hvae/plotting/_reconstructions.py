"""What each layer knows of the data, and what it leaves open."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_hvae._latents import LatentsMixin
from sk_hvae._typing import ImageShape, Rows
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, column_names, image_shape_of, mosaic


class ReconstructionDisplay(Display):
    """Draw what is left of rows when only some layers are kept.

    Of images, a row of pictures for the data, one for z_1, which has all the bits, and for
    every layer above several in which the layers below are drawn anew from their priors: what
    they have in common is what the layer knows.

    Of tables, the share of each column's variance that the reconstruction from each layer
    explains, with the layers below at their prior means; negative where it is worse than the
    column's mean.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The data.
    reconstructions : dict of str to ndarray of shape (n_samples, n_features)
        Reconstructions by name, in the order in which to draw them.
    image_shape : tuple of int (channels, height, width) or (height, width), default=None
        Shape of images; None for tables.
    feature_names : sequence of str, default=None
        Names of the columns of tables.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.plotting import ReconstructionDisplay
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(hvae, X).plot()
    >>> display.ax_.get_ylabel()
    'explained variance'
    """

    def __init__(
        self,
        *,
        X: NDArray[Any],
        reconstructions: dict[str, NDArray[Any]],
        image_shape: ImageShape | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.X = X
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: Rows,
        *,
        n_images: int = 10,
        n_draws: int = 2,
        image_shape: ImageShape | None = None,
    ) -> Self:
        """Reconstruct rows from every layer.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Rows; of images the first ``n_images`` are drawn.
        n_images : int, default=10
            Number of images.
        n_draws : int, default=2
            How often to draw the layers below anew, for images.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width); None takes that of the estimator.

        Returns
        -------
        ReconstructionDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        ValueError
            If ``image_shape`` does not suit the model.
        """
        check_fitted_model(estimator)
        image_shape = image_shape_of(estimator, image_shape)
        shown: Any = X
        if image_shape is not None:
            shown = shown[:n_images]
        names = getattr(estimator, "feature_names_in_", None)
        bits = np.cumsum(estimator.rates(shown).mean(axis=0)[::-1])[::-1]
        labels = [f"$z_{n}$, {b:.3g} bits" for n, b in enumerate(bits, start=1)]
        rows, noise = estimator._check_new(shown), estimator._noise()
        reconstructions = {labels[0]: estimator._reconstruct(rows, 1)}
        for number, label in enumerate(labels[1:], start=2):
            if image_shape is None:
                reconstructions[label] = estimator._reconstruct(rows, number)
                continue
            for draw in range(1, n_draws + 1):
                again = estimator._reconstruct(rows, number, noise)
                reconstructions[f"{label} ({draw})"] = again
        return cls(
            X=rows.every(1).double().numpy(),
            reconstructions=reconstructions,
            image_shape=image_shape,
            feature_names=names,
        )

    def _draw(self, ax):
        if self.image_shape is None:
            ax = axes(ax)
            self._explained(ax)
        else:
            rows = np.stack([self.X, *self.reconstructions.values()])
            ax = mosaic(rows, self.image_shape, ax)
            ax.set_yticklabels(["data", *self.reconstructions])
        return ax

    def _explained(self, ax):
        """Draw the explained variance of every column as groups of bars."""
        places = np.arange(self.X.shape[1])
        width = 0.8 / len(self.reconstructions)
        variance = np.nanvar(self.X, axis=0)
        for index, (label, reconstruction) in enumerate(self.reconstructions.items()):
            errors = np.nanmean(np.square(self.X - reconstruction), axis=0)
            explained = 1 - np.divide(
                errors, variance, out=np.ones_like(errors), where=variance > 0
            )
            shift = (index - (len(self.reconstructions) - 1) / 2) * width
            ax.bar(places + shift, explained, width, label=label)
        names = column_names(self.feature_names, len(places))
        ax.set_xticks(places, names, rotation=90 if len(places) > 4 else 0)
        ax.axhline(0, color="black", lw=0.8)
        ax.set(ylabel="explained variance", ylim=(None, 1))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
