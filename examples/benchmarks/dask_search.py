"""What do two workers of a cluster gain over one process, and is the result the same?

RateSearchCV and GridSearchCV on digits, in one process of one thread, and on a local cluster of
two workers of one thread, in turns. The workers have imported everything before. Rows go to one
worker, once for each round of tasks, of which RateSearchCV has two; the other worker fetches them
from there, which is counted. On a machine that others use as well the ratio only indicates.

    OMP_NUM_THREADS=1 python examples/benchmarks/dask_search.py [--repeats 3]
"""

import argparse
import time
import warnings

import joblib
import numpy as np
import torch
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_hvae import HierarchicalVAETransformer, RateSearchCV, rate_grid
from sk_hvae.exceptions import RateTargetWarning


def new_search(kind):
    hvae = HierarchicalVAETransformer(
        n_components=16, hidden_layer_sizes=(64, 64), max_epochs=20, random_state=0
    )
    pipeline = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
    return kind(pipeline, {"hvae__layer_rates": rate_grid([2, 8], [2, 8])}, cv=2, refit=False)


def timed_fit(search, X, y):
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start


def fetched(client):
    """Return the bytes that workers have fetched from each other so far."""

    def total(dask_worker):
        return sum(transfer["total"] for transfer in dask_worker.transfer_incoming_log)

    return sum(client.run(total).values())


def compare(kind, X, y, client, repeats):
    alone, shared = [], []
    for _ in range(repeats):
        one, two = new_search(kind), new_search(kind)
        alone.append(timed_fit(one, X, y))
        before = fetched(client)
        with joblib.parallel_config(backend="dask"):
            shared.append(timed_fit(two, X, y))
        n_bytes = fetched(client) - before
        scores = [search.cv_results_["mean_test_score"] for search in (one, two)]
        assert np.array_equal(*scores), scores  # noqa: S101
    ratio = np.median(alone) / np.median(shared)
    print(
        f"{kind.__name__}: {np.median(alone):.1f} s in one process, {np.median(shared):.1f} s on "
        f"two workers, {ratio:.2f} times as fast, scores equal to the last bit; "
        f"{n_bytes / 1e6:.2f} MB between workers, rows have {X.nbytes / 1e6:.2f} MB",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore", RateTargetWarning)
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(__import__, "sk_hvae")
        for kind in (RateSearchCV, GridSearchCV):
            compare(kind, X, y, client, repeats)
