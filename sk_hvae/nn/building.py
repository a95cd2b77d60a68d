"""Architectures by name, and the models that they stand for."""

import math
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch

from sk_hvae.nn.hierarchy import HierarchicalVAE, Parts
from sk_hvae.nn.latents.categorical import top_latent
from sk_hvae.nn.latents.gaussian import gaussian_latent
from sk_hvae.nn.missing import MissingCells
from sk_hvae.nn.networks.convolution import conv_networks
from sk_hvae.nn.networks.hit import PRESETS, hit_parts
from sk_hvae.nn.networks.skip import (
    Networks,
    SkipDecoder,
    SkipEncoder,
    SkipPosterior,
    SkipPrior,
    mlp_networks,
    output_width,
    own_networks,
)
from sk_hvae.nn.networks.spatial import layer_shapes, spatial_parts

# The names of what can be built stand here only.
InferenceKind: TypeAlias = Literal["top_down", "ladder"]
TopLayer: TypeAlias = Literal["gaussian", "categorical", "gumbel"]

INFERENCE_KINDS: tuple[str, ...] = get_args(InferenceKind)
TOP_LAYERS: tuple[str, ...] = get_args(TopLayer)
# A clusterer's top layer is a mixture; other estimators have no use for its learned prior.
TOP_LAYERS_OF_ALL = (*TOP_LAYERS, "mixture")
FLAT_NETWORKS = ("mlp", "conv")
NETWORKS = (*FLAT_NETWORKS, "fully-conv", *PRESETS)


class Architecture(NamedTuple):
    """Everything that determines the shape of a model, except its likelihood.

    Attributes
    ----------
    n_components : tuple of int
        Number of units of each layer, z_1 first; of planes of each layer for "fully-conv". The
        presets have numbers of their own.
    hidden_layer_sizes : tuple of int
        Widths of the perceptrons of "mlp" and "conv".
    network : str or Networks
        "mlp", "conv", "fully-conv", "hit-mnist", "hit-cifar", or networks of your own.
    image_shape : tuple of int or None
        (channels, height, width) for the convolutional ones.
    inference : {"top_down", "ladder"}
        Form of the posteriors.
    top_layer : {"gaussian", "categorical", "gumbel", "mixture"}
        Kind of the top layer. "categorical" takes exact expectations over its states in
        training, "gumbel" samples them, and so does "mixture", whose prior is learned.
    missing : bool
        Whether cells may be missing.
    """

    n_components: tuple[int, ...]
    hidden_layer_sizes: tuple[int, ...] = (256, 256)
    network: str | Networks = "mlp"
    image_shape: tuple[int, ...] | None = None
    inference: str = "top_down"
    top_layer: str = "gaussian"
    missing: bool = False

    @property
    def has_categorical_top(self):
        """Whether the top layer has states instead of Gaussian units."""
        return self.top_layer != "gaussian"

    @property
    def layer_sizes(self):
        """Number of units of each layer, z_1 first."""
        if self.network in PRESETS:
            return PRESETS[self.network].n_components
        if self.network == "fully-conv" and self.image_shape:
            shapes = layer_shapes(self.image_shape[1:], self.n_components)
            return tuple(math.prod(shape) for shape in shapes)
        return self.n_components


