"""How exactly rows come back from a file without loss."""

from typing import NamedTuple

import numpy as np

from sk_hvae._codec.reader import DAMAGED, number_bytes
from sk_hvae.exceptions import CodecError

# By place; new ones go to the end.
DTYPES = ("f8", "f4", "f2", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1")


class Exactness(NamedTuple):
    """What has to come back.

    Attributes
    ----------
    dtype : str
        Of the data, one of ``DTYPES``.
    is_single : bool array of shape (n_features,)
        Which columns hold numbers of float32 only.
    missing_rates : uint8 array of shape (n_features,) or None
        See `MissingPattern`; None if no cell is missing.
    resolution : float64 array of shape (n_features,)
        What Gaussian columns are multiples of, as far as it was stated, see `completed`; else NaN.
    """

    dtype: str
    is_single: np.ndarray
    missing_rates: np.ndarray | None
    resolution: np.ndarray

    def to_bytes(self):
        """Return it as bytes."""
        n_features = len(self.resolution)
        has_missing = self.missing_rates is not None
        has_resolution = not np.isnan(self.resolution).all()
        kind = int(self.is_single.all()) + 2 * bool(0 < self.is_single.sum() < n_features)
        flags = DTYPES.index(self.dtype) << 4 | kind << 2 | has_missing << 1 | has_resolution
        parts = [bytes([flags])]
        if kind == 2:
            parts.append(np.packbits(self.is_single).tobytes())
        if self.missing_rates is not None:
            parts.append(self.missing_rates.tobytes())
        if has_resolution:
            different, places = np.unique(np.nan_to_num(self.resolution), return_inverse=True)
            parts += [number_bytes(len(different)), different.astype("<f8").tobytes()]
            if len(different) > 1:
                parts += map(number_bytes, places.tolist())
        return b"".join(parts)

    @classmethod
    def read(cls, reader, n_features):
        """Read what `to_bytes` returned; raises CodecError if it cannot be that."""
        flags = reader.take(1)[0]
        code, kind = flags >> 4, flags >> 2 & 3
        if code >= len(DTYPES) or not n_features:
            raise CodecError(DAMAGED)
        is_single = np.full(n_features, kind == 1)
        if kind == 2:
            packed = np.frombuffer(reader.take(-(-n_features // 8)), np.uint8)
            is_single = np.unpackbits(packed, count=n_features) > 0
        missing_rates, resolution = None, np.full(n_features, np.nan)
        if flags & 2:
            missing_rates = np.frombuffer(reader.take(n_features), np.uint8)
        if flags & 1:
            resolution = _read_resolution(reader, n_features)
        return cls(DTYPES[code], is_single, missing_rates, resolution)


def _read_resolution(reader, n_features):
    n_different = reader.number()
    different = np.frombuffer(reader.take(8 * n_different), "<f8")
    places = np.zeros(n_features, np.int64)
    if n_different > 1:
        places = np.array([reader.number() for _ in range(n_features)])
    if not n_different or places.max() >= n_different:
        raise CodecError(DAMAGED)
    return np.where(different > 0, different, np.nan)[places]
