"""What a bit buys: images with loss, beside PCA, JPEG, WebP and AVIF.

Models of four rates see 20,000 images of Fashion-MNIST, and the 10,000 test images are compressed
to as many bits as the rates state. PCA sees the same images; its scores are rounded to multiples of
one step, and coded by a table of frequencies for each component, whose own size is not counted. The
formats of images compress all test images in one sheet, so that one header serves them all. PCA and
these formats are compared at the same mean squared error, or at the same bits. Needs Pillow.

    python examples/benchmarks/lossy.py [--images 10000]
"""

import argparse
import io
import time
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist
from PIL import Image, features
from sklearn.decomposition import PCA

from sk_hvae import HierarchicalVAETransformer

N_TRAIN_IMAGES = 20_000
RATES = ((2, 8), (4, 16), (8, 32), (20, 80))
IMAGES_IN_A_ROW = 100
PCA_STEPS = np.geomspace(3500, 150, 24)


def sheet_of(X):
    """Put images side by side."""
    rows = X.reshape(-1, IMAGES_IN_A_ROW, 28, 28).swapaxes(1, 2)
    return rows.reshape(-1, IMAGES_IN_A_ROW * 28)


def mse(X, again):
    """Return the mean squared error of levels from 0 to 255."""
    return np.square(X - np.asarray(again, np.float64)).mean()


def table_bits(train, test):
    """Return bits a row under tables of the frequencies of whole numbers, a table a column."""
    bits = 0.0
    for known, new in zip(train.T, test.T, strict=True):
        low = min(known.min(), new.min())
        counts = np.bincount(known - low, minlength=max(known.max(), new.max()) - low + 1) + 0.02
        bits -= np.log2(counts / counts.sum())[new - low].mean()
    return bits


def pca_points(X, test):
    """Return bits an image and mean squared error of rounded principal components, (n, 2)."""
    pca = PCA(128, random_state=0).fit(X.astype(np.float64))
    known, new, points = pca.transform(X), pca.transform(test), []
    for step in PCA_STEPS:
        whole = [np.rint(scores / step).astype(np.int64) for scores in (known, new)]
        points.append((table_bits(*whole), mse(test, pca.inverse_transform(whole[1] * step))))
    return np.array(points)


def format_points(test):
    """Return bits an image and mean squared error of formats at all qualities, by their names."""
    sheet, found = Image.fromarray(sheet_of(test)), {}
    for name in ("JPEG", "WEBP", *(["AVIF"] if features.check("avif") else [])):
        points = []
        for quality in (0, 1, 2, 5, 10, 15, 20, 30, 40, 50, 60):
            file = io.BytesIO()
            sheet.save(
                file, name, quality=quality, **({"optimize": True} if name == "JPEG" else {})
            )
            again = np.asarray(Image.open(file).convert("L"))
            points.append((8 * len(file.getvalue()) / len(test), mse(np.asarray(sheet), again)))
        found[name] = np.array(points)
    return found


def at_bits(points, bits):
    """Return the mean squared error at given bits, on logarithmic scales."""
    order = points[points[:, 0].argsort()]
    return np.exp(np.interp(np.log(bits), *np.log(order.T)))


def at_mse(points, error):
    """Return the bits at a given mean squared error; those of the worst quality if it has less."""
    order = points[points[:, 1].argsort()]
    return np.exp(np.interp(np.log(error), np.log(order[:, 1]), np.log(order[:, 0])))


def show_lossy(n_images):
    """Print bits, errors and times of all models, beside those of others."""
    X, *_ = load_fashion_mnist(N_TRAIN_IMAGES)
    *_, test, _ = load_fashion_mnist(1)
    test = test[:n_images]
    pca, formats = pca_points(X, test), format_points(test)
    print(f"| rates | file, bits an image | MSE | MSE / PCA | {' | '.join(formats)} |", end="")
    print(" in, out, images a second of CPU time |")
    print("|---|---|---|---|" + "---|" * (len(formats) + 1))
    for rates in RATES:
        model = HierarchicalVAETransformer(
            rates, n_components=64, image_shape=(1, 28, 28), network="mlp", random_state=0
        ).fit(X)
        times = [time.process_time()]
        data = model.compress(test, mode="lossy", verify=False)
        times.append(time.process_time())
        again = model.decompress(data)
        times.append(time.process_time())
        bits, error = 8 * len(data) / len(test), mse(test, again)
        others = [f"{at_mse(points, error):.0f}" for points in formats.values()]
        n_a_second = [f"{len(test) / seconds:.0f}" for seconds in np.diff(times)]
        print(
            f"| {sum(model.rates_):.1f} | {bits:.1f} | {error:.0f} | "
            f"{error / at_bits(pca, bits):.3f} | {' | '.join(others)} | {', '.join(n_a_second)} |",
            flush=True,
        )


def main():
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    warnings.simplefilter("ignore")
    show_lossy(parser.parse_args().images)


if __name__ == "__main__":
    main()
