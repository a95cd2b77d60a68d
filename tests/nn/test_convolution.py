import math

import pytest
import torch
from torch import nn

from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy
from sk_hvae.nn.networks.convolution import (
    ConvDecoder,
    ConvEncoder,
    Doubling,
    channels,
    conv_networks,
    halved_sizes,
    halving,
)

SHAPES = [
    (1, 28, 28),
    (3, 32, 32),
    (1, 1, 1),
    (2, 1, 1),
    (1, 4, 4),
    (1, 5, 5),
    (2, 5, 7),
    (1, 1, 9),
    (1, 9, 1),
    (4, 3, 17),
    (3, 64, 64),
]
IMAGES = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def perturb(net, spread=0.1):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return net


def assert_gradients_everywhere(net):
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((28, 28), [(28, 28), (14, 14), (7, 7), (4, 4)]),
            ((32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
            ((1, 1), [(1, 1)]),
            ((4, 3), [(4, 3)]),
            ((5, 7), [(5, 7), (3, 4)]),
            ((1, 9), [(1, 9), (1, 5), (1, 3)]),
            ((64, 64), [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]),
        ],
    )
    def test_sizes_are_halved_and_rounded_up_until_both_sides_are_at_most_4(self, size, expected):
        assert halved_sizes(size) == expected

    def test_planes_double_up_to_64(self):
        assert channels(5) == (16, 32, 64, 64, 64)
        assert channels(0) == ()

    @IMAGES
    def test_convolutions_make_the_sizes_that_are_listed(self, shape):
        n_planes, *size = shape
        maps = torch.zeros(2, n_planes, *size)
        for expected in halved_sizes(size)[1:]:
            maps = halving(maps.shape[1], 3)(maps)
            assert maps.shape == (2, 3, *expected)


