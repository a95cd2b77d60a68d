"""Rows to a file, and back: what estimators use."""

import hashlib
import zlib
from typing import NamedTuple

import numpy as np
import torch

from sk_hvae._codec.bits_back import BitsBack
from sk_hvae._codec.cells import Precision
from sk_hvae._codec.container import FINGERPRINT_BYTES, Entry, Header, read_header
from sk_hvae._codec.missing_cells import MissingPattern
from sk_hvae._codec.rows import completed
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
    resolution : float64 array of shape (n_features,)
        What columns were rounded to multiples of; NaN for none.
    """

    data: bytes
    costs: np.ndarray
    resolution: np.ndarray


def encode_rows(module, rows, dtype, resolution, is_verified):
    """Compress rows without loss.

    Parameters
    ----------
    module : HierarchicalVAE
        The model.
    rows : Rows
        Checked.
    dtype : str
        That of the data, one of ``DTYPES``.
    resolution : float64 array of shape (n_features,)
        What the values of Gaussian columns are multiples of; NaN stands for the grid at fit, or
        for whole numbers where there is none and the data are integers.
    is_verified : bool
        Whether to decode everything, and compare.

    Returns
    -------
    Encoded

    Raises
    ------
    ColumnError
        If the cells of a column cannot be coded.
    CodecError
        If what is decoded differs.
    """
    model = BitsBack(module, completed(resolution, module.likelihood, dtype))
    is_single, missing_rates = _survey(rows)
    precision = Precision(is_single)
    payloads, balances, entries, costs = [], [], [], []
    for group in groups_of(spans_of(len(rows))):
        x = model.rows.stored(_take(rows, slice(group[0].start, group[-1].stop)), precision)
        x = x.reshape(len(group), -1, x.shape[1])
        found = encode_segments(model, x, precision, missing_rates)
        if is_verified:
            args = found.payloads, len(x), found.balance, x.shape[1], precision, missing_rates
            if not np.array_equal(decode_segments(model, *args), x, equal_nan=True):
                raise CodecError("the rows would not come back as they are: please report this.")
        payloads += found.payloads
        balances.append(found.balance)
        costs.append(found.costs.ravel())
        entries += [Entry(len(payload), zlib.crc32(payload)) for payload in found.payloads]
    header = Header(
        *(fingerprint(module), len(rows), len(resolution), dtype, is_single, missing_rates),
        *(resolution, balances, entries),
    )
    return Encoded(b"".join((header.to_bytes(), *payloads)), np.concatenate(costs), resolution)


def decode_rows(module, data, wanted):
    """Decompress rows.

    Parameters
    ----------
    module : HierarchicalVAE
        The model.
    data : bytes-like
        What `encode_rows` made.
    wanted : slice
        Which rows; only the segments that have some of them are decoded.

    Returns
    -------
    tuple of (ndarray of shape (n, n_features), str)
        The rows, float64, and the dtype of the data.

    Raises
    ------
    CodecError
        If this is no file of the model, or damaged.
    """
    data = memoryview(data).cast("B")
    header, start = read_header(data)
    starts = np.cumsum([start, *(entry.length for entry in header.entries)]).tolist()
    if len(data) != starts[-1]:
        raise CodecError("the compressed rows end too early, or something follows them.")
    numbers = np.arange(header.n_rows)[wanted]
    # By the first row of each. The model is looked at after the sums are checked: it takes longer.
    payloads = {
        span.start: _payload(data, entry, start)
        for span, entry, start in zip(header.spans, header.entries, starts, strict=False)
        if _has(span, numbers).any()
    }
    _check_origin(module, header)
    resolution = completed(header.resolution, module.likelihood, header.dtype)
    model, precision = BitsBack(module, resolution), Precision(header.is_single)
    x = np.empty((len(numbers), header.n_features))
    for group, balance in zip(groups_of(header.spans), header.balances, strict=True):
        chosen = [span for span in group if span.start in payloads]
        if chosen:
            own = [payloads[span.start] for span in chosen]
            n_rows = group[0].stop - group[0].start
            args = own, len(group), balance, n_rows, precision, header.missing_rates
            for span, part in zip(chosen, decode_segments(model, *args), strict=True):
                is_in = _has(span, numbers)
                x[is_in] = part[numbers[is_in] - span.start]
    return x, header.dtype


def fingerprint(module):
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


def _check_origin(module, header):
    """Raise CodecError if rows were compressed by another model."""
    n_features = len(module.likelihood.summary.mean)
    if header.n_features != n_features:
        raise CodecError(
            f"the rows have {header.n_features} columns, and the model knows {n_features}: they "
            "were compressed by another model."
        )
    if header.fingerprint != fingerprint(module):
        raise CodecError(
            "the rows were compressed by another model, or by this one before it was trained "
            "further. Keep the model that compresses, for example with save()."
        )


def _survey(rows):
    """Go through rows: find the columns of float32 numbers, and how often cells are missing.

    Returns
    -------
    tuple of (bool array of shape (n_features,), uint8 array of shape (n_features,) or None)
        None stands for no missing cells.
    """
    n_features = rows.shape[1]
    is_single, n_missing = np.ones(n_features, bool), np.zeros(n_features, np.int64)
    for chunk in rows.chunks():
        x = _as_numbers(chunk)
        missing = np.isnan(x)
        with np.errstate(over="ignore"):
            is_single &= ((x.astype(np.float32) == x) | missing).all(0)
        n_missing = n_missing + missing.sum(0)
    rates = MissingPattern.rates(n_missing, len(rows)) if n_missing.any() else None
    return is_single, rates


def _take(rows, span):
    return _as_numbers(rows.take(torch.arange(span.start, span.stop)))


def _as_numbers(rows):
    return rows.cpu().double().numpy()


def _payload(data, entry, start):
    payload = bytes(data[start : start + entry.length])
    if zlib.crc32(payload) != entry.checksum:
        raise CodecError("the compressed rows are damaged.")
    return payload


def _has(span, numbers):
    """Tell which row numbers are in a segment."""
    return (numbers >= span.start) & (numbers < span.stop)
