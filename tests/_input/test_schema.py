"""What columns of frames are taken for, and that frames come back from numbers as they were."""

import datetime as dt
import decimal
import fractions
import json
import uuid

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from sk_hvae._input.dtypes import range_of
from sk_hvae._input.frames import array_of, fill_holes, make_frame, read_frame
from sk_hvae._input.schema import Schema
from sk_hvae._input.single_values import number_of

NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 250000)
SECOND = dt.timedelta(seconds=1)
HALF, QUARTERS = decimal.Decimal("0.50"), decimal.Decimal("3.25")
NAN = float("nan")
PARIS = "Europe/Paris"


def encoded(frame, readings=None, schema=None, **how):
    """Return the schema of a frame, and the frame's numbers."""
    read = read_frame(frame)
    schema = schema or Schema.of(read, readings or {})
    arrays = [array_of(column) for column in read.columns]
    return schema, schema.encode(arrays, zoned=read.zoned, **how)


def assert_comes_back(frame):
    """Encode and decode a frame, which must not change; returns the column "c" of its schema."""
    schema, numbers = encoded(frame)
    assert numbers.dtype.kind in "biuf"
    back = schema.decode(numbers, getattr(frame, "index", None))
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(back, frame)
    elif isinstance(frame, pl.DataFrame):
        assert_frame_equal(back, frame, categorical_as_str=True)
    else:
        assert back.schema == frame.schema
        assert repr(back.to_pylist()) == repr(frame.to_pylist())  # in which NaN equals NaN
    (column,) = (column for column in schema.columns if column.name == "c")
    holes = [cell is None or cell != cell for cell in nw.from_native(frame)["c"].to_list()]
    if column.kind != "empty" and not isinstance(frame, pd.DataFrame):
        place = schema.columns.index(column)
        np.testing.assert_array_equal(np.isnan(numbers[:, place]), holes)
        assert column.n_missing == sum(holes)
    return column


# Columns of every type, with a hole in the middle where the type has holes.


def of_pandas(values, dtype=None):
    return pd.Series(values, dtype=dtype)


def arrow(values, dtype):
    return pd.Series(values, dtype=pd.ArrowDtype(dtype))


