"""Bins for the latents of a file with loss: how wide they are, and how probable.

In units relative to its prior, what a row tells of a unit is a Gaussian signal, and the posterior
is what noise leaves of it. All units have bins of the same width in terms of their noise, so that a
bit buys the same fidelity everywhere, as in the reverse water-filling of rate-distortion theory
[1]_. A unit of much signal therefore has narrow bins, and one of little signal has a single bin.

References
----------
.. [1] Cover and Thomas, "Elements of Information Theory", 2nd edition, Wiley 2006, section 10.3.
"""

import struct
from itertools import groupby
from typing import NamedTuple

import numpy as np

from sk_hvae._codec.distributions import Distribution
from sk_hvae._codec.elementary import exp, normal_cdf
from sk_hvae._codec.reader import DAMAGED, number_bytes
from sk_hvae.exceptions import CodecError

# Signals are kept as powers of 2**(1/8) from 2**-7 on, so that a unit takes a byte, and bins are as
# wide as they should be to 4%. Units of less carry less than a hundredth of a bit.
_PER_OCTAVE, _LEAST_OCTAVE, _MOST_LEVEL = 8, -7, 255
_LN2 = 0.693147180559945309417
# Bins end 16 standard deviations of the prior away from its mean.
_REACH = 16
# Of more bins than 2**15, the coder's frequencies would not tell all well.
_LEAST_WIDTH, _ONE_BIN = 2.0**-10, 4.0 * _REACH


class Bins(NamedTuple):
    """Bins of the Gaussian units of all layers, z_1 first.

    Attributes
    ----------
    step : float
        Width in standard deviations of the noise, as far as these are small. Of float32's digits.
    levels : uint8 array of shape (n_units,)
        Signal of each unit: 0 for a unit that has none, and has a single bin.
    """

    step: float
    levels: np.ndarray

    @classmethod
    def of_signals(cls, step, signals):
        """Make bins for signals (n_units,): variances of signal over variances of noise."""
        octaves = np.log2(np.maximum(signals, 2.0**-99))
        levels = np.rint((octaves - _LEAST_OCTAVE) * _PER_OCTAVE) + 1
        levels = np.clip(levels, 0, _MOST_LEVEL).astype(np.uint8)
        return cls(float(np.float32(step)), levels)

    @property
    def signals(self):
        """Variance of the signal over that of the noise of each unit, (n_units,)."""
        octaves = (self.levels.astype(np.float64) - 1) / _PER_OCTAVE + _LEAST_OCTAVE
        return exp(octaves * _LN2)

    @property
    def widths(self):
        """Width of the bins of each unit, in standard deviations of its prior, (n_units,)."""
        widths = self.step / np.sqrt(self.signals)
        return np.where(self.levels > 0, np.clip(widths, _LEAST_WIDTH, _ONE_BIN), _ONE_BIN)

    @property
    def n_aside(self):
        """How many bins each unit has to either side of the middle one, int64 (n_units,)."""
        return np.rint(_REACH / self.widths).astype(np.int64)

    @property
    def stds(self):
        """Standard deviation of each unit over rows, in widths of its bins, (n_units,).

        Signal and noise make up the prior's variance of 1.
        """
        signals = self.signals
        return np.sqrt(signals / (1 + signals)) / self.widths

    def to_bytes(self):
        """Return it as bytes: a byte for each level, and two or more for a run of zeros."""
        parts = [struct.pack("<f", self.step), number_bytes(len(self.levels))]
        for level, run in groupby(self.levels.tolist()):
            length = len([*run])
            parts.append(bytes([level] * length) if level else b"\0" + number_bytes(length))
        return b"".join(parts)

    @classmethod
    def read(cls, reader, n_features):  # noqa: ARG003 of the data
        """Read what `to_bytes` returned; raises CodecError if it cannot be that."""
        step, n_units = *struct.unpack("<f", reader.take(4)), reader.number()
        levels = bytearray()
        while len(levels) < n_units:
            level = reader.take(1)
            n_more = 1 if level[0] else reader.number()
            if not 0 < n_more <= n_units - len(levels):
                raise CodecError(DAMAGED)
            levels += level * n_more
        if not 0 < step < np.inf:
            raise CodecError(DAMAGED)
        return cls(step, np.array(list(levels), np.uint8))


class InBins(Distribution):
    """Normal variables around the middle one of their bins, which is number 0.

    Parameters
    ----------
    std : float64 array of shape (n_stacks, n_cells)
        In widths of the bins.
    n_aside : int64 array of shape (n_stacks, n_cells)
        How many bins there are to either side.
    """

    def __init__(self, std, n_aside):
        self.shape, self._std = std.shape, std
        self.first, self.n_symbols = -n_aside, 2 * n_aside + 1

    def share_below(self, symbols, cells):
        return normal_cdf((symbols - 0.5) / self._std[:, cells])
