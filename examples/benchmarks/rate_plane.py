"""Does one fit cover the whole rate plane, as well as one fit for each point would?

Fashion-MNIST, 20,000 training rows scaled to [0, 1], Bernoulli likelihood, 32 units a layer,
everything else at its default but the epochs; 16 points with 1, 4, 8 or 16 bits in each layer.
A point's cost is D + sum_l beta_l R_l on the 10,000 test rows, with the betas of the dedicated
fit, so that a difference in rate is paid for.

Part 1: rates and excess cost of the multi-rate model against dedicated fits with a third of
its epochs.
Part 2: what the multi-rate fit, and a map of 21 x 21 points, cost in dedicated fits.
Part 3: accuracy of logistic regression over the points, dedicated and multi-rate; RateSearchCV
against GridSearchCV, 16 points and 3 splits.
Part 4: a whole search on digits, in seconds.
Part 5: as part 1, against dedicated fits with the same epochs, before and after ``fine_tune``.

    python examples/benchmarks/rate_plane.py [--epochs 15] [--parts 1 2 3 4 5]
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
    """Logistic regression by Newton's method, quick on columns of very different scales."""
    return LogisticRegression(solver="newton-cg", tol=1e-3)


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


def compare(plane, shared, dedicated, title):
    """Print the excess cost of estimators over dedicated ones at every point."""
    print(f"\n{title}\ntarget       test rates        excess cost, %")
    excesses, off = [], 0
    for target, hvae, reference in zip(POINTS, shared, dedicated, strict=True):
        distortion, rates = plane.measure(hvae)
        least, least_rates = plane.measure(reference)
        cost = distortion + reference.betas_ @ rates
        excesses.append(100 * (cost / (least + reference.betas_ @ least_rates) - 1))
        is_off = bool(np.any(np.abs(rates - target) > np.maximum(0.03 * np.array(target), 0.1)))
        off += is_off
        print(f"{target!s:12} {rates.round(2)!s:16} {excesses[-1]:8.2f}{' OFF' * is_off}")
    print(
        f"mean {np.mean(excesses):.2f}, worst {np.max(excesses):.2f}; rates off by more than 3% "
        f"and 0.1 bit at {off} of {len(POINTS)} points"
    )


def against_a_third(plane):
    shared = [plane.multi.at(rates) for rates in POINTS]
    compare(plane, shared, plane.dedicated, f"dedicated fits of {plane.epochs} epochs")


def against_the_same(plane):
    dedicated, _ = plane.fit_dedicated(3 * plane.epochs)
    shared = [plane.multi.at(rates) for rates in POINTS]
    compare(plane, shared, dedicated, f"dedicated fits of {3 * plane.epochs} epochs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RateTargetWarning)
        tuned = [plane.multi.fine_tune(rates) for rates in POINTS]
    compare(plane, tuned, dedicated, "the same, after fine_tune")


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
    parser.add_argument("--parts", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    plane = Plane(options.epochs) if set(options.parts) & {1, 2, 3, 5} else None
    parts = {1: against_a_third, 2: costs, 3: downstream, 5: against_the_same}
    for part in options.parts:
        digits() if part == 4 else parts[part](plane)
