"""likelihood=: by name, as an object, or column by column."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector

from sk_hvae import HierarchicalVAETransformer, nn
from sk_hvae._input.likelihood_columns import resolve_likelihood
from sk_hvae.nn import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    PerColumn,
    Poisson,
)

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

KINDS = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "categorical": Categorical,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
}


def table(n_rows=120, seed=0):
    """Columns of every kind that depend on one hidden number."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "size": 50 + 10 * hidden + rng.normal(size=n_rows),
            "visits": rng.poisson(np.exp(1 + 0.7 * hidden)),
            "colour": np.digitize(hidden + 0.5 * rng.normal(size=n_rows), [-1, 0.5]),
            "bought": (hidden + rng.normal(size=n_rows) > 0).astype(int),
            "grey": np.clip(np.round(128 + 60 * hidden), 0, 255).astype(int),
        }
    )


PARTS = [
    ("gaussian", ["size"]),
    ("poisson", ["visits"]),
    ("categorical", ["colour"]),
    ("bernoulli", ["bought"]),
    ("discretized_logistic", ["grey"]),
]


def data_for(name):
    """Data that suit a likelihood."""
    rng = np.random.default_rng(0)
    if name == "gaussian":
        return rng.normal(size=(80, 6))
    if name == "bernoulli":
        return rng.integers(0, 2, (80, 6)).astype(float)
    if name in ("poisson", "negative_binomial"):
        return rng.poisson(4.0, (80, 6))
    if name == "categorical":
        return rng.integers(0, [2, 3, 4, 2, 7, 1], (80, 6))
    return rng.integers(0, 256, (80, 6)).astype(np.uint8)


# By name and as an object.


@pytest.mark.parametrize("name", KINDS)
def test_names_stand_for_the_objects_of_their_kind(small, name):
    X = data_for(name)
    by_name = small(likelihood=name).fit(X)
    by_object = small(likelihood=KINDS[name]()).fit(X)
    assert type(by_name.module_.likelihood) is KINDS[name]
    np.testing.assert_array_equal(by_name.transform(X), by_object.transform(X))
    assert by_name.distortion_ == by_object.distortion_


@pytest.mark.parametrize(
    "likelihood",
    [
        Gaussian(sigma="per_feature", scaling="shared"),
        NegativeBinomial(dispersion="shared"),
        DiscretizedLogisticMixture(n_mixtures=2),
        PerColumn([("gaussian", [0, 1]), (Poisson(), range(2, 6))]),
    ],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_objects_are_left_alone(small, likelihood):
    before = repr(likelihood)
    X = data_for("poisson")
    model = small(likelihood=likelihood).fit(X)
    assert model.likelihood is likelihood
    assert model.module_.likelihood is not likelihood
    assert repr(likelihood) == before == repr(model.module_.likelihood)
    assert not hasattr(likelihood, "summary")
    assert not list(likelihood.parameters())
    assert not list(likelihood.buffers())
    # So the same object serves other data.
    small(likelihood=likelihood).fit(X[:, ::-1][:, :6])


def test_clones_have_their_own_likelihood(small):
    model = small(likelihood=Gaussian(sigma=0.3))
    copied = clone(model).likelihood
    assert type(copied) is Gaussian
    assert copied.config == {"sigma": 0.3, "scaling": "auto"}


@pytest.mark.parametrize("likelihood", ["laplace", Gaussian, 3, None], ids=str)
def test_what_is_no_likelihood(small, likelihood):
    with pytest.raises(ValueError, match="'likelihood' parameter"):
        small(likelihood=likelihood).fit(data_for("gaussian"))


# On the scale of the data.


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_counts(small, name):
    X = data_for(name)
    model = small(likelihood=name).fit(X)
    drawn = model.sample(200)
    np.testing.assert_array_equal(drawn, drawn.round())
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), rtol=0.2)
    mean = model.reconstruct(X)
    assert (mean > 0).all()
    np.testing.assert_allclose(mean.mean(0), X.mean(0), rtol=0.1)


