"""Time RateSearchCV against GridSearchCV where searches are small.

Each setting is searched by both in turn, several times, and the median of the ratios is shown:
1 where no fits are shared, and less where they are. Seconds are CPU time, which other processes
disturb less, unless ``--wall`` is given.

    python examples/benchmarks/small_searches.py
    python examples/benchmarks/small_searches.py --candidates 2 6 --splits 2 --wall
"""

import argparse
import itertools
import time
import warnings
from statistics import median

import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_hvae import HierarchicalVAETransformer, RateSearchCV
from sk_hvae.exceptions import RateTargetWarning

DATA = {"wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
RATES = [0.5, 1, 1.5, 2, 3, 4, 6, 8]


def layer_rates(n_candidates, n_layers):
    """Return candidates that differ in the rate of every layer."""
    return [(rate,) * n_layers for rate in RATES[:n_candidates]]


def seconds(search, X, y, clock):
    """Fit a search; returns how long it took."""
    start = clock()
    search.fit(X, y)
    return clock() - start


def measure(X, y, hvae, grid, n_splits, n_repeats, clock):
    """Return pairs of seconds, ours and GridSearchCV's, and whether fits were shared."""
    pipeline = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
    pairs, shared = [], False
    for repeat in range(n_repeats):
        searches = [
            cls(pipeline, {"hvae__layer_rates": grid}, cv=n_splits)
            for cls in (RateSearchCV, GridSearchCV)
        ]
        # In turn, so that neither is always the first.
        order = searches if repeat % 2 else searches[::-1]
        took = {id(search): seconds(search, X, y, clock) for search in order}
        pairs.append(tuple(took[id(search)] for search in searches))
        shared = searches[0].shared_fit_time_ > 0
    return pairs, shared


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=["wine", "digits"])
    parser.add_argument("--candidates", nargs="+", type=int, default=[1, 2, 4, 6])
    parser.add_argument("--splits", nargs="+", type=int, default=[2, 5])
    parser.add_argument("--epochs", nargs="+", default=["20", "auto"])
    parser.add_argument("--widths", nargs="+", type=int, default=[32, 256])
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wall", action="store_true", help="wall-clock time, on quiet cores")
    return parser.parse_args()


def main():
    args = parse()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", RateTargetWarning)
    clock = time.perf_counter if args.wall else time.process_time
    layer_counts, names = args.layers, args.data
    axes = (names, layer_counts, args.widths, args.epochs, args.splits, args.candidates)
    print("data           layers  width  epochs  splits  candidates  shared    ours    grid  ratio")
    ratios = []
    for name, n_layers, width, epochs, n_splits, n_candidates in itertools.product(*axes):
        hvae = HierarchicalVAETransformer(
            hidden_layer_sizes=(width, width),
            max_epochs=epochs if epochs == "auto" else int(epochs),
            random_state=0,
        )
        X, y = DATA[name](return_X_y=True)
        grid = layer_rates(n_candidates, n_layers)
        pairs, shared = measure(X, y, hvae, grid, n_splits, args.repeats, clock)
        ratios.append(median(ours / theirs for ours, theirs in pairs))
        ours, theirs = (median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:14} {n_layers:6} {width:6} {epochs:>7} {n_splits:7} {n_candidates:11} "
            f"{'yes' if shared else 'no':>7} {ours:7.2f} {theirs:7.2f} {ratios[-1]:6.2f}",
            flush=True,
        )
    print(f"largest ratio {max(ratios):.2f}, smallest {min(ratios):.2f}")


if __name__ == "__main__":
    main()
