"""Pictures as text, which a page holds: PNG files with images side by side."""

import base64
import struct
import zlib

import numpy as np

_GAP = 1  # pixels between images
# Of the 256 levels of a channel the last one is left out: it is transparent, for gaps and for
# missing pixels, so that they look right on light and dark pages.
_LEVELS, _TRANSPARENT = 254, 255
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # kinds of colour in PNG files, by their number of channels
_KINDS = {1: _GREY, 3: _RGB}


def strip(images, low, high):
    """Write images side by side as the URL of a PNG picture.

    Parameters
    ----------
    images : ndarray of shape (n_images, n_channels, height, width)
        Pixels, of 1 or 3 channels. NaN is transparent. With one channel, large values are dark, as
        in the pictures of `sk_hvae.plotting`.
    low, high : float
        The values of the darkest and the brightest pixels; others are cut off.

    Returns
    -------
    str
        "data:image/png;base64,...".
    """
    n_images, n_channels, height, width = images.shape
    shares = ((images - low) / ((high - low) or 1.0)).clip(0, 1)
    shares = 1 - shares if n_channels == 1 else shares
    levels = np.where(np.isnan(shares), _TRANSPARENT, (shares * _LEVELS).round())
    canvas = np.full((height, n_images, width + _GAP, n_channels), _TRANSPARENT, np.uint8)
    canvas[:, :, :width] = levels.transpose(2, 0, 3, 1)
    canvas = canvas.reshape(height, -1, n_channels)[:, :-_GAP]
    return "data:image/png;base64," + base64.b64encode(_png(canvas)).decode()


def _png(pixels):
    """Write pixels (height, width, n_channels), uint8, as a PNG file."""
    height, width, n_channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _KINDS[n_channels], 0, 0, 0)
    transparent = struct.pack(">H", _TRANSPARENT) * n_channels
    # Each line begins with the number of its filter: 0 is none.
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))
    parts = (
        (b"IHDR", header),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(_chunk(*part) for part in parts)


def _chunk(name, data):
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
