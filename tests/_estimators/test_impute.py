"""Frames with holes come back without, and otherwise as they were, in the types that they had."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_hvae import HierarchicalVAETransformer
from sk_hvae._estimators.model import check_new_rows, model_of

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

TINY = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
N_ROWS = 40
START = dt.datetime(2020, 1, 1)


def whole():
    random = np.random.default_rng(0)
    columns = {
        "age": random.integers(0, 100, N_ROWS),
        "weight": random.normal(70, 9, N_ROWS),
        "paid": random.random(N_ROWS) > 0.5,
        "city": random.choice(["Bonn", "Oslo", "Rome"], N_ROWS),
        "since": [START + dt.timedelta(days=n) for n in range(N_ROWS)],
    }
    return pd.DataFrame(columns, index=[f"row {n // 2}" for n in range(N_ROWS)])


def holey(frame):
    """Return a frame whose cell k is missing in column k, in types that can miss cells."""
    columns = {}
    for number, name in enumerate(frame):
        cells = frame[name].tolist()
        cells[number] = None
        columns[name] = pd.Series(cells, dtype=frame[name].dtype, index=frame.index)
    return pd.DataFrame(columns)


NULLABLE = holey(whole().convert_dtypes())
FRAMES = {
    "plain": holey(whole().astype({"age": float, "paid": object})),
    "objects": holey(whole().astype(object)),
    "nullable": NULLABLE,
    "short": holey(NULLABLE.astype({"age": "Int8", "weight": "Float32"})),
    "seconds": holey(whole().astype({"age": float, "paid": object, "since": "datetime64[s]"})),
    "categories": holey(NULLABLE.astype({"city": "category"})),
    "pyarrow in pandas": holey(whole().convert_dtypes(dtype_backend="pyarrow")),
    "polars": pl.from_pandas(NULLABLE),
    "polars enum": pl.from_pandas(NULLABLE).cast({"city": pl.Enum(["Rome", "Oslo", "Bonn"])}),
    "pyarrow": pa.Table.from_pandas(NULLABLE, preserve_index=False),
}
FRAMES["nanoseconds in polars"] = FRAMES["polars"].with_columns(
    pl.col("since").cast(pl.Datetime("ns")) + pl.duration(nanoseconds=1)
)
FRAMES["dictionary in pyarrow"] = FRAMES["pyarrow"].set_column(
    3, "city", FRAMES["pyarrow"]["city"].dictionary_encode()
)
every_frame = pytest.mark.parametrize("name", FRAMES)


@pytest.fixture(scope="module")
def models():
    """Return models of frames of each library."""
    frames = {"pandas": whole(), "polars": FRAMES["polars"], "pyarrow": FRAMES["pyarrow"]}
    return {
        name: HierarchicalVAETransformer((1, 2), handle_unknown="missing", **TINY).fit(frame)
        for name, frame in frames.items()
    }


def dtypes_of(frame):
    return frame.dtypes.tolist() if isinstance(frame, pd.DataFrame) else frame.schema


def columns_of(frame):
    """Return the cells of each column of a frame of any library."""
    if isinstance(frame, pa.Table):
        return frame.to_pydict()
    if isinstance(frame, pl.DataFrame):
        return {name: frame[name].to_physical().to_list() for name in frame.columns}
    return {name: frame[name].tolist() for name in frame}


@every_frame
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_holes_are_filled_and_nothing_else_changes(models, library, name):
    frame = FRAMES[name]
    found = models[library].impute(frame)
    assert type(found) is type(frame)
    assert dtypes_of(found) == dtypes_of(frame)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_index_equal(found.index, frame.index)
    before, after = columns_of(frame), columns_of(found)
    assert list(after) == list(before)
    for number, column in enumerate(before):
        assert not pd.isna(after[column][number])
        del before[column][number], after[column][number]
    assert after == before


def test_what_is_filled_in_is_the_same_in_every_library(models):
    expected = columns_of(models["pandas"].impute(FRAMES["nullable"]))
    for name in ("short", "pyarrow in pandas", "pyarrow"):
        found = columns_of(models["pandas"].impute(FRAMES[name]))
        assert found["city"] == expected["city"]
        assert found["paid"] == expected["paid"]
        np.testing.assert_allclose(found["age"], expected["age"])
        np.testing.assert_allclose(found["weight"], expected["weight"], rtol=1e-6)


def test_times_are_filled_in_in_the_zone_of_the_rows():
    frame = FRAMES["nullable"]
    frame = frame.assign(since=frame["since"].dt.tz_localize("Europe/Oslo"))
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    in_tokyo = frame.assign(since=frame["since"].dt.tz_convert("Asia/Tokyo"))
    found = model.impute(in_tokyo)["since"]
    assert found.dtype == in_tokyo["since"].dtype
    assert found.iloc[4] == model.impute(frame)["since"].iloc[4]


def test_numbers_are_filled_in_on_the_grid_of_their_column():
    random = np.random.default_rng(0)
    hidden = random.normal(size=200)
    day = START + pd.to_timedelta((100 + 30 * hidden).round(), "D")
    frame = pd.DataFrame(
        {
            "age": (40 + 10 * hidden).round(),
            "paid": np.exp(2 + hidden).round(2),
            "size": 250 * (20 + 3 * hidden).round(),
            "day": day,
            "text": day.strftime("%Y-%m-%d"),
            "wait": pd.to_timedelta((9 + hidden).round(), "h"),
            "real": hidden,
            "flag": (hidden + random.normal(size=200) > 0).astype(float),
        }
    )
    holes = random.random(frame.shape) < 0.2
    frame = frame.mask(holes)
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    found = model.impute(frame)
    assert (found["age"] == found["age"].round()).all()
    assert (found["paid"] == found["paid"].round(2)).all()
    assert (found["size"] % 250 == 0).all()
    assert (found["day"] == found["day"].dt.normalize()).all()
    assert found["text"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    assert (found["wait"] == found["wait"].dt.round("h")).all()
    is_hidden = holes[:, 6]
    assert (found["real"] != found["real"].round(2))[is_hidden].all()
    # Rounding would make a lot of a flag that is known by halves.
    assert found["flag"][holes[:, 7]].between(0.01, 0.99, inclusive="neither").any()


def test_reconstructed_times_are_on_the_grid_of_their_column():
    day = pd.Series(pd.date_range("2021-01-01", periods=N_ROWS))
    frame = pd.DataFrame({"day": day, "date": day.dt.date, "x": np.arange(float(N_ROWS))})
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    for found in (model.reconstruct(frame), model.sample(20, mean=True)):
        assert (found["day"] == found["day"].dt.normalize()).all()
    # No grid is known here, but days are what the type has.
    frame = pd.DataFrame({"date": day.dt.date})
    model = HierarchicalVAETransformer((1, 2), likelihood="gaussian", **TINY).fit(frame)
    decoded = model.inverse_transform(model.transform(frame))["date"]
    seconds = model_of(model).reconstruct(check_new_rows(model, frame), 1)[:, 0]
    assert decoded.tolist() == [
        dt.date(1970, 1, 1) + dt.timedelta(days=round(s / 86400)) for s in seconds
    ]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_without_holes_comes_back_as_it_was(models, library):
    frame = whole()
    pd.testing.assert_frame_equal(models[library].impute(frame), frame)
    in_polars = pl.from_pandas(frame)
    assert models[library].impute(in_polars).equals(in_polars)
    in_pyarrow = pa.Table.from_pandas(frame, preserve_index=False)
    assert models[library].impute(in_pyarrow).equals(in_pyarrow)


def test_nan_and_null_of_polars_are_both_missing(models):
    frame = pl.from_pandas(whole()).with_columns(
        weight=pl.Series([None, float("nan"), *whole()["weight"].iloc[2:]])
    )
    found = models["pandas"].impute(frame)["weight"]
    assert found.null_count() == 0
    assert not found.is_nan().any()
    assert found[2:].equals(frame["weight"][2:])


def test_unknown_categories_stay(models):
    frame = whole().astype({"city": object})
    frame.iloc[0, 3], frame.iloc[1, 3] = "Paris", None
    for dtype in (object, "string", "category"):
        found = models["pandas"].impute(frame.astype({"city": dtype}))["city"]
        assert found.iloc[0] == "Paris"
        assert found.iloc[1] in ("Bonn", "Oslo", "Rome")
        assert found.dtype == frame.astype({"city": dtype})["city"].dtype


def test_a_type_that_cannot_hold_what_is_filled_in_gives_way(models):
    frame = FRAMES["nullable"]
    filled = models["pandas"].impute(frame)["city"].iloc[3]
    others = [city for city in ("Bonn", "Oslo", "Rome") if city != filled]
    kept = frame[frame["city"].isin(others) | frame["city"].isna()]
    in_pandas = kept.astype({"city": pd.CategoricalDtype(others)})
    in_polars = pl.from_pandas(kept).cast({"city": pl.Enum(others)})
    for some in (in_pandas, in_polars):
        found = models["pandas"].impute(some)["city"]
        assert set(found) == {"Bonn", "Oslo", "Rome"}
    years = pd.DataFrame({"year": range(1900, 1940), "n": range(40)})
    years = HierarchicalVAETransformer((1, 2), **TINY).fit(years)
    short = pl.DataFrame({"year": [None, 100], "n": [3, 4]}, schema={"year": pl.Int8, "n": pl.Int8})
    assert years.impute(short)["year"].to_list()[0] >= 1900


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_integers_with_holes_in_an_array():
    X = whole()[["age", "weight"]].to_numpy()
    X[0, 0] = np.nan
    model = HierarchicalVAETransformer((1, 2), missing="mask", **TINY).fit(X)
    found = model.impute(X)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found[1:], X[1:])
    assert np.isfinite(found).all()
    assert isinstance(model.impute(pd.DataFrame(X)), np.ndarray)
    frame = HierarchicalVAETransformer((1, 2), **TINY).fit(whole()[["age", "weight"]]).impute(X)
    assert frame["age"].dtype == np.int64


@pytest.mark.parametrize("names", [[0, 1], [("a", 1), ("a", 2)], ["a b", "a.b"]])
def test_names_of_any_kind(names):
    columns = pd.Index(names).set_names([f"level {n}" for n in range(pd.Index(names).nlevels)])
    frame = whole()[["age", "weight"]].astype(float).set_axis(columns, axis=1)
    frame.iloc[0, 0] = np.nan
    found = HierarchicalVAETransformer((1, 2), **TINY).fit(frame).impute(frame)
    pd.testing.assert_index_equal(found.columns, frame.columns)
    assert found.notna().all().all()
    pd.testing.assert_frame_equal(found.iloc[1:], frame.iloc[1:])


def test_what_a_table_of_pyarrow_says_of_itself_stays(models):
    table = FRAMES["pyarrow"].replace_schema_metadata({"source": "here"})
    found = models["pandas"].impute(table)
    assert found.schema.equals(table.schema, check_metadata=True)
    (batch,) = table.to_batches()
    assert models["pandas"].impute(batch).equals(found)
