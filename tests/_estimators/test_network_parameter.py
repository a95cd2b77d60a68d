"""network= and image_shape=: kinds of networks, presets, and modules of one's own."""

import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from torch import nn

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.nn import Networks

short_fit = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
pytestmark = short_fit

IMAGE = {"image_shape": (1, 8, 8)}


def encoder(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 12), nn.GELU())


def decoder(n_units, n_outputs):
    return nn.Sequential(nn.Linear(n_units, 12), nn.GELU(), nn.Linear(12, n_outputs))


def named(value):
    """Name a case without the addresses of functions, which differ between processes."""
    return re.sub(r" at 0x\w+", "", str(value))


def modules(n_inputs=4, n_units=2):
    torch.manual_seed(0)
    return encoder(n_inputs), decoder(n_units, n_inputs)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:120] / 16


@pytest.fixture(scope="module")
def mnist():
    """Digits of 28x28: every pixel three times, with a margin."""
    images = load_digits().images[:40] / 16
    return np.pad(np.kron(images, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))).reshape(40, -1)


def kinds(model):
    return {type(part).__name__ for part in model.module_.modules()}


# Which network.


def test_auto_is_perceptrons_without_an_image_shape(small, digits):
    auto, mlp = small().fit(digits), small(network="mlp").fit(digits)
    assert not any("Conv" in kind for kind in kinds(auto))
    np.testing.assert_array_equal(auto.transform(digits), mlp.transform(digits))


def test_auto_is_convolutions_with_an_image_shape(small, digits):
    auto, conv = small(**IMAGE).fit(digits), small(network="conv", **IMAGE).fit(digits)
    assert "Conv2d" in kinds(auto)
    np.testing.assert_array_equal(auto.transform(digits), conv.transform(digits))


@pytest.mark.parametrize(
    "image_shape", [[1, 8, 8], np.array([1, 8, 8]), (4, 4, 4), (1, 2, 32), (64, 1, 1), (1, 1, 64)]
)
@pytest.mark.parametrize("network", ["conv", "fully-conv"])
def test_images_of_any_shape(small, digits, network, image_shape):
    model = small(network=network, image_shape=image_shape).fit(digits)
    assert model.reconstruct(digits).shape == digits.shape
    assert np.isfinite(model.transform(digits)).all()
    assert model.image_shape is image_shape


@pytest.mark.parametrize("inference", ["top_down", "ladder"])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_sizes_of_fully_convolutional_layers(small, digits, n_layers, inference):
    # Maps of 2x2, 1x1 and 1x1, of n_components planes.
    planes, maps = (3, 2, 1)[:n_layers], (4, 1, 1)
    model = small(
        network="fully-conv",
        layer_rates=(1, 1, 1)[:n_layers],
        n_components=planes,
        inference=inference,
        **IMAGE,
    ).fit(digits)
    sizes = tuple(p * m for p, m in zip(planes, maps, strict=False))
    assert model.n_components_ == sizes
    assert [z.shape[1] for z in model.latents(digits)] == list(sizes)
    assert len(model.get_feature_names_out()) == sum(sizes)
    Z = model.transform(digits)
    np.testing.assert_allclose(model.inverse_transform(Z), model.reconstruct(digits), rtol=1e-4)


def test_sizes_of_fully_convolutional_layers_are_rounded_up(small):
    X = np.random.default_rng(0).normal(size=(20, 2 * 9 * 13))
    model = small(network="fully-conv", image_shape=(2, 9, 13), n_components=(2, 3)).fit(X)
    assert model.n_components_ == (2 * 3 * 4, 3 * 2 * 2)


@pytest.mark.parametrize(
    ("image_shape", "said"),
    [
        ((8, 8), r"image_shape must be \(channels, height, width\); got \(8, 8\)"),
        ((1, 8, 8, 1), r"must be \(channels, height, width\)"),
        ((1, 8, 0), "every entry of image_shape must be a positive int"),
        ((1, 8.0, 8), "every entry of image_shape must be a positive int"),
        ((1, -8, -8), "every entry of image_shape must be a positive int"),
        ((3, 8, 8), r"images of shape \(3, 8, 8\) have 192 pixels but X has 64 columns"),
        ("1x8x8", "'image_shape' parameter"),
    ],
    ids=str,
)
@pytest.mark.parametrize("network", ["auto", "mlp", "conv", "fully-conv"])
def test_image_shapes_that_do_not_make_sense(small, digits, network, image_shape, said):
    with pytest.raises(ValueError, match=said):
        small(network=network, image_shape=image_shape).fit(digits)


def test_images_need_one_number_for_each_pixel(small, digits):
    X = (digits > 0.5).astype(int)
    for network in ("conv", "fully-conv"):
        with pytest.raises(ValueError, match=rf"{network}.*one number for each pixel.*'mlp'"):
            small(network=network, likelihood="categorical", **IMAGE).fit(X)


