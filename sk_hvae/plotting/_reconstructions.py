"""Reconstructions from each layer, which show what the layer knows of the data."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._data.rows import ResidentRows
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import draw_seed
from sk_hvae._estimators.typing import ImageShape, MatrixLike
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._colours import layer_colour
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, column_names, image_shape_of, moments, mosaic
from sk_hvae.plotting._nominal import categories_of, holds_numbers, no_categories

# In inches. Names stand upright, and would cover each other in less of the width for a column.
_COLUMN_WIDTH, _WIDTHS, _HEIGHT = 0.21, (6.4, 16), 4.8


class ReconstructionDisplay(Display):
    """Draw rows that are reconstructed from some of the layers only.

    For images, there are rows of pictures: the data, the reconstructions from z_1, which gets the
    bits of all layers, and several reconstructions from each layer above. In these, the layers
    below are drawn anew from their priors. What the reconstructions from a layer have in common
    is what the layer knows.

    For tables, bars show the share of each column's variance that is explained by the
    reconstruction from each layer, with the layers below at their prior means. A bar is negative
    if the reconstruction is worse than the mean of the column. For a column of categories, bars
    show how far the accuracy is above the base rate, which is the frequency of the most frequent
    category in X. A bar is 0 at the base rate, 1 if all rows are right, and negative below the
    base rate.

    A reconstruction from a layer uses what this layer and those above it know of x. It is
    labelled with the rate that they have together, in bits.

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
    categories : ndarray of shape (n_categories, 2), default=None
        Column number and code of every category, of columns whose codes are names; None if all
        columns hold numbers.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the picture.
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
        categories: NDArray[Any] | None = None,
    ) -> None:
        self.X = X
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.categories = no_categories() if categories is None else categories

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: MatrixLike,
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
            Rows. Of images, the first ``n_images`` are drawn.
        n_images : int, default=10
            Number of images.
        n_draws : int, default=2
            How many times the layers below are drawn anew, for images.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width). None uses that of the estimator.

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
        rows, model = check_new_rows(estimator, X), model_of(estimator)
        n_shown = len(rows) if image_shape is None else min(n_images, len(rows))
        shown = ResidentRows(rows.take(torch.arange(n_shown)))
        labels = _labels(model.measure(shown).rates.mean(axis=0))
        reconstructions = {labels[0]: model.reconstruct(shown, 1)}
        noise = model.noise(draw_seed(estimator.random_state))
        for number, label in enumerate(labels[1:], start=2):
            if image_shape is None:
                reconstructions[label] = model.reconstruct(shown, number)
                continue
            for draw in range(1, n_draws + 1):
                again = model.reconstruct(shown, number, noise)
                reconstructions[f"{label} ({draw})"] = again
        return cls(
            X=shown.every(1).double().numpy(),
            reconstructions=reconstructions,
            image_shape=image_shape,
            feature_names=getattr(estimator, "feature_names_in_", None),
            categories=categories_of(estimator),
        )

    def _draw(self, ax):
        if self.image_shape is None:
            width = np.clip(_COLUMN_WIDTH * self.X.shape[1], *_WIDTHS)
            ax = axes(ax, figsize=(width, _HEIGHT))
            self._explained(ax)
        else:
            rows = np.stack([self.X, *self.reconstructions.values()])
            ax = mosaic(rows, self.image_shape, ax, limits=(np.nanmin(self.X), np.nanmax(self.X)))
            ax.set_yticklabels(["data", *self.reconstructions])
        return ax

    def _explained(self, ax):
        """Draw the explained share of every column, as a group of bars."""
        n_columns = self.X.shape[1]
        places = np.arange(n_columns)
        width = 0.8 / len(self.reconstructions)
        numbers = holds_numbers(self.categories, n_columns)
        for index, (label, reconstruction) in enumerate(self.reconstructions.items()):
            explained = _explained_shares(self.X, reconstruction, numbers)
            shift = (index - (len(self.reconstructions) - 1) / 2) * width
            ax.bar(places + shift, explained, width, color=layer_colour(index + 1), label=label)
        names = column_names(self.feature_names, n_columns)
        if numbers.any():
            names = [
                name if is_number else f"{name}*"
                for name, is_number in zip(names, numbers, strict=True)
            ]
        ax.set_xticks(places, names, rotation=90 if n_columns > 4 else 0)
        ax.axhline(0, color="black", lw=0.8)
        ax.set(ylabel=_what_is_explained(numbers), ylim=(None, 1))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)


def _what_is_explained(numbers):
    """Label the bars, for columns that hold numbers or categories, (n_columns,) bool."""
    if numbers.all():
        return "explained variance"
    if numbers.any():
        return "explained variance\n(* accuracy over the base rate)"
    return "accuracy over the base rate\n(0: most frequent category, 1: all right)"


def _labels(rates):
    """Name layers by their number and the total rate of each with those above, from all rates."""
    *below, top = np.cumsum(rates[::-1])[::-1]
    labels = [f"$z_{n}$ and above, {bits:.3g} bits" for n, bits in enumerate(below, start=1)]
    return [*labels, f"$z_{len(rates)}$, {top:.3g} bits"]


def _explained_shares(X, reconstruction, numbers):
    """Return 1 minus the error of each column over that of the best constant, (n_features,).

    The error of a column of ``numbers``, (n_features,) bool, is the mean squared error; that of
    categories is the share that is wrong. A constant column has 0.
    """
    constant = np.where(numbers, moments(X)[0], _most_frequent(X))
    errors, of_constant = (_mean_errors(X, guess, numbers) for guess in (reconstruction, constant))
    varies = of_constant > 0
    return np.where(varies, 1 - errors / np.where(varies, of_constant, 1), 0.0)


def _mean_errors(X, guess, numbers):
    errors = np.where(numbers, np.square(X - guess), guess != X)
    known = ~np.isnan(X)
    return np.where(known, errors, 0.0).sum(axis=0) / known.sum(axis=0).clip(min=1)


def _most_frequent(X):
    """Return the most frequent value of each column; NaN for a column without values."""
    values = []
    for column in X.T:
        codes, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        values.append(codes[counts.argmax()] if len(codes) else np.nan)
    return np.array(values)
