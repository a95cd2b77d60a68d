"""Write fitted estimators to safetensors files with a JSON header, and read them back."""

import importlib
import json
import os

import numpy as np
import torch

from sk_hvae._starting import build_seeded
from sk_hvae.exceptions import UnsupportedFormatError
from sk_hvae.nn import likelihoods
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.likelihoods import DataSummary, Likelihood
from sk_hvae.nn.networks import Networks

FORMAT = 1
_KEY = "sk_hvae"
_SUMMARY = "summary"
_ARRAYS = ("rates_", "betas_")
_SCALARS = (
    "n_features_in_",
    "n_layers_",
    "n_iter_",
    "distortion_",
    "lower_bound_",
    "converged_",
    "device_",
    "_architecture",
)
_NOT_SAVED = ("callbacks", "checkpoint")
_LIKELIHOODS = {
    name: kind
    for name, kind in vars(likelihoods).items()
    if isinstance(kind, type) and issubclass(kind, Likelihood)
}


def save_estimator(estimator, path):
    """Write an estimator: weights and arrays as tensors, all else as JSON in the header."""
    save_file = _safetensors("safetensors.torch").save_file
    module = {f"module.{k}": v for k, v in estimator.module_.state_dict().items()}
    arrays = {name: getattr(estimator, name) for name in _ARRAYS}
    arrays |= {f"history.{name}": values for name, values in estimator.history_.items()}
    arrays = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    arrays[_SUMMARY] = torch.stack(estimator.module_.likelihood.summary.statistics)
    names = getattr(estimator, "feature_names_in_", None)
    header = {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "params": {
            name: _to_json(value)
            for name, value in estimator.get_params(deep=False).items()
            if name not in _NOT_SAVED
        },
        "likelihood": _to_json(estimator.module_.likelihood),
        "attributes": {name: _to_json(getattr(estimator, name)) for name in _SCALARS},
        "feature_names": None if names is None else list(names),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in (module | arrays).items()}
    unfinished = f"{os.fspath(path)}.unfinished"
    save_file(tensors, unfinished, metadata={_KEY: json.dumps(header)})
    os.replace(unfinished, path)


def load_estimator(cls, path):
    """Read an estimator of class ``cls``; the weights must fit the architecture exactly."""
    header, tensors = _read(path)
    kind = header.get("class", cls.__name__)
    if kind != cls.__name__:
        raise UnsupportedFormatError(f"the file holds a {kind}; load it with {kind}.load.")
    try:
        header["class"]
        params = {name: _from_json(value) for name, value in header["params"].items()}
        estimator = cls(**params)
        for name in _SCALARS:
            setattr(estimator, name, _from_json(header["attributes"][name]))
        estimator._architecture = Architecture(*estimator._architecture)
        estimator.n_components_ = estimator._architecture.layer_sizes
        for name in _ARRAYS:
            setattr(estimator, name, tensors.pop(name).reshape(estimator.n_layers_).numpy())
        if header["feature_names"] is not None:
            estimator.feature_names_in_ = np.array(header["feature_names"], dtype=object)
        estimator.history_ = {
            name.removeprefix("history."): tensors.pop(name).numpy()
            for name in sorted(tensors)
            if name.startswith("history.")
        }
        n_channels = (estimator._architecture.image_shape or (1,))[0]
        summary = DataSummary(*tensors.pop(_SUMMARY))._replace(n_channels=n_channels)
        if len(summary.mean) != estimator.n_features_in_:
            raise ValueError(f"it holds a model of {len(summary.mean)} columns.")
        likelihood = _from_json(header["likelihood"]).adapt(summary)
        module = build_seeded(estimator._architecture, likelihood, seed=0)
        module.load_state_dict({k.removeprefix("module."): v for k, v in tensors.items()})
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UnsupportedFormatError(f"the file is damaged: {error}") from error
    estimator.module_ = module.eval()
    return estimator


def _read(path):
    safe_open = _safetensors("safetensors").safe_open
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata[_KEY])
        version = header["format"]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise UnsupportedFormatError(
            f"{path} is not a file written by save(), or is damaged: {error}"
        ) from error
    if version != FORMAT:
        raise UnsupportedFormatError(
            f"{path} has format {version}; this version of sk_hvae reads format {FORMAT}. "
            "Upgrade sk_hvae."
        )
    return header, tensors


def _to_json(value):
    if isinstance(value, (Likelihood, Networks)):
        name = type(value).__name__
        if _LIKELIHOODS.get(name) is not type(value):
            raise TypeError(
                f"save() writes no code, so it knows the likelihoods and networks of sk_hvae.nn "
                f"only, not this {name}; pickle the estimator instead."
            )
        return {"likelihood": name, "config": {k: _to_json(v) for k, v in value.config.items()}}
    if isinstance(value, (np.random.RandomState, torch.device)):
        return None if isinstance(value, np.random.RandomState) else str(value)
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return [_to_json(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _from_json(value):
    if isinstance(value, dict):
        config = {name: _from_json(item) for name, item in value["config"].items()}
        return _LIKELIHOODS[value["likelihood"]](**config)
    return tuple(map(_from_json, value)) if isinstance(value, list) else value


def _safetensors(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError("save and load need safetensors: pip install 'sk-hvae[io]'.") from error
