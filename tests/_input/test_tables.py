"""X in all containers and types: the same numbers, and the same missing cells, as plain arrays."""

import datetime as dt
import decimal
import fractions

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.model_selection import cross_val_score
from torch.utils.data import TensorDataset

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer, rate_map
from sk_hvae._estimators.model import check_new_rows
from sk_hvae._input.tables import as_numbers
from sk_hvae.metrics import gaussian_rate_distortion, psnr
from sk_hvae.plotting import ReconstructionDisplay, TraversalDisplay

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

USES = ["transform", "latents", "reconstruct", "rates", "distortion", "score_samples", "score"]
NAN = float("nan")
NOON = dt.datetime(2024, 2, 29, 12)
NOON_SECONDS = 1709208000.0  # date -u -d 2024-02-29T12:00 +%s
DAY_SECONDS = 1709164800.0
PARIS = dt.timezone(dt.timedelta(hours=1))


def estimators(**params):
    """One of each kind, small."""
    common = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
    return {
        "transformer": HierarchicalVAETransformer((1, 2), **common, **params),
        "multi-rate": MultiRateHVAETransformer((0.5, 2), layer_rates=1, **common, **params),
        "clusterer": HVAEClusterer(2, n_init=2, **common, **params),
    }


KINDS = ["transformer", "multi-rate", "clusterer"]


