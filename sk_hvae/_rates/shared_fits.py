"""Multi-rate fits that the candidates of a search share, by way of a folder."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.parallel import delayed

from sk_hvae._data.batches import n_batches
from sk_hvae._data.whole_file import whole_file
from sk_hvae._estimators.multirate import MultiRateHVAETransformer
from sk_hvae._estimators.parameters import check_layer_values, resolve_output_layers
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._fit.progress import counting_bar
from sk_hvae._rates.search_costs import ROWS, shared_cost, shared_epochs, single_cost
from sk_hvae._sklearn.callbacks import FitReport, subtask, subtasks, with_callbacks
from sk_hvae._sklearn.fitted_state import columns_of, fitted_of, set_fitted
from sk_hvae._sklearn.parallel import run_parallel
from sk_hvae._sklearn.privates import check_method_params, fit_context, safe_split, validate_params
from sk_hvae.exceptions import warn_caller

_FREE = {"layer_rates", "output_layers", "checkpoint"}
_COMMON = sorted(
    set(HierarchicalVAETransformer().get_params())
    & set(MultiRateHVAETransformer().get_params()) - _FREE
)
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

    def up_to(self, estimator):
        """Return the estimator without the steps after the transformer."""
        if self.name is None:
            return estimator
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

    def is_cheaper(self, sizes):
        """Tell whether shared fits are less work than single ones, given the rows of each split."""
        batch_size, max_epochs = self.common["batch_size"] // ROWS, self.common["max_epochs"]
        n_layers = len(self.rates[0])
        shared = sum(shared_cost(n, batch_size, max_epochs, n_layers) for n in sizes)
        return shared < len(self.rates) * sum(single_cost(n, batch_size, max_epochs) for n in sizes)

    def writer(self, folder, n_rows):
        """Return the multi-rate estimator for the rates of the group and a number of rows."""
        rates = np.array(self.rates)
        low, high = rates.min(0), rates.max(0)
        single = low == high
        low, high = np.where(single, low / _WIDER, low), np.where(single, high * _WIDER, high)
        writer = _PlaneWriter(
            list(zip(low.tolist(), high.tolist(), strict=True)),
            layer_rates=self.rates[0],
            **self.common,
        )
        kind = _kind(writer.get_params(deep=False), self.rates[0])
        steps_per_epoch = n_batches(n_rows, writer.batch_size)
        writer.set_params(max_epochs=shared_epochs(writer.max_epochs, steps_per_epoch))
        return _with_folder(writer, folder / kind)


class _InFolder:
    """Know the folder of the multi-rate models, also as a clone."""

    folder: Path

    def __sklearn_clone__(self):
        return _with_folder(super().__sklearn_clone__(), self.folder)  # type: ignore[misc]


def _with_folder(estimator, folder):
    estimator.folder = folder
    return estimator


def _shown_as(public):
    """Give a class the name of a public one in messages and progress bars.

    Pickles find it by its ``__qualname__``, which stays.
    """

    def rename(own):
        own.__name__ = public.__name__
        return own

    return rename


@_shown_as(MultiRateHVAETransformer)
class _PlaneWriter(_InFolder, MultiRateHVAETransformer):
    """Fits a multi-rate model and puts it into the folder, under the digest of its rows."""

    def fit(self, X, y=None) -> Self:  # noqa: ARG002 scikit-learn passes y
        rows = _digest(X)
        if rows is not None:
            super().fit(X)
            self.folder.mkdir(exist_ok=True)
            # Splits with the same rows write the same file, perhaps at once.
            with whole_file(self.folder / rows, suffix=f".{uuid4().hex}") as file:
                joblib.dump(self, file)
        return self


@_shown_as(HierarchicalVAETransformer)
class _PlaneReader(_InFolder, HierarchicalVAETransformer):
    """Takes its model from the folder, or fits one if there is none for its rows."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        path = self._path(X)
        if path is None or not path.exists():
            return super().fit(X, y)
        report = FitReport(self, X, y)
        single = joblib.load(path).at(self.layer_rates)
        resolve_output_layers(self.output_layers, single.n_layers_)
        set_fitted(self, fitted_of(single), columns_of(single))
        report.end()
        return self

    def _path(self, X):
        """Return where a model for the rows would be; they are hashed only if there may be one."""
        common = _common_params(self)
        kind = None if common is None else _kind(common, self.layer_rates)
        if kind is None:
            return None
        if not self.folder.is_dir():
            raise FileNotFoundError(_UNSEEN.format(self.folder))
        if not (self.folder / kind).is_dir():
            return None
        rows = _digest(X)
        return None if rows is None else self.folder / kind / rows


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
    reader.__dict__.update(vars(step.get(estimator)), folder=folder)
    return step.replace(estimator, reader)


def as_given(estimator, step):
    """Undo `reading`, of a fitted estimator; leave a transformer of the grid alone."""
    reader = step.get(estimator)
    if not isinstance(reader, _PlaneReader):
        return estimator
    plain = HierarchicalVAETransformer()
    plain.__dict__.update({k: v for k, v in vars(reader).items() if k != "folder"})
    return step.replace(estimator, plain)


