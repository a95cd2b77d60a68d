"""Tables as people have them: a frame in, a frame of the same kind out."""

import datetime as dt
import io
import json
import pickle

import joblib
import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, get_untrusted_types, loads

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    RateSearchCV,
)
from sk_hvae.exceptions import CategoryWarning, UnsupportedFormatError
from sk_hvae.nn import Gaussian

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore:X has feature names"),
]

TINY = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
N_ROWS = 60
CITIES, SIZES = ["Oslo", "Rome", "Bonn"], ["small", "middle", "large"]


def one_of(kind, **params):
    """Return a small estimator of a kind."""
    params = {**TINY, **params}
    if kind == "transformer":
        return HierarchicalVAETransformer((1, 2), **params)
    if kind == "multi-rate":
        return MultiRateHVAETransformer((0.5, 2), layer_rates=1, **params)
    return HVAEClusterer(2, n_init=2, **params)


KINDS = ["transformer", "multi-rate", "clusterer"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def cells():
    """Columns of a table of customers, as lists: what is missing is None."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=N_ROWS)
    columns = {
        "city": [CITIES[k] for k in np.digitize(hidden + rng.normal(size=N_ROWS) / 2, [-0.5, 1])],
        "age": np.clip(40 + 12 * hidden, 18, None).round().astype(int).tolist(),
        "income": np.exp(8 + hidden).round(2).tolist(),
        "paid": (hidden > 0).tolist(),
        "since": [
            dt.datetime(2020, 1, 1) + dt.timedelta(days=int(d))
            for d in rng.integers(0, 999, N_ROWS)
        ],
        "size": [SIZES[k] for k in rng.integers(0, 3, N_ROWS)],
    }
    for number, name in enumerate(("city", "income", "since")):
        columns[name][3 + number] = columns[name][20 + number] = None
    return columns


def in_pandas():
    frame = pd.DataFrame(cells(), index=[f"row {n}" for n in range(N_ROWS)])
    return frame.astype({"size": pd.CategoricalDtype([*SIZES, "huge"], ordered=True)})


def in_nullable():
    frame = in_pandas().convert_dtypes()
    frame.loc[frame.index[5], "age"] = pd.NA
    frame.loc[frame.index[7], "paid"] = pd.NA
    return frame


def in_pyarrow_of_pandas():
    return in_pandas().reset_index(drop=True).convert_dtypes(dtype_backend="pyarrow")


def in_polars():
    return pl.DataFrame(cells()).with_columns(pl.col("size").cast(pl.Enum([*SIZES, "huge"])))


def in_pyarrow():
    columns = {name: pa.array(values) for name, values in cells().items()}
    return pa.table({**columns, "size": columns["size"].dictionary_encode()})


FRAMES = {
    "pandas": in_pandas,
    "nullable": in_nullable,
    "pandas with pyarrow": in_pyarrow_of_pandas,
    "polars": in_polars,
    "pyarrow": in_pyarrow,
}
every_frame = pytest.mark.parametrize("name", FRAMES)
FRAME = in_pandas()
HOLEY = ["city", "income", "since"]


@pytest.fixture(scope="module")
def fitted(coarsely):
    """Return a function that gives a fitted model of a kind, which tests must not change."""
    models = {}

    def give(kind, name="pandas"):
        if (kind, name) not in models:
            with coarsely():
                models[kind, name] = one_of(kind).fit(FRAMES[name]())
        return models[kind, name]

    return give


def to_pandas(frame):
    """Return a frame of any library in pandas, with objects as cells and None where none is."""
    if isinstance(frame, pa.Table):
        columns = frame.to_pydict()
    elif isinstance(frame, pl.DataFrame):
        columns = frame.to_dict(as_series=False)
    else:
        columns = {n: [None if pd.isna(c) else c for c in frame[n]] for n in frame}
    return pd.DataFrame({n: pd.Series(c, dtype=object) for n, c in columns.items()})


def assert_like(found, frame):
    """Check that a frame has the type, names and dtypes of another one."""
    assert type(found) is type(frame)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_series_equal(found.dtypes, frame.dtypes)
    else:
        assert found.schema == frame.schema


def assert_valid(frame, holey=()):
    """Check that all cells are values that the columns have, in some columns beside holes."""
    found, known = to_pandas(frame), to_pandas(FRAME)
    assert set(found.columns[found.isna().any()]) == set(holey)
    for name in ("city", "size", "paid"):
        assert set(found[name].dropna()) <= set(known[name].dropna())
    for name in ("age", "income", "since"):
        assert known[name].dropna().min() <= found[name].dropna().min()
        assert found[name].dropna().max() <= known[name].dropna().max()
    assert all(isinstance(age, (int, np.integer)) for age in found["age"].dropna())


# What comes out.


@every_kind
@every_frame
def test_samples_are_such_frames(fitted, kind, name):
    frame = FRAMES[name]()
    samples = fitted(kind, name).sample(300)
    assert_like(samples, frame)
    assert_valid(samples, HOLEY if name != "nullable" else [*HOLEY, "age", "paid"])
    whole = fitted(kind, name).sample(200, missing=False)
    assert_like(whole, frame)
    assert_valid(whole)
    found = to_pandas(whole)
    # Days and cents, as in the data.
    assert {time.time() for time in found["since"]} == {dt.time(0)}
    cents = found["income"].astype(float) * 100
    np.testing.assert_allclose(cents, cents.round(), rtol=1e-9)
    assert len(found["income"].unique()) > 20


@every_kind
@every_frame
def test_reconstructions_are_such_frames(fitted, kind, name):
    model, frame = fitted(kind, name), FRAMES[name]()
    found = model.reconstruct(frame)
    assert_like(found, frame)
    assert_valid(found)
    if isinstance(frame, pd.DataFrame):
        assert found.index.equals(frame.index)
    again = model.inverse_transform(model.transform(frame))
    assert to_pandas(again).equals(to_pandas(found))


@every_frame
def test_only_holes_are_filled(fitted, name):
    frame = FRAMES[name]()
    found = fitted("transformer", name).impute(frame)
    assert_like(found, frame)
    assert_valid(found)
    before, after = to_pandas(frame), to_pandas(found)
    there = before.notna()
    assert before.where(there, "hole").equals(after.where(there, "hole"))


def test_samples_under_conditions(fitted):
    for name in ("pandas", "polars", "pyarrow"):
        samples = fitted("transformer", name).sample(30, given={"city": "Rome", "age": (30, None)})
        assert_like(samples, FRAMES[name]())
        found = to_pandas(samples)
        assert set(found["city"]) == {"Rome"}
        assert found["age"].min() >= 30


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_centers_of_clusters(fitted, name):
    model = fitted("clusterer", name)
    centers = model.cluster_centers_frame_
    assert_like(centers, FRAMES[name]())
    assert len(to_pandas(centers)) == len(model.cluster_centers_)
    np.testing.assert_allclose(
        to_pandas(centers)["age"].astype(float), model.cluster_centers_[:, 1], atol=0.5
    )
    assert_like(model.sample(5, cluster=0), FRAMES[name]())


@every_kind
def test_arrays_stay_arrays(kind, iris):
    model = one_of(kind).fit(iris)
    assert isinstance(model.sample(3), np.ndarray)
    assert isinstance(model.reconstruct(iris), np.ndarray)
    assert isinstance(model.reconstruct(pd.DataFrame(iris)), np.ndarray)
    for attribute in ("columns_", "cluster_centers_frame_"):
        assert not hasattr(model, attribute)
    assert "columns, as they were taken" not in model._repr_html_()


def test_latents_are_arrays_or_what_set_output_says(fitted):
    model = fitted("transformer")
    assert isinstance(model.transform(FRAME), np.ndarray)
    latents = clone(model).set_output(transform="pandas").fit_transform(FRAME)
    assert latents.index.equals(FRAME.index)
    np.testing.assert_array_equal(latents.to_numpy(), model.transform(FRAME))
    decoded = model.inverse_transform(latents)
    assert decoded.index.equals(FRAME.index)


# What the columns are taken for.


@every_kind
@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_what_was_chosen_is_a_table(fitted, kind, name):
    table = fitted(kind, name).columns_
    assert type(table) is type(FRAMES[name]())
    table = to_pandas(table)
    assert table["column"].tolist() == list(FRAME)
    assert table["kind"].tolist() == [
        *("category", "number", "number", "category", "datetime", "category")
    ]
    are_categorical = table["likelihood"].str.startswith("Categorical(")
    assert are_categorical.tolist() == [True, False, False, True, False, True]
    assert table["likelihood"].str.contains("quantile").tolist() == (~are_categorical).tolist()
    np.testing.assert_allclose(
        table["missing"].astype(float), [2 / 60, 0, 2 / 60, 0, 2 / 60, 0], rtol=1e-6
    )
    assert table["values"][0] == "3: Bonn, Oslo, Rome"
    assert table["values"][1] == f"{FRAME['age'].min()} to {FRAME['age'].max()}"


def test_what_was_chosen_is_shown_in_notebooks_and_does_no_harm_there():
    frame = pd.DataFrame({"<script>": ["<b>", "&"] * 20, "n": range(40)})
    shown = one_of("transformer").fit(frame)._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "2: &amp;, &lt;b&gt;" in shown
    assert "<script>" not in shown.partition("<details>")[2].partition("as they were taken")[2]


@every_kind
def test_what_was_chosen_can_be_written_out(fitted, kind):
    numbers = Gaussian(sigma="per_feature", scaling="quantile")
    written = [
        (numbers, ["age", "income", "since"]),
        ("categorical", ["city", "paid", "size"]),
    ]
    same = one_of(kind, likelihood=written, missing="mask", handle_unknown="missing").fit(FRAME)
    np.testing.assert_array_equal(same.transform(FRAME), fitted(kind).transform(FRAME))
    assert same.distortion_ == fitted(kind).distortion_


def test_every_library_gives_the_same_model(fitted):
    expected = fitted("transformer").transform(FRAME)
    for name in ("pandas with pyarrow", "polars"):
        found = fitted("transformer", name).transform(FRAMES[name]())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_frame_of_numbers_can_be_what_an_array_is(iris, make):
    frame = make(dict(zip("abcd", iris.T, strict=True)))
    as_array = {"likelihood": "gaussian", "missing": "error"}
    model, expected = one_of("transformer", **as_array).fit(frame), one_of("transformer").fit(iris)
    np.testing.assert_array_equal(model.transform(frame), expected.transform(iris))
    np.testing.assert_array_equal(to_pandas(model.sample(9)).to_numpy(float), expected.sample(9))


def test_pixels_in_a_frame_stay_pixels():
    from sklearn.datasets import load_digits

    digits = load_digits(as_frame=True).data[:300]
    model = one_of("transformer").fit(digits)
    assert set(model.columns_["likelihood"]) == {repr(Gaussian())}


# Rows that are not as in fit.


@every_kind
@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_a_row_alone(fitted, kind, name):
    model, frame = fitted(kind, name), FRAMES[name]()
    row = frame[3:4]
    np.testing.assert_allclose(
        model.transform(row), model.transform(frame)[3:4], rtol=1e-4, atol=1e-5
    )
    assert np.isfinite(model.score(row))


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("method", ["transform", "reconstruct", "score", "impute"])
def test_other_columns_are_refused_by_name(fitted, name, method):
    model, frame = fitted("transformer", name), FRAMES[name]()
    use = getattr(model, method)
    names = list(FRAME)
    columns = nw.from_native(frame)
    others = {
        "must be in the same order": columns.select(names[::-1]),
        "yet now missing:\n- city": columns.select(names[1:]),
        "unseen at fit time:\n- town": columns.rename({"city": "town"}),
    }
    for said, other in others.items():
        with pytest.raises(ValueError, match=said):
            use(other.to_native())


def test_cells_may_be_in_other_types_than_in_fit(fitted):
    model = fitted("transformer")
    expected = model.transform(FRAME)
    new = FRAME.astype({"city": "category", "age": "float64", "paid": "int8", "size": "str"})
    np.testing.assert_array_equal(model.transform(new), expected)
    np.testing.assert_array_equal(model.transform(FRAME.astype(object)), expected)
    new = FRAME.astype({"age": "Int16", "paid": "boolean", "city": "string"})
    np.testing.assert_array_equal(model.transform(new), expected)


@every_kind
def test_rows_of_arrays_and_lists(fitted, kind):
    model = fitted(kind)
    expected = model.transform(FRAME)
    rows = FRAME.astype(object).to_numpy()
    for X in (rows, rows.tolist(), [tuple(row) for row in rows]):
        np.testing.assert_array_equal(model.transform(X), expected)
    masked = np.ma.array(rows, mask=False)
    masked.mask[0, 0] = True
    np.testing.assert_array_equal(
        model.transform(masked[:1]), model.transform(FRAME[:1].assign(city=None))
    )
    with pytest.raises(ValueError, match=r"column 'since' of X holds numbers; in fit .* datetimes"):
        model.transform(np.zeros((4, 6)))


def test_a_model_of_an_array_reads_frames_as_numbers(iris):
    model = one_of("transformer").fit(iris)
    expected = model.transform(iris)
    for frame in (pd.DataFrame(iris), pl.DataFrame(iris)):
        np.testing.assert_array_equal(model.transform(frame), expected)
    with pytest.raises(ValueError, match=r"column 3 of X holds text"):
        model.transform(pd.DataFrame(iris).astype({3: str}).replace({3: {"0.2": "x"}}))
    holey = pd.DataFrame(iris.copy())
    holey.iloc[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN: 1 in column"):
        model.transform(holey)


# Missing cells.


def test_holes_are_no_error_in_frames_unless_told_so():
    whole = FRAME.dropna()
    model = one_of("transformer").fit(whole)
    assert np.isfinite(model.transform(FRAME)).all()
    strict = one_of("transformer", missing="error").fit(whole)
    said = "X contains NaN: 2 in column 'city', 2 in column 'income', 2 in column 'since'"
    for use in (strict.transform, clone(strict).fit):
        with pytest.raises(ValueError, match=said):
            use(FRAME)


def test_a_column_without_values_stays_empty():
    frame = FRAME.assign(notes=None, later=np.nan)
    model = one_of("transformer").fit(frame)
    for found in (model.sample(5), model.reconstruct(frame), model.impute(frame)):
        assert found[["notes", "later"]].isna().all(axis=None)
        assert (found.dtypes == frame.dtypes).all()
    assert model.columns_["values"].tolist()[-2:] == ["none", "none"]
    with pytest.raises(ValueError, match="60 in column 'notes', 60 in column 'later'"):
        one_of("transformer", missing="error").fit(frame[["age", "notes", "later"]])


# Categories that fit has not seen.


@every_kind
def test_unknown_categories(fitted, kind):
    new = FRAME.assign(city=FRAME["city"].where(FRAME["city"] != "Rome", "Paris"))
    holey = FRAME.assign(city=FRAME["city"].where(FRAME["city"] != "Rome"))
    model = fitted(kind)
    np.testing.assert_array_equal(model.transform(new), model.transform(holey))
    strict = one_of(kind, handle_unknown="error").fit(FRAME)
    with pytest.raises(ValueError, match=r"column 'city' of X has the unknown categories 'Paris'"):
        strict.transform(new)
    np.testing.assert_array_equal(strict.transform(holey), model.transform(holey))


def test_a_category_that_occurs_once_does_no_harm_in_cross_validation():
    frame = FRAME.copy()
    frame.iloc[7, 0] = "Atlantis"
    assert np.isfinite(cross_val_score(one_of("transformer"), frame, cv=3)).all()
    strict = one_of("transformer", handle_unknown="error")
    with pytest.raises(ValueError, match="unknown categories 'Atlantis'"):
        cross_val_score(strict, frame, cv=3, error_score="raise")


@pytest.mark.parametrize("handle_unknown", ["error", "missing"])
def test_numbers_in_a_column_of_text_are_an_error(handle_unknown):
    model = one_of("transformer", handle_unknown=handle_unknown).fit(FRAME)
    with pytest.raises(ValueError, match="column 'city' of X has the unknown categories 1"):
        model.transform(FRAME.assign(city=1))
    with pytest.raises(ValueError, match=r"column 'age' of X holds text.*'old'"):
        model.transform(FRAME.assign(age="old"))


def test_categories_of_pandas_that_no_row_has(fitted):
    """They are in the dtype, and so in what comes out, but the model does not draw them."""
    model = fitted("transformer")
    assert "huge" in model.sample(3)["size"].cat.categories
    new = FRAME.copy()
    new.iloc[0, 5] = "huge"
    np.testing.assert_array_equal(
        model.transform(new[:1]), model.transform(new[:1].assign(size=None))
    )


@every_kind
def test_unknown_codes_of_numbers_that_are_categories(kind):
    codes = pd.DataFrame({"region": [1, 2, 7] * 20, "n": range(60)})
    new = codes.assign(region=codes["region"].replace(7, 5))
    holey = codes.assign(region=codes["region"].where(codes["region"] != 7))
    model = one_of(kind, likelihood={"region": "categorical"}).fit(codes)
    np.testing.assert_array_equal(model.transform(new), model.transform(holey))
    assert set(model.sample(30)["region"]) <= {1, 2, 7}
    model.set_params(handle_unknown="error")
    with pytest.raises(
        ValueError, match=r"column 'region' of X has the unknown categories 5; in fit .* 1, 2, 7"
    ):
        model.transform(new)


def test_where_nothing_may_be_missing_unknown_categories_are_an_error():
    whole = FRAME.dropna()
    model = one_of("transformer", missing="error").fit(whole)
    for use in (model.transform, model.partial_fit):
        with pytest.raises(
            ValueError, match=r"column 'city' of X has the unknown categories 'Paris'"
        ):
            use(whole.assign(city="Paris"))


def test_text_that_never_repeats():
    """Nothing can be learned of it, but it does no harm."""
    frame = FRAME[["age", "city"]].assign(note=[f"note {n}" for n in range(N_ROWS)])
    with pytest.warns(CategoryWarning, match=r"as many categories as the 60 rows: 'note' \(60\)"):
        model = one_of("transformer").fit(frame)
    assert set(model.sample(20)["note"]) <= set(frame["note"])
    assert np.isfinite(model.score(frame.assign(note="new")))


# Likelihoods of one's own.


def kinds_of(model):
    """Return the kind of likelihood of each column."""
    pairs = zip(model.columns_["column"], model.columns_["likelihood"], strict=True)
    return {column: likelihood.partition("(")[0] for column, likelihood in pairs}


AUTO = {
    **dict.fromkeys(("city", "paid", "size"), "Categorical"),
    **dict.fromkeys(("age", "income", "since"), "Gaussian"),
}


@pytest.mark.parametrize(
    "likelihood",
    [
        {"age": "poisson"},
        {1: "poisson"},
        {-5: "poisson"},
        [("poisson", ["age"]), ("auto", ["city", "income", "paid", "since", "size"])],
        [("auto", slice("income", "size")), ("poisson", "age"), ("auto", [0])],
    ],
    ids=str,
)
def test_a_column_can_have_another_likelihood(likelihood):
    model = one_of("transformer", likelihood=likelihood).fit(FRAME)
    assert kinds_of(model) == {**AUTO, "age": "Poisson"}


def test_truth_values_can_be_bernoulli():
    model = one_of("transformer", likelihood={"paid": "bernoulli"}).fit(FRAME)
    assert kinds_of(model)["paid"] == "Bernoulli"
    samples = model.sample(20)
    assert samples["paid"].dtype == bool
    assert set(samples["paid"]) == {True, False}


def test_likelihoods_of_columns_that_are_not_there_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"names the columns \['agee'\].*Did you mean 'age'"):
        one_of("transformer", likelihood={"agee": "poisson"}).fit(FRAME)
    with pytest.raises(ValueError, match="9"):
        one_of("transformer", likelihood={9: "poisson"}).fit(FRAME)
    with pytest.raises(ValueError, match="nonsense"):
        one_of("transformer", likelihood={"age": "nonsense"}).fit(FRAME)


def test_dicts_are_for_arrays_too(iris):
    X = iris.round()
    model = one_of("transformer", likelihood={2: "poisson"}).fit(X)
    written = [("poisson", [2]), ("gaussian", [0, 1, 3])]
    same = one_of("transformer", likelihood=written).fit(X)
    np.testing.assert_array_equal(model.transform(X), same.transform(X))
    with pytest.raises(ValueError, match="X has no column names; use numbers"):
        one_of("transformer", likelihood={"a": "poisson"}).fit(X)


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_ratings_can_be_categories(name):
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[name]
    stars = [[0.5, 3.5, 4.0][n % 3] for n in range(N_ROWS)]
    frame = make({"stars": stars, "n": [float(n) for n in range(N_ROWS)]})
    model = one_of("transformer", likelihood={"stars": "categorical"}).fit(frame)
    samples = model.sample(30)
    assert_like(samples, frame)
    assert set(to_pandas(samples)["stars"]) <= {0.5, 3.5, 4.0}


# Training that goes on, and that stops.


@pytest.mark.parametrize("handle_unknown", ["error", "missing"])
def test_training_goes_on_with_rows_that_lack_categories_or_have_new_ones(handle_unknown):
    model = one_of("transformer", handle_unknown=handle_unknown).partial_fit(FRAME)
    module = model.module_
    model.partial_fit(FRAME[FRAME["city"] == "Oslo"])
    assert model.module_ is module
    assert set(model.sample(99)["city"].dropna()) == set(CITIES)
    new = FRAME.assign(city="Paris")
    if handle_unknown == "error":
        with pytest.raises(ValueError, match="unknown categories 'Paris'"):
            model.partial_fit(new)
    else:
        assert np.isfinite(model.partial_fit(new).transform(new)).all()
        assert "Paris" not in set(model.sample(99)["city"].dropna())


def test_a_warm_start_keeps_what_the_columns_were():
    model = one_of("transformer", warm_start=True).fit(FRAME)
    module = model.module_
    model.fit(FRAME[FRAME["city"] != "Rome"])
    assert model.module_ is module
    assert set(model.sample(99)["city"].dropna()) == set(CITIES)


def test_early_stopping():
    model = one_of("transformer", early_stopping=True, max_epochs=3).fit(FRAME)
    assert_valid(model.sample(50, missing=False))
    assert np.isfinite(model.score(FRAME))


def test_the_same_seed_gives_the_same_model(fitted):
    again = one_of("transformer").fit(FRAME)
    np.testing.assert_array_equal(again.transform(FRAME), fitted("transformer").transform(FRAME))
    pd.testing.assert_frame_equal(again.sample(9), fitted("transformer").sample(9))


def test_what_a_failed_fit_learned_of_columns_is_forgotten(fitted):
    model = pickle.loads(pickle.dumps(fitted("transformer")))  # noqa: S301
    before = model.sample(9)
    with pytest.raises((TypeError, ValueError)):
        model.fit(FRAME[["age"]].assign(odd=[[1]] * N_ROWS))
    pd.testing.assert_frame_equal(model.sample(9), before)
    model.fit(FRAME[["age", "city"]])
    assert list(model.sample(2)) == ["age", "city"]
    model.fit(FRAME[["age", "income"]].dropna().to_numpy())
    assert isinstance(model.sample(2), np.ndarray)


# Names, and what frames of pandas may be beside.


@pytest.mark.parametrize(
    "names",
    [
        [10, 20, 30],
        ["a", 1, None],
        ["a", "a", "b"],
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
        pd.PeriodIndex(["2020-01", "2020-02", "2020-03"], freq="M"),
    ],
    ids=["numbers", "mixed", "repeated", "levels", "periods"],
)
def test_names_that_are_no_text_or_repeat(names):
    frame = FRAME[["age", "city", "paid"]].set_axis(names, axis=1)
    if {type(name) for name in frame.columns} == {str, int, type(None)}:
        with pytest.raises(TypeError, match="feature names"):
            one_of("transformer").fit(frame)
        return
    if frame.columns.has_duplicates:
        with pytest.raises(ValueError, match="X has several columns of the name 'a'"):
            one_of("transformer").fit(frame)
        return
    model = one_of("transformer").fit(frame)
    assert model.sample(3).columns.equals(frame.columns)
    pd.testing.assert_index_equal(model.reconstruct(frame).index, frame.index)
    assert model.columns_["column"].tolist() == frame.columns.tolist()


def test_an_index_that_repeats():
    frame = FRAME.set_axis([0] * N_ROWS)
    model = one_of("transformer").fit(frame)
    for found in (model.reconstruct(frame), model.impute(frame)):
        assert found.index.equals(frame.index)
    assert model.sample(3).index.equals(pd.RangeIndex(3))


def test_sparse_columns_beside_others():
    frame = FRAME[["city"]].assign(
        n=pd.arrays.SparseArray(np.arange(N_ROWS) % 4 * 1.0, fill_value=0.0)
    )
    model = one_of("transformer").fit(frame)
    assert (model.sample(4).dtypes == frame.dtypes).all()


# What scikit-learn does with estimators.


def test_pipelines_and_searches():
    y = FRAME["paid"].to_numpy()
    X = FRAME.drop(columns="paid")
    pipeline = make_pipeline(one_of("transformer"), StandardScaler(), LogisticRegression())
    grid = {"hierarchicalvaetransformer__handle_unknown": ["error", "missing"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.predict(X)) == N_ROWS


def test_searches_over_rates():
    X, y = FRAME.drop(columns="paid"), FRAME["paid"].to_numpy()
    pipeline = make_pipeline(one_of("transformer"), StandardScaler(), LogisticRegression())
    search = RateSearchCV(
        pipeline, {"hierarchicalvaetransformer__layer_rates": [(1, 1), (1, 2)]}, cv=2
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert list(search.best_estimator_[0].sample(2)) == list(X)


def test_some_columns_of_a_frame():
    columns = ColumnTransformer(
        [("hvae", one_of("transformer"), ["city", "age", "income"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    found = columns.fit_transform(FRAME)
    assert list(found) == ["z1_0", "z1_1", "z2_0", "z2_1", "paid", "since", "size"]
    assert found.index.equals(FRAME.index)
    hvae = columns.named_transformers_["hvae"]
    assert list(hvae.sample(2)) == ["city", "age", "income"]


# Copies and files.


def in_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    return joblib.load(file)


def in_skops(model):
    content = dumps(model)
    needed = get_untrusted_types(data=content)
    assert needed == [f"{type(model).__module__}.{type(model).__name__}"]
    return loads(content, trusted=needed)


COPIES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),  # noqa: S301
    "joblib": lambda model, path: in_joblib(model),
    "skops": lambda model, path: in_skops(model),
    "file": lambda model, path: (model.save(path), type(model).load(path))[1],
}


@every_kind
@every_frame
@pytest.mark.parametrize("way", COPIES)
def test_copies_know_the_columns(fitted, kind, name, way, tmp_path):
    model, frame = fitted(kind, name), FRAMES[name]()
    copy = COPIES[way](model, tmp_path / "model")
    np.testing.assert_array_equal(copy.transform(frame), model.transform(frame))
    for found, expected in (
        (copy.sample(9), model.sample(9)),
        (copy.reconstruct(frame), model.reconstruct(frame)),
        (copy.columns_, model.columns_),
    ):
        assert_like(found, expected)
        assert to_pandas(found).equals(to_pandas(expected))
    assert copy._repr_html_().count("<tr>") == model._repr_html_().count("<tr>")
    assert list(copy.get_feature_names_out()) == list(model.get_feature_names_out())


def test_clones_know_nothing(fitted):
    copy = clone(fitted("transformer"))
    assert not hasattr(copy, "columns_")
    assert copy.fit(FRAME[["age", "paid"]]).columns_["column"].tolist() == ["age", "paid"]


LIKELIHOODS = {
    "dict": {"age": "poisson"},
    "dict of numbers": {1: "poisson"},
    "dict of objects": {"age": Gaussian(sigma=0.5)},
    "auto in a list": [("poisson", ["age"]), ("auto", [0, 2, 3, 4, 5])],
    "auto by function": [("poisson", ["age"]), ("auto", lambda X: [n for n in X if n != "age"])],
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_files_hold_likelihoods_by_name(name, tmp_path):
    model = one_of("transformer", likelihood=LIKELIHOODS[name]).fit(FRAME)
    model.save(tmp_path / "model")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(FRAME), model.transform(FRAME))
    assert repr(loaded.likelihood_) == repr(model.likelihood_)
    again = clone(loaded).fit(FRAME)
    np.testing.assert_array_equal(again.transform(FRAME), model.transform(FRAME))


@pytest.mark.parametrize(
    "column",
    [
        pd.cut(FRAME["age"], [0, 30, 50, 99]),
        pd.cut(FRAME["age"], [0, 30, 50, 99]).astype(object),
        pd.Series(pd.PeriodIndex(["2020-01", "2020-02"] * 30, freq="M"), FRAME.index),
        pd.Series([b"a", b"b"] * 30, FRAME.index),
        pd.Series(pd.Categorical([dt.date(2020, 1, 1), dt.date(2020, 1, 2)] * 30), FRAME.index),
    ],
    ids=["intervals", "objects", "periods", "bytes", "dates"],
)
def test_what_no_file_can_hold_is_said_by_name(column, tmp_path):
    frame = FRAME[["income"]].assign(group=column)
    model = one_of("transformer").fit(frame)
    assert set(model.sample(9)["group"]) <= set(column)
    with pytest.raises(TypeError, match=r"column 'group'.*make text of it before fit, or pickle"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copy.transform(frame), model.transform(frame))


BREAKS = {
    "library": lambda schema: schema.__setitem__(0, "os"),
    "a column less": lambda schema: schema[1].pop(),
    "kind": lambda schema: schema[1][0].__setitem__(2, "code"),
    "dtype": lambda schema: schema[1][1].__setitem__(1, "os.system"),
    "dtype of another library": lambda schema: schema[1][1].__setitem__(1, {"name": "Enum"}),
    "cell": lambda schema: schema[1][1].__setitem__(3, "eval"),
    "repeated categories": lambda schema: schema[1][0].__setitem__(4, ["Rome", "Rome", "Oslo"]),
    "categories that are lists": lambda schema: schema[1][0].__setitem__(4, [{}, "Rome", "Oslo"]),
    "fewer categories than codes": lambda schema: schema[1][0].__setitem__(4, ["Rome"]),
    "no list": lambda schema: schema.clear(),
}


@pytest.mark.parametrize("name", BREAKS)
def test_files_with_a_broken_schema_are_refused(fitted, name, tmp_path):
    fitted("transformer").save(tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["sk_hvae"])
    BREAKS[name](header["schema"]["schema"])
    save_file(load_file(tmp_path / "model"), tmp_path / "bad", {"sk_hvae": json.dumps(header)})
    with pytest.raises(UnsupportedFormatError):
        HierarchicalVAETransformer.load(tmp_path / "bad")


def test_onnx_files_refuse_text(fitted, tmp_path):
    with pytest.raises(ValueError, match="'city'"):
        fitted("transformer").export_onnx(tmp_path / "model.onnx")


# Metrics, maps and pictures.


def test_maps_and_metrics():
    import matplotlib as mpl

    from sk_hvae import rate_map
    from sk_hvae.metrics import downstream_scores, log_likelihood, mutual_information
    from sk_hvae.plotting import ReconstructionDisplay, SampleDisplay, TraversalDisplay

    mpl.use("agg")
    y = FRAME["paid"].to_numpy()
    model = one_of("multi-rate").fit(FRAME)
    metrics = ["psnr", "distortion", "accuracy:knn", "inception_score"]
    found = rate_map(model, FRAME, y, layer_rates=[0.7, 1.5], metrics=metrics)
    assert all(np.isfinite(values).all() for values in found.metrics.values())
    assert np.isfinite(log_likelihood(model, FRAME, 2)).all()
    assert np.isfinite(downstream_scores(model, FRAME, y, classifiers=["knn"]).accuracy).all()
    assert len(mutual_information(model, FRAME, y, n_draws=2, random_state=0))
    for display in (ReconstructionDisplay, SampleDisplay, TraversalDisplay):
        display.from_estimator(model, FRAME).plot().figure_.canvas.draw()
    nominal = one_of("transformer").fit(FRAME[["city", "paid"]])
    display = SampleDisplay.from_estimator(nominal, FRAME[["city", "paid"]]).plot()
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == [
        *("city = Bonn", "city = Oslo", "city = Rome", "paid = False", "paid = True")
    ]
