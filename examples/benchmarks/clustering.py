"""Do the clusters that HVAEClusterer finds match the classes, and how do its peers do?

Every method gets the true number of clusters K. Reported are the accuracy of the best one-to-one
matching of clusters and classes (ACC, by the Hungarian method), normalised mutual information
(NMI), the adjusted Rand index (ARI), and the seconds of the fit; mean and standard deviation over
seeds. "unseen" is the accuracy of ``predict`` on rows that were not fitted, with the matching
found on the fitted rows; the N2D of ClustPy has only a rough ``predict``.

HVAEClusterer gets the columns as they are, pixels included, and all its parameters are at their
defaults; "hvae-bernoulli" is for pixels in [0, 1], and "hvae-loose" (consistency=0),
"hvae-1-start", "hvae-10-near" (neighbours) and "hvae-top-down" show what leaving one out does. Its
peers get images scaled to [0, 1] and tables standardised; k-means and Gaussian mixture also get
tables as they are ("-raw"). HDBSCAN gets no K; rows that it calls noise count as wrong. Methods
that cannot be imported are skipped: the deep peers need ``pip install clustpy``, two need ``pip
install umap-learn``.

The sets of cluster_sets.py are in two groups: choices may be made on DEVELOPMENT, and REPORT shows
whether what was chosen holds for other sets. A name of a group stands for its sets.

    OMP_NUM_THREADS=1 python examples/benchmarks/clustering.py [--data digits REPORT ...]
        [--methods hvae k-means ...] [--seeds 5] [--results clustering.jsonl]

Each result is appended to the file at once, and runs that are in the file are not run again, so
a benchmark may be interrupted and continued, and its parts may run in different environments. A
run that failed is in the file with its error; delete its line to try again. The tables of the guide
are those of results/clustering.jsonl, but for the deep peers.
"""

import argparse
import json
import os
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import MagicMock

import numpy as np
from cluster_sets import DEVELOPMENT, PIXELS, REPORT
from cluster_sets import read as read_set
from fashion_mnist import load_fashion_mnist
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.datasets import make_blobs, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it when ClustPy or UMAP import it

# --- data sets -----------------------------------------------------------------------------------


class Data(NamedTuple):
    """Rows to cluster with their classes, and rows that no fit sees."""

    X: np.ndarray
    y: np.ndarray
    n_clusters: int
    is_image: bool
    X_unseen: np.ndarray | None = None
    y_unseen: np.ndarray | None = None


def fashion_mnist(seed):
    X, y, X_test, y_test = load_fashion_mnist(60_000)
    X, y = np.concatenate([X, X_test]), np.concatenate([y, y_test])
    return Data(X, y, 10, True)


def fashion_mnist_20k(seed):
    X, y, X_test, y_test = load_fashion_mnist(20_000)
    return Data(X, y, 10, True, X_test, y_test)


def blobs(seed):
    X, y = make_blobs(1000, n_features=5, centers=5, random_state=seed)
    return Data(X, y, 5, False)


def moons(seed):
    """Two half moons in ten dimensions, by a random linear map, with noise."""
    rng = np.random.default_rng(seed)
    plane, y = make_moons(1000, noise=0.05, random_state=seed)
    X = plane @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(1000, 10))
    return Data(X, y, 2, False)


def unequal(seed):
    """Four blobs, the largest with 15 times as many rows as the smallest."""
    sizes = [600, 300, 100, 40]
    centres = 4 * np.random.default_rng(seed).normal(size=(4, 6))
    X, y = make_blobs(sizes, centers=centres, random_state=seed)
    return Data(X, y, 4, False)


def of_set(seed, name):
    X, y = read_set(name)
    return Data(X, y, len(np.unique(y)), name in PIXELS)


DATA = {
    "fashion-mnist": fashion_mnist,
    "fashion-mnist-20k": fashion_mnist_20k,
    "blobs": blobs,
    "moons": moons,
    "unequal": unequal,
} | {name: partial(of_set, name=name) for name in DEVELOPMENT | REPORT}
GROUPS = {"DEVELOPMENT": list(DEVELOPMENT), "REPORT": list(REPORT)}


# --- methods: functions of data and seed that return an estimator --------------------------------

# neighbours and distance as UMAP's guide advises for clustering
UMAP_PARAMS = {"n_components": 10, "n_neighbors": 30, "min_dist": 0.0, "n_jobs": 1}