def test_fully_convolutional_layers_cannot_be_categorical(small, digits):
    with pytest.raises(ValueError, match=r"needs a flat top layer.*use network='conv'"):
        small(network="fully-conv", top_layer="categorical", **IMAGE).fit(digits)


@pytest.mark.parametrize("network", ["conv", "fully-conv"])
def test_convolutional_networks_need_an_image_shape(small, digits, network):
    with pytest.raises(ValueError, match=rf"network='{network}' needs image_shape="):
        small(network=network).fit(digits)


# The published models.


@pytest.mark.parametrize("inference", ["top_down", "ladder"])
def test_published_model_for_mnist(small, mnist, inference):
    model = small(network="hit-mnist", likelihood="bernoulli", inference=inference, max_epochs=1)
    model.fit(mnist)
    assert model.n_components_ == (256, 20)
    assert [z.shape for z in model.latents(mnist)] == [(40, 256), (40, 20)]
    assert model.n_components == 2
    assert model.reconstruct(mnist).shape == mnist.shape
    if inference == "top_down":  # as in the authors' code
        assert sum(p.numel() for p in model.module_.parameters()) == 122713


def test_published_model_for_cifar(small):
    X = np.random.default_rng(0).random((6, 3 * 32 * 32))
    model = small(network="hit-cifar", max_epochs=1).fit(X)
    assert model.n_components_ == (512, 32)
    assert model.sample(2).shape == (2, 3072)


def test_published_model_may_be_told_its_own_shape(small, mnist):
    model = small(network="hit-mnist", image_shape=(1, 28, 28), max_epochs=1).fit(mnist)
    assert model.n_components_ == (256, 20)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"layer_rates": 3}, "network='hit-mnist' has 2 layers; got 1 rates.*'conv' takes any"),
        ({"layer_rates": (1, 2, 3)}, "network='hit-mnist' has 2 layers; got 3"),
        ({"image_shape": (1, 8, 8)}, r"is for images of shape \(1, 28, 28\); got \(1, 8, 8\)"),
        ({"image_shape": (3, 28, 28)}, r"is for images of shape \(1, 28, 28\)"),
        ({}, r"images of shape \(1, 28, 28\) have 784 pixels but X has 64 columns"),
    ],
    ids=str,
)
def test_published_model_of_other_data(small, digits, params, said):
    with pytest.raises(ValueError, match=said):
        small(network="hit-mnist", **params).fit(digits)


# Networks of one's own.


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: Networks(*pair)])
def test_ways_to_write_a_pair(small, iris, kind):
    model = small(network=kind((encoder, decoder))).fit(iris)
    reference = small(network=Networks(encoder, decoder)).fit(iris)
    assert "GELU" in kinds(model)
    np.testing.assert_array_equal(model.transform(iris), reference.transform(iris))


def test_functions_are_told_the_sizes(small, iris):
    sizes = []

    def recording_encoder(n_inputs):
        sizes.append(n_inputs)
        return encoder(n_inputs)

    def recording_decoder(n_units, n_outputs):
        sizes.append((n_units, n_outputs))
        return decoder(n_units, n_outputs)

    network = (recording_encoder, recording_decoder)
    small(network=network, n_components=(3, 2)).fit(iris)
    assert sizes == [4, (3, 4)]
    small(network=network, n_components=(3, 2), missing="mask").fit(iris)
    assert sizes[2:] == [8, (3, 4)]


def test_classes_build_too(small, iris):
    class Encoder(nn.Linear):
        def __init__(self, n_inputs):
            super().__init__(n_inputs, 5)

    assert "Encoder" in kinds(small(network=(Encoder, nn.Linear)).fit(iris))


