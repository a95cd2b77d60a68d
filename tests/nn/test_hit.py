import math

import pytest
import torch
from torch.nn import functional

from sk_hvae.nn import (
    Architecture,
    Bernoulli,
    DataSummary,
    DiscretizedLogisticMixture,
    Gaussian,
    build_hierarchy,
)
from sk_hvae.nn.latents.gaussian import positive
from sk_hvae.nn.networks.hit import PRESETS

MODELS = pytest.mark.parametrize(
    ("network", "inference"),
    [(name, kind) for name in ("hit-mnist", "hit-cifar") for kind in ("top_down", "ladder")],
)
N_PIXELS = {"hit-mnist": 784, "hit-cifar": 3072}
N_UNITS = {"hit-mnist": (256, 20), "hit-cifar": (512, 32)}


def preset_model(network, inference="top_down", likelihood=None, **settings):
    torch.manual_seed(0)
    shape = PRESETS[network].image_shape
    x = images(network, 4)
    if likelihood is None:
        likelihood = Bernoulli() if network == "hit-mnist" else Gaussian(sigma=0.71)
    likelihood.adapt(DataSummary.of([x], n_channels=shape[0]))
    architecture = Architecture((), (), network, shape, inference, **settings)
    return build_hierarchy(architecture, likelihood).requires_grad_(requires_grad=False)


