"""Unusual data work; impossible data and parameters raise errors that say what to do."""

import re

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sk_hvae.exceptions import ImageShapeWarning
from sk_hvae.nn import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

USES = [
    "transform",
    "latents",
    "reconstruct",
    "rates",
    "distortion",
    "score_samples",
    "typicality",
    "score",
]


def assert_works(model, X):
    Z = model.fit(X).transform(X)
    assert Z.shape == (len(X), 4)
    assert Z.dtype == np.float32
    assert np.isfinite(Z).all()
    assert np.isfinite(model.rates_).all()
    assert np.isfinite(model.lower_bound_)
    assert np.isfinite(np.asarray(model.reconstruct(X), dtype=float)).all()
    return Z


# Unusual data that work.


@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "uint8", "int8", "int16", "int64", "bool", "object", ">f8"],
)
def test_dtypes(small, iris, dtype):
    X = iris.astype(dtype)
    assert_works(small(), X)
    model = small().fit(X.astype(float))
    reference = model.transform(X.astype(float))
    np.testing.assert_allclose(model.transform(X), reference, rtol=1e-4, atol=1e-5)


def test_frame_of_mixed_dtypes(small, iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    frame = frame.assign(a=frame.a > 5, b=frame.b.astype(int), c=frame.c.astype("float32"))
    assert_works(small(), frame)


@pytest.mark.parametrize("layout", ["F", "strided", "reversed", "list"])
def test_memory_layouts(small, iris, layout):
    X = {
        "F": np.asfortranarray(iris),
        "strided": np.repeat(iris, 2, axis=1)[:, ::2],
        "reversed": np.ascontiguousarray(iris[::-1])[::-1],
        "list": iris.tolist(),
    }[layout]
    np.testing.assert_array_equal(assert_works(small(), X), small().fit_transform(iris))


def test_read_only_memmap(small, iris, tmp_path):
    joblib.dump(iris, tmp_path / "X.joblib")
    X = joblib.load(tmp_path / "X.joblib", mmap_mode="r")
    assert not X.flags.writeable
    np.testing.assert_array_equal(assert_works(small(), X), small().fit_transform(iris))


def test_data_are_not_changed(small, iris):
    X = iris.copy()
    assert_works(small(), X)
    np.testing.assert_array_equal(X, iris)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_scales(small, iris, scale):
    plain = assert_works(small(), iris)
    np.testing.assert_allclose(assert_works(small(), scale * iris), plain, rtol=0.02, atol=0.02)


def test_columns_of_different_scales_and_offsets(small, iris):
    X = iris * [1e-8, 1.0, 1e4, 1e8] + [1.0, -1e3, 1e6, 1e10]
    plain = assert_works(small(), iris)
    np.testing.assert_allclose(assert_works(small(), X), plain, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("scale", [1e200, 1e300])
def test_scales_beyond_reach_say_so(small, iris, scale):
    with pytest.raises(ValueError, match=r"X.*(scale|large)"):
        small().fit(scale * iris)


@pytest.mark.parametrize("value", [1e36, -1e100, 1e300])
def test_values_beyond_float32_say_so(small, value):
    with pytest.raises(ValueError, match=r"X are too large for float32: max\|X\| is 1e"):
        small().fit(np.full((20, 3), value))


@pytest.mark.parametrize("value", [1e20, -1e60, 1e300])
def test_new_values_far_beyond_the_training_data_say_so(fitted, iris, value):
    X = iris[:3].copy()
    X[1, 2] = value
    with pytest.raises(ValueError, match=r"cannot place X's values from .*clip such cells"):
        fitted.transform(X)
    X[1, 2] = 1e10
    assert np.isfinite(fitted.transform(X)).all()
    assert np.isfinite(fitted.score_samples(X)).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 5.3, -1e6])