def test_categories(small):
    X = data_for("categorical")
    model = small(likelihood="categorical").fit(X)
    largest = np.array([1, 2, 3, 1, 6, 0])
    for codes in (model.sample(300), model.reconstruct(X)):
        np.testing.assert_array_equal(codes, codes.round())
        assert (codes >= 0).all()
        assert (codes <= largest).all()
    drawn = model.sample(300)
    for j, n in enumerate(largest + 1):
        shares = [np.bincount(a[:, j].astype(int), minlength=n) / len(a) for a in (X, drawn)]
        np.testing.assert_allclose(*shares, atol=0.15)


@pytest.mark.parametrize("name", ["discretized_logistic", "discretized_logistic_mixture"])
@pytest.mark.parametrize("unit", [1, 255], ids=["0 to 255", "0 to 1"])
def test_levels(small, name, unit):
    X = data_for(name) / unit
    model = small(likelihood=name).fit(X)
    drawn = model.sample(100) * unit
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-4)
    assert drawn.min() >= 0
    assert drawn.max() <= 255
    assert len(np.unique(drawn.round())) > 100
    mean = model.reconstruct(X) * unit
    assert 0 <= mean.min() < mean.max() <= 255
    np.testing.assert_allclose(mean.mean(0), 255 * X.mean(0) / X.max(), atol=20)


def test_levels_of_another_grid(small):
    X = np.random.default_rng(0).integers(0, 17, (80, 6))
    drawn = small(likelihood=DiscretizedLogistic(n_levels=17)).fit(X).sample(100)
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-4)
    assert 0 <= drawn.min() < drawn.max() <= 16


