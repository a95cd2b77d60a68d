"""Files, sparse matrices and Datasets as X: the same model as from an array, bit for bit."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sk_hvae import HVAEClusterer, MultiRateHVAETransformer

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Let data of 100 numbers be large: windows, blocks and chunks hold a few rows."""
    monkeypatch.setattr("sk_hvae._data.rows._WINDOW_ELEMENTS", 160)
    monkeypatch.setattr("sk_hvae._data.rows._READ_AT_ONCE_ELEMENTS", 160)
    monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 60)
    monkeypatch.setattr("sk_hvae._data.batches._SHUFFLED_ELEMENTS", 200)
    monkeypatch.setattr("sk_hvae._data.batches._BLOCK_ELEMENTS", 20)


def mapped(path, X):
    np.save(path, X)
    return np.load(path, mmap_mode="r")


SOURCES = {
    "file": lambda X, path: mapped(path, X),
    "CSR": lambda X, path: sparse.csr_array(X),
    "COO": lambda X, path: sparse.coo_array(X),
    "Dataset": lambda X, path: TensorDataset(torch.from_numpy(X), torch.zeros(len(X))),
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    return lambda X: SOURCES[request.param](X, tmp_path / "X.npy")


def assert_same_model(model, other, X, same_X):
    np.testing.assert_array_equal(model.rates_, other.rates_)
    np.testing.assert_array_equal(model.betas_, other.betas_)
    np.testing.assert_array_equal(model.transform(X), other.transform(same_X))
    np.testing.assert_array_equal(model.rates(X), other.rates(same_X))
    np.testing.assert_array_equal(model.score_samples(X), other.score_samples(same_X))
    assert model.distortion_ == other.distortion_
    assert model.n_features_in_ == other.n_features_in_


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}], ids=["plain", "early_stopping"])
def test_fit(small, iris, source, params):
    X = source(iris)
    assert_same_model(small(**params).fit(iris), small(**params).fit(X), iris, X)


def test_partial_fit(small, iris, source):
    model, other = small(), small()
    for part in (iris[:70], iris[70:]):
        model, other = model.partial_fit(part), other.partial_fit(source(part))
    assert_same_model(model, other, iris, source(iris))


def test_warm_start(small, iris, source):
    model, other = (small(warm_start=True).fit(iris) for _ in range(2))
    X = source(iris)
    assert_same_model(model.fit(iris), other.fit(X), iris, X)


def test_multi_rate(iris, source, coarse_plane):
    params = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    model = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), **params)
    X = source(iris)
    assert_same_model(clone(model).fit(iris), model.fit(X), iris, X)


def test_clusterer(iris, source):
    params = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    model = HVAEClusterer(3, n_init=2, **params)
    X = source(iris)
    other = clone(model).fit(X)
    np.testing.assert_array_equal(model.fit(iris).labels_, other.labels_)
    np.testing.assert_array_equal(model.predict_proba(iris), other.predict_proba(X))
    assert_same_model(model, other, iris, X)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32", ">f4"])
def test_dtypes_of_files(small, iris, tmp_path, dtype):
    X = (10 * iris).astype(dtype)
    file = mapped(tmp_path / "X.npy", X)
    assert_same_model(small().fit(X), small().fit(file), X, file)


def test_files_in_the_order_of_fortran_are_close(small, iris, tmp_path):
    # PCA takes other sums over columns than over rows.
    file = mapped(tmp_path / "X.npy", np.asfortranarray(iris))
    np.testing.assert_allclose(small().fit(file).rates_, small().fit(iris).rates_, rtol=1e-3)


def test_a_sparse_matrix_is_like_its_dense_one(small):
    X = sparse.random_array((80, 30), density=0.1, random_state=0, format="csc")
    dense = X.toarray()
    assert_same_model(small().fit(dense), small().fit(X), dense, X)


