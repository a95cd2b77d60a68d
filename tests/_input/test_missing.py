"""Missing cells: NaN in X with missing="mask"."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags

from sk_hvae import HierarchicalVAETransformer

short_fit = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
pytestmark = short_fit

USES = ["transform", "latents", "reconstruct", "rates", "distortion", "score_samples", "score"]


def with_holes(X, share=0.2, seed=0):
    """Return a copy with a share of the cells missing at random, none of the first rows."""
    holes = np.random.default_rng(seed).random(X.shape) < share
    holes[:2] = False
    return np.where(holes, np.nan, X)


@pytest.fixture(scope="module")
def holey_iris(iris):
    return with_holes(iris)


@pytest.fixture(scope="module")
def masked(small, holey_iris):
    """An estimator fitted to holey iris; tests must not change it."""
    return small(n_components=3, max_epochs=60, missing="mask").fit(holey_iris)


def test_new_values_far_beyond_the_training_data_say_so(masked, holey_iris):
    X = holey_iris[:3].copy()
    X[1] = 1e20, np.nan, np.nan, np.nan
    X[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"cannot place X's values from .* to 1e\+20"):
        masked.transform(X)


def linear_gaussian(n_rows=600, n_features=8, seed=0):
    """Two factors and a little noise: the other cells tell almost everything about one."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, n_features))
    noise = 0.2 * rng.normal(size=(n_rows, n_features))
    return 3.0 + rng.normal(size=(n_rows, 2)) @ mixing + noise


# What stays an error.


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
def test_nan_is_an_error_unless_it_marks_missing_cells(small, holey_iris, method):
    with pytest.raises(ValueError, match="X contains NaN"):
        getattr(small(), method)(holey_iris)


@pytest.mark.parametrize("method", USES)
def test_a_model_of_complete_data_takes_no_nan(fitted, holey_iris, method):
    with pytest.raises(ValueError, match="X contains NaN"):
        getattr(fitted, method)(holey_iris)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_stays_an_error(small, masked, holey_iris, value):
    X = holey_iris.copy()
    X[3, 1] = value
    for use in (small(missing="mask").fit, small(missing="mask").partial_fit, masked.transform):
        with pytest.raises(ValueError, match="X contains infinity"):
            use(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_column_without_any_value_is_named(small, iris, method):
    X = iris.copy()
    X[:, [1, 3]] = np.nan
    with pytest.raises(ValueError, match=r"columns \[1, 3\] of X have no value in any row"):
        getattr(small(missing="mask"), method)(X)


@pytest.mark.parametrize(
    ("likelihood", "bad"),
    [("bernoulli", 1.5), ("poisson", -1.0), ("poisson", 0.5), ("categorical", 0.5)],
)
def test_values_are_still_checked_beside_missing_cells(small, likelihood, bad):
    X = with_holes(np.random.default_rng(0).integers(0, 2, (60, 4)).astype(float))
    model = small(missing="mask", likelihood=likelihood).fit(X)
    X[0, 0] = bad
    for use in (small(missing="mask", likelihood=likelihood).fit, model.transform):
        with pytest.raises(ValueError, match=f"likelihood='{likelihood}' needs"):
            use(X)


def test_tags():
    assert get_tags(HierarchicalVAETransformer(missing="mask")).input_tags.allow_nan
    assert not get_tags(HierarchicalVAETransformer()).input_tags.allow_nan


# How missing cells may be written.


def assert_same_fit(small, X, other):
    first = small(missing="mask").fit(X)
    second = small(missing="mask").fit(other)
    np.testing.assert_array_equal(first.rates_, second.rates_)
    np.testing.assert_array_equal(first.transform(X), second.transform(other))
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(other))


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "object"])
def test_na_of_pandas_is_nan(small, iris, dtype):
    X = with_holes(np.round(10 * iris))
    frame = pd.DataFrame(X, columns=list("abcd"))
    if dtype == "object":
        # scikit-learn takes None for NaN, but not an NA among objects.
        other = frame.astype(object).where(frame.notna(), None)
    else:
        other = frame.astype(dtype)
    assert_same_fit(small, frame, other)


def test_one_nullable_column_among_others(small, iris):
    X = np.round(10 * iris)
    X[3:60:5, 1] = np.nan
    frame = pd.DataFrame(X, columns=list("abcd"))
    other = frame.astype({"a": "int64", "b": "Int64", "c": "float32"})
    assert_same_fit(small, frame, other)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_floats(small, holey_iris, dtype):
    X = holey_iris.astype(dtype)
    model = small(missing="mask").fit(X)
    wide = model.transform(X.astype(float))
    np.testing.assert_allclose(model.transform(X), wide, rtol=1e-4, atol=1e-5)


def test_complete_data_may_be_marked_too(small, iris):
    model = small(n_components=3, max_epochs=60, missing="mask").fit(iris)
    assert np.isfinite(model.transform(iris)).all()
    assert np.isfinite(model.transform(with_holes(iris))).all()


def test_integers_and_booleans_have_no_missing_cells(small, iris):
    for X in (iris.astype(np.uint8), iris > 3):
        assert np.isfinite(small(missing="mask").fit(X).transform(X)).all()


# What comes out.


@pytest.mark.parametrize("method", USES)
def test_rows_with_missing_cells_give_finite_numbers(masked, holey_iris, method):
    out = getattr(masked, method)(holey_iris)
    parts = out if isinstance(out, list) else [out]
    assert all(np.isfinite(part).all() for part in parts)
    assert masked.sample(3).shape == (3, 4)