TEXT = ["b", None, "a"]
TIMES = pd.Series([NOON, None, NOON - SECOND])
LENGTHS = pd.Series([SECOND, None, -3 * SECOND])
PANDAS = {
    "number": {
        "float64": of_pandas([0.5, NAN, -2]),
        "float32": of_pandas([0.1, NAN, -2], "float32"),
        "float16": of_pandas([0.5, NAN, -2], "float16"),
        "int64": of_pandas([1, 2, -3]),
        "uint8": of_pandas([1, 2, 255], "uint8"),
        "uint64": of_pandas([1, 2, 2**52], "uint64"),
        "Int64": of_pandas([1, None, -3], "Int64"),
        "UInt8": of_pandas([1, None, 3], "UInt8"),
        "Float32": of_pandas([0.1, None, 3], "Float32"),
        "arrow int": arrow([1, None, 3], pa.int16()),
        "arrow float": arrow([0.1, None, 3], pa.float32()),
        "arrow decimal": arrow([HALF, None, QUARTERS], pa.decimal128(6, 2)),
        "sparse": of_pandas(pd.arrays.SparseArray([0.0, NAN, 2.0])),
        "sparse, of zeros": of_pandas(pd.arrays.SparseArray([0.0, NAN, 1.5], fill_value=0.0)),
        "sparse int": of_pandas(pd.arrays.SparseArray([0, 1, 0])),
        "objects, int": of_pandas([1, None, 3], object),
        "objects, float": of_pandas([0.5, None, 3.5], object),
        "objects, float and nan": of_pandas([0.5, NAN, 3.5], object),
        "objects, int and float": of_pandas([1, None, 3.5], object),
        "objects, numpy's": of_pandas([np.int64(1), None, np.int64(3)], object),
        "objects, decimal": of_pandas([HALF, None, QUARTERS]),
    },
    "category": {
        "bool": of_pandas([True, False, True]),
        "boolean": of_pandas([True, None, False], "boolean"),
        "arrow bool": arrow([True, None, False], pa.bool_()),
        "objects, bool": of_pandas([True, None, False], object),
        "objects, numpy's bool": of_pandas([np.True_, None, np.False_], object),
        "str": of_pandas(TEXT),
        "objects, text": of_pandas(TEXT, object),
        "objects, text and nan": of_pandas(["b", NAN, "a"], object),
        "objects, text and NA": of_pandas(["b", pd.NA, "a"], object),
        "objects, text and numbers": of_pandas([1, None, "a"], object),
        "objects, bytes": of_pandas([b"b", None, b"a"]),
        "objects, tuples": of_pandas([(1, 2), None, (3, 4)]),
        "objects, UUID": of_pandas([uuid.UUID(int=2), None, uuid.UUID(int=1)]),
        "numbers in text": of_pandas(["2.5", None, "1"]),
        "string": of_pandas(TEXT, "string"),
        "string[python]": of_pandas(TEXT, "string[python]"),
        "string[pyarrow]": of_pandas(TEXT, "string[pyarrow]"),
        "arrow string": arrow(TEXT, pa.string()),
        "arrow large_string": arrow(TEXT, pa.large_string()),
        "arrow dictionary": arrow(TEXT, pa.dictionary(pa.int32(), pa.string())),
        "category": of_pandas(TEXT, "category"),
        "category, ordered": of_pandas(
            pd.Categorical(["low", None, "high"], ["low", "middle", "high"], ordered=True)
        ),
        "category of string": of_pandas(TEXT, "string").astype("category"),
        "category of int": of_pandas(pd.Categorical([3, None, 1], [4, 3, 2, 1])),
        "category of float": of_pandas([0.5, None, 2.5], "category"),
        "category of bool": of_pandas(pd.Categorical([True, None, False])),
        "category of times": TIMES.astype("datetime64[ns]").astype("category"),
        "category of dates": of_pandas(pd.Categorical([NOON.date(), None, NOON.date()])),
        "category of intervals": of_pandas(pd.cut([1, NAN, 9], [0, 2, 6, 10])),
        "category of periods": of_pandas(
            pd.Categorical(pd.PeriodIndex(["2020-02", None, "2020-01"], freq="M"))
        ),
        "Interval": of_pandas(pd.arrays.IntervalArray.from_tuples([(1, 2), NAN, (0, 1)])),
        "Period": of_pandas(pd.PeriodIndex(["2020-02", None, "2020-01"], freq="M")),
    },
    "datetime": {
        **{
            f"datetime64[{unit}]": TIMES.astype(f"datetime64[{unit}]")
            for unit in ("ms", "us", "ns")
        },
        "datetime64[s]": TIMES.astype("datetime64[s]"),
        **{f"in {zone}": TIMES.dt.tz_localize(zone) for zone in ("UTC", PARIS, "+05:30")},
        "arrow timestamp": arrow([NOON, None, NOON], pa.timestamp("ms")),
        "arrow timestamp, zone": arrow([NOON, None, NOON], pa.timestamp("us", PARIS)),
        "arrow date32": arrow([NOON.date(), None, NOON.date()], pa.date32()),
        "arrow date64": arrow([NOON.date(), None, NOON.date()], pa.date64()),
        "objects, date": of_pandas([NOON.date(), None, NOON.date()]),
        "objects, date and nan": of_pandas([NOON.date(), NAN, NOON.date()], object),
        "objects, Timestamp and NaT": of_pandas([pd.Timestamp(NOON), pd.NaT], object)
        .reindex([0, 1, 0])
        .reset_index(drop=True),
        "objects, datetime": of_pandas([NOON, None, NOON], object),
        "objects, UTC": of_pandas(
            [NOON.replace(tzinfo=dt.UTC), None, NOON.replace(tzinfo=dt.UTC)], object
        ),
    },
    "duration": {
        **{
            f"timedelta64[{unit}]": LENGTHS.astype(f"timedelta64[{unit}]")
            for unit in ("s", "ms", "us", "ns")
        },
        "arrow duration": arrow([SECOND, None, 2 * SECOND], pa.duration("ms")),
        "objects, timedelta": of_pandas([SECOND, None, -SECOND], object),
    },
    "time": {
        "objects, time": of_pandas([NOON.time(), None, dt.time(3)]),
        "arrow time64": arrow([NOON.time(), None, dt.time(3)], pa.time64("us")),
    },
    "empty": {
        "float64": of_pandas([NAN] * 3),
        "objects": of_pandas([None] * 3),
        "objects, nan": of_pandas([NAN] * 3, object),
        "Int64": of_pandas([None] * 3, "Int64"),
        "str": of_pandas([None] * 3, "str"),
        "datetime64": of_pandas([pd.NaT] * 3, "datetime64[us]"),
        "datetime64, zone": of_pandas([pd.NaT] * 3, "datetime64[us, UTC]"),
        "category": of_pandas(pd.Categorical([None] * 3, ["a", "b"])),
        "arrow null": arrow([None] * 3, pa.null()),
        "arrow list": arrow([None] * 3, pa.null()),
    },
}
POLARS = {
    "number": {
        "Int64": pl.Series([1, None, -3]),
        "UInt8": pl.Series([1, None, 3], dtype=pl.UInt8),
        "Int128": pl.Series([1, None, 3], dtype=pl.Int128),
        "Float32": pl.Series([0.1, None, 3], dtype=pl.Float32),
        "Float64 with nan": pl.Series([0.1, NAN, 3]),
        "Decimal": pl.Series([HALF, None, QUARTERS]),
    },
    "category": {
        "Boolean": pl.Series([True, None, False]),
        "String": pl.Series(TEXT),
        "Categorical": pl.Series(TEXT, dtype=pl.Categorical),
        "Enum": pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "middle", "high"])),
        "Binary": pl.Series([b"b", None, b"a"]),
    },
    "datetime": {
        "Date": pl.Series([NOON.date(), None, NOON.date()]),
        **{
            unit: pl.Series([NOON, None, NOON], dtype=pl.Datetime(unit))
            for unit in ("ms", "us", "ns")
        },
        "zone": pl.Series([NOON, None, NOON]).dt.replace_time_zone(PARIS),
    },
    "duration": {
        unit: pl.Series([SECOND, None, -SECOND], dtype=pl.Duration(unit))
        for unit in ("ms", "us", "ns")
    },
    "time": {"Time": pl.Series([NOON.time(), None, dt.time(3)])},
    "empty": {
        "Null": pl.Series([None] * 3),
        "Float64": pl.Series([None] * 3, dtype=pl.Float64),
        "String": pl.Series([None] * 3, dtype=pl.String),
        "Enum": pl.Series([None] * 3, dtype=pl.Enum(["a", "b"])),
        "Datetime": pl.Series([None] * 3, dtype=pl.Datetime("us", PARIS)),
    },
}
PYARROW = {
    "number": {
        "int8": pa.array([1, None, 3], pa.int8()),
        "uint64": pa.array([1, None, 3], pa.uint64()),
        "float16": pa.array(np.array([0.5, np.nan, 3], np.float16), from_pandas=True),
        "float32": pa.array([0.1, None, 3], pa.float32()),
        "float64 with nan": pa.array([0.5, NAN, 3]),
        "decimal128": pa.array([HALF, None, QUARTERS]),
        "decimal256": pa.array([HALF, None, QUARTERS], pa.decimal256(50, 2)),
    },
    "category": {
        "bool": pa.array([True, None, False]),
        "string": pa.array(TEXT),
        "large_string": pa.array(TEXT, pa.large_string()),
        "dictionary": pa.array(TEXT).dictionary_encode(),
        "dictionary, ordered": pa.DictionaryArray.from_arrays(
            pa.array([0, None, 2], pa.int8()), ["low", "middle", "high"], ordered=True
        ),
        "dictionary of int": pa.array([3, None, 1]).dictionary_encode(),
        "binary": pa.array([b"b", None, b"a"]),
    },
    "datetime": {
        **{unit: pa.array([NOON, None, NOON], pa.timestamp(unit)) for unit in ("ms", "us", "ns")},
        "s": pa.array(
            [NOON.replace(microsecond=0), None, NOON.replace(microsecond=0)], pa.timestamp("s")
        ),
        "zone": pa.array([NOON, None, NOON], pa.timestamp("us", PARIS)),
        "date32": pa.array([NOON.date(), None, NOON.date()]),
        "date64": pa.array([NOON.date(), None, NOON.date()], pa.date64()),
    },
    "duration": {"s": pa.array([SECOND, None, -SECOND], pa.duration("s"))},
    "time": {
        "time32": pa.array([dt.time(3), None, dt.time(4)], pa.time32("s")),
        "time64": pa.array([NOON.time(), None, dt.time(4)], pa.time64("us")),
    },
    "empty": {
        "null": pa.nulls(3),
        "string": pa.nulls(3, pa.string()),
        "dictionary": pa.nulls(3, pa.dictionary(pa.int8(), pa.string())),
    },
}
LIBRARIES = {
    "pandas": (pd.DataFrame, PANDAS),
    "polars": (pl.DataFrame, POLARS),
    "pyarrow": (pa.table, PYARROW),
}


