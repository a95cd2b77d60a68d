"""Which rates suit a task, and why: read off a map of the rate plane."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sk_hvae._estimators.multirate import MultiRateHVAETransformer
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._estimators.typing import Labels, LayerValues, MatrixLike, Metric
from sk_hvae._input.kept import unchanged_rows
from sk_hvae._rates.map import RateMap, rate_map
from sk_hvae._rates.map_metrics import ACCURACIES, NAMES, name_of
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.exceptions import muted
from sk_hvae.plotting import RateMapDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The Gaussian process of two layers has four hyperparameters: fewer than two points for each say
# nothing of the noise.
_FEWEST_TO_SMOOTH = 8
# Two splits count as "about as many bits" if their totals differ by less than this factor. Points
# of a grid are a factor of two apart in single layers, and seldom have equal totals.
_SAME_TOTAL = 1.2
# A layer that has collapsed has a rate of about 0, whose logarithm is cut off here, in bits.
_LEAST_RATE = 1e-3


class _TaskMetrics(NamedTuple):
    """Metrics that belong to a task: those to measure, and others that serve as well."""

    measured: tuple[str, ...]
    others: tuple[str, ...] = ()


_TASKS = {
    "reconstruction": _TaskMetrics(("psnr", "distortion")),
    "classification": _TaskMetrics(("accuracy:logistic_regression", "accuracy:knn"), ACCURACIES),
    "generation": _TaskMetrics(("inception_score",)),
    "clustering": _TaskMetrics(("adjusted_rand:kmeans",)),
}


@dataclass(frozen=True, eq=False)
class RateRecommendation:
    """Rates for a task, as `recommend_rates` returns them. Printing it shows the reason.

    Parameters
    ----------
    task : str
        The task, or the name of the metric that was asked for.
    metric : str
        The metric of the map that decided.
    layer_rates : tuple of float
        Recommended target rates in bits per sample, z_1 first. Of the points of the region, this
        one has the least total rate.
    value : float
        The metric at this point, as it was measured.
    region : ndarray of shape (n_points,), bool
        Points of the map that are as good as the best one, as far as the noise lets one tell.
    tolerance : float
        Largest difference to the best value that still counts as being as good.
    reason : str
        The reason, in words and numbers.
    rate_map : RateMap
        The map that it was read from.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae import RateMap, recommend_rates
    >>> rates = np.array([[1.0], [2.0], [4.0], [8.0]])
    >>> surface = RateMap(rates, rates, {"accuracy:knn": np.array([0.5, 0.8, 0.9, 0.7])})
    >>> recommend_rates(surface, "classification").layer_rates
    (4.0,)
    """

    task: str
    metric: str
    layer_rates: tuple[float, ...]
    value: float
    region: NDArray[np.bool_]
    tolerance: float
    reason: str
    rate_map: RateMap

    def __str__(self) -> str:
        return self.reason

    def plot(self, ax: "Axes | None" = None) -> RateMapDisplay:
        """Draw the metric over the rates, with a ring around each point of the region.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw, as in ``RateMap.plot``.

        Returns
        -------
        RateMapDisplay
            What was drawn, with ``ax_`` and ``figure_``; the star is at ``layer_rates``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        surface = self.rate_map
        chosen = (surface.layer_rates == self.layer_rates).all(axis=1)
        display = RateMapDisplay(
            layer_rates=surface.layer_rates,
            rates=surface.rates,
            values=surface.values(self.metric),
            best=int(np.flatnonzero(chosen)[0]),
            label=surface.label(self.metric),
            region=self.region,
        )
        return display.plot(ax=ax)


