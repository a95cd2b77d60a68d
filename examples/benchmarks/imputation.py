"""How well do missing cells come back?

breast_cancer, standardised, 20% of the cells removed at random: root mean squared error of
the imputed cells, against scikit-learn's imputers on the same cells.

    python examples/benchmarks/imputation.py [--seeds 5] [--share 0.2]
"""

import argparse
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import scale

from sk_hvae import HierarchicalVAETransformer

RATES = [(2, 8), (4, 16), (8, 32)]


def imputed_by(X, seed):
    """Impute by every method: dict of name to array."""
    peers = {
        "mean": SimpleImputer(),
        "KNNImputer": KNNImputer(),
        "IterativeImputer": IterativeImputer(max_iter=50, random_state=seed),
    }
    imputed = {name: imputer.fit_transform(X) for name, imputer in peers.items()}
    for rates in RATES:
        hvae = HierarchicalVAETransformer(rates, missing="mask", random_state=seed).fit(X)
        imputed[f"sk_hvae {rates} bits"] = hvae.reconstruct(X)
    return imputed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    truth = scale(load_breast_cancer().data)
    errors: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        removed = np.random.default_rng(seed).random(truth.shape) < arguments.share
        for name, imputed in imputed_by(np.where(removed, np.nan, truth), seed).items():
            error = np.sqrt(np.square(imputed - truth)[removed].mean())
            errors.setdefault(name, []).append(float(error))
    for name, values in errors.items():
        print(f"{name:22} RMSE {np.mean(values):.4f}  by seed {np.round(values, 4)}")
