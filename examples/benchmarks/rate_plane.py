"""Does one fit cover the whole rate plane, as well as one fit for each point would?

Fashion-MNIST, 20,000 training rows scaled to [0, 1], Bernoulli likelihood, 32 units a layer,
everything else at its default but the epochs; 16 points with 1, 4, 8 or 16 bits in each layer.
A point's cost is D + sum_l beta_l R_l on the 10,000 test rows, with the betas of the dedicated
fit, so that a difference in rate is paid for.

Part 1: rates and excess cost of the multi-rate model against dedicated fits with a third of
its epochs; against dedicated fits with the same epochs; the same after ``fine_tune``.
Part 2: what the multi-rate fit, and a map of 21 x 21 points, cost in dedicated fits.
Part 3: accuracy of logistic regression over the points, dedicated and multi-rate; RateSearchCV
against GridSearchCV, 16 points and 3 splits.
Part 4: a whole search on digits, in seconds.

    python examples/benchmarks/rate_plane.py [--epochs 15] [--parts 1 2 3 4]
"""

import argparse
import time
import warnings

import numpy as np
from fashion_mnist import load_fashion_mnist
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from sk_hvae import (
    HierarchicalVAETransformer,
    MultiRateHVAETransformer,
    RateSearchCV,
    rate_grid,
    rate_map,
)
from sk_hvae.exceptions import RateTargetWarning

POINTS = rate_grid([1, 4, 8, 16], [1, 4, 8, 16])
COMMON = {"n_components": 32, "likelihood": "bernoulli", "random_state": 0}


def timed(function):
    """Call a function; returns its result and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def classifier():
    """Logistic regression by Newton's method, which latents of very different scales suit."""
    return LogisticRegression(solver="newton-cg", max_iter=1000)


class Plane:
    """Fashion-MNIST, and fits to it that the parts share."""

    def __init__(self, epochs):
        self.epochs = epochs
        X, self.y, X_test, self.y_test = load_fashion_mnist()
        self.X, self.X_test = X / np.float32(255), X_test / np.float32(255)
        self.dedicated, self.seconds = self.fit_dedicated(epochs)
        self.multi, self.multi_seconds = timed(
            lambda: MultiRateHVAETransformer(max_epochs=3 * epochs, **COMMON).fit(self.X)
        )

    def fit_dedicated(self, epochs):
        """Fit every point by itself; returns the estimators and the seconds of each."""
        fits, seconds = zip(
            *(
                timed(
                    lambda rates=rates: HierarchicalVAETransformer(
                        rates, max_epochs=epochs, **COMMON
                    ).fit(self.X)
                )
                for rates in POINTS
            ),
            strict=True,
        )
        return fits, np.array(seconds)

    def measure(self, hvae):
        """Measure distortion and rates on the test rows, in bits."""
        return hvae.distortion(self.X_test).mean(), hvae.rates(self.X_test).mean(axis=0)


def excess(measured, reference, betas):
    """Return by how many percent a cost is above that of a reference."""
    costs = [distortion + betas @ rates for distortion, rates in (measured, reference)]
    return 100 * (costs[0] / costs[1] - 1)


def compare(plane):
    shared = [plane.measure(plane.multi.at(rates)) for rates in POINTS]
    short = [plane.measure(hvae) for hvae in plane.dedicated]
    same, _ = plane.fit_dedicated(3 * plane.epochs)
    long = [plane.measure(hvae) for hvae in same]
    tuned = [plane.measure(plane.multi.fine_tune(rates)) for rates in POINTS]
    print(
        f"\nexcess cost in percent, against dedicated fits of {plane.epochs} and of "
        f"{3 * plane.epochs} epochs\ntarget       test rates          a third   same   fine-tuned"
    )
    rows, off = [], []
    for i, target in enumerate(POINTS):
        betas = plane.dedicated[i].betas_
        row = [
            excess(shared[i], short[i], betas),
            excess(shared[i], long[i], same[i].betas_),
            excess(tuned[i], long[i], same[i].betas_),
        ]
        rates = shared[i][1]
        off.append(np.all(np.abs(rates - target) <= np.maximum(0.03 * np.array(target), 0.1)))
        rows.append(row)
        print(
            f"{target!s:12} {np.array2string(rates, precision=2):16} "
            f"{'' if off[-1] else 'OFF'} {row[0]:8.2f} {row[1]:8.2f} {row[2]:8.2f}"
        )
    for name, value in (("mean", np.mean(rows, axis=0)), ("worst", np.max(rows, axis=0))):
        print(f"{name:34} {value[0]:8.2f} {value[1]:8.2f} {value[2]:8.2f}")
    print(f"rates within 3% or 0.1 bit at {sum(off)} of {len(off)} points")


