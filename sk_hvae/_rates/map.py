"""Metrics over the rate plane, of one multi-rate model or of one fit for each point."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.parallel import delayed

from sk_hvae._estimators.multirate import MultiRateHVAETransformer
from sk_hvae._estimators.parameters import check_layer_values
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._estimators.typing import Labels, LayerValues, MatrixLike, Metrics
from sk_hvae._explorer.explorer import RateExplorer
from sk_hvae._extras import import_extra
from sk_hvae._fit.progress import counting_bar
from sk_hvae._rates.explorer_content import map_page, metric_content
from sk_hvae._rates.map_metrics import UNITS, MapTask, resolve_metrics
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae._sklearn.parallel import run_parallel
from sk_hvae.exceptions import RateTargetWarning, muted, warn_caller
from sk_hvae.plotting import RateMapDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Twice what a single fit may be off before it warns: a point of a map is one of many, and the map
# says where each really is.
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.1, 0.2
# Rates per layer, by the number of layers. Over the default range of 0.5 to 32 bits, 13 rates are
# a factor of the square root of 2 apart, 7 a factor of 2, 4 a factor of 4 and 3 a factor of 8. More
# layers get fewer rates each, because the number of points is this to the power of their number.
_POINTS_PER_AXIS = {1: 13, 2: 7, 3: 4}
_FEWEST_PER_AXIS = 3
# Points that one process fits one after the other. Longer stretches save more starts from nothing;
# shorter ones can be shared among more processes.
_POINTS_PER_STRETCH = 4


@dataclass(frozen=True, eq=False)
class RateMap:
    """Metrics over the rate plane, as `rate_map` returns them.

    Parameters
    ----------
    layer_rates : ndarray of shape (n_points, n_layers)
        Targets in bits per sample, z_1 first.
    rates : ndarray of shape (n_points, n_layers)
        Measured rates, bits per sample.
    metrics : dict of str to ndarray of shape (n_points,)
        Values of every metric.
    n_samples : int, default=None
        Number of rows on which they were measured, if it is known.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_hvae import RateMap
    >>> targets = np.array([[1.0], [2.0], [4.0]])
    >>> surface = RateMap(targets, 1.01 * targets, {"accuracy": np.array([0.5, 0.8, 0.7])})
    >>> surface.best("accuracy")
    1
    >>> surface.to_frame()["rate_z1"].tolist()
    [1.01, 2.02, 4.04]
    """

    layer_rates: NDArray[np.float64]
    rates: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
    n_samples: int | None = None

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for every point.

        Returns
        -------
        pandas.DataFrame
            The columns are "target_z1", ..., then "rate_z1", ..., then the metrics.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pd = import_extra("pandas", "RateMap.to_frame", "pandas")
        numbers = range(1, self.rates.shape[1] + 1)
        columns = {f"target_z{n}": self.layer_rates[:, n - 1] for n in numbers}
        columns |= {f"rate_z{n}": self.rates[:, n - 1] for n in numbers}
        return pd.DataFrame(columns | self.metrics)

    def best(self, metric: str) -> int:
        """Find the best point.

        Parameters
        ----------
        metric : str
            Name of a metric. The lowest "distortion" is best; of any other metric, the highest
            value.

        Returns
        -------
        int
            Index of the point in ``layer_rates``, ``rates`` and the metrics.

        Raises
        ------
        ValueError
            If there is no such metric, or none of its values is finite.
        """
        values = self.values(metric)
        values = np.where(np.isfinite(values), values, np.nan)
        if np.isnan(values).all():
            raise ValueError(f"the metric {metric!r} is finite at no point of the map.")
        return int(np.nanargmin(values) if metric == "distortion" else np.nanargmax(values))

    def plot(self, metric: str, ax: "Axes | None" = None) -> RateMapDisplay:
        """Draw a metric over the rates.

        Parameters
        ----------
        metric : str
            Name of a metric.
        ax : matplotlib.axes.Axes, default=None
            Where to draw the curve of one layer or the map of two; None makes a figure. A map of
            more layers always makes its own figure.

        Returns
        -------
        RateMapDisplay
            What was drawn, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If there is no such metric, none of its values is finite, or ``ax`` is given for more
            than two layers.
        ImportError
            If matplotlib is not installed.
        """
        return RateMapDisplay.from_map(self, metric).plot(ax=ax)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a page on which to explore the map in a browser.

        It shows all metrics and rates at every place of the map. It is a single file that needs
        neither Python nor a network. ``MultiRateHVAETransformer.explore`` makes a page that shows
        what the model makes of rows as well.

        Parameters
        ----------
        path : str or path-like
            The file, which any browser opens. A file that is there is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the page would be larger than 5 MB.
        """
        measured = "" if self.n_samples is None else f" on {self.n_samples} rows"
        about = f"Metrics at {len(self.rates)} places of the rate plane, measured{measured}."
        metrics = [metric_content(self, name) for name in self.metrics]
        RateExplorer(map_page(self, about, metrics), self).to_html(path)

    def label(self, metric: str) -> str:
        """Name a metric with its unit.

        Parameters
        ----------
        metric : str
            Name of a metric.

        Returns
        -------
        str
            Such as "psnr (dB)".
        """
        return f"{metric} ({UNITS[metric]})" if metric in UNITS else metric

    def values(self, metric: str) -> NDArray[np.float64]:
        """Return the values of a metric.

        Parameters
        ----------
        metric : str
            Name of a metric.

        Returns
        -------
        ndarray of shape (n_points,)
            Its values.

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        if metric not in self.metrics:
            raise ValueError(f"the map has the metrics {list(self.metrics)}; got {metric!r}.")
        return self.metrics[metric]


def rate_map(
    estimator: MultiRateHVAETransformer | HierarchicalVAETransformer,
    X: MatrixLike,
    y: Labels | None = None,
    *,
    layer_rates: Iterable[LayerValues] | None = None,
    metrics: Metrics = ("distortion", "psnr"),
    X_fit: MatrixLike | None = None,
    cv: Any = 3,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> RateMap:
    """Measure how metrics depend on the rates of the layers.

    Parameters
    ----------
    estimator : MultiRateHVAETransformer or HierarchicalVAETransformer
        A multi-rate model must be fitted, and is evaluated at every point. A single-rate
        estimator is cloned, and the clone is fitted at every point. Either stays as it is.
    X : array-like of shape (n_samples, n_features)
        Rows to measure on.
    y : array-like of shape (n_samples,), default=None
        Labels, for the metrics that need them. No hierarchical VAE is fitted to them.
    layer_rates : sequence of (float or tuple of float), default=None
        Points of the map: target rates in bits per sample, z_1 first, as `rate_grid` makes
        them. None takes a grid over the ``rate_range_`` of a multi-rate model. It has 13 rates for
        one layer, 7 per layer for two, 4 per layer for three, and 3 per layer for more.
    metrics : str, callable, or sequence or dict of them, default=("distortion", "psnr")
        What to measure besides the rates:

        - "distortion": the distortion, in bits per sample.
        - "lower_bound": the mean lower bound on ln p(x), in nats.
        - "psnr": the peak signal-to-noise ratio, in dB, of the mean of the data given sampled
          latents, whose information the rates limit. The peak is the range of X. Missing cells
          and the codes of categorical columns do not count; nan if there are no other cells.
        - "accuracy:logistic_regression", "accuracy:knn", "accuracy:linear_svm" and
          "accuracy:rbf_svm": cross-validated accuracy on ``transform(X)``.
        - "adjusted_rand:kmeans": the adjusted Rand index between y and the clusters that k-means
          finds in ``transform(X)``, as many as there are classes.
        - "inception_score", "diversity" and "sharpness": `sk_hvae.metrics.generation_score`
          of 2,000 samples. The classifier is a logistic regression on the standardised columns
          of X.
        - A function that takes the fitted estimator, X and y, and returns a number.

        The keys of a dict are the names of its metrics. Otherwise a function has its own name.
    X_fit : array-like of shape (m, n_features), default=None
        Rows to which a single-rate estimator is fitted; None takes X.
    cv : int or cross-validation generator, default=3
        How to split the rows to cross-validate accuracies.
    n_jobs : int, default=None
        Number of processes. None is one, unless ``joblib.parallel_config`` says otherwise. The
        results do not depend on it.
    verbose : int, default=0
        1 shows a line on stderr, or a bar in notebooks, with the points that are measured and the
        time left. With several processes it moves when one of them has measured its share.

    Returns
    -------
    RateMap
        Targets, measured rates and metrics, in the order of ``layer_rates``.

    Raises
    ------
    NotFittedError
        If a multi-rate model is not fitted.
    TypeError
        If ``estimator`` is of another class.
    ValueError
        If there is no such metric, y is missing for one that needs it, or a parameter does
        not make sense.

    Warns
    -----
    RateTargetWarning
        If some points are out of reach. The measured rates say where these points really are.

    See Also
    --------
    rate_grid : All combinations of given rates.
    RateSearchCV : Choose rates by cross-validation of a whole pipeline.

    Notes
    -----
    Rates, "distortion", "lower_bound" and "psnr" come from one pass over the rows, in the
    precision of training. Latents are drawn once, with noise that is derived from each row, so
    that it is the same at all points.

    Single-rate fits follow a path through the points, and each starts from the weights of the
    point before. The path is cut into stretches of at most 4 points, each of which starts anew.
    The stretches are the same for any number of processes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import MultiRateHVAETransformer, rate_grid, rate_map
    >>> X, y = load_iris(return_X_y=True)
    >>> multi = MultiRateHVAETransformer(
    ...     (0.5, 4), layer_rates=(1, 2), max_epochs=200, random_state=0
    ... ).fit(X)
    >>> points = rate_grid([0.5, 2], [0.5, 2])
    >>> surface = rate_map(multi, X, y, layer_rates=points, metrics=["psnr", "accuracy:knn"])
    >>> surface.layer_rates[surface.best("psnr")]
    array([2., 2.])
    """
    named = resolve_metrics(metrics, y)
    measure: Callable[..., list]
    rows: tuple
    if isinstance(estimator, MultiRateHVAETransformer):
        fitted_of(estimator)
        points = _resolve_points(layer_rates, estimator)
        order, measure, rows = np.arange(len(points)), _measure_shared, (X, y)
        n_stretches = min(effective_n_jobs(n_jobs), len(points))
    elif isinstance(estimator, HierarchicalVAETransformer):
        points = _resolve_points(layer_rates)
        order, measure = np.array(path_through(points)), _measure_fits
        rows = (X, y, X if X_fit is None else X_fit)
        n_stretches = math.ceil(len(points) / _POINTS_PER_STRETCH)
        estimator = clone(estimator).set_params(betas=None)
    else:
        raise TypeError(
            "estimator must be a fitted MultiRateHVAETransformer or a "
            f"HierarchicalVAETransformer; got {type(estimator).__name__}."
        )
    # The rows are arguments of their own, so that a cluster sends them to its workers only once.
    found: list = []
    with counting_bar("rate map", len(points), "points", bool(verbose)) as on_point:

        def receive(results):
            found.extend(results)
            on_point.reach(len(found))

        tasks = [
            delayed(measure)(estimator, points[stretch], named, cv, on_point, *rows)
            for stretch in np.array_split(order, n_stretches)
        ]
        run_parallel(tasks, receive, n_jobs=n_jobs)
    table = np.array(found)[np.argsort(order)]
    rates, values = np.split(table, [points.shape[1]], axis=1)
    _warn_if_off(points, rates)
    return RateMap(points, rates, dict(zip(named, values.T, strict=True)), _n_rows(X))


def _n_rows(X):
    return X.shape[0] if sparse.issparse(X) else len(X)


def path_through(points):
    """Order points so that consecutive ones are close: row by row, forwards and backwards.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_layers)
        Rates.

    Returns
    -------
    list of int
        Numbers of the points.
    """

    def snake(numbers, layer):
        if layer == points.shape[1]:
            return numbers
        rows = [
            snake([n for n in numbers if points[n, layer] == rate], layer + 1)
            for rate in np.unique(points[numbers, layer])
        ]
        return [n for i, row in enumerate(rows) for n in (row[::-1] if i % 2 else row)]

    return snake(list(range(len(points))), 0)


def _measure_shared(multi, points, metrics, cv, on_point, X, y):
    """Measure a multi-rate model at every point."""
    task = MapTask(metrics, X, y, cv)
    with muted(RateTargetWarning):
        first = multi.at(points[0])
        survey = task.survey(first)
        # One module for all points: to make one costs as much as a pass of a small table.
        plane, module, results = fitted_of(multi), first.module_, []
        for point in points:
            if task.is_survey:
                found = task.measure_model(plane.at(tuple(point), module), survey)
            else:
                found = task.measure(multi.at(point), survey)
            results.append(found)
            on_point()
    return results


def _measure_fits(single, points, metrics, cv, on_point, X, y, X_fit):
    """Fit a single-rate estimator at every point, each from the one before, and measure it."""
    task, single, results = MapTask(metrics, X, y, cv), clone(single), []
    with muted(RateTargetWarning):
        for number, point in enumerate(points):
            single.set_params(layer_rates=tuple(point), warm_start=number > 0).fit(X_fit)
            results.append(task.measure(single, task.survey(single)))
            on_point()
    return results


def _warn_if_off(points, rates):
    off = np.abs(rates - points) > np.maximum(_RELATIVE_TOLERANCE * points, _ABSOLUTE_TOLERANCE)
    if off.any():
        warn_caller(
            f"at {off.any(1).sum()} of {len(points)} points, rates are off their targets by over "
            "10% and 0.2 bit. The map has the rates that were measured, and its values hold at "
            "these: choose by them, or leave such points out of layer_rates.",
            RateTargetWarning,
        )


def _resolve_points(layer_rates, multi=None):
    """Return the points of the map, (n_points, n_layers)."""
    if layer_rates is not None:
        points = [check_layer_values("layer_rates", p, "bits per sample") for p in layer_rates]
        if not points or len({len(point) for point in points}) > 1:
            raise ValueError(
                "layer_rates must hold one point or more, all of the same number of layers; "
                f"got {layer_rates!r}."
            )
        return np.array(points)
    if multi is None:
        raise ValueError(
            "layer_rates are needed to fit a single-rate estimator: a list of points such as "
            "rate_grid([1, 4, 16], [1, 4, 16])."
        )
    n_points = _POINTS_PER_AXIS.get(multi.n_layers_, _FEWEST_PER_AXIS)
    low, high = multi.rate_range_.T
    axes = np.geomspace(low, high, n_points).T
    return np.array(list(itertools.product(*axes)))
