"""What do convolutions gain on images, at the same rates and number of parameters?

Fashion-MNIST, (4, 16) bits, 60,000 training rows, default settings; rates, distortion and
error on the 10,000 test images, for the hit-mnist preset, the perceptron closest to it in
number of parameters, and the default convolutional network, also with more passes.

    python examples/benchmarks/convolution.py [--seeds 3] [--rows 60000]
"""

import argparse
import time
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist

from sk_hvae import HierarchicalVAETransformer

TARGETS = np.array([4.0, 16.0])


def make(**params):
    """Build an estimator for the targets."""
    return HierarchicalVAETransformer(tuple(TARGETS), **params)


def n_parameters(hvae):
    """Count what training moves."""
    return sum(p.numel() for p in hvae.module_.parameters())


def perceptron_of(n_wanted, X):
    """Find the hidden width whose perceptron has at least ``n_wanted`` parameters."""
    width = 8
    while True:
        hvae = make(hidden_layer_sizes=(width, width), max_epochs=1).fit(X[:64])
        if n_parameters(hvae) >= n_wanted:
            return {"hidden_layer_sizes": (width, width)}
        width += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X, _, X_test, _ = load_fashion_mnist(arguments.rows)
    X, X_test = X / np.float32(255), X_test / np.float32(255)
    preset = {"network": "hit-mnist"}
    n_wanted = n_parameters(make(**preset, max_epochs=1).fit(X[:64]))
    models = {
        "hit-mnist": preset,
        "perceptron": perceptron_of(n_wanted, X),
        "conv, default": {"image_shape": (1, 28, 28)},
        "conv, 9 passes": {"image_shape": (1, 28, 28), "max_epochs": 9},
        "conv, 12 passes": {"image_shape": (1, 28, 28), "max_epochs": 12},
    }
    for name, params in models.items():
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            hvae = make(**params, random_state=seed).fit(X)
            seconds = time.perf_counter() - start
            rates = hvae.rates(X_test).mean(0)
            mse = np.square(hvae.reconstruct(X_test) - X_test).mean()
            print(
                f"{name:15} seed {seed}: {n_parameters(hvae):7,} parameters, test rates "
                f"{rates[0]:.2f}, {rates[1]:.2f} bits (off by "
                f"{100 * np.abs(rates / TARGETS - 1).max():.1f}%), distortion "
                f"{hvae.distortion(X_test).mean():.1f} bits, MSE {mse:.5f}, {seconds:.0f} s",
                flush=True,
            )
