"""The hierarchical VAE: data to rates and distortion, latents to data."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_hvae.nn.latents import LATENTS, GaussianLatent
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.networks import MLPDecoder, MLPEncoder
from sk_hvae.nn.noise import RowNoise


class HVAEOutput(NamedTuple):
    """What a pass over a batch gives; all in nats.

    Attributes
    ----------
    distortion : Tensor of shape (b,)
        -ln p(x | z_1) of the sampled z_1, summed over the features.
    rates : Tensor of shape (b, n_layers)
        KL divergence of each layer, z_1 first, given the sampled layer above.
    latents : tuple of Tensor of shape (b, n_units)
        The sampled latents, z_1 first, on the scale of their priors.
    """

    distortion: Tensor
    rates: Tensor
    latents: tuple[Tensor, ...]


class HierarchicalVAE(nn.Module):
    """Hierarchical VAE with inference in the order of generation, top layer first.

    p(x, z_1..z_L) = p(z_L) prod_l p(z_l | z_{l+1}) p(x | z_1), and
    q(z_1..z_L | x) = q(z_L | x) prod_l q(z_l | z_{l+1}, x),
    so that KL(q || p) is the sum of one rate per layer (Xiao & Bamler, ICLR 2023).

    Parameters
    ----------
    encoder : nn.Module
        Maps data on the likelihood's link scale (b, n_features) to
        `sk_hvae.nn.networks.Features`.
    layers : iterable of GaussianLatent
        The layers of latents, z_1 first.
    decoder : nn.Module
        Maps z_1 to the likelihood's parameters.
    likelihood : Likelihood
        Adapted to the training data.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import Bernoulli, DataSummary, mlp_hierarchy
    >>> x = torch.rand(100, 5).round()
    >>> likelihood = Bernoulli().adapt(DataSummary.of([x]))
    >>> model = mlp_hierarchy(5, (4, 2), (16,), likelihood)
    >>> output = model(x, torch.randn_like)
    >>> output.rates.shape
    torch.Size([100, 2])
    """

    encoder: nn.Module
    layers: Sequence[GaussianLatent]
    decoder: nn.Module
    likelihood: Likelihood

    def __init__(self, encoder, layers, decoder, likelihood):
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]
        self.decoder = decoder
        self.likelihood = likelihood

    def features(self, x):
        """Encode raw data (b, n_features) as far as it does not depend on any latent."""
        return self.encoder(self.likelihood.link(x))

    def posteriors(self, features, noise=None):
        """Infer the layers from the top down, each given the one above.

        Parameters
        ----------
        features : Features
            Output of `features`.
        noise : callable or None
            Maps a tensor to standard normal noise of its shape; None passes the posterior
            mean of each layer on to the next instead of a sample.

        Returns
        -------
        list of (GaussianPosterior, Tensor of shape (b, n_units))
            Posterior, and what was passed on; z_1 first.
        """
        passed, z = [], None
        for layer in reversed(self.layers):
            q = layer.posterior(features, z)
            z = q.mean if noise is None else q.sample(noise(q.offset))
            passed.append((q, z))
        return passed[::-1]

    def encode(self, x, noise=None):
        """Infer the latents of raw data.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data, any dtype.
        noise : callable or None
            As in `posteriors`.

        Returns
        -------
        tuple of Tensor of shape (b, n_units)
            Samples, or means without noise, z_1 first, in the layers' units.
        """
        passed = self.posteriors(self.features(x), noise)
        return tuple(z / layer.unit for (_, z), layer in zip(passed, self.layers, strict=True))

    @torch.no_grad()
    def set_units(self, x):
        """Set each layer's unit to the square root of its posterior's typical std on ``x``.

        Half-way between the scale of the prior, where every column that carries something has
        a std of 1, and that of the noise, where a column's std is its signal-to-noise ratio.
        Linear classifiers and distances need the columns that carry many bits to weigh more;
        on Fashion-MNIST logistic regression scores like on the scale of the noise, in a
        quarter of the iterations. Rates and distortion do not depend on it.
        """
        noise = RowNoise(self.likelihood.link(x))
        passed = self.posteriors(self.features(x), noise)
        for (q, _), layer in zip(passed, self.layers, strict=True):
            layer.unit.copy_(q.std.square().mean(0) ** 0.25)

    def forward(self, x, noise):
        """Sample the latents of raw data and measure distortion and rates.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data, any dtype.
        noise : callable
            Maps a tensor to standard normal noise of its shape.

        Returns
        -------
        HVAEOutput
        """
        return self.measure(x, self.features(x), noise)

    def measure(self, x, features, noise):
        """Do the part of `forward` that depends on the noise."""
        passed = self.posteriors(features, noise)
        rates = torch.stack([q.kl() for q, _ in passed], 1)
        latents = tuple(z for _, z in passed)
        distortion = -self.likelihood.log_prob(x, self.decoder(latents[0]))
        return HVAEOutput(distortion, rates, latents)

    def decode(self, z, layer=1):
        """Map latents of a layer to the mean of the data.

        Parameters
        ----------
        z : Tensor of shape (b, n_units of the layer)
            Latents of ``layer``, in its units.
        layer : int
            Number of the layer, 1 for z_1; layers below it take their prior mean.

        Returns
        -------
        Tensor of shape (b, n_features)
            On the scale of the data.
        """
        z = z * self.layers[layer - 1].unit
        for below in reversed(self.layers[: layer - 1]):
            z = below.prior(z, len(z)).mean
        return self.likelihood.mean(self.decoder(z))

    def sample(self, n_samples, noise):
        """Sample data from the prior: (n_samples, n_features), on the scale of the data."""
        z = None
        for layer in reversed(self.layers):
            prior = layer.prior(z, n_samples)
            z = prior.sample(noise(prior.mean))
        return self.likelihood.sample(self.decoder(z), noise)


def mlp_hierarchy(n_features, n_components, hidden_layer_sizes, likelihood, inference="top_down"):
    """Build a hierarchical VAE of multi-layer perceptrons.

    Parameters
    ----------
    n_features : int
        Width of the data.
    n_components : sequence of int
        Number of units of each layer, z_1 first.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder mirrors them.
    likelihood : Likelihood
        Adapted to the training data.
    inference : {"top_down", "ladder"}
        Form of the posteriors.

    Returns
    -------
    HierarchicalVAE
    """
    encoder = MLPEncoder(n_features, max(n_components), hidden_layer_sizes)
    head_sizes = hidden_layer_sizes[-1:]
    layers = (
        LATENTS[inference](n_units, n_above, head_sizes, encoder.n_linear, encoder.n_hidden)
        for n_units, n_above in zip(n_components, (*n_components[1:], 0), strict=True)
    )
    decoder = MLPDecoder(n_components[0], hidden_layer_sizes[::-1], n_features)
    return HierarchicalVAE(encoder, layers, decoder, likelihood)
