"""Cells that are so far out that all others coincide beside them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._data.rows import as_rows
from sk_hvae._input.outliers import find_wild_cells
from sk_hvae.exceptions import OutlierWarning, RateTargetWarning
from sk_hvae.nn import DataSummary, Gaussian
from sk_hvae.nn.likelihoods import resolve

TINY = {"hidden_layer_sizes": 4, "n_components": 2, "max_epochs": 2, "random_state": 0}
ESTIMATORS = {
    "single": HierarchicalVAETransformer((1, 1), **TINY),
    "plane": MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **TINY),
    "clusterer": HVAEClusterer(2, n_init=2, **TINY),
}


def wild_cells(X, likelihood="gaussian"):
    rows = as_rows(X)
    return find_wild_cells(rows, resolve(likelihood).adapt(DataSummary.of(rows.chunks())))


def places(X, likelihood="gaussian"):
    return [(cell.row, cell.column) for cell in wild_cells(X, likelihood)]


@pytest.fixture
def ordinary():
    return np.random.default_rng(0).normal(size=(300, 4))


@pytest.mark.parametrize("value", [1e3, -9999.0, 1e6, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_wild_cells_are_found(ordinary, value, offset):
    X = 3 * ordinary + offset
    X[5, 2] = X[7, 1] = X[8, 1] = offset + value
    assert places(X) == [(5, 2), (7, 1), (8, 1)]


@pytest.mark.parametrize("n_rows", [20, 60, 5000])
def test_distances_are_standard_deviations_of_the_other_rows(n_rows):
    x = np.random.default_rng(1).normal(size=(n_rows, 1))
    x[3] = 1e5
    (cell,) = wild_cells(x)
    rest = np.delete(x, 3)
    assert cell.value == 1e5
    assert cell.distance == pytest.approx((1e5 - np.median(x)) / rest.std(), rel=1e-4)


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).normal(size=1000),
        np.random.default_rng(0).standard_t(3, 1000),
        np.random.default_rng(0).exponential(size=1000),
        np.random.default_rng(0).lognormal(sigma=3, size=1000),
        np.random.default_rng(0).standard_cauchy(1000),
        np.random.default_rng(0).poisson(0.02, 1000),
        np.arange(1000) == 500,
        np.arange(1000) % 250 == 0,
        np.zeros(1000),
        np.arange(1000.0),
    ],
    ids=[
        "normal",
        "t",
        "exponential",
        "lognormal",
        "cauchy",
        "rare",
        "flag",
        "flags",
        "constant",
        "even",
    ],
)
def test_ordinary_and_skewed_columns_and_rare_flags_are_not_wild(column):
    assert places(column[:, None].astype(float)) == []


def test_missing_cells_are_neither_wild_nor_in_the_way(ordinary):
    X = ordinary
    X[::3] = np.nan
    X[4, 0] = 1e6
    assert places(X) == [(4, 0)]


def test_only_columns_that_are_divided_by_their_spread_are_looked_at(ordinary):
    X = np.abs(ordinary).round()
    X[5] = 1e4
    assert places(X, "poisson") == []
    assert places(X, [("poisson", [0, 3]), ("gaussian", [2, 1])]) == [(5, 1), (5, 2)]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_names_row_and_column_once(ordinary, name, coarse_plane):
    X = pd.DataFrame(ordinary[:60], columns=["age", "income", "debt", "share"])
    X.loc[7, "income"] = 1e7
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clone(ESTIMATORS[name]).set_params(likelihood="gaussian").fit(X)
    (warning,) = [w for w in caught if w.category is OutlierWarning]
    assert "row 7 has 1e+07 in 'income'" in str(warning.message)
    assert "missing='mask'" in str(warning.message)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, "memmap"])
def test_rows_of_all_kinds_are_looked_at(ordinary, container, tmp_path, small):
    X = ordinary.astype(np.float32)
    X[9, 3] = 1e6
    if container == "memmap":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    else:
        X = container(X)
    with pytest.warns(OutlierWarning, match=r"row 9 has 1e\+06 in column 3"):
        small().fit(X)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_clean_data_bring_no_warning(wine, small):
    small().fit(wine)


def test_advice_after_a_missed_target_is_to_see_to_the_cells(ordinary, small):
    ordinary[5, 2] = 1e6
    with (
        pytest.warns(OutlierWarning),
        pytest.warns(RateTargetWarning, match="see to the cells that an OutlierWarning has named"),
    ):
        small(layer_rates=(1, 200)).fit(ordinary)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_warm_starts_go_by_the_rows_of_the_first_fit(ordinary, small):
    ordinary[5, 2] = 1e6
    model = small(warm_start=True)
    with pytest.warns(OutlierWarning):
        model.fit(ordinary)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(ordinary)
    assert not [warning for warning in caught if warning.category is OutlierWarning]


def test_few_cells_of_sparse_columns_are_not_wild():
    x = np.zeros((300, 1))
    x[[5, 60, 200]] = [[0.001], [0.002], [0.9]]
    assert places(x) == []
    x[::10, 0] = np.arange(30)  # a tenth of the cells differ
    x[5] = 1e6
    assert places(x) == [(5, 0)]


def test_a_shared_scale_is_set_by_all_columns():
    pixels = np.random.default_rng(0).uniform(size=(300, 64))
    pixels[:, 7] *= 0.001  # a corner that is hardly ever lit
    pixels[11, 7] = 1.0
    shared = Gaussian(scaling="shared")
    assert places(pixels, "gaussian") == [(11, 7)]
    assert places(pixels, shared) == []
    pixels[12, 30] = 1e6
    assert (12, 30) in places(pixels, shared)


@pytest.mark.parametrize("n_wild", [1, 4, 9])
def test_a_value_that_stands_for_missing_ones_is_wild(ordinary, n_wild):
    X = ordinary[:200].copy()
    holes = np.arange(n_wild) * 20
    X[holes, 1] = -9999.0
    assert places(X) == [(row, 1) for row in holes]


def test_partial_fit_names_them_too(ordinary, small):
    ordinary[7, 1] = 1e6
    with pytest.warns(OutlierWarning, match=r"row 7 has 1e\+06 in column 1"):
        small().partial_fit(ordinary)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize("row", range(0, 150, 15))
def test_held_out_rows_are_looked_at_too(small, iris, row):
    X = iris.copy()
    X[row, 0] = 1e7
    model = small(early_stopping=True, validation_fraction=0.3)
    with pytest.warns(OutlierWarning, match=rf"row {row} has 1e\+07"):
        model.fit(X)
