"""Convolutional encoders and decoders with flat latents, for images of any height and width."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from sk_hvae.nn.networks.skip import Networks, hidden_layers, zeroed

# Planes double with every halving of the image up to 64: more find more and cost more; the first
# convolutions, on the largest maps, cost the most. examples/benchmarks/convolution.py compares the
# result with a perceptron.
_FIRST_CHANNELS, _MOST_CHANNELS = 16, 64
# Maps of at most 4 by 4 go to the perceptron. Smaller ones would lose where things are in an image.
_SMALLEST_MAP = 4
# Up to this number of planes, the way by blocks is the faster one on CPUs, see `Doubling`.
_FEW_PLANES = 4


class ConvEncoder(nn.Module):
    """Halve images by strided convolutions, then pass them to a perceptron.

    Parameters
    ----------
    n_inputs : int
        Width of a row: planes of height times width, one after the other.
    size : tuple of int (height, width)
        Size of the planes.
    hidden_layer_sizes : sequence of int
        Widths of the perceptron.
    """

    def __init__(self, n_inputs, size, hidden_layer_sizes):
        super().__init__()
        sizes = halved_sizes(size)
        planes = (n_inputs // math.prod(size), *channels(len(sizes) - 1))
        stages = [halving(before, after) for before, after in pairwise(planes)]
        self.convolutions = nn.Sequential(ToMaps((planes[0], *size)), *stages, nn.Flatten())
        self.n_flat = planes[-1] * math.prod(sizes[-1])
        self.hidden = hidden_layers(self.n_flat, hidden_layer_sizes)

    def forward(self, x):
        """Map rows (b, n_inputs) to (b, n_hidden)."""
        return self.hidden(self.convolutions(x))


class ConvDecoder(nn.Module):
    """Mirror of `ConvEncoder`: a perceptron, then convolutions that double the images.

    Parameters
    ----------
    n_units : int
        Width of z_1.
    n_outputs : int
        Number of parameters: planes of height times width, one after the other.
    size : tuple of int (height, width)
        Size of the planes.
    hidden_layer_sizes : sequence of int
        Widths of the perceptron, from z_1 to the convolutions.
    """

    def __init__(self, n_units, n_outputs, size, hidden_layer_sizes):
        super().__init__()
        sizes = halved_sizes(size)[::-1]
        planes = (*channels(len(sizes) - 1)[::-1], n_outputs // math.prod(size))
        to_maps = hidden_layers(n_units, (*hidden_layer_sizes, planes[0] * math.prod(sizes[0])))
        stages = [
            stage
            for (before, after), to in zip(pairwise(planes), sizes[1:], strict=True)
            for stage in (nn.SiLU(), Doubling(before, after, to))
        ]
        zeroed(stages[-1] if stages else to_maps[-2])
        self.hidden = to_maps[:-1]
        self.convolutions = nn.Sequential(ToMaps((planes[0], *sizes[0])), *stages, nn.Flatten())

    def forward(self, z):
        """Map z_1 (b, n_units) to parameters (b, n_outputs), which start at zero."""
        return self.convolutions(self.hidden(z))


class ToMaps(nn.Module):
    """Rows of planes, one after the other, to maps.

    The maps are laid out channels last, as the convolutions' weights are: where the two
    formats meet, CPUs are ten times slower.

    Parameters
    ----------
    shape : tuple of int (planes, height, width)
        Shape of the maps.
    """

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        """Map (b, planes * height * width) to (b, planes, height, width)."""
        return x.unflatten(1, self.shape).clone(memory_format=torch.channels_last)


class Doubling(nn.Module):
    """Transposed convolution to twice the size, cropped to an odd one.

    To few planes, it is computed as one convolution with 2x2 kernels that gives the four
    pixels of every new block as planes, which takes a third of the time on CPUs.

    Parameters
    ----------
    before, after : int
        Number of planes that come in and go out.
    size : tuple of int (height, width)
        Size that goes out: twice that which comes in, or one less.
    """

    def __init__(self, before, after, size):
        super().__init__()
        self.size = size
        self.convolution = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)

    def forward(self, x):
        """Map (b, before, h, w) to (b, after, height, width)."""
        height, width = self.size
        if self.convolution.out_channels > _FEW_PLANES:
            return self.convolution(x)[:, :, :height, :width]
        return self._by_blocks(x)[:, :, 1 : 1 + height, 1 : 1 + width]

    def _by_blocks(self, x):
        """Compute the result with a margin of 1, (b, after, 2 h + 2, 2 w + 2)."""
        kernels, bias = self.kernels()
        blocks = functional.conv2d(x, kernels, bias, padding=1)
        return functional.pixel_shuffle(blocks, 2)

    def kernels(self):
        """Return kernels (4 after, before, 2, 2) and biases (4 after,) of the one convolution."""
        weight, bias = self.convolution.parameters()
        kernels = weight.roll((2, 2), (2, 3)).unflatten(3, (2, 2)).unflatten(2, (2, 2))
        kernels = kernels.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
        return kernels, bias.repeat_interleave(4)


def halving(before, after):
    """Build a convolution to half the size, rounded up, and a SiLU."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU())


def halved_sizes(size):
    """List the sizes of the maps: halved, rounded up, until height and width are at most 4."""
    sizes = [tuple(size)]
    while max(sizes[-1]) > _SMALLEST_MAP:
        sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
    return sizes


def channels(n_stages):
    """List the number of planes after each halving: 16, 32, 64, and no more."""
    return tuple(min(_FIRST_CHANNELS * 2**i, _MOST_CHANNELS) for i in range(n_stages))


def conv_networks(size, hidden_layer_sizes):
    """Return the `Networks` of convolutions followed by perceptrons."""
    return Networks(
        lambda n_inputs: ConvEncoder(n_inputs, size, hidden_layer_sizes),
        lambda n_units, n_outputs: ConvDecoder(n_units, n_outputs, size, hidden_layer_sizes[::-1]),
    )