def build_hierarchy(architecture, likelihood):
    """Build a hierarchical VAE.

    Parameters
    ----------
    architecture : Architecture
        What to build.
    likelihood : Likelihood
        Adapted to the training data.

    Returns
    -------
    HierarchicalVAE

    Raises
    ------
    ValueError
        If network, top layer and likelihood do not fit together.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy
    >>> likelihood = Bernoulli().adapt(DataSummary.of([torch.rand(10, 784)]))
    >>> model = build_hierarchy(Architecture((), network="hit-mnist"), likelihood)
    >>> sum(parameter.numel() for parameter in model.parameters())
    122713
    """
    missing = None
    n_inputs, n_outputs = likelihood.n_linked, likelihood.n_outputs
    if architecture.missing:
        missing = MissingCells(likelihood.column_of_link, likelihood.summary.minimum)
        n_inputs += missing.n_marks
    network, inference = architecture.network, architecture.inference
    if network in NETWORKS and network != "mlp" and not _keeps_pixels(likelihood):
        raise ValueError(
            f"network={network!r} needs a likelihood with one number for each pixel, in their "
            f"order, which {likelihood} has not; use network='mlp'."
        )
    if network == "fully-conv" and architecture.has_categorical_top:
        raise ValueError(
            f"top_layer={architecture.top_layer!r} needs a flat top layer, but "
            "network='fully-conv' has maps in every layer; use network='conv'."
        )
    if network in PRESETS:
        top_layer = architecture.top_layer
        parts = hit_parts(PRESETS[network], n_inputs, n_outputs, inference, top_layer)
    elif network == "fully-conv":
        size = architecture.image_shape[1:]
        parts = spatial_parts(size, architecture.n_components, n_inputs, n_outputs, inference)
    else:
        parts = _skip_parts(architecture, n_inputs, likelihood.n_linked, n_outputs)
    return HierarchicalVAE(parts.encoder, parts.layers, parts.decoder, likelihood, missing)


def _keeps_pixels(likelihood):
    column_of_link = likelihood.column_of_link
    return torch.equal(column_of_link, torch.arange(len(likelihood.summary.mean), device="cpu"))


def _networks(architecture):
    """Return the `Networks` that an architecture with linear paths is made of."""
    if architecture.network == "mlp":
        return mlp_networks(architecture.hidden_layer_sizes)
    if architecture.network == "conv":
        return conv_networks(architecture.image_shape[1:], architecture.hidden_layer_sizes)
    return own_networks(architecture.network)


def _skip_parts(architecture, n_inputs, n_linked, n_outputs):
    """Put linear paths beside encoder and decoder, and perceptrons between the layers."""
    networks, sizes = _networks(architecture), architecture.n_components
    n_linear = max(sizes)
    encoder = SkipEncoder(n_linked, n_linear, networks.encoder(n_inputs))
    if architecture.network == "mlp":
        encoder.ignore_marks()
    n_hidden = _encoder_width(architecture, encoder.net, n_inputs)
    head_sizes = architecture.hidden_layer_sizes[-1:]
    layers = []
    for n_units, n_above in pairwise(sizes):
        top_down = architecture.inference == "top_down"
        posterior = SkipPosterior(
            n_linear,
            n_hidden,
            n_above if top_down else 0,
            head_sizes if top_down else (),
            2 * n_units,
        )
        prior = SkipPrior(n_above, head_sizes, 2 * n_units)
        layers.append(gaussian_latent(architecture.inference, n_units, prior, posterior))
    layers.append(
        top_latent(
            architecture.top_layer,
            architecture.inference,
            sizes[-1],
            lambda n: SkipPosterior(n_linear, n_hidden, 0, (), n),
        )
    )
    net = networks.decoder(sizes[0], n_outputs)
    if not isinstance(architecture.network, str):
        _check_decoder(net, sizes[0], n_outputs)
    return Parts(encoder, layers, SkipDecoder(sizes[0], n_linked, net))


def _encoder_width(architecture, net, n_inputs):
    """Return how many columns the encoder's network makes; only a user's own has to be run."""
    if not isinstance(architecture.network, str):
        return output_width(net, n_inputs, "encoder")
    if architecture.hidden_layer_sizes:
        return architecture.hidden_layer_sizes[-1]
    return net.n_flat if architecture.network == "conv" else n_inputs


def _check_decoder(net, n_units, n_outputs):
    width = output_width(net, n_units, "decoder")
    if width != n_outputs:
        raise ValueError(
            f"the decoder of network= must map (b, {n_units}) to (b, {n_outputs}), the number "
            f"of parameters of the likelihood; it made {width} columns."
        )
