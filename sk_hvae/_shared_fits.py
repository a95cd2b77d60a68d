"""Multi-rate fits that the candidates of a search share, by way of a folder."""

import os
import pickle
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from sk_hvae._multirate import MultiRateHVAETransformer
from sk_hvae._transformer import HierarchicalVAETransformer
from sk_hvae._validation import (
    check_layer_values,
    fit_context,
    resolve_epochs,
    resolve_output_layers,
)
from sk_hvae.exceptions import warn_caller

_FREE = {"layer_rates", "output_layers", "checkpoint"}
_COMMON = sorted(
    set(HierarchicalVAETransformer().get_params())
    & set(MultiRateHVAETransformer().get_params()) - _FREE
)
_EPOCHS, _ROWS = 2, 3
_WIDER = 1.1
_UNSEEN = (
    "a worker of the search does not see {}, where the models that candidates share are kept. Set "
    "TMPDIR, before Python starts, to a folder that all machines share, or use GridSearchCV."
)


class Step(NamedTuple):
    """Where the transformer is in an estimator: at a pipeline's step, or it is the estimator."""

    name: str | None

    def get(self, estimator):
        return estimator if self.name is None else estimator.named_steps.get(self.name)

    def replace(self, estimator, transformer):
        if self.name is None:
            return transformer
        return estimator.set_params(**{self.name: transformer})

    def pipeline(self, estimator):
        """Return the pipeline that ends with the transformer."""
        if self.name is None:
            return Pipeline([("hvae", estimator)])
        return estimator[: list(estimator.named_steps).index(self.name) + 1]


class Stage(NamedTuple):
    """What the multi-rate fits of a search need to know."""

    step: Step
    folder: Path
    X: Any
    y: Any
    params: dict


class _Group(NamedTuple):
    """What candidates that share a multi-rate fit have in common, and the rates of each."""

    upstream: dict
    common: dict
    rates: list[tuple[float, ...]]


class _InFolder:
    """Know the folder of the multi-rate models, also as a clone."""

    _folder: Path

    def __sklearn_clone__(self):
        twin = super().__sklearn_clone__()  # type: ignore[misc]
        twin._folder = self._folder
        return twin


class _PlaneWriter(_InFolder, MultiRateHVAETransformer):
    """Fits a multi-rate model and puts it into the folder, unless this machine has not got that.

    ``max_epochs`` are a single fit's.
    """

    def _n_epochs(self, steps_per_epoch):
        return _EPOCHS * resolve_epochs(self.max_epochs, _ROWS * steps_per_epoch)

    def fit(self, X, y=None) -> Self:
        kind, rows = _kind(self.get_params(deep=False), self.layer_rates), _digest(X)
        if kind is not None and rows is not None and self._folder.is_dir():
            super().fit(X)
            (self._folder / kind).mkdir(exist_ok=True)
            with NamedTemporaryFile(dir=self._folder / kind, delete=False) as file:
                joblib.dump(self, file)
            os.replace(file.name, self._folder / kind / rows)
        return self


