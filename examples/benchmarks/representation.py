"""How good are reconstructions and latents at their bits?

Part a: mean squared error of reconstructions from sampled latents, divided by what the best
linear-Gaussian code reaches at the measured rate (reverse water-filling on the covariance of
the training rows). Fashion-MNIST: 20,000 training rows, 64 units in all; bar 0.80 on test rows.
digits (raw columns), breast_cancer and wine (standardised, as their columns have different
units): bar 1.0. The reference knows the training rows' covariance, so it is exact for them
only; for held-out rows the table also shows the ratio of a linear code of our own.
Part b: accuracy of logistic regression on `transform`, held-out rows, beside PCA with the same
number of columns; three rates stated beforehand, best of three against PCA.

    python examples/benchmarks/representation.py [--seeds 3] [--part a|b] [--data fashion|small]
"""

import argparse
import math
import warnings

import numpy as np
import torch
from fashion_mnist import load_fashion_mnist
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.metrics import gaussian_rate_distortion
from sk_hvae.nn.water_filling import water_fill

FASHION_RATES_A = [(2, 8), (4, 30), (16, 80)]
FASHION_RATES_B = [(8, 24), (4, 60), (16, 80)]
SMALL_RATES_A = [(2, 8), (4, 16)]
SMALL_RATES_B = [(2, 8), (4, 16), (8, 32)]


def linear_code_error(X, X_test, bits):
    """Return the expected MSE on test rows of the linear code made for the training rows."""
    pca = PCA().fit(X)
    variances = np.maximum(pca.explained_variance_, 1e-12)
    nats = water_fill(torch.tensor(variances), bits * math.log(2)).numpy()
    left = np.exp(-2 * nats)
    bias = (left * pca.transform(X_test)) ** 2
    noise = (1 - left) * left * variances
    return (bias + noise).sum(1).mean() / X.shape[1]


def ratio(hvae, X_train, X):
    """Return the MSE from sampled latents over the linear-Gaussian optimum, and the bits."""
    bits = hvae.rates(X).mean(axis=0).sum()
    sampled = hvae.inverse_transform(np.hstack(hvae.latents(X, sample=True)))
    return ((sampled - X) ** 2).mean() / gaussian_rate_distortion(X_train, bits), bits


def accuracy(Z, y, Z_test, y_test):
    return LogisticRegression(max_iter=2000).fit(Z, y).score(Z_test, y_test)


def fashion():
    X, y, X_test, y_test = load_fashion_mnist()
    return X / np.float32(255), y, X_test / np.float32(255), y_test


def small(load, seed):
    X, y = load(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if load is not load_digits:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    return X, y, X_test, y_test


def errors_fashion(seeds):
    X, _, X_test, _ = fashion()
    for rates in FASHION_RATES_A:
        ratios = []
        for seed in range(seeds):
            hvae = HierarchicalVAETransformer(rates, n_components=32, random_state=seed).fit(X)
            ratios.append(ratio(hvae, X, X_test)[0])
        print(
            f"a  fashion-mnist  {rates!s:9} test MSE / linear optimum {np.round(ratios, 3)}  "
            f"mean {np.mean(ratios):.3f}  (bar 0.80)",
            flush=True,
        )


def errors_small(seeds):
    for load in (load_digits, load_breast_cancer, load_wine):
        for rates in SMALL_RATES_A:
            rows = []
            for seed in range(seeds):
                X, _, X_test, _ = small(load, seed)
                hvae = HierarchicalVAETransformer(rates, random_state=seed).fit(X)
                on_test, bits = ratio(hvae, X, X_test)
                linear = linear_code_error(X, X_test, bits) / gaussian_rate_distortion(X, bits)
                rows.append((ratio(hvae, X, X)[0], on_test, linear))
            train, test, linear = np.mean(rows, axis=0)
            print(
                f"a  {load.__name__[5:]:13}  {rates!s:9} training rows {train:.3f} (bar 1.0), "
                f"held-out rows {test:.3f}, linear code on held-out rows {linear:.3f}",
                flush=True,
            )


def accuracies(name, splits, columns, rates):
    """Print the accuracy of PCA and of the latents at each of the rates, mean over splits."""
    means = {}
    for seed, (X, y, X_test, y_test) in enumerate(splits):
        pca = PCA(min(columns, *X.shape), random_state=seed).fit(X)
        reference = accuracy(pca.transform(X), y, pca.transform(X_test), y_test)
        means.setdefault("PCA", []).append(reference)
        for target in rates:
            hvae = HierarchicalVAETransformer(
                target, n_components=columns // 2, random_state=seed
            ).fit(X)
            score = accuracy(hvae.transform(X), y, hvae.transform(X_test), y_test)
            means.setdefault(str(target), []).append(score)
    means = {key: float(np.mean(scores)) for key, scores in means.items()}
    best = max(score for key, score in means.items() if key != "PCA")
    table = ", ".join(f"{key} {score:.4f}" for key, score in means.items())
    print(
        f"b  {name:13}  {columns:3} columns: {table}; "
        f"best {100 * (best - means['PCA']):+.2f} points",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("a", "b"))
    parser.add_argument("--data", choices=("fashion", "small"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", RateTargetWarning)
    if options.data != "small" and options.part != "b":
        errors_fashion(options.seeds)
    if options.data != "fashion" and options.part != "b":
        errors_small(options.seeds)
    if options.data != "small" and options.part != "a":
        for columns in (32, 64, 128):
            splits = [fashion()] * options.seeds
            accuracies("fashion-mnist", splits, columns, FASHION_RATES_B)
    if options.data != "fashion" and options.part != "a":
        for load in (load_digits, load_breast_cancer, load_wine):
            splits = [small(load, seed) for seed in range(options.seeds)]
            accuracies(load.__name__[5:], splits, 32, SMALL_RATES_B)
