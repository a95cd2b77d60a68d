"""What `rate_map` measures at every point: metrics by name, or functions."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import check_cv, cross_val_score

from sk_hvae._data.devices import module_device, resolve_autocast
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import draw_seed
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._sklearn.inner_fits import k_means
from sk_hvae.metrics import generation_score
from sk_hvae.metrics._downstream import CLASSIFIERS, make_classifier
from sk_hvae.metrics._reconstruction import psnr_of_error
from sk_hvae.nn.units import LN2

# More samples make the generation scores less noisy, and the diversity less biased downwards; they
# are drawn and classified at every point of a map.
_N_GENERATED = 2000
# Metrics that come from one pass over the rows, without a transform or a classifier.
_SURVEYED = ("distortion", "lower_bound", "psnr")
_GENERATION = ("inception_score", "diversity", "sharpness")
_CLUSTERING = "adjusted_rand:kmeans"
ACCURACIES = tuple(f"accuracy:{name}" for name in CLASSIFIERS)
_NEED_LABELS = (*ACCURACIES, *_GENERATION, _CLUSTERING)
NAMES = (*_SURVEYED, *_NEED_LABELS)
UNITS = {"distortion": "bits", "lower_bound": "nats", "psnr": "dB"}


def resolve_metrics(metrics, y):
    """Return metrics, each a name or a function, by the names that they have in the result."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Mapping):
        metrics = {name_of(metric): metric for metric in metrics}
    for metric in metrics.values():
        if not callable(metric) and metric not in NAMES:
            raise ValueError(
                f"there is no metric {metric!r}; pass a function of (estimator, X, y), or one of "
                f"{', '.join(map(repr, NAMES))}."
            )
        if y is None and metric in _NEED_LABELS:
            raise ValueError(f"the metric {metric!r} needs labels; pass y.")
    return dict(metrics)


def name_of(metric):
    """Return the name of a metric, or of a function that computes one."""
    return getattr(metric, "__name__", repr(metric)) if callable(metric) else metric


class MapTask:
    """What to measure at every point of a map, and on which rows.

    Parameters
    ----------
    metrics : dict of str to (str or callable)
        As `resolve_metrics` returns them.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or None
        Labels.
    cv : int or cross-validation generator
        How to split the rows to cross-validate accuracies.
    """

    def __init__(self, metrics: dict[str, str | Callable], X: Any, y: Any, cv: Any):
        self.metrics = metrics
        self.X = X
        self.y = y
        self.cv = cv
        self._classifier = None

    @property
    def is_survey(self):
        """Whether all metrics come from passes over the rows."""
        return set(self.metrics.values()) <= set(_SURVEYED)

    def survey(self, single):
        """Prepare passes of models with the encoder of a fitted estimator."""
        model = model_of(single)
        autocast = resolve_autocast(
            single.precision,
            module_device(model.module),
            model.architecture.hidden_layer_sizes,
        )
        rows = check_new_rows(single, self.X).every(1)
        with_error = "psnr" in self.metrics.values()
        return PlaneSurvey(model.module, rows, autocast=autocast, with_error=with_error)

    def measure_model(self, model, survey):
        """Measure a `Fitted` by passes over the rows alone; see `is_survey`."""
        measured = survey.measure(model.module)
        values = [_surveyed(metric, survey, measured) for metric in self.metrics.values()]
        return [*measured.rates, *values]

    def measure(self, single, survey):
        """Measure a fitted estimator, and return its rates and then the metrics."""
        measured = survey.measure(single.module_)
        generated = None
        if set(self.metrics.values()) & set(_GENERATION):
            model = model_of(single)
            noise = model.noise(draw_seed(single.random_state))
            samples = model.sample(_N_GENERATED, noise, mean=True)
            generated = generation_score(samples, self._classifier_of(single))
        values = [
            getattr(generated, metric)
            if metric in _GENERATION
            else self._value(metric, single, survey, measured)
            for metric in self.metrics.values()
        ]
        return [*measured.rates, *values]

    def _value(self, metric, single, survey, measured):
        if callable(metric):
            return float(metric(single, self.X, self.y))
        if metric in _SURVEYED:
            return _surveyed(metric, survey, measured)
        latents = single.transform(self.X)
        if metric == _CLUSTERING:
            _, labels = k_means(np.asarray(latents), len(np.unique(self.y)), 10, 0)
            return adjusted_rand_score(self.y, labels)
        classifier = make_classifier(metric.partition(":")[2])
        return cross_val_score(classifier, latents, self.y, cv=self._splits).mean()

    @cached_property
    def _splits(self):
        """Split the rows in the same way for all points and classifiers."""
        return list(check_cv(self.cv, self.y, classifier=True).split(self.X, self.y))

    def _classifier_of(self, single):
        """Return a classifier fitted to the rows themselves, as numbers, which judges samples."""
        if self._classifier is None:
            from sklearn.impute import SimpleImputer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            classifier = make_pipeline(
                SimpleImputer(keep_empty_features=True),
                StandardScaler(),
                LogisticRegression(max_iter=1000),
            )
            rows = check_new_rows(single, self.X).every(1).double().numpy()
            self._classifier = classifier.fit(rows, self.y)
        return self._classifier


def _surveyed(metric, survey, measured):
    """Return a metric that a `PlaneMeasurement` has."""
    if metric == "distortion":
        return measured.distortion
    if metric == "lower_bound":
        return -LN2 * (measured.distortion + measured.rates.sum())
    return psnr_of_error(measured.squared_error, survey.data_range)
