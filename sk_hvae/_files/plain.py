"""Fitted models as plain values and arrays, which files, pickles and skops hold."""

import copy
import math

import torch
from torch.overrides import TorchFunctionMode

from sk_hvae._files.saved_arrays import KINDS, from_arrays, to_arrays
from sk_hvae._fit.fitted import Trained
from sk_hvae._fit.plane import Plane
from sk_hvae._input.schema import Schema
from sk_hvae.nn.building import (
    INFERENCE_KINDS,
    NETWORKS,
    TOP_LAYERS_OF_ALL,
    Architecture,
    build_hierarchy,
)
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBox
from sk_hvae.nn.likelihoods import LIKELIHOODS, DataSummary, Likelihood, PerColumn
from sk_hvae.nn.likelihoods.codes import merge_codes

_LIKELIHOODS: dict[str, type[Likelihood]] = {
    PerColumn.__name__: PerColumn,
    **{kind.__name__: kind for kind in LIKELIHOODS.values()},
}
_OPTIONS = {
    "network": NETWORKS,
    "inference": INFERENCE_KINDS,
    "top_layer": TOP_LAYERS_OF_ALL,
}


class CodeNeededError(TypeError):
    """A model has parts of the user's own, which are code and not plain values."""

    def __init__(self, name):
        super().__init__(
            "save() writes no code, so it knows the likelihoods and networks of sk_hvae.nn only, "
            f"not this {name}; pickle the estimator instead."
        )


def describe(value):
    """Describe likelihoods, devices and schemas, also in containers; all else stays as it is."""
    if isinstance(value, Likelihood):
        name = type(value).__name__
        if _LIKELIHOODS.get(name) is not type(value):
            raise CodeNeededError(name)
        return {"likelihood": name, "config": {k: describe(v) for k, v in value.config.items()}}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, Schema):
        return {"schema": value.to_plain()}
    if isinstance(value, dict):
        return {"by_column": [(column, describe(part)) for column, part in value.items()]}
    if isinstance(value, range):
        return list(value)
    return type(value)(map(describe, value)) if type(value) in (list, tuple) else value


def restore(value):
    """Make what was described; builds objects of our own classes from a fixed list, no others."""
    if type(value) in (list, tuple):
        return type(value)(map(restore, value))
    if not isinstance(value, dict):
        return value
    if value.keys() == {"likelihood", "config"}:
        config = {name: restore(item) for name, item in value["config"].items()}
        return _LIKELIHOODS[value["likelihood"]](**config)
    if value.keys() == {"device"}:
        return torch.device(value["device"])
    if value.keys() == {"schema"}:
        return Schema.from_plain(value["schema"])
    if value.keys() == {"by_column"}:
        return {column: restore(part) for column, part in value["by_column"]}
    return value


def describe_model(model, architecture):
    """Describe a model.

    Parameters
    ----------
    model : HierarchicalVAE or ConditionedHierarchy
        On any device.
    architecture : Architecture
        What it was built from.

    Returns
    -------
    dict
        "architecture" and "likelihood", plain values; "summary", an ndarray (4, n_features) of
        the likelihood's statistics; "codes", an ndarray (n, 3) of a column, a code and its
        count each, or None; "weights", a dict of ndarray.

    Raises
    ------
    CodeNeededError
        If likelihood or networks are the user's own.
    """
    if not isinstance(architecture.network, str):
        raise CodeNeededError(type(architecture.network).__name__)
    plain = model.model if isinstance(model, ConditionedHierarchy) else model
    summary = plain.likelihood.summary
    return {
        "architecture": architecture._asdict(),
        "likelihood": describe(plain.likelihood),
        "summary": torch.stack(summary.statistics).numpy(),
        "codes": None if summary.codes is None else summary.codes.numpy(),
        "weights": {
            name: tensor.detach().cpu().contiguous().numpy()
            for name, tensor in model.state_dict().items()
        },
    }


def build_model(description, conditioned):
    """Build a model that was described.

    Nothing is allocated before the shapes are known to be those of the weights, and no random
    numbers are drawn.

    Parameters
    ----------
    description : dict
        See `describe_model`.
    conditioned : bool
        Whether to build a `ConditionedHierarchy`.

    Returns
    -------
    tuple of (Architecture, HierarchicalVAE or ConditionedHierarchy)
        The model is on the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        If the parts of the description do not fit together.
    """
    weights = description["weights"]
    architecture = _checked(Architecture(**description["architecture"]), len(weights))
    image_shape, summary = architecture.image_shape, _summary(description)
    n_features = len(summary.mean)
    if image_shape and math.prod(image_shape) != n_features:
        raise ValueError(f"{n_features} columns are no images of shape {image_shape}")
    likelihood = restore(description["likelihood"])
    n_channels = image_shape[0] if image_shape else 1
    are_pixels = image_shape is not None
    likelihood.adapt(summary._replace(n_channels=n_channels, are_pixels=are_pixels))
    with torch.device("meta"), _NoDraws():
        model = build_hierarchy(architecture, likelihood)
    if conditioned:
        plain = "model."
        own = {n.removeprefix(plain): w for n, w in weights.items() if n.startswith(plain)}
        _set_weights(model, own)
        n_layers = len(model.layers)
        with _NoDraws():
            model = ConditionedHierarchy(model, RateBox([1.0] * n_layers, [2.0] * n_layers))
    _set_weights(model, weights)
    return architecture, model.eval()


