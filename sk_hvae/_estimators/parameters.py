"""Parameters as the user typed them, checked and turned into what the model needs."""

import math
import numbers
from contextlib import contextmanager

import numpy as np
from sklearn.utils import check_random_state

from sk_hvae._input.tables import looks_channels_last
from sk_hvae._sklearn.privates import InvalidParameterError, StrOptions
from sk_hvae.exceptions import ImageShapeWarning, UnsuitableParameterError, warn_caller
from sk_hvae.nn.likelihoods import LIKELIHOOD_SYNONYMS
from sk_hvae.nn.networks.hit import PRESETS
from sk_hvae.nn.networks.skip import Networks
from sk_hvae.nn.spelling import did_you_mean

# What the values of parameters are called elsewhere, in small letters.
_SYNONYMS = {
    "likelihood": LIKELIHOOD_SYNONYMS,
    "missing": dict.fromkeys(("nan", "none", "na", "<na>", "true", "allow_nan"), "mask"),
    "network": {"cnn": "conv", "dense": "mlp", "fcn": "fully-conv"},
    "top_layer": {"normal": "gaussian", "discrete": "categorical", "gumbel_softmax": "gumbel"},
    "precision": {"bf16": "bfloat16", "fp32": "float32", "float": "float32", "single": "float32"},
}
_EXPLAINED = {
    "missing": " 'error' refuses X with missing cells; 'mask' takes NaN, None, NA, NaT and masked "
    "cells as missing, and 'auto' does so in frames. Make NaN of any other value that stands for a "
    "missing one.",
}
# Bits and multipliers beyond these are slips of the keyboard, and float32 would lose them.
_SMALLEST_VALUE, _LARGEST_VALUE = 1e-6, 1e6
# Units of a layer with n_components="auto". The most are as many as hidden layers are wide.
_FEWEST_UNITS, _MOST_UNITS = 16, 256


@contextmanager
def hints(constraints, parameters):
    """Add to the message about a parameter what the value was probably meant to be."""
    try:
        yield
    except InvalidParameterError as error:
        message = str(error)
        name = next(name for name in constraints if f"The {name!r} parameter" in message)
        known = [
            option
            for constraint in constraints[name]
            if isinstance(constraint, StrOptions)
            for option in constraint.options
        ]
        hint = did_you_mean(parameters[name], sorted(known), _SYNONYMS.get(name, {}))
        raise InvalidParameterError(f"{message}{hint}{_EXPLAINED.get(name, '')}") from None


@contextmanager
def set_after_fit():
    """Say of a parameter that is not as it should be that it does not suit the fitted model."""
    try:
        yield
    except ValueError as error:
        raise UnsuitableParameterError(str(error)) from None


def check_layer_values(name, values, unit):
    """Turn a number or sequence of one positive number per layer into a tuple of floats."""
    given = values
    try:
        if any(isinstance(v, (str, bool)) for v in np.asarray(given, dtype=object).flat):
            raise TypeError
        values = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a positive number or one per layer, z_1 first; got {values!r}."
        ) from None
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"{name} must hold one number per layer, z_1 (nearest the data) first; got an "
            f"array of shape {values.shape}."
        )
    if not ((values >= _SMALLEST_VALUE) & (values <= _LARGEST_VALUE)).all():
        raise ValueError(
            f"every entry of {name} must be positive and finite ({unit}, 1e-6 to 1e6); got "
            f"{tuple(values.tolist())}. To switch a layer off, leave it out."
        )
    return tuple(values.tolist())


def resolve_targets(layer_rates, betas):
    """Check that exactly one of the two is given; returns both as tuples, the other empty."""
    if layer_rates is not None and betas is not None:
        raise ValueError(
            "layer_rates and betas are both given, but the betas of given rates are found in "
            "training. Pass layer_rates=None to fix the betas, or betas=None to ask for rates "
            "in bits."
        )
    if layer_rates is None and betas is None:
        raise ValueError(
            "layer_rates and betas are both None. Pass the bits per layer, for example "
            "layer_rates=(2, 8), or fixed multipliers, for example betas=(1.0, 1.0)."
        )
    if betas is None:
        return check_layer_values("layer_rates", layer_rates, "bits per sample"), ()
    return (), check_layer_values("betas", betas, "multiplier of the rate")


