"""Files of segments: from rows and their code to bytes, and back."""

import hashlib
import zlib
from typing import NamedTuple

import numpy as np

from sk_hvae._codec.container import FINGERPRINT_BYTES, Entry, Header, read_header
from sk_hvae._codec.segments import decode_segments, encode_segments, groups_of, spans_of
from sk_hvae.exceptions import CodecError


class Encoded(NamedTuple):
    """Compressed rows.

    Attributes
    ----------
    data : bytes
        The file.
    costs : float64 array of shape (n,)
        Bits that each row takes, without the header.
    """

    data: bytes
    costs: np.ndarray


def encode(module, details, code, take, shape, is_verified, on_rows):
    """Write rows to a file.

    Parameters
    ----------
    module : HierarchicalVAE
        The model, by whose fingerprint the file knows it again.
    details : Exactness or Bins
        What the header says of the code.
    code : RowCode
        Pushes the rows.
    take : callable
        Maps a slice of row numbers to these rows as the code takes them, (n, n_columns), float64.
    shape : tuple of int (n_rows, n_features)
        Of the data.
    is_verified : bool
        Whether to decode everything, and compare.
    on_rows : callable
        Told of how many more rows are done.

    Returns
    -------
    Encoded

    Raises
    ------
    CodecError
        If what is decoded differs.
    """
    payloads, balances, entries, costs = [], [], [], []
    for group in groups_of(spans_of(shape[0])):
        x = take(slice(group[0].start, group[-1].stop)).reshape(len(group), -1, code.n_columns)
        found = encode_segments(code, x)
        if is_verified:
            again = decode_segments(code, found.payloads, len(x), found.balance, x.shape[1])
            if not np.array_equal(again, x, equal_nan=True):
                raise CodecError("the rows would not come back as they are: please report this.")
        payloads += found.payloads
        balances.append(found.balance)
        costs.append(found.costs.ravel())
        entries += [Entry(len(payload), zlib.crc32(payload)) for payload in found.payloads]
        on_rows(found.costs.size)
    n_rows, n_features = shape
    header = Header(_fingerprint(module), n_rows, n_features, details, balances, entries)
    return Encoded(b"".join((header.to_bytes(), *payloads)), np.concatenate(costs))


class Compressed:
    """A file, of which rows are wanted, whose sums were found right.

    Parameters
    ----------
    data : bytes-like
        What `encode` made.
    wanted : slice
        Which rows; only the segments that have some of them are looked at.

    Attributes
    ----------
    details : Exactness or Bins
        What the header says of the code.

    Raises
    ------
    CodecError
        If this is no file, or damaged.
    """

    def __init__(self, data, wanted):
        data = memoryview(data).cast("B")
        self._header, start = read_header(data)
        entries = self._header.entries
        starts = np.cumsum([start, *(entry.length for entry in entries)]).tolist()
        if len(data) != starts[-1]:
            raise CodecError("the compressed rows end too early, or something follows them.")
        self._numbers = np.arange(self._header.n_rows)[wanted]
        self._payloads = {  # by the first row of each
            span.start: _payload(data, entry, start)
            for span, entry, start in zip(self._header.spans, entries, starts, strict=False)
            if _has(span, self._numbers).any()
        }

    @property
    def details(self):
        """What the header says of the code."""
        return self._header.details

    def check_origin(self, module):
        """Raise CodecError if rows were compressed by another model."""
        n_features = len(module.likelihood.summary.mean)
        if self._header.n_features != n_features:
            raise CodecError(
                f"the rows have {self._header.n_features} columns, and the model knows "
                f"{n_features}: they were compressed by another model."
            )
        if self._header.fingerprint != _fingerprint(module):
            raise CodecError(
                "the rows were compressed by another model, or by this one before it was trained "
                "further. Keep the model that compresses, for example with save()."
            )

    def __len__(self):
        """Return how many rows are wanted."""
        return len(self._numbers)

    def decode(self, code, on_rows):
        """Return the wanted rows (n, n_columns), float64, as the code gives them.

        ``on_rows`` is told of how many more rows are done.
        """
        header, numbers = self._header, self._numbers
        x = np.empty((len(numbers), code.n_columns))
        for group, balance in zip(groups_of(header.spans), header.balances, strict=True):
            chosen = [span for span in group if span.start in self._payloads]
            if chosen:
                own = [self._payloads[span.start] for span in chosen]
                n_rows = group[0].stop - group[0].start
                parts = decode_segments(code, own, len(group), balance, n_rows)
                for span, part in zip(chosen, parts, strict=True):
                    is_in = _has(span, numbers)
                    x[is_in] = part[numbers[is_in] - span.start]
                    on_rows(int(is_in.sum()))
        return x


def _fingerprint(module):
    """Return 4 bytes that tell a model from others, also from the same one after more training."""
    kinds = " ".join(type(part).__name__ for part in module.modules())
    hashed = hashlib.sha256(kinds.encode())
    summary = module.likelihood.summary
    tensors = [*module.state_dict().values(), *summary.statistics]
    if summary.codes is not None:
        tensors.append(summary.codes)
    for tensor in tensors:
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.digest()[:FINGERPRINT_BYTES]


def _payload(data, entry, start):
    payload = bytes(data[start : start + entry.length])
    if zlib.crc32(payload) != entry.checksum:
        raise CodecError("the compressed rows are damaged.")
    return payload


def _has(span, numbers):
    """Tell which row numbers are in a segment."""
    return (numbers >= span.start) & (numbers < span.stop)
