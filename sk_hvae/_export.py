"""Write fitted estimators to ONNX files, for use without torch and without this library."""

import copy
import importlib
import json
import logging
import os
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

PARTS = ("encoder", "decoder")
_LARGEST_FILE = 2**31 - 1
_N_EXAMPLES = 3
_ROWS = "rows"
_CHATTY = (
    "torch.onnx._internal.exporter._registration",
    "onnxscript.optimizer._constant_folding",
)


class _Encoder(nn.Module):
    """Raw rows to the layers that ``transform`` returns and, with states, their probabilities."""

    def __init__(self, module, layers, states):
        super().__init__()
        self.module = module
        self.layers = layers
        self.states = states

    def forward(self, x):
        latents = self.module.encode(x)
        columns = torch.cat([latents[number - 1] for number in self.layers], 1)
        if self.states is None:
            return columns
        probabilities = latents[-1][:, self.states]
        return columns, probabilities / probabilities.sum(1, keepdim=True)


class _Decoder(nn.Module):
    """Columns of ``transform`` to the mean of the data."""

    def __init__(self, module, layer, columns, dtype):
        super().__init__()
        self.module = module
        self.layer = layer
        self.columns = columns
        self.dtype = dtype

    def forward(self, z):
        return self.module.decode(z[:, self.columns], self.layer).to(self.dtype)


def export_estimator(estimator, path, part):
    """Write what an estimator does in ``transform`` or ``inverse_transform`` to a file.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    path : str or path-like
        Where to write; the file appears whole or not at all.
    part : {"encoder", "decoder"}
        Which of the two.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}; got {part!r}.")
    _check_installed()
    build = {"encoder": _encoder, "decoder": _decoder}[part]
    program = _trace(*build(estimator, copy.deepcopy(estimator.module_).cpu()))
    weights = program.model.graph.initializers.values()
    n_bytes = sum(weight.const_value.nbytes for weight in weights)
    if n_bytes > _LARGEST_FILE:
        raise ValueError(
            f"the {part} takes {n_bytes / 2**30:.3g} GiB, but an ONNX file holds less than 2. Fit "
            "smaller hidden_layer_sizes, or pickle the estimator."
        )
    proto = program.model_proto
    _describe(proto, estimator, part)
    _write(proto.SerializeToString(), path)


def _encoder(estimator, module):
    """Return the graph's module, an example of its input, and the names of in- and outputs."""
    states = getattr(estimator, "_states", None)
    example = torch.zeros(_N_EXAMPLES, estimator.n_features_in_, dtype=torch.float64)
    outputs = ["Z"] if states is None else ["Z", "probabilities"]
    return _Encoder(module, estimator._output_numbers(), states), example, ["X"], outputs


def _decoder(estimator, module):
    lowest = estimator._output_numbers()[0]
    example = torch.zeros(_N_EXAMPLES, estimator._n_features_out)
    columns, dtype = estimator.layer_slices_[f"z{lowest}"], getattr(torch, estimator._data_dtype)
    return _Decoder(module, lowest, columns, dtype), example, ["Z"], ["X"]


def _trace(module, example, inputs, outputs):
    """Trace a module; returns a ``torch.onnx.ONNXProgram`` for any number of rows."""
    try:
        with _quiet(), torch.no_grad():
            # Traced here, because the exporter itself fixes the number of rows where it has to.
            rows = torch.export.Dim(_ROWS, min=1)
            program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: rows},))
            return torch.onnx.export(
                program,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=({0: _ROWS},),
                verbose=False,
            )
    except Exception as error:
        raise ValueError(
            "torch cannot export this model. Networks and likelihoods of your own must compute "
            "with tensor operations that ONNX has, for any number of rows: write x.shape[0] for "
            f"len(x), and do not branch on values. torch says: {error}"
        ) from error


def _describe(proto, estimator, part):
    """Say what the file is, and take out where on this machine each operation was written."""
    proto.producer_name, proto.producer_version = "sk_hvae", version("sk-hvae")
    proto.graph.name = f"{type(estimator).__name__} {part}"
    described = (proto.graph.node, proto.graph.value_info, proto.graph.input, proto.graph.output)
    for item in (proto, proto.graph, *(item for items in described for item in items)):
        del item.metadata_props[:]
    metadata = {"latent_names": estimator.get_feature_names_out()}
    if hasattr(estimator, "feature_names_in_"):
        metadata["feature_names"] = estimator.feature_names_in_
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=json.dumps(list(value)))


def _write(content, path):
    unfinished = Path(f"{os.fspath(path)}.unfinished")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _quiet():
    """Silence what the exporter says of itself: no torchvision here, nothing to fold there."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch copies trees of its own in a way that it has deprecated.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_installed():
    try:
        for name in ("onnx", "onnxscript"):
            importlib.import_module(name)
    except ImportError as error:
        raise ImportError("export_onnx needs onnx: pip install 'sk-hvae[onnx]'.") from error
