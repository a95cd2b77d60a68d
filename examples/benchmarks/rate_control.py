"""Do the layers carry the bits that were asked for?

Part 1: Fashion-MNIST, 20,000 training rows scaled to [0, 1], Bernoulli likelihood, 32 units a
layer; rates on the 10,000 test rows, within 3% or 0.05 bit of the target.
Part 2: iris, wine, breast_cancer and digits, raw columns, defaults; rates on the training rows,
within 5% or 0.1 bit, each fit under 10 s.

    python examples/benchmarks/rate_control.py [--seeds 3] [--part 1|2]
"""

import argparse
import time
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning

LARGE = [(2, 8), (8, 2), (4, 16), (16, 4), (1, 1), (30, 10), (10,), (3, 3, 3)]
SMALL = [(2, 8), (1, 3), (4, 8)]


def report(name, seed, targets, rates, seconds, relative, absolute, warned):
    """Print a line and return whether every layer is within its tolerance."""
    targets = np.array(targets, dtype=float)
    met = np.abs(rates - targets) <= np.maximum(relative * targets, absolute)
    worst = np.abs(rates / targets - 1).max()
    print(
        f"{name:14} {seed:4}  {np.array2string(targets, precision=3):14} "
        f"{np.array2string(rates, precision=3):22} {100 * worst:5.1f}%  {seconds:5.1f} s  "
        f"{'met' if met.all() else 'MISSED'}{' (warned)' if warned else ''}",
        flush=True,
    )
    return met.all()


def fit(X, targets, **params):
    """Fit; returns the estimator, the seconds, and whether it warned."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RateTargetWarning)
        hvae = HierarchicalVAETransformer(targets, **params).fit(X)
    warned = any(issubclass(w.category, RateTargetWarning) for w in caught)
    return hvae, time.perf_counter() - start, warned


def large(seeds):
    X, _, X_test, _ = load_fashion_mnist()
    X, X_test = X / np.float32(255), X_test / np.float32(255)
    met = []
    for targets in LARGE:
        for seed in range(seeds):
            hvae, seconds, warned = fit(
                X, targets, n_components=32, likelihood="bernoulli", random_state=seed
            )
            rates = hvae.rates(X_test).mean(axis=0)
            met.append(report("fashion-mnist", seed, targets, rates, seconds, 0.03, 0.05, warned))
    print(f"Fashion-MNIST, test rows: {sum(met)} of {len(met)} fits met their targets\n")


def small(seeds):
    met, slowest = [], 0.0
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        X = load().data
        for targets in SMALL:
            for seed in range(seeds):
                hvae, seconds, warned = fit(X, targets, random_state=seed)
                name = load.__name__.removeprefix("load_")
                met.append(report(name, seed, targets, hvae.rates_, seconds, 0.05, 0.1, warned))
                slowest = max(slowest, seconds)
    print(f"small data, training rows: {sum(met)} of {len(met)} met, slowest {slowest:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", type=int, choices=(1, 2))
    options = parser.parse_args()
    print("data           seed  target         measured               worst    time")
    if options.part != 2:
        large(options.seeds)
    if options.part != 1:
        small(options.seeds)
