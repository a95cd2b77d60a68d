"""Headers come back, and any damage to them is told."""

import numpy as np
import pytest

from sk_hvae._codec.bins import Bins
from sk_hvae._codec.container import Entry, Header, read_header
from sk_hvae._codec.exactness import Exactness
from sk_hvae._codec.segments import Balance
from sk_hvae.exceptions import CodecError

NONE = np.full(3, np.nan)
OPTIONS = np.arange(3, dtype=np.uint8), np.array([0.01, np.nan, 2.0])
LEVELS = np.array([0, 1, 0, 255, 90, 0, 0, 0, 7], np.uint8)
HEADERS = {
    "plain": Header(
        *(b"1234", 500, 3, Exactness("u1", np.ones(3, bool), None, NONE)),
        *([Balance(178, 27)], [Entry(3000, 2**32 - 1)]),
    ),
    "all options": Header(
        *(b"1234", 2101, 3, Exactness("f8", np.array([True, False, True]), *OPTIONS)),
        *([Balance(0, 0), Balance(900, 10**5)], [Entry(10**6 + i, i) for i in range(3)]),
    ),
    "with loss": Header(b"1234", 10, 3, Bins(3.25, LEVELS), [Balance(0, 40)], [Entry(12, 5)]),
}
each = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)


@each
def test_a_header_comes_back(header):
    content = header.to_bytes()
    found, end = read_header(memoryview(content + b"more"))
    assert end == len(content)
    assert (found.balances, found.entries) == (header.balances, header.entries)
    assert found[:3] == header[:3]
    assert type(found.details) is type(header.details)
    for value, expected in zip(found.details, header.details, strict=True):
        np.testing.assert_array_equal(value, expected)


@each
def test_damage_is_told(header):
    content = header.to_bytes()
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            with pytest.raises(CodecError):
                read_header(memoryview(bytes(damaged)))
    for length in range(len(content)):
        with pytest.raises(CodecError):
            read_header(memoryview(content[:length]))


def test_a_file_of_500_rows_has_a_short_header():
    assert len(HEADERS["plain"].to_bytes()) < 30
