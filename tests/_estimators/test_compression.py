"""Files give rows back, are as long as the model says, and never give wrong rows."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.exceptions import CodecError
from sk_hvae.nn import DiscretizedLogistic, DiscretizedLogisticMixture

SMALL = {"n_components": 3, "hidden_layer_sizes": (8,), "max_epochs": 8, "random_state": 0}
N_TRAIN = 300
# The fits are short.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::sk_hvae.exceptions.{name}")
    for name in ("RateTargetWarning", "ClusterWarning")
]


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


def table(n=1200):
    """A frame of all kinds of columns, with holes."""
    rng = np.random.default_rng(0)
    since = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Bern", "Oslo", "Rom"], n),
            "name": rng.choice([f"n{i}" for i in range(150)], n),
            "price": rng.lognormal(3, 1, n).round(2),
            "visits": rng.poisson(3, n),
            "member": rng.random(n) < 0.3,
            "since": since,
            "weight": rng.normal(70, 9, n).round(1).astype("float32"),
            "same": "x",
        }
    )
    for column in ("city", "price", "since"):
        frame.loc[rng.random(n) < 0.1, column] = None
    return frame


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture(scope="module")
def fitted(frame):
    return HierarchicalVAETransformer((2, 3), **SMALL).fit(frame)


@pytest.fixture(scope="module")
def binary(digits):
    X = (digits > 7).astype(np.uint8)
    params = {**SMALL, "likelihood": "bernoulli"}
    return HierarchicalVAETransformer((2, 6), **params).fit(X[:N_TRAIN]), X[N_TRAIN:][:500]


@pytest.fixture(scope="module")
def compressed(binary):
    model, X = binary
    return model.compress(X)


IMAGES = {"image_shape": (1, 8, 8)}
KINDS = {
    "poisson": {"likelihood": "poisson"},
    "negative binomial, ladder": {"likelihood": "negative_binomial", "inference": "ladder"},
    "levels, convolutions": {"likelihood": DiscretizedLogistic(17), "network": "conv", **IMAGES},
    "mixture of levels": {"likelihood": DiscretizedLogisticMixture(2, 17), **IMAGES},
    "categorical": {"likelihood": "categorical"},
    "states on top": {"likelihood": "poisson", "top_layer": "categorical"},
}


@pytest.mark.parametrize("name", KINDS)
def test_files_are_as_long_as_the_lower_bound_says(name, digits):
    X = digits.astype(np.uint8)
    model = HierarchicalVAETransformer((2, 6), **{**SMALL, **KINDS[name]}).fit(X)
    data = model.compress(X[:600])
    found = model.decompress(data)
    assert found.dtype == X.dtype
    np.testing.assert_array_equal(found, X[:600])
    expected = (model.distortion(X[:600]) + model.rates(X[:600]).sum(axis=1)).sum()
    assert 0.98 * expected < 8 * len(data) < 1.01 * expected + 512
    assert model.code_length(X[:600]).sum() == pytest.approx(8 * len(data), abs=900)


def test_frames_come_back_cell_by_cell(fitted, frame):
    data = fitted.compress(frame)
    pd.testing.assert_frame_equal(fitted.decompress(data), frame)
    assert len(data) < len(frame.to_csv(index=False).encode()) / 3


def test_cells_far_from_the_training_data_come_back(fitted, frame):
    odd = frame[:9].copy()
    odd["price"] = [1e12, -3.25, 0.125, np.pi, 0.0, None, 1e-9, 7.0, 2**40]
    odd["visits"] = [10**9, -4, 0, 0, 1, 2, 3, 10**11, 5]
    odd.loc[2, "weight"] = np.float32(1e6)
    pd.testing.assert_frame_equal(fitted.decompress(fitted.compress(odd)), odd)


@pytest.mark.parametrize(
    "rows",
    [slice(3), slice(595, 605), slice(-5, None), slice(None, None, 400), slice(9, 2)],
    ids=str,
)
def test_rows_can_be_chosen(rows, fitted, frame):
    found = fitted.decompress(fitted.compress(frame, verify=False), rows=rows)
    pd.testing.assert_frame_equal(found, frame[rows].reset_index(drop=True))


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_few_rows_come_back(n, binary):
    model, X = binary
    np.testing.assert_array_equal(model.decompress(model.compress(X[:n])), X[:n])


# A unit that carries nothing has its prior's entropy, on a grid of 1/8 of its spread.
ENTROPY = 2 * SMALL["n_components"] * np.log2(8 * np.sqrt(2 * np.pi * np.e))
HEADER = 8 * 32


def excess_of(model, X):
    """Bits of a file beyond what its rows take."""
    return 8 * len(model.compress(X, verify=False)) - model.code_length(X).sum()


def test_the_first_row_borrows_no_more_than_its_latents_take(binary):
    model, X = binary
    assert excess_of(model, X[:1]) < ENTROPY + 64 + HEADER


def test_rows_may_be_in_any_order(binary):
    model, X = binary
    order = model.code_length(X).argsort()
    odd = X.copy()
    odd[20] = 1 - odd[20]
    for rows in (X, X[order], X[order[::-1]], odd):
        # Joining a lane takes log2(32 ln 2) bits.
        assert excess_of(model, rows) < ENTROPY + 64 + HEADER + 8 * 4.5


def test_damage_never_gives_wrong_rows(binary, compressed):
    model, _ = binary
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(compressed)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        with pytest.raises(CodecError):
            model.decompress(damaged)
        with pytest.raises(CodecError):
            model.decompress(compressed[: rng.integers(len(compressed))])
    with pytest.raises(CodecError, match="something follows"):
        model.decompress(compressed + b"\0")


def test_other_models_are_refused(binary, compressed, fitted):
    model, X = binary
    params = {**model.get_params(), "random_state": 1, "max_epochs": 1}
    other = HierarchicalVAETransformer(**params).fit(X[:100])
    with pytest.raises(CodecError, match="by another model, or by this one before"):
        other.decompress(compressed)
    with pytest.raises(CodecError, match="64 columns, and the model knows 8"):
        fitted.decompress(compressed)
    with pytest.raises(CodecError, match="not what compress"):
        fitted.decompress(b"PK\3\4 a zip")


def test_models_that_were_kept_give_the_same_bytes(binary, compressed, tmp_path):
    model, X = binary
    model.save(tmp_path / "model")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model")
    for again in (loaded, pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert again.compress(X, verify=False) == compressed
        np.testing.assert_array_equal(again.decompress(compressed), X)


OTHER = """
import sys
import numpy as np
import torch
from sk_hvae import HierarchicalVAETransformer
folder, n_threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(n_threads)
model = HierarchicalVAETransformer.load(f"{folder}/model")
with open(f"{folder}/rows", "rb") as file:
    X = model.decompress(file)