def test_gaussian(small):
    X = 1e3 + 5 * data_for("gaussian")
    model = small().fit(X)
    np.testing.assert_allclose(model.sample(500).mean(0), 1e3, atol=2)
    np.testing.assert_allclose(model.sample(500).std(0), 5, rtol=0.3)
    np.testing.assert_allclose(model.reconstruct(X).mean(0), X.mean(0), atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
def test_counts_of_any_dtype(small, dtype):
    X = (data_for("poisson") // 3).astype(dtype)
    model = small(likelihood="poisson").fit(X)
    same = small(likelihood="poisson").fit(X.astype(float))
    np.testing.assert_array_equal(model.transform(X), same.transform(X.astype(float)))


# Data that do not suit.


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [
        ("poisson", 0.5, r"'poisson' needs whole numbers; found 0\.5\. Pass raw counts"),
        ("poisson", -1.0, r"'poisson' needs data of at least 0; found values from -1"),
        ("negative_binomial", 2.25, r"'negative_binomial' needs whole numbers; found 2\.25"),
        ("categorical", 0.5, "'categorical' needs whole numbers.*OrdinalEncoder"),
        ("categorical", 1e17, r"'categorical' needs data in \[-9.00.*e\+15, .*; found values from"),
        ("bernoulli", 2.0, r"'bernoulli' needs data in \[0, 1\]"),
        ("discretized_logistic", 0.3, "'discretized_logistic' needs multiples of.*found 0.3"),
        ("discretized_logistic", 256.0, "'discretized_logistic' needs multiples of 255/255"),
        ("discretized_logistic_mixture", -1.0, "_mixture' needs multiples.*found -1"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_data_that_do_not_suit(small, name, bad, said, method):
    X = data_for(name).astype(float)
    X[7, 3] = bad
    with pytest.raises(ValueError, match=said):
        getattr(small(likelihood=name), method)(X)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("poisson", 0.5),
        ("categorical", 2.0),
        ("discretized_logistic", 300.0),
        ("bernoulli", 1.5),
    ],
)
@pytest.mark.parametrize("method", ["transform", "score_samples", "partial_fit"])
def test_new_data_that_do_not_suit(small, name, bad, method):
    X = data_for(name).astype(float)
    model = small(likelihood=name).fit(X)
    X[7, 3] = bad
    with pytest.raises(ValueError, match=f"likelihood='{name}'"):
        getattr(model, method)(X)


def test_a_value_in_the_middle_of_the_data_is_checked_too(small):
    # Smallest and largest are whole.
    X = data_for("poisson").astype(float)
    X[40, 2] = 2.5
    with pytest.raises(ValueError, match=r"found 2\.5"):
        small(likelihood="poisson").fit(X)


# Column by column.


def test_columns_by_name_are_those_by_number(small):
    frame = table()
    by_name = small(likelihood=PARTS, missing="error").fit(frame)
    numbers = [(part, [frame.columns.get_loc(name) for name in names]) for part, names in PARTS]
    by_number = small(likelihood=numbers).fit(frame.to_numpy())
    np.testing.assert_array_equal(by_name.transform(frame), by_number.transform(frame.to_numpy()))
    assert by_name.distortion_ == by_number.distortion_


def test_the_order_of_parts_does_not_reorder_the_columns(small):
    frame = table()
    model = small(likelihood=PARTS[::-1], n_components=3, max_epochs=60).fit(frame)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    for decoded in (model.reconstruct(frame), model.sample(300)):
        assert list(decoded.columns) == list(frame.columns)
        size, visits, colour, bought, grey = decoded.to_numpy().T
        assert 40 < size.mean() < 60
        assert visits.min() >= 0
        assert set(colour) <= {0, 1, 2}
        assert 0 <= bought.min() <= bought.max() <= 1
        assert 0 <= grey.min() < grey.max() <= 255
    visits, colour, bought, grey = model.sample(300).to_numpy().T[1:]
    for whole in (visits, colour, bought, grey):
        np.testing.assert_allclose(whole, whole.round(), atol=1e-4)
    # What one hidden number decides, its reconstruction follows.
    correlation = np.corrcoef(model.reconstruct(frame)["size"], frame["size"])[0, 1]
    assert correlation > 0.8


@pytest.mark.parametrize(
    "parts",
    [
        [("gaussian", [0, 4]), (Poisson(), [1]), ("categorical", 2), (Bernoulli(), 3)],
        (("gaussian", (0, 4)), ("poisson", range(1, 4))),
        [("gaussian", "size"), ("poisson", ["visits", 2, "bought"]), ("gaussian", np.array([4]))],
        [["gaussian", [0, 4]], ["poisson", [1, 2, 3]]],
        PerColumn([("gaussian", [0, 4]), ("poisson", [1, 2, 3])]),
        [("poisson", [1, 2, 3, 4]), (Gaussian(sigma=2.0), pd.Index(["size"]))],
    ],
    ids=str,
)
def test_ways_to_write_the_parts(small, parts):
    frame = table()
    model = small(likelihood=parts).fit(frame)
    assert np.isfinite(model.score(frame))
    again = clone(model).fit(frame)
    np.testing.assert_array_equal(again.transform(frame), model.transform(frame))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("gaussian", ["size", "weight"])], r"columns \['weight'\], but X has the columns"),
        ([("gaussian", [0, 1, 2])], r"columns \['bought', 'grey'\] have none"),
        ([("gaussian", [0, 1, 2, 3, 4]), ("poisson", [1])], r"columns \['visits'\] have several"),
        ([("gaussian", ["size", 0, 1, 2, 3, 4])], r"columns \['size'\] have several"),
        ([("gaussian", [0, 1, 2, 3, 4, 5])], r"columns \[5\] have one but are not in X"),
        ([("gaussian", [-6, 0, 1, 2, 3, 4])], r"columns \[-6\] have one but are not in X"),
        ([("laplace", [0, 1, 2, 3, 4])], "there is no likelihood 'laplace'"),
        ([(Gaussian, [0, 1, 2, 3, 4])], "there is no likelihood"),
        ([("gaussian", [0.5, 1])], "must be an int or a sequence of int"),
        ([("gaussian", [])], r"columns \['size', 'visits', .*\] have none"),
        ([("gaussian", None)], "must be an int or a sequence of int"),
        ([], r"columns \['size', 'visits', .*\] have none"),
        (["gaussian", "poisson"], "must hold pairs of a likelihood and its columns"),
        (("gaussian", [0, 1, 2, 3, 4]), "must hold pairs of a likelihood and its columns"),
        ([("gaussian", [0], [1])], "must hold pairs of a likelihood and its columns"),
        ([3], "must hold pairs of a likelihood and its columns"),
        ([("poisson", range(5))], "column 'size' of X: likelihood='poisson' needs whole"),
        ([("gaussian", [0, 1, 4]), ("bernoulli", [2, 3])], r"column 'colour' of X: .*in \[0, 1\]"),
        ([("gaussian", [0, 1, 2, 3]), (Gaussian(sigma=-1), [4])], r"columns \[4\] of X: sigma"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_parts_that_do_not_make_sense(small, parts, said, method):
    with pytest.raises(ValueError, match=said):
        getattr(small(likelihood=parts), method)(table())


COLUMNS = {
    "mask as list": [False, True, False, True, False],
    "mask as array": np.array([False, True, False, True, False]),
    "mask as tensor": torch.tensor([False, True, False, True, False]),
    "mask as Series": table().columns.isin(["visits", "bought"]),
    "slice of numbers": slice(1, 3),
    "slice with a step": slice(1, None, 2),
    "slice from the end": slice(-2, None),
    "slice of names": slice("visits", "bought"),
    "slice to a name": slice(None, "visits"),
    "slice from a name": slice("bought", None),
    "all": slice(None),
    "negative": [-1, -4],
    "one negative": -2,
    "NumPy's number": np.int64(3),
    "names": np.array(["bought", "grey"]),
    "selector": make_column_selector(pattern="^b"),
    "selector by type": make_column_selector(dtype_include="float64"),
    "function": lambda X: [name for name in X.columns if X[name].max() > 50],
    "function that gives a mask": lambda X: (X.max() > 50).to_numpy(),
    "function that gives a slice": lambda X: slice("visits", "colour"),
    "nothing": lambda X: [],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_mean_what_they_mean_to_column_transformer(small, name):
    columns, frame = COLUMNS[name], table()
    as_known = columns.numpy() if isinstance(columns, torch.Tensor) else columns
    # A single one makes a row of cells there, which "passthrough" does not take.
    as_known = [columns] if isinstance(columns, (int, np.integer)) else as_known
    chosen = (
        ColumnTransformer([("part", "passthrough", as_known)], verbose_feature_names_out=False)
        .fit(frame)
        .get_feature_names_out()
    )
    rest = [column for column in frame.columns if column not in chosen]
    parts = [(Gaussian(sigma="per_feature"), columns), ("gaussian", rest)]
    model = small(likelihood=parts).fit(frame)
    named = [(Gaussian(sigma="per_feature"), list(chosen)), ("gaussian", rest)]
    same = small(likelihood=[part for part in named if len(part[1])]).fit(frame)
    assert repr(model.module_.likelihood) == repr(same.module_.likelihood)
    np.testing.assert_array_equal(model.transform(frame), same.transform(frame))
    assert model.get_params()["likelihood"] is parts
    # As an object too, and the parts may be cloned.
    again = clone(small(likelihood=PerColumn(parts))).fit(frame)
    assert repr(again.module_.likelihood) == repr(same.module_.likelihood)


def test_masks_and_slices_without_names(small):
    X = table().to_numpy()
    parts = [("gaussian", [True, False, False, False, True]), ("poisson", slice(1, -1))]
    model = small(likelihood=parts).fit(X)
    plain = small(likelihood=[("gaussian", [0, 4]), ("poisson", [1, 2, 3])]).fit(X)
    np.testing.assert_array_equal(model.transform(X), plain.transform(X))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([True, False], "one entry for each of the 5 columns of X; got 2"),
        ([True, False, True, False, 1], "must be an int or a sequence of int"),
        (True, "must be an int or a sequence of int"),
        (slice("visits", 3), "a slice of columns must have numbers, or names and no step"),
        (slice("size", "grey", 2), "a slice of columns must have numbers, or names and no step"),
        (slice("size", "gray"), r"\['gray'\], but X has the columns .*Did you mean 'grey'"),
        (lambda X: ["weight"], r"names the columns \['weight'\], but X has"),
        (lambda X: 0.5, "must be an int or a sequence of int.*got 0.5"),
    ],
    ids=["short mask", "mixed", "truth", "mixed slice", "step", "misspelt", "unknown", "float"],
)
@pytest.mark.parametrize("kind", [list, PerColumn])
def test_columns_that_do_not_make_sense(small, kind, columns, said):
    with pytest.raises(ValueError, match=said):
        small(likelihood=kind([("gaussian", columns)])).fit(table())


