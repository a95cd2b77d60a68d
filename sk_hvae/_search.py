"""RateSearchCV: grid search over rates at one multi-rate fit per split."""

import os
import pickle
import shutil
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing

from sk_hvae._multirate import MultiRateHVAETransformer
from sk_hvae._transformer import HierarchicalVAETransformer
from sk_hvae._validation import (
    check_layer_values,
    fit_context,
    resolve_epochs,
    resolve_output_layers,
)

_FREE = {"layer_rates", "output_layers"}
_COMMON = sorted(
    set(HierarchicalVAETransformer().get_params())
    & set(MultiRateHVAETransformer().get_params()) - _FREE
)
_EPOCHS, _ROWS = 2, 3
_WIDER = 1.1


class RateSearchCV(GridSearchCV):
    """Grid search over the rates of a hierarchical VAE at one fit per split.

    It is `sklearn.model_selection.GridSearchCV`, but all candidates that differ in
    ``layer_rates`` and ``output_layers``, or in the steps that follow, take their latents
    from one `MultiRateHVAETransformer` per split, instead of training a model each. That
    costs about as much as two candidates, however many there are. Other parameters in the
    grid are handled as they need: every combination of those that change what the model
    learns, its own and those of the steps before it, has one multi-rate fit per split.

    Parameters
    ----------
    estimator : estimator
        A `HierarchicalVAETransformer`, or a `sklearn.pipeline.Pipeline` with one among its
        steps. Any other estimator is searched as GridSearchCV does.
    param_grid : dict or list of dict
        Parameter names, such as "hvae__layer_rates", and the values to try. `rate_grid` helps
        to write rates.
    scoring : str, callable, list, tuple or dict, default=None
        How to score. None takes the estimator's ``score``: that of the classifier for
        pipelines, and the lower bound for the transformer alone, which rises with the rates.
    n_jobs : int, default=None
        Number of fits at a time, also of multi-rate fits. None is one.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows, and, of several scores or by a function
        of ``cv_results_``, which is best. It is a fit of its own at the best rates.
    cv : int, cross-validation generator or iterable, default=None
        How to split. None is 5-fold, stratified for classifiers.
    verbose : int, default=0
        The higher, the more messages.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of fits handed out ahead, which limits the copies of the data in memory.
    error_score : "raise" or float, default=nan
        Score of candidates whose fit fails, or "raise" to stop there.
    return_train_score : bool, default=False
        Whether to score the training rows too, which takes time and tells of overfitting.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As GridSearchCV's, with the same keys. ``mean_fit_time`` is what a candidate adds to
        the multi-rate fits: taking the model at its rates, and fitting the other steps.
    best_estimator_ : estimator
        The best candidate, fitted on all rows by itself; an estimator of the classes of
        ``estimator``. Not there if ``refit=False``.
    best_score_ : float
        Mean score of the best candidate over the splits.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : function or dict of function
        What scored the held-out rows.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds that the last fit took. Not there if ``refit=False``.
    multimetric_ : bool
        Whether there are several scores.
    shared_fit_time_ : float
        Seconds from the start of the multi-rate fits to their end; 0.0 if there were none.
    classes_ : ndarray of shape (n_classes,)
        Class labels of the best estimator, if it is a classifier.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names of X, if it had string names.

    See Also
    --------
    MultiRateHVAETransformer : The model that the candidates share.
    rate_grid : Write a grid of rates.
    RateDistribution : Draw rates, for `sklearn.model_selection.RandomizedSearchCV`.

    Notes
    -----
    The rates of a multi-rate fit are those of its candidates, from the smallest to the
    largest, layer by layer. It makes twice the passes that a single fit makes, over batches
    of three times the ``batch_size``: less than a model that is to be used, enough to rank rates.

    Candidates are fitted by themselves, as in GridSearchCV, if ``betas`` are set,
    ``early_stopping`` or ``warm_start`` is on, the grid replaces the transformer by other
    objects, no other candidate has different rates and the rest in common, the shared fit
    fails, or the transformer is of a derived class. So are those whose parameters, such as
    functions in ``network``, cannot be pickled; with ``n_jobs``, define them in a module.

    A candidate finds the shared model by the rows that reach the transformer: set
    ``random_state`` in the steps before it. Shared models are kept in a temporary folder
    during the search, which workers on other machines need to see (set TMPDIR).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import Pipeline
    >>> from sk_hvae import HierarchicalVAETransformer, RateSearchCV, rate_grid
    >>> hvae = HierarchicalVAETransformer(
    ...     n_components=2, hidden_layer_sizes=8, max_epochs=30, random_state=0
    ... )
    >>> pipeline = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
    >>> grid = {
    ...     "hvae__layer_rates": rate_grid([0.5, 1, 2]),
    ...     "clf__C": [1, 10],
    ... }
    >>> search = RateSearchCV(pipeline, grid, cv=2).fit(*load_iris(return_X_y=True))
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.8)
    (6, True)
    """

    estimator: Any
    cv: Any
    best_estimator_: Any

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params) -> Self:
        """Score all candidates on all splits, and fit the best one on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to split, train on and score.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets; None if there are none.
        **params : dict of str to object
            ``groups`` for the splitter, and parameters of the ``fit`` of the estimator, such
            as "clf__sample_weight". Those with an entry per row are split with the rows.

        Returns
        -------
        RateSearchCV
            The fitted search.

        Raises
        ------
        ValueError
            If a parameter does not make sense, or all fits fail.

        Warns
        -----
        FitFailedWarning
            If a fit fails; says which score its candidate gets, or, of a multi-rate fit, that
            its candidates are fitted by themselves.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sk_hvae import HierarchicalVAETransformer, RateSearchCV
        >>> hvae = HierarchicalVAETransformer(
        ...     n_components=2, hidden_layer_sizes=8, max_epochs=30, random_state=0
        ... )
        >>> search = RateSearchCV(hvae, {"layer_rates": [0.5, 1, 2]}, cv=2)
        >>> search.fit(load_wine().data).best_estimator_.layer_rates in (0.5, 1, 2)
        True
        """
        step = _find_step(self.estimator, self.param_grid)
        if step is None:
            super().fit(X, y, **params)
            self.shared_fit_time_ = 0.0
            return self
        given, cv = self.estimator, self.cv
        with TemporaryDirectory(prefix="sk_hvae-") as folder:
            self.estimator = _reading(clone(given), step, Path(folder))
            self.cv = check_cv(cv, y, classifier=is_classifier(given))
            self._shared_stage = _Stage(step, Path(folder), X, y, params)
            try:
                super().fit(X, y, **params)
            finally:
                self.estimator, self.cv = given, cv
                self.__dict__.pop("_shared_stage", None)
        if self.refit:
            self.best_estimator_ = _as_given(self.best_estimator_, step)
        if self.scoring is None:
            # It holds the estimator, which must be the user's.
            self.scorer_ = check_scoring(given)
        return self

    def _run_search(self, evaluate_candidates, *, callback_ctx=None):
        """Fit what candidates share before they are evaluated, on the same splits."""
        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        # Workers get the search, but must not get the rows with it.
        stage = self.__dict__.pop("_shared_stage", None)
        if stage is None:
            super()._run_search(evaluate_candidates, **context)
            return
        splits = list(self.cv.split(stage.X, stage.y, **_split_params(self, stage.params)))
        start = time.perf_counter()
        any_shared = _fit_planes(self, stage, splits)
        self.shared_fit_time_ = time.perf_counter() - start if any_shared else 0.0
        super()._run_search(partial(evaluate_candidates, cv=check_cv(splits)), **context)
        # A split may train on all rows, but the last fit is one by itself.
        shutil.rmtree(stage.folder)


