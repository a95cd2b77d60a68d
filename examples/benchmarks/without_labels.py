"""Can rates be chosen for classifiers and clusters without labels?

A multi-rate model with default settings is fitted to 60% of the rows, and read at 25 points of its
plane, from one bit to all that it holds in each of two layers. On the other rows, five quantities
that need no labels are measured at each point:

- bound: the lower bound on ln p(x);
- neighbours: how well the columns of a row are told by the 10 training rows that are nearest in the
  latents, as the share of the variance;
- linear: how well they are told by ridge regression on the latents, likewise;
- stability: the adjusted Rand index between the clusters that k-means finds in two halves of the
  training rows, with as many clusters as there are classes;
- bits: the total rate.

Labels only judge: "loss" is how far the accuracy, or the adjusted Rand index of k-means,
at the point with the highest quantity lies below that at the best point. The quantity earns its
place if its loss is clearly below "any", that of a point drawn at random. The sets are those of
cluster_sets.py.

    OMP_NUM_THREADS=1 python examples/benchmarks/without_labels.py [--data iris wine ...]
"""

import argparse
import warnings

import numpy as np
from cluster_sets import DEVELOPMENT, REPORT, read
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_hvae import MultiRateHVAETransformer, rate_grid

QUANTITIES = ("bound", "neighbours", "linear", "stability", "bits")
TASKS = ("logistic", "neighbours", "SVM", "k-means")
N_RATES, FEWEST_OF_A_CLASS = 5, 5


def labelled(name):
    """Return rows and labels of a set, without classes that cannot be split."""
    X, y = read(name)
    kept = np.bincount(y)[y] >= FEWEST_OF_A_CLASS
    return X[kept].astype(float), np.unique(y[kept], return_inverse=True)[1]


def k_means(Z, n_clusters):
    return KMeans(n_clusters, n_init=5, random_state=0).fit(Z)


def stability(Z, Z_new, n_clusters):
    """Compare the clusters of two halves of the rows on new rows; the mean of three splits."""
    found = []
    for seed in range(3):
        halves = np.array_split(np.random.default_rng(seed).permutation(len(Z)), 2)
        found.append(
            adjusted_rand_score(*(k_means(Z[h], n_clusters).predict(Z_new) for h in halves))
        )
    return np.mean(found)


def quantities(hvae, X, X_new, Z, Z_new, n_clusters):
    """Measure what needs no labels."""
    scaler = StandardScaler().fit(X)
    columns, new_columns = scaler.transform(X), scaler.transform(X_new)

    def told_by(regressor):
        told = regressor.fit(Z, columns).predict(Z_new)
        return r2_score(new_columns, told, multioutput="variance_weighted")

    return [
        hvae.score_samples(X_new).mean(),
        told_by(KNeighborsRegressor(10)),
        told_by(Ridge()),
        stability(Z, Z_new, n_clusters),
        hvae.rates(X_new).sum(1).mean(),
    ]


def scores(Z, y, Z_new, y_new):
    """Measure the tasks, with labels."""
    readers = (LogisticRegression(solver="newton-cg", tol=1e-3), KNeighborsClassifier(), SVC())
    accuracies = [reader.fit(Z, y).score(Z_new, y_new) for reader in readers]
    clusters = k_means(Z, len(np.unique(y))).predict(Z_new)
    return [*accuracies, adjusted_rand_score(y_new, clusters)]


def measure(name):
    """Return the quantities (n_points, 5) and the scores (n_points, 4) of a set."""
    X, y = labelled(name)
    X, X_new, y, y_new = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    multi = MultiRateHVAETransformer(layer_rates=(2, 2), random_state=0).fit(X)
    axes = [np.geomspace(1, most, N_RATES) for most in multi.rate_range_[:, 1]]
    measured, judged = [], []
    for rates in rate_grid(*axes):
        hvae = multi.at(rates)
        Z, Z_new = hvae.transform(X), hvae.transform(X_new)
        measured.append(quantities(hvae, X, X_new, Z, Z_new, len(np.unique(y))))
        judged.append(scores(Z, y, Z_new, y_new))
    return np.array(measured), np.array(judged)


def losses(measured, judged):
    """Return the loss of each task (rows) by each quantity, and last by any point."""
    chosen = judged[measured.argmax(0)].T
    best = judged.max(0)[:, None]
    return best - np.column_stack((chosen, judged.mean(0)))


def print_tables(results):
    """Print means over sets."""
    loss = np.mean([losses(*found) for found in results], 0)
    ranks = [
        [[spearmanr(m, j).statistic for m in found[0].T] for j in found[1].T] for found in results
    ]
    print(
        f"\nmean of {len(results)} sets; loss   "
        + "".join(f"{q:>12}" for q in (*QUANTITIES, "any"))
    )
    for task, row in zip(TASKS, loss, strict=True):
        print(f"{task:28}" + "".join(f"{value:12.3f}" for value in row))
    print("rank correlation")
    for task, row in zip(TASKS, np.nanmean(ranks, 0), strict=True):
        print(f"{task:28}" + "".join(f"{value:12.2f}" for value in row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=[*DEVELOPMENT, *REPORT])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    results = []
    for name in options.data:
        results.append(measure(name))
        print(name, losses(*results[-1]).round(3).tolist(), flush=True)
        print_tables(results)
