"""The file: a header that says how the rows were coded, and the segments after it.

Numbers are little-endian; those of any size have 7 bits a byte, the lowest first. The header is

- ``HVAE``, the version of the format, the length of what follows, and a checksum of it,
- 4 bytes of the fingerprint of the model,
- numbers of rows and columns, the dtype, and which columns are float32,
- how often cells of each column are missing, and the resolutions of columns, if there are any,
- for each group of segments what rows borrow and leave, and for each segment its length and a
  checksum.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

from sk_hvae._codec.segments import Balance, groups_of, spans_of
from sk_hvae.exceptions import CodecError

_MAGIC, _VERSION = b"HVAE", 1
FINGERPRINT_BYTES = 4
# By place; new ones go to the end.
DTYPES = ("f8", "f4", "f2", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1")
# A number of any size has no more bytes than that of 64 bits.
_MOST_BYTES = 10
_DAMAGED = "the header of the compressed rows is damaged."


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
    dtype : str
        One of ``DTYPES``.
    is_single : bool array of shape (n_features,)
        Which columns hold numbers of float32 only.
    missing_rates : uint8 array of shape (n_features,) or None
        See `MissingPattern`.
    resolution : float64 array of shape (n_features,)
        See `RowCoder`.
    balances : list of Balance
        Of each group of segments.
    entries : list of Entry
        Of each segment.
    """

    fingerprint: bytes
    n_rows: int
    n_features: int
    dtype: str
    is_single: np.ndarray
    missing_rates: np.ndarray | None
    resolution: np.ndarray
    balances: list[Balance]
    entries: list[Entry]

    @property
    def spans(self):
        """The rows of each segment, slices."""
        return spans_of(self.n_rows)

    def to_bytes(self):
        """Return the header as bytes."""
        has_missing = self.missing_rates is not None
        has_resolution = not np.isnan(self.resolution).all()
        parts = [self.fingerprint, _number(self.n_rows), _number(self.n_features)]
        kind = int(self.is_single.all()) + 2 * bool(0 < self.is_single.sum() < self.n_features)
        parts.append(
            bytes([DTYPES.index(self.dtype) << 4 | kind << 2 | has_missing << 1 | has_resolution])
        )
        if kind == 2:
            parts.append(np.packbits(self.is_single).tobytes())
        if self.missing_rates is not None:
            parts.append(self.missing_rates.tobytes())
        if has_resolution:
            different, places = np.unique(np.nan_to_num(self.resolution), return_inverse=True)
            parts += [_number(len(different)), different.astype("<f8").tobytes()]
            if len(different) > 1:
                parts += map(_number, places.tolist())
        for balance in self.balances:
            parts += map(_number, balance)
        for entry in self.entries:
            parts += [_number(entry.length), struct.pack("<I", entry.checksum)]
        content = b"".join(parts)
        start = _MAGIC + bytes([_VERSION]) + _number(len(content))
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
    reader = _Reader(data)
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
        raise CodecError(_DAMAGED)
    header = _read_content(reader)
    if reader.place != end:
        raise CodecError(_DAMAGED)
    return header, end


def _read_content(reader):
    fingerprint = reader.take(FINGERPRINT_BYTES)
    n_rows, n_features = reader.number(), reader.number()
    flags = reader.take(1)[0]
    code, kind = flags >> 4, flags >> 2 & 3
    if code >= len(DTYPES) or not n_features:
        raise CodecError(_DAMAGED)
    is_single = np.full(n_features, kind == 1)
    if kind == 2:
        packed = np.frombuffer(reader.take(-(-n_features // 8)), np.uint8)
        is_single = np.unpackbits(packed, count=n_features) > 0
    missing_rates, resolution = None, np.full(n_features, np.nan)
    if flags & 2:
        missing_rates = np.frombuffer(reader.take(n_features), np.uint8)
    if flags & 1:
        resolution = _read_resolution(reader, n_features)
    spans = spans_of(n_rows)
    balances = [Balance(reader.number(), reader.number()) for _ in groups_of(spans)]
    entries = [
        Entry(reader.number(), *struct.unpack("<I", reader.take(4))) for _ in range(len(spans))
    ]
    return Header(
        *(fingerprint, n_rows, n_features, DTYPES[code], is_single, missing_rates, resolution),
        *(balances, entries),
    )


def _read_resolution(reader, n_features):
    n_different = reader.number()
    different = np.frombuffer(reader.take(8 * n_different), "<f8")
    places = np.zeros(n_features, np.int64)
    if n_different > 1:
        places = np.array([reader.number() for _ in range(n_features)])
    if not n_different or places.max() >= n_different:
        raise CodecError(_DAMAGED)
    return np.where(different > 0, different, np.nan)[places]


class _Reader:
    """Reads parts of bytes in order; raises CodecError at their end."""

    def __init__(self, data):
        self._data, self.place = data, 0

    def take(self, n):
        part = bytes(self._data[self.place : self.place + n])
        self.place += n
        if len(part) < n:
            raise CodecError("the compressed rows end too early.")
        return part

    def number(self):
        value = 0
        for i in range(_MOST_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                return value
        raise CodecError(_DAMAGED)


def _number(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
