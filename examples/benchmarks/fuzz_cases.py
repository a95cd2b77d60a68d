"""Random small fits for fuzz.py, each a function of (seed, number) alone.

A case says what it may be refused for: ``must`` is a reason that has to be found, ``may`` are
names of parameters, or X, that do not go together often enough to matter. Anything else has to
be fitted.
"""

import contextlib
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.nn import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
    Poisson,
)

_STEPS = 80
_MOST_COLUMNS, _MOST_ROWS = 40, 300

# What a column holds, by the likelihood that it is for.
_COLUMNS = {
    "gaussian": "real",
    "bernoulli": "unit",
    "poisson": "count",
    "negative_binomial": "count",
    "categorical": "code",
    "discretized_logistic": "level",
    "discretized_logistic_mixture": "level",
}
_OBJECTS = {
    "gaussian": [
        lambda: Gaussian(sigma=0.71),
        lambda: Gaussian(sigma="per_feature"),
        lambda: Gaussian(sigma="optimal"),
        lambda: Gaussian(sigma="optimal", scaling="shared"),
        lambda: Gaussian(scaling="columns"),
        lambda: Gaussian(sigma=1e-3, scaling="shared"),
    ],
    "bernoulli": [Bernoulli],
    "poisson": [Poisson],
    "negative_binomial": [NegativeBinomial, lambda: NegativeBinomial(dispersion="shared")],
    "categorical": [Categorical],
    "discretized_logistic": [DiscretizedLogistic, lambda: DiscretizedLogistic(maximum=255)],
    "discretized_logistic_mixture": [
        lambda: DiscretizedLogisticMixture(n_mixtures=1),
        lambda: DiscretizedLogisticMixture(n_mixtures=3, maximum=255),
    ],
}
_DTYPES = ["float64", "float32", "float16", "uint8", "int8", "int16", "int32", "int64", "bool"]
_CONTAINERS = {
    "array": 0.3,
    "frame": 0.12,
    "nullable frame": 0.05,
    "list": 0.05,
    "object": 0.04,
    "fortran": 0.06,
    "strided": 0.06,
    "reversed": 0.06,
    "read-only": 0.07,
    "memmap": 0.06,
    "big-endian": 0.04,
    "tensor": 0.03,
    "sparse": 0.03,
    "dataset": 0.03,
}
_WRONG: dict[str, list[Any]] = {
    "layer_rates": [-1, 0, "2", (1, 0), (), (1, math.nan), (1, math.inf), [[1, 2]], (1, None)],
    "betas": [0, -1, "1", (), (1, -1), (math.inf,)],
    "n_components": [0, 2.5, (0,), "a", (1, 2, 3, 4, 5), None, (2.0, 2.0)],
    "hidden_layer_sizes": [0, (8, 0), "a", (1.5,), None, -4],
    "network": ["resnet", 3, (1, 2), None, ("mlp",)],
    "image_shape": [(1, 0, 4), (2, 2), 5, "a", (1, 41, 7), (1, 2.0, 2)],
    "inference": ["bottom_up", None, 1],
    "top_layer": ["bernoulli", None, 2],
    "likelihood": [
        "laplace",
        None,
        3,
        Gaussian,
        [("gaussian", [99])],
        [("nope", [0])],
        [],
        [("gaussian",)],
        [("gaussian", ["no such column"])],
        Gaussian(sigma=-1.0),
        Gaussian(sigma="huge"),
        DiscretizedLogistic(n_levels=1),
    ],
    "missing": ["impute", None, True],
    "output_layers": [0, 9, "z1", [], [1, 1], None, 1.5],
    "max_epochs": [0, -1, 1.5, "many", None, math.nan],
    "batch_size": [0, -3, 2.5, None, "a", math.inf],
    "lr": [0, -1, math.nan, math.inf, None, "a"],
    "precision": ["float16", None, 32],
    "device": ["gpu", 0, None, "cuda:99"],
    "early_stopping": ["yes", None, 2],
    "validation_fraction": [0, 1, -0.1, math.nan, None],
    "n_iter_no_change": [0, None, 1.5],
    "warm_start": ["yes", None],
    "callbacks": ["disable", [1], ["recorder"], 5],
    "random_state": ["a", -1, 1.5, 2**40, []],
    "verbose": [-1, "a", None],
    "rate_range": [(2, 1), (0, 1), 5, "a", (1,), ((1, 2, 3),), (1, math.inf), (math.nan, 2)],
    "n_clusters": [0, "many", 2.5, None],
    "n_init": [0, None, 1.5],
    "n_neighbors": [0, None, 1.5],
    "consistency": [-1, None, "a", math.nan],
}