def test_constant_data(small, value):
    X = np.full((20, 3), value)
    model = small()
    assert_works(model, X)
    np.testing.assert_allclose(model.reconstruct(X), X, rtol=1e-4, atol=1e-2)
    assert (model.rates_ < 0.1).all()


def test_large_data_that_are_constant_up_to_rounding(small):
    X = np.full((20, 3), 1e30)
    X[::2, 1] *= 1 + 1e-14
    model = small()
    assert_works(model, X)
    np.testing.assert_allclose(model.reconstruct(X), X, rtol=1e-6)
    assert abs(model.distortion_) < 1000


@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
def test_constant_data_and_states(small, top_layer):
    model = small(top_layer=top_layer)
    assert_works(model, np.ones((20, 3)))
    assert (model.rates_ < 0.1).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_constant_columns(small, iris, likelihood):
    X = np.hstack([iris / 10, np.zeros((150, 1)), np.ones((150, 1))])
    assert_works(small(likelihood=likelihood), X)


def test_one_column(small, iris):
    assert_works(small(), iris[:, :1])


def test_two_rows(small, iris):
    assert_works(small(), iris[[0, 100]])


@pytest.mark.parametrize("batch_size", [1, 2, 74, 149, 150, 151, 10**6])
def test_batch_sizes(small, iris, batch_size):
    # 150 = 2 * 74 + 2 = 149 + 1
    assert_works(small(batch_size=batch_size, max_epochs=1), iris)


def test_a_batch_of_one_row_would_remain(small, iris):
    model = small(batch_size=10)
    assert_works(model, iris[:141])
    assert np.isfinite(model.history_["train_rates"]).all()


# Data that cannot work.


