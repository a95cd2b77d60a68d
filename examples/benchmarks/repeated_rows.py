"""Do copies of rows, and tables of few different rows, change what HVAEClusterer finds?

Part 1: three blobs of 20 points, every point repeated 2 to 100 times, equally or not; ARI with
and without repeats, bar .02. Part 2: small discrete tables with three groups; ARI beside the
better of k-means and a Gaussian mixture on the same columns (dummies for nominal codes), bar .02.
All parameters but ``n_clusters`` and ``likelihood`` are at their defaults.

    python examples/benchmarks/repeated_rows.py [--seeds 5] [--part 1|2]
"""

import argparse
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import OneHotEncoder

from sk_hvae import HVAEClusterer

N_ROWS = 900
BAR = 0.02


def found(X, y, likelihood, seed):
    """Return the ARI of the clusters that are found."""
    clusterer = HVAEClusterer(3, likelihood=likelihood, random_state=seed).fit(X)
    return adjusted_rand_score(y, clusterer.labels_)


def blobs(seed):
    random = np.random.default_rng(seed)
    X = np.concatenate([random.normal(size=(20, 5)) + 9 * e for e in np.eye(5)[:3]])
    counts = {f"x{times}": np.full(60, times) for times in (2, 8, 20, 100)}
    counts["1 to 100"] = random.integers(1, 101, 60)
    return X, np.repeat(np.arange(3), 20), counts


def repeats(seeds):
    for seed in range(seeds):
        X, y, counts = blobs(seed)
        alone = found(X, y, "gaussian", seed)
        aris = {k: found(X.repeat(n, 0), y.repeat(n), "gaussian", seed) for k, n in counts.items()}
        verdict = "met" if min(aris.values()) >= alone - BAR else "MISSED"
        told = ", ".join(f"{name} {ari:.3f}" for name, ari in aris.items())
        print(f"blobs, seed {seed}: alone {alone:.3f}, {told}  {verdict}", flush=True)


def answers(random, y, chances):
    """Yes or no to questions, with a chance of yes for every group."""
    return (random.random((len(y), chances.shape[1])) < chances[y]).astype(float)


def scale(random, y, n_levels, n_questions):
    """Answers on a scale whose middle differs by group."""
    middle = np.linspace(0, n_levels - 1, 3)[y]
    answer = middle[:, None] + 0.15 * n_levels * random.normal(size=(len(y), n_questions))
    return answer.round().clip(0, n_levels - 1)


def codes(random, y, n_columns):
    """Nominal codes of four categories, one of them the most frequent in each group."""
    favourite = random.permuted(np.tile(np.arange(4), (n_columns, 1)), axis=1)[:, :3].T
    is_other = random.random((len(y), n_columns)) < 0.25
    return np.where(is_other, random.integers(0, 4, (len(y), n_columns)), favourite[y]) * 1.0


def tables(random, y):
    """Yield name, columns and likelihood."""
    sure = np.array([[0.97] * 3 + [0.03] * 3, [0.03] * 3 + [0.97] * 3, [0.97, 0.03] * 3])
    yield "yes or no, .97", answers(random, y, sure), "bernoulli"
    yield "yes or no, .97", answers(random, y, sure), "gaussian"
    yield "yes or no, .9", answers(random, y, 0.1 + 0.8 * (sure > 0.5)), "bernoulli"
    yield "scale of 3", scale(random, y, 3, 4), "gaussian"
    yield "scale of 5", scale(random, y, 5, 3), "gaussian"
    yield "counts", random.poisson(np.array([[1, 5], [5, 1], [9, 9]])[y]) * 1.0, "poisson"
    yield "codes", codes(random, y, 4), "categorical"


def discrete(seeds):
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        y = random.integers(0, 3, N_ROWS)
        for name, X, likelihood in tables(random, y):
            columns = OneHotEncoder().fit_transform(X).toarray() if name == "codes" else X
            peers = (
                KMeans(3, n_init=10, random_state=seed),
                GaussianMixture(3, n_init=10, random_state=seed),
            )
            best = max(adjusted_rand_score(y, peer.fit_predict(columns)) for peer in peers)
            ari = found(X, y, likelihood, seed)
            print(
                f"{name:15} {likelihood:12} seed {seed}: {len(np.unique(X, axis=0)):3} different "
                f"rows, ARI {ari:.3f}, best peer {best:.3f} "
                f"{'met' if ari >= best - BAR else 'MISSED'}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", type=int, choices=(1, 2))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.part != 2:
        repeats(options.seeds)
    if options.part != 1:
        discrete(options.seeds)
