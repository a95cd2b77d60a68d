"""Segments of rows: each is a stack of its own, which can be decoded without the others."""

from typing import NamedTuple

import numpy as np

from sk_hvae._codec.stacks import OTHER_MACHINE, Stacks
from sk_hvae.exceptions import CodecError

# Rows of a segment, and how many segments are coded in step.
SEGMENT_ROWS, _SEGMENTS_AT_ONCE = 1024, 16
# Numbers that are in memory at once, 8 bytes each: of all rows of a chunk.
_MOST_NUMBERS = 2**22
# Rows of a chunk of a segment, at most, as an exponent: more of them would not be faster.
_LARGEST_CHUNK = 6
# Lanes at most, as an exponent, and words of a stack for each: lanes then cost 1 bit in 800.
_MOST_LANES, _WORDS_PER_LANE = 9, 128
# A chunk may need more than the rows before it did, on average.
_RESERVE = 1.25
_WORD_BITS = 32


class Chunk(NamedTuple):
    """Rows of a segment that are pushed at once: exponents of how many, and on how many lanes."""

    rows: int
    lanes: int


class Segments(NamedTuple):
    """What segments of the same number of rows, coded in step, have come to.

    Attributes
    ----------
    payloads : list of bytes
        The stack of each.
    chunks : list of Chunk
        In the order of encoding, the same for all.
    costs : float64 array of shape (n_segments, n_rows)
        Bits of each row.
    """

    payloads: list[bytes]
    chunks: list[Chunk]
    costs: np.ndarray


def spans_of(n_rows):
    """Return where segments begin and end, as slices."""
    firsts = range(0, n_rows, SEGMENT_ROWS)
    return [slice(first, min(first + SEGMENT_ROWS, n_rows)) for first in firsts]


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
    stacks, chunks, costs = Stacks.new(n_segments), [], np.zeros((n_segments, n_rows))
    first, need = 0, np.inf
    while first < n_rows:
        chunk = _next_chunk(stacks, need, _largest_chunk(code, n_segments))
        stacks.set_lanes(2**chunk.lanes)
        span = slice(first, min(first + 2**chunk.rows, n_rows))
        found = code.push(stacks, x[:, span].reshape(-1, n_columns))
        costs[:, span] = found.bits.reshape(n_segments, -1)
        need = found.borrowed.reshape(n_segments, -1).mean(1).max()
        chunks.append(chunk)
        first = span.stop
    return Segments(stacks.to_bytes(), chunks, costs)


def decode_segments(code, payloads, chunks, n_rows):
    """Decode segments of ``n_rows`` rows each in step: the inverse of `encode_segments`.

    Raises
    ------
    CodecError
        If they do not hold what `encode_segments` makes.
    """
    stacks = Stacks.of_bytes(payloads)
    ends: list[int] = []
    for chunk in chunks:
        ends.append(min((ends[-1] if ends else 0) + 2**chunk.rows, n_rows))
    if not ends or ends[-1] != n_rows or len({0, *ends}) != len(ends) + 1:
        raise CodecError("the compressed rows are damaged: their numbers do not add up.")
    x = np.empty((len(payloads), n_rows, code.n_columns))
    for chunk, start, end in reversed([*zip(chunks, [0, *ends[:-1]], ends, strict=True)]):
        stacks.undo_lanes(2**chunk.lanes)
        part = code.pop(stacks, (end - start) * len(payloads))
        x[:, start:end] = part.reshape(len(payloads), end - start, -1)
    stacks.undo_lanes(1)
    if not stacks.is_new:
        raise CodecError(OTHER_MACHINE)
    return x


def _largest_chunk(code, n_segments):
    """Return the exponent of the rows of a segment for which there is memory."""
    most = max(_MOST_NUMBERS // (code.n_numbers * n_segments), 1)
    return min(most.bit_length() - 1, _LARGEST_CHUNK)


def _next_chunk(stacks, need, largest):
    """Choose how many rows are pushed next, given the bits that each needs, and on which lanes."""
    lanes = max(stacks.n_words // _WORDS_PER_LANE, 1).bit_length() - 1
    lanes = min(max(lanes, stacks.n_lanes.bit_length() - 1), _MOST_LANES)
    affordable = (stacks.n_words - 2**lanes) * _WORD_BITS / (_RESERVE * max(need, 1.0))
    rows = max(int(affordable), 1).bit_length() - 1
    return Chunk(min(rows, largest), lanes)
