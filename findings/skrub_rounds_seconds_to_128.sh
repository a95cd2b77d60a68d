#!/usr/bin/env bash
# skrub 0.11.0: TableVectorizer gives dates as year, month, day, hour and seconds since 1970, all in
# float32, whose steps are 128 at such numbers. Times 20 seconds apart become equal rows, and a
# whole number of ten digits, such as an identifier, loses its last two. Seen:
#   10:00:00 and 10:00:20 are both 1704103168; 1700000000, 1700000020 and 1700000060 are one.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet skrub==0.11.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
venv/bin/python - <<'PYTHON'
import pandas as pd
from skrub import TableVectorizer

times = pd.DataFrame({"t": pd.to_datetime(["2024-01-01 10:00:00", "2024-01-01 10:00:20"])})
first, second = TableVectorizer().fit_transform(times).to_numpy()
print(first.dtype, [int(value) for value in first], [int(value) for value in second])
assert (first == second).all()
numbers = pd.DataFrame({"number": [1700000000, 1700000020, 1700000060, 1700000300]})
kept = [int(value) for value in TableVectorizer().fit_transform(numbers)["number"]]
print(kept)
assert len(set(kept)) == 2
PYTHON