def test_functions_build_under_the_random_state(small, iris):
    network = (encoder, decoder)
    fits = [small(network=network, random_state=s).fit(iris).transform(iris) for s in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.allclose(fits[0], fits[2])
    before = torch.get_rng_state()
    small(network=network).fit(iris)
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_are_copied_and_trained_from_their_weights(small, iris):
    own = modules()
    weights = [p.detach().clone() for net in own for p in net.parameters()]
    model = small(network=own, lr=1e-12, max_epochs=1).fit(iris)
    trained = small(network=own, lr=1e-2, max_epochs=20).fit(iris)
    after = [p for net in own for p in net.parameters()]
    assert all(map(torch.equal, weights, after))
    assert all(p.grad is None for p in after)

    def of(model):
        first, last = model.module_.encoder.net, model.module_.decoder.net
        names = {name for name, _ in last.named_parameters()} - {"gain"}
        own_part = [p for name, p in last.named_parameters() if name in names]
        return [*first.parameters(), *own_part]

    for start, still, moved in zip(weights, of(model), of(trained), strict=True):
        torch.testing.assert_close(still.detach(), start, atol=1e-6, rtol=1e-6)
        assert not torch.allclose(moved.detach(), start, atol=1e-4)


def test_modules_fit_twice_alike(small, iris):
    own = modules()
    first = small(network=own).fit(iris).transform(iris)
    np.testing.assert_array_equal(small(network=own).fit(iris).transform(iris), first)


def test_training_starts_at_pca_whatever_the_modules_compute(small, iris):
    # With a learning rate of almost 0 a decoder of large weights does not count yet.
    wild = modules()
    with torch.no_grad():
        for p in wild[1].parameters():
            p.mul_(1e3)
    still = {"lr": 1e-12, "max_epochs": 1, "n_components": 2}
    own = small(network=wild, **still).fit(iris)
    reference = small(network="mlp", **still).fit(iris)
    np.testing.assert_allclose(own.reconstruct(iris), reference.reconstruct(iris), atol=1e-4)


def test_own_networks_get_params_clone_and_pickle(small, iris):
    model = small(network=Networks(encoder, decoder)).fit(iris)
    assert model.get_params()["network"] == Networks(encoder, decoder)
    assert clone(model).network == Networks(encoder, decoder)
    again = clone(model).fit(iris)
    np.testing.assert_array_equal(again.transform(iris), model.transform(iris))
    restored = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(restored.transform(iris), model.transform(iris))
    assert "Networks" in repr(model)


def test_own_modules_clone_and_pickle(small, iris):
    model = small(network=modules()).fit(iris)
    copied = clone(model)
    assert copied.network[0] is not model.network[0]
    np.testing.assert_array_equal(copied.fit(iris).transform(iris), model.transform(iris))
    restored = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(restored.transform(iris), model.transform(iris))
    restored.fit(iris)


@pytest.mark.parametrize("network", [(encoder, decoder), modules()], ids=["functions", "modules"])
def test_own_networks_are_not_saved(small, iris, tmp_path, network):
    model = small(network=network).fit(iris)
    with pytest.raises(TypeError, match=r"save\(\) writes no code.*pickle the estimator instead"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


class Flatless(nn.Module):
    def forward(self, x):
        return x[:, None]


class Rowless(nn.Module):
    def forward(self, x):
        return x.sum(0)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ((encoder, nn.Linear(2, 5)), r"decoder.*map \(b, 2\) to \(b, 4\).*made 5 columns"),
        ((encoder, nn.Linear(3, 4)), r"decoder of network= must take .* \(b, 2\); it raised"),
        ((nn.Linear(3, 8), decoder), r"encoder of network= must take .* \(b, 4\); it raised"),
        ((Flatless(), decoder), r"encoder.*must map \(b, 4\) to \(b, width\); it made \(2, 1, 4\)"),
        ((Rowless(), decoder), r"encoder.*must map"),
        ((encoder, Rowless()), r"decoder.*must map"),
        ((encoder,), r"pair \(encoder, decoder\)"),
        ((encoder, decoder, decoder), r"pair \(encoder, decoder\)"),
        (("mlp", "mlp"), r"pair \(encoder, decoder\)"),
        ((encoder, None), r"pair \(encoder, decoder\)"),
        ([], r"pair \(encoder, decoder\)"),
        (nn.Linear(4, 4), "'network' parameter"),
        (None, "'network' parameter"),
        ({"encoder": encoder}, "'network' parameter"),
    ],
    ids=named,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_networks_that_do_not_fit(small, iris, network, said, method):
    with pytest.raises(ValueError, match=said):
        getattr(small(network=network), method)(iris)


def test_a_builder_may_raise_its_own_error(small, iris):
    def broken(n_inputs):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        small(network=(broken, decoder)).fit(iris)


def test_batch_norm_and_dropout_are_off_in_use(small, iris):
    def noisy(n_inputs):
        return nn.Sequential(nn.Linear(n_inputs, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU())

    model = small(network=(noisy, decoder)).fit(iris)
    Z = model.transform(iris)
    np.testing.assert_array_equal(model.transform(iris), Z)
    np.testing.assert_allclose(model.transform(iris[:1]), Z[:1], rtol=1e-4, atol=1e-5)


# Going on, and searching.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mlp", "conv"),
        ("conv", "fully-conv"),
        ("mlp", (encoder, decoder)),
        ((encoder, decoder), (decoder, encoder)),
    ],
    ids=named,
)
def test_warm_start_with_another_network_raises(small, digits, first, second):
    model = small(network=first, warm_start=True, **IMAGE).fit(digits)
    before = model.transform(digits)
    model.set_params(network=second)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="cannot be trained further with network="):
            getattr(model, method)(digits)
    np.testing.assert_array_equal(model.transform(digits), before)