def test_truth_values_are_no_numbers_in_the_torch_half():
    summary = nn.DataSummary.of([torch.rand(9, 2)])
    for columns in ([False, True], torch.tensor([False, True]), np.array([False, True])):
        with pytest.raises(ValueError, match="must be an int or a sequence of int"):
            PerColumn([("gaussian", columns)]).adapt(summary)
    assert "slice" in repr(PerColumn([("gaussian", slice(2))]))


def test_a_name_that_several_columns_have_is_refused():
    # Newer versions of scikit-learn take no such frames.
    with pytest.raises(ValueError, match=r"\['a'\], but X has several of that name"):
        resolve_likelihood([("gaussian", ["a", "b"])], None, list("aab"), np.zeros((2, 3)))


SELECTED = [
    ("gaussian", make_column_selector(dtype_include="float64")),
    ("poisson", slice("visits", "colour")),
    ("bernoulli", [False, False, False, True, False]),
    ("poisson", -1),
]


def test_training_goes_on_with_columns_by_function(small):
    frame = table()
    model = small(likelihood=SELECTED, warm_start=True).fit(frame)
    module = model.module_
    assert model.fit(frame).module_ is module
    assert model.partial_fit(frame[:50]).module_ is module
    model.set_params(likelihood=[("gaussian", slice(None))])
    with pytest.raises(ValueError, match="cannot be trained further with likelihood="):
        model.fit(frame)


