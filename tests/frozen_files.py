"""Small fitted estimators, and what they said when they were saved.

Files of every format that a release has written stay in tests/data. For a new format, write a
folder once, and never again:

    python tests/frozen_files.py tests/data/format_3
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from sklearn.datasets import load_iris

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._estimators.model import check_new_rows
from sk_hvae.exceptions import ClusterWarning, RateTargetWarning
from sk_hvae.nn import DiscretizedLogistic, Gaussian

TINY = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 20, "random_state": 0}
# The defaults of formats 1 and 2.
WHOLE = {**TINY, "missing": "error"}
GAUSSIAN = {**WHOLE, "likelihood": "gaussian"}
ESTIMATORS = {
    "table": HierarchicalVAETransformer((1, 2), **GAUSSIAN),
    "ladder": HierarchicalVAETransformer(
        None, betas=(1, 2), likelihood=Gaussian(sigma=0.3), inference="ladder", **WHOLE
    ),
    "images": HierarchicalVAETransformer(
        (1, 2), likelihood=DiscretizedLogistic(9), image_shape=(1, 2, 2), **WHOLE
    ),
    "columns": HierarchicalVAETransformer(
        (1, 1),
        likelihood=(("categorical", (3,)), ("poisson", (0, 1)), ("gaussian", (2,))),
        top_layer="categorical",
        missing="mask",
        **TINY,
    ),
    "plane": MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **GAUSSIAN),
    "clusterer": HVAEClusterer(3, n_init=2, **GAUSSIAN),
    "gaps": HierarchicalVAETransformer(
        (1, 1), likelihood=(("categorical", (0, 1)), ("gaussian", (2, 3))), **WHOLE
    ),
    "seconds": HierarchicalVAETransformer((4, 2), **GAUSSIAN),
    "float32": HVAEClusterer(2, n_init=2, **GAUSSIAN),
    "frame": HierarchicalVAETransformer((1, 2), **TINY),
    "frame_of_polars": HVAEClusterer(2, n_init=2, **TINY),
    "frame_by_name": MultiRateHVAETransformer(
        (0.5, 2),
        layer_rates=(1, 1),
        likelihood={"width": "poisson"},
        handle_unknown="error",
        **TINY,
    ),
}
NEW_IN_FORMAT = {1: set(), 2: {"gaps", "seconds", "float32"}}
NEW_IN_FORMAT[3] = {name for name in ESTIMATORS if name.startswith("frame")}


def rows(name):
    """Return 30 rows that an estimator can read: whole numbers, or what its name says."""
    X = load_iris().data[::5].round()
    if name.startswith("frame"):
        return pl.DataFrame(table(X)) if "polars" in name else pd.DataFrame(table(X))
    if name == "gaps":
        X[:, :2] = 2.0 ** (5 * X[:, :2]) - 5000
    if name == "seconds":
        X += 1.7e9
    return X.astype(np.float32) if name == "float32" else X


def table(X):
    """Return columns of many kinds, with missing cells, by name."""
    columns = {"length": X[:, 0], "width": X[:, 1].astype("i2"), "is_long": X[:, 2] > 4}
    columns["kind"] = [["setosa", "other", None][int(width)] for width in X[:, 3]]
    columns["at"] = np.datetime64("2024-01-01", "us") + X[:, 2].astype("m8[D]")
    columns["at"][3] = np.datetime64("NaT")
    return columns


def answers(estimator, X):
    """Return what an estimator says of rows, as arrays by name."""
    numbers = estimator.__hvae_model__().reconstruct(check_new_rows(estimator, X), 1)
    found = {
        "latents": estimator.transform(X),
        "reconstruction": numbers,
        "rates": estimator.rates_,
        "betas": estimator.betas_,
        "distortion": np.asarray(estimator.distortion_),
        "train_rates": estimator.history_["train_rates"],
    }
    if hasattr(estimator, "columns_"):
        found["categories"] = np.asarray(estimator.reconstruct(X)["kind"]).astype(str)
    if hasattr(estimator, "labels_"):
        found |= {"labels": estimator.labels_, "predicted": estimator.predict(X)}
    return found


def write(folder):
    """Fit and save all estimators."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    for name, estimator in ESTIMATORS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RateTargetWarning)
            warnings.simplefilter("ignore", ClusterWarning)
            estimator.fit(rows(name))
        estimator.save(folder / f"{name}.safetensors")
        np.savez_compressed(folder / f"{name}.npz", **answers(estimator, rows(name)))


if __name__ == "__main__":
    write(sys.argv[1])
