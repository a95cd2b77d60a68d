"""The hierarchical VAE: data to rates and distortion, latents to data."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_hvae.nn.cells import Cells
from sk_hvae.nn.constant_columns import ConstantColumns
from sk_hvae.nn.latents.categorical import CategoricalLatent, CategoricalPrior
from sk_hvae.nn.latents.gaussian import GaussianLatent, Latent
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.missing import MissingCells
from sk_hvae.nn.networks.skip import SkipEncoder
from sk_hvae.nn.noise import RowNoise, without_last_bits

# A column whose mean is further from 0 than that many standard deviations has the same leading
# digits in all rows: 6 of the 12 bits that noise is made of would say nothing.
_FAR_OFF = 64


class HVAEOutput(NamedTuple):
    """What a pass over a batch gives; all in nats.

    Attributes
    ----------
    distortion : Tensor of shape (b,)
        -ln p(x | z_1) of the sampled z_1, summed over the columns that are not missing in the
        row, and that were not constant in training.
    rates : Tensor of shape (b, n_layers)
        KL divergence of each layer, z_1 first, given the sampled layer above.
    latents : tuple of Tensor of shape (b, n_units)
        The sampled latents, z_1 first, on the scale of their priors. If the states of a
        categorical top layer are enumerated, b * n_states rows: all states of the first row
        of the batch, then of the second.
    """

    distortion: Tensor
    rates: Tensor
    latents: tuple[Tensor, ...]


class Parts(NamedTuple):
    """What a family of networks supplies to a model.

    Attributes
    ----------
    encoder : nn.Module
        Maps what `HierarchicalVAE.inputs` gives to a tuple of tensors (b, ...).
    layers : list of Latent
        z_1 first.
    decoder : nn.Module
        Maps z_1 (b, n_units) to the likelihood's parameters (b, n_outputs).
    """

    encoder: nn.Module
    layers: list[Latent]
    decoder: nn.Module


class InferredLayers(NamedTuple):
    """The layers inferred from the top down.

    Attributes
    ----------
    posteriors : list of GaussianPosterior or CategoricalPosterior
        z_1 first.
    latents : list of Tensor
        What each layer passed on to the next, z_1 first.
    weights : Tensor of shape (b, n_states) or None
        Probabilities of the states of an enumerated top layer. Everything else then has
        b * n_states rows, except the posterior of the top layer.
    """

    posteriors: list
    latents: list[Tensor]
    weights: Tensor | None

    def expect(self, values):
        """Average over the enumerated states: (b * n_states, ...) to (b, ...)."""
        return values if self.weights is None else _expect(values, self.weights)

    def rates(self):
        """Compute KL divergences in nats, (b, n_layers), z_1 first."""
        *below, top = self.posteriors
        return torch.stack([*(self.expect(q.kl()) for q in below), top.kl()], 1)

    def align(self, x):
        """Repeat rows of data (b, ...) for the enumerated states."""
        return x if self.weights is None else x.repeat_interleave(self.weights.shape[1], 0)

    def align_cells(self, cells):
        """Do the same for ``Cells``."""
        return cells if self.weights is None else cells.map(self.align)


class HierarchicalVAE(nn.Module):
    """Hierarchical VAE with inference in the order of generation, top layer first.

    p(x, z_1..z_L) = p(z_L) prod_l p(z_l | z_{l+1}) p(x | z_1), and
    q(z_1..z_L | x) = q(z_L | x) prod_l q(z_l | z_{l+1}, x),
    so that KL(q || p) is the sum of one rate per layer (Xiao & Bamler, ICLR 2023).

    Parameters
    ----------
    encoder : nn.Module
        Maps what `inputs` gives to a tuple of tensors (b, ...), such as
        `sk_hvae.nn.networks.skip.Activations`.
    layers : iterable of Latent
        The layers of latents, z_1 first.
    decoder : nn.Module
        Maps z_1 to the likelihood's parameters, (b, n_outputs).
    likelihood : Likelihood
        Adapted to the training data.
    missing : MissingCells, default=None
        What to put for cells that are missing; None if there are none.

    Notes
    -----
    Columns that were constant in the training data are decoded and sampled as that constant,
    whatever the likelihood, and have no other effect: see ``sk_hvae.nn.constant_columns``.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy
    >>> x = torch.rand(100, 5).round()
    >>> likelihood = Bernoulli().adapt(DataSummary.of([x]))
    >>> model = build_hierarchy(Architecture(n_components=(4, 2)), likelihood)
    >>> output = model(x, torch.randn_like)
    >>> output.rates.shape
    torch.Size([100, 2])
    """

    encoder: nn.Module
    layers: Sequence[Latent]
    decoder: nn.Module
    likelihood: Likelihood
    missing: MissingCells | None
    constants: ConstantColumns | None
    noise_origin: Tensor
    noise_scale: Tensor

    def __init__(self, encoder, layers, decoder, likelihood, missing=None):
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]
        self.decoder = decoder
        self.likelihood = likelihood
        self.missing = missing
        summary = likelihood.summary
        self.constants = None if (summary.std > 0).all() else ConstantColumns(summary)
        # These follow from the summary of the data, which files hold.
        origin, scale = _origin_and_scale(summary)
        self.register_buffer("noise_origin", origin, persistent=False)
        self.register_buffer("noise_scale", scale, persistent=False)

    @property
    def has_linear_paths(self):
        """Whether the model can start at a linear code."""
        return isinstance(self.encoder, SkipEncoder)

    def inputs(self, x):
        """Map raw data (b, n_features) to what the encoder reads: the link of the data.

        If cells may be missing, they are filled in, and columns follow that mark them.
        """
        linked = self.link(x)
        return linked if self.missing is None else self.missing.mark(linked)

    def link(self, x):
        """Map raw data (b, n_features) to the scale of the likelihood's link, (b, n_linked)."""
        return self.likelihood.link(self._with_training_constants(x))

    def _with_training_constants(self, x):
        return x if self.constants is None else self.constants.restore(x)

    def activations(self, x, inputs=None):
        """Run the encoder on raw data (b, n_features): all that the layers learn of the data.

        ``inputs`` is what `inputs` makes of the raw data, if it is known already.
        """
        return self.encoder(self.inputs(x) if inputs is None else inputs)

    def infer(self, activations, noise=None, enumerate_states=True, top=None):
        """Infer the layers from the top down, each given the one above.

        Parameters
        ----------
        activations : tuple of Tensor
            Output of `activations`.
        noise : callable or None
            Maps a tensor to standard normal noise of its shape; None passes the posterior
            mean of each layer on to the next instead of a sample.
        enumerate_states : bool
            Whether to go on with every state of a categorical top layer in turn, instead of
            with a sample or the mean; without effect if the top layer is Gaussian.
        top : Tensor of shape (b, n_units), default=None
            What the top layer passes on to the next, in place of all these.

        Returns
        -------
        InferredLayers
        """
        posteriors, latents, z, weights = [], [], None, None
        for layer in reversed(self.layers):
            q = layer.posterior(activations, z)
            if z is None and top is not None:
                z = top
            elif enumerate_states and isinstance(layer, CategoricalLatent):
                weights = q.mean
                z = _every_state(weights)
                activations = map_activations(
                    partial(torch.repeat_interleave, repeats=layer.n_units, dim=0), activations
                )
                noise = noise and _same_for_every_state(noise, layer.n_units)
            else:
                z = q.mean if noise is None else q.sample(noise)
            posteriors.append(q)
            latents.append(z)
        return InferredLayers(posteriors[::-1], latents[::-1], weights)

    def encode(self, x, noise=None):
        """Infer the latents of raw data.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data, any dtype.
        noise : callable or None
            Maps a tensor to standard normal noise of its shape, to sample; None takes means.

        Returns
        -------
        tuple of Tensor of shape (b, n_units)
            Samples, or means without noise, z_1 first, divided by the layers' scales. The
            mean of a categorical layer is the vector of the probabilities of its states.
        """
        inferred = self.infer(self.activations(x), noise, enumerate_states=noise is None)
        return tuple(
            inferred.expect(z) / layer.scale
            for z, layer in zip(inferred.latents, self.layers, strict=True)
        )

    @torch.no_grad()
    def set_scales(self, x):
        """Set each Gaussian layer's scale to the root of its posterior's typical std on ``x``.

        This is half-way between the scale of the prior, on which every unit that carries
        something has a std of 1, and that of the noise, on which a unit's std is its
        signal-to-noise ratio. Linear classifiers and distances need the units that carry many
        bits to weigh more. On Fashion-MNIST, logistic regression scores as on the scale of the
        noise, in a quarter of the iterations. On nine small tables, of 10 to 60 bits, nearest
        neighbours do worse at both ends, and it makes no difference to any classifier to bring the
        widest units of all layers to one width. Rates and distortion do not depend on the scale.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data.
        """
        inferred = self.infer(self.activations(x), self.row_noise(x))
        for q, layer in zip(inferred.posteriors, self.layers, strict=True):
            if isinstance(layer, GaussianLatent):
                layer.scale.copy_(inferred.expect(q.std.square()).mean(0) ** 0.25)

    def row_noise(self, x):
        """Derive noise from raw rows (b, n_features): the same in any dtype and at any scale.

        Equal numbers share it; what float32 rounds shares it with few exceptions.
        """
        places = (x.to(self.noise_scale.dtype) - self.noise_origin) / self.noise_scale
        if self.constants is not None:
            places = self.constants.leave_out(places)
        return RowNoise.of(without_last_bits(places))

    def forward(self, x, noise, inputs=None, cells=None):
        """Sample the latents of raw data and measure distortion and rates.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data, any dtype.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        inputs : Tensor of shape (b, n_inputs), default=None
            What `inputs` makes of the raw data, if it is known already.
        cells : Cells, default=None
            What `cells` makes of it, likewise.

        Returns
        -------
        HVAEOutput
        """
        return self.forward_from(x, self.activations(x, inputs), noise, cells)

    def forward_from(self, x, activations, noise, cells=None, top=None):
        """Do what `forward` does, given what the encoder has made of the data.

        Several draws of the latents of the same rows then share one pass of the encoder.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data.
        activations : tuple of Tensor
            Output of `activations`.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        cells : Cells, default=None
            What `cells` makes of the raw data, if it is known already.
        top : Tensor of shape (b, n_units), default=None
            See `infer`.

        Returns
        -------
        HVAEOutput
        """
        inferred, parameters = self.infer_and_decode(activations, noise, top)
        if self.likelihood.training and self.likelihood.fits_each_batch:
            aligned, drawn = inferred.align(x), slice(None)
            if inferred.weights is not None:
                states = inferred.posteriors[-1].sample(noise).argmax(1)
                drawn = states + torch.arange(
                    0, len(aligned), self.layers[-1].n_units, device=x.device
                )
            self.fit_scale(aligned[drawn], parameters.detach()[drawn])
        cells = inferred.align_cells(self.cells(x) if cells is None else cells)
        distortion = inferred.expect(-self._log_probs(cells, parameters).sum(1))
        return HVAEOutput(distortion, inferred.rates(), tuple(inferred.latents))

    def infer_and_decode(self, activations, noise, top=None):
        """Sample the latents of rows that went through the encoder, and decode them.

        Parameters
        ----------
        activations : tuple of Tensor
            Output of `activations`.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        top : Tensor of shape (b, n_units), default=None
            See `infer`.

        Returns
        -------
        tuple of (InferredLayers, Tensor of shape (b, n_outputs))
            The sampled layers, and the likelihood's parameters given z_1: b * n_states rows if
            the top layer enumerates its states.
        """
        inferred = self.infer(activations, noise, self.layers[-1].enumerates, top)
        return inferred, self.decoder(inferred.latents[0])

    def distortion(self, x, parameters):
        """Sum -ln p(x | parameters) over the cells of each row that count, (b,).

        Missing cells do not count, nor do columns that were constant in training.
        """
        return -self.cell_log_probs(x, parameters).sum(1)

    def cell_log_probs(self, x, parameters):
        """Return ln p of each cell given parameters, (b, n_features), 0 where none counts."""
        return self._log_probs(self.cells(x), parameters)

    def cells(self, x):
        """Prepare raw data (b, n_features) for their log-probabilities; returns ``Cells``."""
        x = self._with_training_constants(x)
        complete, ignored = x, None
        if self.missing is not None:
            complete, ignored = self.missing.complete(x), x.isnan()
        if self.constants is not None:
            constant = ~self.constants.varies
            ignored = constant.expand(x.shape) if ignored is None else ignored | constant
        return Cells(self.likelihood.prepared(complete), ignored, self.likelihood.offset(x))

    def _log_probs(self, cells, parameters):
        if cells.offset is not None:
            parameters = parameters + cells.offset
        found = self.likelihood.log_prob_of(cells.prepared, parameters)
        return found if cells.ignored is None else found.masked_fill(cells.ignored, 0.0)

    def fit_scale(self, x, parameters):
        """Let the likelihood fit its scale to raw data (b, n_features) and decoder output."""
        parameters = self._exposed(x, parameters)
        if self.constants is None:
            self.likelihood.fit_scale(x, parameters)
        elif (self.likelihood.summary.std > 0).any():
            self.likelihood.fit_scale(self.constants.hide(x), parameters)

    def _exposed(self, x, parameters):
        """Bring decoder output (b, n_outputs) to the exposure of raw data."""
        offset = self.likelihood.offset(x)
        return parameters if offset is None else parameters + offset

    def at_exposure(self, decoded, x):
        """Bring decoded means (b, n_features) from the typical exposure to that of raw data."""
        return self._with_constants(self.likelihood.at_exposure(decoded, x))

    def mean(self, parameters):
        """Map decoder output (b, n_outputs) to the mean of the data, (b, n_features)."""
        return self._with_constants(self.likelihood.mean(parameters))

    def _with_constants(self, decoded):
        return decoded if self.constants is None else self.constants.put_into(decoded)

    def remember(self, summary):
        """Go back to an earlier summary of the columns, before earlier weights are restored."""
        self.likelihood.remember(summary)
        self.follow(summary)

    def follow(self, summary):
        """Update whatever besides the likelihood depends on the summary of the columns."""
        origin, scale = _origin_and_scale(summary)
        self.noise_origin.copy_(origin)
        self.noise_scale.copy_(scale)
        if self.constants is not None:
            self.constants.update(summary)

    def log_weight(self, x, activations, noise):
        """Sample the latents and weigh them by importance.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data.
        activations : tuple of Tensor
            Output of `activations`.
        noise : callable
            Maps a tensor to standard normal noise of its shape.

        Returns
        -------
        Tensor of shape (b,)
            ln p(x, z) - ln q(z | x), nats.
        """
        inferred = self.infer(activations, noise, enumerate_states=False)
        pairs = zip(inferred.posteriors, inferred.latents, strict=True)
        log_ratio = sum(q.log_ratio(z) for q, z in pairs)
        return -self.distortion(x, self.decoder(inferred.latents[0])) - log_ratio

    def decode(self, z, layer=1, noise=None):
        """Map latents of a layer to the mean of the data.

        Parameters
        ----------
        z : Tensor of shape (b, n_units of the layer)
            Latents of ``layer`` as `encode` gives them; of a categorical layer, probabilities.
        layer : int
            Number of the layer, 1 for z_1.
        noise : callable or None
            Maps a tensor to standard normal noise of its shape, to sample the layers below
            from their priors; None takes their prior means.

        Returns
        -------
        Tensor of shape (b, n_features)
            On the scale of the data, in the likelihood's precision.
        """
        start = self.layers[layer - 1]
        if isinstance(start, CategoricalLatent) and noise is None:
            states = torch.eye(start.n_units, device=z.device)
            of_states = self.decoder(self._descend(states, layer))
            return self._with_constants(self.likelihood.mixed_mean(z, of_states))
        return self.mean(self.decode_parameters(z, layer, noise))

    def decode_parameters(self, z, layer=1, noise=None):
        """Map latents of a layer, as in `decode`, to the likelihood's parameters (b, n_outputs).

        The states of a categorical layer are sampled, and need noise.
        """
        start = self.layers[layer - 1]
        if isinstance(start, CategoricalLatent):
            z = CategoricalPrior(z.log()).sample(noise)
        else:
            z = z * start.scale
        return self.decoder(self._descend(z, layer, noise))

    def sample(self, n_samples, noise, top=None, mean=False):
        """Sample data: (n_samples, n_features), on the scale of the data.

        The top layer is sampled from its prior, or is ``top`` (n_samples, n_units). With
        ``mean`` the result is the mean of the data given the sampled latents.
        """
        parameters = self.decoder(self.sample_z_1(n_samples, noise, top))
        return self.mean(parameters) if mean else self.draw(parameters, noise)

    def sample_z_1(self, n_samples, noise, top=None):
        """Sample z_1 from the priors, below ``top`` if that is given, as `sample` does."""
        z = self.layers[-1].prior(None, n_samples).sample(noise) if top is None else top
        return self._descend(z, len(self.layers), noise)

    def draw(self, parameters, noise, *correlated):
        """Draw data given decoder output (b, n_outputs): (b, n_features), on their own scale.

        Correlated noise for the likelihood's ``copula_columns`` may follow.
        """
        return self._with_constants(self.likelihood.sample(parameters, noise, *correlated))

    def _descend(self, z, layer, noise=None):
        """Go down from a layer to z_1 by samples of the priors, or by their means."""
        for below in reversed(self.layers[: layer - 1]):
            prior = below.prior(z, z.shape[0])
            z = prior.mean if noise is None else prior.sample(noise)
        return z


def map_activations(function, activations):
    """Apply a function to all tensors that an encoder puts out; their tuple keeps its type."""
    return tuple.__new__(type(activations), map(function, activations))


def _origin_and_scale(summary):
    """Return what to subtract from columns, and to divide by, before their bits make noise.

    The origin is 0, because float32 then has the same leading digits as float64. Only columns
    that are so far from 0 that these digits are the same in all rows have their mean subtracted.
    """
    mean, std = summary.mean, summary.std
    scale = torch.where(std > 0, std, mean.abs())
    is_far = (std > 0) & (mean.abs() > _FAR_OFF * std)
    return mean.masked_fill(~is_far, 0.0), scale.masked_fill(scale == 0, 1.0)


def _every_state(probabilities):
    """Return all states, one-hot, for every row: (b * n_states, n_states)."""
    n_rows, n_states = probabilities.shape
    return torch.eye(n_states, device=probabilities.device).repeat(n_rows, 1)


def _same_for_every_state(noise, n_states):
    return lambda like: noise(like[::n_states]).repeat_interleave(n_states, 0)


def _expect(values, weights):
    by_state = values.unflatten(0, weights.shape)
    return (by_state * weights.view(*weights.shape, *(1,) * (values.dim() - 1))).sum(1)