@pytest.mark.parametrize("kind", [list, PerColumn])
def test_files_hold_columns_as_numbers(small, tmp_path, kind):
    frame = table()
    model = small(likelihood=kind(SELECTED)).fit(frame)
    model.save(tmp_path / "model")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(frame), model.transform(frame))
    assert repr(loaded.likelihood) == repr(model.module_.likelihood)
    np.testing.assert_array_equal(clone(loaded).fit_transform(frame), model.transform(frame))
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copied.transform(frame), model.transform(frame))


def test_files_hold_names_as_they_were_given(small, tmp_path):
    small(likelihood=PARTS).fit(table()).save(tmp_path / "model")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model")
    assert [columns for _, columns in loaded.likelihood] == [tuple(names) for _, names in PARTS]


def test_names_need_a_frame(small):
    with pytest.raises(ValueError, match="but X has no column names; use numbers"):
        small(likelihood=PARTS).fit(table().to_numpy())


def test_a_part_of_the_new_data_that_does_not_suit_is_named(small):
    frame = table()
    model = small(likelihood=PARTS).fit(frame)
    with pytest.raises(ValueError, match=r"column 'visits' of X: likelihood='poisson' needs"):
        model.transform(frame.assign(visits=0.5))


@pytest.mark.slow
def test_the_distortion_is_the_sum_over_the_parts(small):
    # With the layers shut, every column is coded on its own.
    frame = table()
    shut = {"layer_rates": None, "betas": (1e4, 1e4), "max_epochs": 30, "lr": 0.02}

    def distortion(parts, columns):
        return small(likelihood=parts, **shut).fit(frame[columns]).distortion_

    alone = [distortion(part, names) for part, names in PARTS]
    together = distortion(PARTS, list(frame.columns))
    assert together == pytest.approx(sum(alone), rel=0.02)


@pytest.mark.parametrize("warm", [False, True])
def test_another_likelihood_cannot_be_trained_further(small, warm):
    frame = table()
    model = small(likelihood=PARTS, warm_start=warm).fit(frame)
    model.set_params(likelihood=[("gaussian", range(5))])
    if warm:
        with pytest.raises(ValueError, match="cannot be trained further with likelihood="):
            model.fit(frame)
    else:
        assert model.fit(frame).module_.likelihood.n_outputs == 5


def test_warm_start_with_the_same_parts(small):
    frame = table()
    model = small(likelihood=PARTS, warm_start=True).fit(frame)
    module = model.module_
    assert model.fit(frame).module_ is module
    assert model.partial_fit(frame).module_ is module


def test_every_public_likelihood_is_covered_here():
    public = {
        kind
        for kind in vars(nn).values()
        if isinstance(kind, type) and issubclass(kind, Likelihood) and kind is not Likelihood
    }
    assert public == {*KINDS.values(), PerColumn}


def test_names_are_those_of_the_parameter_check():
    (options, *_) = HierarchicalVAETransformer._parameter_constraints["likelihood"]
    assert options.options == {"auto", *KINDS}
