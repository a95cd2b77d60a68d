"""Data and estimators that several test files share."""

import contextlib
import multiprocessing

import pytest
import threadpoolctl
import torch
from sklearn.datasets import load_digits, load_iris, load_wine

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer

# The tests run side by side, one process per core.
torch.set_num_threads(1)
threadpoolctl.threadpool_limits(1)

SMALL = {
    "layer_rates": (1, 2),
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 3,
    "batch_size": 32,
    "random_state": 0,
}


@pytest.fixture(scope="session")
def small():
    """Return a function that makes a small estimator; its short fits may miss their targets."""

    def make(**params):
        return HierarchicalVAETransformer(**{**SMALL, **params})

    return make


@pytest.fixture(scope="session")
def iris():
    return load_iris().data


@pytest.fixture(scope="session")
def wine():
    return load_wine().data


@pytest.fixture(scope="session")
def binary_digits():
    return (load_digits().data[:500] > 7).astype(float)


@pytest.fixture(scope="session")
def fitted(small, iris):
    """Return an estimator that reached (1, 2) bits on iris; tests must not change it."""
    return small(max_epochs="auto", n_components=(3, 2)).fit(iris)


@pytest.fixture(scope="session")
def multi(iris):
    """Return a multi-rate model of iris, up to 4 bits a layer; tests must not change it."""
    small = {"n_components": 3, "hidden_layer_sizes": (8,), "random_state": 0}
    return MultiRateHVAETransformer((0.4, 4), layer_rates=(1, 1), max_epochs=300, **small).fit(iris)


@pytest.fixture(scope="session")
def processes():
    """Return a context of new processes, none of which takes seconds to import the libraries.

    They are forked from one that has imported them; the last is what the first fit imports.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accelerate", "pytest", "sk_hvae", "torch._dynamo"])
    return context


@pytest.fixture(scope="session")
def coarsely():
    """Return a context in which multi-rate models are quick to fit, but rough.

    They start from few codes, and are measured at few nodes.
    """

    @contextlib.contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sk_hvae.nn.conditioned._N_CODES", 6)
            patch.setattr("sk_hvae.nn.conditioned._N_CODES_OF_ONE_LAYER", 6)
            patch.setattr("sk_hvae._fit.plane_control._N_NODES", {1: 4, 2: 3})
            yield

    return context


@pytest.fixture
def coarse_plane(coarsely):
    """Fit multi-rate models `coarsely` in this test."""
    with coarsely():
        yield


@pytest.fixture
def always_shared(monkeypatch):
    """Share fits also where the searches are so small that single ones are less work."""
    monkeypatch.setattr("sk_hvae._rates.shared_fits._Group.is_cheaper", lambda group, sizes: True)
