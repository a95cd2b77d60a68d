"""Networks that give the same numbers on every machine, whatever comes with a row.

Sums of float32 depend on their order, and so on the machine, the number of threads and the other
rows. Here the inputs of linear layers and their weights are whole multiples of powers of 2, in
float64, and no partial sum exceeds 2**53: all sums are exact, in any order [1]_.

References
----------
.. [1] Balle, Johnston and Minnen, "Integer Networks for Data Compression with Latent-Variable
   Models", ICLR 2019.
"""

import math

import numpy as np
from torch import nn

from sk_hvae._codec.elementary import silu
from sk_hvae.nn.networks.convolution import ConvDecoder, ConvEncoder, Doubling, ToMaps
from sk_hvae.nn.networks.skip import SkipDecoder, SkipEncoder, SkipPosterior, SkipPrior

# Inputs of linear layers are whole multiples of 2**-14, and clipped to +-2**12: on Fashion-MNIST,
# files are then as long as the rates of the network in float32 say.
_INPUT_BITS, _LARGEST_INPUT_BITS = 14, 12
# Whole numbers up to here are exact in float64.
_EXACT_BITS = 53
# Weights need no more digits than float32 has.
_MOST_WEIGHT_BITS = 30


def as_numbers(tensor):
    """Return a tensor as a float64 array."""
    return tensor.detach().cpu().double().numpy()


class ExactProduct:
    """Multiplies rows by a matrix, without any rounding but that of its input.

    Parameters
    ----------
    weight : float64 array of shape (n_outputs, n_inputs)
        Rounded to as many digits as exact sums leave.
    input_bits, largest_bits : int, default=14 and 12
        Inputs are rounded to multiples of ``2**-input_bits``, and clipped to ``2**largest_bits``.
    """

    def __init__(self, weight, input_bits=_INPUT_BITS, largest_bits=_LARGEST_INPUT_BITS):
        largest = float(np.abs(weight).max(initial=0.0)) * weight.shape[1]
        # A sum of rounded weights is larger than that by less than the 1 bit that is left.
        free = _EXACT_BITS - 1 - input_bits - largest_bits - math.frexp(largest)[1]
        n_bits = min(free, _MOST_WEIGHT_BITS)
        self._weight = np.ascontiguousarray(np.rint(np.ldexp(weight, n_bits)).T)
        self._per_one, self._unit = 2.0**input_bits, 2.0 ** -(input_bits + n_bits)
        self._limit = 2.0 ** (input_bits + largest_bits)

    def __call__(self, x):
        """Map (..., n_inputs) to (..., n_outputs)."""
        whole = np.clip(np.rint(x * self._per_one), -self._limit, self._limit)
        return (whole @ self._weight) * self._unit


def exact(module):
    """Make a function of arrays that computes what a module of the library does.

    Parameters
    ----------
    module : nn.Module
        A network, or a part of one.

    Returns
    -------
    callable
        Of float64 arrays where the module takes tensors.

    Raises
    ------
    TypeError
        If there is none for the module.
    """
    for kind, make in _MAKERS.items():
        if isinstance(module, kind):
            return make(module)
    raise TypeError(type(module).__name__)


def _linear(module):
    product, bias = ExactProduct(as_numbers(module.weight)), as_numbers(module.bias)
    return lambda x: product(x) + bias


def _sequence(module):
    parts = [exact(part) for part in module]

    def apply(x):
        for part in parts:
            x = part(x)
        return x

    return apply


def _convolution(weight, bias, stride):
    """Make a convolution of maps (n, planes, height, width), with a margin of 1 of zeros."""
    n_after, _, *size = weight.shape
    product = ExactProduct(weight.reshape(n_after, -1))

    def apply(x):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, (2, 3))
        windows = windows[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)
        maps = product(windows.reshape(*windows.shape[:3], -1)) + bias
        return maps.transpose(0, 3, 1, 2)

    return apply


def _halving(module):
    return _convolution(as_numbers(module.weight), as_numbers(module.bias), module.stride[0])


def _doubling(module):
    height, width = module.size
    weight, bias = module.kernels()
    blocks = _convolution(as_numbers(weight), as_numbers(bias), 1)

    def apply(x):
        # The four pixels of every new block are planes.
        maps = blocks(x)
        n, planes, rows, columns = maps.shape
        maps = maps.reshape(n, planes // 4, 2, 2, rows, columns).transpose(0, 1, 4, 2, 5, 3)
        maps = maps.reshape(n, planes // 4, 2 * rows, 2 * columns)
        return maps[:, :, 1 : 1 + height, 1 : 1 + width]

    return apply


def _conv_encoder(module):
    convolutions, hidden = exact(module.convolutions), exact(module.hidden)
    return lambda x: hidden(convolutions(x))


def _conv_decoder(module):
    hidden, convolutions = exact(module.hidden), exact(module.convolutions)
    return lambda z: convolutions(hidden(z))


def _skip_encoder(module):
    linear, net, n_linked = exact(module.linear), exact(module.net), module.linear.in_features
    return lambda inputs: (linear(inputs[:, :n_linked]), net(inputs))


def _skip_decoder(module):
    linear, net, n_linked = exact(module.linear), exact(module.net), module.linear.out_features

    def apply(z):
        outputs = net(z)
        outputs[:, :n_linked] += linear(z)
        return outputs

    return apply


def _skip_prior(module):
    linear, net = exact(module.linear), exact(module.net)
    return lambda z_above: linear(z_above) + net(z_above)


def _skip_posterior(module):
    linear, net = exact(module.linear), exact(module.net)

    def apply(activations, z_above=None):
        if z_above is not None:
            activations = [np.concatenate((part, z_above), 1) for part in activations]
        return linear(activations[0]) + net(activations[1])

    return apply


_MAKERS = {
    nn.Linear: _linear,
    nn.Sequential: _sequence,
    nn.SiLU: lambda _: silu,
    nn.Flatten: lambda _: lambda x: x.reshape(len(x), -1),
    nn.Conv2d: _halving,
    ToMaps: lambda module: lambda x: x.reshape(len(x), *module.shape),
    Doubling: _doubling,
    ConvEncoder: _conv_encoder,
    ConvDecoder: _conv_decoder,
    SkipEncoder: _skip_encoder,
    SkipDecoder: _skip_decoder,
    SkipPrior: _skip_prior,
    SkipPosterior: _skip_posterior,
}
