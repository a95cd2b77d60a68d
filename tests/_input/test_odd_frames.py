"""What is odd about frames is told by name, in words that one can read."""

import numpy as np
import pandas as pd
import pytest

from sk_hvae.exceptions import OutlierWarning

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"pay": rng.normal(50, 9, 100).round(2), "town": rng.choice(["Oslo", "Rome"], 100)}
    )


def test_a_wild_cell_of_a_frame_is_named(small, frame):
    frame.loc[7, "pay"] = 1e6
    with pytest.warns(OutlierWarning, match=r"row 7 has 1e\+06 in 'pay'"):
        small().fit(frame)


def test_categories_have_no_range(small, frame):
    model = small().fit(frame)
    with pytest.raises(ValueError, match=r"'town' .*have no range; give a list"):
        model.sample(2, given={"town": ("Oslo", "Rome")})


def test_categories_of_another_type_are_told_to_be_so(small, frame):
    model = small().fit(frame)
    said = "'town' of X has the unknown categories 1; .*another type.*convert the column as in fit"
    with pytest.raises(ValueError, match=said):
        model.transform(frame.assign(town=1))


def test_long_text_is_shortened_where_it_is_shown(small, frame):
    frame["town"] = frame["town"].replace("Oslo", "O" * 5000)
    model = small().fit(frame)
    assert model.columns_["values"].str.len().max() < 60
    with pytest.raises(ValueError, match="unknown categories") as error:
        model.set_params(handle_unknown="error").transform(frame.assign(town="T" * 5000))
    assert len(str(error.value)) < 500


def test_a_frame_without_columns_says_so(small):
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        small().fit(pd.DataFrame(index=range(5)))


def test_infinite_cells_are_told_what_to_do(small, frame):
    frame.loc[3, "pay"] = -np.inf
    said = r"-inf in row 3, column 'pay'. Correct such cells, or make them NaN"
    with pytest.raises(ValueError, match=rf"{said}\.$"):
        small().fit(frame)
    with pytest.raises(ValueError, match=rf"{said} and set missing='auto' before fit\.$"):
        small(missing="error").fit(frame)


def test_missing_cells_can_be_refused_after_fit(small, frame):
    model = small().fit(frame)
    holey = frame.mask(frame["town"] == "Rome")
    assert len(model.transform(holey)) == len(frame)
    model.set_params(missing="error")
    with pytest.raises(ValueError, match=r"X contains NaN: .*column 'pay'.*missing='auto' takes"):
        model.transform(holey)
    with pytest.raises(ValueError, match=r"unknown categories 'Bonn'.*unless missing='error'"):
        model.transform(frame.assign(town="Bonn"))
    model.set_params(missing="auto")
    assert len(model.transform(holey)) == len(frame)
    refusing = small(missing="error").fit(frame).set_params(missing="auto")
    with pytest.raises(ValueError, match=r"set it before fit"):
        refusing.transform(holey)


def test_a_wild_cell_does_not_spoil_what_is_filled_in_and_drawn(small):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=200)
    whole = pd.DataFrame({"pay": (50 + 9 * hidden).round(2), "x": hidden, "z": hidden**2})
    holey = whole.mask(rng.random(whole.shape) < 0.2)
    holey.loc[7, "pay"] = 1e12
    with pytest.warns(OutlierWarning, match="row 7 has"):
        model = small().fit(holey)
    filled = model.impute(holey).drop(index=7)["pay"]
    assert np.sqrt(((filled - whole["pay"]) ** 2).mean()) < whole["pay"].std()
    assert model.sample(500)["pay"].max() <= whole["pay"].max()
    assert model.reconstruct(holey)["pay"].max() <= whole["pay"].max()
    with pytest.raises(ValueError, match=r"'pay' of X: .* asks for values from 1000 to inf, but"):
        model.sample(1, given={"pay": (1000, None)})


def test_a_cell_that_is_too_far_away_is_named_with_its_row(small, frame):
    model = small().fit(frame)
    far = frame.copy()
    far.loc[[41, 77], "pay"] = 1e30, -1e30
    for use in (model.transform, model.score_samples, model.impute, model.reconstruct):
        with pytest.raises(
            ValueError, match=r"^column 'pay' of X: .*from -1e\+30 to 1e\+30.* is row 41\.$"
        ):
            use(far)


def test_columns_that_are_of_another_kind_than_in_fit_are_named(small, frame):
    frame["day"] = pd.date_range("2024-01-01", periods=len(frame))
    model = small().fit(frame)
    said = "column 'pay' of X holds text: .*'much'.* Convert the column, .*to_numeric, or fit with"
    with pytest.raises(ValueError, match=said):
        model.transform(frame.assign(pay="much"))
    with pytest.raises(ValueError, match=r"column 'day' of X holds numbers; in fit it held datet"):
        model.transform(frame.assign(day=20240101))
    with pytest.raises(ValueError, match=r"column 'pay' of X holds times; in fit it held numbers"):
        model.transform(frame.assign(pay=frame["day"]))
    nothing = frame.assign(day=np.nan, pay=None, town=None)
    assert np.isfinite(model.transform(nothing)).all()
    assert not model.impute(nothing).isna().any(axis=None)