@pytest.mark.parametrize(
    ("X", "error", "said"),
    [
        ([[1.0, np.nan], [2.0, 3.0]], ValueError, "X contains NaN"),
        ([[1.0, np.inf], [2.0, 3.0]], ValueError, "X contains infinity"),
        ([[1.0, 2.0]], ValueError, "1 sample.*minimum of 2"),
        (np.empty((0, 4)), ValueError, "0 sample"),
        (np.empty((4, 0)), ValueError, "0 feature"),
        ([1.0, 2.0, 3.0], ValueError, "Expected 2D array, got 1D"),
        (np.zeros((2, 2, 2)), ValueError, "dim 3"),
        ([["a", "b"], ["c", "d"]], ValueError, "could not convert string|dtype='numeric'"),
        (np.array([["a"], [None]], dtype=object), (TypeError, ValueError), "string|NoneType"),
        (np.array([[1 + 2j], [3j]]), ValueError, "Complex data not supported"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
def test_impossible_training_data(small, X, error, said, method):
    with pytest.raises(error, match=said):
        getattr(small(), method)(X)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_missing_cells_are_counted_by_the_name_of_their_column(small, iris):
    frame = pd.DataFrame(iris.copy(), columns=list("abcd"))
    frame.loc[[3, 8, 9], "b"] = np.nan
    frame.loc[7, "d"] = np.nan
    said = r"^X contains NaN: 3 in column 'b', 1 in column 'd'\. missing='auto' takes NaN, None"
    with pytest.raises(ValueError, match=said):
        small(missing="error").fit(frame)
    with pytest.raises(ValueError, match="3 in column 1, 1 in column 3"):
        small().fit(frame.to_numpy())
    with pytest.raises(ValueError, match="3 in column 1, 1 in column 3"):
        small().fit(sparse.csr_matrix(frame.to_numpy()))
    with pytest.raises(ValueError, match="3 in column 'b', 1 in column 'd'"):
        small(missing="error").fit(frame.fillna(0)).transform(frame.to_numpy().tolist())
    many = np.full((4, 9), np.nan)
    with pytest.raises(ValueError, match="4 in column 4, 16 in 4 more columns"):
        small().fit(many)


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_an_infinite_cell_is_named_by_row_and_column(small, iris, missing):
    frame = pd.DataFrame(iris.copy(), columns=list("abcd"))
    frame.loc[[5, 8], "c"] = -np.inf
    said = r"X contains infinity: -inf in row 5, column 'c' \(and 1 more such cells\)"
    with pytest.raises(ValueError, match=said):
        small(missing=missing).fit(frame)
    with pytest.raises(ValueError, match="infinity: -inf in row 5, column 2"):
        small(missing=missing).fit(sparse.csr_matrix(frame.to_numpy()))


def test_a_column_without_any_value_is_named(small, iris):
    frame = pd.DataFrame(iris.copy(), columns=list("abcd")).assign(c=None)
    array = frame.to_numpy(dtype=float)
    with pytest.raises(ValueError, match="column 2 of X has no value in any row; leave it out"):
        small(missing="mask").fit(array)
    array[:, 0] = np.nan
    with pytest.raises(ValueError, match=r"columns \[0, 2\] of X have no value in any row"):
        small(missing="mask").fit(array)
    with pytest.raises(ValueError, match=r"X contains NaN: 150 in column 'a', 150 in column 'c'"):
        small(missing="error").fit(frame.assign(a=pd.NaT))
    # Frames have such columns, which stay as they are.
    model = small(missing="mask").fit(frame)
    assert model.reconstruct(frame)["c"].isna().all()


@pytest.mark.parametrize(
    "missing", ["nan", "NaN", True, None, np.nan, pd.NA, "Mask", "masked"], ids=repr
)
def test_other_words_for_missing_cells(small, iris, missing):
    options = r"'missing' parameter.*\{'auto', 'error', 'mask'\}"
    said = rf"{options}. Got .*Did you mean 'mask'\?.*takes NaN, None"
    with pytest.raises(ValueError, match=said):
        small(missing=missing).fit(iris)


@pytest.mark.parametrize("missing", [-1, -999, 0, False])
def test_values_that_stand_for_missing_cells(small, iris, missing):
    with pytest.raises(ValueError, match=r"'mask' takes NaN.*Make NaN of any other value"):
        small(missing=missing).fit(iris)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("normal", "gaussian"),
        ("Gaussian", "gaussian"),
        ("mse", "gaussian"),
        ("nb", "negative_binomial"),
        ("Negative Binomial", "negative_binomial"),
        ("neg-binomial", "negative_binomial"),
        ("zip", "poisson"),
        ("poison", "poisson"),
        ("binary", "bernoulli"),
        ("bernouli", "bernoulli"),
        ("categorial", "categorical"),
        ("multinomial", "categorical"),
        ("discretised_logistic", "discretized_logistic"),
    ],
)
def test_misspelt_likelihoods(small, iris, given, meant):
    listed = (
        "'bernoulli', 'categorical', 'discretized_logistic', 'discretized_logistic_mixture', "
        "'gaussian', 'negative_binomial', 'poisson'"
    )
    for likelihood in (given, [(given, slice(None))]):
        with pytest.raises(ValueError, match=f"{listed}.*Did you mean '{meant}'"):
            small(likelihood=likelihood).fit(iris)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"network": "cnn"}, r"'auto', 'conv', 'fully-conv', 'hit-cifar'.*Did you mean 'conv'"),
        ({"network": "fully_conv"}, "Did you mean 'fully-conv'"),
        ({"inference": "topdown"}, r"\{'ladder', 'top_down'\}.*Did you mean 'top_down'"),
        ({"top_layer": "Categorical"}, "'categorical', 'gaussian', 'gumbel'.*mean 'categorical'"),
        ({"precision": "bf16"}, "'auto', 'bfloat16', 'float32'.*Did you mean 'bfloat16'"),
        ({"output_layers": "Top"}, "Did you mean 'top'"),
    ],
    ids=str,
)
def test_misspelt_options(small, iris, params, said):
    with pytest.raises(ValueError, match=said):
        small(**params).fit(iris)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((6, 3, 4, 4), r"X\.reshape\(len\(X\), -1\).*image_shape=\(3, 4, 4\)"),
        ((6, 8, 8, 3), r"X\.transpose\(0, 3, 1, 2\)\.reshape.*image_shape=\(3, 8, 8\)"),
        ((6, 8, 8), r"X\.reshape\(len\(X\), -1\).*image_shape=\(1, 8, 8\)"),
        ((6, 2, 3, 8, 8), r"X\.reshape.*image_shape=\(channels, height, width\)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, torch.from_numpy])
def test_images_that_are_not_flat(small, fitted, shape, said, container):
    X = container(np.zeros(shape))
    for use in (small().fit, small().partial_fit, fitted.transform):
        with pytest.raises(ValueError, match=said):
            use(X)


def test_a_file_of_images_that_are_not_flat(small, tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((6, 3, 4, 4)))
    with pytest.raises(ValueError, match=r"dim 4.*image_shape=\(3, 4, 4\)"):
        small().fit(np.load(tmp_path / "X.npy", mmap_mode="r"))


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 6, 1), (32, 32, 4)], ids=str)
def test_channels_last(small, shape):
    height, width, channels = shape
    X = np.random.default_rng(0).random((6, np.prod(shape)))
    said = rf"looks like {height} x {width}.*image_shape=\({channels}, {height}, {width}\)"
    with pytest.warns(ImageShapeWarning, match=said):
        small(image_shape=shape, max_epochs=1).fit(X)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (4, 4, 4), (16, 4, 4), (8, 8, 8)], ids=str)
