"""Fashion-MNIST, from Debian's package dataset-fashion-mnist or from OpenML."""

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml

_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_IMAGE_HEADER, _LABEL_HEADER = 16, 8


def load_fashion_mnist(n_train=20_000):
    """Load the first training rows and all 10,000 test rows.

    Parameters
    ----------
    n_train : int, default=20_000
        Number of training rows, at most 60,000.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        Images (n, 784), uint8, and labels (n,).
    """
    if _FOLDER.exists():
        images = [
            _read(f"{part}-images-idx3-ubyte.gz", _IMAGE_HEADER) for part in ("train", "t10k")
        ]
        labels = [
            _read(f"{part}-labels-idx1-ubyte.gz", _LABEL_HEADER) for part in ("train", "t10k")
        ]
        X, y = np.concatenate(images).reshape(-1, 784), np.concatenate(labels)
    else:
        X, y = fetch_openml("Fashion-MNIST", version=1, return_X_y=True, as_frame=False)
        X, y = X.astype(np.uint8), y.astype(np.uint8)
    return X[:n_train], y[:n_train], X[60_000:], y[60_000:]


def _read(name, header):
    return np.frombuffer(gzip.decompress((_FOLDER / name).read_bytes()), np.uint8, offset=header)
