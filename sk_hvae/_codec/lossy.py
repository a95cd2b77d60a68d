"""Rows, as the symbols of their latents, to a file and back."""

from sk_hvae._codec.codec import encode
from sk_hvae._codec.reader import DAMAGED
from sk_hvae._codec.symbols import SymbolCode
from sk_hvae.exceptions import CodecError
from sk_hvae.nn.latents.gaussian import GaussianLatent


def encode_symbols(module, bins, take, shape, is_verified, on_rows):
    """Compress rows with loss.

    Parameters
    ----------
    module : HierarchicalVAE
        The model.
    bins : Bins
        Of the units of its layers.
    take : callable
        Maps a slice of row numbers to the symbols of these rows, see `SymbolCode`.
    shape : tuple of int (n_rows, n_features)
        Of the data.
    is_verified : bool
        Whether to decode everything, and compare.
    on_rows : callable
        Told of how many more rows are done.

    Returns
    -------
    Encoded
    """
    return encode(module, bins, SymbolCode(module, bins), take, shape, is_verified, on_rows)


def decode_symbols(module, compressed, on_rows):
    """Decompress symbols.

    Parameters
    ----------
    module : HierarchicalVAE
        The model that compressed them.
    compressed : Compressed
        A file with loss.
    on_rows : callable
        Told of how many more rows are done.

    Returns
    -------
    float64 array of shape (n, n_columns), see `SymbolCode`
    """
    compressed.check_origin(module)
    bins = compressed.details
    layers = [layer for layer in module.layers if isinstance(layer, GaussianLatent)]
    if len(bins.levels) != sum(layer.n_units for layer in layers):
        raise CodecError(DAMAGED)
    return compressed.decode(SymbolCode(module, bins), on_rows)
