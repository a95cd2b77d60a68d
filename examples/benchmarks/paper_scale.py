"""The study of Xiao & Bamler (ICLR 2023) with their network, over as many points as they had.

Their network for 28 x 28 images ("hit-mnist") on the 60,000 training images of Fashion-MNIST, in
[0, 1]. One conditioned model stands for the 21 x 21 points of the rate plane that would otherwise
be 441 fits; there is one for each seed. With the first seed, a dedicated fit at each of 25 of these
points says how far the map can be trusted. It has as many optimiser steps as the map, of a third of
the rows.

Everything is measured on the 10,000 test images: rates, PSNR and samples on their first half, and
classifiers fitted to 1,500 others and scored on 1,500 more, on samples of a layer, which its rate
limits, and on its posterior means, which the paper used. The judge of samples is a perceptron that
is trained on 20,000 training images.

Every claim is a number of each seed's map. It is printed as the mean over seeds with the 95%
interval of Student's t. Then the first map is compared with the dedicated fits.

    python examples/benchmarks/paper_scale.py [--epochs 5] [--seeds 3] [--results FILE.csv]
        [--report-only]

Each point is appended to the file at once, and is not measured again if it is there, so a run that
was stopped goes on where it was. The fit of a map that is not complete is repeated. Without
``--results`` that is results/paper_scale.csv, which has what was measured on 2026-11-29; pass
another one to measure anew.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fashion_mnist import load_fashion_mnist
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import spearmanr, t
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit
from sklearn.neural_network import MLPClassifier

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer, rate_grid
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.metrics import accuracy_bound, downstream_scores, generation_score, psnr

AXIS = np.geomspace(0.5, 32, 21).round(4)
DEDICATED = rate_grid(AXIS[::5], AXIS[::5])
LIMITS = (AXIS[0], AXIS[-1])
N_MEASURED, N_PROBED, N_GENERATED = 5000, 3000, 5000
PRIOR = np.full(10, 0.1)
TOTALS = (8.0, 16.0, 32.0)
CLASSIFIERS = ("rbf_svm", "knn")
PROBES = [
    f"{name} on {kind} of z{n}"
    for name in CLASSIFIERS
    for kind in ("samples", "means")
    for n in (1, 2)
]
TASKS = ["psnr", "inception_score", *PROBES]
KEYS = ["target1", "target2"]
RESULTS = Path(__file__).parent / "results" / "paper_scale.csv"


class Study:
    """Data, the judge of samples, and the points that were measured so far."""

    def __init__(self, path, epochs):
        X, y, X_test, self.y_test = load_fashion_mnist(60_000)
        self.X, self.X_test = X / np.float32(255), X_test / np.float32(255)
        judge = MLPClassifier((128,), early_stopping=True, n_iter_no_change=3, random_state=0)
        self.judge = judge.fit(self.X[:20_000], y[:20_000])
        self.path, self.epochs = path, epochs
        self.points = pd.read_csv(path).to_dict("records") if path.exists() else []

    def measure_map(self, seed):
        """Measure the points of a conditioned model that are not measured yet."""
        left = self._left("map", seed, rate_grid(AXIS, AXIS))
        if left:
            model = MultiRateHVAETransformer(
                rate_range=LIMITS,
                network="hit-mnist",
                max_epochs=3 * self.epochs,
                random_state=seed,
            ).fit(self.X)
            for targets in left:
                self._add("map", seed, targets, model.at(targets))

    def measure_dedicated(self, seed):
        """Fit and measure the points that have a model of their own."""
        for targets in self._left("dedicated", seed, DEDICATED):
            model = HierarchicalVAETransformer(
                targets, network="hit-mnist", max_epochs=self.epochs, random_state=seed
            )
            self._add("dedicated", seed, targets, model.fit(self.X))

    def table(self, kind, seed):
        """Return the points of a kind and a seed, as a frame."""
        frame = pd.DataFrame(self.points)
        return frame[(frame["kind"] == kind) & (frame["seed"] == seed)].reset_index(drop=True)

    def _left(self, kind, seed, grid):
        known = {
            (p["target1"], p["target2"])
            for p in self.points
            if p["kind"] == kind and p["seed"] == seed
        }
        return [point for point in map(tuple, grid) if point not in known]

    def _add(self, kind, seed, targets, estimator):
        point = {"kind": kind, "seed": seed, "target1": targets[0], "target2": targets[1]}
        point |= self._measure(estimator)
        self.points.append(point)
        is_new = not self.path.exists()
        row = pd.DataFrame([point])
        row.to_csv(self.path, mode="a", header=is_new, index=False, float_format="%.6g")

    def _measure(self, estimator):
        X, probed = self.X_test[:N_MEASURED], slice(N_MEASURED, N_MEASURED + N_PROBED)
        rates = estimator.rates(X).mean(0)
        sampled = estimator.inverse_transform(np.hstack(estimator.latents(X, sample=True)))
        found = {"R1": rates[0], "R2": rates[1], "psnr": psnr(X, sampled, data_range=1)}
        found |= {"beta1": estimator.betas_[0], "beta2": estimator.betas_[1]}
        found |= generation_score(estimator.sample(N_GENERATED, mean=True), self.judge)._asdict()
        for kind in ("samples", "means"):
            scores = downstream_scores(
                estimator,
                self.X_test[probed],
                self.y_test[probed],
                classifiers=CLASSIFIERS,
                layers=[1, 2],
                sample=kind == "samples",
                cv=ShuffleSplit(1, test_size=N_PROBED // 2, random_state=0),
            )
            for layer, row in zip((1, 2), scores.accuracy, strict=True):
                for name, accuracy in zip(scores.classifiers, row, strict=True):
                    found[f"{name} on {kind} of z{layer}"] = accuracy
        return {name: float(value) for name, value in found.items()}


# --- claims: functions of a map, and of the maps of other seeds, to numbers by their names --------


def correlations(table, others):
    """Compute rank correlations of what the paper relates to the rates."""
    del others
    rates = {"R1 + R2": table["R1"] + table["R2"], "R1": table["R1"], "R2": table["R2"]}
    values = ["psnr", "inception_score", "diversity", "sharpness", "knn on samples of z2"]
    values += ["rbf_svm on means of z1", "rbf_svm on means of z2"]
    return {
        f"rank correlation of {value} with {name}": spearmanr(table[value], rate).statistic
        for value in values
        for name, rate in rates.items()
    }


def bound_margins(table, others):
    """Compute how far accuracies are below the bound by the rate of their layer and those above."""
    del others
    found = {}
    for kind in ("samples", "means"):
        margins = np.concatenate(
            [
                [accuracy_bound(rate, PRIOR) for rate in rates]
                - table[f"{name} on {kind} of z{layer}"].to_numpy()
                for layer, rates in ((1, table["R1"] + table["R2"]), (2, table["R2"]))
                for name in CLASSIFIERS
            ]
        )
        found[f"share of accuracies on {kind} above the bound"] = (margins < 0).mean()
        found[f"least margin of accuracies on {kind} below the bound"] = margins.min()
    return found


def best_points(table, others):
    """Find where each task is at its best, in bits."""
    del others
    best = {task: table.loc[table[task].idxmax()] for task in TASKS}
    return {
        f"{what} at the best point for {task}": best[task][what]
        for task in TASKS
        for what in ("R1", "R2", task)
    }


def gains_of_split(table, others):
    """Compute what the best split of a total rate gains over the split by equal multipliers.

    The best split is chosen on the maps of other seeds, so that it is not the luckiest one.
    """
    rest = others.groupby(KEYS, as_index=False).mean(numeric_only=True)
    found = {}
    for total in TOTALS:
        first = np.geomspace(max(AXIS[0], total - AXIS[-1]), min(AXIS[-1], total - AXIS[0]), 49)
        splits = np.log2(np.column_stack((first, total - first)))
        ratios = _interpolator(table, np.log2(table["beta1"] / table["beta2"]))(splits)
        equal = np.abs(ratios).argmin()
        found[f"share of R1 with equal multipliers, {total:g} bits"] = first[equal] / total
        found[f"largest |log2(beta1 / beta2)|, {total:g} bits"] = np.abs(ratios).max()
        for task in TASKS:
            here, there = (_interpolator(t, t[task])(splits) for t in (table, rest))
            best = there.argmax()
            name = f"for {task}, {total:g} bits"
            found[f"gain of the best split {name}"] = here[best] - here[equal]
            found[f"share of R1 in the best split {name}"] = first[best] / total
    return found


def _interpolator(table, values):
    """Interpolate values of a map between its targets, on logarithmic axes."""
    axis = np.log2(AXIS)
    return RegularGridInterpolator((axis, axis), np.asarray(values).reshape(len(AXIS), -1))


CLAIMS = {
    "What follows the rates": correlations,
    "Accuracies and their bound": bound_margins,
    "Where tasks are at their best": best_points,
    "The best split, and that of equal multipliers": gains_of_split,
}


# --- the report -----------------------------------------------------------------------------------


def interval(values):
    """Write the mean of seeds, and half the width of its 95% interval."""
    values = np.asarray(values, dtype=float)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.3f} +- {half:.3f}"


def report(study, seeds):
    """Print every claim with its interval, and the map beside dedicated fits."""
    maps = {seed: study.table("map", seed).sort_values(KEYS) for seed in range(seeds)}
    for title, claim in CLAIMS.items():
        print(f"\n{title} (mean of {seeds} maps and 95% interval)")
        found = [
            claim(maps[seed], pd.concat([maps[k] for k in maps if k != seed])) for seed in maps
        ]
        for name in found[0]:
            print(f"  {name}: {interval([one[name] for one in found])}")
    off = [
        np.abs(table[["R1", "R2"]].to_numpy() / table[KEYS].to_numpy() - 1)
        for table in maps.values()
    ]
    print("\nThe map beside dedicated fits")
    print(f"  rates off targets, median over points: {interval([np.median(o) for o in off])}")
    print(f"  rates off by more than a tenth: {interval([(o > 0.1).mean() for o in off])}")
    fits = study.table("dedicated", 0)
    both = fits.merge(maps[0], on=KEYS, suffixes=("", " of the map"))
    for name in ("R1", "R2", "diversity", "sharpness", *TASKS):
        difference = both[f"{name} of the map"] - both[name]
        error = difference.std() / len(both) ** 0.5
        print(
            f"  {name}: map less dedicated {difference.mean():+.3f} +- {2 * error:.3f} (95%), "
            f"from {difference.min():+.3f} to {difference.max():+.3f} at {len(both)} points"
        )


def main():
    """Measure what is missing, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RateTargetWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)
    study = Study(arguments.results, arguments.epochs)
    if not arguments.report_only:
        torch.set_num_threads(1)
        for seed in range(arguments.seeds):
            study.measure_map(seed)
        study.measure_dedicated(0)
    report(study, arguments.seeds)


if __name__ == "__main__":
    main()
