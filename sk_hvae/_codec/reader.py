"""Whole numbers of any size as bytes, 7 bits a byte, and a reader of what a header holds."""

from sk_hvae.exceptions import CodecError

DAMAGED = "the header of the compressed rows is damaged."
# A number of any size has no more bytes than that of 64 bits.
_MOST_BYTES = 10


def number_bytes(value):
    """Return a number from 0 on as bytes, the lowest first."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


class Reader:
    """Reads parts of bytes in order; raises CodecError at their end.

    Attributes
    ----------
    place : int
        How many bytes were read.
    """

    def __init__(self, data):
        self._data, self.place = data, 0

    def take(self, n):
        """Return the next ``n`` bytes."""
        part = bytes(self._data[self.place : self.place + n])
        self.place += n
        if len(part) < n:
            raise CodecError("the compressed rows end too early.")
        return part

    def number(self):
        """Return the next of the numbers that `number_bytes` wrote."""
        value = 0
        for i in range(_MOST_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                return value
        raise CodecError(DAMAGED)
