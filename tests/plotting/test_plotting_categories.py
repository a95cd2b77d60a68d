"""Displays take the codes of categories for names, column by column."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from sk_hvae import HVAEClusterer
from sk_hvae.plotting import ReconstructionDisplay, SampleDisplay, TraversalDisplay

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
NAMES = ["income", "plan", "age", "region", "member"]
NOMINAL = [1, 3]
BY_COLUMN = [
    ("categorical", ["region", "plan"]),
    ("gaussian", ["income", "age"]),
    ("bernoulli", ["member"]),
]
N_CODES = {"plan": 3, "region": 5}
RENUMBERED = np.array([3, 0, 4, 2, 1])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def table(renumbered=False):
    """A mixed table whose group shows in all columns but age."""
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 200)
    region = np.where(random.random(200) < 0.8, group, random.integers(0, 5, 200))
    region[:5] = range(5)
    columns = {
        "income": random.normal(20 * group, 5),
        "plan": np.where(random.random(200) < 0.7, group, 2),
        "age": random.normal(40, 10, 200),
        "region": RENUMBERED[region] if renumbered else region,
        "member": (group == 0) * 1.0,
    }
    return pd.DataFrame(columns).astype(float)


@pytest.fixture(scope="module")
def mixed(small):
    settings = {"max_epochs": 30, "n_components": 3}
    return small(layer_rates=(3, 2), likelihood=BY_COLUMN, **settings).fit(table())


@pytest.fixture(scope="module")
def nominal(small):
    settings = {"max_epochs": 30, "likelihood": "categorical"}
    return small(layer_rates=(2, 1), **settings).fit(table()[["plan", "region"]])


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


class TestReconstructions:
    def test_accuracy_over_the_base_rate_beside_explained_variance(self, mixed):
        X = table()
        display = ReconstructionDisplay.from_estimator(mixed, X).plot()
        heights = np.reshape([bar.get_height() for bar in display.ax_.patches], (2, 5))
        for layer, found in zip((1, 2), heights, strict=True):
            decoded = mixed.reconstruct(X, layer).to_numpy()
            for column, name in enumerate(NAMES):
                cells = X[name].to_numpy()
                if column in NOMINAL:
                    accuracy = np.mean(decoded[:, column] == cells)
                    base = X[name].value_counts(normalize=True).max()
                    expected = (accuracy - base) / (1 - base)
                else:
                    expected = 1 - np.mean((decoded[:, column] - cells) ** 2) / cells.var()
                assert found[column] == pytest.approx(expected, abs=1e-6)
        assert tick_names(display.ax_.xaxis) == ["income", "plan*", "age", "region*", "member"]
        assert "* accuracy over the base rate" in display.ax_.get_ylabel()

    def test_of_categories_alone(self, nominal):
        X = table()[["plan", "region"]]
        display = ReconstructionDisplay.from_estimator(nominal, X).plot()
        assert display.ax_.get_ylabel().startswith("accuracy over the base rate")
        assert tick_names(display.ax_.xaxis) == ["plan", "region"]

    def test_numbers_of_codes_do_not_matter(self):
        X = np.array([[0.0], [0.0], [1.0], [2.0]])
        guess = np.array([[0.0], [1.0], [1.0], [1.0]])
        heights = []
        for codes in ([0, 1, 2], [7, 900, 1]):
            of = np.array(codes, dtype=float)
            display = ReconstructionDisplay(
                X=of[X.astype(int)],
                reconstructions={"a": of[guess.astype(int)]},
                categories=np.column_stack((np.zeros(3), of)),
            )
            heights.append(display.plot().ax_.patches[0].get_height())
        # Two are right, as many as by always guessing the first.
        assert heights == [0.0, 0.0]

    @pytest.mark.parametrize("is_nominal", [False, True])
    def test_missing_cells_and_constant_columns(self, is_nominal):
        X = np.array([[np.nan, 1.0, np.nan], [2.0, 1.0, np.nan], [0.0, 1.0, np.nan]])
        guess = np.array([[5.0, 1.0, 3.0], [2.0, 1.0, 3.0], [0.0, 2.0, 3.0]])
        categories = np.array([[0, 0], [0, 2], [1, 1], [2, 3]]) if is_nominal else None
        display = ReconstructionDisplay(X=X, reconstructions={"a": guess}, categories=categories)
        heights = [bar.get_height() for bar in display.plot().ax_.patches]
        assert heights == [1.0, 0.0, 0.0]

    def test_states_of_a_clusterer_give_codes(self):
        X = table()
        small = {"hidden_layer_sizes": (8,), "n_components": 2, "max_epochs": 5}
        clusterer = HVAEClusterer(3, likelihood=BY_COLUMN, random_state=0, **small).fit(X)
        decoded = clusterer.reconstruct(X, "top").to_numpy()
        for column in NOMINAL:
            assert set(decoded[:, column]) <= set(X.iloc[:, column])
        # The mixture of the clusters, whose probabilities are known, by hand.
        module = clusterer.module_
        states = torch.eye(clusterer.n_components_[-1])
        with torch.inference_mode():
            parameters = module.decoder(module._descend(states, 2))
            of_states = module.likelihood.probabilities(parameters).numpy()
        mixed = clusterer.latents(X)[-1] @ of_states
        categories = module.likelihood.nominal_categories.numpy()
        for column in NOMINAL:
            own = categories[:, 0] == column
            expected = categories[own, 1][mixed[:, own].argmax(axis=1)]
            np.testing.assert_array_equal(decoded[:, column], expected)
        display = ReconstructionDisplay.from_estimator(clusterer, X).plot()
        assert list(display.reconstructions)[1].startswith("$z_2$, ")


class TestLabels:
    def test_they_say_that_bits_are_cumulative(self, mixed):
        X = table()
        lower, top = ReconstructionDisplay.from_estimator(mixed, X).reconstructions
        rates = mixed.rates(X).mean(axis=0)
        assert lower == f"$z_1$ and above, {rates.sum():.3g} bits"
        assert top == f"$z_2$, {rates[1]:.3g} bits"

    def test_the_top_is_alone(self, small, iris):
        one = small(layer_rates=1.0).fit(iris)
        (label,) = ReconstructionDisplay.from_estimator(one, iris).reconstructions
        assert label == f"$z_1$, {one.rates(iris).mean():.3g} bits"
        three = small(layer_rates=(1, 1, 1)).fit(iris)
        labels = list(ReconstructionDisplay.from_estimator(three, iris).reconstructions)
        assert [" and above, " in label for label in labels] == [True, True, False]

    def test_of_images(self, small, iris):
        hvae = small().fit(iris)
        display = ReconstructionDisplay.from_estimator(hvae, iris, image_shape=(2, 2), n_images=3)
        labels = tick_names(display.plot().ax_.yaxis)
        assert labels[0] == "data"
        assert "$z_1$ and above, " in labels[1]
        assert [label.rpartition(" ")[2] for label in labels[2:]] == ["(1)", "(2)"]


class TestTraversal:
    def test_probabilities_below_changes(self, mixed):
        X = table()
        display = TraversalDisplay.from_estimator(mixed, X, layer=1, n_units=2, n_steps=5).plot()
        (numbers, _), (categories, other) = display.ax_
        assert display.ax_.shape == (2, 2)
        assert tick_names(numbers.yaxis) == ["income", "age", "member"]
        assert numbers.get_xlabel() == "change (std)"
        assert categories.get_xlabel() == other.get_xlabel() == "probability"
        names = tick_names(categories.yaxis)
        assert names[:3] == ["plan = 0", "plan = 1", "plan = 2"]
        assert len(names) == 6
        assert all(name.startswith("region = ") for name in names[3:])
        display.figure_.canvas.draw()

    def test_probabilities_are_those_of_the_decoder(self, mixed):
        X = table()
        display = TraversalDisplay.from_estimator(mixed, X, layer=2, row=4, n_units=1, n_steps=3)
        assert display.probabilities.shape == (1, 3, 8)
        for name in N_CODES:
            own = display.categories[:, 0] == NAMES.index(name)
            np.testing.assert_allclose(display.probabilities[..., own].sum(axis=-1), 1, rtol=1e-5)
            codes = display.categories[own, 1]
            most = codes[display.probabilities[0][:, own].argmax(axis=-1)]
            np.testing.assert_array_equal(display.decoded[0][:, NAMES.index(name)], most)
        # The way begins in the middle, at what the row's own latents decode to.
        with torch.inference_mode():
            z = torch.from_numpy(mixed.latents(X)[1][4:5])
            parameters = mixed.module_.decode_parameters(z, 2)
            expected = mixed.module_.likelihood.probabilities(parameters)
        np.testing.assert_allclose(display.probabilities[0, 1], expected[0], rtol=1e-4)

    def test_those_that_move_most_are_drawn(self):
        moves = np.array([0.1, 0.3, 0.02, 0.4, 0.0])
        probabilities = np.stack((0.2 - moves / 3, 0.2 + moves))[None]
        display = TraversalDisplay(
            decoded=np.zeros((1, 2, 1)),
            start=np.zeros(1),
            units=["z1_0"],
            scale=np.ones(1),
            categories=np.column_stack((np.zeros(5), range(5))),
            probabilities=probabilities,
        ).plot()
        (panel,) = display.ax_
        assert tick_names(panel.yaxis) == ["x0 = 0", "x0 = 1", "x0 = 3"]
        np.testing.assert_allclose(panel.lines[1].get_xdata(), [0.3, 0.5, 0.6])

    def test_of_categories_alone(self, nominal):
        X = table()[["plan", "region"]]
        display = TraversalDisplay.from_estimator(nominal, X, n_units=2).plot()
        assert display.ax_.shape == (2,)
        assert {panel.get_xlabel() for panel in display.ax_} == {"probability"}

    def test_all_units_have_one_scale(self, mixed, fitted, iris):
        for model, X in ((mixed, table()), (fitted, iris)):
            display = TraversalDisplay.from_estimator(model, X, layer=1).plot()
            panels = np.atleast_2d(display.ax_)[0]
            assert len({panel.get_xlim() for panel in panels}) == 1

    def test_a_column_that_varies_by_rounding_alone_stays(self, small):
        X = np.random.default_rng(0).normal(size=(150, 3))
        X[:, 1] = 0.1
        assert 0 < np.std(np.full(150, 0.1)) < 1e-15
        display = TraversalDisplay.from_estimator(small().fit(X), X)
        assert display.scale[1] == 0
        assert np.abs(display.plot().ax_[0].get_xlim()[1]) < 100


class TestSamples:
    def test_frequencies_of_categories(self, nominal):
        X = table()[["plan", "region"]]
        display = SampleDisplay.from_estimator(nominal, X, n_samples=300).plot()
        heights = [bar.get_height() for bar in display.ax_.patches]
        for rows, found in ((X.to_numpy(), heights[:8]), (display.samples, heights[8:])):
            expected = [
                np.mean(rows[:, column] == code)
                for column, n_codes in ((0, 3), (1, 5))
                for code in range(n_codes)
            ]
            np.testing.assert_allclose(found, expected)
        names = tick_names(display.ax_.xaxis)
        assert names == [f"plan = {k}" for k in range(3)] + [f"region = {k}" for k in range(5)]
        assert display.ax_.get_ylabel() == "frequency"

    def test_many_categories(self):
        X = np.random.default_rng(0).permutation(np.repeat(range(40), range(1, 41)))[:, None]
        display = SampleDisplay(
            samples=X[:5] * 1.0,
            X=X * 1.0,
            categories=np.column_stack((np.zeros(40), range(40))),
        ).plot()
        assert tick_names(display.ax_.xaxis) == [f"x0 = {code}" for code in range(10, 40)]
        assert display.ax_.get_xlabel() == "the data's 30 most frequent of 40 categories"

    def test_components_do_not_depend_on_the_numbers_of_codes(self):
        places = []
        for renumbered in (False, True):
            X = table(renumbered).to_numpy()
            own = np.array([[1, k] for k in range(3)] + [[3, k] for k in range(5)])
            samples = X[::3] + np.array([1.0, 0, 1.0, 0, 0])
            ax = SampleDisplay(samples=samples, X=X, categories=own).plot().ax_
            places.append(np.vstack([dots.get_offsets() for dots in ax.collections]))
        np.testing.assert_allclose(np.abs(places[0]), np.abs(places[1]), atol=1e-8)

    def test_components_of_numbers_and_categories(self):
        """A principal axis of the indicators, over the roots of frequencies, by hand."""
        random = np.random.default_rng(0)
        X = np.column_stack((random.normal(size=100), random.integers(0, 3, 100)))
        categories = np.column_stack((np.ones(3), range(3)))
        ax = SampleDisplay(samples=X[:9], X=X, categories=categories).plot().ax_
        hits = X[:, 1:] == np.arange(3)
        share = hits.mean(axis=0)
        number = (X[:, :1] - X[:, :1].mean()) / X[:, :1].std()
        coded = np.hstack((number, (hits - share) / share**0.5))
        _, axes = np.linalg.eigh(coded.T @ coded)
        expected = coded @ axes[:, ::-1][:, :2]
        found = ax.collections[0].get_offsets()
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)

    def test_missing_cells_and_categories_that_the_data_lack(self):
        X = np.array([[1.0, 0.0], [np.nan, 1.0], [3.0, np.nan], [0.0, 1.0]])
        categories = np.array([[1, 0], [1, 1], [1, 2]])
        display = SampleDisplay(
            samples=np.array([[1.0, 2.0], [2.0, 0.0]]), X=X, categories=categories
        ).plot()
        assert all(np.isfinite(dots.get_offsets()).all() for dots in display.ax_.collections)
        alone = SampleDisplay(
            samples=np.array([[2.0], [0.0]]),
            X=X[:, 1:],
            categories=np.array([[0, 0], [0, 1], [0, 2]]),
        ).plot()
        heights = [bar.get_height() for bar in alone.ax_.patches]
        np.testing.assert_allclose(heights, [1 / 3, 2 / 3, 0, 0.5, 0, 0.5])

    def test_a_column_of_numbers_is_named(self, small):
        X = table()[["income"]]
        hvae = small(layer_rates=1.0).fit(X)
        assert SampleDisplay.from_estimator(hvae, X).plot().ax_.get_xlabel() == "income"
        X = X.copy()
        X.iloc[3, 0] = np.nan
        masked = small(layer_rates=1.0, missing="mask").fit(X)
        assert SampleDisplay.from_estimator(masked, X).plot().ax_.get_ylabel() == "density"


@pytest.mark.parametrize("display", [ReconstructionDisplay, TraversalDisplay, SampleDisplay])
def test_missing_categories_are_drawn(display, small):
    X = table()
    X.iloc[::5, 3], X.iloc[::7, 0] = np.nan, np.nan
    hvae = small(layer_rates=(2, 1), likelihood=BY_COLUMN, missing="mask").fit(X)
    drawn = display.from_estimator(hvae, X).plot()
    assert all(ax.has_data() for ax in np.ravel(drawn.ax_))
    drawn.figure_.canvas.draw()
