"""How long compressed rows are against the lower bound and other compressors, and how fast it goes.

Small tables first, with every likelihood, and rows far from the training data among them, and how
many images a second go through hardly trained models. Then the 10,000 test images of Fashion-MNIST,
and files with damage. Needs Pillow. Times are of the CPU; set OMP_NUM_THREADS=1 for one core.

``lossy.py`` does the same for files with loss.

    python examples/benchmarks/codec.py [--model FILE] [--images 10000] [--damaged 10000]
"""

import argparse
import bz2
import io
import lzma
import time
import warnings
from pathlib import Path

import numpy as np
from fashion_mnist import load_fashion_mnist
from PIL import Image
from sklearn.datasets import load_digits

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import CodecError
from sk_hvae.nn import DiscretizedLogistic, DiscretizedLogisticMixture, Gaussian

N_TRAIN_DIGITS = 1200
# The model of images was chosen on the last 2,000 of the 5,000 other training images.
N_TRAIN_IMAGES, N_EPOCHS = 55_000, 6
N_TIMED_IMAGES = 3000
IMAGES_IN_A_ROW = 100


def small_tables():
    """Yield name, parameters, training rows and test rows."""
    digits = load_digits().data.astype(np.uint8)
    rng = np.random.default_rng(0)
    factors = rng.gamma(2.0, size=(2200, 3)) @ rng.gamma(1.0, size=(3, 40))
    counts = rng.poisson(factors).astype(np.uint16)
    images = {"image_shape": (1, 8, 8), "network": "mlp"}
    cases = {
        "bernoulli": ((digits > 7).astype(np.uint8), {"likelihood": "bernoulli"}),
        "levels": (digits, {"likelihood": DiscretizedLogistic(17), **images}),
        "levels, convolutions": (
            digits,
            {"likelihood": DiscretizedLogistic(17), **images, "network": "conv"},
        ),
        "mixture": (digits, {"likelihood": DiscretizedLogisticMixture(5, 17), **images}),
        "quantile scale": (digits, {"likelihood": Gaussian("per_feature", "quantile")}),
        "states on top": (digits, {"likelihood": "poisson", "top_layer": "categorical"}),
        "poisson": (counts, {"likelihood": "poisson"}),
        "negative binomial": (counts, {"likelihood": "negative_binomial"}),
    }
    for name, (X, params) in cases.items():
        yield name, params, X[:N_TRAIN_DIGITS], X[N_TRAIN_DIGITS:]


