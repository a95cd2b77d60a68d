"""Rows to a file that gives them back exactly."""

import numpy as np
import torch

from sk_hvae._codec.bits_back import BitsBack
from sk_hvae._codec.codec import encode
from sk_hvae._codec.exactness import Exactness
from sk_hvae._codec.missing_cells import MissingPattern


def encode_rows(module, rows, dtype, resolution, is_verified, on_rows):
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
    on_rows : callable
        Told of how many more rows are done.

    Returns
    -------
    Encoded

    Raises
    ------
    ColumnError
        If the cells of a column cannot be coded.
    CodecError
        If what is decoded differs.
    TypeError
        If a network of the model has no exact counterpart.
    """
    is_single, missing_rates = _survey(rows)
    exactness = Exactness(dtype, is_single, missing_rates, resolution)
    code = BitsBack(module, exactness)

    def take(span):
        return code.stored(_as_numbers(rows.take(torch.arange(span.start, span.stop))))

    return encode(module, exactness, code, take, rows.shape, is_verified, on_rows)


def decode_rows(module, compressed, on_rows):
    """Decompress rows.

    Parameters
    ----------
    module : HierarchicalVAE
        The model that compressed them.
    compressed : Compressed
        A file without loss.
    on_rows : callable
        Told of how many more rows are done.

    Returns
    -------
    ndarray of shape (n, n_features), float64
    """
    compressed.check_origin(module)
    return compressed.decode(BitsBack(module, compressed.details), on_rows)


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


def _as_numbers(rows):
    return rows.cpu().double().numpy()