def test_fitted_attributes_are_finite(masked):
    assert masked.converged_
    assert np.isfinite([masked.distortion_, masked.lower_bound_, *masked.betas_]).all()
    assert all(np.isfinite(values).all() for values in masked.history_.values())


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["top_down", "ladder"])
def test_imputation_of_linear_gaussian_data_beats_the_mean(small, inference):
    X = linear_gaussian()
    train, test = with_holes(X[:500]), with_holes(X[500:], seed=1)
    holes = np.isnan(test)
    model = small(
        layer_rates=(2, 4),
        n_components=3,
        max_epochs=60,
        batch_size=100,
        missing="mask",
        inference=inference,
    ).fit(train)
    imputed = model.reconstruct(test)
    truth = X[500:]
    by_mean = np.broadcast_to(np.nanmean(train, 0), truth.shape)
    error = np.square(imputed - truth)[holes].mean()
    assert error < 0.2 * np.square(by_mean - truth)[holes].mean()


def test_missing_cells_do_not_leak(masked, iris, holey_iris):
    # The model sees NaN, never what a cell was; and it does see the cells that are there.
    one = holey_iris[5:6].copy()
    one[0, 2] = np.nan
    one[0, 0] = 5.0
    other = one.copy()
    other[0, 0] = 6.0
    np.testing.assert_array_equal(masked.transform(one), masked.transform(one.copy()))
    assert not np.array_equal(masked.transform(one), masked.transform(other))


def test_rows_do_not_depend_on_each_other(masked, holey_iris):
    alone = np.vstack([masked.transform(row[None]) for row in holey_iris[:20]])
    np.testing.assert_allclose(alone, masked.transform(holey_iris)[:20], rtol=1e-4, atol=1e-5)
    scores = masked.score_samples(holey_iris)
    np.testing.assert_allclose(masked.score_samples(holey_iris[:20]), scores[:20], rtol=1e-4)


def test_new_rows_may_miss_columns_that_were_complete(small, iris):
    X = iris.copy()
    X[3:50, 1] = np.nan
    model = small(missing="mask").fit(X)
    new = iris.copy()
    new[::2, 0] = np.nan
    new[1::3] = np.nan
    assert np.isfinite(model.transform(new)).all()
    assert np.isfinite(model.reconstruct(new)).all()


def test_missing_cells_have_no_distortion(masked, iris):
    empty = np.full((4, 4), np.nan)
    np.testing.assert_array_equal(masked.distortion(empty), 0)
    rates = masked.rates(empty)
    assert (rates >= 0).all()
    np.testing.assert_allclose(
        masked.score_samples(empty), -np.log(2) * rates.sum(1), rtol=1e-6, atol=1e-9
    )


def test_what_stands_for_a_missing_cell_does_not_count(masked, holey_iris):
    model = copy.deepcopy(masked)
    model.module_.missing.placeholders.add_(100)
    np.testing.assert_array_equal(model.score_samples(holey_iris), masked.score_samples(holey_iris))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_same_seed_same_model(small, holey_iris, early_stopping):
    first, second = (
        small(missing="mask", early_stopping=early_stopping).fit(holey_iris) for _ in range(2)
    )
    np.testing.assert_array_equal(first.transform(holey_iris), second.transform(holey_iris))


# Ways of training.


def test_partial_fit(small, holey_iris):
    model = small(missing="mask", n_components=3)
    for _ in range(5):
        model.partial_fit(holey_iris)
    model.partial_fit(np.full((1, 4), np.nan))
    assert model.n_iter_ == 6
    assert np.isfinite(model.transform(holey_iris)).all()


def test_a_batch_without_any_value_is_survived(small, iris):
    X = with_holes(iris)
    X[20:110] = np.nan
    model = small(missing="mask", batch_size=4).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.history_["train_distortion"]).all()


def test_warm_start(small, holey_iris, iris):
    model = small(missing="mask", warm_start=True, max_epochs=30).fit(holey_iris)
    before = model.transform(holey_iris)
    model.set_params(max_epochs=1, lr=1e-9).fit(holey_iris)
    np.testing.assert_allclose(model.transform(holey_iris), before, atol=1e-4)
    model.fit(iris)
    model.set_params(missing="error")
    with pytest.raises(ValueError, match="cannot be trained further with missing=False"):
        model.fit(iris)


@pytest.mark.parametrize(
    "likelihood",
    [
        "bernoulli",
        "poisson",
        "negative_binomial",
        "categorical",
        "discretized_logistic",
        [("gaussian", [0, 2]), ("categorical", [1]), ("poisson", [3, 4, 5])],
    ],
    ids=str,
)
def test_every_likelihood(small, likelihood):
    X = np.random.default_rng(0).integers(0, 2, (100, 6)).astype(float)
    X = with_holes(X, 0.3)
    model = small(missing="mask", likelihood=likelihood).fit(X)
    assert np.isfinite(model.transform(X)).all()
    imputed = model.reconstruct(X)
    assert np.isfinite(imputed).all()
    assert np.isfinite(model.score(X))
    np.testing.assert_array_equal(model.distortion(np.full((2, 6), np.nan)), 0)


@pytest.mark.parametrize("network", ["conv", "fully-conv"])
def test_images(small, binary_digits, network):
    X = with_holes(binary_digits[:100])
    model = small(network=network, image_shape=(1, 8, 8), missing="mask").fit(X)
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
def test_categorical_top(small, holey_iris, top_layer):
    model = small(missing="mask", top_layer=top_layer, layer_rates=(2, 0.5)).fit(holey_iris)
    np.testing.assert_allclose(model.latents(holey_iris)[1].sum(1), 1, rtol=1e-5)
    assert np.isfinite(model.reconstruct(holey_iris)).all()


def test_cross_validation_with_missing_cells(small, holey_iris):
    scores = cross_val_score(small(missing="mask"), holey_iris, cv=3)
    assert np.isfinite(scores).all()
