"""Dates and times that are text, and times with and without a zone."""

import datetime as dt

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._input.frames import array_of, read_frame
from sk_hvae._input.schema import Schema
from sk_hvae._input.written_times import form_of_all, is_form, read_time, write_times

DAYS = ["2021-03-04", "1969-12-31", "2000-02-29"]
SECONDS = ["2021-03-04 10:20:30", "2021-03-04 10:20:31", "0001-01-01 00:00:00"]
WRITTEN = {
    "YYYY-MM-DD": DAYS,
    "YYYY-MM-DD hh:mm": [day + " 23:59" for day in DAYS],
    "YYYY-MM-DD hh:mm:ss": SECONDS,
    "YYYY-MM-DDThh:mm:ss": [second.replace(" ", "T") for second in SECONDS],
    "YYYY-MM-DD hh:mm:ss.f": [day + " 00:00:00.5" for day in DAYS],
    "YYYY-MM-DD hh:mm:ss.ffffff": [day + " 00:00:00.000001" for day in DAYS],
    "YYYY-MM-DDThh:mm:ss.fffffffff": [day + "T01:02:03.250000000" for day in DAYS],
    "YYYY-MM-DDThh:mm:ssZ": [day + "T01:02:03Z" for day in DAYS],
    "YYYY-MM-DD hh:mm+05:30": [day + " 00:10+05:30" for day in DAYS],
}
NO_TIMES = {
    "digits": ["20210304", "20210305", "20210306"],
    "years and months": ["2021-03", "2021-04", "2021-05"],
    "years": ["2021", "2022", "2023"],
    "days that are not there": [*DAYS, "2021-02-29"],
    "other text": [*DAYS, "unknown"],
    "two forms": [*DAYS, SECONDS[0]],
    "two offsets": ["2021-03-04T00:00+01:00", "2021-03-04T00:00+02:00", "2021-03-05T00:00+02:00"],
    "offsets of more than a day": [day + "T00:00+25:00" for day in DAYS],
    "nanoseconds": ["2021-03-04T00:00:00.123456789"] * 3,
    "digits that float64 has not": [f"2400-01-01 00:00:00.00000{k}" for k in range(9)],
    "hour 24": [day + "T24:00" for day in DAYS],
    "another order": ["04.03.2021", "05.03.2021", "06.03.2021"],
    "spaces": [" 2021-03-04", "2021-03-05 ", "2021-03-06"],
    "other digits": ["\uff12021-03-04", "2021-03-05", "2021-03-06"],
    "times of day": ["10:20:30", "10:20:31", "10:20:32"],
    "numbers": ["12.50", "13.75", "14.00"],
}
TINY = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


def schema_of(frame, readings=None):
    return Schema.of(read_frame(frame), readings or {})


def encoded(schema, frame, **how):
    read = read_frame(frame)
    return schema.encode([array_of(column) for column in read.columns], zoned=read.zoned, **how)


@pytest.mark.parametrize(("form", "texts"), WRITTEN.items(), ids=WRITTEN)
def test_forms_are_found_and_written_again(form, texts):
    assert form_of_all(texts) == form
    assert is_form(form)
    moments = [pd.Timestamp(text) for text in texts]
    moments = [m if m.tzinfo is not None else m.tz_localize("UTC") for m in moments]
    epoch = pd.Timestamp(0, tz="UTC").as_unit("us")
    seconds = [(m.as_unit("us") - epoch) / dt.timedelta(seconds=1) for m in moments]
    assert write_times(np.array(seconds), form) == texts


@pytest.mark.parametrize("texts", NO_TIMES.values(), ids=NO_TIMES)
def test_all_other_text_has_no_form(texts):
    assert form_of_all(texts) is None


@pytest.mark.parametrize("form", [None, 3, "", "YYYY", "YYYY-MM-DD hh", "YYYY-MM-DDThh:mm+99:00"])
def test_what_is_no_form(form):
    assert not is_form(form)


def test_nothing_can_be_written_in_what_is_no_form():
    with pytest.raises(ValueError, match="there is no form 'YYYY'"):
        write_times(np.zeros(1), "YYYY")


def test_times_between_two_that_can_be_written_go_to_the_nearest():
    noon = 12 * 3600.0
    assert write_times(np.array([noon - 1, noon + 1]), "YYYY-MM-DD") == ["1970-01-01", "1970-01-02"]
    assert write_times(np.array([0.26]), "YYYY-MM-DD hh:mm:ss.f") == ["1970-01-01 00:00:00.3"]


def test_times_beyond_the_years_of_datetimes_go_to_the_ends():
    ends = np.array([-1e15, 1e15])
    assert write_times(ends, "YYYY-MM-DD") == ["0001-01-01", "9999-12-31"]
    assert write_times(ends, "YYYY-MM-DD hh:mm-05:00")[0] == "0001-01-01 00:00-05:00"


