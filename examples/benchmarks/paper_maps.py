"""The study of Xiao & Bamler (ICLR 2023), on Fashion-MNIST: what bits in which layer are good for.

Two layers of 32 units, 20,000 training rows in [0, 1], everything measured on test rows.
Reconstructions and samples are means of the data given sampled latents. Classifiers are
fitted to 4,000 test rows and scored on 2,000 others, on samples of a layer, which its rate
limits, and on its posterior means, which the paper used and no bound covers. Samples of the
model are scored by a perceptron that is trained on the training rows.

Part 1: a multi-rate model over 49 points of the rate plane.
Part 2: dedicated fits at nine of them, as a check.
Part 3: 5 x 5 fits of fixed betas from 0.1 to 10 with sigma = 0.71, the paper's way, for half
as many epochs.
Part 4: which of the paper's claims hold here.

    python examples/benchmarks/paper_maps.py [--out FOLDER] [--steps 2000] [--seed 0]

``--out`` saves all numbers as CSV, and maps as PNG.
"""

import argparse
import itertools
import time
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fashion_mnist import load_fashion_mnist
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import ShuffleSplit
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from sk_hvae import (
    HierarchicalVAETransformer,
    MultiRateHVAETransformer,
    RateMap,
    rate_grid,
    recommend_rates,
)
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.metrics import (
    accuracy_bound,
    downstream_scores,
    gaussian_rate_distortion,
    generation_score,
    mutual_information,
    psnr,
)
from sk_hvae.nn import Gaussian
from sk_hvae.plotting import AccuracyBoundDisplay, RateMapDisplay

AXIS = [0.5, 1, 2, 4, 8, 16, 32]
BETAS = np.geomspace(0.1, 10, 5).round(2)
N_PROBED, N_SCORED, N_GENERATED = 6000, 2000, 5000
PRIOR = np.full(10, 0.1)
COLLAPSED = 0.1
# On a phone a picture is about 4 inches wide, so that text keeps its size; two dots for each of its
# pixels are sharp.
SIZE, DPI = (4, 3.5), 180


def measure(estimator, X, y, judge):
    """Measure a fitted model on test rows; returns a dict of numbers."""
    rates = estimator.rates(X).mean(axis=0)
    sampled = estimator.inverse_transform(np.hstack(estimator.latents(X, sample=True)))
    found = {"R1": rates[0], "R2": rates[1], "beta1": estimator.betas_[0]}
    found |= {"beta2": estimator.betas_[1], "psnr": psnr(X, sampled, data_range=1)}
    found |= generation_score(estimator.sample(N_GENERATED, mean=True), judge)._asdict()
    split = ShuffleSplit(1, test_size=N_SCORED, random_state=0)
    for kind in ("samples", "means"):
        with threadpool_limits(1):  # logistic regression on few columns is faster on one
            scores = downstream_scores(
                estimator,
                X[:N_PROBED],
                y[:N_PROBED],
                layers=[1, 2],
                sample=kind == "samples",
                cv=split,
            )
        for (layer, name), accuracy in zip(
            itertools.product((1, 2), scores.classifiers), scores.accuracy.flat, strict=True
        ):
            found[f"{name} on {kind} of z{layer}"] = accuracy
    information = mutual_information(estimator, X, y, n_draws=8, random_state=0)
    for layer in (1, 2):
        found[f"I(y;z{layer}) lower"] = information.lower[layer - 1]
        found[f"I(y;z{layer}) upper"] = information.upper[layer - 1]
        found[f"bound of z{layer}"] = accuracy_bound(rates[layer - 1 :].sum(), PRIOR)
    return found