def recommend_rates(
    estimator_or_map: RateMap | MultiRateHVAETransformer | HierarchicalVAETransformer,
    task: Metric,
    X: MatrixLike | None = None,
    y: Labels | None = None,
    *,
    layer_rates: Iterable[LayerValues] | None = None,
    n_jobs: int | None = None,
) -> RateRecommendation:
    """Find rates for a task, and give the reason.

    A Gaussian process in the logarithms of the rates smooths the metric that belongs to the task
    over the rate plane, and estimates its noise. All points within that noise of the best one are
    as good as it. If the metric is an accuracy, and its standard error over the rows is larger
    than that noise, the standard error takes its place. Of these points, the one with the least
    total rate is recommended.

    Parameters
    ----------
    estimator_or_map : RateMap, MultiRateHVAETransformer or HierarchicalVAETransformer
        A map that has a metric for the task, or an estimator from which `rate_map` makes one. A
        fitted multi-rate model is quickest.
    task : {"reconstruction", "classification", "generation", "clustering"}, str or callable
        Task for which the latents are used:

        - "reconstruction": "psnr", or "distortion" if there is no psnr, as for a table of
          categorical columns.
        - "classification": the "accuracy:..." with the highest value anywhere on the map. If an
          estimator is measured, these are logistic regression and k nearest neighbours.
        - "generation": "inception_score".
        - "clustering": "adjusted_rand:kmeans".
        - The name of any metric of the map, or a function that takes the fitted estimator, X and
          y, and returns a number. Larger is better, except for "distortion".
    X : array-like of shape (n_samples, n_features), default=None
        Rows to measure an estimator on. None takes those to which a multi-rate model was fitted,
        if they are still in memory and have not changed. A map needs no rows.
    y : array-like of shape (n_samples,), default=None
        Labels of the rows, which all tasks except reconstruction need.
    layer_rates : sequence of (float or tuple of float), default=None
        Points at which to measure an estimator, as in `rate_map`.
    n_jobs : int, default=None
        As in `rate_map`.

    Returns
    -------
    RateRecommendation
        ``layer_rates``, the region, and the reason in words and numbers.

    Raises
    ------
    ValueError
        If there is no such task, if the map has no metric for it, if X is missing and the
        estimator does not have the unchanged rows of its fit, or if a task needs labels and y is
        missing. Nothing is guessed in place of what is missing.

    See Also
    --------
    rate_map : Makes such a map.
    RateSearchCV : Choose rates by the score of a whole pipeline.

    Notes
    -----
    The rates are chosen on these rows; measure how good they are on other rows. With fewer than
    8 points nothing is smoothed, and no noise is known except the standard error of accuracies.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import MultiRateHVAETransformer, rate_grid, recommend_rates
    >>> X, y = load_iris(return_X_y=True)
    >>> multi = MultiRateHVAETransformer(
    ...     (0.5, 4), layer_rates=(1, 2), hidden_layer_sizes=32, max_epochs=200, random_state=0
    ... ).fit(X)
    >>> points = rate_grid([0.5, 1, 2], [0.5, 1, 2])
    >>> advice = recommend_rates(multi, "classification", X, y, layer_rates=points)
    >>> 0.5 <= min(advice.layer_rates) <= max(advice.layer_rates) <= 2
    True
    """
    if isinstance(estimator_or_map, RateMap):
        surface = estimator_or_map
    else:
        if X is None and isinstance(estimator_or_map, MultiRateHVAETransformer):
            X = unchanged_rows(fitted_of(estimator_or_map), estimator_or_map)
        if X is None:
            raise ValueError("pass the rows X to measure the estimator on, or a RateMap.")
        surface = rate_map(
            estimator_or_map,
            X,
            y,
            layer_rates=layer_rates,
            metrics=_metrics_to_measure(task),
            n_jobs=n_jobs,
        )
    return _recommend(surface, name_of(task), _choose_metric(surface, name_of(task)))


def _metrics_to_measure(task):
    if callable(task):
        return [task]
    if task in _TASKS:
        return _TASKS[task].measured
    if task not in NAMES:
        raise ValueError(
            f"there is no task {task!r}; take one of {', '.join(map(repr, _TASKS))}, the name of "
            "a metric of rate_map, or a function of (estimator, X, y)."
        )
    return [task]


def _choose_metric(surface, task):
    """Return the metric of the map that belongs to a task."""
    wanted = [*_TASKS[task].measured, *_TASKS[task].others] if task in _TASKS else [task]
    known = [
        name
        for name in dict.fromkeys(wanted)
        if name in surface.metrics and np.isfinite(surface.values(name)).any()
    ]
    if not known:
        raise ValueError(
            f"for the task {task!r} the map needs finite values of "
            f"{' or '.join(map(repr, dict.fromkeys(wanted)))}; it has the metrics "
            f"{list(surface.metrics)}. Pass metrics to rate_map, or another task: "
            f"{', '.join(map(repr, _TASKS))}, or the name of a metric."
        )
    if task != "classification":
        return known[0]
    return max(known, key=lambda name: _finite(surface.values(name)).max())


def _finite(values):
    """Return the values that are finite."""
    return values[np.isfinite(values)]


def _recommend(surface, task, metric):
    sign = -1 if metric == "distortion" else 1
    smooth, noise = _smooth(surface.rates, sign * surface.values(metric))
    tolerance = max(noise, _sampling_error(surface, metric))
    region = smooth >= np.nanmax(smooth) - tolerance
    totals = surface.rates.sum(axis=1)
    chosen = int(np.where(region, totals, np.inf).argmin())
    return RateRecommendation(
        task=task,
        metric=metric,
        layer_rates=tuple(surface.layer_rates[chosen].tolist()),
        value=float(surface.values(metric)[chosen]),
        region=region,
        tolerance=tolerance,
        reason=_explain(surface, task, metric, chosen, region, tolerance),
        rate_map=surface,
    )


