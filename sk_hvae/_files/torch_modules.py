"""``transform`` and ``inverse_transform`` of fitted estimators as torch modules."""

import copy

import torch
from torch import nn

from sk_hvae._data.devices import place

PARTS = ("encoder", "decoder")


class Encoder(nn.Module):
    """Raw rows (n, n_features) to the columns of ``transform`` (n, n_columns)."""

    def __init__(self, module, layers):
        super().__init__()
        self.module = module
        self.layers = layers

    def forward(self, x):
        return _side_by_side(self.module.encode(x), self.layers)


class ClusterEncoder(nn.Module):
    """The same with the probabilities of clusters (n, n_clusters) as a second output."""

    def __init__(self, module, layers, states):
        super().__init__()
        self.module = module
        self.layers = layers
        self.states = states

    def forward(self, x):
        latents = self.module.encode(x)
        probabilities = latents[-1][:, self.states]
        columns = _side_by_side(latents, self.layers)
        return columns, probabilities / probabilities.sum(1, keepdim=True)


def _side_by_side(latents, layers):
    """Put the layers that ``transform`` returns side by side."""
    return torch.cat([latents[number - 1] for number in layers], 1)


class Decoder(nn.Module):
    """Columns of ``transform`` (n, n_columns) to the mean of the data (n, n_features)."""

    def __init__(self, module, layer, columns, dtype):
        super().__init__()
        self.module = module
        self.layer = layer
        self.columns = columns
        self.dtype = dtype

    def forward(self, z):
        return self.module.decode(z[:, self.columns], self.layer).to(self.dtype)


def check_part(part):
    """Raise ValueError unless there is such a part."""
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}; got {part!r}.")


def frozen_part(model, part, layers, device):
    """Return a part of a fitted model as a module with a copy of the weights.

    Parameters
    ----------
    model : Fitted
        Left as it is.
    part : {"encoder", "decoder"}
        Which.
    layers : list of int
        Numbers of the layers whose columns ``transform`` returns.
    device : torch.device or str
        Where the copy is to be.

    Returns
    -------
    Encoder or Decoder
        In evaluation mode; its weights are not trained further unless they are told to.
    """
    check_part(part)
    module = place(copy.deepcopy(model.module), device).requires_grad_(False)
    if part == "encoder":
        return Encoder(module, layers).eval()
    columns = model.layer_slices(layers)[layers[0]]
    # MPS has no float64.
    dtype = "float32" if torch.device(device).type == "mps" else model.data_dtype
    return Decoder(module, layers[0], columns, getattr(torch, dtype)).eval()