@pytest.mark.parametrize("kind", ["file", "Dataset"])
def test_missing_cells(small, iris, tmp_path, kind):
    X = iris.copy()
    X[::7, 1] = np.nan
    streamed = SOURCES[kind](X, tmp_path / "X.npy")
    model, other = small(missing="mask").fit(X), small(missing="mask").fit(streamed)
    assert_same_model(model, other, X, streamed)


@pytest.mark.parametrize("kind", ["file", "Dataset"])
def test_nan_and_infinity_are_found_wherever_they_are(small, iris, tmp_path, kind):
    for place, value in ((0, np.nan), (149, np.inf)):
        X = iris.copy()
        X[place, 2] = value
        X = SOURCES[kind](X, tmp_path / "X.npy")
        with pytest.raises(ValueError, match="X contains"):
            small().fit(X)
        with pytest.raises(ValueError, match="X contains"):
            small().fit(iris).transform(X)


def test_data_that_do_not_suit_the_likelihood_are_refused(small, iris, source):
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
        small(likelihood="bernoulli").fit(source(iris))
    fitted = small(likelihood="bernoulli").fit(iris / 10)
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
        fitted.transform(source(iris))


def test_other_columns_than_in_fit_are_refused(small, iris, source):
    fitted = small().fit(iris)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        fitted.transform(source(iris[:, :3]))


def test_too_few_rows_are_refused(small, iris, source):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        small().fit(source(iris[:1]))


class TestDatasets:
    def test_without_length_it_is_refused(self, small):
        class Endless(IterableDataset):
            def __iter__(self):
                yield torch.zeros(3)

        with pytest.raises(TypeError, match=r"Dataset as X needs a length .* partial_fit"):
            small().fit(Endless())

    def test_an_empty_one_is_refused(self, small):
        with pytest.raises(ValueError, match=r"0 sample\(s\)|0 feature\(s\)"):
            small().fit(TensorDataset(torch.zeros(0, 3)))

    def test_items_are_drawn_anew_in_every_epoch(self, small, iris):
        class Noisy(Dataset):
            calls = 0

            def __len__(self):
                return 150

            def __getitem__(self, i):
                self.calls += 1
                return iris[i] + 0.01 * np.sin(self.calls)

        dataset = Noisy()
        small(max_epochs=5).fit(dataset)
        assert dataset.calls >= 5 * 150

    def test_images_are_flattened(self, small):
        images = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        model, other = small(image_shape=(1, 4, 4)), small(image_shape=(1, 4, 4))
        model.fit(TensorDataset(images))
        flat = images.flatten(1).numpy()
        assert_same_model(other.fit(flat), model, flat, TensorDataset(images))

    def test_pipelines_and_fit_transform_take_them(self, small, iris):
        dataset = TensorDataset(torch.from_numpy(iris))
        expected = small().fit_transform(iris)
        np.testing.assert_array_equal(small().fit_transform(dataset), expected)


class TestOut:
    def test_the_result_is_written_to_a_file(self, fitted, iris, tmp_path):
        shape = (150, 5)
        out = np.lib.format.open_memmap(tmp_path / "Z.npy", "w+", np.float32, shape)
        assert fitted.transform(mapped(tmp_path / "X.npy", iris), out=out) is out
        np.testing.assert_array_equal(np.load(tmp_path / "Z.npy"), fitted.transform(iris))

    @pytest.mark.parametrize(
        ("out", "found"),
        [
            (np.zeros((150, 4), np.float32), r"float32 of shape \(150, 4\)"),
            (np.zeros((150, 5), np.int64), r"int64 of shape \(150, 5\)"),
            ([], "list"),
        ],
        ids=["shape", "dtype", "type"],
    )
    def test_what_cannot_hold_it_is_refused(self, fitted, iris, out, found):
        with pytest.raises(ValueError, match=rf"float array of shape \(150, 5\); got {found}"):
            fitted.transform(iris, out=out)

    def test_read_only_is_refused(self, fitted, iris):
        out = np.zeros((150, 5), np.float32)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            fitted.transform(iris, out=out)