np.save(f"{folder}/found.npy", X)
with open(f"{folder}/again", "wb") as file:
    model.compress(X, verify=False, out=file)
"""


def test_other_instructions_and_threads_give_the_same_bytes(binary, compressed, tmp_path):
    model, X = binary
    model.save(tmp_path / "model")
    (tmp_path / "rows").write_bytes(compressed)
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    command = [sys.executable, "-W", "ignore", "-c", OTHER, str(tmp_path), "2"]
    subprocess.run(command, check=True, env={**os.environ, **plain})  # noqa: S603
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), X)
    assert (tmp_path / "again").read_bytes() == compressed


@pytest.mark.parametrize(
    "as_given",
    [sparse.csr_matrix, np.asfortranarray, lambda X: X.tolist(), lambda X: X.astype(np.float32)],
    ids=["sparse", "Fortran", "lists", "float32"],
)
def test_rows_may_be_given_in_any_form(as_given, binary):
    model, X = binary
    given = as_given(X[:40])
    found = model.decompress(model.compress(given))
    np.testing.assert_array_equal(found, X[:40])
    assert found.dtype == getattr(given, "dtype", np.float64)


def test_files_in_and_out(binary, compressed, tmp_path):
    model, X = binary
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    out = io.BytesIO()
    assert model.compress(mapped, out=out) is out
    assert out.getvalue() == compressed
    out.seek(0)
    np.testing.assert_array_equal(model.decompress(out, rows=slice(7, 9)), X[7:9])


def test_integers_need_no_resolution(digits):
    X = digits[:100].astype(np.int32)
    model = HierarchicalVAETransformer(2, **SMALL, likelihood="gaussian").fit(X)
    found = model.decompress(model.compress(X))
    np.testing.assert_array_equal(found, X)
    assert found.dtype == X.dtype


def test_resolutions_round_real_numbers(iris):
    X = iris + np.random.default_rng(0).normal(scale=1e-3, size=iris.shape)
    model = HierarchicalVAETransformer(2, **SMALL).fit(X)
    found = model.decompress(model.compress(X, resolution=0.01))
    np.testing.assert_array_equal(found, np.round(X, 2))
    mixed = model.compress(X, resolution=[0.25, 0.01, 3e-4, 1])
    assert (np.abs(model.decompress(mixed) - X).max(0) <= [0.125, 0.005, 1.5001e-4, 0.5]).all()
    with pytest.raises(ValueError, match=r"column 0 of X.*resolution="):
        model.compress(X)


def test_resolutions_of_frames_go_by_name(iris):
    frame = pd.DataFrame(iris + np.random.default_rng(0).normal(size=iris.shape), columns=[*"abcd"])
    model = HierarchicalVAETransformer(2, **SMALL).fit(frame)
    with pytest.raises(ValueError, match=r"column 'c' of X.*resolution="):
        model.compress(frame, resolution={"a": 0.1, "b": 0.1})
    found = model.decompress(model.compress(frame, resolution=dict.fromkeys("abcd", 0.1)))
    np.testing.assert_array_equal(found, frame.round(1))


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        (-1.0, "must be positive; got -1"),
        ({"z": 1.0}, "'z', which is no column"),
        ({"city": 1.0}, "Gaussian columns only"),
    ],
)
def test_wrong_resolutions_are_told(resolution, message, fitted, frame):
    with pytest.raises(ValueError, match=message):
        fitted.compress(frame[:5], resolution=resolution)


def test_what_cannot_come_back_is_refused(fitted, frame, binary):
    model, _ = binary
    with pytest.raises(ValueError, match="unknown categories 'Paris'"):
        fitted.compress(frame[:5].assign(city="Paris"))
    with pytest.raises(ValueError, match=r"column 0 of X.*found 0\.5"):
        model.compress(np.full((2, 64), 0.5))
    fine = frame[:5].assign(since=pd.Timestamp("2021-03-01 12:00:00.123456789"))
    with pytest.raises(CodecError, match="'since' of X would not come back"):
        fitted.compress(fine)
    with pytest.raises(TypeError, match="must be a slice"):
        model.decompress(b"", rows=3)


def test_networks_without_an_exact_counterpart_are_refused(digits):
    X = digits.astype(np.uint8)[:100]
    images = {"network": "fully-conv", "image_shape": (1, 8, 8), "likelihood": "gaussian"}
    model = HierarchicalVAETransformer((2, 2), **SMALL, **images)
    with pytest.raises(ValueError, match="network='mlp' or 'conv'"):
        model.fit(X).compress(X)


def test_clusterers_and_models_at_rates_compress(frame, digits):
    clusterer = HVAEClusterer(3, **SMALL).fit(frame[:300])
    part = frame[300:340].reset_index(drop=True)
    part["name"] = frame["name"][0]
    pd.testing.assert_frame_equal(clusterer.decompress(clusterer.compress(part)), part)
    X = digits.astype(np.uint8)[:200]
    params = {**SMALL, "max_epochs": 2, "likelihood": "poisson", "rate_range": (1, 4)}
    model = MultiRateHVAETransformer(**params).fit(X)
    at_rates = [model.at(rates) for rates in ((1, 2), (3, 3))]
    first, second = (each.compress(X) for each in at_rates)
    np.testing.assert_array_equal(at_rates[0].decompress(first), X)
    with pytest.raises(CodecError, match="another model"):
        at_rates[0].decompress(second)