def _sampling_error(surface, metric):
    """Return the standard error of the best accuracy over the rows; 0 for other metrics."""
    if metric not in ACCURACIES or surface.n_samples is None:
        return 0.0
    accuracy = _finite(surface.values(metric)).max()
    return float(np.sqrt(accuracy * (1 - accuracy) / surface.n_samples))


def _smooth(rates, values):
    """Return values (n_points,) without their noise, and the standard deviation of the noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    known = np.isfinite(values)
    if known.sum() < _FEWEST_TO_SMOOTH or np.ptp(values[known]) == 0:
        return np.where(known, values, np.nan), 0.0
    logs = np.log2(rates.clip(min=_LEAST_RATE))
    # Lengths count doublings of a rate: from less than the step of a map's grid, to so many that
    # the metric does not depend on the layer. Noise is at most all of the variance.
    lengths = RBF(np.full(rates.shape[1], 2.0), (0.3, 30.0))
    kernel = ConstantKernel() * lengths + WhiteKernel(0.1, (1e-5, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    # A length scale at its bound is no failure: the metric does not depend on that layer.
    with muted(ConvergenceWarning):
        process.fit(logs[known], values[known])
    noise = float(np.sqrt(process.kernel_.k2.noise_level) * values[known].std())
    return np.where(known, process.predict(logs), np.nan), noise


def _explain(surface, task, metric, chosen, region, tolerance):
    values, totals = surface.values(metric), surface.rates.sum(axis=1)
    best, n_good, n_points = surface.best(metric), region.sum(), np.isfinite(values).sum()
    aim = "By" if task == metric else f"For {task}, by"
    sentences = [
        f"{aim} {surface.label(metric)}: {_point(surface, chosen)} give "
        f"{values[chosen]:.3g} at {totals[chosen]:.3g} bits in total. The best of {n_points} "
        f"points is {values[best]:.3g} at {_point(surface, best)}",
    ]
    if n_good > 1:
        sentences.append(
            f"{n_good} points are as good, within a noise of {tolerance:.2g}. They have "
            f"{totals[region].min():.3g} to {totals[region].max():.3g} bits in total, of which "
            "these are the fewest"
        )
    elif tolerance:
        sentences.append(f"No other point is as good, within a noise of {tolerance:.2g}")
    else:
        sentences.append("The map is too small to tell its noise, so the best is taken as it is")
    sentences += _slopes(surface, values)
    sentences += _other_split(surface, metric, chosen)
    largest = surface.layer_rates.max(axis=0)
    at_edge = [f"z_{n}" for n, high in enumerate(surface.layer_rates[chosen] >= largest, 1) if high]
    if at_edge:
        sentences.append(
            f"The map ends at this rate of {' and '.join(at_edge)}: a wider one may hold better "
            "points"
        )
    return ". ".join(sentences) + "."


def _point(surface, number):
    return "(" + ", ".join(f"{rate:.3g}" for rate in surface.layer_rates[number]) + ") bits"


def _slopes(surface, values):
    """Say what doubling the rate of a layer does on average, for layers whose rate was varied."""
    from sklearn.linear_model import LinearRegression

    varied = np.flatnonzero(np.ptp(surface.layer_rates, axis=0))
    known = np.isfinite(values)
    if known.sum() <= len(varied) + 1 or not len(varied):
        return []
    logs = np.log2(surface.rates[known][:, varied].clip(min=_LEAST_RATE))
    slopes = LinearRegression().fit(logs, values[known]).coef_
    parts = [f"z_{n + 1} by {slope:+.2g}" for n, slope in zip(varied, slopes, strict=True)]
    return [f"On average, doubling the rate of a layer changes the value: {', '.join(parts)}"]


def _other_split(surface, metric, chosen):
    """Say what the worst point with about the same total rate gives."""
    totals = surface.rates.sum(axis=1)
    alike = np.abs(np.log(totals / totals[chosen])) < np.log(_SAME_TOTAL)
    values = np.where(alike, surface.values(metric), np.nan)
    if surface.rates.shape[1] == 1 or np.isfinite(values).sum() < 2:
        return []
    worst = int(np.nanargmax(values) if metric == "distortion" else np.nanargmin(values))
    if worst == chosen:
        return []
    return [f"Of about as many bits, the split {_point(surface, worst)} gives {values[worst]:.3g}"]