class Study:
    """Data, the judge of samples, and a table of measurements for each part."""

    def __init__(self, steps, seed):
        X_train, y_train, X, self.y = load_fashion_mnist()
        self.X_train, self.X = X_train / np.float32(255), X / np.float32(255)
        self.steps, self.start = steps, time.perf_counter()
        self.common = {"n_components": 32, "random_state": seed}
        judge = MLPClassifier((128,), early_stopping=True, n_iter_no_change=3, random_state=0)
        self.judge = judge.fit(self.X_train, y_train)
        real = generation_score(self.X, judge)
        self.log(f"judge: accuracy {judge.score(self.X, self.y):.3f}; real test images: {real}")

    def log(self, text):
        """Print, with minutes since the start."""
        print(f"[{(time.perf_counter() - self.start) / 60:4.1f} min] {text}", flush=True)

    def epochs(self, batch_size, share=1.0):
        """Return the epochs that make a share of the steps."""
        return max(1, round(share * self.steps / np.ceil(len(self.X_train) / batch_size)))

    def table(self, models):
        """Measure models as they come; returns a data frame."""
        return pd.DataFrame([measure(model, self.X, self.y, self.judge) for model in models])

    def multi_rate(self):
        """Part 1; targets are columns "target1" and "target2"."""
        multi = MultiRateHVAETransformer(max_epochs=self.epochs(768), **self.common)
        multi.fit(self.X_train)
        self.log("multi-rate model fitted")
        points = rate_grid(AXIS, AXIS)
        table = self.table(multi.at(point) for point in points)
        table[["target1", "target2"]] = points
        return table

    def dedicated(self):
        """Part 2: every third point of each axis."""
        points = rate_grid(AXIS[::3], AXIS[::3])
        settings = {"max_epochs": self.epochs(256), **self.common}
        table = self.table(
            HierarchicalVAETransformer(point, **settings).fit(self.X_train) for point in points
        )
        table[["target1", "target2"]] = points
        return table

    def fixed_betas(self):
        """Part 3: the paper's grid, coarser."""
        settings = {"max_epochs": self.epochs(256, 0.5), "likelihood": Gaussian(sigma=0.71)}
        return self.table(
            HierarchicalVAETransformer(None, betas=betas, **settings, **self.common).fit(
                self.X_train
            )
            for betas in itertools.product(BETAS, BETAS)
        )


def compare(maps, fits):
    """Print the multi-rate model against dedicated fits at their targets."""
    keys = ["target1", "target2"]
    both = fits.merge(maps, on=keys, suffixes=("", " multi"))
    metrics = ["R1", "R2", "psnr", "inception_score", "knn on samples of z2"]
    metrics += ["rbf_svm on means of z1", "rbf_svm on means of z2", "I(y;z2) lower"]
    shown = [*keys, *itertools.chain(*((m, f"{m} multi") for m in metrics))]
    print(both[shown].round(3).T.to_string())
    for metric in metrics:
        difference = both[f"{metric} multi"] - both[metric]
        print(f"  {metric}: multi-rate minus dedicated {difference.mean():+.3f} on average")


def coverage(name, table):
    """Print how much of the rate plane a set of models covers."""
    rates = table[["R1", "R2"]].to_numpy()
    collapsed = (rates < COLLAPSED).any(axis=1)
    cells = np.floor(np.log2(rates[~collapsed] / 0.5) / 1.5).astype(int)
    inside = {tuple(cell) for cell in cells if (cell >= 0).all() and (cell < 4).all()}
    print(
        f"  {name}: {len(rates)} models; {collapsed.sum()} with a layer under {COLLAPSED} bit; "
        f"{len(inside)} of 16 cells of the plane from 0.5 to 32 bits; "
        f"R1 {rates[:, 0].min():.2f} to {rates[:, 0].max():.1f}, "
        f"R2 {rates[:, 1].min():.2f} to {rates[:, 1].max():.1f} bits"
    )


def classifiers_of(table, layer, kind):
    """Return the names of the columns with accuracies."""
    return [name for name in table if name.endswith(f"on {kind} of z{layer}")]