def test_channels_first(small, shape):
    X = np.random.default_rng(0).random((6, np.prod(shape)))
    assert small(image_shape=shape, max_epochs=1).fit(X).n_iter_ == 1


@pytest.mark.parametrize("method", USES)
def test_impossible_new_data(fitted, iris, method):
    use = getattr(fitted, method)
    with pytest.raises(ValueError, match=r"X has 3 features, but Hier.* is expecting 4"):
        use(iris[:, :3])
    with pytest.raises(ValueError, match="X contains NaN"):
        use(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="Expected 2D array"):
        use(iris[0])
    with pytest.raises(ValueError, match="0 sample"):
        use(iris[:0])


@pytest.mark.parametrize("low_high", [(-0.1, 1.0), (0.0, 1.1), (0.0, 255.0)], ids=str)
def test_bernoulli_needs_data_between_0_and_1(small, low_high):
    good = np.tile([[0.0, 1.0]], (10, 1))
    bad = np.tile([low_high], (10, 1))
    model = small(likelihood="bernoulli").fit(good)
    column = 0 if low_high[0] < 0 else 1
    value = re.escape(f"{low_high[column]:g}")
    said = (
        rf"column {column} of X: .* needs data in \[0, 1\]; found values from {value} to {value}\. "
        r"Name the ends of all pixels, for example Bernoulli\(high=255\)"
    )
    with pytest.raises(ValueError, match=said):
        small(likelihood="bernoulli").fit(bad)
    for method in [*USES, "partial_fit"]:
        with pytest.raises(ValueError, match=said):
            getattr(model, method)(bad)


@pytest.mark.parametrize("method", [*USES, "inverse_transform"])
def test_not_fitted(small, iris, method):
    with pytest.raises(NotFittedError, match=r"not fitted yet\. Call 'fit'"):
        getattr(small(), method)(iris)


@pytest.mark.parametrize("use", ["sample", "get_feature_names_out", "save", "layer_slices_"])
def test_not_fitted_without_data(small, tmp_path, use):
    arguments = [tmp_path / "file"] if use == "save" else []
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), use)(*arguments)


def test_inverse_transform_of_the_wrong_width(fitted):
    with pytest.raises(ValueError, match="X has 4 columns, but transform returns 5"):
        fitted.inverse_transform(np.zeros((2, 4)))