def columns():
    for library, (make, kinds) in LIBRARIES.items():
        for kind, named in kinds.items():
            for name, column in named.items():
                frame = make({"n": [1.5, 2.5, 3.5], "c": column})
                yield pytest.param(frame, kind, id=f"{library} {kind} {name}")


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
def test_frames_come_back_from_numbers(frame, kind):
    assert assert_comes_back(frame).kind == kind


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
def test_codes_tell_categories_apart_and_no_more(frame, kind):
    _, numbers = encoded(frame)
    if kind == "category":
        cells = nw.from_native(frame)["c"].to_list()
        there = ~np.isnan(numbers[:, 1])
        codes = numbers[there, 1].tolist()
        cells = [cell for cell, is_there in zip(cells, there, strict=True) if is_there]
        pairs = set(zip(codes, map(repr, cells), strict=True))
        assert len(pairs) == len(set(codes)) == len(set(map(repr, cells)))
        assert set(codes) == set(range(len(set(codes))))
    if kind == "empty":
        assert not numbers[:, 1].any()


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
def test_rows_of_holes_alone_are_read_as_such(frame, kind):
    schema, _ = encoded(frame)
    library, cells = frame.__class__.__module__.partition(".")[0], [[None], [None]]
    dtypes = [column.dtype for column in schema.columns]
    if library == "pandas":  # whose types may have no holes; then they come as objects
        holes = pd.DataFrame({"n": [None], "c": [None]}, dtype=object)
    else:
        holes = make_frame(library, ["n", "c"], cells, dtypes)
    _, numbers = encoded(holes, schema=schema)
    np.testing.assert_array_equal(numbers, [[NAN, 0.0 if kind == "empty" else NAN]])