class _PlaneReader(_InFolder, HierarchicalVAETransformer):
    """Takes its model from the folder, or fits one if there is none for its rows."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        path = self._path(X)
        if path is None or not path.exists():
            return super().fit(X, y)
        single = joblib.load(path).at(self.layer_rates)
        resolve_output_layers(self.output_layers, single.n_layers_)
        parameters = self.get_params(deep=False)
        self.__dict__.update({k: v for k, v in vars(single).items() if k not in parameters})
        return self

    def _path(self, X):
        """Return where a model for the rows would be; they are hashed only if there may be one."""
        common = _common_params(self)
        kind = None if common is None else _kind(common, self.layer_rates)
        if kind is None:
            return None
        if not self._folder.is_dir():
            raise FileNotFoundError(_UNSEEN.format(self._folder))
        if not (self._folder / kind).is_dir():
            return None
        rows = _digest(X)
        return None if rows is None else self._folder / kind / rows


def find_step(estimator, param_grid):
    """Return the first transformer whose rates are in the grid, or None."""
    names = {name for grid in ParameterGrid(param_grid).param_grid for name in grid}
    if type(estimator) is HierarchicalVAETransformer and "layer_rates" in names:
        return Step(None)
    if isinstance(estimator, Pipeline):
        for name, step in estimator.steps:
            if type(step) is HierarchicalVAETransformer and f"{name}__layer_rates" in names:
                return Step(name)
    return None


def reading(estimator, step, folder):
    """Let the transformer of an estimator read its models from a folder."""
    reader = _PlaneReader()
    reader.__dict__.update(vars(step.get(estimator)), _folder=folder)
    return step.replace(estimator, reader)


def as_given(estimator, step):
    """Undo `reading`, of a fitted estimator; leave a transformer of the grid alone."""
    reader = step.get(estimator)
    if not isinstance(reader, _PlaneReader):
        return estimator
    plain = HierarchicalVAETransformer()
    plain.__dict__.update({k: v for k, v in vars(reader).items() if k != "_folder"})
    return step.replace(estimator, plain)


def fit_planes(search, stage, splits):
    """Fit a multi-rate model per split and group of candidates; tells whether there are any.

    A fit that fails leaves no model, so that its candidates are fitted, and fail, by themselves.
    Where a worker does not see the folder, that is an error: there is no more to be shared.
    """
    pipeline = stage.step.pipeline(search.estimator)
    *before, (name, _) = pipeline.steps
    candidates = ParameterGrid(search.param_grid)
    groups = _groups(search.estimator, stage.step, {name for name, _ in before}, candidates)
    if not groups:
        return False
    if search.verbose > 0:
        print(f"Fitting {len(splits)} x {len(groups)} multi-rate models")
    grid = [
        {**{k: [v] for k, v in group.upstream.items()}, name: [_writer(group, stage.folder)]}
        for group in groups
    ]
    fits = GridSearchCV(
        pipeline,
        grid,
        scoring=_outcome,
        n_jobs=search.n_jobs,
        refit=False,
        cv=splits,
        pre_dispatch=search.pre_dispatch,
        error_score=0.0,
    )
    n_fits, n_models, n_unseen = len(splits) * len(groups), 0, 0
    with warnings.catch_warnings(), suppress(ValueError):  # which says that all have failed
        warnings.simplefilter("ignore", FitFailedWarning)
        fits.fit(stage.X, stage.y, **_params_before(pipeline, before, stage.params))
        n_models, n_unseen = (
            round(len(splits) * fits.cv_results_[f"mean_test_{name}"].sum())
            for name in ("model", "unseen")
        )
    if n_unseen:
        raise FileNotFoundError(_UNSEEN.format(stage.folder))
    if n_models < n_fits:
        warn_caller(
            f"{n_fits - n_models} of {n_fits} multi-rate fits failed, so that their candidates "
            "are fitted one by one. To see why, fit a MultiRateHVAETransformer with the same "
            "parameters.",
            FitFailedWarning,
        )
    return True


def _groups(estimator, step, names_before, candidates):
    """Return the groups of two rates or more."""
    groups: dict[str, _Group] = {}
    for candidate in candidates:
        twin = clone(estimator).set_params(**clone(candidate, safe=False))
        transformer = step.get(twin)
        if not isinstance(transformer, _PlaneReader):
            continue
        common = _common_params(transformer)
        if common is None:
            continue
        rates = check_layer_values("layer_rates", transformer.layer_rates, "bits per sample")
        upstream = {k: v for k, v in candidate.items() if k.split("__")[0] in names_before}
        key = _digest(*upstream, *upstream.values(), *common.values(), len(rates))
        if key is not None:
            groups.setdefault(key, _Group(upstream, common, [])).rates.append(rates)
    return [group for group in groups.values() if len(set(group.rates)) > 1]


def _writer(group, folder):
    """Return the multi-rate estimator of a group, for the rates in it."""
    rates = np.array(group.rates)
    low, high = rates.min(0), rates.max(0)
    single = low == high
    low, high = np.where(single, low / _WIDER, low), np.where(single, high * _WIDER, high)
    writer = _PlaneWriter(
        list(zip(low.tolist(), high.tolist(), strict=True)),
        layer_rates=group.rates[0],
        **group.common,
    )
    writer._folder = folder
    return writer


def _common_params(transformer):
    """Return the parameters of the multi-rate model for a transformer, or None.

    None if it is to be fitted by itself, and if its parameters are not valid.
    """
    if transformer.betas is not None or transformer.early_stopping or transformer.warm_start:
        return None
    try:
        transformer._validate_params()
        check_layer_values("layer_rates", transformer.layer_rates, "bits per sample")
    except ValueError:
        return None
    params = {name: getattr(transformer, name) for name in _COMMON}
    params["batch_size"] *= _ROWS
    return params


def _kind(params, layer_rates):
    """Return a name for the multi-rate models that suit a transformer, or None."""
    return _digest(*(params[name] for name in _COMMON), np.size(layer_rates))


def _digest(*values):
    """Return a hash of values that is the same in other processes, or None."""
    try:
        # One by one: the hash of a collection depends on which members are the same object.
        return joblib.hash([joblib.hash(value) for value in values])
    except (AttributeError, TypeError, pickle.PicklingError):
        return None


def _params_before(pipeline, before, params):
    """Return the parameters of ``fit`` that steps before the transformer get."""
    if get_config()["enable_metadata_routing"]:
        names = get_routing_for_object(pipeline).consumes("fit", params)
    else:
        steps = {name for name, _ in before}
        names = {name for name in params if name.split("__")[0] in steps}
    return {name: params[name] for name in names}


def _outcome(pipeline, X, y=None):
    """Tell whether a model came into the folder, and whether there was one; failed fits score 0."""
    writer = pipeline[-1]
    return {
        "model": float(hasattr(writer, "calibration_")),
        "unseen": float(not writer._folder.is_dir()),
    }