def follows_total(tables):
    """Claim: PSNR follows the total rate."""
    for name, table in tables.items():
        logs = np.log2(table[["R1", "R2"]].clip(lower=0.01))
        total = table["R1"] + table["R2"]
        powers = np.log2(total).to_numpy()[:, None] ** [1, 2]
        fit = LinearRegression().fit(powers, table["psnr"])
        left = (table["psnr"] - fit.predict(powers)).std()
        ranks = [spearmanr(column, table["psnr"]).statistic for column in (total, *logs.T.values)]
        print(
            f"  {name}: rank correlation of PSNR with the total rate {ranks[0]:.3f}, with R1 "
            f"{ranks[1]:.3f}, with R2 {ranks[2]:.3f}; a parabola in log2 of the total leaves "
            f"{left:.2f} dB of {table['psnr'].std():.2f} dB"
        )


def stays_under_bound(tables):
    """Claim: accuracies from samples are limited by the rate of the layer and those above."""
    for (name, table), layer in itertools.product(tables.items(), (2, 1)):
        bound = table[f"bound of z{layer}"].to_numpy()[:, None]
        for kind in ("samples", "means"):
            accuracies = table[classifiers_of(table, layer, kind)].to_numpy()
            margins, vacuous = bound - accuracies, (bound == 1).mean()
            print(
                f"  {name}, {kind} of z_{layer}: {(margins < 0).sum()} of {margins.size} above the "
                f"bound, least margin {margins.min():+.3f} (bound vacuous at {vacuous:.0%})"
            )
        upper = np.minimum(table[["R1", "R2"]].to_numpy()[:, layer - 1 :].sum(1), np.log2(10))
        lower = table[f"I(y;z{layer}) lower"]
        print(
            f"  {name}: I(y; z_{layer}) estimated from below exceeds min(R, H(y)) at "
            f"{(lower > upper + 1e-9).sum()} points; {lower.min():.2f} to {lower.max():.2f} bits"
        )
    ranks = {
        rate: spearmanr(tables["multi-rate"][rate], tables["multi-rate"]["knn on samples of z2"])
        for rate in ("R1", "R2")
    }
    print(
        "  multi-rate: rank correlation of k nearest neighbours on samples of z_2 with R2 "
        f"{ranks['R2'].statistic:.3f}, with R1 {ranks['R1'].statistic:+.3f}"
    )


TASKS = [
    "psnr",
    "inception_score",
    "diversity",
    "sharpness",
    *(f"{name} on means of z{layer}" for name in ("rbf_svm", "knn") for layer in (1, 2)),
    *(f"{name} on samples of z{layer}" for name in ("rbf_svm", "knn") for layer in (1, 2)),
]


def differ_between_tasks(maps):
    """Claim: different tasks have different best rates."""
    surface = RateMap(
        maps[["target1", "target2"]].to_numpy(),
        maps[["R1", "R2"]].to_numpy(),
        {task: maps[task].to_numpy() for task in TASKS},
    )
    for task in TASKS:
        print(f"  {recommend_rates(surface, task)}")
    return surface


def off_diagonal(maps, grid):
    """Claim: the best split is off the diagonal of equal betas.

    Where equal betas lead, found by the grid, is compared with the best split of the same total
    rate, both on the multi-rate model's map.
    """
    equal = np.isclose(grid["beta1"], grid["beta2"])
    ratio = np.log2(maps["beta1"] / maps["beta2"])
    print(
        f"  over the map log2(beta1 / beta2) is {ratio.min():.2f} to {ratio.max():.2f}: where only "
        "the total rate counts, a bit costs about the same in either layer"
    )
    inside = (
        grid[["R1", "R2"]].clip(lower=AXIS[0], upper=AXIS[-1]).eq(grid[["R1", "R2"]]).all(axis=1)
    )
    diagonal = np.log2(grid.loc[equal & inside, ["R1", "R2"]].to_numpy())
    for task in TASKS:
        best = grid.loc[grid.loc[equal, task].idxmax()], grid.loc[grid.loc[~equal, task].idxmax()]
        table = maps.pivot(index="target1", columns="target2", values=task).to_numpy()
        value_at = RegularGridInterpolator((np.log2(AXIS), np.log2(AXIS)), table)
        gains = []
        for point in diagonal:
            total = np.exp2(point).sum()
            first = np.geomspace(max(AXIS[0], total - AXIS[-1]), min(AXIS[-1], total - AXIS[0]), 50)
            splits = np.column_stack((first, total - first))
            values = value_at(np.log2(splits))
            gains.append((values.max() - value_at(point)[0], *splits[values.argmax()]))
        at = ", ".join(f"{gain:+.3f} at ({r1:.1f}, {r2:.1f})" for gain, r1, r2 in gains)
        print(
            f"  {task}: by the grid, equal betas {best[0][task]:.3f}, others {best[1][task]:.3f} "
            f"at ({best[1]['R1']:.2f}, {best[1]['R2']:.2f}) bits; by the map, more than at equal "
            f"betas by {at}"
        )
    print(f"  equal betas lead to {[tuple(p) for p in np.exp2(diagonal).round(1).tolist()]} bits")


