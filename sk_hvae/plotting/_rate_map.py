"""Heat maps over the rate plane, curves over one rate, and slices of higher planes."""

import itertools
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_hvae.plotting._colours import COLOURS
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, plain_ticks, pyplot

_MOST_SLICES = 16  # heat maps in a figure; more would be too small to read
_COLOURS, _STAR = "viridis", "#d62728"  # a red that stands out from every colour of viridis
_ABOVE_LABELS = 4  # matplotlib draws text at 3
_TOTALS = 2.0 ** np.arange(-8, 12)  # bits whose lines may be drawn, where they cross the map
_RINGED = "as good as the best"
_LEGEND = "0.4"  # what is white on the map is also visible in its legend
_POINTS_OF_LINE, _FEWEST_VISIBLE = 400, 30  # shorter pieces of a line have no room for its label


class RateMapDisplay(Display):
    """Draw a metric over the rates of the layers.

    For one layer, this is a curve over its measured rate. For two layers, it is a heat map over
    the target rates of z_2 (to the right) and z_1 (upwards) on logarithmic axes. Small dots show
    the measured rates, each with a line from its target, so that a dot without a tail is on target.
    Dashed lines have an equal total rate in bits. A star is the best point, or the recommended one
    if there is a region, whose points have rings; a legend says which. For more layers, there is a
    heat map of z_1 and z_2 for every combination of the targets of the other layers.

    Parameters
    ----------
    layer_rates : ndarray of shape (n_points, n_layers)
        Targets in bits per sample, z_1 first.
    rates : ndarray of shape (n_points, n_layers)
        Measured rates, bits per sample.
    values : ndarray of shape (n_points,)
        The metric.
    best : int
        Index of the best point.
    label : str
        Name of the metric, with its unit.
    region : ndarray of shape (n_points,), bool, default=None
        Points to draw a ring around, such as those of a `RateRecommendation`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes or ndarray of Axes
        Axes of the picture. For more than two layers it is an array.
    figure_ : matplotlib.figure.Figure
        The figure.

    See Also
    --------
    rate_map : Measure metrics over the rate plane.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae.plotting import RateMapDisplay
    >>> rates = np.array([[1.0], [2.0], [4.0]])
    >>> values = np.array([0.5, 0.8, 0.7])
    >>> display = RateMapDisplay(
    ...     layer_rates=rates, rates=rates, values=values, best=1, label="accuracy"
    ... )
    >>> display.plot().ax_.get_ylabel()
    'accuracy'
    """

    def __init__(
        self,
        *,
        layer_rates: NDArray[Any],
        rates: NDArray[Any],
        values: NDArray[Any],
        best: int,
        label: str,
        region: NDArray[Any] | None = None,
    ) -> None:
        self.layer_rates = layer_rates
        self.rates = rates
        self.values = values
        self.best = best
        self.label = label
        self.region = region

    @classmethod
    def from_map(cls, rate_map: Any, metric: str) -> Self:
        """Take a metric from a rate map.

        Parameters
        ----------
        rate_map : RateMap
            As `sk_hvae.rate_map` returns it.
        metric : str
            Name of a metric.

        Returns
        -------
        RateMapDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        return cls(
            layer_rates=rate_map.layer_rates,
            rates=rate_map.rates,
            values=rate_map.values(metric),
            best=rate_map.best(metric),
            label=rate_map.label(metric),
        )

    def _draw(self, ax):
        n_layers = self.rates.shape[1]
        if n_layers > 2:
            if ax is not None:
                raise ValueError(f"a map of {n_layers} layers makes its own axes; leave ax out.")
            return self._slices()
        ax = axes(ax)
        if n_layers == 1:
            self._curve(ax)
        else:
            shown = np.arange(len(self.values))
            colours = self._heat(ax, shown)
            self._star(ax, shown)
            _explain(ax, ax, _LEGEND, "white", loc="lower left", bbox_to_anchor=(0, 1))
            ax.figure.colorbar(colours, ax=ax, label=_in_words(self.label))
        return ax

    def _meaning_of_star(self):
        return "best" if self.region is None else "recommended"

    def _curve(self, ax):
        order = np.argsort(self.rates[:, 0])
        ax.plot(self.rates[order, 0], self.values[order], "o-", color=COLOURS[0], markersize=4)
        star = {"color": _STAR, "markersize": 14, "label": self._meaning_of_star()}
        ax.plot(self.rates[self.best, 0], self.values[self.best], "*", **star)
        self._rings(ax, self.rates[:, 0], self.values, np.arange(len(self.values)), "black")
        _explain(ax, ax, "white", "black", loc="best")
        ax.set_xscale("log", base=2)
        plain_ticks(ax.xaxis)
        ax.set(xlabel="rate of $z_1$ (bits)", ylabel=_in_words(self.label))

    def _heat(self, ax, shown):
        """Draw one heat map, of the points with the numbers ``shown``, over z_2 and z_1."""
        targets, values = self.layer_rates[shown], self.values[shown]
        limits = {"vmin": np.nanmin(self.values), "vmax": np.nanmax(self.values)}
        rows, columns = (np.unique(targets[:, i]) for i in (0, 1))
        is_grid = len(values) == len(rows) * len(columns) and min(len(rows), len(columns)) > 1
        if is_grid:
            table = np.full((len(rows), len(columns)), np.nan)
            places = np.searchsorted(rows, targets[:, 0]), np.searchsorted(columns, targets[:, 1])
            table[places] = values
            colours = ax.pcolormesh(
                _edges(columns), _edges(rows), table, cmap=_COLOURS, **limits, rasterized=True
            )
        else:
            colours = ax.scatter(
                targets[:, 1], targets[:, 0], c=values, s=150, cmap=_COLOURS, **limits
            )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set(
            xlim=ax.get_xlim(),
            ylim=ax.get_ylim(),
            xlabel="rate of $z_2$ (bits)",
            ylabel="rate of $z_1$ (bits)",
        )
        measured = self.rates[shown]
        for target, rate in zip(targets, measured, strict=True):
            ax.plot([target[1], rate[1]], [target[0], rate[0]], color="white", lw=0.6, alpha=0.7)
        dots = {"color": "white", "markersize": 3, "alpha": 0.9, "label": "measured rates"}
        ax.plot(measured[:, 1], measured[:, 0], ".", **dots)
        self._rings(ax, targets[:, 1], targets[:, 0], shown, "white")
        self._totals(ax, targets[:, 1::-1])
        for axis in (ax.xaxis, ax.yaxis):
            plain_ticks(axis)
        return colours

    def _rings(self, ax, across, up, shown, colour):
        """Draw rings around those of the points shown that are in the region."""
        if self.region is not None:
            ringed = self.region[shown]
            style = {"mfc": "none", "mec": colour, "ms": 14, "mew": 2, "label": _RINGED}
            ax.plot(across[ringed], up[ringed], "o", **style)

    def _totals(self, ax, targets):
        """Draw lines on which z_1 and z_2 together have an equal rate, labelled between targets."""
        low, high = ax.get_xlim()
        bottom, top = ax.get_ylim()
        for total in _TOTALS:
            across = np.geomspace(low, high, _POINTS_OF_LINE)
            up = total - across
            inside = (up > bottom) & (up < top)
            if inside.sum() < _FEWEST_VISIBLE:
                continue
            line = np.column_stack((across, up))[inside]
            ax.plot(*line.T, "--", color="black", lw=0.7, alpha=0.6)
            self._name_total(ax, total, line[_clearest(ax, line, targets)])

    def _name_total(self, ax, total, place):
        """Write the total rate on its line."""
        from matplotlib.patheffects import withStroke

        ax.annotate(
            f"{total:g}",
            place,
            ha="center",
            va="center",
            fontsize=7,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            clip_on=True,
        )

    def _star(self, ax, shown):
        if self.best in shown:
            place = self.layer_rates[self.best]
            style = {"color": _STAR, "markersize": 16, "markeredgecolor": "white"}
            style |= {"label": self._meaning_of_star(), "zorder": _ABOVE_LABELS}
            ax.plot(place[1], place[0], "*", **style)

    def _slices(self):
        """Draw a heat map for every combination of the targets of the layers above z_2."""
        levels = [np.unique(column) for column in self.layer_rates[:, 2:].T]
        slices = list(itertools.product(*levels))[:_MOST_SLICES]
        n_columns = min(len(slices), len(levels[-1]))
        n_rows = -(-len(slices) // n_columns)
        figure, panels = pyplot().subplots(
            n_rows,
            n_columns,
            figsize=(3 * n_columns + 1, 2.7 * n_rows),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, above in itertools.zip_longest(panels.flat, slices):
            if above is None:
                ax.set_axis_off()
                continue
            shown = np.flatnonzero((self.layer_rates[:, 2:] == above).all(1))
            if len(shown):
                colours = self._heat(ax, shown)
                self._star(ax, shown)
            named = (f"$z_{number}$ {rate:.3g}" for number, rate in enumerate(above, start=3))
            ax.set_title(", ".join(named) + " bits", fontsize=9)
            ax.label_outer()
            if self.best in shown:
                _explain(figure, ax, _LEGEND, "white", loc="outside upper left")
        figure.colorbar(colours, ax=panels, label=_in_words(self.label))
        return panels


def _in_words(label):
    """Write the name of a metric as words, such as "accuracy of knn" for "accuracy:knn"."""
    return label.replace(":", " of ").replace("_", " ")


def _edges(centres):
    """Return the edges of the cells of a heat map around their centres, on a logarithmic scale."""
    logs = np.log(centres)
    middles = (logs[1:] + logs[:-1]) / 2
    first, last = 2 * logs[0] - middles[0], 2 * logs[-1] - middles[-1]
    return np.exp(np.concatenate(([first], middles, [last])))


def _clearest(ax, line, targets):
    """Return the number of the point of a line that is farthest from targets and from the edges."""
    to_axes = (ax.transScale + ax.transLimits).transform
    line, targets = to_axes(line), to_axes(targets)
    from_targets = np.linalg.norm(line[:, None] - targets, axis=2).min(axis=1)
    from_edges = np.minimum(line, 1 - line).min(axis=1)
    return np.minimum(from_targets, from_edges).argmax()


def _explain(where, ax, background, colour, **place):
    """Say in a legend of a figure or of Axes what the marks on Axes are."""
    marks = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))  # each label once
    where.legend(
        marks.values(),
        marks.keys(),
        ncols=2,
        fontsize="small",
        facecolor=background,
        labelcolor=colour,
        **place,
    )
