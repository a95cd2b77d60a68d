"""Networks of encoder and decoder: a linear path, and a perceptron that starts at zero."""

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """What an encoder tells the layers of latents about a batch.

    Attributes
    ----------
    linear : Tensor of shape (b, n_linear)
        Linear in the data; starts at the whitened principal components.
    hidden : Tensor of shape (b, n_hidden)
        Last hidden layer of the encoder's perceptron.
    """

    linear: Tensor
    hidden: Tensor


class MLPEncoder(nn.Module):
    """Map data to `Features` by a linear layer and, beside it, a perceptron.

    Parameters
    ----------
    n_features : int
        Width of the data.
    n_linear : int
        Width of the linear features.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers; empty to pass the data on.
    """

    def __init__(self, n_features, n_linear, hidden_layer_sizes):
        super().__init__()
        self.linear = zero_linear(n_features, n_linear)
        self.net = hidden_layers(n_features, hidden_layer_sizes)
        self.n_linear = n_linear
        self.n_hidden = hidden_layer_sizes[-1] if hidden_layer_sizes else n_features

    def forward(self, x):
        """Map a batch (b, n_features) on the scale of the likelihood's link to `Features`."""
        return Features(self.linear(x).float(), self.net(x))


class MLPDecoder(nn.Module):
    """Map z_1 to the likelihood's parameters by a linear layer plus a perceptron.

    Parameters
    ----------
    n_units : int
        Width of z_1.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers, from z_1 to the data.
    n_outputs : int
        Number of parameters of the likelihood.
    """

    def __init__(self, n_units, hidden_layer_sizes, n_outputs):
        super().__init__()
        self.linear = zero_linear(n_units, n_outputs)
        self.net = zero_mlp(n_units, hidden_layer_sizes, n_outputs)

    def forward(self, z):
        """Map a batch (b, n_units) of z_1 to parameters (b, n_outputs), float32."""
        return self.linear(z).float() + self.net(z).float()


def hidden_layers(n_inputs, hidden_layer_sizes):
    """Stack linear layers, each followed by a SiLU; no sizes give the identity.

    SiLU reached a lower distortion than ReLU in every trial on images and small tables.
    """
    layers = []
    for n_in, n_out in pairwise((n_inputs, *hidden_layer_sizes)):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers)


def zero_linear(n_inputs, n_outputs):
    """Build a linear layer whose weights and biases start at zero."""
    layer = nn.Linear(n_inputs, n_outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def zero_mlp(n_inputs, hidden_layer_sizes, n_outputs):
    """Build a perceptron whose output starts at zero, so that what it adds to starts linear."""
    n_last = hidden_layer_sizes[-1] if hidden_layer_sizes else n_inputs
    return nn.Sequential(
        *hidden_layers(n_inputs, hidden_layer_sizes), zero_linear(n_last, n_outputs)
    )