def test_text_of_any_form_is_read():
    assert read_time("2021-03-04T10:00Z") == dt.datetime(2021, 3, 4, 10, tzinfo=dt.UTC)
    assert read_time("4 March 2021") is None


FRAMES = {
    "pandas": lambda cells: pd.DataFrame({"day": cells}),
    "objects": lambda cells: pd.DataFrame({"day": cells}, dtype=object),
    "string": lambda cells: pd.DataFrame({"day": cells}, dtype="string"),
    "polars": lambda cells: pl.DataFrame({"day": cells}),
    "pyarrow": lambda cells: pa.table({"day": cells}),
}
every_frame = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


@every_frame
@pytest.mark.parametrize(("form", "texts"), WRITTEN.items(), ids=WRITTEN)
def test_columns_of_such_text_are_datetimes_and_come_back(make, form, texts):
    frame = make([*texts, None])
    schema = schema_of(frame)
    assert (schema.columns[0].kind, schema.columns[0].form) == ("datetime", form)
    numbers = encoded(schema, frame)
    parsed = pd.to_datetime(texts[0], utc=True).as_unit("us")
    assert numbers[0, 0] == parsed.timestamp()
    assert np.isnan(numbers[-1, 0])
    back = Schema.from_plain(schema.to_plain()).decode(numbers)
    if isinstance(frame, pa.Table):
        assert back == frame
    else:
        assert back.equals(frame)


@pytest.mark.parametrize("texts", NO_TIMES.values(), ids=NO_TIMES)
def test_columns_of_other_text_stay_categories(texts):
    assert schema_of(pd.DataFrame({"c": texts})).columns[0].kind == "category"


@pytest.mark.parametrize(
    "column",
    [pd.Series(DAYS, dtype="category"), pd.Series(DAYS[:2] * 2), pd.Series([*DAYS, 7])],
    ids=["category", "two different days", "numbers among them"],
)
def test_columns_that_stay_categories(column):
    assert schema_of(pd.DataFrame({"c": column})).columns[0].kind == "category"


def test_a_likelihood_decides():
    frame = pd.DataFrame({"day": DAYS[:2]})
    assert schema_of(frame, {0: "numbers"}).columns[0].kind == "datetime"
    frame = pd.DataFrame({"day": DAYS})
    assert schema_of(frame, {0: "categories"}).columns[0].kind == "category"


def test_later_rows_may_hold_times_or_text_of_another_form():
    schema = schema_of(pd.DataFrame({"day": DAYS}))
    wanted = encoded(schema, pd.DataFrame({"day": DAYS[:2]}))
    for cells in (
        pd.to_datetime(DAYS[:2]),
        [dt.date.fromisoformat(day) for day in DAYS[:2]],
        [day + "T00:00:00" for day in DAYS[:2]],
        pl.Series(DAYS[:2]).str.to_date(),
    ):
        frame = pl.DataFrame if isinstance(cells, pl.Series) else pd.DataFrame
        np.testing.assert_array_equal(encoded(schema, frame({"day": cells})), wanted)
    of_times = schema_of(pd.DataFrame({"day": pd.to_datetime(DAYS)}))
    np.testing.assert_array_equal(encoded(of_times, pd.DataFrame({"day": DAYS[:2]})), wanted)


def test_text_that_tells_no_time_is_missing_unless_there_is_nothing_else():
    schema = schema_of(pd.DataFrame({"day": DAYS}))
    some = pd.DataFrame({"day": [DAYS[0], "soon"]})
    assert np.isnan(encoded(schema, some, unknown="missing")).tolist() == [[False], [True]]
    with pytest.raises(ValueError, match=r"column 'day' of X holds text .*'soon'.*handle_unknown"):
        encoded(schema, some, unknown="error")
    with pytest.raises(ValueError, match=r"'4\.3\.21'; in fit .* written as YYYY-MM-DD"):
        encoded(schema, pd.DataFrame({"day": ["4.3.21", None]}), unknown="missing")


NAIVE = pd.Series(pd.to_datetime(SECONDS[:2]))
AWARE = NAIVE.dt.tz_localize("Europe/Paris")
PAIRS = {
    "pandas": (pd.DataFrame({"at": NAIVE}), pd.DataFrame({"at": AWARE})),
    "objects": (
        pd.DataFrame({"at": NAIVE.astype(object)}),
        pd.DataFrame({"at": AWARE.astype(object)}),
    ),
    "polars": (pl.DataFrame({"at": NAIVE}), pl.DataFrame({"at": AWARE})),
    "pyarrow": (
        pa.table({"at": pa.array(NAIVE, pa.timestamp("us"))}),
        pa.table({"at": pa.array(AWARE, pa.timestamp("us", "Europe/Paris"))}),
    ),
    "text": (
        pd.DataFrame({"at": WRITTEN["YYYY-MM-DD hh:mm:ss"]}),
        pd.DataFrame({"at": WRITTEN["YYYY-MM-DDThh:mm:ssZ"]}),
    ),
}