def reference(X, tables):
    """Print the error of each model relative to the best linear-Gaussian code at its rate."""
    for name, table in tables.items():
        total = (table["R1"] + table["R2"]).to_numpy()
        ratio = 10 ** (-table["psnr"].to_numpy() / 10) / gaussian_rate_distortion(X, total)
        print(
            f"  {name}: squared error over that of the linear-Gaussian optimum, median "
            f"{np.median(ratio):.2f}, {ratio.min():.2f} to {ratio.max():.2f}"
        )


def draw(surface, maps, folder):
    """Save maps of five metrics, and accuracies under the bound.

    Each is a picture of its own, so that a phone can show them one below the other.
    """
    mpl.use("Agg")
    named = {
        "psnr": ("psnr", "PSNR (dB)"),
        "inception": ("inception_score", "inception score"),
        "svm_z1": ("rbf_svm on means of z1", "accuracy on means of z₁"),
        "svm_z2": ("rbf_svm on means of z2", "accuracy on means of z₂"),
        "knn_z2": ("knn on samples of z2", "accuracy on samples of z₂"),
    }
    displays = {name: RateMapDisplay.from_map(surface, task) for name, (task, _) in named.items()}
    for name, (_, label) in named.items():
        displays[name].label = label
    row = maps[maps["target1"] == AXIS[3]]
    kinds = {"samples": "samples", "posterior means (not bounded)": "means"}
    displays["bound"] = AccuracyBoundDisplay(
        rates=row["R2"].to_numpy(),
        accuracies={
            name: row[f"rbf_svm on {kind} of z2"].to_numpy() for name, kind in kinds.items()
        },
        class_prior=PRIOR,
        label="rate of $z_2$ (bits)",
    )
    for name, display in displays.items():
        figure, ax = plt.subplots(figsize=SIZE, layout="constrained")
        display.plot(ax=ax)
        figure.savefig(folder / f"paper_{name}.png", dpi=DPI)


def main():
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RateTargetWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)
    study = Study(arguments.steps, arguments.seed)
    tables = {}
    for name, part in {
        "multi-rate": study.multi_rate,
        "dedicated": study.dedicated,
        "fixed betas": study.fixed_betas,
    }.items():
        tables[name] = part()
        study.log(f"{name}: {len(tables[name])} models measured")
    maps, grid = tables["multi-rate"], tables["fixed betas"]
    print("\nMulti-rate model against dedicated fits")
    compare(maps, tables["dedicated"])
    print("\nHow much of the rate plane is covered")
    for name in ("multi-rate", "fixed betas"):
        coverage(name, tables[name])
    print("\nAgainst the best linear code")
    reference(study.X, tables)
    print("\nClaim 1: PSNR follows the total rate")
    follows_total(tables)
    print("\nClaim 2: accuracy from samples is limited by the rate")
    stays_under_bound(tables)
    print("\nClaim 3: different tasks have different best rates")
    surface = differ_between_tasks(maps)
    print("\nClaim 4: the best split is off the diagonal of equal betas")
    off_diagonal(maps, grid)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(arguments.out / f"{name.replace(' ', '_')}.csv", index=False)
        draw(surface, maps, arguments.out)
    study.log("done")


if __name__ == "__main__":
    main()
