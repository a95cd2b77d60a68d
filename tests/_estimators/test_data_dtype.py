"""What comes out on the scale of the data keeps the digits that went in."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.nn import DiscretizedLogistic, Gaussian

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

START, SPAN = 1.7e9, 600.0
TINY = {"n_components": 3, "hidden_layer_sizes": (8,), "random_state": 0}
KINDS = {
    "single": lambda **params: HierarchicalVAETransformer((8, 2), **{**TINY, **params}),
    "states": lambda **params: HierarchicalVAETransformer(
        (6, 1), top_layer="categorical", **{**TINY, **params}
    ),
    "columns": lambda **params: HierarchicalVAETransformer(
        (8, 2), likelihood=[("gaussian", [0, 1]), ("bernoulli", [2])], **{**TINY, **params}
    ),
    "multi-rate": lambda **params: MultiRateHVAETransformer(
        (1, 8), layer_rates=(8, 2), **{**TINY, **params}
    ),
    "clusterer": lambda **params: HVAEClusterer(2, n_init=2, **{**TINY, **params}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def seconds(n_rows=80):
    """Return Unix seconds of ten minutes, a clock of milliseconds, and a flag."""
    rng = np.random.default_rng(0)
    late = rng.integers(0, 2, n_rows)
    passed = SPAN * (0.8 * late + 0.2 * rng.random(n_rows))
    return np.column_stack([START + passed, 1e3 * (START + passed) + rng.random(n_rows), late])


def data_of(model, X):
    """Return all that a model says on the scale of the data, by name."""
    Z = model.transform(X)
    found = {
        "reconstruct": model.reconstruct(X),
        "top": model.reconstruct(X, layer="top"),
        "resampled": model.reconstruct(X, layer="top", resample=True),
        "inverse_transform": model.inverse_transform(Z),
        "sample": model.sample(50),
        "sample of means": model.sample(50, mean=True),
    }
    if isinstance(model, HVAEClusterer):
        found["cluster_centers_"] = model.cluster_centers_
    return found


@each_kind
def test_seconds_of_ten_minutes_are_told_apart(kind):
    X = seconds()
    model = KINDS[kind](max_epochs=60).fit(X)
    for name, found in data_of(model, X).items():
        assert found.dtype == np.float64, name
        # float32 has steps of 128 seconds there: none of the numbers in between.
        assert (found[:, 0] % 128 != 0).any(), name
        assert (abs(found[:, 0] - START - SPAN / 2) < 2 * SPAN).all(), name
    model.set_params(output_layers="all")
    error = model.reconstruct(X)[:, 0] - X[:, 0]
    assert np.square(error).mean() < 0.2 * X[:, 0].var()
    np.testing.assert_array_equal(model.inverse_transform(model.transform(X)), model.reconstruct(X))


def test_states_whose_probabilities_do_not_add_up_lose_nothing():
    X = seconds()
    model = KINDS["states"](max_epochs=20, output_layers="top").fit(X)
    states = model.inverse_transform(np.eye(3))
    half = np.array([[0.3, 0.3, 0.4]], np.float32)
    expected = (half.astype(float) / half.astype(float).sum()) @ states
    np.testing.assert_allclose(model.inverse_transform(half), expected, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *[(name, "float64") for name in ("float64", "int64", "int32", "uint32", "object", ">f8")],
        *[(name, "float32") for name in ("float32", "float16", "uint8", "int8", "int16", "bool")],
    ],
)
def test_the_dtype_is_that_which_holds_what_was_fitted(small, iris, tmp_path, dtype, expected):
    X = iris.round().astype(dtype)
    model = small().fit(X)
    model.save(tmp_path / "model")
    for same in (
        model,
        pickle.loads(pickle.dumps(model)),  # noqa: S301
        HierarchicalVAETransformer.load(tmp_path / "model"),
    ):
        assert {found.dtype.name for found in data_of(same, iris).values()} == {expected}
        assert same.transform(iris).dtype == np.float32
    np.testing.assert_array_equal(same.reconstruct(iris), model.reconstruct(iris))
    assert model.reconstruct(iris.astype(np.float32)).dtype.name == expected


@pytest.mark.parametrize("expected", ["float64", "float32"])
def test_containers(small, iris, tmp_path, expected):
    X = iris.astype(expected)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", expected, X.shape)
    mapped[:] = X
    for same in (X, sparse.csr_array(X), mapped):
        assert small().fit(same).reconstruct(iris).dtype == expected


@each_kind
@pytest.mark.parametrize("expected", ["float64", "float32"])
def test_every_estimator_keeps_it_in_files(kind, tmp_path, expected):
    X = seconds().astype(expected)
    model = KINDS[kind](max_epochs=2).fit(X)
    model.save(tmp_path / "model")
    pickled = pickle.dumps(model)
    for same in (type(model).load(tmp_path / "model"), pickle.loads(pickled)):  # noqa: S301
        for name, found in data_of(same, X).items():
            assert found.dtype == expected, name


def test_models_at_other_rates_keep_it(coarse_plane):
    X = seconds()
    multi = KINDS["multi-rate"](max_epochs=2).fit(X)
    assert multi.at((2, 2)).sample(3).dtype == np.float64
    assert multi.fine_tune((2, 2), max_epochs=1).reconstruct(X).dtype == np.float64
    assert multi.fit(X.astype(np.float32)).at((2, 2)).sample(3).dtype == np.float32


def test_it_is_float64_once_any_of_the_rows_were(small, iris):
    narrow = iris.astype(np.float32)
    model = small().partial_fit(narrow)
    assert model.sample(2).dtype == np.float32
    assert model.partial_fit(iris).sample(2).dtype == np.float64
    assert model.partial_fit(narrow).sample(2).dtype == np.float64
    assert model.fit(narrow).sample(2).dtype == np.float32


def test_a_rows_result_depends_on_no_other_row(small):
    X = seconds()
    model = small().fit(X)
    together = model.reconstruct(X)
    for i in (0, 7, 79):
        np.testing.assert_array_equal(model.reconstruct(X[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_drawn_levels_are_the_values_of_the_data(small, dtype):
    X = (np.random.default_rng(0).integers(0, 256, (50, 4)) / 255).astype(dtype)
    drawn = small(likelihood=DiscretizedLogistic()).fit(X).sample(50)
    assert np.isin(drawn, (np.arange(256) / 255).astype(dtype)).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sigma", ["learned", "per_feature", "optimal"])
def test_fits_of_large_offsets_standardise_well(small, dtype, sigma):
    rng = np.random.default_rng(0)
    X = (2.0**24 + rng.integers(0, 64, (100, 3))).astype(dtype)
    model = small(likelihood=Gaussian(sigma=sigma), max_epochs=60).fit(X)
    assert abs(model.sample(400).mean(0, dtype=float) - X.mean(0, dtype=float)).max() < 6
    assert np.isfinite(model.score(X))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"), [("single", "float64"), ("states", "float32"), ("columns", "float64")]
)
def test_exported_decoders_keep_it(tmp_path, kind, dtype):
    onnxruntime = pytest.importorskip("onnxruntime")
    X = seconds().astype(dtype)
    model = KINDS[kind](max_epochs=10).fit(X)
    if kind == "states":
        model.set_params(output_layers="top")
    Z = model.transform(X)
    model.export_onnx(tmp_path / "decoder.onnx", part="decoder")
    (found,) = onnxruntime.InferenceSession(tmp_path / "decoder.onnx").run(["X"], {"Z": Z})
    expected = model.inverse_transform(Z)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0 if dtype == "float64" else 1e-6, atol=0.5)
