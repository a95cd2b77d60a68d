"""Segments of rows: each is a stack of its own, which can be decoded without the others."""

from typing import NamedTuple

import numpy as np

from sk_hvae._codec.stacks import OTHER_MACHINE, Stacks
from sk_hvae.exceptions import CodecError

# Rows of a segment at most, and how many segments are coded in step.
SEGMENT_ROWS, _SEGMENTS_AT_ONCE = 1024, 16
# Numbers that are in memory at once, 8 bytes each: of all rows of a chunk.
_MOST_NUMBERS = 2**22
# Rows of a chunk of a segment, at most: more of them would not be faster.
_LARGEST_CHUNK = 64
# Lanes of a stack at most, and bits for each of them in the end: lanes then cost 1 bit in 450. They
# come as soon as the stack has so many bits for each, of which a lane takes the bits of a state.
_MOST_LANES, _BITS_PER_LANE, _FIRST_BITS_PER_LANE, _STATE_BITS = 512, 2048, 256, 32
# A chunk may need more than rows do on average: a quarter of it.
_RESERVE = 4
# Rows at the beginning of segments, and as many all over them, that tell what rows need and leave.
_N_PROBED = 16


class Balance(NamedTuple):
    """Bits that a row borrows for its latents, and leaves, as most rows of a group of segments do.

    The sizes of chunks follow from these, in encoder and decoder. Where rows turn out to be others,
    more is borrowed from what is lent to the first row.
    """

    borrowed: int
    left: int

    def chunks(self, n_rows, most):
        """Yield the rows of chunks as slices, of ``most`` rows at most, and their lanes."""
        first, n_lanes = 0, 1
        final = _lanes_for(n_rows * self.left // _BITS_PER_LANE)
        while first < n_rows:
            n_bits = first * self.left
            n_lanes = max(n_lanes, min(final, _lanes_for(n_bits // _FIRST_BITS_PER_LANE)))
            free = n_bits - _STATE_BITS * n_lanes
            affordable = free * _RESERVE // ((_RESERVE + 1) * max(self.borrowed, 1))
            end = min(first + max(min(affordable, most), 1), n_rows)
            yield slice(first, end), n_lanes
            first = end


class Segments(NamedTuple):
    """What segments of the same number of rows, coded in step, have come to.

    Attributes
    ----------
    payloads : list of bytes
        The stack of each.
    balance : Balance
        Of their rows.
    costs : float64 array of shape (n_segments, n_rows)
        Bits of each row.
    """

    payloads: list[bytes]
    balance: Balance
    costs: np.ndarray


def spans_of(n_rows):
    """Return where segments begin and end, as slices: as few as there can be, of about equal size.

    Those of the same size are coded in step, and a short one would hardly pay for its first row.
    """
    n_segments = max(-(-n_rows // SEGMENT_ROWS), 1)
    size = max(-(-n_rows // n_segments), 1)
    return [slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]


def groups_of(spans):
    """Yield consecutive segments that are coded in step: of the same number of rows, not many."""
    group: list[slice] = []
    for span in spans:
        is_shorter = bool(group) and span.stop - span.start < group[0].stop - group[0].start
        if is_shorter or len(group) == _SEGMENTS_AT_ONCE:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def encode_segments(code, x):
    """Encode segments in step.

    Chunks of rows become larger only as the stacks can pay for their latents. A first row that
    finds nothing there borrows what it needs.

    Parameters
    ----------
    code : RowCode
        Pushes rows.
    x : float64 array of shape (n_segments, n_rows, n_columns)
        Rows.

    Returns
    -------
    Segments
    """
    n_segments, n_rows, n_columns = x.shape
    most = _most_rows(code, n_segments)
    balance = _balance(code, x, min(max(most // 2, 1), _N_PROBED))
    stacks, costs = Stacks.new(n_segments), np.zeros((n_segments, n_rows))
    for span, n_lanes in balance.chunks(n_rows, most):
        stacks.set_lanes(n_lanes)
        found = code.push(stacks, x[:, span].reshape(-1, n_columns))
        costs[:, span] = found.bits.reshape(n_segments, -1)
    return Segments(stacks.to_bytes(), balance, costs)


def decode_segments(code, payloads, n_in_step, balance, n_rows):
    """Decode segments of ``n_rows`` rows each in step: the inverse of `encode_segments`.

    They may be some of the ``n_in_step`` that were encoded together.

    Raises
    ------
    CodecError
        If they do not hold what `encode_segments` makes.
    """
    stacks = Stacks.of_bytes(payloads)
    x = np.empty((len(payloads), n_rows, code.n_columns))
    for span, n_lanes in reversed([*balance.chunks(n_rows, _most_rows(code, n_in_step))]):
        stacks.undo_lanes(n_lanes)
        part = code.pop(stacks, (span.stop - span.start) * len(payloads))
        x[:, span] = part.reshape(len(payloads), -1, x.shape[2])
    stacks.undo_lanes(1)
    if not stacks.is_new:
        raise CodecError(OTHER_MACHINE)
    return x


def _most_rows(code, n_segments):
    """Return how many rows of each segment there is memory for."""
    return min(max(_MOST_NUMBERS // (code.n_numbers * n_segments), 1), _LARGEST_CHUNK)


def _lanes_for(n):
    """Return the largest power of 2 up to n, from 1 to the most lanes."""
    return min(1 << max(n.bit_length() - 1, 0), _MOST_LANES)


def _balance(code, x, n_probed):
    """Push some rows of segments on stacks that are not kept, and see what they take.

    Medians do not follow single odd rows. The lesser one, of the first rows and of all, is safe if
    rows are sorted.
    """
    n_segments, n_rows, n_columns = x.shape
    numbers = np.arange(n_probed)
    rows = np.append(numbers % n_rows, numbers * n_rows // n_probed)
    stacks = Stacks.new(n_segments)
    stacks.set_lanes(_MOST_LANES)
    found = code.push(stacks, x[:, rows].reshape(-1, n_columns))
    borrowed, left = (
        np.median(bits.reshape(-1, n_probed), 1) for bits in (found.borrowed, found.bits)
    )
    return Balance(int(np.ceil(borrowed.max())), int(max(left.min(), 0)))
