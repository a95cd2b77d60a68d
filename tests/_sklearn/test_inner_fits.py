"""What we fit inside is what scikit-learn would find, and its public methods are not called."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import all_estimators

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    rate_map,
)
from sk_hvae._sklearn.inner_fits import k_means, neighbour_graph, principal_axes

SHAPES = [(300, 5), (60, 20), (30, 90), (700, 600)]
FAST = {"hidden_layer_sizes": (8,), "n_components": 3, "max_epochs": 2, "random_state": 0}


def points(shape, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * rng.exponential(size=shape[1])).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_principal_axes_are_those_of_pca(shape, dtype):
    X = points(shape, dtype)
    expected = PCA(4, random_state=3).fit(X)
    axes, variances = principal_axes(X, 4, 3)
    assert axes.dtype == dtype
    np.testing.assert_allclose(axes, expected.components_, atol=1e-5)
    np.testing.assert_allclose(variances, expected.explained_variance_, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_clusters", [1, 3, 12])
def test_clusters_are_those_of_k_means(n_clusters, weighted, dtype):
    X = points((200, 4), dtype)
    weights = np.arange(1, 201, dtype=dtype) if weighted else None
    expected = KMeans(n_clusters, n_init=3, random_state=5).fit(X, sample_weight=weights)
    centres, labels = k_means(X, n_clusters, 3, 5, weights)
    assert np.array_equal(labels, expected.labels_)
    np.testing.assert_allclose(centres, expected.cluster_centers_, atol=1e-5)


def test_a_weight_is_a_number_of_copies():
    X, counts = points((12, 2), float), np.arange(1, 13)
    centres, labels = k_means(X, 3, 20, 0, counts)
    copies = np.repeat(labels, counts)
    for cluster, centre in enumerate(centres):
        np.testing.assert_allclose(centre, np.repeat(X, counts, 0)[copies == cluster].mean(0))


def test_more_clusters_than_different_points():
    _, labels = k_means(np.repeat(np.eye(2), 5, axis=0), 4, 2, 0)
    assert len(np.unique(labels)) == 2


@pytest.mark.parametrize("n_features", [3, 20])
def test_neighbours_are_those_of_nearest_neighbors(n_features):
    X = points((80, n_features))
    expected = NearestNeighbors(n_neighbors=7).fit(X).kneighbors_graph()
    assert (neighbour_graph(X, 7) != expected).nnz == 0


@pytest.fixture
def recorded(monkeypatch):
    """Names of scikit-learn's estimators that are fitted in public, as mlflow records them."""
    names = []

    def recording(method, name):
        def call(self, *args, **kwargs):
            names.append(f"{type(self).__name__}.{name}")
            return method(self, *args, **kwargs)

        return call

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = [kind for _, kind in all_estimators()]
    for kind in kinds:
        for name in {"fit", "fit_predict", "fit_transform"} & kind.__dict__.keys():
            monkeypatch.setattr(kind, name, recording(kind.__dict__[name], name))
    return names


def test_a_fit_of_scikit_learn_is_recorded(recorded, iris):
    KMeans(2, n_init=1).fit(iris)
    assert recorded == ["KMeans.fit"]


@pytest.mark.parametrize(
    "use",
    [
        lambda X: HierarchicalVAETransformer(**FAST).fit(X).score(X),
        lambda X: HierarchicalVAETransformer((2, 2), inference="ladder", **FAST).fit_transform(X),
        lambda X: HierarchicalVAETransformer(**FAST).partial_fit(X).transform(X),
        lambda X: MultiRateHVAETransformer(**FAST).fit(X).transform(X),
        lambda X: HVAEClusterer(3, n_init=2, **FAST).fit_predict(X),
        lambda X: HVAEClusterer(2, n_init=2, **FAST).fit_predict((X.mean(0) < X) * 1.0),
        lambda X: HVAEClusterer("auto", n_init=2, **FAST).fit(X).predict(X),
        lambda X: rate_map(
            HierarchicalVAETransformer(**FAST),
            X,
            np.arange(len(X)) % 3,
            layer_rates=[(1, 2)],
            metrics=["distortion", "adjusted_rand:kmeans"],
        ),
    ],
    ids=["fit", "ladder", "partial_fit", "multi", "clusterer", "weighted", "auto", "map"],
)
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
def test_no_estimator_of_scikit_learn_is_fitted_in_public(recorded, iris, use):
    use(iris)
    assert not recorded