class TestDoubling:
    @pytest.mark.parametrize("size", [(6, 8), (5, 8), (6, 7), (5, 7), (1, 1), (1, 2), (2, 1)])
    @pytest.mark.parametrize("n_planes", [1, 2, 3, 16, 64])
    def test_it_is_a_transposed_convolution_cropped(self, size, n_planes):
        torch.manual_seed(0)
        doubling = Doubling(3, n_planes, size)
        x = torch.randn(4, 3, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
        reference = nn.ConvTranspose2d(3, n_planes, 4, stride=2, padding=1)
        reference.load_state_dict(doubling.convolution.state_dict())
        weights = torch.randn(4, n_planes, *size)
        gradients, results = [], []
        for net in (doubling, reference):
            given = x.clone().requires_grad_()
            results.append(net(given)[:, :, : size[0], : size[1]])
            inputs = (given, *net.parameters())
            gradients.append(torch.autograd.grad((results[-1] * weights).sum(), inputs))
        assert doubling(x).shape == (4, n_planes, *size)
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("n_planes", [3, 64])
    def test_every_pixel_spreads_over_four_by_four(self, n_planes):
        torch.manual_seed(0)
        doubling, x = Doubling(2, n_planes, (5, 6)), torch.randn(1, 2, 3, 3)
        weight, bias = doubling.convolution.weight.detach(), doubling.convolution.bias.detach()
        expected = torch.zeros(n_planes, 5, 6) + bias[:, None, None]
        for row in range(5):
            for column in range(6):
                for i in range(3):
                    for j in range(3):
                        a, b = row - 2 * i + 1, column - 2 * j + 1
                        if 0 <= a < 4 and 0 <= b < 4:
                            expected[:, row, column] += x[0, :, i, j] @ weight[:, :, a, b]
        torch.testing.assert_close(doubling(x)[0], expected)


class TestEncoder:
    @IMAGES
    @pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
    def test_it_makes_as_many_columns_as_the_last_hidden_layer(self, shape, hidden):
        encoder = ConvEncoder(math.prod(shape), shape[1:], hidden)
        sizes = halved_sizes(shape[1:])
        planes = (shape[0], *channels(len(sizes) - 1))[-1]
        expected = hidden[-1] if hidden else planes * math.prod(sizes[-1])
        assert encoder(torch.randn(3, math.prod(shape))).shape == (3, expected)

    @IMAGES
    def test_gradients_reach_every_weight(self, shape):
        torch.manual_seed(0)
        encoder = perturb(ConvEncoder(math.prod(shape), shape[1:], (6,)))
        (encoder(torch.randn(3, math.prod(shape))) ** 2).sum().backward()
        assert_gradients_everywhere(encoder)

    def test_marks_of_missing_cells_are_more_planes(self):
        encoder = conv_networks((5, 7), (6,)).encoder(2 * 3 * 35)
        assert encoder.convolutions[1][0].in_channels == 6
        assert encoder(torch.randn(4, 2 * 3 * 35)).shape == (4, 6)

    def test_rows_are_planes_one_after_the_other(self):
        torch.manual_seed(0)
        encoder = ConvEncoder(2 * 35, (5, 7), ())
        x = torch.randn(4, 2, 5, 7)
        expected = encoder.convolutions[1](x).flatten(1)
        torch.testing.assert_close(encoder(x.flatten(1)), expected)


class TestDecoder:
    @IMAGES
    @pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
    def test_it_makes_every_parameter_and_starts_at_zero(self, shape, hidden):
        torch.manual_seed(0)
        decoder = ConvDecoder(3, math.prod(shape), shape[1:], hidden)
        parameters = decoder(torch.randn(4, 3))
        assert parameters.shape == (4, math.prod(shape))
        assert parameters.abs().max() == 0

    @IMAGES
    def test_gradients_reach_every_weight(self, shape):
        torch.manual_seed(0)
        decoder = perturb(ConvDecoder(3, math.prod(shape), shape[1:], (6,)))
        (decoder(torch.randn(4, 3)) ** 2).sum().backward()
        assert_gradients_everywhere(decoder)

    @IMAGES
    def test_it_can_leave_zero_in_one_step(self, shape):
        torch.manual_seed(0)
        decoder = ConvDecoder(3, math.prod(shape), shape[1:], (6,))
        decoder(torch.randn(4, 3)).sum().backward()
        assert any(p.grad.abs().max() > 0 for p in decoder.parameters())

    @IMAGES
    def test_outputs_can_be_as_low_as_high(self, shape):
        torch.manual_seed(0)
        decoder = perturb(ConvDecoder(3, math.prod(shape), shape[1:], (6,)), spread=3.0)
        outputs = decoder(10 * torch.randn(200, 3))
        assert outputs.max() > 1
        assert outputs.min() < -1

    def test_extra_parameters_are_more_planes(self):
        networks = conv_networks((5, 7), (6,))
        decoder = networks.decoder(3, 5 * 35)
        assert decoder(torch.randn(4, 3)).shape == (4, 5 * 35)
        maps = decoder.convolutions[:-1](decoder.hidden(torch.randn(4, 3)))
        assert maps.shape == (4, 5, 5, 7)

    def test_the_perceptron_mirrors_that_of_the_encoder(self):
        networks = conv_networks((5, 7), (6, 9))
        encoder, decoder = networks.encoder(35), networks.decoder(3, 35)
        widths = [m.out_features for m in encoder.hidden if isinstance(m, nn.Linear)]
        assert widths == [6, 9]
        widths = [m.out_features for m in decoder.hidden if isinstance(m, nn.Linear)]
        assert widths == [9, 6, 16 * 3 * 4]


@IMAGES
@pytest.mark.parametrize("inference", ["top_down", "ladder"])
def test_a_model_of_images_gives_gradients_to_every_weight(shape, inference):
    torch.manual_seed(0)
    x = torch.rand(4, math.prod(shape)).round()
    x[:2] = torch.tensor([[0.0], [1.0]])
    likelihood = Bernoulli().adapt(DataSummary.of([x], shape[0]))
    architecture = Architecture((3, 2), (6,), "conv", shape, inference)
    model = perturb(build_hierarchy(architecture, likelihood))
    output = model(x, torch.randn_like)
    (output.distortion.mean() + output.rates.mean()).backward()
    assert_gradients_everywhere(model)