def pack(state):
    """Describe what can be described in an estimator's attributes; else the model goes to the CPU.

    Parameters
    ----------
    state : dict
        Attributes by name.
    """
    return {
        name: pack_fitted(value) if isinstance(value, Trained) else _described_or_same(value)
        for name, value in state.items()
    }


def unpack(packed):
    """Make an estimator's attributes of what `pack` returned; see `build_model`."""
    return {
        name: unpack_fitted(value) if _is_packed_fitted(value) else restore(value)
        for name, value in packed.items()
    }


def pack_fitted(fitted):
    """Describe a fitted value: plain values, arrays, and a model of one's own on the CPU."""
    packed = {
        "kind": type(fitted).__name__,
        "device": fitted.device,
        "data_dtype": fitted.data_dtype,
        "arrays": to_arrays(fitted),
    }
    model = model_within(fitted)
    try:
        return packed | {"model": describe_model(model, fitted.architecture)}
    except CodeNeededError:
        return packed | {"model": _on_cpu(model), "architecture": fitted.architecture}


def unpack_fitted(packed):
    """Make a fitted value of what `pack_fitted` returned."""
    kind, model, architecture = KINDS[packed["kind"]], packed["model"], packed.get("architecture")
    if isinstance(model, dict):
        architecture, model = build_model(model, kind is Plane)
    return make_fitted(
        kind, model, architecture, packed["device"], packed["data_dtype"], packed["arrays"]
    )


def model_within(fitted):
    """Return the torch module of a fitted value."""
    return getattr(fitted, fitted.module_field)


def make_fitted(kind, model, architecture, device, data_dtype, arrays):
    """Make a fitted value of its parts; ``arrays`` are those of `to_arrays`."""
    return kind(
        architecture=architecture,
        device=device,
        data_dtype=data_dtype,
        **{kind.module_field: model},
        **from_arrays(arrays),
    )


def _is_packed_fitted(value):
    return isinstance(value, dict) and {"kind", "model", "arrays"} <= value.keys()


class _NoDraws(TorchFunctionMode):
    """Leave new modules as they were allocated: their weights are about to be set."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return (torch.zeros if func in (torch.rand, torch.randn) else func)(*args, **kwargs)


def _described_or_same(value):
    try:
        return describe(value)
    except CodeNeededError:
        return value


def _on_cpu(module):
    """Return a module on the CPU, copied if it is elsewhere."""
    on_cpu = next(module.parameters()).device.type == "cpu"
    return module if on_cpu else copy.deepcopy(module).cpu()


def _checked(architecture, most_layers):
    """Return an architecture whose values are of the right kind, with no more layers than told."""
    for name, known in _OPTIONS.items():
        if getattr(architecture, name) not in known:
            raise ValueError(f"there is no {name} {getattr(architecture, name)!r}")
    sizes, image_shape = architecture.n_components, architecture.image_shape
    widths = architecture.hidden_layer_sizes
    kinds = [type(n) is int and n > 0 for n in (*sizes, *widths, *(image_shape or ()))]
    if type(architecture.missing) is not bool or not all(kinds):
        raise ValueError(f"there is no such {architecture}")
    if not 1 <= len(sizes) <= most_layers or len(widths) > most_layers:
        raise ValueError(f"{len(sizes)} and {len(widths)} layers have {most_layers} weights")
    if image_shape is not None and len(image_shape) != 3:
        raise ValueError(f"there are no images of shape {image_shape}")
    return architecture


def _summary(description):
    """Return a `DataSummary` that was described, if it can be one."""
    statistics = torch.tensor(description["summary"])
    right = statistics.dim() == 2 and len(statistics) == 4 and statistics.shape[1]
    if not right or statistics.dtype != torch.float64 or not statistics.isfinite().all():
        found = f"{statistics.dtype}, {tuple(statistics.shape)}"
        raise ValueError(f"the summary of the data is {found}")
    summary = DataSummary(*statistics)
    if description["codes"] is None:
        return summary
    codes = torch.tensor(description["codes"])
    if codes.dtype != torch.int64 or codes.dim() != 2 or codes.shape[1] not in (2, 3):
        raise ValueError(f"the codes of the data are {codes.dtype}, {tuple(codes.shape)}")
    if codes.shape[1] == 2:  # Files of format 2 have no counts.
        codes = torch.nn.functional.pad(codes, (0, 1))
    column, _, count = codes.T
    inside = (column >= 0) & (column < statistics.shape[1]) & (count >= 0)
    if not inside.all() or not torch.equal(merge_codes(codes), codes):
        raise ValueError("the codes of the data are not those of its columns, in order")
    return summary._replace(codes=codes)


def _set_weights(module, weights):
    """Put copies of arrays in place of all parameters and buffers, if they fit exactly."""
    expected = module.state_dict()
    odd = sorted(expected.keys() ^ weights.keys())
    if odd:
        raise ValueError(f"the weights {', '.join(odd[:5])} are missing, or do not belong there")
    tensors = {}
    for name, tensor in expected.items():
        kind = torch.empty(0, dtype=tensor.dtype).numpy().dtype.kind
        found = weights[name]
        if found.shape != tuple(tensor.shape) or found.dtype.kind != kind:
            raise ValueError(
                f"{name} has shape {found.shape} and type {found.dtype}, where the model has "
                f"{tuple(tensor.shape)} and {tensor.dtype}"
            )
        tensors[name] = torch.tensor(found, dtype=tensor.dtype)
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")
        # Whole numbers are indices, which follow from the summary of the data.
        if kind != "f" and not torch.equal(tensors[name], tensor):
            raise ValueError(f"{name} does not hold what the data were like")
    module.load_state_dict(tensors, assign=True)