@dataclass
class Call:
    """One training call: a method of the estimator, the rows it gets, parameters set before."""

    method: str
    X: Any
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Case:
    """What to fit, how, and what it may be refused for."""

    number: int
    estimator: Any
    calls: list[Call]
    container: str
    kind: str
    must: str | None
    may: set[str]
    story: dict[str, Any]
    cleanup: contextlib.ExitStack

    @property
    def X(self):  # noqa: N802
        """Rows of the last call."""
        return self.calls[-1].X


def take(X, index):
    """Pick rows of any container by their numbers."""
    if isinstance(X, torch.utils.data.Dataset):
        return torch.utils.data.Subset(X, list(index))
    if hasattr(X, "iloc"):
        return X.iloc[index]
    return [X[i] for i in index] if isinstance(X, list) else X[np.array(index)]


def n_rows(X):
    """Count the rows of any container."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def make_case(seed, number):
    """Derive a case from two numbers."""
    rng = np.random.default_rng([seed, number])
    maker = _Maker(rng, number)
    return maker.make()


class Stop(Callback):
    """End training after two epochs, as skorch's callbacks do."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) >= 2:
            raise KeyboardInterrupt


def own_encoder(n_inputs):
    return torch.nn.Sequential(torch.nn.Linear(n_inputs, 6), torch.nn.Tanh())


def own_decoder(n_units, n_outputs):
    return torch.nn.Sequential(
        torch.nn.Linear(n_units, 6), torch.nn.Tanh(), torch.nn.Linear(6, n_outputs)
    )


