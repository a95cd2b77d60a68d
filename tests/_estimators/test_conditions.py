"""Conditions on samples in the words of users: what is taken, and what is refused by name."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import Poisson

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

TINY = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
N_ROWS = 60
MARCH = dt.datetime(2021, 3, 1)
DAYS = [MARCH + dt.timedelta(n) for n in range(3)]


def table():
    random = np.random.default_rng(0)
    numbers = np.arange(N_ROWS)
    return {
        "city": random.choice(["Bonn", "Oslo", "Rome"], N_ROWS).tolist(),
        "age": random.integers(20, 60, N_ROWS).tolist(),
        "tenths": random.normal(45, 2, N_ROWS).round(1).tolist(),
        "paid": (numbers % 3 == 0).tolist(),
        "since": [MARCH + dt.timedelta(days=int(n) - 20) for n in numbers],
        "worked": [dt.timedelta(hours=int(n)) for n in numbers],
        "opens": [dt.time(6 + int(n) % 12) for n in numbers],
        "always": [3] * N_ROWS,
        "never": [None] * N_ROWS,
    }


@pytest.fixture(scope="module")
def model():
    return HierarchicalVAETransformer((1, 2), **TINY).fit(pd.DataFrame(table()))


@pytest.fixture(scope="module")
def of_array():
    X = np.random.default_rng(0).normal(size=(N_ROWS, 3)).astype(np.float32)
    return HierarchicalVAETransformer((1, 2), **TINY).fit(X)


@pytest.mark.parametrize(
    ("column", "wanted", "allowed"),
    [
        ("city", "Rome", {"Rome"}),
        ("city", np.str_("Rome"), {"Rome"}),
        ("city", {"Rome", "Oslo"}, {"Rome", "Oslo"}),
        ("city", ["Rome", "Oslo"], {"Rome", "Oslo"}),
        ("city", pd.Series(["Rome", "Oslo"], index=[7, 8]), {"Rome", "Oslo"}),
        ("city", pl.Series(["Rome", "Oslo"]), {"Rome", "Oslo"}),
        (0, ["Rome"], {"Rome"}),
        ("paid", True, {True}),
        ("paid", np.False_, {False}),
        ("age", np.int16(40), {40}),
        ("age", 40.0, {40}),
        ("age", range(30, 50), {*range(30, 50)}),
        ("tenths", 45.5, {45.5}),
        ("tenths", np.float32(45.1), {45.1}),
        ("tenths", 45 + 0.1 + 0.2, {45.3}),
        ("tenths", np.array([45.5, 44.1]), {45.5, 44.1}),
        ("since", "2021-03-01", {MARCH}),
        ("since", "2021-03", {MARCH}),
        ("since", MARCH.date(), {MARCH}),
        ("since", pd.Timestamp(MARCH), {MARCH}),
        ("since", np.datetime64(MARCH), {MARCH}),
        ("since", ("2021-03-01", DAYS[2]), {*DAYS}),
        ("worked", dt.timedelta(hours=5), {pd.Timedelta(hours=5)}),
        ("worked", (None, pd.Timedelta(hours=1)), {pd.Timedelta(0), pd.Timedelta(hours=1)}),
        ("opens", "07:00", {dt.time(7)}),
        ("opens", (dt.time(9), "10:30"), {dt.time(9), dt.time(10)}),
        ("always", 3, {3}),
        ("always", (None, 7), {3}),
    ],
)  # fmt: skip
def test_what_is_asked_for_comes_out(model, column, wanted, allowed):
    samples = model.sample(20, given={column: wanted})
    found = samples.iloc[:, column] if column == 0 else samples[column]
    assert set(found) <= allowed
    assert found.dtype == pd.DataFrame(table())[found.name].dtype


@pytest.mark.parametrize(
    ("column", "wanted", "message"),
    [
        ("tenths", 45.53, "column 'tenths'.* 45.53, .* between two values.*nearest is 45.5"),
        ("tenths", [45.5, 45.53], "column 'tenths'.* 45.53"),
        ("tenths", (45.51, 45.59), "column 'tenths'.* from 45.51 to 45.59, .*nearest is 45.[56]"),
        ("tenths", (46, 45), "column 'tenths'.*the range from 46 to 45 is empty"),
        ("tenths", np.nan, "column 'tenths'.*missing cell"),
        ("tenths", [45.5, None], "column 'tenths'.*missing cell"),
        ("tenths", (np.nan, 45), "column 'tenths'.*missing cell"),
        ("tenths", True, "column 'tenths'.*asks for 1, but"),
        ("age", 40.5, "column 'age'.* 40.5"),
        ("age", (40.2, 40.8), "column 'age'.* from 40.2 to 40.8"),
        ("age", (30,), "column 'age'.*two ends"),
        ("age", {"low": 30}, "column 'age'.*not 'dict'"),
        ("age", "forty", "column 'age'.*'forty' is no number"),
        ("age", MARCH, "column 'age'.*in fit it held numbers"),
        ("city", None, "column 'city'.*missing cell"),
        ("city", ("A", "K"), "column 'city'.*no range; give a list.*for numbers and times"),
        ("city", "rome", r"column 'city'.*Did you mean 'Rome'\? Give"),
        ("city", 3, "column 'city'.*'Bonn', 'Oslo', 'Rome'"),
        ("city", [], "column 'city'.*none of its values"),
        ("paid", "True", "column 'paid'.*False, True"),
        ("since", "soon", "column 'since'.*'soon'"),
        ("since", pd.NaT, "column 'since'.*missing cell"),
        ("since", "2021-03-01T12:00", "column 'since'.* 12:00:00, .*nearest is 2021-03-0"),
        ("since", ("2021-03-01T01", "2021-03-01T02"), "column 'since'.* from 2021-03-01 01:00:00"),
        ("since", "2031-03-01", "column 'since'.* from 2021-02-09 00:00:00 to 2021-04-09"),
        ("since", dt.timedelta(3), "column 'since'.*in fit it held datetimes"),
        ("worked", "5 hours", "column 'worked'.*'5 hours'"),
        ("opens", "noon", "column 'opens'.*'noon'"),
        ("always", 4, "column 'always'.* asks for 4, .* from 3 to 3"),
        ("always", (4, None), "column 'always'.* from 4 to inf.* from 3 to 3"),
        ("never", 1, "column 'never'.*in fit it had no values"),
        ("never", (1, 2), "column 'never'.*in fit it had no values"),
        ("town", "Rome", "the column 'town'.*'city'"),
        (True, 40, "the column True"),
        (-1, 40, "the column -1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(model, column, wanted, message):
    with pytest.raises(ValueError, match=message):
        model.sample(2, given={column: wanted})


@pytest.mark.parametrize(
    ("column", "wanted", "message"),
    [
        (0, None, "column 0.*missing cell"),
        (0, "a", "column 0.*'a' is no number"),
        (0, 1e9, "column 0.*1000000000, but"),
        (3, 0.0, r"the column 3, but X has the columns \[0, 1, 2\]"),
        ("x", 0.0, r"the column 'x'.*\[0, 1, 2\]"),
        (True, 0.0, "the column True"),
    ],
)
def test_columns_of_arrays_go_by_number(of_array, column, wanted, message):
    with pytest.raises(ValueError, match=message):
        of_array.sample(2, given={column: wanted})


def test_arrays_have_their_conditions_in_their_own_precision(of_array):
    assert (of_array.sample(5, given={np.int64(1): "0.1"})[:, 1] == np.float32(0.1)).all()
    positive = of_array.sample(50, given={2: (0, None)})
    assert positive.dtype == np.float32
    assert (positive[:, 2] >= 0).all()


@pytest.mark.parametrize("library", ["pandas", "pyarrow in pandas", "polars", "pyarrow"])
def test_text_tells_a_time_in_the_zone_of_the_column(library):
    days = pd.date_range("2021-06-01", periods=40, tz="Europe/Oslo", unit="us")
    frame = pd.DataFrame({"day": days, "n": np.arange(40) % 7})
    midnight = days[3].to_pydatetime()
    if library == "pyarrow in pandas":
        frame = frame.astype({"day": pd.ArrowDtype(pa.timestamp("us", "Europe/Oslo"))})
    elif library == "polars":
        frame = pl.from_pandas(frame)
    elif library == "pyarrow":
        frame = pa.Table.from_pandas(frame)
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    for wanted in ("2021-06-04", "2021-06-03T22:00+00:00", midnight):
        (found,) = list(model.sample(1, given={"day": wanted})["day"])
        assert (found.as_py() if library == "pyarrow" else found) == midnight
    with pytest.raises(ValueError, match=r"day.* 2021-06-04 12:00:00\+02:00.*2021-06-0"):
        model.sample(1, given={"day": "2021-06-04T12"})


def test_given_is_a_dict(model):
    with pytest.raises(TypeError, match="given must be a dict"):
        model.sample(2, given=["city"])
    assert len(model.sample(2, given={})) == 2


def test_an_exposure_cannot_be_asked_for():
    X = np.random.default_rng(0).poisson(3, size=(N_ROWS, 3))
    X[:, 2] += 1
    model = HierarchicalVAETransformer((1, 2), likelihood=Poisson(exposure=2), **TINY).fit(X)
    for wanted in (3, (2, 4)):
        with pytest.raises(ValueError, match=r"column 2.*exposure"):
            model.sample(2, given={2: wanted})
    assert (model.sample(5, given={0: 2})[:, 0] == 2).all()
    with pytest.raises(ValueError, match=r"column 0.* from 2\.2 to 2\.8"):
        model.sample(2, given={0: (2.2, 2.8)})
