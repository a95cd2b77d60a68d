"""Do a thousand fits in one process leave anything behind?

Small fits of all three estimators in turns, each with transform, pickle, clone, save and load; at
regular marks the resident memory, the threads and the open files. After a warm-up the memory must
be flat: less than 1 MB per 100 fits by the median of all slopes between two marks (Theil and
Sen), which single jumps do not move.

    python examples/benchmarks/soak.py [--fits 1000] [--mark 20]
"""

import argparse
import gc
import pickle
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from scipy.stats import theilslopes
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.exceptions import ClusterWarning, RateTargetWarning

_WARM_UP = 0.2
_MOST_SLOPE = 1.0
_SMALL = {"n_components": 3, "hidden_layer_sizes": (16,), "max_epochs": 10}


class Mark(NamedTuple):
    """What the process holds after some fits; memory in MB."""

    n_fits: int
    memory: float
    threads: int
    files: int

    @classmethod
    def after(cls, n_fits):
        """Measure."""
        gc.collect()
        process = psutil.Process()
        memory = process.memory_info().rss / 1e6
        return cls(n_fits, memory, process.num_threads(), len(process.open_files()))


def use(number, X, folder):
    """Fit an estimator, the kind by turns, and use it."""
    seed = {"random_state": number}
    kind = number % 10
    if kind == 0:
        estimator = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 2), **_SMALL, **seed)
    elif kind < 3:
        estimator = HVAEClusterer(3, n_init=2, **_SMALL, **seed)
    else:
        top_layer = "categorical" if kind == 3 else "gaussian"
        early_stopping = kind == 4
        estimator = HierarchicalVAETransformer(
            (1, 2), top_layer=top_layer, early_stopping=early_stopping, **_SMALL, **seed
        )
    estimator = clone(estimator).fit(X)
    twin = pickle.loads(pickle.dumps(estimator))  # noqa: S301
    estimator.save(folder / "model")
    loaded = type(estimator).load(folder / "model")
    Z, scores = estimator.transform(X), estimator.score_samples(X)
    same = all((copy.transform(X) == Z).all() for copy in (twin, loaded))
    if isinstance(estimator, HierarchicalVAETransformer):
        estimator.partial_fit(X)
    if not same or not np.isfinite(scores).all():
        raise SystemExit(f"fit {number}: a copy transforms differently, or scores are not finite")


def soak(n_fits, every):
    """Fit and mark; returns the marks."""
    tables = load_iris().data, load_wine().data
    marks = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, n_fits + 1):
            use(number, tables[number % 2], Path(folder))
            if number % every == 0:
                marks.append(Mark.after(number))
                if number % (5 * every) == 0:
                    n, memory, threads, files = marks[-1]
                    print(f"{n:6} fits {memory:8.1f} MB {threads:3} threads {files:3} open files")
                    sys.stdout.flush()
    return marks


def main():
    """Soak, and judge the marks; returns whether anything was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--mark", type=int, default=20, help="fits between two marks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for category in (RateTargetWarning, ClusterWarning):
        warnings.simplefilter("ignore", category)
    marks = soak(args.fits, args.mark)
    settled = marks[int(_WARM_UP * len(marks)) :]
    n_fits, memory = (np.array([mark[i] for mark in settled], float) for i in (0, 1))
    slope, _, low, high = 100 * np.array(theilslopes(memory, n_fits))
    print(
        f"after {settled[0].n_fits} fits: {slope:+.3f} MB per 100 fits (95%: {low:+.3f} to "
        f"{high:+.3f}), {memory[-1] - memory[0]:+.1f} MB in all"
    )
    more = [max(m[i] for m in settled) - settled[0][i] for i in (2, 3)]
    print(f"{more[0]} more threads, {more[1]} more open files")
    return slope > _MOST_SLOPE or any(more)


if __name__ == "__main__":
    sys.exit(main())