@pytest.mark.parametrize("n_samples", [0, -3, 2.5, "a", None], ids=repr)
def test_impossible_n_samples(fitted, n_samples):
    with pytest.raises((ValueError, TypeError), match=r"n_samples.*must be"):
        fitted.sample(n_samples)


# Parameters.

PER_LAYER = "layer_rates must (be|hold).*per layer, z_1"
POSITIVE = "every entry of layer_rates must be positive and finite.*leave it out"
N_COMPONENTS = "every entry of n_components must be a positive int"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"layer_rates": -1}, "'layer_rates' parameter.*Got -1"),
        ({"layer_rates": 0}, "'layer_rates' parameter.*Got 0"),
        ({"layer_rates": np.nan}, "'layer_rates' parameter.*Got nan"),
        ({"layer_rates": np.inf}, "'layer_rates' parameter.*Got inf"),
        ({"layer_rates": "2"}, "'layer_rates' parameter.*Got '2'"),
        ({"layer_rates": (1, 0)}, POSITIVE),
        ({"layer_rates": (-1, 2)}, POSITIVE),
        ({"layer_rates": (1, np.nan)}, POSITIVE),
        ({"layer_rates": (1, np.inf)}, POSITIVE),
        ({"layer_rates": (1, None)}, POSITIVE),
        ({"layer_rates": ()}, PER_LAYER),
        ({"layer_rates": [[1, 2]]}, PER_LAYER),
        ({"layer_rates": [(1, 2), 3]}, PER_LAYER),
        ({"layer_rates": (1, "a")}, PER_LAYER),
        ({"layer_rates": {1, 2}}, PER_LAYER),
        ({"betas": (1.0, 1.0)}, "layer_rates and betas are both given.*layer_rates=None"),
        ({"layer_rates": None}, r"both None.*layer_rates=\(2, 8\).*betas=\(1.0, 1.0\)"),
        ({"layer_rates": None, "betas": (1, -1)}, "every entry of betas must be positive"),
        ({"layer_rates": None, "betas": "a"}, "'betas' parameter"),
        ({"layer_rates": None, "betas": ()}, "betas must hold one number per layer"),
        ({"n_components": 0}, "'n_components' parameter.*Got 0"),
        ({"n_components": 2.0}, "'n_components' parameter.*Got 2.0"),
        ({"n_components": (2,)}, "n_components has 1 entries but the model has 2 layers"),
        ({"n_components": (2, 2, 2)}, "n_components has 3 entries.*one int per layer, z_1"),
        ({"n_components": (2, 0)}, N_COMPONENTS),
        ({"n_components": (2, 2.5)}, N_COMPONENTS),
        ({"n_components": ("a", 2)}, N_COMPONENTS),
        ({"n_components": [[2, 3], [2, 3]]}, N_COMPONENTS),
        ({"hidden_layer_sizes": 0}, "'hidden_layer_sizes' parameter.*Got 0"),
        ({"hidden_layer_sizes": (8, 0)}, "every entry of hidden_layer_sizes must be a positive"),
        ({"hidden_layer_sizes": (8.0,)}, "every entry of hidden_layer_sizes must be a positive"),
        ({"network": "resnet"}, "'network' parameter.*Got 'resnet'"),
        ({"network": "conv"}, r"network='conv' needs image_shape=\(channels, height, width\)"),
        ({"network": "fully-conv"}, "network='fully-conv' needs image_shape"),
        ({"network": "hit-mnist"}, r"images of shape \(1, 28, 28\) have 784 pixels but X has 4"),
        ({"image_shape": (1, 3, 3)}, r"images of shape \(1, 3, 3\) have 9 pixels but X has 4 col"),
        ({"image_shape": (2, 2)}, r"\(channels, height, width\); got \(2, 2\)"),
        ({"image_shape": (2, None)}, "image_shape"),
        ({"image_shape": 4}, "'image_shape' parameter"),
        ({"image_shape": (1, 0, 4)}, "every entry of image_shape must be a positive int"),
        ({"inference": "bottom_up"}, "'inference' parameter.*Got 'bottom_up'"),
        ({"likelihood": "poisson"}, "likelihood='poisson' needs whole numbers; found"),
        ({"likelihood": "laplace"}, "'likelihood' parameter.*Got 'laplace'"),
        ({"top_layer": "bernoulli"}, "'top_layer' parameter.*Got 'bernoulli'"),
        ({"missing": "impute"}, "'missing' parameter.*Got 'impute'"),
        ({"likelihood": Gaussian}, "'likelihood' parameter"),
        ({"likelihood": Gaussian(sigma=-1.0)}, "sigma must be a positive number, 'learned'"),
        ({"likelihood": Gaussian(sigma="optimum")}, "sigma must be.*got 'optimum'"),
        ({"likelihood": Gaussian(scaling="none")}, "scaling must be 'auto'.*got 'none'"),
        ({"output_layers": 0}, "'output_layers' parameter.*Got 0"),
        ({"output_layers": "bottom"}, "'output_layers' parameter.*Got 'bottom'"),
        ({"output_layers": 3}, r"output_layers must be.*layers 1 .* to 2, got 3"),
        ({"output_layers": [0, 1]}, r"output_layers must be.*layers 1 .* to 2, got \[0, 1\]"),
        ({"output_layers": [1, 1]}, "output_layers must be.*different ones"),
        ({"output_layers": []}, "output_layers must be"),
        ({"output_layers": ["z1"]}, "output_layers must be"),
        ({"max_epochs": 0}, "'max_epochs' parameter.*Got 0"),
        ({"max_epochs": "many"}, "'max_epochs' parameter.*Got 'many'"),
        ({"batch_size": 0}, "'batch_size' parameter.*Got 0"),
        ({"batch_size": 2.0}, "'batch_size' parameter.*Got 2.0"),
        ({"lr": 0}, "'lr' parameter.*Got 0"),
        ({"lr": "auto"}, "'lr' parameter.*Got 'auto'"),
        ({"precision": "float16"}, "'precision' parameter.*Got 'float16'"),
        ({"device": "gpu"}, "device must be 'auto' or a torch device.*got 'gpu'"),
        ({"device": 0}, "'device' parameter"),
        ({"early_stopping": "yes"}, "'early_stopping' parameter"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "lower validation_fraction"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change' parameter"),
        ({"callbacks": "disable"}, "'callbacks' parameter"),
        ({"callbacks": ["recorder"]}, "callbacks.*skorch"),
        ({"random_state": "a"}, "'random_state' parameter"),
        ({"verbose": -1}, "'verbose' parameter"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_impossible_parameters(small, iris, params, said, method):
    if "validation_fraction" in params and method == "partial_fit":
        params, said = {"validation_fraction": -1}, "'validation_fraction' parameter"
    with pytest.raises(ValueError, match=said):
        getattr(small(**params), method)(iris)


def test_accelerator_that_is_not_there(small, iris, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"device.*'cuda'.*not available"):
        small(device="cuda").fit(iris)


def test_output_layers_changed_after_fit(small, iris):
    model = small().fit(iris).set_params(output_layers=3)
    with pytest.raises(ValueError, match=r"output_layers must be.*layers 1 .* to 2"):
        model.transform(iris)


@pytest.mark.parametrize("rows", [2, 3])
def test_too_few_rows_to_hold_some_out(small, iris, rows):
    with pytest.raises(ValueError, match="lower validation_fraction or pass more rows"):
        small(early_stopping=True, validation_fraction=0.5).fit(iris[:rows])


def test_partial_fit_begins_with_at_least_two_rows(small, iris):
    with pytest.raises(ValueError, match=r"1 sample.*minimum of 2"):
        small().partial_fit(iris[:1])