@pytest.mark.parametrize("index", [["x", "y", "z"], [7, 7, -1], pd.date_range("2024", periods=3)])
def test_the_index_comes_back(index):
    frame = pd.DataFrame({"n": [1.5, 2, 3], "c": TEXT}, index=index)
    frame.index.name = "who"
    assert_comes_back(frame)


def test_names_of_columns_come_back():
    names = {
        "numbers": [3, 1, 2],
        "dates": pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-03-05"]),
        "mixed": ["a", 1, None],
        "repeated": ["a", "a", "b"],
        "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    }
    for columns in names.values():
        frame = pd.DataFrame([[1.5, "x", 2], [0.5, "y", 3]]).set_axis(columns, axis=1)
        schema, numbers = encoded(frame)
        back = schema.decode(numbers, frame.index)
        pd.testing.assert_frame_equal(back, frame, check_column_type="equiv")


def test_types_stay_as_narrow_as_they_can_be():
    """Codes and small numbers take two bytes, not eight."""
    frame = pd.DataFrame(
        {"c": ["a", "b"] * 3, "n": np.arange(6, dtype="int8"), "b": [True, False] * 3}
    )
    assert encoded(frame)[1].dtype == np.int16
    assert encoded(pl.DataFrame({"n": [1, 2]}, schema={"n": pl.UInt8}))[1].dtype == np.uint8
    assert encoded(pd.DataFrame({"n": np.ones(2, "f4")}))[1].dtype == np.float32


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_without_rows_comes_back(library):
    make = LIBRARIES[library][0]
    schema, _ = encoded(make({"n": [1.5, 2], "c": ["a", "b"]}))
    back = schema.decode(np.empty((0, 2)))
    assert back.shape == (0, 2)


def test_batches_of_rows_and_other_libraries():
    from sk_hvae._input.tables import as_table

    batch = pa.record_batch({"n": [1.5, 2.5], "c": ["a", None]})
    schema, numbers = encoded(as_table(batch))
    assert schema.decode(numbers).equals(pa.Table.from_batches([batch]))


def test_frames_of_other_libraries_become_tables_of_pyarrow(monkeypatch):
    """As if narwhals knew polars, and we did not."""
    monkeypatch.setattr("sk_hvae._input.frames.LIBRARIES", ("pandas", "pyarrow"))
    frame = pl.DataFrame(
        {"n": [1.5, None], "c": ["a", "b"], "k": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"]))}
    )
    schema, numbers = encoded(frame)
    back = schema.decode(numbers)
    assert isinstance(back, pa.Table)
    assert back.to_pylist() == frame.to_dicts()


# How cells and dtypes of later rows may differ from those at fit.

FIT = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "city": ["Oslo", "Rome", "Oslo"],
        "paid": [True, False, True],
        "at": [NOON] * 3,
    }
)
LATER = {
    "floats with holes": ({"n": [1.0, NAN, 3.0]}, [1, NAN, 3]),
    "nullable": ({"n": pd.array([1, None, 3], "Int64")}, [1, NAN, 3]),
    "numbers in text": ({"n": ["1", None, "3"]}, [1, NAN, 3]),
    "category": ({"city": pd.Categorical(["Rome", None, "Oslo"])}, [1, NAN, 0]),
    "category of more": (
        {"city": pd.Categorical(["Rome", None, "Oslo"], ["Bonn", "Oslo", "Rome"])},
        [1, NAN, 0],
    ),
    "string": ({"city": pd.array(["Rome", None, "Oslo"], "string")}, [1, NAN, 0]),
    "objects": ({"city": np.array(["Rome", NAN, "Oslo"], object)}, [1, NAN, 0]),
    "one category": ({"city": ["Rome"] * 3}, [1, 1, 1]),
    "zero and one": ({"paid": [0, 1, 0]}, [0, 1, 0]),
    "floats": ({"paid": [0.0, NAN, 1.0]}, [0, NAN, 1]),
    "boolean": ({"paid": pd.array([False, None, True], "boolean")}, [0, NAN, 1]),
    "nanoseconds": (
        {"at": pd.Series([NOON, None, NOON]).astype("datetime64[ns]")},
        [1709208000.25, NAN, 1709208000.25],
    ),
    "dates": ({"at": [dt.date(1970, 1, 2)] * 3}, [86400] * 3),
}


