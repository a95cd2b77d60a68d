"""What units mean: ranked changes of columns, and the words for them."""

import numpy as np
import pandas as pd
import pytest

from sk_hvae.plotting import TraversalDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")


def display(**changes):
    """Two units, five steps: x0 follows z_0 exactly, x1 half as far back, x2 turns with z_1."""
    way = np.linspace(-2, 2, 5)
    decoded = np.zeros((2, 5, 3))
    decoded[0, :, 0], decoded[0, :, 1] = 10 * way, -2.5 * way
    decoded[1, :, 2] = way**2
    defaults = {
        "decoded": decoded,
        "start": np.zeros(3),
        "units": ["z1_0", "z1_1"],
        "scale": np.array([10.0, 5.0, 1.0]),
    }
    return TraversalDisplay(**{**defaults, **changes})


def test_strengths_are_shares_of_four_standard_deviations():
    changes = display().changes()
    assert [(c.unit, c.column, c.category) for c in changes[:2]] == [
        ("z1_0", "x0", None),
        ("z1_0", "x1", None),
    ]
    assert [c.strength for c in changes] == pytest.approx([1, 0.5, 0, 1, 0, 0])
    assert changes[0][3:6] == (-20, 0, 20)
    assert changes[3].column == "x2"
    assert changes[3][3:6] == (4, 0, 4)


def test_words():
    assert display(feature_names=["age", "bmi", "bp"]).describe() == (
        "z1_0, from low to high:\n"
        "  age  rises from -20 to 20 (strength 1.00)\n"
        "  bmi  falls from 5 to -5 (strength 0.50)\n"
        "z1_1, from low to high:\n"
        "  bp  goes from 4 to 0 and back to 4 (strength 1.00)"
    )
    assert "bmi" not in display(feature_names=["age", "bmi", "bp"]).describe(1)
    flat = display(decoded=np.zeros((2, 5, 3)))
    assert flat.describe() == "z1_0 changes no column much.\nz1_1 changes no column much."
    with pytest.raises(ValueError, match="n_columns must be an int of at least 1"):
        flat.describe(0)


def test_a_column_of_categories_is_told_by_the_one_that_changes_most():
    probabilities = np.full((2, 5, 3), 1 / 3)
    probabilities[0] = np.array([[0.1, 0.2, 0.7]] * 4 + [[0.9, 0.1, 0]])
    mixed = display(
        categories=np.array([[1, 0], [1, 1], [1, 2]]),
        probabilities=probabilities,
        feature_names=["age", "plan", "bp"],
        labels=["gold", "silver", "none"],
    )
    first = mixed.changes()[:4]
    assert [(c.column, c.category) for c in first] == [
        ("age", None),
        ("plan", "gold"),
        ("plan", "none"),
        ("plan", "silver"),
    ]
    assert [c.strength for c in first] == pytest.approx([1, 0.8, 0.7, 0.1])
    assert "  plan = gold  rises from 0.1 to 0.9 (strength 0.80)\n" in mixed.describe()
    assert "silver" not in mixed.describe()


def test_large_numbers_and_small_probabilities_have_no_exponent():
    probabilities = np.full((2, 5, 2), 0.5)
    probabilities[0] = np.array([[1 - 3e-9, 3e-9]] * 4 + [[0.0061, 0.9939]])
    decoded = np.zeros((2, 5, 3))
    decoded[0, :, 0] = np.linspace(1649.6, 230_000, 5)
    told = display(
        decoded=decoded,
        scale=np.array([100_000.0, 1, 1]),
        categories=np.array([[1, 0], [1, 1]]),
        probabilities=probabilities,
        feature_names=["income", "plan", "bp"],
        labels=["gold", "none"],
    ).describe()
    assert "rises from 1650 to 230000 (" in told
    assert "falls from 1 to 0.006 (" in told


def test_names_of_a_frame(small):
    random = np.random.default_rng(0)
    group = random.integers(0, 2, 200)
    frame = pd.DataFrame(
        {
            "income": random.normal(20 * group, 5),
            "noise": random.normal(size=200),
            "region": np.array(["north", "south"])[group],
        }
    )
    hvae = small(layer_rates=1.5, n_components=1, max_epochs=60).fit(frame)
    shown = TraversalDisplay.from_estimator(hvae, frame)
    (income,) = [c for c in shown.changes() if c.column == "income"]
    by_name = {c.category: c for c in shown.changes() if c.column == "region"}
    assert set(by_name) == {"north", "south"}
    rises = income.high > income.low
    assert (by_name["south"].high > by_name["south"].low) == rises
    assert shown.changes()[-1].column == "noise"
    assert shown.labels == ["north", "south"]