def hvae(data, seed, **params):
    from sk_hvae import HVAEClusterer

    return HVAEClusterer(n_clusters=data.n_clusters, random_state=seed, **params)


def hvae_bernoulli(data, seed):
    return scaled(data, hvae(data, seed, likelihood="bernoulli"))


def k_means(data, seed):
    return KMeans(data.n_clusters, n_init=10, random_state=seed)


def mixture(data, seed, **params):
    return GaussianMixture(data.n_clusters, n_init=3, random_state=seed, **params)


def scaled(data, *steps):
    """Make a pipeline that starts by scaling pixels to [0, 1], or by standardising tables."""
    most = np.float32(data.X.max())
    scaling = FunctionTransformer(lambda X: X / most) if data.is_image else StandardScaler()
    return make_pipeline(scaling, *steps)


def scaled_k_means(data, seed):
    return scaled(data, k_means(data, seed))


def scaled_mixture(data, seed, *embedding):
    return scaled(data, *embedding, mixture(data, seed, reg_covar=1e-3))


def pca_mixture(data, seed):
    return scaled_mixture(data, seed, PCA(min(64, *data.X.shape), random_state=seed))


def spectral(data, seed):
    affinity = {"affinity": "nearest_neighbors", "n_neighbors": 30}
    return scaled(data, SpectralClustering(data.n_clusters, random_state=seed, **affinity))


def hdbscan(data, seed):
    return scaled(data, HDBSCAN(copy=True))


def umap_mixture(data, seed):
    return scaled_mixture(data, seed, import_umap()(random_state=seed, **UMAP_PARAMS))


def deep(data, seed, name, **params):
    algorithm = getattr(import_clustpy_deep(), name)
    return scaled(data, algorithm(data.n_clusters, random_state=seed, **params))


def vade(data, seed):
    """VaDE with its defaults for [0, 1]; for tables, a squared error and a linear output."""
    params = {}
    if not data.is_image:
        network = import_clustpy_deep().vade._VaDE_VAE
        params["neural_network"] = (network, {"decoder_output_fn": None})
        params["ssl_loss_fn"] = import_clustpy_deep().mean_squared_error
    return deep(data, seed, "VaDE", **params)


def n2d(data, seed):
    return deep(data, seed, "N2D", manifold_class=import_umap(), manifold_params=UMAP_PARAMS)


@cache
def import_umap():
    """Import UMAP, and let it compile what it needs before anything is timed."""
    from umap import UMAP

    UMAP(n_jobs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 5)))
    return UMAP


def import_clustpy_deep():
    """Import ClustPy's deep methods, also where torchvision cannot be imported."""
    try:
        import torchvision  # noqa: F401
    except Exception:
        # ClustPy imports torchvision for its convolutional networks, which are not used here,
        # and torchvision's wheels fail (RuntimeError) beside a CPU build of torch.
        for module in ("torchvision", "torchvision.models", "torchvision.models._api"):
            sys.modules[module] = MagicMock()
    import clustpy.deep

    return clustpy.deep


METHODS = {
    "hvae": hvae,
    "k-means": scaled_k_means,
    "k-means-raw": k_means,
    "mixture": scaled_mixture,
    "mixture-raw": mixture,
    "pca-mixture": pca_mixture,
    "spectral": spectral,
    "hdbscan": hdbscan,
    "umap-mixture": umap_mixture,
    "vade": vade,
    "dec": partial(deep, name="DEC"),
    "idec": partial(deep, name="IDEC"),
    "n2d": n2d,
}
ABLATIONS = {
    "hvae-bernoulli": hvae_bernoulli,
    "hvae-loose": partial(hvae, consistency=0.0),
    "hvae-1-start": partial(hvae, n_init=1),
    "hvae-10-near": partial(hvae, n_neighbors=10),
    "hvae-top-down": partial(hvae, inference="top_down"),
}
TABLES_ONLY = {"k-means-raw", "mixture-raw"}  # on images they are the same as without "-raw"
IMAGES_ONLY = {"hvae-bernoulli"}


# --- measurement ---------------------------------------------------------------------------------


def match(labels, y, n_clusters):
    """Return the class of each cluster, one to one, that agrees with most rows.

    Clusters beyond the number of classes have the class -1, and so has noise, the cluster -1.
    """
    counts = np.zeros((max(n_clusters, labels.max() + 1), n_clusters))
    some = labels >= 0
    np.add.at(counts, (labels[some], y[some]), 1)
    clusters, classes = linear_sum_assignment(counts, maximize=True)
    class_of = np.full(len(counts) + 1, -1)
    class_of[clusters] = classes
    return class_of


