"""Rows of the user are read when they are passed, or are sure to be as they were."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from every_kind import KINDS, make, rows_for, uses
from scipy import sparse
from torch.utils.data import TensorDataset

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    rate_map,
    recommend_rates,
)
from sk_hvae._data.rows import as_rows
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.plotting import ReconstructionDisplay, SampleDisplay

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
]
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


def rows(dtype=np.float64):
    X = np.random.default_rng(0).normal(3, 2, (40, 3)).round().clip(0)
    X[:, 0] = np.arange(40)
    return X.astype(dtype)


def memmap(path, X):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r+")


CONTAINERS = {
    "float64": lambda path: rows(),
    "float32": lambda path: rows(np.float32),
    "int64, which is converted": lambda path: rows(np.int64),
    "bytes": lambda path: rows(np.uint8),
    "column by column": lambda path: np.asfortranarray(rows()),
    "a view": lambda path: np.repeat(rows(), 2, axis=0)[::2],
    "list": lambda path: rows().tolist(),
    "pandas": lambda path: pd.DataFrame(rows(), columns=list("abc")),
    "csr": lambda path: sparse.csr_matrix(rows()),
    "csc": lambda path: sparse.csc_array(rows()),
    "tensor": lambda path: torch.from_numpy(rows()),
    "memmap": lambda path: memmap(path, rows()),
    "memmap of int32": lambda path: memmap(path, rows(np.int32)),
}


def reverse(X):
    """Turn the order of the rows round, in place."""
    if isinstance(X, list):
        X.reverse()
    elif isinstance(X, pd.DataFrame):
        X.iloc[:] = X.to_numpy()[::-1].copy()
    elif sparse.issparse(X):
        turned = type(X)(X.toarray()[::-1])
        X.data[:], X.indices[:], X.indptr[:] = turned.data, turned.indices, turned.indptr
    elif isinstance(X, torch.Tensor):
        X.copy_(X.flip(0))
    else:
        X[:] = X[::-1].copy()


def fit(X, **params):
    return MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **{**SMALL, **params}).fit(X)


def advise(multi, **kwargs):
    return recommend_rates(multi, "reconstruction", layer_rates=[(1, 1), (2, 2)], **kwargs)


def restored(multi):
    return pickle.loads(pickle.dumps(multi))  # noqa: S301


@pytest.mark.parametrize("name", CONTAINERS)
def test_order_is_known_to_have_changed(name, tmp_path):
    X = CONTAINERS[name](tmp_path)
    multi = fit(X)
    assert multi.fine_tune((1, 2), max_epochs=1).n_iter_ == 1
    expected = advise(multi).value
    assert expected == advise(multi, X=X).value
    reverse(X)
    for read in (lambda: multi.fine_tune((1, 2)), lambda: advise(multi)):
        with pytest.raises(ValueError, match=r"X has changed since fit.*Pass X, and y"):
            read()
    assert multi.fine_tune((1, 2), X, max_epochs=1).n_iter_ == 1
    assert advise(multi, X=X).value == pytest.approx(expected, rel=1e-5)
    reverse(X)
    assert advise(multi).value == expected


CHANGES = {
    "one cell": lambda frame: frame.__setitem__("b", frame["b"].where(frame.index != 17, 5.5)),
    "a cell is missing": lambda frame: frame.iloc.__setitem__((3, 1), np.nan),
    "columns": lambda frame: frame.insert(0, "c", frame.pop("c")),
    "a name": lambda frame: setattr(frame, "columns", list("abz")),
    "text": lambda frame: frame.__setitem__("c", "yes"),
    "a column is gone": lambda frame: frame.pop("c"),
    "a row more": lambda frame: frame.loc.__setitem__(40, [1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_found(change):
    frame = pd.DataFrame(rows(), columns=list("abc"))
    multi = fit(frame, missing="mask")
    advise(multi)
    change(frame)
    with pytest.raises(ValueError, match="X has changed since fit"):
        advise(multi)


def test_every_row_of_many_is_looked_at():
    X = np.random.default_rng(0).normal(size=(5000, 2))
    before = as_rows(X).fingerprint()
    for first in (1, 2501, 4997):  # rows that a sample of a thousand, evenly spaced, leaves out
        twin = X.copy()
        twin[[first, first + 1]] = twin[[first + 1, first]]
        assert as_rows(twin).fingerprint() != before
    assert as_rows(X.reshape(2500, 4)).fingerprint() != before
    assert as_rows(X.copy()).fingerprint() == before
    assert as_rows(sparse.csr_array(X)).fingerprint() == before


def test_missing_cells_do_not_count_as_changes():
    X = rows()
    X[3:9, 1] = np.nan
    multi = fit(X, missing="mask")
    assert advise(multi).value == advise(multi, X=X.copy()).value
    X[3, 1] = 2.0
    with pytest.raises(ValueError, match="X has changed"):
        advise(multi)


def test_frames_that_cannot_change():
    multi = fit(pl.DataFrame(rows(), schema=list("abc")))
    assert advise(multi).value == advise(multi, X=pl.DataFrame(rows(), schema=list("abc"))).value


def test_a_dataset_has_to_be_passed_again():
    X = TensorDataset(torch.from_numpy(rows()))
    multi = fit(X)
    for read in (lambda: multi.fine_tune((1, 2)), lambda: advise(multi)):
        with pytest.raises(ValueError, match=r"a torch Dataset, .* is not kept. Pass X"):
            read()
    assert multi.fine_tune((1, 2), X, max_epochs=1).n_iter_ == 1
    assert np.isfinite(advise(multi, X=X).value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, restored])
def test_copies_do_not_hold_them(copied):
    twin = copied(fit(rows()))
    for read in (lambda: twin.fine_tune((1, 2)), lambda: advise(twin)):
        with pytest.raises(ValueError, match="copies, pickles and files do not hold them"):
            read()


def test_a_fit_that_fails_does_not_leave_rows_of_another():
    X = rows()
    multi = fit(X)
    with pytest.raises(ValueError, match="'layer_rates' parameter"):
        multi.set_params(layer_rates=-1).fit(X[:9])
    assert multi.set_params(layer_rates=(1, 1)).fine_tune((1, 2), max_epochs=1).n_iter_ == 1
    with pytest.raises(TrainingDivergedError):
        multi.set_params(lr=1e30).fit(X[:9])
    with pytest.raises(ValueError, match="the rows of fit are not there"):
        multi.set_params(lr=1e-3).fine_tune((1, 2))


def test_rates_of_an_array_are_copied():
    rates = np.array([1.0, 2.0])
    single = fit(rows()).at(rates)
    rates[:] = 7.0
    assert list(single.layer_rates) == [1.0, 2.0]


FITS = {
    "fit": lambda X: HierarchicalVAETransformer((1, 1), **SMALL).fit(X),
    "partial_fit": lambda X: HierarchicalVAETransformer((1, 1), **SMALL).partial_fit(X),
    "early stopping": lambda X: HierarchicalVAETransformer(
        (1, 1), **SMALL, early_stopping=True
    ).fit(X),
    "clusterer": lambda X: HVAEClusterer(2, **SMALL).fit(X),
    "point of a plane": lambda X: fit(X).at((1, 1)),
    "map": lambda X: rate_map(fit(X), X, layer_rates=[(1, 1)]),
    "advice": lambda X: advise(fit(X)),
    "reconstructions": lambda X: ReconstructionDisplay.from_estimator(FITS["fit"](X), X),
    "samples": lambda X: SampleDisplay.from_estimator(FITS["fit"](X), X),
}


@pytest.mark.parametrize("name", FITS)
def test_nothing_else_keeps_rows(name):
    X = rows()
    alive = weakref.ref(X)
    result = FITS[name](X)
    del X
    gc.collect()
    assert alive() is None, result


@pytest.mark.parametrize("display", [ReconstructionDisplay, SampleDisplay])
def test_what_is_drawn_is_what_was_passed(display):
    X = rows()
    drawn = display.from_estimator(FITS["fit"](X), X)
    reverse(X)
    np.testing.assert_array_equal(drawn.X, rows())


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_left_alone(name):
    params = KINDS[name]
    X = rows_for(params)
    if name in ("default", "by column", "missing, by column", "clusterer"):
        X = X.astype(np.float32)  # which needs no conversion, so that the links see X itself
    before = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(**params).fit(X)
        uses(model, X)
        if isinstance(model, MultiRateHVAETransformer):
            rate_map(model, X, layer_rates=[(1, 1)])
    np.testing.assert_array_equal(X, before)