@pytest.mark.parametrize("case", LATER)
def test_the_dtypes_of_later_rows_may_differ(case):
    new, expected = LATER[case]
    (name,) = new
    schema, _ = encoded(FIT)
    _, numbers = encoded(FIT.assign(**new), schema=schema)
    found = numbers[:, list(FIT).index(name)]
    # Nanoseconds since 1970 are too many for float64 to tell each.
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_later_rows_may_be_of_another_library():
    schema, expected = encoded(FIT)
    for frame in (pl.from_pandas(FIT), pa.Table.from_pandas(FIT)):
        np.testing.assert_array_equal(encoded(frame, schema=schema)[1], expected)


@pytest.mark.parametrize("cells", [[{"x": 1, "y": 2}] * 3, [[1, 2]] * 3], ids=["structs", "lists"])
@pytest.mark.parametrize("column", ["n", "city", "at"])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pd", "pl", "pa"])
def test_nested_cells_of_later_rows_are_refused_by_name(make, column, cells):
    schema, _ = encoded(FIT)
    frame = make({name: FIT[name].tolist() for name in FIT} | {column: cells})
    with pytest.raises(TypeError, match=rf"^column '{column}' of X, .*cannot be read as"):
        encoded(frame, schema=schema)


def test_a_value_that_is_no_number_is_named():
    schema, _ = encoded(FIT)
    with pytest.raises(ValueError, match=r"^'many' is no number$"):
        number_of(schema.columns[0], "many")