def costs(plane):
    unit = np.median(plane.seconds)
    axis = np.geomspace(0.5, 32, 21)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RateTargetWarning)
        surface, seconds = timed(
            lambda: rate_map(
                plane.multi,
                plane.X_test,
                layer_rates=rate_grid(axis, axis),
                metrics=["distortion", "psnr"],
            )
        )
    print(
        f"\na dedicated fit {unit:.1f} s; multi-rate fit {plane.multi_seconds:.1f} s = "
        f"{plane.multi_seconds / unit:.2f} dedicated; map of {len(surface.rates)} points "
        f"{seconds:.1f} s; together {(plane.multi_seconds + seconds) / unit:.2f} dedicated"
    )


def downstream(plane):
    def accuracy(hvae):
        clf = classifier().fit(hvae.transform(plane.X), plane.y)
        return clf.score(hvae.transform(plane.X_test), plane.y_test)

    alone = [accuracy(hvae) for hvae in plane.dedicated]
    shared = [accuracy(plane.multi.at(rates)) for rates in POINTS]
    print("\naccuracy of logistic regression on test rows\ntarget       dedicated  multi-rate")
    for target, a, b in zip(POINTS, alone, shared, strict=True):
        print(f"{target!s:12} {a:9.4f} {b:9.4f}")
    print(f"rank correlation {spearmanr(alone, shared).statistic:.3f}")

    hvae = HierarchicalVAETransformer(max_epochs=plane.epochs, **COMMON)
    pipeline = Pipeline([("hvae", hvae), ("clf", classifier())])
    grid, scores, seconds = {"hvae__layer_rates": POINTS}, [], []
    for search in (RateSearchCV, GridSearchCV):
        found, took = timed(
            lambda search=search: search(pipeline, grid, cv=3).fit(plane.X, plane.y)
        )
        scores.append(found.score(plane.X_test, plane.y_test))
        seconds.append(took)
        print(
            f"{search.__name__:12} picks {found.best_params_['hvae__layer_rates']}: "
            f"{found.best_score_:.4f} in cross-validation, {scores[-1]:.4f} on test rows, "
            f"{took:.0f} s"
        )
    print(
        f"loses {100 * (scores[1] - scores[0]):.2f} points of accuracy, in "
        f"{seconds[0] / seconds[1]:.3f} of the time"
    )


def digits():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    hvae = HierarchicalVAETransformer(random_state=0)
    pipeline = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
    grid = {"hvae__layer_rates": POINTS, "hvae__output_layers": ["all", "top"]}
    search, seconds = timed(lambda: RateSearchCV(pipeline, grid, cv=3).fit(X_train, y_train))
    print(
        f"\ndigits: {len(search.cv_results_['params'])} candidates, 3 splits, {seconds:.1f} s; "
        f"{search.best_params_}, {search.score(X_test, y_test):.3f} on test rows"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of a dedicated fit")
    parser.add_argument("--parts", type=int, nargs="*", default=[1, 2, 3, 4])
    options = parser.parse_args()
    plane = Plane(options.epochs) if set(options.parts) & {1, 2, 3} else None
    for part, run in ((1, compare), (2, costs), (3, downstream)):
        if part in options.parts:
            run(plane)
    if 4 in options.parts:
        digits()