def show_small_tables():
    """Print the length of files against D + the total rate, and whether rows come back."""
    print(
        "| likelihood | rows | D + sum R, bits a row | file | file / limit | lzma, bz2 | exact | "
        "rows a second |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, params, train, test in small_tables():
        model = HierarchicalVAETransformer((4, 12), max_epochs=60, random_state=0, **params)
        model.fit(train)
        bits = bits_of(model, test)
        data, speeds = timed(model, test)
        far = test[::-1].copy()
        far[:5] = train.max() - far[:5]
        exact = all((model.decompress(model.compress(X)) == X).all() for X in (test, far))
        limit = 1.005 * bits * len(test) + 512
        general = min(8 * len(pack.compress(test.tobytes())) for pack in (lzma, bz2)) / len(test)
        file = 8 * len(data) / len(test)
        print(
            f"| {name} | {len(test)} | {bits:.2f} | {file:.2f} | {8 * len(data) / limit:.4f} | "
            f"{general:.1f} | {'yes' if exact else 'NO'} | {speeds} |",
            flush=True,
        )


def timed(model, X):
    """Compress rows and decompress them; returns the file, and rows a second each way."""
    start = time.process_time()
    data = model.compress(X, verify=False)
    middle = time.process_time()
    model.decompress(data)
    end = time.process_time()
    return data, f"{len(X) / (middle - start):.0f}, {len(X) / (end - middle):.0f}"


def images_model(likelihood, **params):
    """Make a model of images of 28 by 28 pixels."""
    return HierarchicalVAETransformer(
        n_components=64,
        likelihood=likelihood,
        image_shape=(1, 28, 28),
        network="mlp",
        random_state=0,
        **params,
    )


def show_speed():
    """Print how many images of Fashion-MNIST a second are compressed and decompressed."""
    train, _, test, _ = load_fashion_mnist(6000)
    cases = {
        "bernoulli": (lambda X: (X > 127).astype(np.uint8), "bernoulli"),
        "levels": (np.asarray, DiscretizedLogistic()),
        "mixture": (np.asarray, DiscretizedLogisticMixture()),
    }
    for name, (prepared, likelihood) in cases.items():
        model = images_model(likelihood, layer_rates=(20, 60), max_epochs=1)
        model.fit(prepared(train))
        _, speeds = timed(model, prepared(test[:N_TIMED_IMAGES]))
        print(f"{N_TIMED_IMAGES} images, {name}: {speeds} images a second", flush=True)


def bits_of(model, X):
    """Return D + the total rate per row, bits."""
    return (model.distortion(X) + model.rates(X).sum(axis=1)).mean()


def trained_model(path):
    """Load a model of images, or train one and keep it there."""
    if path is not None and Path(path).exists():
        return HierarchicalVAETransformer.load(path)
    X, *_ = load_fashion_mnist(N_TRAIN_IMAGES)
    # Files are shortest where a bit of rate saves a bit of distortion: where betas are 1.
    model = images_model(
        DiscretizedLogisticMixture(),
        layer_rates=None,
        betas=(1, 1),
        hidden_layer_sizes=(512, 512),
        max_epochs=N_EPOCHS,
    )
    start = time.process_time()
    model.fit(X)
    print(f"trained in {time.process_time() - start:.0f} s of CPU time")
    if path is not None:
        model.save(path)
    return model


def sheet_of(X):
    """Put images side by side."""
    rows = X.reshape(-1, IMAGES_IN_A_ROW, 28, 28).swapaxes(1, 2)
    return Image.fromarray(rows.reshape(-1, IMAGES_IN_A_ROW * 28))


def show_images(model, X):
    """Print bits an image of the codec and of others, and the time it takes."""
    start = time.process_time()
    data = model.compress(X, verify=False)
    middle = time.process_time()
    exact = (model.decompress(data) == X).all()
    end = time.process_time()
    sheet = io.BytesIO()
    sheet_of(X).save(sheet, "WEBP", lossless=True, quality=100, method=6)
    found = {
        "D + sum R": bits_of(model, X) * len(X),
        "compress": 8 * len(data),
        "WebP, lossless, one sheet": 8 * len(sheet.getvalue()),
        "lzma": 8 * len(lzma.compress(X.tobytes())),
    }
    for name, bits in found.items():
        print(f"{name}: {bits / len(X):.1f} bits an image")
    ratio = found["compress"] / found["WebP, lossless, one sheet"]
    print(f"compress / WebP: {ratio:.3f}; exact: {'yes' if exact else 'NO'}")
    n = len(X)
    print(f"images a second of CPU time: {n / (middle - start):.0f}, {n / (end - middle):.0f}")


def show_damage(model, X, n):
    """Flip bits of a file, and cut it, many times; print how often that is not told."""
    rng, data, wrong = np.random.default_rng(0), model.compress(X), 0
    for i in range(n):
        damaged = bytearray(data)
        if i % 2:
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        else:
            del damaged[rng.integers(len(data)) :]
        try:
            model.decompress(damaged)
        except CodecError:
            continue
        wrong += 1
    print(f"{n} damaged files, {wrong} of them decoded")


def main():
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="file of the model of images, which is made if need be")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--damaged", type=int, default=10_000)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    show_small_tables()
    show_speed()
    model = trained_model(args.model)
    *_, X, _ = load_fashion_mnist(1)
    show_images(model, X[: args.images])
    show_damage(model, X[:20], args.damaged)


if __name__ == "__main__":
    main()
