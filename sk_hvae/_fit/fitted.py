"""The value that a fit comes to: all that is known of a fitted model."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._data.devices import module_device, place, usable_device
from sk_hvae._data.rows import ResidentRows, as_tensor, chunk_rows
from sk_hvae._data.threads import FixedThreads
from sk_hvae._fit.aggregate import AggregatePosterior
from sk_hvae._fit.conditional import Conditioner
from sk_hvae._fit.copula import correlated
from sk_hvae._fit.history import Epochs
from sk_hvae._fit.imputation import impute
from sk_hvae._fit.measurement import map_rows, measure
from sk_hvae._fit.quantisation import choose_bins, quantise, restore_z_1
from sk_hvae._fit.typicality import typicality
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.hierarchy import HierarchicalVAE
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.noise import GeneratorNoise

# Rows that are drawn at once: a hidden layer of 256 units takes 32 MB, however narrow rows are.
_DRAWN_AT_ONCE = 2**15


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained(ABC):
    """How a model was built and trained, whatever its kind.

    Attributes
    ----------
    architecture : Architecture
        What it was built from.
    device : str
        Device that it was trained on.
    data_dtype : str
        Name of the dtype of what comes out on the scale of the data.
    epochs : Epochs
        What the epochs recorded.
    """

    module_field: ClassVar[str] = "module"
    """Name of the field with the torch module."""

    architecture: Architecture
    device: str
    data_dtype: str
    epochs: Epochs

    @property
    def n_components(self):
        """Units of each layer, z_1 first."""
        return self.architecture.layer_sizes

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.n_components)

    @property
    @abstractmethod
    def likelihood(self) -> Likelihood:
        """The fitted likelihood."""

    @abstractmethod
    def after_divergence(self, betas):
        """Return the same, told that training diverged, which had been at these betas."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted(Trained):
    """A model at one vector of rates: what it computes from rows, latents and noise.

    Everything goes in and comes out as rows and NumPy arrays. The module is moved to its device
    when it is used, or to the CPU where there is no such device.

    Attributes
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    rates, betas : ndarray of shape (n_layers,)
        Measured rates, bits per sample, and final multipliers, z_1 first.
    distortion : float
        Measured, bits per sample.
    lower_bound : float
        Lower bound on the mean ln p(x), nats.
    converged : bool
        Whether the rates are on target, and training was not cut short.
    copula : ndarray of shape (n, n) or None
        Correlations of the noise by which rows are drawn, see `noise_correlations`.
    refinement : ndarray of shape (1 + n_inputs, n_predicted) or None
        What `impute` corrects cells by, see `fit_refinement`. None for models without missing
        cells, at rates of a `Plane`, which knows no rows any more, and after training went on,
        perhaps on other rows.
    """

    module: HierarchicalVAE
    rates: NDArray[np.float64]
    betas: NDArray[np.float64]
    distortion: float
    lower_bound: float
    converged: bool
    copula: NDArray[np.float64] | None = None
    refinement: NDArray[np.float64] | None = None

    @property
    def likelihood(self) -> Likelihood:
        return self.module.likelihood

    @property
    def n_features(self):
        """Number of columns of the data."""
        return len(self.likelihood.summary.mean)

    def after_divergence(self, betas):
        return replace(self, betas=betas.cpu().double().numpy(), converged=False)

    def in_place(self):
        """Return the module on its device, or on the CPU where that is not available."""
        return place(self.module, usable_device(self.device))

    def noise(self, seed):
        """Make noise by a seed, on the device where the module is used."""
        device = module_device(self.in_place())
        return GeneratorNoise(torch.Generator(device).manual_seed(seed))

    def layer_slices(self, layers):
        """Return the columns of some layers side by side, by the number of the layer."""
        ends = np.cumsum([self.n_components[number - 1] for number in layers]).tolist()
        starts = [0, *ends[:-1]]
        return {n: slice(*span) for n, *span in zip(layers, starts, ends, strict=True)}

    def encode(self, rows, layers, noise=None, out=None):
        """Infer layers of rows, side by side: posterior means, or samples if there is noise.

        Parameters
        ----------
        rows : Rows
            Checked.
        layers : sequence of int
            Numbers of layers.
        noise : callable, default=None
            See `noise`.
        out : ndarray of shape (n, n_columns), default=None
            Where to write the result.

        Returns
        -------
        ndarray of shape (n, n_columns), float32
        """
        module = self.in_place()
        width = sum(self.n_components[number - 1] for number in layers)

        def columns(x):
            latents = module.encode(x, noise)
            return torch.cat([latents[number - 1] for number in layers], 1)

        return map_rows(module, rows, columns, width, out)

    def posterior_moments(self, rows):
        """Infer means and standard deviations of all layers: two arrays (n, n_units), float32."""
        module = self.in_place()

        def moments(x):
            posteriors = module.infer(module.activations(x)).posteriors
            return torch.cat([q.mean for q in posteriors] + [q.std for q in posteriors], 1)

        width = sum(self.n_components)
        both = map_rows(module, rows, moments, 2 * width)
        return both[:, :width], both[:, width:]

    def decode(self, z, layer):
        """Decode latents (n, n_units), float32, of one layer to means of the data."""
        module = self.in_place()
        rows = ResidentRows(as_tensor(np.ascontiguousarray(z)))
        return self._map_to_data(module, rows, lambda z: module.decode(z, layer))

    def reconstruct(self, rows, layer, noise=None):
        """Decode posterior means of a layer, with the layers below drawn if there is noise.

        Counts are those expected at the exposure of each row, see `Likelihood.at_exposure`.
        """
        module = self.in_place()

        def decode(x):
            return module.at_exposure(module.decode(module.encode(x)[layer - 1], layer, noise), x)

        return self._map_to_data(module, rows, decode)

    def impute(self, rows):
        """Fill in the missing cells of rows, and leave all others as they are.

        Returns
        -------
        ndarray of shape (n, n_features)
            In the dtype of the data, or in float64 if the rows need it.
        """
        return impute(self.in_place(), rows, self.data_dtype, self.refinement)

    def nearest(self, numbers):
        """Return the nearest values that columns can have, (n, n_features), in the same dtype."""
        module, rows = self.in_place(), ResidentRows(as_tensor(np.ascontiguousarray(numbers)))
        out = np.empty_like(numbers)
        return map_rows(module, rows, module.likelihood.nearest, self.n_features, out)

    def prior(self, top=None):
        """Return what draws z_1, as in `sample`, below units or states (n_units,) if given."""
        module = self.in_place()
        if top is None:
            return module.sample_z_1
        top = top.to(module_device(module))
        return lambda n_samples, noise: module.sample_z_1(
            n_samples, noise, top.expand(n_samples, -1)
        )

    def aggregate_posterior(self, rows, noise, seed):
        """Return what draws z_1, as in `sample`, as it is distributed over rows."""
        with FixedThreads():
            return AggregatePosterior.of(self.in_place(), rows, noise, seed)

    def sample(self, n_samples, noise, draw_z_1=None, mean=False):
        """Draw rows.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        noise : callable
            See `noise`.
        draw_z_1 : callable, default=None
            Maps ``n_samples`` and noise to z_1, see `prior` and `aggregate_posterior`; None for the
            prior.
        mean : bool, default=False
            Whether to return the mean of the data given the latents.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the dtype of the data.
        """
        module, draw_z_1 = self.in_place(), draw_z_1 or self.prior()
        n_at_once = min(_DRAWN_AT_ONCE, chunk_rows((1, module.likelihood.n_outputs)))
        drawn = np.empty((n_samples, self.n_features), self.data_dtype)
        with FixedThreads(), torch.inference_mode():
            for part in np.split(drawn, range(n_at_once, n_samples, n_at_once)):
                parameters = module.decoder(draw_z_1(len(part), noise))
                part[:] = self._draw(module, parameters, noise, mean).cpu().numpy()
        return drawn

    def _draw(self, module, parameters, noise, mean):
        """Draw rows given the likelihood's parameters (n, n_outputs), or return their means."""
        if mean:
            return module.mean(parameters)
        if self.copula is None:
            return module.draw(parameters, noise)
        own = noise(parameters.new_zeros(len(parameters), len(self.copula)))
        return module.draw(parameters, noise, correlated(own, self.copula))

    def sample_given(self, n_samples, noise, conditions, draw_z_1=None, mean=False):
        """Draw rows that meet conditions.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        noise : callable
            See `noise`.
        conditions : sequence of Condition
            On different columns.
        draw_z_1 : callable, default=None
            As in `sample`.
        mean : bool, default=False
            Whether columns without a condition hold the mean of the data given the latents.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the dtype of the data, in which all cells meet their conditions.

        Raises
        ------
        ColumnError
            If no value that a column can have meets its condition.
        ValueError
            If the model hardly ever meets all of the conditions.
        """
        module, draw_z_1 = self.in_place(), draw_z_1 or self.prior()
        with FixedThreads(), torch.inference_mode():
            dtype = getattr(torch, self.data_dtype)
            conditioner = Conditioner(module, draw_z_1, conditions, dtype, noise, self.copula)
            return conditioner.sample(n_samples, mean).numpy()

    def measure(self, rows):
        """Measure distortion and rates of rows; returns a `Measurement`."""
        return measure(self.in_place(), rows)

    def typicality(self, rows):
        """Measure how typical rows are, (n,) nats, see `typicality`."""
        return typicality(self.in_place(), rows, self.copula)

    def choose_bins(self, rows, step=None):
        """Choose `Bins` for rows; without a step, those with which they need as much as rates."""
        return choose_bins(self.in_place(), rows, step, self.rates.sum())

    def quantise(self, rows, bins):
        """Return rows as symbols (n, n_columns), float64, see `SymbolCode`."""
        return quantise(self.in_place(), rows, bins)

    def decode_symbols(self, symbols, bins):
        """Decode symbols to means of the data, (n, n_features)."""
        return self.decode(restore_z_1(self.in_place(), symbols, bins), layer=1)

    def _map_to_data(self, module, rows, function):
        """Apply a function whose result is on the scale of the data, in its precision."""
        out = np.empty((len(rows), self.n_features), self.data_dtype)
        return map_rows(module, rows, function, self.n_features, out)
