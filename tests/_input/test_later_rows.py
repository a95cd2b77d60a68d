"""Rows that come after the first: columns that come alive, and scales that do not fit."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.metrics import r2_score
from skorch.callbacks import Callback
from torch.utils.data import TensorDataset

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
from sk_hvae.exceptions import RateTargetWarning, ScaleWarning, TrainingDivergedError
from sk_hvae.nn import DataSummary, Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

N_FIRST, N_LATER = 300, 200
TINY = {
    "layer_rates": (2, 8),
    "hidden_layer_sizes": 16,
    "n_components": 6,
    "max_epochs": 10,
    "random_state": 0,
}


def rows(n_rows, independent=True):
    """Four columns that go together, and a fifth of mean 50 and std 7."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n_rows, 2))
    X = hidden @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(n_rows, 5))
    X[:, 4] = 50 + 7 * (rng.normal(size=n_rows) if independent else X[:, 4] / X[:, 4].std())
    return X


def with_constant(X, constant=50.0):
    X = X[:N_FIRST].copy()
    X[:, 4] = constant
    return X


def explained(model, X):
    """Share of the variance of every column that a reconstruction explains."""
    return r2_score(X, model.reconstruct(X), multioutput="raw_values")


LIKELIHOODS = {
    "gaussian": "gaussian",
    "per feature": Gaussian(sigma="per_feature"),
    "optimal": Gaussian(sigma="optimal"),
    "fixed": Gaussian(sigma=0.5),
    "list": [("gaussian", [3, 0, 1]), ("gaussian", [4, 2])],
}