def resolve_rate_range(rate_range, n_layers):
    """Return the smallest and the largest rate of every layer in bits, two tuples, z_1 first."""
    advice = (
        "rate_range must be (low, high) in bits per sample for all layers, or one such pair per "
        "layer, z_1 (nearest the data) first"
    )
    try:
        pairs = np.array(rate_range, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{advice}; got {rate_range!r}.") from None
    if pairs.shape == (2,):
        pairs = np.tile(pairs, (n_layers, 1))
    if pairs.shape != (n_layers, 2):
        raise ValueError(f"{advice}; got {rate_range!r} for {n_layers} layers.")
    inside = (pairs >= _SMALLEST_VALUE) & (pairs <= _LARGEST_VALUE)
    if not inside.all() or not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError(f"{advice}, with 0 < low < high, finite; got {rate_range!r}.")
    return tuple(pairs[:, 0].tolist()), tuple(pairs[:, 1].tolist())


def resolve_sizes(n_components, n_layers, auto=()):
    """Return the units of each layer as a tuple, z_1 first; ``auto`` is what "auto" stands for."""
    if isinstance(n_components, str):
        return auto
    if isinstance(n_components, numbers.Integral):
        return (int(n_components),) * n_layers
    sizes = tuple(n_components)
    if len(sizes) != n_layers:
        raise ValueError(
            f"n_components has {len(sizes)} entries but the model has {n_layers} layers; give "
            "an int for all layers or one int per layer, z_1 (nearest the data) first."
        )
    return _check_widths("n_components", sizes)


def auto_sizes(bits, n_layers, network, top_layer):
    """Return what ``n_components="auto"`` stands for: in every layer a unit for each bit.

    Maps have many units each, and states are no units: there are 16 of them.

    Parameters
    ----------
    bits : float
        How many bits there are for units.
    n_layers : int
        Number of layers.
    network : str, Networks or tuple of two
        As the estimators take it.
    top_layer : str
        As the estimators take it.
    """
    n_units = min(max(_FEWEST_UNITS, round(bits)), _MOST_UNITS)
    if network == "fully-conv":
        n_units = _FEWEST_UNITS
    has_states = top_layer != "gaussian"
    return (n_units,) * (n_layers - has_states) + (_FEWEST_UNITS,) * has_states


def resolve_hidden(hidden_layer_sizes):
    """Return the widths of the hidden layers as a tuple."""
    if isinstance(hidden_layer_sizes, numbers.Integral):
        hidden_layer_sizes = (hidden_layer_sizes,)
    return _check_widths("hidden_layer_sizes", tuple(hidden_layer_sizes))


def _check_widths(name, widths):
    if not all(isinstance(w, (int, np.integer)) and w > 0 for w in widths):
        raise ValueError(f"every entry of {name} must be a positive int; got {widths}.")
    return tuple(int(w) for w in widths)


def resolve_network(network, image_shape, n_layers, n_features):
    """Return network and image shape, once they fit together and the data.

    Parameters
    ----------
    network : str, Networks or tuple of two
        As the estimators take it.
    image_shape : tuple of int or None
        As the estimators take it.
    n_layers : int
        Number of layers.
    n_features : int
        Number of columns of X.

    Returns
    -------
    tuple of (str or Networks, tuple of int or None)
    """
    if image_shape is not None:
        image_shape = _check_widths("image_shape", tuple(image_shape))
        if len(image_shape) != 3:
            raise ValueError(f"image_shape must be (channels, height, width); got {image_shape}.")
    if not isinstance(network, str):
        network = _check_own_networks(network)
    if network == "auto":
        network = "mlp" if image_shape is None else "conv"
    if network in PRESETS:
        preset = PRESETS[network].image_shape
        if image_shape not in (None, preset):
            raise ValueError(
                f"network={network!r} is for images of shape {preset}; got {image_shape}. "
                "network='conv' takes images of any shape."
            )
        if n_layers != 2:
            raise ValueError(
                f"network={network!r} has 2 layers; got {n_layers} rates or betas. "
                "network='conv' takes any number of layers."
            )
        image_shape = preset
    if image_shape is None and network in ("conv", "fully-conv"):
        raise ValueError(
            f"network={network!r} needs image_shape=(channels, height, width) to turn the "
            "columns of X into images."
        )
    if image_shape is not None and math.prod(image_shape) != n_features:
        raise ValueError(
            f"images of shape {image_shape} have {math.prod(image_shape)} pixels but X has "
            f"{n_features} columns; image_shape is (channels, height, width), and rows of X are "
            "flattened in this order."
        )
    return network, image_shape


def warn_of_channels_last(image_shape):
    """Warn if the shape of images looks like (height, width, channels)."""
    if image_shape is None or not looks_channels_last(image_shape):
        return
    height, width, channels = image_shape
    warn_caller(
        f"image_shape={image_shape} means {height} channels of {width} x {channels} pixels, as it "
        f"is (channels, height, width), but looks like {height} x {width} pixels of {channels} "
        f"channels. If it is that, pass image_shape={(channels, height, width)} and "
        f"X.reshape(-1, {height}, {width}, {channels}).transpose(0, 3, 1, 2).reshape(len(X), -1).",
        ImageShapeWarning,
    )


def _check_own_networks(network):
    if len(network) != 2 or not all(map(callable, network)):
        raise ValueError(
            "network must be a name or a pair (encoder, decoder) of torch modules, or of "
            f"functions that build them, see sk_hvae.nn.Networks; got {network!r}."
        )
    return Networks(*network)


def check_callbacks(callbacks):
    """Return the user's skorch callbacks as a list."""
    for item in callbacks or []:
        callback = item[1] if isinstance(item, tuple) else item
        if not hasattr(callback, "on_epoch_end"):
            raise ValueError(
                "callbacks must be skorch callbacks, or (name, callback) tuples of them; got "
                f"{item!r}. scikit-learn's own callbacks are set with set_callbacks."
            )
    return list(callbacks or [])


def resolve_output_layers(output_layers, n_layers, name="output_layers"):
    """Return the numbers of layers, such as ``transform`` puts side by side, in order."""
    if isinstance(output_layers, str) and output_layers in ("all", "top"):
        return list(range(1, n_layers + 1)) if output_layers == "all" else [n_layers]
    layers = [output_layers] if isinstance(output_layers, numbers.Integral) else list(output_layers)
    known = all(isinstance(n, (int, np.integer)) and 1 <= n <= n_layers for n in layers)
    if not layers or not known or len(set(layers)) != len(layers):
        raise ValueError(
            f"{name} must be 'all', 'top', a layer number or a list of different ones; "
            f"the model has layers 1 (nearest the data) to {n_layers}, got {output_layers!r}."
        )
    return sorted(int(n) for n in layers)


def resolve_layer(layer, n_layers):
    """Return the number of one layer, given by number or as "top"."""
    if layer == "top":
        return n_layers
    if not isinstance(layer, (int, np.integer)) or not 1 <= layer <= n_layers:
        raise ValueError(
            f"layer must be 'top' or the number of a layer, 1 (nearest the data) to {n_layers}; "
            f"got {layer!r}."
        )
    return int(layer)


def check_count(name, value, least=1):
    """Raise ValueError unless a value is an int of at least ``least``."""
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}; got {value!r}.")


def draw_seed(random_state):
    """Draw a seed from what scikit-learn takes as ``random_state``."""
    try:
        random = check_random_state(random_state)
    except ValueError:
        raise ValueError(
            "random_state must be None, an int from 0 to 2**32 - 1 or a numpy.random.RandomState; "
            f"got {random_state!r}."
        ) from None
    return random.randint(np.iinfo(np.int32).max)


def check_out(out, shape):
    """Raise ValueError unless ``out`` is None or a writable float array of the given shape."""
    if out is None:
        return
    found = type(out).__name__
    if isinstance(out, np.ndarray):
        found = f"{out.dtype} of shape {out.shape}"
        found += "" if out.flags.writeable else ", read-only"
        if out.shape == shape and out.dtype.kind == "f" and out.flags.writeable:
            return
    raise ValueError(f"out must be a writable float array of shape {shape}; got {found}.")