def images(network, n_rows=3, seed=0):
    """Random images of the 256 levels from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n_rows, N_PIXELS[network]), generator=generator) / 255


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


class TestParameterCounts:
    @pytest.mark.parametrize(
        ("network", "inference", "expected"),
        [
            ("hit-mnist", "top_down", 122_713),
            ("hit-cifar", "top_down", 475_811),
            ("hit-cifar", "ladder", 408_131),
        ],
    )
    def test_models_have_as_many_parameters_as_published(self, network, inference, expected):
        assert count(preset_model(network, inference)) == expected

    def test_so_have_the_parts_of_the_colour_model(self):
        model = preset_model("hit-cifar")
        z_1, z_2 = model.layers
        first_two, odd = divmod(count(model.encoder.to_quarter), 2)
        assert odd == 0
        assert first_two + count(model.encoder.to_z2, z_2) == 67_232
        assert first_two + count(model.encoder.to_z1, z_1.posterior_net) == 102_592
        assert count(z_1.prior_net) == 271_616
        assert count(model.decoder) == 34_371

    def test_the_ladder_shares_its_encoder(self):
        model = preset_model("hit-cifar", "ladder")
        assert count(model.layers[0].prior_net) == 271_616
        assert count(model.decoder) == 34_371
        # One 4x4 and one 3x3 convolution more than q(z_2 | x).
        more = (32 * 32 * 16 + 32) + (32 * 64 * 9 + 64)
        assert count(model.encoder, model.layers[1], model.layers[0].bottom_up_net) == 67_232 + more

    @MODELS
    def test_no_likelihood_parameters_are_among_them(self, network, inference):
        assert count(preset_model(network, inference).likelihood) == 0


class TestShapes:
    @MODELS
    def test_latents_and_data_have_the_published_sizes(self, network, inference):
        model = preset_model(network, inference)
        x = images(network)
        output = model(x, torch.randn_like)
        assert tuple(z.shape for z in output.latents) == tuple((3, n) for n in N_UNITS[network])
        assert output.rates.shape == (3, 2)
        assert output.distortion.isfinite().all()
        assert model.sample(2, torch.randn_like).shape == (2, N_PIXELS[network])
        for number, z in enumerate(model.encode(x), start=1):
            assert model.decode(z, number).shape == x.shape

    @pytest.mark.parametrize("network", N_UNITS)
    def test_the_architecture_tells_the_sizes(self, network):
        architecture = Architecture((1, 1), (), network, PRESETS[network].image_shape)
        assert architecture.layer_sizes == N_UNITS[network]
        assert PRESETS[network].n_components == N_UNITS[network]

    def test_a_likelihood_with_more_parameters_widens_the_last_convolution(self):
        likelihood = DiscretizedLogisticMixture(2)
        model = preset_model("hit-cifar", likelihood=likelihood)
        assert likelihood.n_outputs == 1024 * (3 + 2 + 6 + 6 + 6)
        assert model.decoder(torch.randn(2, 512)).shape == (2, likelihood.n_outputs)
        assert model(images("hit-cifar"), torch.randn_like).distortion.isfinite().all()

    @MODELS
    def test_marks_of_missing_cells_are_more_planes(self, network, inference):
        model = preset_model(network, inference, missing=True)
        x = images(network)
        x[:, ::5] = torch.nan
        first = model.encoder.to_quarter[1]
        assert first.in_channels == 2 * PRESETS[network].image_shape[0]
        assert model(x, torch.randn_like).distortion.isfinite().all()

    @MODELS
    def test_the_top_layer_may_be_categorical(self, network, inference):
        model = preset_model(network, inference, top_layer="categorical")
        output = model(images(network), torch.randn_like)
        n_states = N_UNITS[network][1]
        assert output.latents[0].shape == (3 * n_states, N_UNITS[network][0])
        assert (output.rates[:, 1] <= math.log(n_states)).all()


class TestEncoder:
    @pytest.mark.parametrize("network", N_UNITS)
    def test_stacks_of_the_two_layers_are_separate(self, network):
        model = preset_model(network)
        encoder, x = model.encoder, model.inputs(images(network))
        _, first, _, second, _ = encoder.to_quarter
        maps = x.unflatten(1, PRESETS[network].image_shape)
        stacks = []
        for half in (0, 1):
            stack = maps
            for convolution in (first, second):
                weight, bias = (p.chunk(2)[half] for p in (convolution.weight, convolution.bias))
                stack = functional.conv2d(stack, weight, bias, stride=2, padding=1).relu()
            stacks.append(stack)
        activations = encoder(x)
        torch.testing.assert_close(activations.for_z1, stacks[0])
        torch.testing.assert_close(activations.for_z2, encoder.to_z2(stacks[1]))
        side = PRESETS[network].image_shape[1] // 4
        assert activations.for_z1.shape[2:] == (side, side)
        assert activations.for_z2.shape[2:] == (4, 4)

    @pytest.mark.parametrize("network", N_UNITS)
    def test_the_ladder_reads_one_stack(self, network):
        model = preset_model(network, "ladder")
        x = model.inputs(images(network))
        quarter, activations = model.encoder.to_quarter(x), model.encoder(x)
        torch.testing.assert_close(activations.for_z1, model.encoder.to_z1(quarter))
        torch.testing.assert_close(activations.for_z2, model.encoder.to_z2(quarter))
        assert activations.for_z1.shape[2:] == (4, 4)


class TestPosteriors:
    @MODELS
    def test_q_of_z1_depends_on_the_data_and_on_z2(self, network, inference):
        model = preset_model(network, inference)
        z_2 = 3 * torch.randn(3, N_UNITS[network][1])
        activations, other = (model.activations(images(network, seed=seed)) for seed in (0, 1))
        q = model.layers[0].posterior(activations, z_2)
        assert not torch.allclose(q.mean, model.layers[0].posterior(other, z_2).mean, atol=1e-3)
        assert not torch.allclose(
            q.mean, model.layers[0].posterior(activations, -z_2).mean, atol=1e-3
        )

    @pytest.mark.parametrize("network", N_UNITS)
    def test_top_down_reads_z2_beside_its_prior(self, network):
        model = preset_model(network)
        layer, z_2 = model.layers[0], 3 * torch.randn(3, N_UNITS[network][1])
        activations = model.activations(images(network))
        q, other = layer.posterior(activations, z_2), layer.posterior(activations, -z_2)
        assert not torch.allclose(q.offset, other.offset, atol=1e-3)
        blind = activations._replace(for_z2=torch.zeros_like(activations.for_z2))
        assert torch.equal(layer.posterior(blind, z_2).offset, q.offset)

    @pytest.mark.parametrize("network", N_UNITS)
    def test_the_ladder_weighs_prior_and_data_by_their_precisions(self, network):
        model = preset_model(network, "ladder")
        layer, z_2 = model.layers[0], torch.randn(3, N_UNITS[network][1])
        activations = model.activations(images(network))
        mean, raw_std = layer.bottom_up_net(activations).chunk(2, 1)
        prior_mean, raw_prior_std = layer.prior_net(z_2).chunk(2, 1)
        precision, prior_precision = positive(raw_std) ** -2, positive(raw_prior_std) ** -2

        q = layer.posterior(activations, z_2)

        total = precision + prior_precision
        torch.testing.assert_close(q.std, total**-0.5)
        expected = (mean * precision + prior_mean * prior_precision) / total
        torch.testing.assert_close(q.mean, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(q.prior.mean, prior_mean)

    @MODELS
    def test_q_of_z2_reads_the_data_only(self, network, inference):
        model = preset_model(network, inference)
        activations = model.activations(images(network))
        q = model.layers[1].posterior(activations, None)
        blind = activations._replace(for_z1=torch.zeros_like(activations.for_z1))
        assert torch.equal(model.layers[1].posterior(blind, None).mean, q.mean)
        assert torch.equal(q.prior.std, torch.ones_like(q.mean))


class TestDecoder:
    @MODELS
    def test_it_reads_z1_only(self, network, inference):
        model = preset_model(network, inference).requires_grad_(requires_grad=True)
        z_1 = torch.randn(3, N_UNITS[network][0])
        model.decode(z_1).sum().backward()
        with_gradient = {
            name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None
        }
        assert with_gradient == {"decoder"}

    @MODELS
    def test_the_distortion_is_that_of_the_sampled_z1(self, network, inference):
        model = preset_model(network, inference)
        x = images(network)
        output = model(x, torch.randn_like)
        expected = -model.likelihood.log_prob(x, model.decoder(output.latents[0])).sum(1)
        torch.testing.assert_close(output.distortion, expected)

    @pytest.mark.parametrize("network", N_UNITS)
    def test_decoding_z2_takes_the_prior_mean_of_z1(self, network):
        model = preset_model(network)
        z_2 = torch.randn(3, N_UNITS[network][1])
        z_1 = model.layers[0].prior_net(z_2)[:, : N_UNITS[network][0]]
        torch.testing.assert_close(model.decode(z_2, layer=2), model.decode(z_1))


@MODELS
def test_there_are_no_linear_paths(network, inference):
    assert not preset_model(network, inference).has_linear_paths


@MODELS
def test_every_weight_gets_a_gradient(network, inference):
    model = preset_model(network, inference).requires_grad_(requires_grad=True)
    output = model(images(network), torch.randn_like)
    (output.distortion.mean() + output.rates.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
