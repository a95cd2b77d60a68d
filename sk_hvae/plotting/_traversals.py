"""What single units of a layer do to the data."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_hvae._latents import LatentsMixin
from sk_hvae._tables import as_numbers
from sk_hvae._typing import ImageShape, Layer, Rows
from sk_hvae._validation import check_count, resolve_layer
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.nn import CategoricalLatent
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, column_names, image_shape_of, mosaic, split

_REACH = 2.0


class TraversalDisplay(Display):
    """Draw what happens to a row when one unit of a layer is moved.

    Of images, a row of pictures for every unit, from low to high. Of tables, for every unit
    the columns along the way, in their standard deviations from where they were.

    Parameters
    ----------
    decoded : ndarray of shape (n_units, n_steps, n_features)
        Data decoded along the way of every unit.
    start : ndarray of shape (n_features,)
        What is decoded where all ways begin.
    units : sequence of str
        Names of the units.
    scale : ndarray of shape (n_features,)
        Standard deviation of each column.
    image_shape : tuple of int (channels, height, width) or (height, width), default=None
        Shape of images; None for tables.
    feature_names : sequence of str, default=None
        Names of the columns of tables.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes or ndarray of Axes of shape (n_units,)
        Where it was drawn; an array for tables.
    figure_ : matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.plotting import TraversalDisplay
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> display = TraversalDisplay.from_estimator(hvae, X, n_units=2).plot()
    >>> len(display.ax_)
    2
    """

    def __init__(
        self,
        *,
        decoded: NDArray[Any],
        start: NDArray[Any],
        units: Sequence[str],
        scale: NDArray[Any],
        image_shape: ImageShape | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.decoded = decoded
        self.start = start
        self.units = units
        self.scale = scale
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: Rows,
        *,
        layer: Layer = "top",
        row: int | None = None,
        n_units: int = 5,
        n_steps: int = 9,
        image_shape: ImageShape | None = None,
    ) -> Self:
        """Move the units of a layer that vary most over some rows.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Rows that tell how far units vary: each moves by two standard deviations of its
            posterior mean to either side.
        layer : int or "top", default="top"
            Number of the layer. Layers below take their prior means.
        row : int, default=None
            Number of the row to start from; None starts from the mean of the latents.
        n_units : int, default=5
            Number of units, those that vary most.
        n_steps : int, default=9
            Number of steps.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width); None takes that of the estimator.

        Returns
        -------
        TraversalDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        ValueError
            If there is no such layer, it is categorical, or a number does not make sense.
        """
        check_fitted_model(estimator)
        check_count("n_units", n_units)
        check_count("n_steps", n_steps, 2)
        number = resolve_layer(layer, estimator.n_layers_)
        if isinstance(estimator.module_.layers[number - 1], CategoricalLatent):
            raise ValueError(
                f"layer {number} is categorical, and its states cannot be moved between; pass "
                "layer=1, or draw cluster_centers_ of a clusterer."
            )
        z = estimator.latents(X)[number - 1]
        start = z.mean(axis=0) if row is None else z[row]
        std = z.std(axis=0)
        chosen = np.argsort(-std, kind="stable")[:n_units]
        ways = np.tile(start, (len(chosen), n_steps, 1))
        for way, unit in zip(ways, chosen, strict=True):
            way[:, unit] = start[unit] + std[unit] * np.linspace(-_REACH, _REACH, n_steps)
        decoded = estimator._decode(ways.reshape(-1, len(start)), number)
        return cls(
            decoded=decoded.reshape(len(chosen), n_steps, -1),
            start=estimator._decode(start[None], number)[0],
            units=[f"z{number}_{unit}" for unit in chosen],
            scale=np.nanstd(np.asarray(as_numbers(X), dtype=float), axis=0),
            image_shape=image_shape_of(estimator, image_shape),
            feature_names=getattr(estimator, "feature_names_in_", None),
        )

    def _draw(self, ax):
        if self.image_shape is not None:
            ax = mosaic(self.decoded, self.image_shape, ax)
            ax.set_yticklabels(self.units)
            return ax
        ax = axes(ax, figsize=(2.2 * len(self.units) + 1, 3.5))
        panels = split(ax, 1, len(self.units))[0]
        n_columns = self.decoded.shape[2]
        names = column_names(self.feature_names, n_columns)
        colours = _colours(self.decoded.shape[1])
        for panel, unit, way in zip(panels, self.units, self.decoded, strict=True):
            moved = (way - self.start) / np.where(self.scale > 0, self.scale, 1)
            for line, colour in zip(moved, colours, strict=True):
                panel.plot(line, range(n_columns), ".-", color=colour, lw=1)
            panel.set(title=unit, xlabel="change (std)")
        panels[0].set_yticks(range(n_columns), names)
        panels[0].invert_yaxis()
        return panels


def _colours(n_steps):
    """Return colours from low to high."""
    from matplotlib import colormaps

    return colormaps["coolwarm"](np.linspace(0, 1, n_steps))
