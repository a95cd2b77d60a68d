#!/usr/bin/env bash
# mlflow-skinny 3.17.2 with skops 0.16.0 and scikit-learn 1.9.1: a GridSearchCV of scikit-learn's
# own parts, with the default score and splits, is refused by the default format of
# mlflow.sklearn.save_model and log_model as a model of "untrusted types". What was searched is
# saved without a word. Seen:
#   ['sklearn.metrics._scorer._PassthroughScorer',
#     'sklearn.model_selection._split.StratifiedKFold']

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mlflow-skinny==3.17.2 scikit-learn==1.9.1 skops==0.16.0 \
    numpy==2.4.6 pandas==2.3.3
venv/bin/python - <<'PYTHON'
import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

X = np.random.default_rng(0).normal(size=(60, 4))
y = (X[:, 0] > 0).astype(int)
mlflow.sklearn.save_model(LogisticRegression().fit(X, y), "plain", pip_requirements=[])
search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X, y)
try:
    mlflow.sklearn.save_model(search, "search", pip_requirements=[])
except mlflow.exceptions.MlflowException as error:
    print(str(error).partition("Root error: ")[2])
    assert "'sklearn.metrics._scorer._PassthroughScorer'" in str(error)
    assert "'sklearn.model_selection._split.StratifiedKFold'" in str(error)
else:
    raise AssertionError("the search was saved")
PYTHON
