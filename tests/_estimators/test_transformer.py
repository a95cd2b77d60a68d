"""HierarchicalVAETransformer does what it says: rates, bounds, latents, ways of training."""

import copy
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.nn import Gaussian

short_fit = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
needs_callbacks = pytest.mark.skipif(
    not hasattr(HierarchicalVAETransformer, "set_callbacks"), reason="scikit-learn < 1.9"
)


def assert_on_target(rates, targets):
    targets = np.atleast_1d(targets)
    np.testing.assert_array_less(np.abs(rates - targets), np.maximum(0.05 * targets, 0.1))


def gaussian_data(n_rows=2000):
    """Draw from N(0, C); returns rows and C."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5)) * [2.0, 1.0, 0.5, 0.3, 0.3]
    covariance = mixing @ mixing.T
    return rng.multivariate_normal(np.zeros(5), covariance, n_rows), covariance


# Rates reach their targets.


@pytest.mark.slow
def test_defaults_reach_their_targets(wine):
    model = HierarchicalVAETransformer(random_state=0).fit(wine)
    assert_on_target(model.rates_, (2, 8))
    assert model.converged_


@pytest.mark.parametrize(
    "params",
    [
        {"layer_rates": 3, "precision": "float32"},
        {"layer_rates": (3,), "likelihood": Gaussian(sigma=0.5)},
        {"layer_rates": np.array([1.0, 4.0]), "inference": "ladder"},
        {"layer_rates": (4, 1), "hidden_layer_sizes": ()},
        {"layer_rates": (1, 2, 3), "precision": "bfloat16"},
        {
            "layer_rates": (1, 4),
            "likelihood": Gaussian(sigma="per_feature"),
            "hidden_layer_sizes": 8,
            "n_components": [2, 3],
        },
    ],
    ids=str,
)
@pytest.mark.slow
def test_rates_reach_their_targets(iris, small, params):
    model = small(**{"max_epochs": 120, "n_components": 3, **params}).fit(iris)
    assert_on_target(model.rates_, params["layer_rates"])
    assert model.converged_
    assert model.n_layers_ == len(model.rates_) == len(model.betas_)


@pytest.mark.slow
def test_bernoulli_rates_reach_their_targets(binary_digits, small):
    model = small(likelihood="bernoulli", layer_rates=(2, 6), n_components=8, max_epochs=50)
    assert_on_target(model.fit(binary_digits).rates_, (2, 6))


@pytest.mark.parametrize(
    ("X", "params", "said"),
    [
        (np.ones((20, 3)), {"layer_rates": (2, 8)}, r"z_1 reached .* of its 2 bits \(collapsed\)"),
        (np.ones((20, 3)), {"layer_rates": (2, 8)}, r"z_2 reached .* of its 8 bits \(collapsed\)"),
        (np.arange(50.0)[:, None], {"layer_rates": 200}, "z_1 reached .* of its 200 bits"),
    ],
    ids=["constant z_1", "constant z_2", "200 bits of one column"],
)
def test_impossible_target_warns(small, X, params, said):
    with pytest.warns(RateTargetWarning, match=rf"{said}.*after 20 epochs.*ask for fewer bits"):
        model = small(max_epochs=20, **params).fit(X)
    assert not model.converged_
    assert np.isfinite(model.rates_).all()


def test_warning_names_only_the_layers_that_missed(small):
    # 0 bits are near enough to 0.05.
    with pytest.warns(RateTargetWarning, match="z_2 reached") as caught:
        small(layer_rates=(0.05, 8)).fit(np.ones((20, 3)))
    assert "z_1 reached" not in str(caught[0].message)


def test_warning_of_bits_above_a_target_says_how_many_and_whether_they_matter(small, iris):
    model = small(layer_rates=(1, 4), max_epochs="auto", warm_start=True).fit(iris)
    model.set_params(layer_rates=(1, 0.5), max_epochs=1)
    with pytest.warns(RateTargetWarning) as caught:
        model.fit(iris)
    said = str(caught[0].message)
    over = f"z_2 carries {model.rates_[1]:.3g} bits ({model.rates_[1] - 0.5:.2g} above its target"
    assert over in said
    assert "train longer" in said
    assert "matter only where they are a limit" in said


# Rates, distortion and bound fit together.


def test_bound_is_minus_distortion_minus_rates(fitted):
    bits = fitted.distortion_ + fitted.rates_.sum()
    assert -fitted.lower_bound_ / math.log(2) == pytest.approx(bits, rel=1e-6)


def test_measures_agree_with_each_other(fitted, iris):
    rates, distortion = fitted.rates(iris), fitted.distortion(iris)
    scores = fitted.score_samples(iris)
    assert rates.shape == (150, 2)
    assert distortion.shape == scores.shape == (150,)
    assert (rates >= 0).all()
    np.testing.assert_allclose(scores, -math.log(2) * (distortion + rates.sum(1)))
    assert fitted.score(iris) == pytest.approx(scores.mean())


def test_fitted_measures_are_those_of_the_training_rows(fitted, iris):
    np.testing.assert_allclose(fitted.rates(iris).mean(0), fitted.rates_, rtol=1e-6)
    assert fitted.distortion(iris).mean() == pytest.approx(fitted.distortion_)
    assert fitted.score(iris) == pytest.approx(fitted.lower_bound_)


@pytest.mark.slow
def test_linear_model_reaches_the_likelihood_of_probabilistic_pca(small):
    # A linear decoder with one noise level is probabilistic PCA, whose linear-Gaussian
    # posterior is exact: at beta = 1 the bound is tight and R = sum_i log2(variance_i / sigma^2)/2.
    X, _ = gaussian_data()
    model = small(
        layer_rates=None,
        betas=1.0,
        hidden_layer_sizes=(),
        likelihood=Gaussian(scaling="shared"),
        max_epochs=60,
        batch_size=100,
    ).fit(X)
    pca = PCA(2).fit(X)
    assert model.score(X) <= pca.score(X) + 0.01
    assert model.score(X) == pytest.approx(pca.score(X), abs=0.05)
    rate = 0.5 * np.log2(pca.explained_variance_ / pca.noise_variance_).sum()
    assert model.rates_[0] == pytest.approx(rate, rel=0.03)


@pytest.mark.slow
def test_bound_is_below_the_true_log_density(small):
    X, covariance = gaussian_data()
    truth = multivariate_normal(np.zeros(5), covariance).logpdf(X).mean()
    model = small(layer_rates=None, betas=(1.0, 1.0), n_components=5, max_epochs=30, batch_size=100)
    model.fit(X)
    assert truth - 0.2 < model.score(X) < truth + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("layer_rates", [2.0, (0.5, 3.5)])
def test_reconstruction_error_is_near_the_rate_distortion_function(small, layer_rates):
    # Shannon: no code of R bits describes a Gaussian with a smaller mean squared error than
    # reverse water-filling. Samples of z_1 are such a code.
    X = np.random.default_rng(0).normal(size=(2000, 3)) * [2.0, 1.0, 0.5]
    variances, total = X.var(0), np.sum(layer_rates)
    levels = np.geomspace(1e-4, 4, 100_000)
    bits = 0.5 * np.log2(np.maximum(variances / levels[:, None], 1)).sum(1)
    level = levels[np.argmin(np.abs(bits - total))]
    optimum = np.minimum(variances, level).sum()
    model = small(
        layer_rates=layer_rates,
        n_components=3,
        output_layers=1,
        likelihood=Gaussian(scaling="shared"),
        max_epochs=60,
        batch_size=100,
    ).fit(X)
    decoded = model.inverse_transform(model.latents(X, sample=True)[0])
    error = np.square(decoded - X).sum(1).mean()
    assert 0.95 * optimum < error < 1.1 * optimum


@short_fit
@pytest.mark.parametrize("scale", [1e-6, 10.0, 1e6])
def test_score_is_that_of_a_density(small, iris, scale):
    # ln p(c x) = ln p(x) - n_features ln c
    plain = small().fit(iris).score(iris)
    scaled = small().fit(scale * iris).score(scale * iris)
    assert scaled == pytest.approx(plain - 4 * math.log(scale), abs=1e-3)


# Fixed betas.


@pytest.mark.parametrize("betas", [(0.5, 2.0), [0.5, 2.0], np.array([0.5, 2.0])], ids=type)
def test_betas_stay_as_given(small, iris, betas):
    model = small(layer_rates=None, betas=betas).fit(iris)
    np.testing.assert_allclose(model.betas_, [0.5, 2.0])
    np.testing.assert_allclose(model.history_["betas"], [[0.5, 2.0]] * 3)
    assert model.converged_


@pytest.mark.slow
def test_large_betas_collapse_their_layer(small, iris):
    def rates(*betas):
        return small(layer_rates=None, betas=betas, max_epochs=50, lr=0.01).fit(iris).rates_

    first, second = rates(0.1, 1000.0), rates(1000.0, 0.1)
    assert first[1] < 0.1 < 3 < first[0]
    assert second[0] < 0.1 < 3 < second[1]


# What comes out.


@pytest.fixture(scope="module")
def three(small, wine):
    return small(layer_rates=(1, 2, 1), n_components=(4, 3, 2), max_epochs="auto").fit(wine)


@pytest.mark.parametrize(
    ("output_layers", "sizes"),
    [
        ("all", {"z1": 4, "z2": 3, "z3": 2}),
        ("top", {"z3": 2}),
        (1, {"z1": 4}),
        (2, {"z2": 3}),
        ([1], {"z1": 4}),
        ([3, 1], {"z1": 4, "z3": 2}),
        (np.array([2, 3]), {"z2": 3, "z3": 2}),
    ],
    ids=str,
)
def test_output_layers(wine, three, output_layers, sizes):
    model = copy.deepcopy(three).set_params(output_layers=output_layers)
    Z = model.transform(wine)
    names = [f"{layer}_{i}" for layer, size in sizes.items() for i in range(size)]
    assert model.get_feature_names_out().tolist() == names
    assert Z.shape == (len(wine), len(names))
    assert Z.dtype == np.float32
    assert list(model.layer_slices_) == list(sizes)
    everything = three.transform(wine)
    for layer, where in model.layer_slices_.items():
        np.testing.assert_array_equal(Z[:, where], everything[:, three.layer_slices_[layer]])

    X = model.inverse_transform(Z)
    assert X.shape == wine.shape
    if "z1" in sizes:
        np.testing.assert_allclose(X, model.reconstruct(wine), rtol=1e-4, atol=1e-4)
    else:
        # Less is known, but more than nothing.
        error = np.square((X - wine) / wine.std(0)).mean()
        best = np.square((model.reconstruct(wine) - wine) / wine.std(0)).mean()
        assert best < error < 1


def test_inverse_transform_of_transform_is_reconstruct(fitted, iris):
    np.testing.assert_allclose(
        fitted.inverse_transform(fitted.transform(iris)), fitted.reconstruct(iris), rtol=1e-5
    )


def test_inverse_transform_takes_a_frame(fitted, iris):
    Z = fitted.transform(iris)
    frame = pd.DataFrame(Z, columns=fitted.get_feature_names_out())
    np.testing.assert_array_equal(fitted.inverse_transform(frame), fitted.inverse_transform(Z))


def test_reconstruct_explains_the_data(fitted, iris):
    # 3 bits: better than the mean, and not perfect.
    error = np.square(fitted.reconstruct(iris) - iris).sum() / iris.var(0).sum() / len(iris)
    assert 0.02 < error < 0.4


def test_latents_are_the_layers_of_transform(fitted, iris):
    latents = fitted.latents(iris)
    assert [z.shape for z in latents] == [(150, 3), (150, 2)]
    np.testing.assert_array_equal(np.hstack(latents), fitted.transform(iris))


def test_sampled_latents_scatter_around_their_means(fitted, iris):
    X = np.repeat(iris[:1], 5000, axis=0)
    means, samples = fitted.latents(X)[1], fitted.latents(X, sample=True)[1]
    assert (samples.std(0) > 0.01).all()
    standard_error = samples.std(0) / math.sqrt(5000)
    np.testing.assert_array_less(np.abs(samples.mean(0) - means[0]), 5 * standard_error)


def test_noise_of_sampled_latents_is_as_large_as_the_unit(fitted, iris):
    # The unit is the square root of the noise on the scale of the prior.
    means = np.tile(np.hstack(fitted.latents(iris)), (20, 1))
    samples = np.hstack(fitted.latents(np.tile(iris, (20, 1)), sample=True))
    top = slice(3, 5)
    unit = fitted.module_.layers[1].scale.numpy()
    np.testing.assert_allclose((samples - means)[:, top].std(0), unit, rtol=0.05)


def test_aggregate_of_sampled_top_latents_has_the_variance_of_the_prior(fitted, iris):
    # E_x q(z_L | x) is close to the prior N(0, 1) in a trained model, unit by unit.
    z_2 = fitted.latents(np.tile(iris, (20, 1)), sample=True)[1]
    z_2 = z_2 * fitted.module_.layers[1].scale.numpy()
    np.testing.assert_allclose(z_2.mean(0), 0, atol=0.25)
    np.testing.assert_allclose(z_2.std(0), 1, atol=0.25)


@pytest.mark.parametrize("n_samples", [1, 7])
def test_sample_shape(fitted, n_samples):
    X = fitted.sample(n_samples)
    assert X.shape == (n_samples, 4)
    assert np.isfinite(X).all()


def test_samples_resemble_the_data(fitted, iris):
    X = fitted.sample(2000)
    np.testing.assert_allclose(X.mean(0), iris.mean(0), atol=0.3 * iris.std(0).max())
    np.testing.assert_allclose(np.cov(X.T), np.cov(iris.T), atol=0.5)


@short_fit
def test_bernoulli_samples_are_binary(small, binary_digits):
    model = small(likelihood="bernoulli").fit(binary_digits)
    X = model.sample(50)
    assert set(np.unique(X)) == {0.0, 1.0}
    reconstruction = model.reconstruct(binary_digits)
    assert reconstruction.min() >= 0
    assert reconstruction.max() <= 1


@pytest.mark.slow
def test_bernoulli_without_rate_has_the_entropy_of_the_columns(small, binary_digits):
    # With both layers shut, the best code is the one of independent columns.
    p = binary_digits.mean(0)
    p = p[(p > 0) & (p < 1)]
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum()
    model = small(layer_rates=None, betas=(1e4, 1e4), likelihood="bernoulli", max_epochs=40)
    assert model.fit(binary_digits).distortion_ == pytest.approx(entropy, rel=0.03)


@short_fit
def test_column_names_of_a_frame_are_kept(small, iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    model = small(likelihood="gaussian", missing="error").fit(frame)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.transform(frame), small().fit(iris).transform(iris))
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[["b", "a", "c", "d"]])


@short_fit
def test_history_has_one_row_per_epoch(small, iris):
    history = small(early_stopping=True, n_iter_no_change=99).fit(iris).history_
    assert {name: values.shape for name, values in history.items()} == {
        "train_distortion": (3,),
        "train_rates": (3, 2),
        "valid_distortion": (3,),
        "valid_rates": (3, 2),
        "betas": (3, 2),
        "target_rates": (3, 2),
    }


# Ways of training.


class StopAtOnce(Callback):
    """End training after the first epoch, as skorch's callbacks do; keep how many there were."""

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs = net.max_epochs
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("max_epochs", "n_rows", "batch_size", "expected"),
    [
        (7, 150, 256, 7),
        ("auto", 150, 256, 120),  # at least 120 steps
        ("auto", 150, 50, 60),  # at most 60 passes beyond that
        ("auto", 600, 10, 20),  # 1,200 steps
    ],
)
@short_fit
def test_number_of_epochs(small, max_epochs, n_rows, batch_size, expected):
    X = np.random.default_rng(0).normal(size=(n_rows, 1))
    stop = StopAtOnce()
    setting = {"max_epochs": max_epochs, "batch_size": batch_size, "callbacks": [stop]}
    assert small(layer_rates=1, **setting).fit(X).n_iter_ == 1
    assert stop.n_epochs == expected


