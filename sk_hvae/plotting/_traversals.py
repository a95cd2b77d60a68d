"""What happens to the data when single units of a layer are moved."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._data.rows import ResidentRows
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import check_count, resolve_layer
from sk_hvae._estimators.typing import ImageShape, Layer, MatrixLike
from sk_hvae._fit.measurement import map_rows
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.nn import CategoricalLatent
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import (
    axes,
    column_names,
    image_shape_of,
    moments,
    mosaic,
    split,
)
from sk_hvae.plotting._meanings import ColumnChange, in_words, ranked
from sk_hvae.plotting._nominal import (
    categories_of,
    category_labels,
    category_names,
    holds_numbers,
    labels_in_schema,
    no_categories,
)

_REACH = 2.0  # standard deviations to either side: 95% of a Gaussian are within them
_CATEGORIES_OF_COLUMN = 3  # more lines would hide those of other columns
_LEAST_HEIGHT, _HEIGHT_OF_LINE = 3.5, 0.22  # inches


class TraversalDisplay(Display):
    """Draw how a decoded row changes if one unit of a layer is changed.

    For images, there is a row of pictures for every unit, from low to high values of the unit.

    For tables, there is a panel for every unit, with the columns along the way. For a column of
    numbers it shows the change in standard deviations of the column. For a column of categories
    it shows probabilities, of the 3 categories whose probability changes most.

    Parameters
    ----------
    decoded : ndarray of shape (n_units, n_steps, n_features)
        Decoded data along the way of every unit.
    start : ndarray of shape (n_features,)
        Decoded data at the point in the middle of all ways.
    units : sequence of str
        Names of the units.
    scale : ndarray of shape (n_features,)
        Standard deviation of each column.
    image_shape : tuple of int (channels, height, width) or (height, width), default=None
        Shape of images; None for tables.
    feature_names : sequence of str, default=None
        Names of the columns of tables.
    categories : ndarray of shape (n_categories, 2), default=None
        Column number and code of every category, of columns whose codes are names; None if all
        columns hold numbers.
    labels : sequence of str, default=None
        What the code of every category stands for; None takes the codes themselves.
    probabilities : ndarray of shape (n_units, n_steps, n_categories), default=None
        Probability of every category along the way of every unit.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes or ndarray of Axes of shape (n_units,) or (2, n_units)
        Axes of the picture. For tables it is an array, with a second row for categories if there
        are numbers as well.
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
    >>> first = display.changes()[0]  # what z2_1 changes most
    >>> first.unit == display.units[0], first.strength > 0.5
    (True, True)
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
        categories: NDArray[Any] | None = None,
        labels: Sequence[str] | None = None,
        probabilities: NDArray[Any] | None = None,
    ) -> None:
        self.decoded = decoded
        self.start = start
        self.units = units
        self.scale = scale
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.categories = no_categories() if categories is None else categories
        self.labels = labels
        self.probabilities: Any = probabilities

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: MatrixLike,
        *,
        layer: Layer = "top",
        row: int | None = None,
        n_units: int = 5,
        n_steps: int = 9,
        image_shape: ImageShape | None = None,
    ) -> Self:
        """Change the units of a layer that vary most over some rows.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Rows that show how far units vary. Each unit moves by two standard deviations of its
            posterior mean to either side.
        layer : int or "top", default="top"
            Number of the layer. The layers below it are at their prior means.
        row : int, default=None
            Number of the row from whose latents units move; None takes the mean of all latents.
        n_units : int, default=5
            Number of units. Those that vary most are taken.
        n_steps : int, default=9
            Number of steps from one side to the other.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width). None uses that of the estimator.

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
            If there is no such layer, if it is categorical, or if a number does not make sense.
        """
        check_fitted_model(estimator)
        check_count("n_units", n_units)
        check_count("n_steps", n_steps, 2)
        model = model_of(estimator)
        number = resolve_layer(layer, model.n_layers)
        if isinstance(model.module.layers[number - 1], CategoricalLatent):
            raise ValueError(
                f"layer {number} is categorical, and its states cannot be moved between; pass "
                "layer=1, or draw cluster_centers_ of a clusterer."
            )
        image_shape = image_shape_of(estimator, image_shape)
        rows = ResidentRows(check_new_rows(estimator, X).every(1))
        z = model.encode(rows, [number])
        start = z.mean(axis=0) if row is None else z[row]
        std = z.std(axis=0)
        chosen = np.argsort(-std, kind="stable")[:n_units]
        ways = np.tile(start, (len(chosen), n_steps, 1))
        for way, unit in zip(ways, chosen, strict=True):
            way[:, unit] = start[unit] + std[unit] * np.linspace(-_REACH, _REACH, n_steps)
        flat = ways.reshape(-1, len(start))
        table = (len(chosen), n_steps, -1)
        return cls(
            decoded=model.decode(flat, number).reshape(table),
            start=model.decode(start[None], number)[0],
            units=[f"z{number}_{unit}" for unit in chosen],
            scale=moments(rows.every(1).double().numpy())[1],
            image_shape=image_shape,
            feature_names=getattr(estimator, "feature_names_in_", None),
            categories=categories_of(estimator),
            labels=labels_in_schema(estimator),
            probabilities=_probabilities(model, flat, number).reshape(table),
        )

    def changes(self) -> list[ColumnChange]:
        """List what every unit does to every column.

        Returns
        -------
        list of ColumnChange
            Unit by unit, in the order of ``units``, with the columns that change most first. A
            column of categories has an entry for each category.
        """
        names = column_names(self.feature_names, self.decoded.shape[2])
        numbers = np.flatnonzero(holds_numbers(self.categories, len(names)))
        labels = category_labels(self.categories, self.labels)
        targets = [(names[column], None) for column in numbers]
        targets += [
            (names[int(c)], label) for (c, _), label in zip(self.categories, labels, strict=True)
        ]
        # Two standard deviations to either side of a unit that a column follows exactly move the
        # column by four of its own. A probability moves by 1 at most.
        ways = self.decoded[..., numbers]
        spans = 2 * _REACH * np.where(self.scale > 0, self.scale, 1)[numbers]
        if len(self.categories):
            ways = np.concatenate([ways, self.probabilities], axis=2)
            spans = np.concatenate([spans, np.ones(len(self.categories))])
        return [
            change
            for unit, way in zip(self.units, ways, strict=True)
            for change in ranked(unit, targets, way, spans)
        ]

    def describe(self, n_columns: int = 5) -> str:
        """Say in words what every unit does to the columns that it changes most.

        Parameters
        ----------
        n_columns : int, default=5
            Number of columns for every unit. Those that change with a strength of less than .1 are
            left out. Of the categories of a column, the one that changes most is named.

        Returns
        -------
        str
            A few lines for every unit, to be printed.

        Raises
        ------
        ValueError
            If ``n_columns`` is less than 1.
        """
        check_count("n_columns", n_columns)
        return in_words(self.units, self.changes(), n_columns)

    def _draw(self, ax):
        if self.image_shape is not None:
            ax = mosaic(self.decoded, self.image_shape, ax)
            ax.set_yticklabels(self.units)
            return ax
        numbers = np.flatnonzero(holds_numbers(self.categories, self.decoded.shape[2]))
        moved = self._most_moved()
        heights = [1 + len(shown) for shown in (numbers, moved) if len(shown)]
        height = max(_LEAST_HEIGHT, _HEIGHT_OF_LINE * (sum(heights) + 3 * len(heights)))
        ax = axes(ax, figsize=(2.2 * len(self.units) + 1, height))
        panels = split(ax, len(heights), len(self.units), heights if len(heights) > 1 else None)
        if len(numbers):
            self._draw_numbers(panels[0], numbers)
        if len(moved):
            self._draw_probabilities(panels[-1], moved)
        for panel, unit in zip(panels[0], self.units, strict=True):
            panel.set_title(unit)
        return panels if len(panels) > 1 else panels[0]

    def _draw_numbers(self, panels, columns):
        """Draw how columns of numbers change, in a panel for every unit."""
        names = column_names(self.feature_names, self.decoded.shape[2])
        changes = (self.decoded - self.start) / np.where(self.scale > 0, self.scale, 1)
        self._draw_ways(panels, changes[..., columns], ".-")
        reach = 1.05 * np.abs(changes[..., columns]).max() or 1.0
        for panel in panels:
            panel.set(xlabel="change (std)", xlim=(-reach, reach))
        _name_lines(panels, [names[column] for column in columns])

    def _draw_probabilities(self, panels, shown):
        """Draw how the probabilities of categories change, in a panel for every unit."""
        names = category_names(
            self.categories, self.feature_names, self.decoded.shape[2], self.labels
        )
        self._draw_ways(panels, self.probabilities[..., shown], ".")
        for panel in panels:
            panel.set(xlabel="probability", xlim=(-0.05, 1.05))
        _name_lines(panels, [names[number] for number in shown])

    def _draw_ways(self, panels, values, style):
        """Draw values (n_units, n_steps, n_lines), coloured from low to high steps."""
        colours = _colours(values.shape[1])
        for panel, way in zip(panels, values, strict=True):
            for step, colour in zip(way, colours, strict=True):
                panel.plot(step, range(len(step)), style, color=colour, lw=1)

    def _most_moved(self):
        """Return the numbers of the categories to draw: those of each column that change most."""
        if not len(self.categories):
            return []
        moves = np.ptp(self.probabilities, axis=1).max(axis=0)
        shown = []
        for column in np.unique(self.categories[:, 0]):
            numbers = np.flatnonzero(self.categories[:, 0] == column)
            most = np.argsort(-moves[numbers], kind="stable")[:_CATEGORIES_OF_COLUMN]
            shown += sorted(numbers[most])
        return shown


def _probabilities(model, z, layer):
    """Decode latents (n, n_units) to the probabilities of categories, (n, n_categories)."""
    module = model.in_place()
    likelihood = module.likelihood

    def decode(z):
        return likelihood.probabilities(module.decode_parameters(z, layer))

    rows = ResidentRows(torch.from_numpy(z))
    return map_rows(module, rows, decode, len(likelihood.nominal_categories))


def _name_lines(panels, names):
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)


def _colours(n_steps):
    """Return a colour for each step, from low to high."""
    from matplotlib import colormaps

    return colormaps["coolwarm"](np.linspace(0, 1, n_steps))