def test_categories_that_fit_had_not():
    schema, _ = encoded(FIT)
    new = FIT.assign(city=["Oslo", "Bonn", None])
    said = r"column 'city' of X has the unknown categories 'Bonn'; in fit it had 'Oslo', 'Rome'\."
    with pytest.raises(ValueError, match=said):
        encoded(new, schema=schema)
    _, numbers = encoded(new, schema=schema, unknown="missing")
    np.testing.assert_array_equal(numbers[:, 1], [0, NAN, NAN])


def test_of_many_unknown_categories_a_few_are_named():
    schema, _ = encoded(pd.DataFrame({"c": [f"k{i}" for i in range(9)]}))
    with pytest.raises(ValueError, match=r"'u0', 'u1', 'u2', 'u3', 'u4'; .*'k4' and 4 more\."):
        encoded(pd.DataFrame({"c": [f"u{i}" for i in range(9)]}), schema=schema)


@pytest.mark.parametrize(
    ("at_fit", "later"),
    [
        (["a", "b"], [1, 2]),
        (["a", "b"], [0.5, 1.5]),
        (["1", "2"], [1, 2]),
        (["a", "b"], [NOON, NOON]),
        ([True, False], ["yes", "no"]),
        (pd.Categorical([1, 2]), ["1", "2"]),
    ],
    ids=["codes", "floats", "digits", "times", "words for truth", "text for numbers"],
)
def test_cells_of_another_kind_are_an_error_whatever_is_asked_for(at_fit, later):
    """They are no rare category, but another column or a mistake."""
    schema, _ = encoded(pd.DataFrame({"c": at_fit}))
    with pytest.raises(ValueError, match="column 'c' of X has the unknown categories"):
        encoded(pd.DataFrame({"c": later}), schema=schema, unknown="missing")


@pytest.mark.parametrize(
    ("at_fit", "later"),
    [([1.5, 2.5], ["x", "y"]), ([1, 2], [NOON, NOON]), ([NOON, NOON - SECOND], ["x", "y"])],
    ids=["text for numbers", "times for numbers", "text for times"],
)
def test_other_cells_in_a_column_of_numbers_are_an_error(at_fit, later):
    schema, _ = encoded(pd.DataFrame({"c": at_fit}))
    with pytest.raises(ValueError, match="column 'c' of X"):
        encoded(pd.DataFrame({"c": later}), schema=schema)


# How columns are read whose likelihood is given.


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        (["2.5", None, "1"], "str", [2.5, NAN, 1]),
        ([True, None, False], "boolean", [1, NAN, 0]),
        (pd.Categorical([0.5, None, 2.0]), None, [0.5, NAN, 2]),
        (pd.Categorical(["3", None, "1"]), None, [3, NAN, 1]),
        (pd.Categorical([NOON, None, NOON]), None, [1709208000.25, NAN, 1709208000.25]),
    ],
    ids=["text", "boolean", "category of numbers", "category of text", "category of times"],
)
def test_what_is_to_be_numbers(cells, dtype, expected):
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=dtype)})
    schema, numbers = encoded(frame, {0: "numbers"})
    np.testing.assert_array_equal(numbers[:, 0], expected)
    back = schema.decode(numbers)
    # Some versions of pandas make seconds of nanoseconds, others of microseconds.
    np.testing.assert_allclose(encoded(back, {0: "numbers"})[1], numbers, rtol=1e-15)


def test_numbers_that_are_to_be_categories():
    ratings = pd.DataFrame({"c": [4.5, None, 3.5, 4.5]})
    schema, numbers = encoded(ratings, {0: "categories"})
    np.testing.assert_array_equal(numbers[:, 0], [1, NAN, 0, 1])
    pd.testing.assert_frame_equal(schema.decode(numbers), ratings)


def test_whole_numbers_that_are_to_be_categories_stay_the_codes_that_they_are():
    schema, numbers = encoded(pd.DataFrame({"c": [7, -2, 40]}), {0: "categories"})
    np.testing.assert_array_equal(numbers[:, 0], [7, -2, 40])
    later = pd.DataFrame({"c": [7, 8, None]})
    with pytest.raises(ValueError, match=r"'c' of X has the unknown categories 8\.0; .* -2, 7, 40"):
        encoded(later, schema=schema)
    _, numbers = encoded(later, schema=schema, unknown="missing")
    np.testing.assert_array_equal(numbers[:, 0], [7, NAN, NAN])
    again = Schema.from_plain(in_json(schema.to_plain()))
    np.testing.assert_array_equal(encoded(later, schema=again, unknown="missing")[1], numbers)


