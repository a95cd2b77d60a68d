"""Grid search over rates, at the cost of one multi-rate fit per split."""

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

from sk_hvae._estimators.layer_table import layers_html
from sk_hvae._estimators.typing import Labels, MatrixLike
from sk_hvae._rates.candidate_table import candidates_html
from sk_hvae._rates.shared_fits import Stage, as_given, find_step, fit_planes, reading
from sk_hvae._sklearn.documentation import DocumentationLinkMixin
from sk_hvae._sklearn.notebooks import NotebookMixin
from sk_hvae._sklearn.privates import fit_context


class RateSearchCV(DocumentationLinkMixin, NotebookMixin, GridSearchCV):
    """Grid search over the rates of a hierarchical VAE, at one fit per split.

    It works like `sklearn.model_selection.GridSearchCV`, with one difference. Candidates that
    differ only in ``layer_rates``, ``output_layers`` or the steps after the transformer do not
    train a model each: they take their latents from one `MultiRateHVAETransformer` per split.
    Its fit takes about as long as two to five candidates, however many there are. Fits are
    shared where that is predicted to be less work, see Notes.

    The grid may hold other parameters too. If they change what the model learns, as those of the
    transformer and of the steps before it do, every combination of them has a multi-rate fit of
    its own per split.

    Parameters
    ----------
    estimator : estimator
        A `HierarchicalVAETransformer`, or a `sklearn.pipeline.Pipeline` that has one among its
        steps. Any other estimator is searched as by GridSearchCV.
    param_grid : dict or list of dict
        Names of parameters, such as "hvae__layer_rates", with the values to try. `rate_grid`
        helps to write rates.
    scoring : str, callable, list, tuple or dict, default=None
        How to score. None takes the estimator's ``score``. For a pipeline that is the score of
        its last step; for the transformer alone it is the lower bound, which says how probable
        the model makes rows, and not what the latents are worth for a task.
    n_jobs : int, default=None
        Number of fits at a time, for multi-rate fits as well. None is one.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all rows, which is a single-rate fit at the best
        rates. A str names the score that decides if there are several; a function chooses the
        candidate from ``cv_results_``.
    cv : int, cross-validation generator or iterable, default=None
        How to split the rows. None is 5-fold, stratified for classifiers.
    verbose : int, default=0
        How much is printed, as by GridSearchCV. From 1 on there is also a bar with the multi-rate
        fits that are done and the time left.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of fits that are handed out ahead, which limits the copies of the data in memory.
    error_score : "raise" or float, default=nan
        Score of a candidate whose fit fails; "raise" stops the search with the error.
    return_train_score : bool, default=False
        Whether to score the training rows as well, which takes time and shows overfitting.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As GridSearchCV's, with the same keys. ``mean_fit_time`` is the time that a candidate
        takes in addition to the multi-rate fits, to fold the shared model to its rates and to fit
        the other steps.
    best_estimator_ : estimator
        The best candidate, fitted to all rows by itself, and of the same classes as
        ``estimator``. It is not there if ``refit=False``.
    best_score_ : float
        Mean score of the best candidate over the splits.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : function or dict of function
        Function that scored the held-out rows.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds that the fit to all rows took. It is not there if ``refit=False``.
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
    The range of a multi-rate fit goes, in each layer, from the smallest to the largest rate of
    its candidates. It makes twice the passes of a single fit, over batches of three times the
    ``batch_size``. That is less training than a model for use needs, and enough to rank rates.

    Candidates share a fit only if that is predicted to be less work, in optimiser steps, than a fit
    for each of them. With n rows, batches of b rows and E epochs, a single-rate fit needs E ceil(n
    / b) steps. The multi-rate fit makes 2 E ceil(n / 3b) steps, each of which counts as 1 + 0.7 r
    steps, where r is min(n, 3b) / min(n, b). Each of the linear codes at its start (96, or 32 for
    one layer) and of the nodes of its grid (12, 64, 125, 81 and 243 for one to five layers) counts
    as two more steps. With "auto" epochs and one to three layers, three to six candidates are
    enough. Steps are counted and not timed, so that results depend neither on the machine nor on
    ``n_jobs``.

    Candidates are also fitted by themselves, as in GridSearchCV, in these cases: ``betas`` are
    set; ``early_stopping`` or ``warm_start`` is on; the grid replaces the transformer by other
    objects; no other candidate differs in nothing but its rates; the shared fit fails; the
    transformer is of a derived class; or its parameters cannot be pickled, as functions in
    ``network`` that are not defined in a module.

    A candidate finds the shared model by the rows that reach the transformer. So set
    ``random_state`` in the steps before it, or else each candidate gets other rows. During the
    search, shared models are kept in a temporary folder. If workers run on other machines, set
    TMPDIR to a folder that all of them see, see :doc:`/user_guide/cluster`.

    To callbacks of scikit-learn 1.9, such as its ProgressBar, the shared fits are a task of their
    own, "shared-fits", beside the search and the fit to all rows.

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
        """Score all candidates on all splits, and fit the best one to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to split, train on and score.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets; None if there are none.
        **params : dict of str to object
            ``groups`` for the splitter, and parameters of the estimator's ``fit``, such as
            "clf__sample_weight". Parameters with one entry per row are split with the rows.

        Returns
        -------
        RateSearchCV
            The fitted search.

        Raises
        ------
        ValueError
            If a parameter does not make sense, or all fits fail.
        FileNotFoundError
            If a worker that fits a multi-rate model does not see the folder of the search. If
            only the worker of a candidate does not see it, the candidate fails.

        Warns
        -----
        FitFailedWarning
            If a fit fails. The message says which score the candidate gets; if a multi-rate fit
            fails, it says that its candidates are fitted by themselves.

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
            # The scorer holds the estimator, which must be the user's.
            self.scorer_ = check_scoring(given)
        return self

    def _html_below_diagram(self):
        """Show the best candidates, and rates beside targets of the best one."""
        if not hasattr(self, "cv_results_"):
            return ""
        best = getattr(self, "best_estimator_", None)
        step = find_step(best, self.param_grid)
        layers = "" if step is None else layers_html(step.get(best))
        return candidates_html(self) + layers

    def _init_callback_context(self, *, max_subtasks, **kwargs):
        """Announce the shared fits as a task beside the search and the fit to all rows."""
        n_more = int("_shared_stage" in vars(self))
        return super()._init_callback_context(max_subtasks=max_subtasks + n_more, **kwargs)

    def _run_search(self, evaluate_candidates, *, callback_ctx=None):
        """Fit the shared models on the splits, before candidates are evaluated on the same ones."""
        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        # Workers get a copy of the search, which must not carry the rows.
        stage = self.__dict__.pop("_shared_stage", None)
        if stage is None:
            super()._run_search(evaluate_candidates, **context)
            return
        splits = list(self.cv.split(stage.X, stage.y, **_split_params(self, stage.params)))
        start = time.perf_counter()
        any_shared = fit_planes(self, stage, splits, callback_ctx)
        self.shared_fit_time_ = time.perf_counter() - start if any_shared else 0.0
        super()._run_search(partial(evaluate_candidates, cv=check_cv(splits)), **context)
        # The fit to all rows must not find a model, as it would if a split trained on all rows.
        for models in stage.folder.iterdir():
            shutil.rmtree(models)


def _split_params(search, params):
    """Return those parameters of ``fit`` that the splitter gets."""
    if get_config()["enable_metadata_routing"]:
        return process_routing(search, "fit", **params).splitter.split
    return {"groups": params.get("groups")}
