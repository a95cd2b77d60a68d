"""Categories are the codes that were seen, in every estimator and container."""

import pickle

import numpy as np
import pandas as pd
import pytest

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.exceptions import CategoryWarning

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
PARTS = [("categorical", ["colour", "shop"]), ("gaussian", ["size"])]
KINDS = {
    "single": (HierarchicalVAETransformer, {"layer_rates": (1, 2)}),
    "multi-rate": (MultiRateHVAETransformer, {"layer_rates": (1, 2)}),
    "clusterer": (HVAEClusterer, {"n_clusters": 2, "n_init": 2}),
}
CODES = {"colour": [-2, 0, 40, 300], "shop": [7, 2**30 + 1, 2**40 + 3]}
each_kind = pytest.mark.parametrize("kind", KINDS)


def table(n_rows=150, missing=0.0):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(known, n_rows) for name, known in CODES.items()})
    frame = frame.assign(size=rng.normal(50, 3, n_rows)).astype(float)
    return frame.mask(rng.random(frame.shape) < missing)


def make(kind="single", **params):
    estimator, own = KINDS[kind]
    return estimator(likelihood=PARTS, **{**TINY, **own, **params})


@each_kind
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_all_that_comes_out_are_codes_that_were_seen(kind, missing, tmp_path):
    X = table(missing=0.2 if missing == "mask" else 0.0)
    model = make(kind, missing=missing).fit(X)
    model.save(tmp_path / "model")
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    for same in (model, type(model).load(tmp_path / "model"), again):
        for codes in (same.sample(300), same.reconstruct(X)):
            for column, known in CODES.items():
                assert np.isin(codes[column].dropna(), known).all()
        np.testing.assert_array_equal(same.reconstruct(X), model.reconstruct(X))
        np.testing.assert_array_equal(same.score_samples(X), model.score_samples(X))


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.CategoryWarning")
@each_kind
def test_rare_codes_keep_their_counts(kind, tmp_path):
    X = table(220).assign(shop=np.maximum(np.arange(220.0) - 20, 0) * 3)
    model = make(kind).fit(X)
    model.save(tmp_path / "model")
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    for same in (model, type(model).load(tmp_path / "model"), again):
        np.testing.assert_array_equal(same.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(same.sample(2000), model.sample(2000))
    drawn = model.sample(2000)["shop"]
    assert np.isin(drawn, X["shop"]).all()
    assert len(np.unique(drawn)) > 100
    assert (drawn == 0).mean() == pytest.approx(21 / 220, abs=0.08)


def test_samples_have_the_frequencies_of_the_codes():
    rng = np.random.default_rng(0)
    X = rng.choice([0, 40, 300], (400, 2), p=[0.6, 0.3, 0.1])
    model = HierarchicalVAETransformer(
        (1, 1), likelihood="categorical", **{**TINY, "max_epochs": 40}
    ).fit(X)
    drawn = model.sample(4000)
    for code in (0, 40, 300):
        assert (drawn == code).mean() == pytest.approx((code == X).mean(), abs=0.05)


def test_gaps_change_nothing_but_the_codes(small):
    X = np.random.default_rng(0).integers(0, 3, (100, 3))
    apart = np.array([-5, 40, 300])[X]
    dense = small(likelihood="categorical").fit(X)
    gaps = small(likelihood="categorical").fit(apart)
    assert gaps.distortion_ == pytest.approx(dense.distortion_, abs=0.1)
    agree = gaps.reconstruct(apart) == np.array([-5, 40, 300])[dense.reconstruct(X).astype(int)]
    assert agree.mean() > 0.95


@each_kind
@pytest.mark.parametrize("code", [1, 41, -1, 301, 10**7])
def test_an_unknown_code_is_told_with_its_column(kind, code):
    X = table()
    model = make(kind, handle_unknown="error").fit(X)
    new = X.copy()
    new.loc[3, "colour"] = code
    match = (
        rf"^column 'colour' of X has the unknown categories {code}\.0; in fit it had -2\.0, 0\.0, "
        r"40\.0, 300\.0\. handle_unknown='missing' takes them as missing cells"
    )
    for use in (model.transform, model.score, model.reconstruct, model.rates):
        with pytest.raises(ValueError, match=match):
            use(new)


def test_columns_without_names_are_told_by_number():
    parts = [("categorical", [0, 1]), ("gaussian", [2])]
    model = HierarchicalVAETransformer((1, 2), likelihood=parts, **TINY).fit(table().to_numpy())
    new = table().to_numpy()
    new[5, 1] = 8
    with pytest.raises(ValueError, match=r"^column 1 of X: .*knows the codes 7, .*; found 8\."):
        model.transform(new)


def test_later_batches_and_fits_are_checked_too(small):
    X = np.repeat([[0.0, 5.0], [9.0, 5.0]], 30, axis=0)
    other = np.where(X == 9, 4.0, X)
    model = small(likelihood="categorical").partial_fit(X)
    with pytest.raises(ValueError, match=r"column 0 of X: .*knows the codes 0, 9; found 4\."):
        model.partial_fit(other)
    model = small(likelihood="categorical", warm_start=True).fit(X)
    with pytest.raises(ValueError, match=r"column 0 of X: .*knows the codes 0, 9; found 4\."):
        model.fit(other)


def test_unknown_ones_as_missing_are_taken():
    X = table(missing=0.1)
    model = make(missing="mask").fit(X)
    new = X.assign(colour=X["colour"].where(X["colour"] != 40))
    assert np.isfinite(model.transform(new)).all()


@pytest.mark.parametrize(
    ("likelihood", "value", "said"),
    [
        ("bernoulli", 2.0, r"needs data in \[0, 1\]; found values from 0 to 2"),
        ("poisson", 0.5, r"needs whole numbers; found 0\.5"),
        ("negative_binomial", -1.0, r"needs data of at least 0; found values from -1"),
        ("gaussian", 1e30, "cannot place X's values from"),
        ("discretized_logistic", 0.3, r"needs multiples of 1/255 from 0 to 1; found 0\.3"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_every_likelihood_names_the_one_column(likelihood, value, said, alone):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 2, (40, 3)), columns=["a", "b", "c"]).astype(float)
    parts = likelihood if alone else [("gaussian", ["a"]), (likelihood, ["c", "b"])]
    model = HierarchicalVAETransformer((1, 2), likelihood=parts, **TINY).fit(X)
    new = X.copy()
    new.loc[4, "b"] = value
    with pytest.raises(ValueError, match=rf"^column 'b' of X: likelihood='{likelihood}' {said}"):
        model.transform(new)
    if likelihood != "gaussian":
        with pytest.raises(ValueError, match=r"^column 'b' of X: "):
            HierarchicalVAETransformer((1, 2), likelihood=parts, **TINY).fit(new)


def test_errors_about_columns_pickle():
    X = table()
    model = make(handle_unknown="error").fit(X)
    with pytest.raises(ValueError, match="column 'colour'") as caught:
        model.transform(X.assign(colour=1.0))
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(again) == str(caught.value)


@each_kind
def test_about_as_many_codes_as_rows_are_warned_of(kind):
    X = table(220).assign(shop=np.arange(220.0) * 3)
    with pytest.warns(
        CategoryWarning, match=r"as the 220 rows: 'shop' \(220\)\. .*Leave"
    ) as caught:
        make(kind, max_epochs=1).fit(X)
    assert [w.category for w in caught].count(CategoryWarning) == 1


def test_many_codes_of_many_rows_are_not(small):
    X = np.arange(400)[:, None] % 150
    small(likelihood="categorical", max_epochs=1).fit(np.hstack([X, X]))
