import math

import pytest
import torch
from torch import nn

from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy
from sk_hvae.nn.networks.spatial import SpatialEncoder, layer_shapes

INFERENCE = pytest.mark.parametrize("inference", ["top_down", "ladder"])
IMAGES = pytest.mark.parametrize(
    "shape",
    [(1, 28, 28), (3, 32, 32), (1, 1, 1), (2, 5, 7), (1, 1, 9), (1, 33, 18)],
    ids=lambda shape: "x".join(map(str, shape)),
)


def fully_conv(shape, n_planes, inference="top_down", spread=0.05, **settings):
    """A model of images, all weights away from their start."""
    torch.manual_seed(0)
    likelihood = Gaussian(0.5).adapt(DataSummary.of([torch.randn(5, math.prod(shape))]))
    architecture = Architecture(n_planes, (), "fully-conv", shape, inference, **settings)
    model = build_hierarchy(architecture, likelihood)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return architecture, model


def posterior_maps(model, images, shape):
    """Means and stds of z_1 (b, planes, height, width), of images on the scale of the link."""
    with torch.no_grad():
        q = model.infer(model.encoder(images.flatten(1))).posteriors[0]
    return torch.cat((q.mean.unflatten(1, shape), q.std.unflatten(1, shape)), 1)


class TestShapes:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((28, 28), [(3, 7, 7), (2, 4, 4), (5, 2, 2)]),
            ((32, 32), [(3, 8, 8), (2, 4, 4), (5, 2, 2)]),
            ((33, 18), [(3, 9, 5), (2, 5, 3), (5, 3, 2)]),
            ((1, 9), [(3, 1, 3), (2, 1, 2), (5, 1, 1)]),
            ((1, 1), [(3, 1, 1), (2, 1, 1), (5, 1, 1)]),
        ],
    )
    def test_z1_has_a_quarter_of_the_size_and_each_layer_half_of_that_below(self, size, expected):
        assert layer_shapes(size, (3, 2, 5)) == expected

    @IMAGES
    @INFERENCE
    @pytest.mark.parametrize("n_planes", [(3,), (3, 2), (1, 2, 3)])
    def test_layers_have_the_sizes_that_the_architecture_tells(self, shape, inference, n_planes):
        architecture, model = fully_conv(shape, n_planes, inference)
        x = torch.randn(4, math.prod(shape))
        output = model(x, torch.randn_like)
        assert tuple(layer.n_units for layer in model.layers) == architecture.layer_sizes
        assert tuple(z.shape[1] for z in output.latents) == architecture.layer_sizes
        assert output.rates.shape == (4, len(n_planes))
        assert output.distortion.isfinite().all()
        assert model.sample(2, torch.randn_like).shape == (2, math.prod(shape))
        for number, z in enumerate(model.encode(x), start=1):
            assert model.decode(z, number).shape == x.shape

    def test_features_are_maps_of_the_layers_sizes(self):
        maps = SpatialEncoder(2, (33, 18), 3)(torch.randn(4, 2 * 33 * 18))
        assert [tuple(m.shape[2:]) for m in maps] == [(9, 5), (5, 3), (3, 2)]

    def test_marks_of_missing_cells_are_more_planes(self):
        _, model = fully_conv((3, 5, 7), (2, 2), missing=True)
        x = torch.randn(4, 105)
        x[:, ::3] = torch.nan
        output = model(x, torch.randn_like)
        assert model.encoder.to_maps.shape == (6, 5, 7)
        assert output.distortion.isfinite().all()


