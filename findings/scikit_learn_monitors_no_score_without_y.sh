#!/usr/bin/env bash
# scikit-learn 1.9.1: ScoringMonitor scores nothing that is fitted without y, although the score
# needs none. A pipeline that ends in KernelDensity has no logs, and get_logs says that it may not
# be fitted; an estimator that reports its steps has a record for each, without a score. Seen:
#   ValueError: No logs to retrieve. No scores were computed during the runs or the estimator is
#     not fitted yet
#   records of ['fit', 'step 0', 'step 1'], none of which has a score

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, ScoringMonitor, with_callbacks
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Centre(CallbackSupportMixin, BaseEstimator):
    """The mean of each column, in two steps."""

    @with_callbacks
    def fit(self, X, y=None):
        self.mean_ = np.zeros(X.shape[1])
        fit = self._init_callback_context(max_subtasks=2)
        fit.call_on_fit_task_begin(estimator=self, X=X)
        for number in range(2):
            step = fit.subcontext(task_name=f"step {number}")
            step.call_on_fit_task_begin(estimator=self, X=X)
            self.mean_ = (self.mean_ + X.mean(axis=0)) / 2
            step.call_on_fit_task_end(
                estimator=self, X=X, reconstruction_attributes=lambda: {"mean_": self.mean_}
            )
        fit.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes=dict)
        return self

    def score(self, X, y=None):
        return -float(((X - self.mean_) ** 2).mean())


X = np.random.default_rng(0).normal(size=(50, 3))
monitor = ScoringMonitor(scoring=None)
pipeline = make_pipeline(StandardScaler(), KernelDensity()).set_callbacks(monitor).fit(X)
assert np.isfinite(pipeline.score(X))
try:
    monitor.get_logs()
except ValueError as error:
    print(f"ValueError: {error}")
else:
    raise AssertionError("there are logs")
monitor = ScoringMonitor(scoring=None)
centre = Centre().set_callbacks(monitor).fit(X)
assert np.isfinite(centre.score(X))
records = monitor.get_logs().data
print([record["task_name"] for record in records])
assert len(records) == 3
assert not any("score" in record for record in records)
PYTHON