class _Step(NamedTuple):
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


class _Stage(NamedTuple):
    """What the multi-rate fits of a search need to know."""

    step: _Step
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
    """Fits a multi-rate model and puts it into the folder; ``max_epochs`` are a single fit's."""

    def _n_epochs(self, steps_per_epoch):
        return _EPOCHS * resolve_epochs(self.max_epochs, _ROWS * steps_per_epoch)

    def fit(self, X, y=None) -> Self:
        kind, rows = _kind(self.get_params(deep=False), self.layer_rates), _digest(X)
        if kind is not None and rows is not None:
            super().fit(X)
            (self._folder / kind).mkdir(exist_ok=True)
            with NamedTemporaryFile(dir=self._folder, delete=False) as file:
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
        if kind is None or not (self._folder / kind).is_dir():
            return None
        rows = _digest(X)
        return None if rows is None else self._folder / kind / rows


def _find_step(estimator, param_grid):
    """Return the first transformer whose rates are in the grid, or None."""
    names = {name for grid in ParameterGrid(param_grid).param_grid for name in grid}
    if type(estimator) is HierarchicalVAETransformer and "layer_rates" in names:
        return _Step(None)
    if isinstance(estimator, Pipeline):
        for name, step in estimator.steps:
            if type(step) is HierarchicalVAETransformer and f"{name}__layer_rates" in names:
                return _Step(name)
    return None


def _reading(estimator, step, folder):
    """Let the transformer of an estimator read its models from a folder."""
    reader = _PlaneReader()
    reader.__dict__.update(vars(step.get(estimator)), _folder=folder)
    return step.replace(estimator, reader)


def _as_given(estimator, step):
    """Undo `_reading`, of a fitted estimator; leave a transformer of the grid alone."""
    reader = step.get(estimator)
    if not isinstance(reader, _PlaneReader):
        return estimator
    plain = HierarchicalVAETransformer()
    plain.__dict__.update({k: v for k, v in vars(reader).items() if k != "_folder"})
    return step.replace(estimator, plain)


def _split_params(search, params):
    """Return what the splitter gets of the parameters of ``fit``."""
    if get_config()["enable_metadata_routing"]:
        return process_routing(search, "fit", **params).splitter.split
    return {"groups": params.get("groups")}


def _fit_planes(search, stage, splits):
    """Fit a multi-rate model per split and group of candidates; tells whether there are any.

    A fit that fails leaves no model, so that its candidates are fitted, and fail, by themselves.
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
        scoring=_has_model,
        n_jobs=search.n_jobs,
        refit=False,
        cv=splits,
        pre_dispatch=search.pre_dispatch,
        error_score=0.0,
    )
    n_fits, n_models = len(splits) * len(groups), 0
    with warnings.catch_warnings(), suppress(ValueError):  # which says that all have failed
        warnings.simplefilter("ignore", FitFailedWarning)
        fits.fit(stage.X, stage.y, **_params_before(pipeline, before, stage.params))
        n_models = round(len(splits) * fits.cv_results_["mean_test_score"].sum())
    if n_models < n_fits:
        warnings.warn(
            f"{n_fits - n_models} of {n_fits} multi-rate fits failed, so that their candidates "
            "are fitted one by one. To see why, fit a MultiRateHVAETransformer with the same "
            "parameters.",
            FitFailedWarning,
            stacklevel=2,
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


def _has_model(pipeline, X, y=None):
    """Score 1 for a multi-rate model that is in the folder; failed fits score 0."""
    return float(hasattr(pipeline[-1], "calibration_"))