@pytest.mark.parametrize("network", ["conv", "fully-conv", (encoder, decoder), modules(64)])
def test_warm_start_with_the_same_network_goes_on(small, digits, network):
    model = small(network=network, warm_start=True, **IMAGE).fit(digits)
    module, bound = model.module_, model.lower_bound_
    model.set_params(lr=1e-9).fit(digits)
    assert model.partial_fit(digits).module_ is module
    assert model.lower_bound_ == pytest.approx(bound, abs=1e-2)


@pytest.mark.slow
def test_grid_search_over_networks(small, digits):
    grid = {"network": ["mlp", "conv", "fully-conv", (encoder, decoder)]}
    search = GridSearchCV(small(**IMAGE), grid, cv=2, error_score="raise").fit(digits)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.transform(digits).shape[0] == 120


# A categorical top layer.

N_STATES = 4


@pytest.fixture(scope="module", params=[("categorical", 1.95), ("gumbel", 1.75)], ids=str)
def clusters(request, small):
    """An estimator with 4 states in z_2, fitted to 4 clusters; the data and their centres."""
    rng = np.random.default_rng(0)
    centres = 8 * np.array([[0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    label = rng.integers(0, N_STATES, 400)
    X = centres[label] + rng.normal(size=(400, 3))
    top_layer, rate = request.param
    model = small(
        layer_rates=(1, rate),
        n_components=(3, N_STATES),
        top_layer=top_layer,
        max_epochs=100,
        batch_size=80,
    ).fit(X)
    return model, X, centres, label


@pytest.mark.slow
def test_top_latents_are_probabilities(clusters):
    model, X, _, label = clusters
    assert model.converged_
    assert model.n_components_ == (3, N_STATES)
    where = model.layer_slices_["z2"]
    top = model.transform(X)[:, where]
    assert top.min() >= 0
    np.testing.assert_allclose(top.sum(1), 1, rtol=1e-5)
    # States are clusters, in some order.
    state = top.argmax(1)
    table = np.histogram2d(label, state, bins=N_STATES)[0]
    assert sorted(table.argmax(1)) == list(range(N_STATES))
    assert table.max(1).sum() > 0.95 * len(X)


@pytest.mark.slow
def test_states_decode_to_cluster_centres(clusters):
    model, _, centres, _ = clusters
    model = pickle.loads(pickle.dumps(model)).set_params(output_layers="top")  # noqa: S301
    decoded = model.inverse_transform(np.eye(N_STATES))
    distance = np.linalg.norm(decoded[:, None] - centres, axis=2)
    assert sorted(distance.argmin(1)) == list(range(N_STATES))
    assert distance.min(1).max() < 2.5  # of 11 between centres


@pytest.mark.slow
def test_sampled_top_latents_are_one_hot(clusters):
    model, X, _, _ = clusters
    top = model.latents(X, sample=True)[1]
    np.testing.assert_allclose(np.sort(top, 1), [[0, 0, 0, 1]] * len(X), atol=1e-6)


@pytest.mark.slow
def test_rate_of_states_is_at_most_their_logarithm(clusters):
    model, X, _, _ = clusters
    assert (model.rates(X)[:, 1] <= np.log2(N_STATES) + 1e-6).all()


@pytest.mark.filterwarnings("default::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
def test_a_rate_above_the_logarithm_of_the_states_warns(small, iris, top_layer):
    model = small(layer_rates=(1, 3), n_components=(2, 4), top_layer=top_layer, max_epochs=40)
    with pytest.warns(RateTargetWarning, match=r"z_2 reached .* of its 3 bits"):
        model.fit(iris)
    assert not model.converged_
    assert model.rates_[1] <= 2


@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
@pytest.mark.parametrize("network", ["conv", "hit-mnist", (encoder, decoder)], ids=named)
def test_categorical_top_of_every_network(small, mnist, network, top_layer):
    image_shape = (1, 28, 28) if network == "conv" else None
    model = small(
        network=network,
        image_shape=image_shape,
        top_layer=top_layer,
        n_components=(3, 4),
        layer_rates=(2, 1),
        max_epochs=1,
    ).fit(mnist[:8])
    n_states = 20 if network == "hit-mnist" else 4
    top = model.latents(mnist)[1]
    assert top.shape == (40, n_states)
    np.testing.assert_allclose(top.sum(1), 1, rtol=1e-5)
    assert model.sample(3).shape == (3, 784)


def test_one_categorical_layer_alone(small, iris):
    model = small(layer_rates=1, n_components=3, top_layer="categorical", max_epochs=60).fit(iris)
    np.testing.assert_allclose(model.transform(iris).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(iris)), model.reconstruct(iris), rtol=1e-4
    )


def test_names_are_those_of_the_parameter_check():
    (options, *_) = HierarchicalVAETransformer._parameter_constraints["network"]
    names = {"auto", "mlp", "conv", "fully-conv", "hit-mnist", "hit-cifar"}
    assert options.options == names
