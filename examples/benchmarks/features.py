"""Do classifiers get worse where latents get richer?

Logistic regression, a support-vector machine and nearest neighbours, all as scikit-learn has them
(``max_iter=1000`` for the first), read ``transform`` of a ``HierarchicalVAETransformer`` whose
parameters but the rates are at their defaults. The rates rise from 10 to 60 bits. Reported is the
accuracy over 3 stratified folds, and the *fall*: how far the accuracy at a rate lies below the best
at any lower rate. The peers read the raw columns, standardised and one-hot, and as many principal
components of these as the richest latents have columns.

Defaults were chosen on the ``FIRST`` sets. The ``SECOND`` were not looked at before. Their rule:
tables of R packages with a column of classes and numbers that tell it, none of which any of our
other benchmarks had been tuned on. Of longer tables, 2,000 rows are drawn at random.

    OMP_NUM_THREADS=1 python examples/benchmarks/features.py [--sets second] [--units 16]
"""

import argparse
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from table_sets import FIRST as TABLES
from table_sets import SECOND as MORE_TABLES
from table_sets import Prepared, Table, of_r, of_sklearn, read

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import CategoryWarning, OutlierWarning, RateTargetWarning

RATES = [(2, 8), (4, 16), (8, 32), (12, 48)]
READERS = {
    "logistic": lambda: LogisticRegression(max_iter=1000),
    "SVM": SVC,
    "neighbours": KNeighborsClassifier,
}
MAX_ROWS = 2000


KNOWN = {table.name: table for table in (*TABLES, *MORE_TABLES)}
FIRST = [
    Table("digits", of_sklearn(load_digits), "target", "64 pixels, as an array"),
    *(KNOWN[name] for name in ("wine", "leaves", "cards", "cancer", "penguins", "attrition")),
    *(KNOWN[name] for name in ("credit", "births", "titanic")),
]
SECOND = [
    *(KNOWN[name] for name in ("cells", "colleges", "juice")),
    Table("olives", of_r("dslabs", "olive"), "area", "oils; 8 fatty acids"),
    Table("glass", of_r("MASS", "fgl"), "type", "214 fragments"),
    Table("hawks", of_r("Stat2Data", "Hawks"), "Species", "birds; holes"),
    Table("fast food", of_r("openintro", "fastfood"), "restaurant", "meals; names, holes"),
    Table("weather", of_r("mosaicData", "Weather"), "city", "days in five cities"),
    Table("email", of_r("openintro", "email"), "spam", "counts; rare class"),
    Table("cognition", of_r("heplots", "NeuroCog"), "Dx", "psychiatric groups; 242 rows"),
]


def folds(table):
    """Yield training rows, their labels, test rows and theirs, for 3 folds."""
    frame = read(table, MAX_ROWS)
    frame = frame[frame[table.target].notna()].reset_index(drop=True)
    y, X = frame[table.target].astype(str).to_numpy(), frame.drop(columns=table.target)
    for chosen in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        train, test = (X.iloc[rows].reset_index(drop=True) for rows in chosen)
        if table.name == "digits":
            train, test = train.to_numpy(), test.to_numpy()
        yield train, y[chosen[0]], test, y[chosen[1]]


def scores(Z, y, Z_test, y_test):
    return [reader().fit(Z, y).score(Z_test, y_test) for reader in READERS.values()]


def compare(table, units):
    """Print the accuracies on a table; returns those of the latents, (n_rates, n_readers)."""
    of_peers, of_latents = [], []
    for seed, (X, y, X_test, y_test) in enumerate(folds(table)):
        found = []
        for rates in RATES:
            hvae = HierarchicalVAETransformer(rates, n_components=units, random_state=seed).fit(X)
            found.append(scores(hvae.transform(X), y, hvae.transform(X_test), y_test))
        of_latents.append(found)
        frames = [pd.DataFrame(rows).rename(columns=str) for rows in (X, X_test)]
        prepared = Prepared(frames[0])
        raw, raw_test = (prepared(frame) for frame in frames)
        n_columns = min(sum(hvae.n_components_), *raw.shape)
        pca = PCA(n_columns, random_state=seed).fit(raw)
        of_peers.append(
            [
                scores(raw, y, raw_test, y_test),
                scores(pca.transform(raw), y, pca.transform(raw_test), y_test),
            ]
        )
    latents, (raw, pca) = np.mean(of_latents, 0), np.mean(of_peers, 0)
    for number, reader in enumerate(READERS):
        along = "  ".join(f"{score:.3f}" for score in latents[:, number])
        print(
            f"{table.name:10} {reader:10}  {along}  fall {fall(latents)[number]:.3f}   "
            f"PCA {pca[number]:.3f}  raw {raw[number]:.3f}",
            flush=True,
        )
    return latents


def fall(latents):
    """Return how far accuracies fall as rates rise, (..., n_readers)."""
    best = np.maximum.accumulate(latents, axis=-2)
    return (best - latents).max(axis=-2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", choices=("first", "second"), default="second")
    parser.add_argument("--units", type=lambda text: text if text == "auto" else int(text))
    parser.set_defaults(units="auto")
    options = parser.parse_args()
    for category in (RateTargetWarning, CategoryWarning, OutlierWarning):
        warnings.simplefilter("ignore", category)
    print(f"{'bits':21}  " + "  ".join(f"{sum(rates):5}" for rates in RATES))
    tables = FIRST if options.sets == "first" else SECOND
    latents = np.array([compare(table, options.units) for table in tables])
    for number, reader in enumerate(READERS):
        along = "  ".join(f"{score:.3f}" for score in latents.mean(0)[:, number])
        falls = fall(latents)[:, number]
        print(
            f"{'mean':10} {reader:10}  {along}  fall {falls.mean():.3f}   most {falls.max():.3f}, "
            f"over one point on {(falls > 0.01).sum()} of {len(tables)}"
        )
