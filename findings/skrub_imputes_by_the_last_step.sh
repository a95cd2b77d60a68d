#!/usr/bin/env bash
# skrub 0.11.0 decides by the last step of a pipeline whether missing cells are filled before the
# first. Seen in the steps of tabular_pipeline(pipeline):
#   StandardScaler, SimpleImputer, LogisticRegression: ['tablevectorizer', 'simpleimputer-1', ...
#     although all steps together take NaN, and the imputer of the user comes to nothing;
#   PCA, HistGradientBoostingClassifier: ['tablevectorizer', 'pca', ...
#     and fit raises "Input X contains NaN", although tabular_pipeline is there to see to it.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet skrub==0.11.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
venv/bin/python - <<'PYTHON'
import numpy as np
import pandas as pd
from skrub import tabular_pipeline
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0], "b": [3.0, 1.0, 2.0, 6.0, 5.0, 4.0]})
y = [0, 1, 0, 1, 0, 1]
takes_nan = make_pipeline(StandardScaler(), SimpleImputer(strategy="median"), LogisticRegression())
takes_nan.fit(X, y)
names = list(tabular_pipeline(takes_nan).named_steps)
print(names)
assert names[1] == "simpleimputer-1"
refuses_nan = tabular_pipeline(make_pipeline(PCA(), HistGradientBoostingClassifier()))
print(list(refuses_nan.named_steps))
try:
    refuses_nan.fit(X, y)
except ValueError as error:
    print(str(error).splitlines()[0])
    assert "contains NaN" in str(error)
else:
    raise AssertionError("PCA got no NaN")
PYTHON
