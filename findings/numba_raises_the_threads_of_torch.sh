#!/usr/bin/env bash
# numba 0.68.1 beside torch 2.13.0: compiling a function with parallel=True sets the number of
# torch's threads to numba's, in spite of OMP_NUM_THREADS=1. Nothing has to be called, and nobody
# gave torch a number. umap-learn 0.5.12 does so at its first fit. numba takes as many threads as
# there are cores; three are named here, so that the script says the same everywhere. Seen:
#   torch has 1 thread before and 3 after

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numba==0.68.1 numpy==2.4.6
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=3 NUMBA_THREADING_LAYER=omp venv/bin/python - <<'PYTHON'
import numba
import torch

before = torch.get_num_threads()


@numba.njit("float64(float64[::1])", parallel=True)
def total(values):
    result = 0.0
    for i in numba.prange(len(values)):
        result += values[i]
    return result


after = torch.get_num_threads()
print(f"torch has {before} thread before and {after} after")
assert (before, after) == (1, 3)
PYTHON