@pytest.mark.parametrize(("naive", "aware"), PAIRS.values(), ids=PAIRS)
def test_times_with_a_zone_and_without_are_not_mixed(naive, aware):
    encoded(schema_of(naive), naive)
    encoded(schema_of(aware), aware)
    with pytest.raises(ValueError, match="column 'at' of X holds times with a time zone"):
        encoded(schema_of(naive), aware)
    with pytest.raises(ValueError, match=r"'at' of X holds times without a time zone.*the zone"):
        encoded(schema_of(aware), naive)


def test_times_of_another_zone_are_the_same_times():
    schema = schema_of(pd.DataFrame({"at": AWARE}))
    tokyo = pd.DataFrame({"at": AWARE.dt.tz_convert("Asia/Tokyo")})
    np.testing.assert_array_equal(
        encoded(schema, tokyo), encoded(schema, pd.DataFrame({"at": AWARE}))
    )


def test_columns_without_any_time_have_no_zone():
    schema = schema_of(pd.DataFrame({"at": AWARE}))
    nothing = pd.DataFrame({"at": pd.Series([pd.NaT], dtype="datetime64[ns]")})
    assert np.isnan(encoded(schema, nothing)).all()
    assert np.isnan(encoded(schema, pd.DataFrame({"at": [None]}))).all()


def test_a_column_of_both_is_refused():
    frame = pd.DataFrame({"at": pd.Series([NAIVE[0], AWARE[0]], dtype=object)})
    with pytest.raises(ValueError, match="column 'at' of X holds times with a time zone and with"):
        encoded(schema_of(frame), frame)


def visits(n=40):
    rng = np.random.default_rng(0)
    days = np.datetime64("2021-01-01") + rng.integers(0, 300, n)
    dose = (days - days.min()).astype(float) / 100 + rng.normal(size=n)
    frame = pd.DataFrame({"day": np.datetime_as_string(days), "dose": dose})
    return frame.mask(rng.random(frame.shape) < 0.1)


ESTIMATORS = [
    HierarchicalVAETransformer((1, 2), **TINY),
    MultiRateHVAETransformer((0.5, 2), layer_rates=(1, 1), **TINY),
    HVAEClusterer(2, n_init=2, **TINY),
]


@pytest.mark.usefixtures("coarse_plane")
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
@pytest.mark.parametrize("model", ESTIMATORS, ids=lambda model: type(model).__name__)
def test_models_of_such_columns(model, tmp_path):
    frame = visits()
    model.fit(frame)
    assert model.columns_["kind"].tolist() == ["datetime", "number"]
    known = frame["day"].dropna()
    drawn = model.sample(50, missing=False)
    for day in [*drawn["day"], *model.impute(frame)["day"], *model.reconstruct(frame)["day"]]:
        assert known.min() <= day <= known.max()
        assert read_time(day) is not None
    given = model.sample(5, given={"day": "2021-05-01"}, random_state=0)
    assert given["day"].tolist() == ["2021-05-01"] * 5
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.sample(5), model.sample(5))
    with pytest.raises(ValueError, match="column 'day' of the frame of fit held text"):
        model.export_onnx(tmp_path / "model.onnx")


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
def test_conditions_are_in_the_zone_of_the_column():
    at = pd.date_range("2021-01-01", periods=30, freq="h", tz="Asia/Tokyo")
    frame = pd.DataFrame({"at": at, "x": np.arange(30.0)})
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    for moment in ("2021-01-01 05:00", dt.datetime(2021, 1, 1, 5), at[5].to_pydatetime()):
        assert model.sample(1, given={"at": moment})["at"].tolist() == [at[5]]
    frame["at"] = at.tz_localize(None)
    model = HierarchicalVAETransformer((1, 2), **TINY).fit(frame)
    with pytest.raises(ValueError, match="its times have no time zone"):
        model.sample(1, given={"at": at[5].to_pydatetime()})


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize("library", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_text_is_filled_in_as_text_and_times_as_times(library):
    days = pd.Series(pd.date_range("2021-01-01", periods=30))
    x = np.arange(30.0)
    times = pd.DataFrame({"day": days, "x": x})
    text = times.assign(day=days.dt.strftime("%Y-%m-%d"))
    holey = [frame.mask(np.arange(30)[:, None] == [[3, -1]]) for frame in (text, times)]
    holey.append(times.assign(day=days.dt.date.where(days.index != 3, None)))
    for of_fit in (text, times):
        model = HierarchicalVAETransformer((1, 2), **TINY).fit(of_fit)
        written, moments, dates = (model.impute(library(frame)) for frame in holey)
        as_text = [
            str(nw.from_native(found)["day"].to_list()[3])[:10] for found in (moments, dates)
        ]
        filled = nw.from_native(written)["day"].to_list()[3]
        assert as_text == [filled] * 2
        assert read_time(filled) is not None
