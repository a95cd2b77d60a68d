"""Stacks of bits: asymmetric numeral systems, in the variant that works by ranges (rANS).

A state is a number from 2**32 to 2**64. To push a symbol of frequency f out of 2**24 multiplies it
by about 2**24 / f; to pop one is the exact inverse, so that the last symbol comes first. Words of
32 bits go from states to the stack and back [1]_.

References
----------
.. [1] Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with
   compression rate of arithmetic coding", 2013.
"""

from functools import cache

import numpy as np

from sk_hvae._codec.distributions import PRECISION, Bits
from sk_hvae.exceptions import CodecError

OTHER_MACHINE = "the compressed rows decode to something else on this machine; no row is returned."
_WORD = np.uint64(32)
_LEAST = np.uint64(2**32)
# The state of a stack that holds nothing. Its lower bits look random: the first latent is made of
# these, and that of the next row of the bits that it leaves.
_FIRST = np.uint64(0x1_9E37_79B9)
# A state takes 5 to 8 bytes; words of 4 follow, so that the length of both tells how many.
_LEAST_STATE_BYTES = 5
_MASK = np.uint64(2**32 - 1)
_BITS = np.uint64(PRECISION)
_PLACE = np.uint64(2**PRECISION - 1)
# A state may grow as long as what is pushed next keeps it below 2**64.
_ROOM = np.uint64(64 - PRECISION)
# Words that lie at the bottom of a new stack, for the latents of the first row; they are written as
# far as they are used. A row with 10,000 units needs a tenth of them.
_N_LENT = 2**15


