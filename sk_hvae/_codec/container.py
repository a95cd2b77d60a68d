"""The file: a header that says how the rows were coded, and the segments after it.

Numbers are little-endian; those of any size have 7 bits a byte, the lowest first. The header is

- ``HVAE``, the version of the format, the length of what follows, and a checksum of it,
- 4 bytes of the fingerprint of the model,
- numbers of rows and columns of the data,
- the mode, and what this needs to know: `Exactness` of the data, or the `Bins` of latents,
- for each group of segments what rows borrow and leave, and for each segment its length and a
  checksum.
"""

import struct
import zlib
from typing import NamedTuple

from sk_hvae._codec.bins import Bins
from sk_hvae._codec.exactness import Exactness
from sk_hvae._codec.reader import DAMAGED, Reader, number_bytes
from sk_hvae._codec.segments import Balance, groups_of, spans_of
from sk_hvae.exceptions import CodecError

_MAGIC, _VERSION = b"HVAE", 1
FINGERPRINT_BYTES = 4
# What the modes need to know, by the number of the mode: without loss, and with loss.
_DETAILS = (Exactness, Bins)


class Entry(NamedTuple):
    """What the header says of a segment: its length in bytes, and a checksum."""

    length: int
    checksum: int


class Header(NamedTuple):
    """What is known of compressed rows before they are decoded.

    Attributes
    ----------
    fingerprint : bytes
        Of the model.
    n_rows, n_features : int
        Shape of the data.
    details : Exactness or Bins
        How the rows were coded: without loss, or with loss.
    balances : list of Balance
        Of each group of segments.
    entries : list of Entry
        Of each segment.
    """

    fingerprint: bytes
    n_rows: int
    n_features: int
    details: Exactness | Bins
    balances: list[Balance]
    entries: list[Entry]

    @property
    def spans(self):
        """The rows of each segment, slices."""
        return spans_of(self.n_rows)

    def to_bytes(self):
        """Return the header as bytes."""
        parts = [self.fingerprint, number_bytes(self.n_rows), number_bytes(self.n_features)]
        mode = _DETAILS.index(type(self.details))
        parts += [bytes([mode]), self.details.to_bytes()]
        for balance in self.balances:
            parts += map(number_bytes, balance)
        for entry in self.entries:
            parts += [number_bytes(entry.length), struct.pack("<I", entry.checksum)]
        content = b"".join(parts)
        start = _MAGIC + bytes([_VERSION]) + number_bytes(len(content))
        return start + struct.pack("<I", zlib.crc32(content)) + content


def read_header(data):
    """Read a header.

    Parameters
    ----------
    data : memoryview
        The file, or more than its header.

    Returns
    -------
    tuple of (Header, int)
        The header, and where it ends.

    Raises
    ------
    CodecError
        If it is none.
    """
    reader = Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise CodecError("this is not what compress() returns: it begins with something else.")
    version = reader.take(1)[0]
    if version != _VERSION:
        raise CodecError(
            f"the rows were compressed in format {version}, and this version of sk_hvae knows "
            f"format {_VERSION}; update sk_hvae."
        )
    length, known_sum = reader.number(), reader.take(4)
    end = reader.place + length
    if struct.pack("<I", zlib.crc32(data[reader.place : end])) != known_sum:
        raise CodecError(DAMAGED)
    header = _read_content(reader)
    if reader.place != end:
        raise CodecError(DAMAGED)
    return header, end


def _read_content(reader):
    fingerprint = reader.take(FINGERPRINT_BYTES)
    n_rows, n_features, mode = reader.number(), reader.number(), reader.take(1)[0]
    if mode >= len(_DETAILS):
        raise CodecError(DAMAGED)
    details = _DETAILS[mode].read(reader, n_features)
    spans = spans_of(n_rows)
    balances = [Balance(reader.number(), reader.number()) for _ in groups_of(spans)]
    entries = [
        Entry(reader.number(), *struct.unpack("<I", reader.take(4))) for _ in range(len(spans))
    ]
    return Header(fingerprint, n_rows, n_features, details, balances, entries)