# What cannot be read.


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([[1], [2]]),
        pl.Series([{"a": 1}, {"a": 2}]),
        pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pd.Series([[1], [2]]),
        pd.Series([{"a": 1}, None]),
        pd.Series([np.ones(2), np.ones(2)]),
        pd.Series([1j, 2]),
        pd.Series([NOON, SECOND]),
        pd.Series([NOON, 3.0], dtype=object),
    ],
    ids=lambda column: f"{type(column).__module__.split('.')[0]} {next(iter(column))}",
)
@pytest.mark.parametrize("reading", [None, "numbers", "categories"])
def test_what_no_cell_can_hold_is_refused_by_the_name_of_its_column(column, reading):
    if reading == "categories" and isinstance(next(iter(column)), (complex, dt.datetime)):
        return  # They may be categories.
    make = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame}.get(type(column), pa.table)
    frame = make({"n": [1, 2], "odd": column})
    with pytest.raises((TypeError, ValueError), match=r"column 'odd' of X, of type .*convert"):
        encoded(frame, {} if reading is None else {1: reading})


@pytest.mark.parametrize("cells", [[fractions.Fraction(1, 2), 2], [1, HALF]], ids=repr)
def test_numbers_of_several_types_come_back_as_numbers(cells):
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=object)})
    schema, numbers = encoded(frame)
    assert schema.decode(numbers)["c"].tolist() == [float(cell) for cell in cells]


# Holes that are filled.


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
def test_only_holes_are_filled(frame, kind):
    if kind == "empty":
        return
    schema, numbers = encoded(frame)
    filled = schema.decode(
        np.where(np.isnan(numbers), numbers[2], numbers), getattr(frame, "index", None)
    )
    found = fill_holes(frame, filled)
    assert type(found) is type(frame)
    cells, holes = nw.from_native(found)["c"].to_list(), np.isnan(numbers[:, 1])
    before = nw.from_native(frame)["c"].to_list()
    for row, is_hole in enumerate(holes):
        assert cells[row] == before[2 if is_hole else row]
    assert nw.from_native(found).schema == nw.from_native(frame).schema


# Numbers that a model makes, and that no cell was.


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
@pytest.mark.parametrize("change", [0.3712345, -1e4, 1e4, 43211.5])
def test_numbers_that_a_dtype_cannot_hold_become_the_nearest_ones(frame, kind, change):
    if kind in ("category", "empty", "time"):
        return
    schema, numbers = encoded(frame)
    numbers = numbers.astype(float)
    numbers[:, 1] += change
    back = schema.decode(numbers, getattr(frame, "index", None))
    assert nw.from_native(back).schema == nw.from_native(frame).schema
    _, found = encoded(back, schema=schema)
    # Of dates, seconds are lost; of some numbers, what is beyond their range and their digits.
    steps = {"datetime": 86400, "duration": 1, "number": 1}
    low, high = range_of(schema.columns[1].dtype) or (-np.inf, np.inf)
    expected = np.clip(numbers[:, 1], low, high)
    np.testing.assert_allclose(found[:, 1], expected, atol=steps[kind], rtol=1e-3)


@pytest.mark.parametrize("n_bits", [8, 16, 32, 64])
def test_ranges_of_whole_numbers(n_bits):
    for name in (f"int{n_bits}", f"uint{n_bits}"):
        ends = np.iinfo(name).min, np.iinfo(name).max
        capital = name.replace("u", "U").replace("i", "I")
        for dtype in (name, capital, {"arrow": name}, {"sparse": name, "fill": 0}):
            assert range_of(dtype) == ends
        schema, _ = encoded(pd.DataFrame({"c": np.array([0, 1], name)}))
        drawn = schema.decode(np.array([[-1e30], [1e30]]))
        assert drawn["c"].dtype == name
        np.testing.assert_allclose(drawn["c"].astype(float), ends)
    for other in ("float64", "interval[int64, right]", {"name": "Enum", "categories": ["int8"]}):
        assert range_of(other) is None


