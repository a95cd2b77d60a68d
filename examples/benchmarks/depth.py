"""Does another layer buy anything, if all layers together have the same number of bits?

Fashion-MNIST, 20,000 training rows scaled to [0, 1], default settings; one to four layers of 16
units that have 24 bits together, split evenly and with more bits at the top or near the data.
Measured on the 10,000 test images: distortion in bits, accuracy of logistic regression and of
nearest neighbours on the means of all layers, fitted to the training rows. "excess" is what the
total rate is above 24 bits: a row that has more bits is expected to be reconstructed better.

    python examples/benchmarks/depth.py [--seeds 3] [--rows 20000]
"""

import argparse
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from sk_hvae import HierarchicalVAETransformer

SPLITS = [
    (24,),
    (12, 12),
    (6, 18),
    (18, 6),
    (8, 8, 8),
    (4, 8, 12),
    (12, 8, 4),
    (6, 6, 6, 6),
    (3, 5, 7, 9),
]


def accuracies(hvae, rows, labels, new_rows, new_labels):
    """Return the accuracies of two classifiers on the latents of new rows."""
    known, new = hvae.transform(rows), hvae.transform(new_rows)
    readers = (LogisticRegression(solver="newton-cg", tol=1e-3), KNeighborsClassifier())
    return [reader.fit(known, labels).score(new, new_labels) for reader in readers]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y, X_test, y_test = load_fashion_mnist(options.rows)
    X, X_test = X / np.float32(255), X_test / np.float32(255)
    print("bits a layer    excess  distortion        logistic        neighbours")
    for split in SPLITS:
        found = []
        for seed in range(options.seeds):
            hvae = HierarchicalVAETransformer(split, n_components=16, random_state=seed).fit(X)
            excess = hvae.rates(X_test).sum(1).mean() - sum(split)
            distortion = hvae.distortion(X_test).mean()
            found.append((excess, distortion, *accuracies(hvae, X, y, X_test, y_test)))
        mean, spread = np.mean(found, 0), np.std(found, 0)
        print(
            f"{split!s:15} {mean[0]:6.2f}  {mean[1]:8.1f} ± {spread[1]:4.1f}  "
            f"{mean[2]:.4f} ± {spread[2]:.4f}  {mean[3]:.4f} ± {spread[3]:.4f}",
            flush=True,
        )