@pytest.mark.parametrize("constant", [50.0, 0.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_column_that_comes_alive_is_learned(likelihood, constant):
    X = rows(N_FIRST + 40 * N_LATER)
    model = HierarchicalVAETransformer(likelihood=LIKELIHOODS[likelihood], **TINY)
    model.partial_fit(with_constant(X, constant))
    for first in range(N_FIRST, len(X), N_LATER):
        model.partial_fit(X[first : first + N_LATER])
        assert (explained(model, X[-1000:]) > 0.85).all()
    assert (explained(model, X[-1000:]) > 0.95).all()
    assert model.distortion_ < 20
    assert model.n_iter_ == 41


@pytest.mark.parametrize(
    "more",
    [
        {"inference": "ladder"},
        {"top_layer": "categorical"},
        {"layer_rates": (8, 2)},
        {"layer_rates": (2, 4, 4)},
        {"layer_rates": None, "betas": (0.5, 0.5)},
        {"missing": "mask"},
    ],
    ids=str,
)
def test_in_models_of_every_kind(more):
    X = rows(N_FIRST + 10 * N_LATER)
    model = HierarchicalVAETransformer(**{**TINY, **more}).partial_fit(with_constant(X))
    for first in range(N_FIRST, len(X), N_LATER):
        part = X[first : first + N_LATER].copy()
        if "missing" in more:
            part[np.random.default_rng(first).random(part.shape) < 0.1] = np.nan
            part[:, first // N_LATER % 4] = np.nan
        model.partial_fit(part)
    assert (explained(model, X) > 0.85).all()


@pytest.mark.parametrize(
    ("likelihood", "constant"),
    [
        ("poisson", 0.0),
        ("negative_binomial", 2.0),
        ("bernoulli", 0.0),
        ("bernoulli", 1.0),
        ("discretized_logistic", 0.0),
        ([("poisson", [4, 0]), ("gaussian", [1, 2, 3])], 0.0),
    ],
    ids=str,
)
def test_of_every_likelihood(likelihood, constant):
    X = rows(N_FIRST + 15 * N_LATER, independent=False)
    X = (X - X.mean(0)) / X.std(0)
    binary = likelihood == "bernoulli"
    X = (X > 0.0) * 1.0 if binary else np.floor(np.exp(1 + 0.6 * X))
    first = with_constant(X, constant)
    model = HierarchicalVAETransformer(likelihood=likelihood, **TINY).partial_fit(first)
    for start in range(N_FIRST, len(X), N_LATER):
        model.partial_fit(X[start : start + N_LATER])
    assert (explained(model, X) > 0.8).all()
    assert set(np.unique(model.sample(200)[:, 4])) >= set(np.unique(X[:, 4])[:2])


def test_a_quantile_scale_follows_the_first_rows_in_which_a_column_varies():
    X = rows(N_FIRST + 15 * N_LATER, independent=False)
    X = np.floor(np.exp(1 + 0.6 * (X - X.mean(0)) / X.std(0)))
    likelihood = Gaussian("per_feature", "quantile")
    model = HierarchicalVAETransformer(likelihood=likelihood, **TINY)
    model.partial_fit(with_constant(X[:N_FIRST], 0.0))
    for _ in range(3):
        model.partial_fit(X[N_FIRST:])
    assert (explained(model, X) > 0.8).all()
    drawn = np.unique(model.sample(2000)[:, 4])
    assert set(drawn) <= set(range(int(X[N_FIRST:, 4].max()) + 1))
    assert len(drawn) > 5


def test_location_and_scale_are_those_of_the_new_rows_and_the_constant(tmp_path):
    X = rows(N_FIRST + N_LATER)
    model = HierarchicalVAETransformer(**TINY).partial_fit(with_constant(X, 20.0))
    before = model.likelihood_.summary
    model.partial_fit(X[N_FIRST:])
    column = np.append(X[N_FIRST:, 4], 20.0)
    expected = column.mean(), column.std(), column.min(), column.max()
    model.save(tmp_path / "model")
    for fitted in (model, HierarchicalVAETransformer.load(tmp_path / "model")):
        likelihood = fitted.likelihood_
        found = [float(statistic[4]) for statistic in likelihood.summary.statistics]
        np.testing.assert_allclose(found, expected)
        np.testing.assert_allclose([likelihood.location[4], likelihood.scale[4]], expected[:2])
        for now, then in zip(likelihood.summary.statistics, before.statistics, strict=True):
            np.testing.assert_array_equal(now[:4], then[:4])
        assert likelihood.scaling_ == "columns"
        np.testing.assert_array_equal(fitted.transform(X), model.transform(X))
        assert len(set(fitted.sample(20)[:, 4])) == 20


def test_a_shared_scale_stays_the_one_of_all_columns():
    X = rows(N_FIRST + N_LATER)
    model = HierarchicalVAETransformer(likelihood=Gaussian(scaling="shared"), **TINY)
    model.partial_fit(with_constant(X))
    scale = float(model.likelihood_.scale[0])
    model.partial_fit(X[N_FIRST:])
    assert (model.likelihood_.scale == scale).all()
    assert model.likelihood_.location[4] == pytest.approx(X[N_FIRST:, 4].mean(), abs=0.1)


def test_constants_that_differ_from_batch_to_batch():
    X = rows(N_FIRST)
    model = HierarchicalVAETransformer(**TINY).partial_fit(with_constant(X, 2024.0))
    assert (model.sample(9)[:, 4] == 2024).all()
    model.partial_fit(with_constant(X, 2024.0))
    assert (model.sample(9)[:, 4] == 2024).all()
    model.partial_fit(with_constant(X, 2025.0))
    assert float(model.likelihood_.location[4]) == 2024.5
    assert float(model.likelihood_.scale[4]) == 0.5


def test_all_columns_may_come_alive():
    X = rows(N_FIRST + 20 * N_LATER)
    model = HierarchicalVAETransformer(**TINY).partial_fit(np.full((50, 5), 3.0))
    for first in range(0, len(X), N_LATER):
        model.partial_fit(X[first : first + N_LATER])
    assert (explained(model, X) > 0.8).all()


@pytest.mark.parametrize("image_shape", [(1, 4, 4), (3, 4, 4)])
@pytest.mark.parametrize("network", ["conv", "fully-conv"])
def test_images_whose_pixels_come_alive(image_shape, network):
    X = np.random.default_rng(0).random((200, np.prod(image_shape)))
    first = X.copy()
    first[:, :5] = 0.0
    model = HierarchicalVAETransformer(image_shape=image_shape, network=network, **TINY)
    model.partial_fit(first).partial_fit(X)
    assert np.isfinite(model.score(X))
    assert (model.sample(50).std(0) > 0).all()


SOURCES = {
    "array": lambda X: X,
    "sparse": sparse.csr_array,
    "Dataset": lambda X: TensorDataset(torch.tensor(X)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_rows_of_any_source(source):
    X = rows(N_FIRST + N_LATER)
    first, later = with_constant(X), X[N_FIRST:]
    expected = HierarchicalVAETransformer(**TINY).partial_fit(first).partial_fit(later)
    make = SOURCES[source]
    model = HierarchicalVAETransformer(**TINY).partial_fit(make(first)).partial_fit(make(later))
    np.testing.assert_allclose(model.transform(X), expected.transform(X), atol=1e-4)


def test_warm_starts_take_them_in_too(tmp_path):
    X = rows(N_FIRST + N_LATER)
    params = {**TINY, "warm_start": True}
    model = HierarchicalVAETransformer(**params).fit(with_constant(X)).fit(X[N_FIRST:])
    assert (explained(model, X) > 0.85).all()
    kept = HierarchicalVAETransformer(**params, checkpoint=tmp_path).fit(with_constant(X))
    np.testing.assert_array_equal(kept.fit(X[N_FIRST:]).transform(X), model.transform(X))


def test_a_model_of_one_vector_of_rates_takes_them_in_and_leaves_the_others(coarse_plane):
    X = rows(N_FIRST + N_LATER)
    multi = MultiRateHVAETransformer((0.5, 12), **{**TINY, "max_epochs": 100})
    multi.fit(with_constant(X))
    single = multi.at((2, 8)).partial_fit(X[N_FIRST:])
    assert (explained(single, X) > 0.8).all()
    assert (multi.sample(9)[:, 4] == 50).all()


class FailsOnDemand(Callback):
    fails = False

    def on_epoch_end(self, net, **kwargs):
        if self.fails:
            raise RuntimeError("no")


def test_an_error_in_training_leaves_the_model_as_it_was():
    X, callback = rows(N_FIRST + N_LATER), FailsOnDemand()
    parts = [("gaussian", [4, 0]), ("gaussian", [1, 2, 3])]
    model = HierarchicalVAETransformer(likelihood=parts, callbacks=[callback], **TINY)
    model.partial_fit(with_constant(X))
    before, statistics = model.transform(X), model.likelihood_.summary.statistics
    callback.fails = True
    with pytest.raises(RuntimeError, match="no"):
        model.partial_fit(X[N_FIRST:])
    np.testing.assert_array_equal(model.transform(X), before)
    for now, then in zip(model.likelihood_.summary.statistics, statistics, strict=True):
        assert torch.equal(now, then)
    assert (model.sample(9)[:, 4] == 50).all()
    callback.fails = False
    assert (explained(model.partial_fit(X[N_FIRST:]), X) > 0.85).all()


def test_a_divergence_leaves_finite_weights_that_know_the_column():
    X = rows(N_FIRST + N_LATER)
    model = HierarchicalVAETransformer(lr=1e-3, **TINY).partial_fit(with_constant(X))
    model.set_params(lr=1e30)
    with pytest.raises(TrainingDivergedError):
        model.partial_fit(np.tile(X[N_FIRST:], (20, 1)))
    assert np.isfinite(model.score(X))
    assert float(model.likelihood_.summary.std[4]) > 0
    assert len(set(model.sample(9)[:, 4])) == 9


# Scales that do not fit.


@pytest.mark.parametrize("factor", [1e3, -1e3, 1e-3])
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_rows_in_other_units_are_warned_of(factor, method, missing):
    X = rows(N_FIRST)
    params = {**TINY, "warm_start": True, "missing": missing, "max_epochs": 1}
    model = HierarchicalVAETransformer(**params).fit(X)
    with pytest.warns(ScaleWarning, match="Scale X as then.*warm_start=False") as found:
        getattr(model, method)(factor * X)
    assert len([w for w in found if w.category is ScaleWarning]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x + 1e4, r"mean \+1\.\d\de\+03 scales off, standard deviation 1"),
        (lambda x: 50 + 100 * (x - 50), r"standard deviation 100 scales"),
    ],
    ids=["shifted", "wider"],
)
def test_the_column_is_named(change, said):
    frame = pd.DataFrame(rows(N_FIRST), columns=[*"abcd", "income"])
    model = HierarchicalVAETransformer(**TINY).partial_fit(frame)
    frame["income"] = change(frame["income"])
    with pytest.warns(ScaleWarning, match=rf"fitted on: 'income' \(.*{said}"):
        model.partial_fit(frame)
    numbered = HierarchicalVAETransformer(**TINY).partial_fit(rows(N_FIRST))
    with pytest.warns(ScaleWarning, match=r"fitted on: 4 \("):
        numbered.partial_fit(frame.to_numpy())


def test_counts_a_thousand_times_as_large_are_warned_of():
    X = np.random.default_rng(0).poisson(3, (200, 4))
    model = HierarchicalVAETransformer(likelihood="poisson", **TINY).partial_fit(X)
    with pytest.warns(ScaleWarning):
        model.partial_fit(1000 * X)


def rare(n_rows):
    return (np.random.default_rng(n_rows).random((n_rows, 4)) < 0.005) * 1.0


@pytest.mark.parametrize(
    ("likelihood", "first", "later"),
    [
        ("gaussian", rows(N_FIRST), rows(N_FIRST)[:1]),
        ("gaussian", rows(N_FIRST), rows(N_FIRST)[np.zeros(20, int)]),
        ("gaussian", rows(N_FIRST), 3 * rows(N_FIRST) - [1, 1, 1, 1, 80]),
        ("gaussian", rows(N_FIRST), with_constant(rows(N_FIRST))),
        ("gaussian", with_constant(rows(N_FIRST), -1e6), rows(N_FIRST)),
        ("bernoulli", rare(300), 1 - rare(300)),
        ("discretized_logistic", 16 * rare(300), np.full((300, 4), 255.0)),
    ],
    ids=["one row", "one row again", "near", "constant", "alive", "rare", "levels"],
)
def test_rows_on_the_same_scales_are_not(likelihood, first, later):
    model = HierarchicalVAETransformer(likelihood=likelihood, **TINY).partial_fit(first)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScaleWarning)
        model.partial_fit(later)


def test_a_pixel_that_hardly_varied_at_first_is_on_the_shared_scale():
    X = np.random.default_rng(0).random((300, 16))
    first = X.copy()
    first[:, 0] *= 1e-3
    model = HierarchicalVAETransformer(likelihood=Gaussian(scaling="shared"), **TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScaleWarning)
        model.partial_fit(first).partial_fit(X)


class TestUpdatedSummaries:
    def test_the_constant_counts_as_one_more_row(self):
        constant, x = torch.full((5, 2), 7.0), torch.randn(50, 2, dtype=torch.float64)
        known, new = DataSummary.of([constant]), DataSummary.of([x])
        together = DataSummary.of([x, constant[:1]])
        for found, expected in zip(
            known.updated(new, 50).statistics, together.statistics, strict=True
        ):
            torch.testing.assert_close(found, expected)

    def test_what_varied_and_what_is_still_constant_stays(self):
        known = DataSummary.of([torch.tensor([[1.0, 5.0], [3.0, 5.0]])])
        new = DataSummary.of([torch.tensor([[9.0, 5.0], [8.0, 5.0]])])
        for found, expected in zip(known.updated(new, 2).statistics, known.statistics, strict=True):
            assert torch.equal(found, expected)

    def test_columns_without_a_value_are_as_they_were(self):
        known = DataSummary.of([torch.tensor([[1.0, 5.0], [3.0, 5.0]])])
        empty = torch.full((4, 2), torch.nan)
        found = DataSummary.of([empty], known=known)
        for now, then in zip(found.statistics, known.statistics, strict=True):
            assert torch.equal(now, then)


def test_one_column_that_became_narrow_is_named():
    random = np.random.default_rng(0)
    first, later = random.normal(size=(2, 200, 4))
    first[:, 1] *= 1e5
    model = HierarchicalVAETransformer(**TINY).partial_fit(first)
    with pytest.warns(ScaleWarning, match=r"was first fitted on: 1 \(mean"):
        model.partial_fit(later)


def test_advice_after_a_change_of_scales_is_to_undo_it():
    X = np.random.default_rng(0).normal(size=(200, 4))
    model = HierarchicalVAETransformer(warm_start=True, **TINY).fit(X)
    with (
        pytest.warns(ScaleWarning),
        pytest.warns(RateTargetWarning, match="that a ScaleWarning has named") as caught,
    ):
        model.fit(1000 * X)
    assert not any("train longer" in str(warning.message) for warning in caught)