def fit_planes(search, stage, splits, context=None):
    """Fit a multi-rate model per split and group of candidates; tells whether there are any.

    A fit that fails leaves no model, so that its candidates are fitted, and fail, by themselves.
    Where a worker does not see the folder, that is an error: there is no more to be shared.

    Parameters
    ----------
    search : RateSearchCV
        Its estimator reads from the folder.
    stage : Stage
        What there is to know.
    splits : list of (train, test)
        Rows of every split.
    context : CallbackContext, default=None
        That of the search in scikit-learn's callback protocol; None where there is none.
    """
    X, y = indexable(stage.X, stage.y)
    trains = [train for train, _ in splits]
    groups = _groups(search, stage.step, [_n_chosen(train) for train in trains])
    is_shown = bool(groups) and search.verbose > 0
    if is_shown:
        print(f"Fitting {len(splits)} x {len(groups)} multi-rate models")
    pipeline = stage.step.up_to(search.estimator)
    params = _params_before(pipeline, stage)
    fits = [
        (_fitting(pipeline, group, stage, _n_chosen(train)), train)
        for group in groups
        for train in trains
    ]
    with subtasks(context, search, "shared-fit", len(fits)) as contexts:
        tasks = (
            delayed(_fit_plane)(search, clone(writing), X, y, train, params, own)
            for (writing, train), own in zip(fits, contexts, strict=True)
        )
        how = {"n_jobs": search.n_jobs, "pre_dispatch": search.pre_dispatch}
        with counting_bar("shared fits", len(fits), "models", is_shown) as on_fit:
            outcomes = run_parallel(tasks, lambda _: on_fit(), **how)
    if "unseen" in outcomes:
        raise FileNotFoundError(_UNSEEN.format(stage.folder))
    n_failed = outcomes.count("failed")
    if n_failed:
        warn_caller(
            f"{n_failed} of {len(fits)} multi-rate fits failed, so that their candidates "
            "are fitted one by one. To see why, fit a MultiRateHVAETransformer with the same "
            "parameters.",
            FitFailedWarning,
        )
    return bool(fits)


def _groups(search, step, sizes):
    """Return the groups of two rates or more for which a shared fit is less work.

    ``sizes`` are the numbers of rows to train on, split by split.
    """
    before = _names_before(step.up_to(search.estimator))
    groups: dict[str, _Group] = {}
    for candidate in ParameterGrid(search.param_grid):
        twin = clone(search.estimator).set_params(**clone(candidate, safe=False))
        transformer = step.get(twin)
        if not isinstance(transformer, _PlaneReader):
            continue
        common = _common_params(transformer)
        if common is None:
            continue
        rates = check_layer_values("layer_rates", transformer.layer_rates, "bits per sample")
        upstream = {k: v for k, v in candidate.items() if k.split("__")[0] in before}
        key = _digest(*upstream, *upstream.values(), *common.values(), len(rates))
        if key is not None:
            groups.setdefault(key, _Group(upstream, common, [])).rates.append(rates)
    several = [group for group in groups.values() if len(set(group.rates)) > 1]
    return [group for group in several if group.is_cheaper(sizes)]


def _n_chosen(train):
    """Return the number of rows that indices or a mask choose."""
    train = np.asarray(train)
    return int(train.sum()) if train.dtype == bool else len(train)


def _names_before(pipeline):
    """Return the names of the steps before the transformer, with which a pipeline ends."""
    return {name for name, _ in pipeline.steps[:-1]} if isinstance(pipeline, Pipeline) else set()


def _fitting(pipeline, group, stage, n_rows):
    """Return what ends with the writer of a group, for its parameters of the steps before."""
    twin = clone(pipeline).set_params(**clone(group.upstream, safe=False))
    return stage.step.replace(twin, group.writer(stage.folder, n_rows))


def _fit_plane(search, writing, X, y, train, params, context):
    """Fit to the training rows of a split; tells how it went: "done", "failed" or "unseen"."""
    writer = writing[-1] if isinstance(writing, Pipeline) else writing
    if not writer.folder.parent.is_dir():
        return "unseen"
    params = check_method_params(X, params, train)
    X, y = safe_split(writing, X, y, train)
    try:
        with subtask(context, search, writing, X, y):
            writing.fit(X, y, **params)
    except Exception:
        return "failed"
    return "done" if hasattr(writer, "calibration_") else "failed"


def _common_params(transformer):
    """Return the parameters of the multi-rate model for a transformer, or None.

    None if it is to be fitted by itself, and if its parameters are not valid.
    """
    if transformer.betas is not None or transformer.early_stopping or transformer.warm_start:
        return None
    try:
        validate_params(transformer)
        check_layer_values("layer_rates", transformer.layer_rates, "bits per sample")
    except ValueError:
        return None
    params = {name: getattr(transformer, name) for name in _COMMON}
    params["batch_size"] *= ROWS
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


def _params_before(pipeline, stage):
    """Return the parameters of ``fit`` that steps before the transformer get."""
    if get_config()["enable_metadata_routing"]:
        names = get_routing_for_object(pipeline).consumes("fit", stage.params)
    else:
        before = _names_before(pipeline)
        names = {name for name in stage.params if name.split("__")[0] in before}
    return {name: stage.params[name] for name in names}