# Schemas in files.


def in_json(value):
    """Write and read a value as JSON, in which lists are read as tuples, as in files."""

    def with_tuples(found):
        if isinstance(found, dict):
            return {name: with_tuples(item) for name, item in found.items()}
        return tuple(map(with_tuples, found)) if isinstance(found, list) else found

    return with_tuples(json.loads(json.dumps(value)))


NOT_IN_FILES = (
    "Interval",
    "Period",
    "intervals",
    "periods",
    "times",
    "dates",
    "bytes",
    "UUID",
    "inary",
)


@pytest.mark.parametrize(("frame", "kind"), list(columns()))
def test_schemas_come_back_from_files(frame, kind, request):
    if kind == "category" and any(name in request.node.name for name in NOT_IN_FILES):
        return
    schema, numbers = encoded(frame)
    again = Schema.from_plain(in_json(schema.to_plain()))
    again.check(numbers.max(axis=0))
    _, same = encoded(frame, schema=again)
    np.testing.assert_array_equal(same, numbers)
    back, index = again.decode(numbers), getattr(frame, "index", None)
    assert nw.from_native(back).schema == nw.from_native(schema.decode(numbers, index)).schema


def plain(library="pandas", rows=3, **attributes):
    """Return what a file says of a frame of one column."""
    column = {"name": "a", "dtype": "float64", "kind": "number", "cell": None}
    column |= {"categories": None, "n_missing": 0, "hole": None}
    column |= attributes
    return library, (tuple(column.values()),), rows, ((), ())


NAMED = {"kind": "category", "dtype": "str"}
BROKEN = {
    "library": plain("numpy"),
    "rows": plain(rows=-1),
    "rows of text": plain(rows="3"),
    "kind": plain(kind="code"),
    "cell": plain(cell="eval"),
    "hole": plain(hole="eval"),
    "dtype": plain(dtype=3),
    "count": plain(n_missing=0.5),
    "no categories": plain(**NAMED),
    "codes that are text": plain(categories=("x",)),
    "codes of dates": plain(kind="datetime", categories=(1,)),
    "repeated categories": plain(**NAMED, categories=("x", "x")),
    "categories that are dicts": plain(**NAMED, categories=({}, "x")),
    "short column": ("pandas", (("a", "float64"),), 3, ((), ())),
    "patterns": (*plain()[:3], (((1,),), (1,))),
    "nothing": (),
}


def test_what_is_not_broken_is_read():
    assert Schema.from_plain(plain()).names == ["a"]
    Schema.from_plain(plain(**NAMED, categories=("x", "y"), hole="nan")).check([1])


@pytest.mark.parametrize("largest", [[2], [1, 1], []])
def test_schemas_are_checked_against_the_numbers_of_the_fit(largest):
    schema = Schema.from_plain(plain(**NAMED, categories=("x", "y")))
    with pytest.raises(ValueError, match=r"the code 2|1 columns, and X (2|0)"):
        schema.check(largest)


@pytest.mark.parametrize("case", BROKEN)
def test_broken_schemas_are_refused(case):
    with pytest.raises((ValueError, TypeError)):
        Schema.from_plain(BROKEN[case])


@pytest.mark.parametrize(
    ("library", "dtype"),
    [
        ("pandas", "os.system"),
        ("pandas", {"arrow": "list<item: int64>"}),
        ("pandas", {"categories": ("a", "a"), "ordered": False, "of": "str"}),
        ("pandas", {}),
        ("polars", "DataFrame"),
        ("polars", "read_csv"),
        ("polars", {"name": "read_csv", "source": "x"}),
        ("polars", {"name": "Datetime", "time_unit": "h", "time_zone": None}),
        ("pyarrow", "no type"),
        ("pyarrow", {"bits": 7, "precision": 2, "scale": 1}),
        ("pyarrow", {"time_unit": "h", "time_zone": None}),
    ],
    ids=str,
)
def test_dtypes_that_a_library_has_not_are_refused(library, dtype):
    schema = Schema.from_plain(plain(library, dtype=dtype))
    with pytest.raises(ValueError, match=f"{library} has no dtype"):
        schema.check([1])
