"""Sources of standard normal noise: a generator for training, the rows themselves for scoring."""

import math

import torch

_LAST_BITS, _HALF_OF_LAST_BITS = 0xFFF, 0x800
# The constants of splitmix64, as signed numbers.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def uniform(noise):
    """Turn standard normal noise into uniform noise of the same shape, inside (0, 1)."""
    return (0.5 * torch.erfc(-noise / math.sqrt(2))).clamp(1e-7, 1 - 1e-7)


def gumbel(noise):
    """Turn standard normal noise into standard Gumbel noise of the same shape.

    Added to logits, it makes the largest a draw from their softmax.
    """
    return -(-uniform(noise).log()).log()


def normal_of_gumbel(noise):
    """Turn standard Gumbel noise into the standard normal noise that `gumbel` makes it of."""
    return torch.special.ndtri((-(-noise).exp()).exp().clamp(1e-7, 1 - 1e-7))


def without_last_bits(rows):
    """Round rows (b, n) to 12 of the 24 bits of float32, which rounding errors seldom change.

    Zeros of either sign become the same, and so do all NaN.
    """
    alike = torch.where(rows.isnan(), torch.nan, rows + 0.0).float()
    bits = alike.contiguous().view(torch.int32)
    return ((bits + _HALF_OF_LAST_BITS) & ~_LAST_BITS).view(torch.float32)


class GeneratorNoise:
    """Draw noise from a generator on the device that the noise is for.

    Parameters
    ----------
    generator : torch.Generator
        Its state moves on with every draw.
    number, n_shares : int, default=0 and 1
        Which of several processes this is, and how many there are. All draw the noise of all
        rows, from generators in the same state, and each takes its own part.
    """

    def __init__(self, generator, number=0, n_shares=1):
        self.generator = generator
        self._number = number
        self._n_shares = n_shares

    def __call__(self, like):
        """Draw standard normal noise of the shape (b, n_units) of ``like``."""
        shape = (self._n_shares * len(like), *like.shape[1:])
        noise = torch.randn(shape, generator=self.generator, device=like.device)
        return noise[self._number * len(like) :][: len(like)]


class ReplayedNoise:
    """Keep the noise of a source, to give the same again to the next of models of one shape.

    Parameters
    ----------
    noise : callable
        The source.
    """

    def __init__(self, noise):
        self._noise = noise
        self._kept = []
        self._next = 0

    def __call__(self, like):
        """Give noise of the shape of ``like``."""
        if self._next == len(self._kept):
            self._kept.append(self._noise(like))
        self._next += 1
        return self._kept[self._next - 1]

    def rewind(self):
        """Begin again; returns self."""
        self._next = 0
        return self


class RowNoise:
    """Derive the noise of a row from the row's own numbers.

    Monte Carlo estimates made with it are deterministic, do not depend on the other rows or
    on their order, and still average out over different rows. A row's bits are hashed to a key,
    and the splitmix64 finaliser (Steele, Lea & Flood, 2014) of key and counter gives uniform
    numbers.

    Parameters
    ----------
    key : Tensor of shape (b,), int64
        What the rows are hashed to, see `of`.
    draw : int, default=0
        Which of several independent draws to make.
    """

    def __init__(self, key, draw=0):
        self._key = key
        self._n_drawn = draw << 32

    @classmethod
    def of(cls, rows):
        """Make the noise of rows (b, n_features), float32."""
        bits = rows.contiguous().view(torch.int32).long()
        place = torch.arange(1, bits.shape[1] + 1, device=rows.device) * _GOLDEN
        hashed = bits + place
        hashed = (hashed ^ _logical_shift(hashed, 30)) * _MIX_1
        return cls(_mix((hashed ^ _logical_shift(hashed, 27)).sum(1)))

    def draw(self, number):
        """Return the noise of another draw, by its number."""
        return RowNoise(self._key, number)

    def __call__(self, like):
        """Derive standard normal noise of the shape (b, n_units) of ``like``."""
        n_units = like.shape[1]
        first, self._n_drawn = self._n_drawn, self._n_drawn + n_units
        counter = torch.arange(first + 1, first + n_units + 1, device=like.device)
        hashed = _mix(self._key[:, None] + counter * _GOLDEN)
        probability = ((hashed & 0x7FFFFF).float() + 0.5) / 0x800000
        return torch.erfinv(2 * probability - 1) * 2**0.5


def _mix(z):
    z = (z ^ _logical_shift(z, 30)) * _MIX_1
    z = (z ^ _logical_shift(z, 27)) * _MIX_2
    return z ^ _logical_shift(z, 31)


def _logical_shift(z, bits):
    return (z >> bits) & ((1 << (64 - bits)) - 1)
