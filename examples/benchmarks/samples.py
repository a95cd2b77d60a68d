"""How good are samples, from the prior and like rows of the training?

Fashion-MNIST in [0, 1]. The judge of samples is a perceptron that is fitted to 20,000 training
images. For 5,000 samples, as means given z_1:

- the inception score, and its factors diversity and sharpness;
- the Frechet distance between the judge's hidden units on samples and on test images;
- whether they are copies: the median distance to the nearest training image, relative to that of
  test images. Much less than 1 would be copies. Samples, as all reconstructions, are smoother than
  images, and smooth images are nearer to everything.

Part "single": single models with perceptrons (20,000 images) and convolutions (60,000). "map": the
best of 49 points of one multi-rate model (20,000 images). "peers": a mixture of Gaussians on
principal components, without a VAE. "clusters": how often a clusterer puts its samples of a cluster
back into this cluster.

    python examples/benchmarks/samples.py [--seeds 3] [--parts single map peers clusters]
"""

import argparse
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist
from scipy.linalg import sqrtm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    rate_grid,
)
from sk_hvae.metrics import generation_score

N_SAMPLES, N_JUDGED = 5000, 20_000
AXIS = [0.5, 1, 2, 4, 8, 16, 32]
RATES = {"perceptron": [(2, 8), (4, 16)], "convolutions": [(8, 24)]}
SETTINGS = {"perceptron": {}, "convolutions": {"image_shape": (1, 28, 28), "max_epochs": 9}}


class Judge:
    """Scores samples by a classifier of the training images, and by their distances."""

    def __init__(self, X, y, X_test):
        model = MLPClassifier((128,), early_stopping=True, n_iter_no_change=3, random_state=0)
        self.classifier = model.fit(X, y)
        self.moments = self._moments(X_test)
        self.neighbours = NearestNeighbors(n_neighbors=1).fit(X)
        self.usual = self._nearest(X_test)

    def show(self, name, samples):
        """Print what samples score."""
        score = generation_score(samples, self.classifier)
        print(
            f"{name}: inception score {score.inception_score:.2f} = diversity "
            f"{score.diversity:.2f} x sharpness {score.sharpness:.3f}, Frechet distance "
            f"{self._frechet(samples):.2f}, nearest training image "
            f"{self._nearest(samples) / self.usual:.2f}",
            flush=True,
        )

    def _nearest(self, images):
        return np.median(self.neighbours.kneighbors(images[:1000])[0])

    def _frechet(self, images):
        (mean, covariance), (mean_0, covariance_0) = self._moments(images), self.moments
        root = sqrtm(covariance @ covariance_0).real
        return np.square(mean - mean_0).sum() + np.trace(covariance + covariance_0 - 2 * root)

    def _moments(self, images):
        weights, biases = self.classifier.coefs_[0], self.classifier.intercepts_[0]
        units = np.maximum(images @ weights + biases, 0)
        return units.mean(0), np.cov(units.T)


def single(judge, X, X_test, seeds):
    """Score samples of models at one vector of rates."""
    for network, rates in RATES.items():
        rows = X if network == "convolutions" else X[:N_JUDGED]
        for targets in rates:
            for seed in range(seeds):
                hvae = HierarchicalVAETransformer(
                    targets, random_state=seed, **SETTINGS[network]
                ).fit(rows)
                name = f"{network} {targets}, seed {seed}"
                print(f"{name}: distortion {hvae.distortion(X_test).mean():.1f} bits")
                judge.show(f"{name}, prior", hvae.sample(N_SAMPLES, mean=True))
                judge.show(f"{name}, like", hvae.sample(N_SAMPLES, like=rows, mean=True))
                codes = np.hstack(hvae.latents(X_test[:N_SAMPLES], sample=True))
                judge.show(f"{name}, test images decoded", hvae.inverse_transform(codes))


def of_map(judge, X, X_test, seeds):
    """Score samples over the rate plane, and find the best point of each kind."""
    X = X[:N_JUDGED]
    for seed in range(seeds):
        multi = MultiRateHVAETransformer(random_state=seed).fit(X)
        for kind, rows in {"prior": None, "like": X}.items():
            scores = {
                point: generation_score(
                    multi.at(point).sample(N_SAMPLES, like=rows, mean=True), judge.classifier
                ).inception_score
                for point in rate_grid(AXIS, AXIS)
            }
            best = max(scores, key=scores.get)
            hvae = multi.at(best)
            print(f"map, seed {seed}, {kind}: best at {best}: {scores[best]:.2f}", end="; ")
            print(f"distortion {hvae.distortion(X_test).mean():.1f} bits; at (8, 8): ", end="")
            print(f"{scores[8, 8]:.2f}")
            judge.show(f"map, seed {seed}, {kind}", hvae.sample(N_SAMPLES, like=rows, mean=True))


def peers(judge, X, X_test, seeds):
    """Score samples of a mixture on as many principal components as layers have units."""
    del X_test
    X = X[:N_JUDGED]
    for seed in range(seeds):
        pca = PCA(32, random_state=seed).fit(X)
        mixture = GaussianMixture(50, random_state=seed).fit(pca.transform(X))
        drawn = pca.inverse_transform(mixture.sample(N_SAMPLES)[0])
        judge.show(f"mixture of 50 on 32 components, seed {seed}", drawn)


def clusters(judge, X, X_test, seeds):
    """Assign samples of clusters back."""
    del judge, X_test
    tables = {load.__name__[5:]: load().data for load in (load_iris, load_wine, load_breast_cancer)}
    tables |= {"digits": load_digits().data, "Fashion-MNIST, 5,000": X[:5000]}
    numbers = {"iris": 3, "wine": 3, "breast_cancer": 2}
    for name, rows in tables.items():
        for seed in range(seeds):
            number = numbers.get(name, 10)
            clusterer = HVAEClusterer(number, random_state=seed).fit(rows)
            back = [
                (clusterer.predict(clusterer.sample(500, cluster=k)) == k).mean()
                for k in range(number)
            ]
            print(f"{name}, seed {seed}: {np.mean(back):.3f} back, worst cluster {min(back):.3f}")


PARTS = {"single": single, "map": of_map, "peers": peers, "clusters": clusters}


def main():
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y, X_test, _ = load_fashion_mnist(60_000)
    X, X_test = X / np.float32(255), X_test / np.float32(255)
    judge = Judge(X[:N_JUDGED], y[:N_JUDGED], X_test)
    judge.show("test images", X_test[:N_SAMPLES])
    for part in arguments.parts:
        PARTS[part](judge, X, X_test, arguments.seeds)


if __name__ == "__main__":
    main()