@short_fit
def test_warm_start_continues(small, iris):
    model = small(warm_start=True, max_epochs=60, layer_rates=(1, 3)).fit(iris)
    before = model.transform(iris)
    model.set_params(max_epochs=1, lr=1e-9).fit(iris)
    np.testing.assert_allclose(model.transform(iris), before, atol=1e-5)
    assert model.n_iter_ == len(model.history_["betas"]) == 1


@pytest.mark.slow
def test_warm_start_reaches_new_rates(small, iris):
    model = small(warm_start=True, max_epochs=100, n_components=3).fit(iris)
    module = model.module_
    model.set_params(layer_rates=(3, 1)).fit(iris)
    assert_on_target(model.rates_, (3, 1))
    assert model.module_ is module


@short_fit
def test_fit_without_warm_start_begins_anew(small, iris):
    model = small().fit(iris)
    again = model.transform(iris)
    np.testing.assert_array_equal(model.fit(iris).transform(iris), again)
    assert model.fit(iris[:, :3]).transform(iris[:, :3]).shape == (150, 4)


@short_fit
@pytest.mark.parametrize(
    "changed",
    [
        {"n_components": 3},
        {"hidden_layer_sizes": (9,)},
        {"layer_rates": (1, 2, 3)},
        {"inference": "ladder"},
        {"likelihood": Gaussian(sigma=0.5)},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_changed_architecture_cannot_be_trained_further(small, iris, changed, method):
    model = small(warm_start=True).fit(iris)
    model.set_params(**changed)
    with pytest.raises(ValueError, match="cannot be trained further"):
        getattr(model, method)(iris)


@pytest.mark.slow
def test_partial_fit_reaches_the_targets(small, iris):
    model = small(n_components=3, layer_rates=(1, 3))
    for _ in range(100):
        model.partial_fit(iris)
    # The betas of open-ended training never settle, so the rates keep moving a little.
    np.testing.assert_allclose(model.rates_, (1, 3), atol=0.3)
    assert model.n_iter_ == 100


@pytest.mark.slow
def test_partial_fit_follows_new_targets(small, iris):
    model = small(n_components=3)
    for _ in range(40):
        model.partial_fit(iris)
    model.set_params(layer_rates=(3, 1))
    for _ in range(60):
        model.partial_fit(iris)
    np.testing.assert_allclose(model.rates_, (3, 1), atol=0.3)


def test_partial_fit_takes_single_rows_after_the_first_batch(small, iris):
    model = small().partial_fit(iris)
    for row in iris[:5]:
        model.partial_fit(row[None])
    assert model.n_iter_ == 6
    assert np.isfinite(model.transform(iris)).all()


@short_fit
def test_partial_fit_after_fit_continues(small, iris):
    model = small(max_epochs=30, lr=1e-3).fit(iris)
    module, bound = model.module_, model.lower_bound_
    model.set_params(lr=1e-9).partial_fit(iris)
    assert model.module_ is module
    assert model.lower_bound_ == pytest.approx(bound, abs=1e-3)


@short_fit
def test_fit_after_partial_fit_begins_anew(small, iris):
    fresh = small().fit(iris).transform(iris)
    np.testing.assert_array_equal(small().partial_fit(iris).fit(iris).transform(iris), fresh)


class Recorder(Callback):
    """Keep the validation loss and the weights of every epoch."""

    def __init__(self):
        self.losses, self.weights, self.batches = [], [], 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.batches += training

    def on_epoch_end(self, net, **kwargs):
        self.losses.append(net.history[-1]["valid_loss"])
        state = net.module_.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


@short_fit
def test_early_stopping_restores_the_best_epoch(small, iris):
    recorder = Recorder()
    model = small(
        layer_rates=None,
        betas=(0.01, 0.01),
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=5,
        max_epochs=2000,
        lr=0.02,
        callbacks=[recorder],
    ).fit(iris)
    best = int(np.argmin(recorder.losses))
    assert model.n_iter_ == len(recorder.losses) == best + 6 < 2000
    for name, value in model.module_.named_parameters():
        assert torch.equal(value, recorder.weights[best][name])


@short_fit
def test_skorch_callbacks_are_called(small, iris):
    recorder = Recorder()
    small(early_stopping=True, callbacks=[("recorder", recorder)]).fit(iris)
    assert len(recorder.losses) == 3
    assert recorder.batches == 3 * math.ceil(135 / 32)


class FitRecorder:
    """Follow scikit-learn's FitCallback protocol; ask to stop after some epochs."""

    def __init__(self, stop_after=math.inf):
        self.events, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {context.task_name}")
        return self.n_epochs >= self.stop_after

    @property
    def n_epochs(self):
        return sum(event.startswith("end epoch") for event in self.events)


@needs_callbacks
@short_fit
def test_scikit_learn_callbacks_see_every_epoch(small, iris):
    callback = FitRecorder()
    small(max_epochs=2).set_callbacks(callback).fit(iris)
    assert callback.events == [
        "setup",
        "begin fit",
        "begin epoch 1",
        "end epoch 1",
        "begin epoch 2",
        "end epoch 2",
        "end fit",
        "teardown",
    ]


@needs_callbacks
@short_fit
def test_scikit_learn_callbacks_can_stop(small, iris):
    callback = FitRecorder(stop_after=2)
    model = small(max_epochs=50).set_callbacks(callback).fit(iris)
    assert model.n_iter_ == callback.n_epochs == 2
    assert callback.events[-2:] == ["end fit", "teardown"]


@short_fit
def test_progress_shows_rates_on_stderr(small, iris, capsys):
    small(verbose=1).fit(iris)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 3/3" in err
    assert re.search(r"z1: \d+\.\d+/1, z2: \d+\.\d+/2 bits", err)
    assert err.endswith("\n")


@short_fit
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_silent_by_default(small, iris, capsys, method):
    model = small(early_stopping=method == "fit", n_iter_no_change=1, max_epochs=50)
    getattr(model, method)(iris).transform(iris)
    assert capsys.readouterr() == ("", "")


@short_fit
def test_image_shape_with_perceptrons(small, binary_digits):
    model = small(image_shape=(1, 8, 8), network="mlp").fit(binary_digits)
    assert model.reconstruct(binary_digits).shape == binary_digits.shape


@short_fit
def test_y_is_ignored(small, iris):
    with_y = small().fit(iris, np.arange(150)).transform(iris)
    np.testing.assert_array_equal(small().fit_transform(iris), with_y)


class TestDecodingOfLayers:
    def test_upper_layers_decode_at_prior_means(self, fitted, iris):
        top_only = copy.copy(fitted).set_params(output_layers=2)
        expected = top_only.inverse_transform(fitted.latents(iris)[1])
        np.testing.assert_allclose(fitted.reconstruct(iris, layer=2), expected, rtol=1e-5)

    def test_resampled_layers_vary_as_their_prior(self, fitted, iris):
        rows = np.repeat(iris[:1], 4000, axis=0)
        drawn = fitted.reconstruct(rows, layer=2, resample=True)
        module = fitted.module_
        with torch.no_grad():
            z_2 = module.encode(torch.tensor(rows, dtype=torch.float32))[1] * module.layers[1].scale
            prior = module.layers[0].prior(z_2, len(z_2))
            generator = torch.Generator().manual_seed(1)
            noise = torch.randn(prior.mean.shape, generator=generator)
            direct = module.likelihood.mean(module.decoder(prior.mean + prior.std * noise)).numpy()
        np.testing.assert_allclose(drawn.mean(0), direct.mean(0), atol=5 * direct.std() / 60)
        np.testing.assert_allclose(drawn.std(0), direct.std(0), rtol=0.1)

    def test_the_lowest_layer_leaves_nothing_open(self, fitted, iris):
        again = fitted.reconstruct(iris, resample=True)
        np.testing.assert_allclose(again, fitted.reconstruct(iris), rtol=1e-5)

    def test_the_top_by_name(self, fitted, iris):
        by_name = fitted.reconstruct(iris, layer="top")
        np.testing.assert_array_equal(by_name, fitted.reconstruct(iris, layer=2))

    @pytest.mark.parametrize("layer", [0, 3, "bottom", 1.0])
    def test_unknown_layers(self, fitted, iris, layer):
        with pytest.raises(
            ValueError, match=r"'top' or the number of a layer, 1 \(nearest the data\) to 2; got"
        ):
            fitted.reconstruct(iris, layer=layer)

    def test_means_of_samples_are_without_the_noise_of_the_likelihood(self, fitted):
        noisy, means = (fitted.sample(5000, mean=mean) for mean in (False, True))
        sigma = (
            fitted.module_.likelihood.log_sigma.exp() * fitted.module_.likelihood.scale
        ).detach()
        np.testing.assert_allclose(noisy.mean(0), means.mean(0), atol=0.05)
        np.testing.assert_allclose(noisy.var(0), means.var(0) + sigma.square().numpy(), rtol=0.06)
