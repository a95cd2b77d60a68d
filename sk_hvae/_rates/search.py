"""RateSearchCV: grid search over rates at one multi-rate fit per split."""

import shutil
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, check_cv
from sklearn.utils.metadata_routing import process_routing

from sk_hvae._estimators.typing import Labels, MatrixLike
from sk_hvae._rates.shared_fits import Stage, as_given, find_step, fit_planes, reading
from sk_hvae._sklearn.documentation import DocumentationLinkMixin
from sk_hvae._sklearn.privates import fit_context


class RateSearchCV(DocumentationLinkMixin, GridSearchCV):
    """Grid search over the rates of a hierarchical VAE at one fit per split.

    It is `sklearn.model_selection.GridSearchCV`, but all candidates that differ in
    ``layer_rates`` and ``output_layers``, or in the steps that follow, take their latents
    from one `MultiRateHVAETransformer` per split, instead of training a model each. That
    costs about as much as two or three candidates, however many there are, and is done where
    it is predicted to be less work, see Notes. Other parameters in the grid are handled as
    they need: every combination of those that change what the model learns, its own and those
    of the steps before it, has one multi-rate fit per split.

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

    Candidates share a fit only if that is predicted to be less work than a fit for each, in
    optimiser steps. With n rows, batches of b and E epochs, a single fit costs E ceil(n / b)
    steps. The multi-rate fit makes 2 E ceil(n / 3b) steps that cost 1 + 0.7 r each, where r is
    min(n, 3b) / min(n, b), and two more for each of the linear codes at its start (96, or 32
    for one layer) and of the nodes of its grid (12, 64, 125, 81 and 243 for one to five layers).
    With "auto" epochs and one to three layers, three or four candidates are enough. Steps are
    counted and not timed, so that results depend neither on the machine nor on ``n_jobs``.

    Candidates are also fitted by themselves, as in GridSearchCV, if ``betas`` are set,
    ``early_stopping`` or ``warm_start`` is on, the grid replaces the transformer by other
    objects, no other candidate has different rates and the rest in common, the shared fit
    fails, or the transformer is of a derived class. So are those whose parameters, such as
    functions in ``network``, cannot be pickled; with ``n_jobs``, define them in a module.

    A candidate finds the shared model by the rows that reach the transformer: set
    ``random_state`` in the steps before it. Shared models are kept in a temporary folder
    during the search, which workers on other machines need to see: set TMPDIR, see
    :doc:`/user_guide/cluster`.

    Callbacks of scikit-learn 1.9, such as its ProgressBar, see the shared fits as a task of
    their own, "shared-fits", beside the search and the last fit.

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
    cv_results_: dict[str, Any]
    best_estimator_: Any
    best_score_: float
    best_params_: dict[str, Any]
    best_index_: int
    shared_fit_time_: float

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Labels | None = None, **params: Any) -> Self:
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
        FileNotFoundError
            If a worker that fits a multi-rate model does not see the folder of the search. A
            candidate whose worker does not see it fails.

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
        step = find_step(self.estimator, self.param_grid)
        if step is None:
            super().fit(X, y, **params)
            self.shared_fit_time_ = 0.0
            return self
        given, cv = self.estimator, self.cv
        with TemporaryDirectory(prefix="sk_hvae-") as folder:
            self.estimator = reading(clone(given), step, Path(folder))
            self.cv = check_cv(cv, y, classifier=is_classifier(given))
            self._shared_stage = Stage(step, Path(folder), X, y, params)
            try:
                super().fit(X, y, **params)
            finally:
                self.estimator, self.cv = given, cv
                self.__dict__.pop("_shared_stage", None)
        if self.refit:
            self.best_estimator_ = as_given(self.best_estimator_, step)
        if self.scoring is None:
            # It holds the estimator, which must be the user's.
            self.scorer_ = check_scoring(given)
        return self

    def _init_callback_context(self, *, max_subtasks, **kwargs):
        """Announce the shared fits too, a task beside the search and the last fit."""
        n_more = int("_shared_stage" in vars(self))
        return super()._init_callback_context(max_subtasks=max_subtasks + n_more, **kwargs)

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
        any_shared = fit_planes(self, stage, splits, callback_ctx)
        self.shared_fit_time_ = time.perf_counter() - start if any_shared else 0.0
        super()._run_search(partial(evaluate_candidates, cv=check_cv(splits)), **context)
        # A split may train on all rows, but the last fit is one by itself.
        for models in stage.folder.iterdir():
            shutil.rmtree(models)


def _split_params(search, params):
    """Return what the splitter gets of the parameters of ``fit``."""
    if get_config()["enable_metadata_routing"]:
        return process_routing(search, "fit", **params).splitter.split
    return {"groups": params.get("groups")}
