"""The same numbers have the same scores, whatever holds them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.metrics import log_likelihood
from sk_hvae.nn.noise import without_last_bits

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
NARROW = ["float32", "float16", "int8", "uint8", "int16", "int64"]


def whole(n_rows=120):
    """Return whole numbers from 0 to 4, which every dtype but bool holds."""
    return np.random.default_rng(0).integers(0, 5, (n_rows, 4)).astype(float)


def scores(model, X):
    return {
        "score_samples": model.score_samples(X),
        "rates": model.rates(X),
        "distortion": model.distortion(X),
        "log_likelihood": log_likelihood(model, X, n_samples=3),
    }


def assert_equal(found, expected):
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"likelihood": "poisson"},
        {"likelihood": "categorical"},
        {"likelihood": [("gaussian", [0, 1]), ("negative_binomial", [2, 3])]},
        {"missing": "mask"},
        {"kind": MultiRateHVAETransformer, "layer_rates": (2, 2)},
        {"kind": HVAEClusterer, "n_clusters": 2, "n_init": 2},
    ],
    ids=str,
)
def test_fits_and_scores_of_whole_numbers_do_not_depend_on_the_dtype(params, dtype):
    kind = params.get("kind", HierarchicalVAETransformer)
    params = {**TINY, **{name: value for name, value in params.items() if name != "kind"}}
    X = whole()
    model = kind(**params).fit(X)
    expected = scores(model, X)
    assert_equal(scores(model, X.astype(dtype)), expected)
    assert_equal(scores(kind(**params).fit(X.astype(dtype)), X), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretized_logistic"])
def test_flags(small, likelihood, dtype):
    X = (whole() > 2).astype(float)
    model = small(likelihood=likelihood).fit(X)
    assert_equal(scores(model, X.astype(dtype)), scores(model, X))


def test_containers(small, tmp_path):
    X = whole()
    model = small().fit(X)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.int16, X.shape)
    mapped[:] = X
    mixed = pd.DataFrame({str(i): column for i, column in enumerate(X.T)}).astype({"0": "int8"})
    for same in (
        sparse.csr_array(X.astype(np.float32)),
        mapped,
        mixed.to_numpy(),
        torch.utils.data.TensorDataset(torch.tensor(X, dtype=torch.int32)),
        np.asfortranarray(X),
    ):
        assert_equal({"score": model.score_samples(same)}, {"score": model.score_samples(X)})


def test_the_signs_of_zero_and_of_nan_do_not_count(small):
    X = whole() - 2
    X[::7, 1] = np.nan
    model = small(missing="mask").fit(X)
    other = np.where(X == 0, -0.0, np.where(np.isnan(X), -np.nan, X))
    assert (np.signbit(other) != np.signbit(X)).any()
    assert_equal(scores(model, other), scores(model, X))


@pytest.mark.parametrize("offset", [0.0, 30.0, -5.0])
def test_real_numbers_that_float32_rounds_share_their_noise(small, iris, offset):
    model = small(max_epochs=20).fit(iris + offset)
    wide, narrow = (scores(model, (iris + offset).astype(d)) for d in ("float64", "float32"))
    for name, expected in wide.items():
        near = np.isclose(narrow[name], expected, rtol=1e-3, atol=1e-3)
        assert near.mean() > 0.98, name


def test_rows_that_differ_beyond_float32_have_noise_of_their_own(small):
    X = 1.7e9 + np.arange(200.0)[:, None] * [1.0, 1.0] % [100.0, 37.0]
    module = small().fit(X).module_
    drawn = module.row_noise(torch.tensor(X))(torch.empty(200, 4))
    assert len(drawn.unique(dim=0)) == 200


def test_last_bits_are_rounded_off():
    x = torch.tensor([0.1, -3.7, 1e-20, 1e20, 0.0, -0.0, torch.nan], dtype=torch.float64)[:, None]
    rounded = without_last_bits(x)
    torch.testing.assert_close(rounded[:6].double(), x[:6], rtol=2.0**-12, atol=0)
    assert torch.equal(rounded[:4], without_last_bits(x.float())[:4])
    assert rounded.view(torch.int32)[4] == rounded.view(torch.int32)[5] == 0
    assert rounded[6].isnan()