class _Maker:
    """Choices of one case, made in a fixed order."""

    def __init__(self, rng, number):
        self.rng = rng
        self.number = number
        self.must = None
        self.may = set()
        self.story = {}
        self.cleanup = contextlib.ExitStack()

    def make(self):
        rng = self.rng
        kind = rng.choice(["single", "multi", "cluster"], p=[0.9, 0.05, 0.05])
        n = self._log_int(2, _MOST_ROWS) if not self._rarely(0.02) else 1
        d = self._log_int(1, _MOST_COLUMNS)
        if n == 1:
            self.must = "X"
        params = {}
        image_shape = self._network(params, kind)
        if image_shape is not None:
            d = math.prod(image_shape)
            n = min(n, 12) if d > _MOST_COLUMNS else n
        container = rng.choice(list(_CONTAINERS), p=list(_CONTAINERS.values()))
        names = [f"column {j}" for j in range(d)] if "frame" in container else None
        columns = self._likelihood(params, d, names, image_shape)
        values = self._values(n, d, columns)
        masked = self._missing(params, values, columns)
        dtype = self._dtype(columns, masked)
        values = self._fit_into(values, dtype, columns)
        X = self._contain(values, dtype, container, names)
        if kind == "single":
            self._single(params)
        elif kind == "multi":
            self._multi(params)
        else:
            self._cluster(params, n)
        self._training(params, n, kind)
        calls = self._calls(kind, params, X, values)
        self._spoil(params, kind)
        for name in ("must", "may"):
            self.story[name] = getattr(self, name)
        self.story |= {"rows": n, "columns": d, "dtype": dtype, "container": str(container)}
        classes = {
            "single": HierarchicalVAETransformer,
            "multi": MultiRateHVAETransformer,
            "cluster": HVAEClusterer,
        }
        self.story["calls"] = [(c.method, n_rows(c.X), c.params) for c in calls]
        return Case(
            self.number,
            classes[kind](**params),
            calls,
            str(container),
            str(kind),
            self.must,
            self.may,
            self.story,
            self.cleanup,
        )

    # Small choices

    def _rarely(self, probability):
        return self.rng.random() < probability

    def _pick(self, options):
        return options[self.rng.integers(len(options))]

    def _log_int(self, low, high):
        return int(np.exp(self.rng.uniform(np.log(low), np.log(high + 1))))

    def _log(self, low, high):
        return float(10 ** self.rng.uniform(low, high))

    # Parameters

    def _network(self, params, kind):
        """Choose a network; returns the shape of images or None."""
        if self._rarely(0.8):
            params["hidden_layer_sizes"] = self._pick(
                [(), (4,), (8,), (8, 4), 6, [5], np.array([4, 4]), (1,)]
            )
            if self._rarely(0.1):
                params["network"] = "mlp"
            return None
        choice = self.rng.random()
        if choice < 0.15:
            params["network"] = (own_encoder, own_decoder)
            return None
        if choice < 0.17 and kind == "single":
            params["network"] = self._pick(["hit-mnist", "hit-cifar"])
            return (1, 28, 28) if params["network"] == "hit-mnist" else (3, 32, 32)
        shape = self._pick(
            [(1, 4, 4), (1, 5, 7), (2, 3, 3), (3, 3, 4), (1, 1, 1), (1, 1, 9), (4, 3, 3), (1, 6, 6)]
        )
        params["image_shape"] = self._pick([shape, list(shape), np.array(shape)])
        params["hidden_layer_sizes"] = self._pick([(), (4,), (6,)])
        if choice < 0.5 and kind != "cluster":
            params["network"] = "fully-conv"
        elif choice < 0.7:
            params["network"] = "conv"
        elif choice < 0.75:
            params["network"] = "mlp"
        return shape

    def _likelihood(self, params, d, names, image_shape):
        """Choose a likelihood; returns what each column holds."""
        known = list(_COLUMNS)
        p = [0.5, 0.1, 0.07, 0.06, 0.1, 0.1, 0.07]
        network = params.get("network")
        images = network in ("conv", "fully-conv", "hit-mnist", "hit-cifar") or (
            image_shape is not None and network is None
        )

        def one(name):
            likelihood = self._pick(_OBJECTS[name])() if self._rarely(0.4) else name
            if getattr(likelihood, "maximum", "auto") != "auto":
                self.may.add("likelihood")  # levels may have been divided by 255
            return likelihood

        if d > 1 and self._rarely(0.15):
            order = self.rng.permutation(d)
            cuts = np.sort(self.rng.choice(np.arange(1, d), self.rng.integers(1, 3), replace=True))
            parts, columns = [], [""] * d
            for part in np.split(order, np.unique(cuts)):
                name = str(self.rng.choice(known[:-1], p=np.array(p[:-1]) / sum(p[:-1])))
                for j in part:
                    columns[j] = _COLUMNS[name]
                given = [names[j] if names and self._rarely(0.5) else int(j) for j in part]
                if len(given) == 1 and self._rarely(0.5):
                    given = given[0]
                parts.append((one(name), given))
            params["likelihood"] = parts
            if images:
                self.may |= {"network", "likelihood"}
            return columns
        name = str(self.rng.choice(known, p=p))
        params["likelihood"] = one(name)
        if name == "gaussian" and self._rarely(0.5):
            del params["likelihood"]
        if name == "categorical" and images:
            self.may |= {"network", "likelihood"}
        if name == "discretized_logistic_mixture":
            self.may.add("likelihood")
        kind = _COLUMNS[name]
        if self._rarely(0.02):
            kind = self._pick(["real", "count", "code", "level"])
            self.may.add("likelihood")
        return [kind] * d

    def _single(self, params):
        rng = self.rng
        n_layers = 2
        if not str(params.get("network")).startswith("hit-"):
            n_layers = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.45, 0.2, 0.1]))
        if self._rarely(0.12):
            low, high = self._pick([(-2, 2), (-6, 6), (-1, 1), (5, 6), (-6, -5)])
            params["layer_rates"] = None
            params["betas"] = self._shape([self._log(low, high) for _ in range(n_layers)])
        else:
            params["layer_rates"] = self._rates(n_layers)
        if self._rarely(0.3):
            params["top_layer"] = self._pick(["categorical", "gumbel"])
            if params.get("network") == "fully-conv":
                self.may |= {"top_layer", "network"}
        self._layers(params, n_layers)
        if self._rarely(0.12):
            params["early_stopping"] = True
            params["validation_fraction"] = self._pick([0.1, 0.1, 0.3, 0.01, 0.9])
            params["n_iter_no_change"] = self._pick([1, 2, 10])
            self.may.add("validation_fraction")

    def _rates(self, n_layers):
        low, high = self._pick([(-0.5, 1)] * 6 + [(-6, -2), (2, 6), (-2, 3), (1, 2)])
        return self._shape([self._log(low, high) for _ in range(n_layers)])

    def _shape(self, values):
        if len(values) == 1 and self._rarely(0.6):
            return values[0]
        return self._pick([tuple, list, np.array])(values)

    def _layers(self, params, n_layers):
        """Choose what depends on the number of layers."""
        params["n_components"] = int(self.rng.integers(1, 7))
        if self._rarely(0.4):
            sizes = [int(k) for k in self.rng.integers(1, 7, n_layers)]
            params["n_components"] = self._pick([tuple, list, np.array])(sizes)
        if self._rarely(0.3):
            params["output_layers"] = self._pick(["all", "top", 1, n_layers, [n_layers], [1]])
        if self._rarely(0.3):
            params["inference"] = self._pick(["ladder", "top_down"])

    def _multi(self, params):
        n_layers = int(self.rng.choice([1, 2, 3], p=[0.46, 0.52, 0.02]))
        params["layer_rates"] = self._rates(n_layers)
        low = self._log(*self._pick([(-1, 0), (-1, 0), (-5, 1)]))
        pair = (low, low * self._pick([1.01, 3.0, 30.0, 1e3]))
        params["rate_range"] = pair if self._rarely(0.7) else [pair] * n_layers
        if self._rarely(0.2):
            params["top_layer"] = self._pick(["categorical", "gumbel"])
            self.may.add("n_components")  # one state has no bits to choose from
            if params.get("network") == "fully-conv":
                self.may |= {"top_layer", "network"}
        self._layers(params, n_layers)

    def _cluster(self, params, n):
        params["n_clusters"] = self._pick([1, 2, 3, 5, "auto"])
        if params["n_clusters"] != "auto" and params["n_clusters"] > n:
            self.may.add("n_clusters")
        n_below = int(self.rng.integers(1, 3))
        if self._rarely(0.5):
            params["layer_rates"] = (*np.ravel(self._rates(n_below)).tolist(), self._log(-1, 0.5))
            self.may.add("layer_rates")  # more bits than clusters can carry
        else:
            n_below = 1
        params["n_init"] = self._pick([1, 2, 5])
        params["n_neighbors"] = self._pick([1, 3, 30])
        params["consistency"] = self._pick([100.0, 0, 1, 1e4])
        self._layers(params, n_below)
        output = params.get("output_layers")
        if isinstance(output, list | int):
            params["output_layers"] = self._pick([1, n_below + 1, [1, n_below + 1]])

    def _training(self, params, n, kind):
        params["batch_size"] = self._log_int(1, 1000)
        steps_per_epoch = math.ceil(n / params["batch_size"])
        most = _STEPS // (3 if kind == "cluster" else 1)
        epochs = int(self.rng.integers(1, 31))
        params["max_epochs"] = max(1, min(epochs, most // steps_per_epoch))
        if str(params.get("network")).startswith("hit-"):
            params["max_epochs"] = 1
        elif kind == "single" and steps_per_epoch <= 2 and self._rarely(0.3):
            params["max_epochs"] = "auto"
        params["lr"] = self._log(-4, -1) if self._rarely(0.85) else self._log(-8, 1)
        if self._rarely(0.2):
            params["precision"] = self._pick(["bfloat16", "float32"])
        if self._rarely(0.1):
            params["device"] = self._pick(["cpu", torch.device("cpu")])
        if self._rarely(0.1):
            params["verbose"] = 1
        if self._rarely(0.1):
            params["callbacks"] = self._pick([[], [Callback()], [("name", Stop())], [Stop()]])
        params["random_state"] = self._pick(
            [0, 1, 2**32 - 1, np.int64(7), np.random.RandomState(3), None]
        )

    def _spoil(self, params, kind):
        """Make one parameter wrong now and then."""
        if self.must is not None or not self._rarely(0.06):
            return
        estimator = {
            "single": HierarchicalVAETransformer,
            "multi": MultiRateHVAETransformer,
            "cluster": HVAEClusterer,
        }[kind]
        known = [name for name in _WRONG if name in estimator().get_params()]
        name = self._pick(known)
        if name == "layer_rates" and kind == "cluster":
            params[name] = self._pick([-1, 0, "2", (1, 0), (), (1, math.nan), (2,)])
        elif name == "network" and kind == "cluster":
            params[name] = self._pick([*_WRONG[name], "fully-conv", "hit-mnist"])
        else:
            params[name] = self._pick(_WRONG[name])
        if name == "betas":
            params["layer_rates"] = None
        if name == "layer_rates" and kind == "single":
            params["betas"] = None
        if name == "output_layers" and kind == "multi" and params[name] == 9:
            params[name] = 0
        self.must = name
        if name == "likelihood":
            self.may |= {"sigma", "n_levels"}
        self.story["spoilt"] = name

    # Data

    def _values(self, n, d, columns):
        """Make rows of some structure, float64."""
        rng = self.rng
        structure = self._pick(
            ["low rank"] * 4
            + ["clusters", "noise", "heavy", "constant", "duplicates", "outlier", "sorted"]
            + ["mostly zero", "constant columns", "copies"]
        )
        self.story["structure"] = structure
        k = int(rng.integers(1, 5))
        latent = rng.normal(size=(n, k)) @ rng.normal(size=(k, d)) + 0.3 * rng.normal(size=(n, d))
        if structure == "clusters":
            latent = 4 * rng.normal(size=(4, d))[rng.integers(4, size=n)] + 0.3 * latent
        elif structure == "noise":
            latent = rng.uniform(-2, 2, (n, d))
        elif structure == "heavy":
            latent = rng.standard_cauchy((n, d))
        elif structure == "constant":
            latent = np.full((n, d), rng.normal())
        elif structure == "duplicates":
            latent = latent[rng.integers(max(1, n // 10), size=n)]
        elif structure == "outlier":
            latent[rng.integers(n)] *= self._log(2, 6)
        elif structure == "sorted":
            latent = np.sort(latent, axis=0)
        elif structure == "mostly zero":
            latent = latent * (rng.random((n, d)) < 0.05)
        elif structure == "constant columns":
            latent[:, rng.random(d) < 0.5] = rng.normal()
        elif structure == "copies":
            latent[:] = latent[:, :1]
        return self._as_columns(latent, columns)

    def _as_columns(self, latent, columns):
        rng = self.rng
        values = np.empty_like(latent)
        binary, unit_levels = rng.random() < 0.5, rng.random() < 0.3
        mean_count = self._log(*self._pick([(-1, 2.5), (-1, 2.5), (3, 9)]))
        for j, kind in enumerate(columns):
            t = latent[:, j]
            bounded = np.clip(t, -30, 30)
            if kind == "real":
                values[:, j] = t
            elif kind == "unit":
                values[:, j] = t > 0 if binary else 1 / (1 + np.exp(-bounded))
            elif kind == "count":
                values[:, j] = rng.poisson(mean_count * np.exp(np.clip(bounded, -5, 3)))
            elif kind == "code":
                values[:, j] = np.digitize(t, np.sort(rng.normal(size=rng.integers(1, 5))))
            else:
                levels = np.clip(np.round(128 + 50 * bounded), 0, 255)
                values[:, j] = levels / 255 if unit_levels else levels
        real = np.array([kind == "real" for kind in columns])
        self._scale(values, real)
        return values

    def _scale(self, values, real):
        """Scale and shift the columns of real numbers."""
        choice = self.rng.random()
        scale, offset = 1.0, 0.0
        if choice < 0.25:
            scale = self._log(-30, 30)
        elif choice < 0.4:
            scale = np.array([self._log(-6, 6) for _ in real])[real]
            offset = np.array([self._log(-6, 6) for _ in real])[real]
        elif choice < 0.5:
            scale, offset = self._log(-3, 3), self._log(-2, 8)
        elif choice < 0.52:
            scale = self._log(100, 300)
            self.may.add("X")
        values[:, real] = values[:, real] * scale + offset
        largest = float(np.abs(values).max())
        self.story["largest"] = largest
        if largest > 1e35:
            self.may.add("X")

    def _missing(self, params, values, columns):
        """Take cells away, with or without permission; returns whether there are any."""
        choice = self.rng.random()
        if choice < 0.1:
            params["missing"] = "mask"
            share = self._pick([0.0, 0.05, 0.3, 0.8])
            gone = self.rng.random(values.shape) < share
            values[gone] = np.nan
            if np.isnan(values).all(0).any():
                self.may.add("X")
            return bool(gone.any())
        if choice < 0.12 and self.must is None:
            values[self.rng.integers(len(values)), self.rng.integers(values.shape[1])] = self._pick(
                [np.nan, np.inf, -np.inf]
            )
            self.must = "X"
            return True
        return False

    def _dtype(self, columns, has_nan):
        kinds = set(columns)
        dtypes = ["float64"] * 6 + ["float32"] * 4
        if kinds == {"real"}:
            dtypes += _DTYPES
        elif kinds <= {"count", "code"}:
            dtypes += ["int64", "int32", "int16", "float32"] * 2
        elif kinds == {"level"}:
            dtypes += ["uint8", "uint8", "uint8", "int16", "int64", "float32"]
        else:
            dtypes += ["bool"] if kinds == {"unit"} else []
        dtype = self._pick(dtypes)
        return "float64" if has_nan and not dtype.startswith("float") else dtype

    def _fit_into(self, values, dtype, columns):
        """Round and clip to what a dtype holds."""
        if dtype.startswith("float"):
            with np.errstate(over="ignore"):
                cast = values.astype(dtype)
            if np.isinf(cast).any() and np.isfinite(values[~np.isnan(values)]).all():
                self.must = "X"
            return cast
        if dtype == "bool":
            return values > 0
        if "level" in columns and values.max(initial=0) <= 1:
            values = values * 255
        limits = np.iinfo(dtype)
        bounds = max(limits.min, -(2**62)), min(limits.max, 2**62)
        return np.clip(np.round(values), *bounds).astype(dtype)

    def _contain(self, values, dtype, container, names):
        rng = self.rng
        if container == "frame":
            index = self._pick([None, rng.permutation(len(values)), [7] * len(values)])
            return pd.DataFrame(values, columns=names, index=index)
        if container == "nullable frame":
            return pd.DataFrame(values, columns=names).convert_dtypes()
        if container == "list":
            return values.tolist()
        if container == "object":
            return values.astype(object)
        if container == "fortran":
            return np.asfortranarray(values)
        if container == "strided":
            return np.repeat(np.repeat(values, 2, axis=1), 2, axis=0)[::2, ::2]
        if container == "reversed":
            return np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
        if container == "read-only":
            values.flags.writeable = False
            return values
        if container == "memmap":
            folder = self.cleanup.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / "X.npy"
            np.save(path, values)
            return np.load(path, mmap_mode="r")
        if container == "big-endian":
            return values.astype(values.dtype.newbyteorder(">"))
        if container == "tensor":
            return torch.from_numpy(values)
        if container == "sparse":
            self.may |= {"X", "parse"}
            if values.dtype == np.float16:
                values = values.astype(np.float32)
            return self._pick([sparse.csr_matrix, sparse.csr_array, sparse.csc_array])(values)
        if container == "dataset":
            self.may.add("X")
            return torch.utils.data.TensorDataset(torch.from_numpy(values))
        return values

    # Calls

    def _calls(self, kind, params, X, values):
        n, rng = n_rows(X), self.rng
        plan = "fit"
        if kind == "single" and self.must is None and n >= 4:
            plan = str(
                rng.choice(
                    ["fit", "refit", "warm", "partial", "fit, partial", "fit_transform"],
                    p=[0.6, 0.06, 0.12, 0.1, 0.06, 0.06],
                )
            )
        if plan in ("warm", "partial", "fit, partial"):
            self.may.add("likelihood")  # later rows may have values that the first half lacks
        if plan not in ("fit", "fit_transform") and np.isnan(values.astype(float)).any():
            self.may.add("X")  # a column of the first half may have no value
        half = np.arange(n)[: max(2, n // 2)]
        if plan == "fit" or self.must is not None:
            return [Call("fit", X)]
        if plan == "fit_transform":
            return [Call("fit_transform", X)]
        if plan == "refit":
            return [Call("fit", take(X, half)), Call("fit", X)]
        if plan == "warm":
            params["warm_start"] = True
            changed = {}
            if params.get("layer_rates") is not None and self._rarely(0.5):
                n_layers = np.size(params["layer_rates"])
                changed = {"layer_rates": self._rates(n_layers)}
            return [Call("fit", take(X, half)), Call("fit", X, changed)]
        parts = [half, np.arange(n)[-1:], np.arange(n)]
        if plan == "partial":
            return [Call("partial_fit", take(X, part)) for part in parts]
        return [Call("fit", take(X, half)), Call("partial_fit", take(X, parts[1]))]
