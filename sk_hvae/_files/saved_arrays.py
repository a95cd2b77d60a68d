"""Fitted values as arrays, by the names that files have for them, and back."""

import math
from typing import Any, NamedTuple

import numpy as np

from sk_hvae._fit.calibration import Calibration
from sk_hvae._fit.clusters import Clusters
from sk_hvae._fit.fitted import Fitted, Trained
from sk_hvae._fit.history import HISTORY, Epochs
from sk_hvae._fit.plane import Plane
from sk_hvae._fit.refinement import FilledRows

_HISTORY, _CALIBRATION = "history_.", "calibration_."


class SavedArray(NamedTuple):
    """An array of a file that belongs to a fitted value; a number is one of no axes.

    Attributes
    ----------
    kind : str
        "f" for floats, "i" for whole numbers from 0, "b" for truth values, "fib" for any.
    shape : tuple of str or int
        Length of each axis; the same name stands for the same length in all attributes.
    below : str or None
        Name of a length that whole numbers are below.
    optional : bool
        Whether it may be missing.
    finite : bool
        Whether all numbers have to be finite.
    """

    kind: str
    shape: tuple[str | int, ...] = ()
    below: str | None = None
    optional: bool = False
    finite: bool = True

    def check(self, array, lengths):
        """Raise ValueError unless an array is of this kind; adds to the known ``lengths``."""
        right = array.dtype.kind in self.kind and array.ndim == len(self.shape)
        for name, found in zip(self.shape, array.shape, strict=False):
            length = lengths.setdefault(name, found) if isinstance(name, str) else name
            right = right and found == length
        if not right:
            raise ValueError(f"found {array.dtype} of shape {array.shape}")
        if self.finite and not np.isfinite(array).all():
            raise ValueError("found numbers that are not finite")
        if self.kind == "i" and array.size:
            most = lengths[self.below] if self.below else math.inf
            if array.min() < 0 or array.max() >= most:
                raise ValueError(f"found numbers from {array.min()} to {array.max()}")


_TRAINING = {
    "n_iter_": SavedArray("i"),
    **{
        f"{_HISTORY}{name}": SavedArray("f", shape, optional=True, finite=False)
        for name, shape in HISTORY.items()
    },
}
_MODEL = {
    **_TRAINING,
    "rates_": SavedArray("f", ("n_layers",)),
    "betas_": SavedArray("f", ("n_layers",)),
    "distortion_": SavedArray("f"),
    "lower_bound_": SavedArray("f"),
    "converged_": SavedArray("b"),
    "copula_": SavedArray("f", ("n_noise", "n_noise"), optional=True),
    "_refinement": SavedArray("f", ("n_weights", "n_predicted"), optional=True),
}
SAVED: dict[type[Trained], dict[str, SavedArray]] = {
    Fitted: _MODEL,
    Clusters: {
        **_MODEL,
        "cluster_sizes_": SavedArray("i", ("n_clusters",)),
        "labels_": SavedArray("i", ("n_rows",), below="n_clusters"),
        "cluster_centers_": SavedArray("f", ("n_clusters", "n_features")),
        "cluster_tree_": SavedArray("f", ("n_merges", 4)),
        "stability_": SavedArray("f"),
        "_states": SavedArray("i", ("n_clusters",), below="n_top"),
    },
    Plane: {
        **_TRAINING,
        "_completed": SavedArray("b"),
        f"{_CALIBRATION}low": SavedArray("f", ("n_layers",)),
        f"{_CALIBRATION}high": SavedArray("f", ("n_layers",)),
        f"{_CALIBRATION}table": SavedArray("f", ("n_nodes", "n_measured")),
    },
}
"""What files hold of each kind of fitted value, beside the model itself."""
KINDS = {kind.__name__: kind for kind in SAVED}

_FIELDS = {
    "rates_": "rates",
    "betas_": "betas",
    "distortion_": "distortion",
    "lower_bound_": "lower_bound",
    "converged_": "converged",
    "copula_": "copula",
    "_refinement": "refinement",
    "cluster_sizes_": "sizes",
    "labels_": "labels",
    "cluster_centers_": "centers",
    "cluster_tree_": "tree",
    "stability_": "stability",
    "_states": "states",
    "_completed": "completed",
}


def to_arrays(fitted):
    """Return the arrays and numbers of a fitted value, by their names in files."""
    arrays: dict[str, Any] = {"n_iter_": fitted.epochs.n_iter}
    arrays |= {f"{_HISTORY}{name}": array for name, array in fitted.epochs.history.items()}
    if isinstance(fitted, Plane):
        own = fitted.calibration.arrays
        arrays |= {f"{_CALIBRATION}{name}": array for name, array in own.items()}
    fields = {
        name: getattr(fitted, _FIELDS[name]) for name in SAVED[type(fitted)] if name in _FIELDS
    }
    return arrays | {name: value for name, value in fields.items() if value is not None}


def from_arrays(arrays):
    """Return the fields of a fitted value that `to_arrays` has made arrays of."""
    fields = {_FIELDS[name]: value for name, value in arrays.items() if name in _FIELDS}
    fields["epochs"] = Epochs(arrays["n_iter_"], _parts(arrays, _HISTORY))
    calibration = _parts(arrays, _CALIBRATION)
    return fields | ({"calibration": Calibration(**calibration)} if calibration else {})


def check_arrays(kind, arrays, sizes, likelihood):
    """Raise ValueError unless arrays are what files hold of a kind of fitted value.

    Parameters
    ----------
    kind : type[Trained]
        Which.
    arrays : dict of str to ndarray
        What was found.
    sizes : tuple of int
        Units of each layer of the model.
    likelihood : Likelihood
        Of the model, which knows its data.
    """
    rows = FilledRows(likelihood)
    lengths = {
        "n_features": len(likelihood.summary.mean),
        "n_layers": len(sizes),
        "n_top": sizes[-1],
        "n_weights": 1 + rows.n_inputs,
        "n_predicted": rows.n_predicted,
        "n_measured": 2 * len(sizes) + 1 + sum(sizes),
    }
    recorded = {
        name: SavedArray("fib", (name,), optional=True, finite=False)
        for name in arrays
        if name.startswith(_HISTORY)
    }
    known = {**recorded, **SAVED[kind]}
    needed = {name for name, array in SAVED[kind].items() if not array.optional}
    odd = sorted((needed - arrays.keys()) | (arrays.keys() - known.keys()))
    if odd:
        raise ValueError(f"the arrays {', '.join(odd[:5])} are missing, or do not belong there")
    for name, array in known.items():
        if name in arrays:
            try:
                array.check(arrays[name], lengths)
            except ValueError as error:
                raise ValueError(f"{name} is wrong: {error}") from error


def _parts(arrays, prefix):
    """Return the arrays whose names have a prefix, by what comes after it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
