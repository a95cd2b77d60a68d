"""The two-layer convolutional models of Xiao & Bamler (ICLR 2023), parameter for parameter.

z_2 is a vector, z_1 a stack of 4x4 maps. There are no linear paths, so training starts from
random weights, with ReLU, as published. What differs: posteriors are relative to their priors,
and standard deviations have a floor.
"""

from typing import NamedTuple

import torch
from torch import nn

from sk_hvae.nn.hierarchy import Parts
from sk_hvae.nn.latents.categorical import top_latent
from sk_hvae.nn.latents.gaussian import gaussian_latent, start_wide
from sk_hvae.nn.networks.convolution import Doubling, ToMaps

# Height and width of the maps of z_1, as published.
_SIDE = 4


class Preset(NamedTuple):
    """Sizes of a published model.

    Attributes
    ----------
    image_shape : tuple of int
        (channels, height, width) of the images.
    channels : int
        Planes of every convolution, and of z_1.
    n_top : int
        Units of z_2.
    stride, padding : int
        Of the convolution between the 4x4 maps and those of a quarter of the image.
    """

    image_shape: tuple[int, int, int]
    channels: int
    n_top: int
    stride: int
    padding: int

    @property
    def n_components(self):
        """Units of z_1 and z_2."""
        return self.channels * _SIDE**2, self.n_top

    def middle(self, before, after):
        """Build the convolution from a quarter of the image to 4x4."""
        return nn.Conv2d(before, after, 4, self.stride, self.padding)

    def middle_up(self):
        """Build the transposed convolution from 4x4 to a quarter of the image."""
        return nn.ConvTranspose2d(self.channels, self.channels, 4, self.stride, self.padding)


PRESETS = {
    "hit-mnist": Preset((1, 28, 28), channels=16, n_top=20, stride=1, padding=0),
    "hit-cifar": Preset((3, 32, 32), channels=32, n_top=32, stride=2, padding=1),
}


class HitActivations(NamedTuple):
    """What the encoder makes of a batch, two tensors (b, planes, height, width).

    Attributes
    ----------
    for_z1 : Tensor
        Maps of a quarter of the image for top-down inference, 4x4 for the ladder.
    for_z2 : Tensor
        4x4 maps.
    """

    for_z1: torch.Tensor
    for_z2: torch.Tensor


class HitEncoder(nn.Module):
    """Convolutions on the data: own ones for each layer, side by side, or shared ones.

    Parameters
    ----------
    preset : Preset
        Sizes.
    n_planes : int
        Number of planes that come in.
    ladder : bool
        Whether z_1 reads the data on the way to z_2.
    """

    def __init__(self, preset, n_planes, ladder):
        super().__init__()
        c = preset.channels
        self.n_stacks = 1 if ladder else 2
        self.to_quarter = nn.Sequential(
            ToMaps((n_planes, *preset.image_shape[1:])),
            nn.Conv2d(n_planes, self.n_stacks * c, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.n_stacks * c, self.n_stacks * c, 4, 2, 1, groups=self.n_stacks),
            nn.ReLU(inplace=True),
        )
        self.to_z2 = nn.Sequential(preset.middle(c, c), nn.ReLU(inplace=True))
        self.to_z1 = (
            nn.Sequential(preset.middle(c, c), nn.ReLU(inplace=True)) if ladder else nn.Identity()
        )

    def forward(self, x):
        """Map rows (b, n_inputs) to `HitActivations`."""
        stacks = self.to_quarter(x).chunk(self.n_stacks, 1)
        return HitActivations(self.to_z1(stacks[0]), self.to_z2(stacks[-1]))


class HitPosterior2(nn.Module):
    """q(z_2 | x): linear on the 4x4 maps.

    Parameters
    ----------
    preset : Preset
        Sizes.
    n_outputs : int
        Number of raw parameters.
    """

    def __init__(self, preset, n_outputs):
        super().__init__()
        self.heads = nn.Linear(preset.n_components[0], n_outputs)

    def forward(self, activations, z_above=None):  # noqa: ARG002 nothing is above
        """Map `HitActivations` to raw parameters (b, n_outputs)."""
        return self.heads(activations.for_z2.flatten(1))


class HitPosterior1(nn.Module):
    """q(z_1 | z_2, x): maps of x and of z_2 side by side.

    Parameters
    ----------
    preset : Preset
        Sizes.
    """

    def __init__(self, preset):
        super().__init__()
        c = preset.channels
        self.from_z2 = nn.Sequential(
            nn.Linear(preset.n_top, preset.n_components[0]),
            nn.ReLU(inplace=True),
            ToMaps((c, _SIDE, _SIDE)),
            preset.middle_up(),
            nn.ReLU(inplace=True),
        )
        self.join = nn.Sequential(preset.middle(2 * c, c), nn.ReLU(inplace=True))
        self.heads = nn.Conv2d(c, 2 * c, 3, padding=1)

    def forward(self, activations, z_above):
        """Map `HitActivations` and z_2 to raw parameters (b, 2 n_units)."""
        maps = torch.cat((self.from_z2(z_above), activations.for_z1), 1)
        return self.heads(self.join(maps)).flatten(1)


class HitBottomUp1(nn.Module):
    """The ladder's Gaussian for z_1: 3x3 convolutions on the 4x4 maps.

    Parameters
    ----------
    preset : Preset
        Sizes.
    """

    def __init__(self, preset):
        super().__init__()
        self.heads = start_wide(nn.Conv2d(preset.channels, 2 * preset.channels, 3, padding=1))

    def forward(self, activations):
        """Map `HitActivations` to raw parameters (b, 2 n_units)."""
        return self.heads(activations.for_z1).flatten(1)


def hit_parts(preset, n_inputs, n_outputs, inference, top_layer):
    """Build the parts of a published model.

    Parameters
    ----------
    preset : Preset
        Sizes.
    n_inputs, n_outputs : int
        Width of what the encoder reads and the decoder puts out.
    inference : {"top_down", "ladder"}
        Form of the posteriors; "ladder" is the paper's LVAE.
    top_layer : {"gaussian", "categorical", "gumbel"}
        Kind of z_2.

    Returns
    -------
    Parts
    """
    c, (n_units, n_top) = preset.channels, preset.n_components
    ladder = inference == "ladder"
    n_pixels = preset.image_shape[1] * preset.image_shape[2]
    prior = nn.Sequential(
        nn.Linear(n_top, n_units // 2), nn.ReLU(inplace=True), nn.Linear(n_units // 2, 2 * n_units)
    )
    posterior = HitBottomUp1(preset) if ladder else HitPosterior1(preset)
    z_2 = top_latent(top_layer, inference, n_top, lambda n: HitPosterior2(preset, n))
    if ladder and top_layer == "gaussian":
        start_wide(z_2.bottom_up_net.heads)
    decoder = nn.Sequential(
        ToMaps((c, _SIDE, _SIDE)),
        preset.middle_up(),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(c, c, 4, 2, 1),
        nn.ReLU(inplace=True),
        Doubling(c, n_outputs // n_pixels, preset.image_shape[1:]),
        nn.Flatten(),
    )
    return Parts(
        HitEncoder(preset, n_inputs // n_pixels, ladder),
        [
            gaussian_latent(inference, n_units, prior, posterior),
            z_2,
        ],
        decoder,
    )
