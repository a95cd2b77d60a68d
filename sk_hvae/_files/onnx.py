"""Write fitted models to ONNX files, for use without torch and without this library."""

import json
import logging
import warnings
from contextlib import contextmanager
from importlib.metadata import version

import torch

from sk_hvae._data.whole_file import whole_file
from sk_hvae._extras import import_extra
from sk_hvae._files.torch_modules import ClusterEncoder, check_part, frozen_part
from sk_hvae._fit.clusters import Clusters

_LARGEST_FILE = 2**31 - 1
# Rows to trace with: 1 would be taken for a number that never changes.
_N_EXAMPLES = 3
_ROWS = "rows"
# These say of each export that no torchvision is there, or that nothing was to be folded.
_CHATTY = (
    "torch.onnx._internal.exporter._registration",
    "onnxscript.optimizer._constant_folding",
)


def export_model(model, path, part, layers, about):
    """Write what a model does in ``transform`` or ``inverse_transform`` to a file.

    Parameters
    ----------
    model : Fitted
        If it has clusters, their probabilities are an output of the encoder.
    path : str or path-like
        Where to write; the file appears whole or not at all.
    part : {"encoder", "decoder"}
        Which of the two.
    layers : list of int
        Numbers of the layers whose columns ``transform`` returns.
    about : dict
        "name" of the estimator, "latent_names" of these columns, "feature_names" of the columns
        of X, or None: what the file says of itself.
    """
    check_part(part)
    _check_installed()
    module = frozen_part(model, part, layers, "cpu")
    graph = _encoder if part == "encoder" else _decoder
    program = _trace(*graph(model, module, layers))
    weights = program.model.graph.initializers.values()
    n_bytes = sum(weight.const_value.nbytes for weight in weights)
    if n_bytes > _LARGEST_FILE:
        raise ValueError(
            f"the {part} takes {n_bytes / 2**30:.3g} GiB, but an ONNX file holds less than 2. Fit "
            "smaller hidden_layer_sizes, or pickle the estimator."
        )
    proto = program.model_proto
    _describe(proto, part, **about)
    with whole_file(path) as file:
        file.write(proto.SerializeToString())


def _encoder(model, module, layers):
    """Return the graph's module, an example of its input, and the names of in- and outputs."""
    example = torch.zeros(_N_EXAMPLES, model.n_features, dtype=torch.float64)
    if not isinstance(model, Clusters):
        return module, example, ["X"], ["Z"]
    clusters = ClusterEncoder(module.module, layers, model.states)
    return clusters, example, ["X"], ["Z", "probabilities"]


def _decoder(model, module, layers):
    n_columns = model.layer_slices(layers)[layers[-1]].stop
    return module, torch.zeros(_N_EXAMPLES, n_columns), ["Z"], ["X"]


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


def _describe(proto, part, name, latent_names, feature_names):
    """Say what the file is, and take out where on this machine each operation was written."""
    proto.producer_name, proto.producer_version = "sk_hvae", version("sk-hvae")
    proto.graph.name = f"{name} {part}"
    described = (proto.graph.node, proto.graph.value_info, proto.graph.input, proto.graph.output)
    for item in (proto, proto.graph, *(item for items in described for item in items)):
        del item.metadata_props[:]
    metadata = {"latent_names": latent_names}
    if feature_names is not None:
        metadata["feature_names"] = feature_names
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=json.dumps(list(value)))


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
    for name in ("onnx", "onnxscript"):
        import_extra(name, "export_onnx", "onnx onnxscript")
