"""Fully convolutional hierarchies: every layer of latents is a stack of maps.

For images too large for flat latents. z_1 has a quarter of the image's height and width, and
every layer above half of those below it; sizes are rounded up, so that any image fits.
"""

import math
from itertools import pairwise

import torch
from torch import nn

from sk_hvae.nn.hierarchy import Parts
from sk_hvae.nn.latents.gaussian import gaussian_latent, start_wide
from sk_hvae.nn.networks.convolution import Doubling, ToMaps, halving
from sk_hvae.nn.networks.skip import zeroed

# Planes of the convolutions: those that the networks of network="conv" have at most.
_PLANES = 64


class SpatialEncoder(nn.Module):
    """Convolutions that halve the image, and put out the maps of every layer's size.

    Parameters
    ----------
    n_planes : int
        Number of planes that come in.
    size : tuple of int (height, width)
        Size of the planes.
    n_layers : int
        Number of layers of latents.
    """

    def __init__(self, n_planes, size, n_layers):
        super().__init__()
        self.to_maps = ToMaps((n_planes, *size))
        self.to_half = halving(n_planes, _PLANES // 2)
        self.stages = nn.ModuleList(
            halving(before, _PLANES) for before in (_PLANES // 2, *(n_layers - 1) * (_PLANES,))
        )

    def forward(self, x):
        """Map rows (b, n_inputs) to a tuple of maps, one for each layer, z_1 first."""
        maps = [self.to_half(self.to_maps(x))]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return tuple(maps[1:])


class SpatialPrior(nn.Module):
    """Maps of the layer above to raw parameters of a prior, flat.

    Parameters
    ----------
    above, below : tuple of int (planes, height, width)
        Shapes of the two layers.
    """

    def __init__(self, above, below):
        super().__init__()
        self.net = nn.Sequential(
            ToMaps(above),
            Doubling(above[0], _PLANES, below[1:]),
            nn.SiLU(),
            zeroed(nn.Conv2d(_PLANES, 2 * below[0], 3, padding=1)),
            nn.Flatten(),
        )

    def forward(self, z_above):
        """Map (b, n_above) to (b, 2 n_units)."""
        return self.net(z_above)


class SpatialPosterior(nn.Module):
    """Maps of the data, and of the layer above, to raw parameters of a posterior, flat.

    Parameters
    ----------
    number : int
        Number of the layer, 1 for z_1.
    shape : tuple of int (planes, height, width)
        Shape of the layer.
    above : tuple of int or None
        Shape of the layer above; None where it is not read.
    """

    def __init__(self, number, shape, above=None):
        super().__init__()
        self.index = number - 1
        self.from_above = None
        if above is not None:
            self.from_above = nn.Sequential(
                ToMaps(above), Doubling(above[0], _PLANES, shape[1:]), nn.SiLU()
            )
        self.join = nn.Sequential(
            nn.Conv2d(_PLANES * (1 if above is None else 2), _PLANES, 3, padding=1), nn.SiLU()
        )
        self.heads = zeroed(nn.Conv2d(_PLANES, 2 * shape[0], 3, padding=1))

    def forward(self, activations, z_above=None):
        """Map activations and the layer above to (b, 2 n_units)."""
        maps = activations[self.index]
        if self.from_above is not None:
            maps = torch.cat((maps, self.from_above(z_above)), 1)
        return self.heads(self.join(maps)).flatten(1)


def layer_shapes(size, n_planes):
    """Return the shapes (planes, height, width) of the layers, z_1 first.

    Parameters
    ----------
    size : tuple of int (height, width)
        Size of the image.
    n_planes : sequence of int
        Number of planes of each layer, z_1 first.
    """
    strides = [2 ** (number + 1) for number in range(1, len(n_planes) + 1)]
    return [
        (planes, *(math.ceil(side / stride) for side in size))
        for planes, stride in zip(n_planes, strides, strict=True)
    ]


def spatial_parts(size, n_planes, n_inputs, n_outputs, inference):
    """Build the parts of a fully convolutional hierarchical VAE.

    Parameters
    ----------
    size : tuple of int (height, width)
        Size of the image.
    n_planes : sequence of int
        Number of planes of each layer, z_1 first.
    n_inputs, n_outputs : int
        Width of what the encoder reads and the decoder puts out.
    inference : {"top_down", "ladder"}
        Form of the posteriors.

    Returns
    -------
    Parts
    """
    shapes = layer_shapes(size, n_planes)
    layers = []
    for number, (shape, above) in enumerate(pairwise((*shapes, None)), start=1):
        prior = None if above is None else SpatialPrior(above, shape)
        read = above if inference == "top_down" else None
        posterior = SpatialPosterior(number, shape, read)
        if inference == "ladder":
            start_wide(posterior.heads)
        layers.append(gaussian_latent(inference, math.prod(shape), prior, posterior))
    n_pixels = math.prod(size)
    half = tuple(math.ceil(side / 2) for side in size)
    decoder = nn.Sequential(
        ToMaps(shapes[0]),
        nn.Conv2d(shapes[0][0], _PLANES, 3, padding=1),
        nn.SiLU(),
        Doubling(_PLANES, _PLANES // 2, half),
        nn.SiLU(),
        Doubling(_PLANES // 2, n_outputs // n_pixels, size),
        nn.Flatten(),
    )
    return Parts(SpatialEncoder(n_inputs // n_pixels, size, len(n_planes)), layers, decoder)
