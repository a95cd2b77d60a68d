"""HierarchicalVAETransformer: state the bits per layer, get latents that carry them."""

import math
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from sk_hvae._base import BaseHierarchicalVAE, module_device
from sk_hvae._callbacks import with_callbacks
from sk_hvae._data import as_tensor
from sk_hvae._persistence import load_estimator, save_estimator
from sk_hvae._validation import (
    Interval,
    StrOptions,
    check_rows,
    fit_context,
    resolve_output_layers,
)
from sk_hvae.nn.likelihoods import LIKELIHOODS, Likelihood
from sk_hvae.nn.noise import GeneratorNoise

_LN2 = math.log(2)


class HierarchicalVAETransformer(TransformerMixin, BaseHierarchicalVAE):
    """Latent representation with a stated number of bits per layer."""

    _parameter_constraints: dict = {
        "layer_rates": ["array-like", Interval(Real, 0, None, closed="neither"), None],
        "betas": ["array-like", Interval(Real, 0, None, closed="neither"), None],
        "n_components": ["array-like", Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "network": [StrOptions({"auto", "mlp"})],
        "image_shape": ["array-like", None],
        "inference": [StrOptions({"top_down", "ladder"})],
        "likelihood": [StrOptions(set(LIKELIHOODS)), Likelihood],
        "output_layers": [
            "array-like",
            StrOptions({"all", "top"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str, torch.device],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        layer_rates=(2, 8),
        *,
        betas=None,
        n_components=16,
        hidden_layer_sizes=(256, 256),
        network="auto",
        image_shape=None,
        inference="top_down",
        likelihood="gaussian",
        output_layers="all",
        max_epochs="auto",
        batch_size=256,
        lr=2e-3,
        precision="auto",
        device="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        warm_start=False,
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.layer_rates = layer_rates
        self.betas = betas
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.network = network
        self.image_shape = image_shape
        self.inference = inference
        self.likelihood = likelihood
        self.output_layers = output_layers
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.device = device
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the model until its layers carry the target rates."""
        return self._fit(X)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one pass over a batch of data."""
        return self._partial_fit(X)

    def transform(self, X):
        """Infer the posterior means."""
        rows = self._check_new(X)
        module = self._module_in_place()
        layers = self._output_numbers()

        def means(x):
            latents = module.encode(x)
            return torch.cat([latents[n - 1] for n in layers], 1)

        return self._map_rows(rows, means, self._n_features_out)

    def inverse_transform(self, X):
        """Decode latents, as ``transform`` returns them, to the mean of the data."""
        module = self._module_in_place()
        Z = check_array(X, dtype=np.float32)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but transform returns {self._n_features_out} with "
                f"output_layers={self.output_layers!r}."
            )
        lowest = self._output_numbers()[0]
        z = as_tensor(np.ascontiguousarray(Z[:, self.layer_slices_[f"z{lowest}"]]))
        return self._map_rows(z, lambda z: module.decode(z, lowest), self.n_features_in_)

    def latents(self, X, sample=False):
        """Infer the latents of every layer."""
        rows = self._check_new(X)
        module = self._module_in_place()
        noise = self._noise() if sample else None
        columns = self._map_rows(
            rows, lambda x: torch.cat(module.encode(x, noise), 1), sum(self.n_components_)
        )
        return np.split(columns, np.cumsum(self.n_components_)[:-1], axis=1)

    def reconstruct(self, X):
        """Decode the posterior means of X."""
        rows = self._check_new(X)
        module = self._module_in_place()
        return self._map_rows(
            rows, lambda x: module.decode(module.encode(x)[0]), self.n_features_in_
        )

    def sample(self, n_samples=1):
        """Draw data from the model."""
        module = self._module_in_place()
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1; got {n_samples}.")
        with torch.inference_mode():
            return module.sample(n_samples, self._noise()).cpu().numpy()

    def rates(self, X):
        """Measure the rate of every layer for every row."""
        return self._measure(self._check_new(X)).rates

    def distortion(self, X):
        """Measure the distortion of every row."""
        return self._measure(self._check_new(X)).distortion

    def score_samples(self, X):
        """Bound the log-likelihood of every row from below."""
        return self._measure(self._check_new(X)).lower_bound

    def score(self, X, y=None):
        """Bound the mean log-likelihood per row from below."""
        return float(self.score_samples(X).mean())

    def get_feature_names_out(self, input_features=None):
        """Name the columns of ``transform``."""
        check_is_fitted(self, "module_")
        names = [
            f"z{n}_{i}" for n in self._output_numbers() for i in range(self.n_components_[n - 1])
        ]
        return np.array(names, dtype=object)

    def save(self, path):
        """Write the fitted estimator to a file."""
        check_is_fitted(self, "module_")
        save_estimator(self, path)

    @classmethod
    def load(cls, path):
        """Read an estimator written by `save`; no code from the file is run."""
        return load_estimator(cls, path)

    @property
    def layer_slices_(self):
        """Columns of ``transform`` that belong to each layer: dict of "z1" to slice."""
        check_is_fitted(self, "module_")
        numbers = self._output_numbers()
        ends = np.cumsum([self.n_components_[n - 1] for n in numbers]).tolist()
        return {
            f"z{n}": slice(first, end)
            for n, first, end in zip(numbers, [0, *ends], ends, strict=False)
        }

    @property
    def _n_features_out(self):
        return sum(self.n_components_[n - 1] for n in self._output_numbers())

    def _output_numbers(self):
        return resolve_output_layers(self.output_layers, self.n_layers_)

    def _check_new(self, X):
        check_is_fitted(self, "module_")
        rows = as_tensor(check_rows(self, X, reset=False))
        self.module_.likelihood.check(rows)
        return rows

    def _noise(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        generator = torch.Generator(module_device(self.module_)).manual_seed(seed)
        return GeneratorNoise(generator)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