@pytest.fixture
def holey():
    """Numbers, and which of them are missing: two in every column but the last."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 50, (40, 4))
    holes = np.zeros(X.shape, bool)
    holes[[3, 17], [[0], [1], [2]]] = True
    return X, holes


def assert_same(model, X, other):
    """Fit to X and to the other; all that comes out must be the same."""
    first = dict(results(model, X))
    for name, out in results(model, other):
        np.testing.assert_array_equal(out, first[name], err_msg=name)


def results(model, X):
    model.fit(X)
    yield "rates_", model.rates_
    for use in ("transform", "score_samples", "rates"):
        yield use, getattr(model, use)(X)
    # What is a frame, in its own types, for some X; see test_frames.py.
    yield "reconstruction", model.__hvae_model__().reconstruct(check_new_rows(model, X), 1)


# Masked arrays.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64", "float32", "object"])
def test_masked_cells_are_missing(kind, dtype, holey):
    X, holes = holey
    masked = np.ma.array(np.where(holes, 99, X).astype(dtype), mask=holes)
    other = np.where(holes, NAN, X)
    if dtype == "float32":
        other = other.astype(dtype)
    assert_same(estimators(missing="mask")[kind], other, masked)


@pytest.mark.parametrize("method", [*USES, "partial_fit"])
def test_a_fitted_model_takes_masked_rows_as_missing(small, method, holey):
    X, holes = holey
    outputs = []
    for new in (np.where(holes, NAN, X), np.ma.array(X, mask=holes)):
        model = small(missing="mask").fit(X)
        out = getattr(model, method)(new)
        outputs.append(model.transform(X) if method == "partial_fit" else out)
    for first, second in zip(*map(np.atleast_1d, outputs), strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_is_behind_a_mask_does_not_matter_and_stays(holey):
    X, holes = holey
    behind = np.where(holes, -9999, X)
    masked = np.ma.array(behind, mask=holes, hard_mask=True)
    np.testing.assert_array_equal(as_numbers(masked), np.where(holes, NAN, X))
    np.testing.assert_array_equal(masked.data, behind)
    np.testing.assert_array_equal(masked.mask, holes)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_cells_are_an_error_unless_they_may_be_missing(kind, holey):
    X, holes = holey
    said = r"X contains masked cells: 2 in column 0, 2 in column 1, 2 in .*missing='mask'"
    with pytest.raises(ValueError, match=said):
        estimators()[kind].fit(np.ma.array(X, mask=holes))


@pytest.mark.parametrize("mask", [np.ma.nomask, False, np.zeros((40, 4), bool)], ids=repr)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_masked_array_with_nothing_masked_is_an_array(small, mask, dtype, holey):
    X = holey[0].astype(dtype)
    assert_same(small(), X, np.ma.array(X, mask=mask))


def test_lists_of_masked_rows(holey):
    X, holes = holey
    rows = list(np.ma.array(X, mask=holes))
    np.testing.assert_array_equal(as_numbers(rows), np.where(holes, NAN, X))


def test_a_masked_file_keeps_its_mask(small, tmp_path, holey):
    X, holes = holey
    np.save(tmp_path / "X.npy", X.astype(float))
    masked = np.ma.array(np.load(tmp_path / "X.npy", mmap_mode="r"), mask=holes)
    assert_same(small(missing="mask"), np.where(holes, NAN, X), masked)


def test_masked_dates_are_missing():
    times = np.array([["2024-02-29T12"], ["1970-01-01"]], "M8[s]")
    masked = np.ma.array(times, mask=[[False], [True]])
    np.testing.assert_array_equal(as_numbers(masked), [[NOON_SECONDS], [NAN]])


def test_masked_rows_through_cross_validation(holey, small):
    X, holes = holey
    scores = [
        cross_val_score(small(missing="mask"), rows, cv=2)
        for rows in (np.ma.array(X, mask=holes), np.where(holes, NAN, X))
    ]
    np.testing.assert_array_equal(*scores)


# Dates and durations.

ARRAYS_OF_TIMES = {
    "days": (np.array(["2024-02-29", "NaT"], "M8[D]"), DAY_SECONDS),
    "hours": (np.array(["2024-02-29T12", "NaT"], "M8[h]"), NOON_SECONDS),
    "nanoseconds": (np.array(["2024-02-29T12:00", "NaT"], "M8[ns]"), NOON_SECONDS),
    "years": (np.array(["1971", "NaT"], "M8[Y]"), 365 * 86400.0),
    "before the epoch": (np.array(["1969-12-31", "NaT"], "M8[us]"), -86400.0),
    "durations": (np.array([90, "NaT"], "m8[m]"), 5400.0),
    "short durations": (np.array([250, "NaT"], "m8[ns]"), 2.5e-7),
    "datetimes": (np.array([NOON, None], object), NOON_SECONDS),
    "zone": (np.array([NOON.replace(tzinfo=PARIS), None], object), NOON_SECONDS - 3600),
    "dates": (np.array([NOON.date(), pd.NaT], object), DAY_SECONDS),
    "timestamps": (np.array([pd.Timestamp(NOON), pd.NaT], object), NOON_SECONDS),
    "timedeltas": (np.array([dt.timedelta(days=-2), pd.NaT], object), -172800.0),
    "pandas' timedeltas": (np.array([pd.Timedelta("1ms"), np.timedelta64("NaT")], object), 1e-3),
    "scalars": (np.array([np.datetime64(NOON), np.datetime64("NaT")], object), NOON_SECONDS),
}


@pytest.mark.parametrize("name", ARRAYS_OF_TIMES)
@pytest.mark.parametrize("container", [list, np.asarray], ids=["list", "array"])
def test_times_are_seconds_and_nat_is_missing(name, container):
    times, seconds = ARRAYS_OF_TIMES[name]
    turned = as_numbers(container(times[:, None]))
    assert turned.dtype == np.float64
    np.testing.assert_allclose(turned, [[seconds], [NAN]], rtol=1e-15)


def frames():
    """Columns of times by library, beside the seconds that they stand for."""
    naive, zoned = pd.Series([NOON, None]), pd.Series([NOON, None]).dt.tz_localize(PARIS)
    took = pd.Series([dt.timedelta(minutes=3), None])
    day = [NOON.date(), None]
    pandas = {
        "datetime": (naive, NOON_SECONDS),
        "nanoseconds": (naive.astype("datetime64[ns]"), NOON_SECONDS),
        "zone": (zoned, NOON_SECONDS - 3600),
        "timedelta": (took, 180.0),
        "object": (naive.astype(object), NOON_SECONDS),
        "dates": (pd.Series(day), DAY_SECONDS),
        "category": (naive.astype("category"), NOON_SECONDS),
        "arrow": (pd.Series([NOON, None], dtype="timestamp[us][pyarrow]"), NOON_SECONDS),
        "arrow zone": (
            pd.Series([NOON, None], dtype=pd.ArrowDtype(pa.timestamp("ms", "UTC"))),
            NOON_SECONDS,
        ),
        "arrow date": (pd.Series(day, dtype="date32[pyarrow]"), DAY_SECONDS),
        "arrow duration": (took.astype("duration[us][pyarrow]"), 180.0),
    }
    polars = {
        "Datetime": (pl.Series([NOON, None]), NOON_SECONDS),
        "ms": (pl.Series([NOON, None], dtype=pl.Datetime("ms")), NOON_SECONDS),
        "zone": (pl.Series([NOON, None]).dt.replace_time_zone("UTC"), NOON_SECONDS),
        "Date": (pl.Series(day), DAY_SECONDS),
        "Duration": (pl.Series([dt.timedelta(minutes=3), None]), 180.0),
    }
    arrow = {
        "timestamp": (pa.array([NOON, None]), NOON_SECONDS),
        "date": (pa.array(day), DAY_SECONDS),
        "duration": (pa.array([dt.timedelta(minutes=3), None]), 180.0),
        "dictionary": (pa.array([NOON, None]).dictionary_encode(), NOON_SECONDS),
    }
    for make, columns in ((pd.DataFrame, pandas), (pl.DataFrame, polars), (pa.table, arrow)):
        for name, (column, seconds) in columns.items():
            frame = make({"n": [1, 2], "t": column})
            yield pytest.param(frame, seconds, id=f"{make.__module__.split('.')[0]} {name}")


@pytest.mark.parametrize(("frame", "seconds"), list(frames()))
def test_times_in_frames(frame, seconds):
    np.testing.assert_array_equal(as_numbers(frame), [[1, seconds], [2, NAN]])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_times_are_fitted_as_seconds(kind):
    start = np.arange("2024-01-01", "2024-01-31", dtype="M8[D]").astype("M8[us]")
    frame = pd.DataFrame({"at": start, "took": (start - start[0]) / 24, "n": np.arange(30.0) ** 2})
    frame.loc[[4, 9], "at"] = pd.NaT
    frame.loc[[7], "took"] = pd.NaT
    seconds = np.column_stack(
        [
            (frame["at"] - pd.Timestamp(0)).dt.total_seconds(),
            frame["took"].dt.total_seconds(),
            frame["n"],
        ]
    )
    assert np.isnan(seconds).sum() == 3
    model = estimators(missing="mask", likelihood="gaussian")[kind]
    named = pd.DataFrame(seconds, columns=frame.columns)
    assert_same(model, named, frame)
    assert model.feature_names_in_.tolist() == ["at", "took", "n"]
    # The other rows are told apart.
    assert len(np.unique(model.transform(frame).round(6), axis=0)) > 25
    with pytest.raises(ValueError, match="X contains NaN: 2 in column 'at', 1 in column 'took'"):
        estimators(missing="error")[kind].fit(frame)
    whole = estimators(missing="error")[kind].fit(frame.dropna())
    assert np.isfinite(whole.rates_).all()


def test_files_of_times(small, tmp_path):
    times = np.arange("2024-01-01", "2024-01-31", dtype="M8[D]").reshape(10, 3)
    np.save(tmp_path / "times.npy", times)
    mapped = np.load(tmp_path / "times.npy", mmap_mode="r")
    assert_same(small(), times.astype("M8[s]").astype(float), mapped)


# Numbers of every type, and what is missing among them.


def columns():
    half = decimal.Decimal("0.5")
    pandas = {
        "Int64": (pd.Series([2, None], dtype="Int64"), 2),
        "UInt8": (pd.Series([2, None], dtype="UInt8"), 2),
        "Float32": (pd.Series([0.5, None], dtype="Float32"), 0.5),
        "boolean": (pd.Series([True, None], dtype="boolean"), 1),
        "arrow int": (pd.Series([2, None], dtype="int8[pyarrow]"), 2),
        "arrow bool": (pd.Series([True, None], dtype="bool[pyarrow]"), 1),
        "arrow double": (pd.Series([0.5, None], dtype="double[pyarrow]"), 0.5),
        "arrow decimal": (
            pd.Series([half, None], dtype=pd.ArrowDtype(pa.decimal128(4, 2))),
            0.5,
        ),
        "decimal": (pd.Series([half, None]), 0.5),
        "fraction": (pd.Series([fractions.Fraction(1, 2), None]), 0.5),
        "NA among objects": (pd.Series([2, pd.NA], dtype=object), 2),
        "category": (pd.Series([7, None], dtype="category"), 7),
        "numbers in text": (pd.Series(["2.5", None]), 2.5),
        "numbers in string": (pd.Series(["2.5", None], dtype="string"), 2.5),
        "sparse": (pd.Series(pd.arrays.SparseArray([3.0, NAN])), 3),
    }
    polars = {
        "Int64": (pl.Series([2, None]), 2),
        "Float32": (pl.Series([0.5, None], dtype=pl.Float32), 0.5),
        "Boolean": (pl.Series([True, None]), 1),
        "Decimal": (pl.Series([half, None]), 0.5),
        "Null": (pl.Series([None, None]), NAN),
    }
    arrow = {
        "int": (pa.array([2, None]), 2),
        "bool": (pa.array([True, None]), 1),
        "decimal": (pa.array([half, None]), 0.5),
        "dictionary": (pa.array([2, None]).dictionary_encode(), 2),
        "null": (pa.nulls(2), NAN),
    }
    for make, kinds in ((pd.DataFrame, pandas), (pl.DataFrame, polars), (pa.table, arrow)):
        for name, (column, value) in kinds.items():
            frame = make({"n": [1, 4], "c": column})
            yield pytest.param(frame, value, id=f"{make.__module__.split('.')[0]} {name}")


@pytest.mark.parametrize(("frame", "value"), list(columns()))
def test_numbers_in_frames(frame, value):
    np.testing.assert_array_equal(as_numbers(frame), [[1, value], [4, NAN]])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_all_libraries(make, kind, holey):
    X, holes = holey
    whole = {name: column.astype("i2") for name, column in zip("abcd", X.T, strict=True)}
    model = estimators()[kind]
    assert_same(model, pd.DataFrame(whole), make(whole))
    assert model.feature_names_in_.tolist() == list("abcd")
    with_nulls = {
        name: [None if hole else int(value) for value, hole in zip(column, hidden, strict=True)]
        for name, column, hidden in zip("abcd", X.T, holes.T, strict=True)
    }
    missing = pd.DataFrame(np.where(holes, NAN, X), columns=list("abcd"))
    assert_same(estimators(missing="mask")[kind], missing, make(with_nulls))


def test_narrow_types_of_frames_stay_narrow(small, holey):
    frame = pl.DataFrame(holey[0].astype("u1"), schema=list("abcd"))
    assert as_numbers(frame).dtype == np.uint8


def test_the_order_of_columns_is_checked_in_converted_frames_too(small):
    frame = pl.DataFrame({"at": [NOON, NOON - dt.timedelta(1)] * 5, "n": range(10)})
    model = small().fit(frame)
    with pytest.raises(ValueError, match="names should match those that were passed during fit"):
        model.transform(frame.select("n", "at"))


def test_sparse_frames_stay_sparse(small, holey):
    matrix = sparse.csr_matrix(holey[0].astype(float))
    frame = pd.DataFrame.sparse.from_spmatrix(matrix, columns=list("abcd"))
    assert as_numbers(frame) is frame
    dense = pd.DataFrame(matrix.toarray(), columns=list("abcd"))
    assert_same(small(likelihood="gaussian", missing="error"), dense, frame)


@pytest.mark.parametrize(
    "X",
    [np.zeros((3, 2)), np.zeros((3, 2), "u1"), sparse.eye(3, format="csr"), torch.zeros(3, 2)],
    ids=["float", "uint8", "sparse", "tensor"],
)
def test_plain_numbers_are_left_alone(X):
    assert as_numbers(X) is X


def test_datasets_are_left_alone(small, holey):
    X = holey[0].astype(np.float32)
    assert_same(small(), X, TensorDataset(torch.from_numpy(X)))


# What is no number.

TEXT = {
    "object": pd.DataFrame({"n": [1.0, 2], "city": np.array(["Rome", None], object)}),
    "str": pd.DataFrame({"n": [1.0, 2], "city": ["Rome", "Oslo"]}),
    "category": pd.DataFrame({"n": [1.0, 2], "city": pd.Categorical(["Rome", None])}),
    "arrow": pd.DataFrame({"n": [1, 2], "city": pd.Series(["Rome", "Oslo"], dtype="string")}),
    "polars": pl.DataFrame({"n": [1.0, 2], "city": ["Rome", None]}),
    "polars' category": pl.DataFrame(
        {"n": [1.0, 2], "city": pl.Series(["Rome", "Oslo"], dtype=pl.Categorical)}
    ),
    "pyarrow": pa.table({"n": [1.0, 2], "city": ["Rome", None]}),
    "among numbers": pd.DataFrame({"n": [1.0, 2], "city": np.array([3, "Rome"], object)}),
}


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", ["gaussian", "by column"])
def test_text_that_is_to_be_numbers_is_refused_by_the_name_of_its_column(name, kind, likelihood):
    if likelihood == "by column":
        likelihood = {"city": "poisson"}
    said = r"column 'city' of X holds text.*'Rome'.*likelihood='auto'.*\{'city': 'categorical'\}"
    with pytest.raises(ValueError, match=said):
        estimators(likelihood=likelihood, missing="mask")[kind].fit(TEXT[name])


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("likelihood", ["auto", "categorical", "by column"])
def test_text_is_taken_as_categories(small, name, likelihood):
    if likelihood == "by column":
        likelihood = [("gaussian", ["n"]), ("categorical", ["city"])]
    model = small(likelihood=likelihood).fit(TEXT[name])
    cells = nw.from_native(model.reconstruct(TEXT[name]))["city"].to_list()
    known = [cell for cell in nw.from_native(TEXT[name])["city"].to_list() if cell == cell and cell]
    assert set(cells) <= set(known)


@pytest.mark.parametrize(
    "X",
    [
        [[1, "Rome"], [2, "Oslo"]],
        np.array([["1", "Rome"], ["2", "Oslo"]]),
        np.array([["1", "Rome"], ["2", "Oslo"]], dtype=np.dtypes.StringDType()),
        np.array([[1, "Rome"], [None, "Oslo"]], object),
    ],
    ids=["list", "str", "StringDType", "object"],
)
def test_text_in_columns_without_names(small, X):
    with pytest.raises(ValueError, match=r"column 1 of X holds text.*'Rome' in column 1"):
        small().fit(X)


def test_text_in_a_frame_without_names(small):
    frame = pd.DataFrame({0: [1, 2], 1: ["Rome", "Oslo"]})
    assert set(small().fit(frame).sample(9)[1]) <= {"Rome", "Oslo"}
    with pytest.raises(ValueError, match=r"column 1 of X holds text.*'Rome' in column 1"):
        small(likelihood="gaussian").fit(frame)


def test_all_columns_of_text_are_named(small):
    frame = pd.DataFrame({name: ["x", "y"] for name in "abcdefg"}).assign(b=[1, 2])
    with pytest.raises(ValueError, match=r"columns \['a', 'c', 'd', 'e', 'f'\] and 1 more of X"):
        small(likelihood="gaussian").fit(frame)


@pytest.mark.parametrize("method", [*USES, "partial_fit"])
def test_text_in_new_rows(small, method):
    frame = pd.DataFrame({"n": np.arange(9.0), "city": np.arange(9.0) % 4})
    model = small().fit(frame)
    with pytest.raises(ValueError, match=r"column 'city' of X holds text.*'Rome'"):
        getattr(model, method)(frame.astype(object).replace({"city": {3.0: "Rome"}}))
    # By the names of the fit where the rows have none.
    with pytest.raises(ValueError, match=r"column 'city' of X holds text.*'Rome'"):
        getattr(model, method)([[1, "Rome"]])


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.period_range("2024", periods=2, freq="M"), "not 'Period'"),
        (pd.interval_range(0, 2), "Interval"),
        ([NOON, 3.0], "datetimes and numbers in one column"),
        ([NOON, dt.timedelta(1)], "datetimes and durations in one column"),
        ([[1], [2]], "not 'list'"),
        ([np.array([1]), np.array([2])], "not an array"),
        ([{"a": 1}, None], "not 'dict'"),
        ([1j, 2], "Complex data not supported"),
        (np.array([1j, 2], object), "Complex data not supported"),
    ],
    ids=str,
)
def test_columns_that_are_no_numbers_are_named(small, column, said):
    frame = pd.DataFrame({"n": [1.0, 2.0], "odd": pd.Series(list(column))})
    with pytest.raises((TypeError, ValueError), match=f"column 'odd' of X.*{said}"):
        small(likelihood="gaussian").fit(frame)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.array([[1], [2]], "m8[M]"), "column 0 of X.*no fixed length: use days"),
        (np.zeros((2, 2), "V4"), "column 0 of X.*raw bytes"),
        (np.array([[b"a"], [b"b"]]), "column 0 of X holds text.*b'a'"),
        (np.zeros(3, [("age", float), ("size", int)]), r"fields \['age', 'size'\].*DataFrame"),
        (np.ma.zeros(3, [("age", float), ("size", int)]), r"fields \['age', 'size'\]"),
        (np.array([[1 + 2j], [3j]]), "Complex data not supported"),
    ],
    ids=["months", "void", "bytes", "structured", "masked structured", "complex"],
)
def test_arrays_that_are_no_numbers(small, X, said):
    with pytest.raises((TypeError, ValueError), match=said):
        small().fit(X)


# Wherever else rows enter.


def test_rate_maps_and_metrics_of_masked_rows_and_dates(holey):
    X, holes = holey
    X = X.astype(float)
    masked, marked = np.ma.array(X, mask=holes), np.where(holes, NAN, X)
    multi = estimators(missing="mask")["multi-rate"].fit(masked)
    maps = [rate_map(multi, rows, layer_rates=[1]) for rows in (masked, marked)]
    for metric in maps[0].metrics:
        np.testing.assert_array_equal(maps[0].metrics[metric], maps[1].metrics[metric])
    single = estimators(missing="mask")["transformer"]
    maps = [
        rate_map(single, marked, layer_rates=[(1, 2)], metrics=["psnr"], X_fit=rows)
        for rows in (masked, marked)
    ]
    np.testing.assert_array_equal(maps[0].metrics["psnr"], maps[1].metrics["psnr"])
    tuned = [multi.fine_tune([1], rows, max_epochs=1).transform(marked) for rows in (masked, X)]
    assert not np.array_equal(*tuned)


def test_metrics_of_rows_alone(holey):
    X, holes = holey
    masked, marked = np.ma.array(X, mask=holes), np.where(holes, NAN, X)
    assert psnr(masked, X + 1) == psnr(marked, X + 1)
    times = X.astype("m8[m]")
    assert psnr(times, 60.0 * X + 1) == pytest.approx(psnr(60.0 * X, 60.0 * X + 1))
    np.testing.assert_allclose(
        gaussian_rate_distortion(times, [1, 2]), gaussian_rate_distortion(60.0 * X, [1, 2])
    )


def test_pictures_of_masked_rows_and_dates(small, holey):
    X, holes = holey
    masked, marked = np.ma.array(X, mask=holes), np.where(holes, NAN, X)
    model = small(missing="mask").fit(marked)
    scales = [TraversalDisplay.from_estimator(model, rows).scale for rows in (masked, marked)]
    np.testing.assert_array_equal(*scales)
    shown = [ReconstructionDisplay.from_estimator(model, rows).X for rows in (masked, marked)]
    np.testing.assert_array_equal(*shown)


class Items:
    """Items of a Dataset, which are rows of an array."""

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def __getitem__(self, i):
        return self.array[i]


def test_items_of_a_dataset_keep_their_mask(holey, small):
    class MaskedItems(Items, torch.utils.data.Dataset):
        pass

    X, holes = holey
    masked = np.ma.array(np.where(holes, -9999.0, X), mask=holes)
    holed = np.where(holes, np.nan, X)
    model = small(missing="mask", max_epochs="auto").fit(holed)
    np.testing.assert_array_equal(model.transform(MaskedItems(masked)), model.transform(holed))


def test_batches_of_pyarrow_are_tables(small, iris):
    table = pa.table({name: iris[:, i] for i, name in enumerate("abcd")})
    (batch,) = table.to_batches()
    model = small().fit(batch)
    assert list(model.feature_names_in_) == [*"abcd"]
    np.testing.assert_array_equal(model.transform(batch), model.transform(table))
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(table.select([*"dcba"]).to_batches()[0])


def test_frames_without_rows_yet_are_told_what_to_do(small, iris):
    lazy = pl.DataFrame(iris, schema=[*"abcd"]).lazy()
    with pytest.raises(TypeError, match=r"pass X\.collect\(\)"):
        small().fit(lazy)


def test_times_that_differ_by_milliseconds_are_not_constant(small, iris):
    start = np.datetime64("2024-01-01", "us")
    milliseconds = np.arange(len(iris)) % 5 * 1000
    frame = pd.DataFrame({"at": start + milliseconds.astype("m8[us]"), "width": iris[:, 0]})
    model = small(layer_rates=(1, 4), n_components=3, max_epochs="auto").fit(frame)
    since = (model.reconstruct(frame)["at"] - start).dt.total_seconds()
    assert np.corrcoef(since, milliseconds)[0, 1] > 0.9
