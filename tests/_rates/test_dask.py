"""Searches, maps and clusterings on a cluster of two workers are those in one process."""

import contextlib
import os
import textwrap
import threading
from pathlib import Path

import dask
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_hvae import HVAEClusterer, RateSearchCV, rate_grid, rate_map
from sk_hvae._clustering import graph

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
]

GUIDE = Path(__file__).parents[2] / "docs" / "user_guide" / "cluster.rst"
RATES = [(1, 2), (2, 1), (2, 4)]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@pytest.fixture(scope="module")
def cluster():
    """Start two workers of one thread, whose number of threads this process does not set.

    Every two seconds, dask's active memory manager drops copies of rows that no task waits for, and
    a later task fetches them anew: how often rows travel would depend on the time.
    """
    unmanaged = dask.config.set({"distributed.scheduler.active-memory-manager.start": False})
    with unmanaged, pytest.MonkeyPatch.context() as patch:
        for name in THREADS:
            patch.delenv(name, raising=False)
        started = LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
    with started, Client(started) as client:
        yield client


@pytest.fixture(scope="module")
def species():
    return load_iris().target


@pytest.fixture
def pipeline(small):
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("hvae", small(batch_size=100)),
            ("clf", LogisticRegression(max_iter=1000)),
        ]
    )


class Watch:
    """How many fits and starts of clusterers a worker computes at the same time, at most."""

    now, most, lock = 0, 0, threading.Lock()

    @classmethod
    def over(cls, compute):
        def watched(*args, **kwargs):
            with cls.lock:
                cls.now += 1
                cls.most = max(cls.most, cls.now)
            try:
                return compute(*args, **kwargs)
            finally:
                with cls.lock:
                    cls.now -= 1

        return watched


def watch_starts():
    """Count, in a worker, the parts of a fit of a clusterer that compute."""
    for module, name in ((graph, "k_means"), (HVAEClusterer, "_fit_below")):
        setattr(module, name, Watch.over(getattr(module, name)))


class Counted(pd.DataFrame):
    """Rows that count how often they are packed to leave this process."""

    n_packed = 0

    def __reduce_ex__(self, protocol):
        Counted.n_packed += 1
        return pd.DataFrame, (self.to_numpy(), self.index, self.columns)


@pytest.fixture
def rows(iris, monkeypatch):
    monkeypatch.setattr(Counted, "n_packed", 0)
    return Counted(iris, columns=[*"abcd"])


def on_cluster(compute, **params):
    with joblib.parallel_config(backend="dask", **params):
        return compute()


def n_fetched(client):
    """Return the largest number of times that a worker fetched the same from another one."""

    def fetched(dask_worker):
        keys = [key for transfer in dask_worker.transfer_incoming_log for key in transfer["keys"]]
        return max(map(keys.count, keys), default=0)

    return max(client.run(fetched).values())


def n_executed(client):
    """Count the tasks of all workers."""
    return sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())


def assert_same_results(search, reference):
    for key, expected in reference.cv_results_.items():
        if not key.endswith("_time"):
            np.testing.assert_array_equal(search.cv_results_[key], expected, err_msg=key)
    assert search.best_params_ == reference.best_params_


def assert_same_map(surface, reference):
    np.testing.assert_array_equal(surface.rates, reference.rates)
    for name, expected in reference.metrics.items():
        np.testing.assert_array_equal(surface.metrics[name], expected, err_msg=name)


def test_each_worker_has_one_thread_by_the_settings_of_the_cluster(cluster):
    def threads():
        return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]

    assert [*cluster.run(threads).values()] == [(1, "1")] * 2
    assert [*cluster.nthreads().values()] == [1, 1]


@pytest.mark.usefixtures("always_shared")
@pytest.mark.parametrize(("search", "n_stages"), [(GridSearchCV, 1), (RateSearchCV, 2)])
def test_searches(cluster, pipeline, rows, species, search, n_stages):
    one, two = (
        search(pipeline, {"hvae__layer_rates": RATES}, cv=2, scoring="neg_log_loss")
        for _ in range(2)
    )
    before = n_executed(cluster)
    on_cluster(lambda: two.fit(rows, species))
    assert n_executed(cluster) > before
    assert Counted.n_packed == n_stages
    assert n_fetched(cluster) <= 1
    assert_same_results(two, one.fit(rows, species))
    np.testing.assert_array_equal(two.predict_proba(rows), one.predict_proba(rows))


def test_the_example_of_the_guide(cluster, capsys):
    text = (
        GUIDE.read_text().partition(".. code-block:: python\n")[2].partition("\nTo use several")[0]
    )
    page = {"__name__": "page"}
    exec(textwrap.dedent(text), page)  # noqa: S102
    page["LocalCluster"] = lambda **_: contextlib.nullcontext(cluster.cluster)
    page["main"]()
    assert "hvae__layer_rates" in capsys.readouterr().out


@pytest.mark.usefixtures("always_shared")
def test_rows_that_are_scattered_by_name_go_once_for_all_stages(cluster, pipeline, rows, species):
    search = RateSearchCV(pipeline, {"hvae__layer_rates": RATES[:2]}, cv=2, refit=False)
    on_cluster(lambda: search.fit(rows, species), scatter=[rows])
    assert Counted.n_packed == 1
    assert n_fetched(cluster) <= 1


# The model was fitted to the same rows without names.
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_a_map_of_a_multi_rate_model(cluster, multi, rows, species):
    def measure():
        metrics = ["distortion", "psnr", "accuracy:knn"]
        return rate_map(
            multi, rows, species, layer_rates=rate_grid([0.5, 1, 2], [1, 2]), metrics=metrics
        )

    found = on_cluster(measure)
    assert Counted.n_packed == 1
    assert_same_map(found, measure())


def test_a_map_of_single_rate_fits(cluster, small, rows):
    def measure():
        return rate_map(small(), rows, layer_rates=rate_grid([0.5, 1, 2], [1, 2]))

    found = on_cluster(measure)
    assert Counted.n_packed == 1
    assert_same_map(found, measure())


def test_starts_of_the_clusterer(cluster, iris):
    def fit():
        clusterer = HVAEClusterer(3, hidden_layer_sizes=8, max_epochs=3, n_init=6, random_state=0)
        return clusterer.fit(iris)

    before = n_executed(cluster)
    two, one = on_cluster(fit), fit()
    assert n_executed(cluster) > before
    np.testing.assert_array_equal(two.labels_, one.labels_)
    np.testing.assert_array_equal(two.cluster_centers_, one.cluster_centers_)
    assert two.stability_ == one.stability_


def test_clusterers_in_a_search_take_no_more_threads(cluster, iris):
    clusterer = HVAEClusterer(3, hidden_layer_sizes=8, max_epochs=1, n_init=2, random_state=0)
    one, two = (GridSearchCV(clusterer, {"n_clusters": [2, 3]}, cv=2, refit=False) for _ in "ab")
    cluster.run(watch_starts)
    on_cluster(lambda: two.fit(iris))
    assert max(cluster.run(lambda: Watch.most).values()) == 1
    assert_same_results(two, one.fit(iris))
