#!/usr/bin/env bash
# scikit-learn 1.9.1 takes a missing date (NaT) in a table of dates for the number -9.2e18, without
# a warning. SimpleImputer, which is there to fill missing cells, puts that number out;
# StandardScaler makes the missing row the one that differs, and all others nearly the same. Seen:
#   SimpleImputer: [1704067200000000.0, -9.223372036854776e+18, 1704240000000000.0, ...
#   StandardScaler: [0.5774, -1.7321, 0.5774, 0.5774]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
venv/bin/python -W error - <<'PYTHON'
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

X = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None, "2024-01-03", "2024-01-04"])})
assert X["t"].isna().sum() == 1
filled = SimpleImputer().fit_transform(X).ravel()
print([float(value) for value in filled])
assert filled.dtype == np.float64
assert filled[1] < -9e18
scaled = StandardScaler().fit_transform(X).ravel()
print(scaled.round(4).tolist())
assert scaled[1] < -1.7
assert np.ptp(np.delete(scaled, 1)) < 1e-4
PYTHON