class TestStart:
    @INFERENCE
    def test_rates_of_a_new_model_do_not_depend_on_the_data(self, inference):
        _, model = fully_conv((1, 8, 8), (2, 3), inference, spread=0)
        output = model(torch.randn(4, 64), torch.randn_like)
        # A new top-down layer has the prior as posterior; a new ladder layer starts wide, with
        # a std of softplus(4 + softplus^-1(1)), whose product with N(0, 1) is hardly narrower.
        variance = math.log1p(math.exp(4) * (math.e - 1)) ** 2
        share = variance / (1 + variance)
        nats = 0.0 if inference == "top_down" else 0.5 * (share - 1 - math.log(share))
        expected = torch.tensor([[8.0, 3.0]]).expand(4, 2) * nats
        torch.testing.assert_close(output.rates, expected, atol=1e-5, rtol=1e-3)

    @INFERENCE
    @IMAGES
    def test_every_weight_gets_a_gradient(self, shape, inference):
        _, model = fully_conv(shape, (2, 3, 2), inference)
        output = model(torch.randn(4, math.prod(shape)), torch.randn_like)
        (output.distortion.mean() + output.rates.mean()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


class TestConvolutional:
    @INFERENCE
    @pytest.mark.parametrize("n_planes", [(2,), (2, 3), (2, 3, 1)])
    def test_the_number_of_parameters_does_not_depend_on_the_size(self, n_planes, inference):
        counts = set()
        for shape in [(3, 1, 1), (3, 9, 20), (3, 32, 32)]:
            _, model = fully_conv(shape, n_planes, inference)
            counts.add(sum(parameter.numel() for parameter in model.parameters()))
        assert len(counts) == 1

    @INFERENCE
    @pytest.mark.parametrize(("n_planes", "reach"), [((2,), 3), ((2, 3), 9)])
    def test_a_pixel_does_not_reach_far_away_latents(self, n_planes, reach, inference):
        _, model = fully_conv((1, 64, 64), n_planes, inference)
        image = torch.randn(1, 1, 64, 64)
        changed = image.clone()
        changed[..., 0, 0] += 10
        before, after = (posterior_maps(model, i, (2, 16, 16)) for i in (image, changed))
        assert not torch.allclose(before[..., :1, :1], after[..., :1, :1], atol=1e-4)
        torch.testing.assert_close(after[..., reach:, :], before[..., reach:, :])
        torch.testing.assert_close(after[..., :, reach:], before[..., :, reach:])

    @INFERENCE
    def test_the_layer_above_reaches_z1_where_it_is_read(self, inference):
        _, model = fully_conv((1, 64, 64), (2, 3), inference)
        z_2 = torch.zeros(1, 3, 8, 8)
        other = z_2.clone()
        other[..., 0, 0] = 5
        activations = model.encoder(torch.randn(1, 64 * 64))
        before, after = (
            model.layers[0].posterior(activations, z.flatten(1)).mean.view(2, 16, 16)
            for z in (z_2, other)
        )
        assert not torch.allclose(before[:, :2, :2], after[:, :2, :2], atol=1e-4)
        torch.testing.assert_close(after[:, 5:], before[:, 5:])
        torch.testing.assert_close(after[:, :, 5:], before[:, :, 5:])

    @INFERENCE
    @pytest.mark.parametrize(("n_planes", "stride"), [((2,), 4), ((2, 3), 8)])
    def test_shifting_the_image_by_a_stride_shifts_the_latents(self, n_planes, stride, inference):
        _, model = fully_conv((1, 128, 128), n_planes, inference)
        scene = torch.randn(1, 1, 128 + stride, 128 + stride)
        left, right = scene[..., :128, :128], scene[..., stride:, stride:]
        first, second = (posterior_maps(model, i, (2, 32, 32)) for i in (left, right))
        moved = stride // 4
        inside, shifted = slice(9, 23), slice(9 + moved, 23 + moved)
        expected = first[..., shifted, shifted]
        torch.testing.assert_close(second[..., inside, inside], expected, rtol=1e-4, atol=1e-5)
        assert expected.std() > 1e-3

    def test_top_down_inference_reads_the_layer_above_beside_the_prior(self):
        _, model = fully_conv((1, 16, 16), (2, 3))
        layer, activations = model.layers[0], model.encoder(torch.randn(4, 256))
        z_2 = 3 * torch.randn(4, 12)
        offset, other = (layer.posterior(activations, z).offset for z in (z_2, -z_2))
        assert not torch.allclose(offset, other, atol=1e-3)

    def test_a_latent_reaches_only_pixels_nearby(self):
        _, model = fully_conv((1, 64, 64), (2, 3))
        z = torch.randn(1, 2, 16, 16)
        other = z.clone()
        other[..., 0, 0] += 5
        before, after = (model.decoder(maps.flatten(1)).view(64, 64) for maps in (z, other))
        # The 3x3 convolution reaches row 1 of 16, which the doublings spread to 4, then 10.
        assert not torch.allclose(before[:4, :4], after[:4, :4], atol=1e-4)
        torch.testing.assert_close(after[11:], before[11:])
        torch.testing.assert_close(after[:, 11:], before[:, 11:])


def test_a_fully_convolutional_model_learns():
    torch.manual_seed(0)
    x = torch.randn(8, 64).repeat(8, 1)
    likelihood = Gaussian(0.5).adapt(DataSummary.of([x]))
    model = build_hierarchy(Architecture((2, 2), (), "fully-conv", (1, 8, 8)), likelihood)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        output = model(x, torch.randn_like)
        losses.append((output.distortion + output.rates.sum(1)).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