def measure(estimator, data):
    """Fit an estimator, and compare its clusters with the classes."""
    start = time.perf_counter()
    labels = estimator.fit_predict(data.X)
    seconds = time.perf_counter() - start
    class_of = match(labels, data.y, data.n_clusters)
    result = {
        "acc": np.mean(class_of[labels] == data.y),
        "nmi": normalized_mutual_info_score(data.y, labels),
        "ari": adjusted_rand_score(data.y, labels),
        "seconds": seconds,
        "n_found": len(np.unique(labels)),
    }
    if data.X_unseen is not None:
        result["unseen"] = np.mean(class_of[estimator.predict(data.X_unseen)] == data.y_unseen)
    for name in ("stability", "rates"):  # of HVAEClusterer
        if getattr(estimator, f"{name}_", None) is not None:
            result[name] = getattr(estimator, f"{name}_")
    return {key: np.round(value, 4).tolist() for key, value in result.items()}


# --- the runs, and the file that holds their results ---------------------------------------------


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path, result):
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result), flush=True)


def missing(path, name, seed, methods):
    """Return the methods that lack a result on a data set and seed."""
    done = {(run["data"], run["method"], run["seed"]) for run in read(path)}
    is_image = name in PIXELS or name.startswith("fashion")
    unfit = TABLES_ONLY if is_image else IMAGES_ONLY
    return [m for m in methods if m not in unfit and (name, m, seed) not in done]


def run(name, seed, methods, path):
    """Run methods on one data set and seed; returns those that cannot be imported."""
    skipped = set()
    data = DATA[name](seed) if methods else None
    for method in methods:
        result = {"data": name, "method": method, "seed": seed}
        try:
            result |= measure((METHODS | ABLATIONS)[method](data, seed), data)
        except ImportError as error:
            print(f"{method} is skipped, as it cannot be imported: {error}", flush=True)
            skipped.add(method)
            continue
        except Exception as error:
            result["error"] = repr(error)
        append(path, result)
    return skipped


def run_all(names, methods, seeds, path):
    skipped = set()
    for name in names:
        for seed in range(seeds):
            todo = missing(path, name, seed, methods)
            skipped |= run(name, seed, [m for m in todo if m not in skipped], path)


# --- tables --------------------------------------------------------------------------------------


def mean_and_std(runs, key):
    values = [run[key] for run in runs if key in run]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else ""


def print_table(name, results):
    """Print a data set's results, a method a line."""
    print(f"\n{name}\n{'method':13} runs  {'ACC':15}{'NMI':15}{'ARI':15}seconds  {'unseen':15}K")
    for method in METHODS | ABLATIONS:
        runs = [r for r in results if (r["data"], r["method"]) == (name, method)]
        complete = [r for r in runs if "error" not in r]
        if complete:
            scores = "".join(f"{mean_and_std(complete, key):15}" for key in ("acc", "nmi", "ari"))
            seconds = np.mean([r["seconds"] for r in complete])
            found = sorted({r["n_found"] for r in complete})
            print(
                f"{method:13} {len(complete):4}  {scores}{seconds:7.1f}  "
                f"{mean_and_std(complete, 'unseen'):15}{'-'.join(map(str, found))}"
            )
        if len(complete) < len(runs):
            print(f"{method:13} {len(runs) - len(complete):4}  failed")


def print_means(names, results):
    """Print means over data sets: of ACC, of its standard deviation over seeds, and of time."""
    print(f"\nmean of {len(names)} sets  ACC    std    seconds")
    for method in METHODS | ABLATIONS:
        runs = [
            [r for r in results if (r["data"], r["method"]) == (name, method) and "error" not in r]
            for name in names
        ]
        if all(runs):
            accs = [[run["acc"] for run in some] for some in runs]
            acc, std = np.mean([np.mean(some) for some in accs]), np.mean([*map(np.std, accs)])
            seconds = np.mean([np.mean([run["seconds"] for run in some]) for some in runs])
            print(f"{method:16}{acc:8.3f}{std:7.3f}{seconds:9.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA | GROUPS, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS | ABLATIONS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--results", type=Path, default=Path("clustering.jsonl"))
    options = parser.parse_args()
    names = [name for given in options.data for name in GROUPS.get(given, [given])]
    run_all(names, options.methods, options.seeds, options.results)
    results = read(options.results)
    for name in names:
        print_table(name, results)
    print_means(names, results)