class Stacks:
    """Stacks that work in step, each with the same number of lanes.

    A lane is a state. Symbols go to the lanes in turn, so that NumPy can handle many at once. Every
    lane costs 5 bits when lanes are joined in the end, so their number grows with the stack.

    Parameters
    ----------
    states : uint64 array of shape (n_stacks, n_lanes)
        From 2**32 on.
    words : uint32 array of shape (n_stacks, capacity)
        The bottom comes first.
    sizes : int64 array of shape (n_stacks,)
        Number of words that there are.
    """

    def __init__(self, states, words, sizes):
        self._states, self._words, self._sizes = states, words, sizes
        self._lowest = sizes.copy()

    @classmethod
    def new(cls, n_stacks):
        """Make stacks that hold nothing but what is lent to the first row."""
        lent = np.tile(_lent_words(), (n_stacks, 1))
        states = np.full((n_stacks, 1), _FIRST)
        return cls(states, lent, np.full(n_stacks, _N_LENT))

    @classmethod
    def of_bytes(cls, payloads):
        """Make stacks of what `to_bytes` returned; raises CodecError if it cannot be that."""
        ends = [_LEAST_STATE_BYTES + (len(p) - _LEAST_STATE_BYTES) % 4 for p in payloads]
        if any(len(payload) < end for payload, end in zip(payloads, ends, strict=True)):
            raise CodecError("the compressed rows are damaged: a segment is too short.")
        pairs = [*zip(payloads, ends, strict=True)]
        numbers = [int.from_bytes(payload[:end], "little") for payload, end in pairs]
        states = np.array(numbers, np.uint64)[:, None]
        if (states < _LEAST).any():
            raise CodecError("the compressed rows are damaged: a segment has no state.")
        parts = [np.frombuffer(payload, "<u4", offset=end) for payload, end in pairs]
        sizes = np.array([len(part) for part in parts])
        words = np.zeros((len(parts), max(int(sizes.max()), 1)), np.uint32)
        for place, part in zip(words, parts, strict=True):
            place[: len(part)] = part
        return cls(states, words, sizes)

    def to_bytes(self):
        """Return what each stack holds, down to the last word that was used: a list of bytes."""
        self.set_lanes(1)
        return [
            _state_bytes(int(state[0])) + words[low:size].astype("<u4").tobytes()
            for state, words, low, size in zip(
                self._states, self._words, self._lowest, self._sizes, strict=True
            )
        ]

    @property
    def is_new(self):
        """Whether nothing is left of what was pushed, but for words that were lent."""
        lent = _lent_words()
        return self.n_lanes == 1 and all(
            state == _FIRST and size <= _N_LENT and (words[:size] == lent[_N_LENT - size :]).all()
            for (state,), words, size in zip(self._states, self._words, self._sizes, strict=True)
        )

    def __len__(self):
        return len(self._states)

    @property
    def n_lanes(self):
        """Number of lanes of each stack."""
        return self._states.shape[1]

    def push(self, distribution, symbols, active=None):
        """Push symbols, from the last to the first.

        Parameters
        ----------
        distribution : Distribution
            Of all cells.
        symbols : int64 array of shape (n_stacks, n_cells)
            One for each cell.
        active : bool array of shape (n_stacks, n_cells), default=None
            Which cells have a symbol; None for all.

        Returns
        -------
        float64 array of shape (n_stacks, n_cells)
            How many bits each symbol takes.
        """
        start, length = distribution.intervals(symbols)
        starts, lengths = start.astype(np.uint64), length.astype(np.uint64)
        limits = lengths << _ROOM
        for cells in reversed(self._groups(symbols.shape[1])):
            states = self._states[:, : cells.stop - cells.start]
            length_here = lengths[:, cells]
            is_full = states >= limits[:, cells]
            if active is not None:
                is_full &= active[:, cells]
            self._write(states, is_full)
            emptied = np.where(is_full, states >> _WORD, states)
            quotient = emptied // length_here
            pushed = (quotient << _BITS) + (emptied - quotient * length_here) + starts[:, cells]
            states[...] = pushed if active is None else np.where(active[:, cells], pushed, emptied)
        return _bits(length, active)

    def pop(self, distribution, active=None):
        """Pop the symbols of all cells of a distribution, from the first to the last.

        Returns
        -------
        tuple of array of shape (n_stacks, n_cells)
            The symbols, int64, 0 where cells are not active; and how many bits each takes.
        """
        symbols = np.zeros(distribution.shape, np.int64)
        lengths = np.ones(distribution.shape)
        for cells in self._groups(distribution.shape[1]):
            states = self._states[:, : cells.stop - cells.start]
            places = states & _PLACE
            found, start, length = distribution.find(places.astype(np.float64), cells)
            popped = length.astype(np.uint64) * (states >> _BITS)
            popped += places - start.astype(np.uint64)
            is_low = popped < _LEAST
            if active is not None:
                is_low &= active[:, cells]
                popped = np.where(active[:, cells], popped, states)
                found = np.where(active[:, cells], found, 0)
            states[...] = popped
            self._read(states, is_low)
            symbols[:, cells], lengths[:, cells] = found, length
        return symbols, _bits(lengths, active)

    def _groups(self, n_cells):
        """List the cells that go to the lanes at the same time, as slices."""
        n_lanes = self.n_lanes
        firsts = range(0, n_cells, n_lanes)
        return [slice(first, min(first + n_lanes, n_cells)) for first in firsts]

    def set_lanes(self, n_lanes):
        """Change the number of lanes, a power of 2, of which there are at most half a stack."""
        while self.n_lanes < n_lanes:
            new = np.full_like(self._states, 1)
            self._read(new, np.ones(new.shape, bool))
            self._states = np.concatenate((self._states, new), 1)
        while self.n_lanes > n_lanes:
            self._join()

    def undo_lanes(self, n_lanes):
        """Undo `set_lanes`, when everything that was pushed since then has been popped.

        Parameters
        ----------
        n_lanes : int
            How many there were before.

        Raises
        ------
        CodecError
            If the lanes are not as they were made.
        """
        while self.n_lanes < n_lanes:
            self._part()
        while self.n_lanes > n_lanes:
            self._states, new = np.split(self._states, 2, axis=1)
            self._states = self._states.copy()
            self._write(new, np.ones(new.shape, bool))
            if (new >> _WORD != 1).any():
                raise CodecError(OTHER_MACHINE)

    def _join(self):
        """Push half of the lanes to the other half: a word each, and the number that is left."""
        self._states, old = (part.copy() for part in np.split(self._states, 2, axis=1))
        self._write(old, np.ones(old.shape, bool))
        left = (old >> _WORD).astype(np.int64)
        n_bits = np.frexp(left.astype(np.float64))[1].astype(np.int64) - 1
        rest = left - (1 << n_bits)
        self.push(Bits(np.maximum(n_bits - 16, 0)), rest >> 16)
        self.push(Bits(np.minimum(n_bits, 16)), rest & 0xFFFF)
        self.push(Bits(np.full_like(n_bits, 5), 5), n_bits)

    def _part(self):
        """Undo `_join`."""
        n_bits, _ = self.pop(Bits(np.full(self._states.shape, 5), 5))
        low, _ = self.pop(Bits(np.minimum(n_bits, 16)))
        high, _ = self.pop(Bits(np.maximum(n_bits - 16, 0)))
        new = ((1 << n_bits) + (high << 16) + low).astype(np.uint64)
        self._read(new, np.ones(new.shape, bool))
        self._states = np.concatenate((self._states, new), 1)

    def _write(self, states, chosen):
        """Put the lower words of chosen states (n_stacks, m) on the stacks, in their order."""
        if not chosen.any():
            return
        counts = chosen.sum(1)
        room = int((self._sizes + counts).max()) - self._words.shape[1]
        if room > 0:
            more = max(room, self._words.shape[1])
            self._words = np.pad(self._words, ((0, 0), (0, more)))
        stack, lane = np.nonzero(chosen)
        place = (self._sizes[:, None] + chosen.cumsum(1))[stack, lane] - 1
        self._words[stack, place] = (states[stack, lane] & _MASK).astype(np.uint32)
        self._sizes += counts

    def _read(self, states, chosen):
        """Take words from the stacks into chosen states (n_stacks, m), in place."""
        if not chosen.any():
            return
        self._sizes -= chosen.sum(1)
        if (self._sizes < 0).any():
            raise CodecError("the compressed rows end too early.")
        self._lowest = np.minimum(self._lowest, self._sizes)
        stack, lane = np.nonzero(chosen)
        place = (self._sizes[:, None] + chosen.cumsum(1))[stack, lane] - 1
        states[stack, lane] = (states[stack, lane] << _WORD) | self._words[stack, place]


def _state_bytes(state):
    """Return a state in as few bytes as it takes."""
    return state.to_bytes(-(-state.bit_length() // 8), "little")


def _bits(lengths, active):
    """Return the information in symbols whose intervals have given lengths."""
    bits = PRECISION - np.log2(lengths)
    return bits if active is None else np.where(active, bits, 0.0)


@cache
def _lent_words():
    """Return numbers that look random, by the finaliser of SplitMix64 (Steele et al., 2014)."""
    number = np.arange(1, _N_LENT + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ (number >> np.uint64(shift))) * np.uint64(factor)
    return (number >> np.uint64(32)).astype(np.uint32)
