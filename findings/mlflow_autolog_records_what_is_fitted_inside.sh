#!/usr/bin/env bash
# mlflow-skinny 3.17.2, scikit-learn 1.9.1: under mlflow.sklearn.autolog(), an estimator of one's
# own that fits scikit-learn's inside has no run of its own. Each helper has one, as if the user
# had fitted it. Within a run, the helpers' parameters go into it under their bare names; those of
# the second helper clash with those of the first, and so do the user's own. Seen:
#   runs after Reduced().fit(X): ['KMeans', 'PCA'];
#   log_params({"n_components": 3}) raises "Changing param values is not allowed".

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mlflow-skinny==3.17.2 scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3 \
    sqlalchemy==2.1.9 alembic==1.20.1
venv/bin/python - <<'PYTHON'
import mlflow
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA


class Reduced(BaseEstimator):
    """Clusters of a few components."""

    def __init__(self, n_components=3):
        self.n_components = n_components

    def fit(self, X, y=None):
        self.pca_ = PCA(2).fit(X)
        self.labels_ = KMeans(3, n_init=1, random_state=0).fit(self.pca_.transform(X)).labels_
        return self


X = np.random.default_rng(0).normal(size=(60, 4))
mlflow.set_tracking_uri("sqlite:///runs.db")
mlflow.sklearn.autolog(log_models=False, log_datasets=False)
Reduced().fit(X)
names = sorted(r.data.tags["estimator_name"] for r in mlflow.search_runs(output_format="list"))
print(names)
assert names == ["KMeans", "PCA"]
with mlflow.start_run():
    estimator = Reduced().fit(X)
    try:
        mlflow.log_params(estimator.get_params())
    except mlflow.exceptions.MlflowException as error:
        print(str(error)[:120])
        assert "Changing param values is not allowed" in str(error)
    else:
        raise AssertionError("no clash of parameters")
PYTHON
