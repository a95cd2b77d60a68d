"""Estimators of every kind, small rows that suit them, and all that they say of rows."""

import copy
import dataclasses

import numpy as np

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._sklearn.fitted_state import columns_of, fitted_of, set_fitted
from sk_hvae.nn import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
)

SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 2,
    "batch_size": 8,
    "random_state": 0,
}
IMAGES = {"image_shape": (3, 4, 4)}
BY_COLUMN = [
    ("gaussian", [0, 7]),
    ("categorical", [2, 3]),
    ("poisson", [1, 4]),
    ("bernoulli", [5, 6, *range(8, 48)]),
]

KINDS = {
    "default": {},
    "one layer": {"layer_rates": 2},
    "fixed betas, ladder": {"layer_rates": None, "betas": (0.5, 2.0), "inference": "ladder"},
    "early stopping": {"early_stopping": True},
    "bfloat16": {"precision": "bfloat16"},
    "sigma per feature": {"likelihood": Gaussian(sigma="per_feature")},
    "quantile scale": {"likelihood": Gaussian("per_feature", "quantile")},
    "optimal sigma": {"likelihood": Gaussian(sigma="optimal")},
    "optimal sigma of states": {
        "likelihood": Gaussian(sigma="optimal"),
        "top_layer": "categorical",
    },
    "negative binomial": {"likelihood": NegativeBinomial()},
    "levels": {"likelihood": DiscretizedLogistic(n_levels=17, maximum=1.0)},
    "mixture of levels": {"likelihood": DiscretizedLogisticMixture(n_mixtures=2), **IMAGES},
    "by column": {"likelihood": BY_COLUMN},
    "conv": IMAGES,
    "fully-conv": {"network": "fully-conv", **IMAGES},
    "preset": {"network": "hit-mnist"},
    "categorical top": {"top_layer": "categorical"},
    "gumbel top": {"top_layer": "gumbel", "inference": "ladder"},
    "missing, by column": {"missing": "mask", "likelihood": BY_COLUMN},
    "multi-rate": {"kind": MultiRateHVAETransformer, "rate_range": (0.5, 4)},
    "multi-rate, missing, states": {
        "kind": MultiRateHVAETransformer,
        "rate_range": (0.5, 4),
        "missing": "mask",
        "top_layer": "categorical",
        "likelihood": "bernoulli",
        **IMAGES,
    },
    "clusterer": {"kind": HVAEClusterer, "n_clusters": 3, "layer_rates": None},
}


def rows_for(params):
    n_columns = 784 if params.get("network") == "hit-mnist" else 48
    X = np.random.default_rng(0).integers(0, 2, (40, n_columns)).astype(float)
    if params.get("missing") == "mask":
        X[3:30:2, 4:20] = np.nan
    return X


def make(kind=HierarchicalVAETransformer, **params):
    return kind(**{"layer_rates": (1, 2), **SMALL, **params})


def uses(model, X):
    """All that a fitted model says of rows, as arrays by name."""
    return {
        "rates_": model.rates_,
        "betas_": model.betas_,
        "transform": model.transform(X),
        "reconstruct": model.reconstruct(X),
        "score_samples": model.score_samples(X),
        "typicality": model.typicality(X),
        "rates": model.rates(X),
        "samples of latents": np.concatenate(model.latents(X, sample=True), axis=1),
        "sample": model.sample(3),
        "inverse_transform": model.inverse_transform(model.transform(X)),
    }


def changed(estimator, **fields):
    """Return a copy of a fitted estimator, of whose fitted value some fields are others."""
    fitted = dataclasses.replace(fitted_of(estimator), **fields)
    return set_fitted(copy.copy(estimator), fitted, columns_of(estimator))
