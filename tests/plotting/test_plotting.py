"""Displays: what they draw is what was computed, and they behave like scikit-learn's."""

import copy
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae.metrics import accuracy_bound, downstream_scores
from sk_hvae.plotting import (
    AccuracyBoundDisplay,
    MapDisplay,
    RateHistoryDisplay,
    ReconstructionDisplay,
    SampleDisplay,
    TraversalDisplay,
)

mpl.use("Agg")
pytestmark = pytest.mark.slow

SPECIES = np.repeat([0, 1, 2], 50)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def of_images(small, binary_digits):
    settings = {"layer_rates": None, "betas": (1, 1), "network": "mlp", "likelihood": "bernoulli"}
    return small(image_shape=(1, 8, 8), **settings).fit(binary_digits[:100])


DISPLAYS = {
    "history": lambda model, X: RateHistoryDisplay.from_estimator(model),
    "reconstructions": lambda model, X: ReconstructionDisplay.from_estimator(model, X),
    "traversal": lambda model, X: TraversalDisplay.from_estimator(model, X, n_units=2),
    "samples": lambda model, X: SampleDisplay.from_estimator(model, X),
    "map": lambda model, X: MapDisplay.from_estimator(model, X),
    "bound": lambda model, X: AccuracyBoundDisplay.from_estimator(
        model, X, np.arange(len(X)) % 2, classifier="knn"
    ),
}


@pytest.mark.parametrize("name", DISPLAYS)
class TestEveryDisplay:
    def test_makes_a_figure_or_draws_where_it_is_told(self, name, fitted, iris):
        display = DISPLAYS[name](fitted, iris)
        assert display.plot() is display
        assert np.ravel(display.ax_)[0].figure is display.figure_
        figure, (left, right) = plt.subplots(1, 2)
        display.plot(ax=right)
        assert display.figure_ is figure
        assert not left.has_data()
        assert all(ax.has_data() for ax in np.ravel(display.ax_))
        figure.canvas.draw()

    def test_draws_on_any_axes_and_again(self, name, fitted, iris):
        display = DISPLAYS[name](fitted, iris)
        ax = plt.figure().add_axes([0.1, 0.1, 0.8, 0.8])
        display.plot(ax=ax).plot(ax=ax)
        assert all(panel.has_data() for panel in np.ravel(display.ax_))
        assert len(ax.child_axes) == (len(display.ax_) if np.ndim(display.ax_) else 0)
        assert len(ax.figure.axes) == 1
        ax.figure.canvas.draw()

    def test_draws_images(self, name, of_images, binary_digits):
        display = DISPLAYS[name](of_images, binary_digits[:100]).plot()
        assert all(ax.has_data() for ax in np.ravel(display.ax_))
        has_pictures = name in ("reconstructions", "traversal", "samples")
        assert bool(np.ravel(display.ax_)[0].images) == has_pictures
        display.figure_.canvas.draw()

    def test_needs_a_fitted_estimator(self, name, iris):
        with pytest.raises(NotFittedError):
            DISPLAYS[name](HierarchicalVAETransformer(), iris)

    def test_says_what_to_install(self, name, fitted, iris, monkeypatch):
        display = DISPLAYS[name](fitted, iris)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(ImportError, match=r"pip install matplotlib$"):
            display.plot()


class TestHistory:
    def test_lines(self, fitted):
        rates, betas = RateHistoryDisplay.from_estimator(fitted).plot().ax_
        drawn = [line.get_ydata() for line in rates.lines]
        np.testing.assert_array_equal(drawn[0], fitted.history_["train_rates"][:, 0])
        np.testing.assert_array_equal(drawn[1], fitted.history_["target_rates"][:, 0])
        assert drawn[1][0] > drawn[1][-1] == pytest.approx(1)
        np.testing.assert_array_equal(betas.lines[1].get_ydata(), fitted.history_["betas"][:, 1])
        assert betas.get_yscale() == "log"

    def test_betas_that_hardly_move_look_as_if_they_hardly_move(self):
        betas = np.array([[1.0], [1.1], [1.05]])
        _, below = RateHistoryDisplay(rates=betas, betas=betas).plot().ax_
        low, high = below.get_ylim()
        assert high / low == pytest.approx(10)
        assert low * high == pytest.approx(1.1, rel=0.01)

    def test_no_targets(self, multi, iris, small):
        fixed = small(layer_rates=None, betas=(1, 1)).fit(iris)
        for estimator in (multi, multi.at((1, 1)), fixed):
            display = RateHistoryDisplay.from_estimator(estimator).plot()
            assert len(display.ax_[0].lines) == 2
        one = small(layer_rates=1.0, max_epochs=50).fit(iris)
        assert len(RateHistoryDisplay.from_estimator(one).plot().ax_[0].lines) == 2


class TestBound:
    def test_curve_and_points(self, multi, iris):
        display = AccuracyBoundDisplay.from_estimator(multi, iris, SPECIES, classifier="knn")
        assert len(display.rates) == 7
        single = multi.at((1, 0.4))
        assert display.rates[0] == pytest.approx(single.rates(iris)[:, 1].mean())
        for name, sample in zip(display.accuracies, (True, False), strict=True):
            score = downstream_scores(
                single, iris, SPECIES, classifiers=["knn"], layers=[2], sample=sample
            )
            assert display.accuracies[name][0] == score.accuracy[0, 0]
        ax = display.plot().ax_
        curve = ax.lines[2]
        np.testing.assert_allclose(
            curve.get_ydata(), accuracy_bound(curve.get_xdata(), np.full(3, 1 / 3))
        )
        assert ax.get_xlabel() == "rate of $z_2$ (bits)"

    def test_lower_layers_count_those_above(self, multi, iris):
        display = AccuracyBoundDisplay.from_estimator(
            multi, iris, SPECIES, layer=1, classifier="knn", layer_rates=[(1, 2), (2, 1)]
        )
        expected = [multi.at(rates).rates(iris).sum(axis=1).mean() for rates in [(1, 2), (2, 1)]]
        np.testing.assert_allclose(display.rates, expected)
        assert "and the layers above" in display.label


class TestReconstructions:
    def test_explained_variance(self, fitted, iris):
        display = ReconstructionDisplay.from_estimator(fitted, iris).plot()
        assert len(display.reconstructions) == 2
        heights = [bar.get_height() for bar in display.ax_.patches]
        errors = np.square(iris - fitted.reconstruct(iris)).mean(axis=0)
        np.testing.assert_allclose(heights[:4], 1 - errors / iris.var(axis=0))
        of_top = np.square(iris - fitted.reconstruct(iris, layer=2)).mean(axis=0)
        np.testing.assert_allclose(heights[4:], 1 - of_top / iris.var(axis=0))

    @pytest.mark.parametrize(("n_columns", "width"), [(4, 6.4), (50, 10.5), (784, 16)])
    def test_names_of_many_columns_have_room(self, n_columns, width):
        X = np.random.default_rng(0).normal(size=(9, n_columns))
        figure = ReconstructionDisplay(X=X, reconstructions={"z_1": X}).plot().figure_
        assert figure.get_size_inches() == pytest.approx((width, 4.8))

    def test_images_are_as_bright_as_the_data(self):
        X = np.array([[0.0, 1.0, 0.5, 0.0]])
        decoded = {"decoded": np.array([[-3.0, 1.0, 0.5, 4.0]])}
        display = ReconstructionDisplay(X=X, reconstructions=decoded, image_shape=(2, 2)).plot()
        (picture,) = display.ax_.images
        drawn = picture.get_array()[-2:].ravel()
        assert drawn.tolist() == [0, 1, 0.5, 1]

    def test_rows_of_images(self, of_images, binary_digits):
        display = ReconstructionDisplay.from_estimator(of_images, binary_digits, n_images=4)
        names = [label.get_text() for label in display.plot().ax_.get_yticklabels()]
        assert names[0] == "data"
        assert len(names) == 4
        assert names[1].startswith("$z_1$")
        first, second = list(display.reconstructions.values())[1:]
        assert np.abs(first - second).mean() > 0.01
        picture = display.ax_.images[0].get_array()
        assert picture.shape == (4 * 9 - 1, 4 * 9 - 1)
        np.testing.assert_allclose(picture[:8, 9:17], binary_digits[1].reshape(8, 8), atol=1e-6)

    def test_colours(self, fitted):
        X = np.random.default_rng(0).uniform(size=(3, 3 * 4 * 5))
        display = ReconstructionDisplay(X=X, reconstructions={"a": X}, image_shape=(3, 4, 5))
        picture = display.plot().ax_.images[0].get_array()
        assert picture.shape == (2 * 5 - 1, 3 * 6 - 1, 3)
        first = (X[0].reshape(3, 4, 5).transpose(1, 2, 0) - X.min()) / np.ptp(X)
        np.testing.assert_allclose(picture[:4, :5], first)


class TestTraversal:
    def test_moves_the_units_that_vary_most(self, fitted, iris):
        display = TraversalDisplay.from_estimator(fitted, iris, layer=1, n_units=2, n_steps=5)
        z = fitted.latents(iris)[0]
        order = np.argsort(-z.std(axis=0))
        assert display.units == [f"z1_{unit}" for unit in order[:2]]
        end = z.mean(axis=0)
        end[order[0]] += 2 * z.std(axis=0)[order[0]]
        expected = copy.copy(fitted).set_params(output_layers=1).inverse_transform(end[None])
        np.testing.assert_allclose(display.decoded[0, -1], expected[0], rtol=1e-4)

    def test_changes_are_from_the_start(self, fitted, iris):
        display = TraversalDisplay.from_estimator(fitted, iris, layer=1, n_units=1, n_steps=4)
        line = display.plot().ax_[0].lines[-1].get_xdata()
        start = fitted.latents(iris)[0].mean(axis=0)
        decoded = copy.copy(fitted).set_params(output_layers=1).inverse_transform(start[None])
        np.testing.assert_allclose(
            line, (display.decoded[0, -1] - decoded[0]) / iris.std(axis=0), rtol=1e-3, atol=1e-4
        )

    def test_errors(self, fitted, iris):
        with pytest.raises(ValueError, match="n_units must be an int of at least 1; got 0"):
            TraversalDisplay.from_estimator(fitted, iris, n_units=0)
        with pytest.raises(ValueError, match="layer must be 'top' or the number of a layer"):
            TraversalDisplay.from_estimator(fitted, iris, layer="all")

    def test_starts_at_a_row(self, fitted, iris):
        display = TraversalDisplay.from_estimator(fitted, iris, layer=1, row=3, n_steps=3)
        np.testing.assert_allclose(
            display.decoded[0, 1], fitted.reconstruct(iris[3:4])[0], rtol=1e-4
        )

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
    def test_states_cannot_be_moved(self, iris):
        clusterer = HVAEClusterer(2, max_epochs=2, random_state=0).fit(iris[:60])
        with pytest.raises(ValueError, match="layer 2 is categorical"):
            TraversalDisplay.from_estimator(clusterer, iris)
        assert TraversalDisplay.from_estimator(clusterer, iris, layer=1).decoded.shape[2] == 4


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 3), r"image_shape=\(3, 3\) has 9 pixels, but the model has 4 columns"),
        ((4,), r"must be \(height, width\) or \(channels, height, width\)"),
        ((2, 2, 1), "with 1 or 3 channels"),
    ],
)
def test_image_shapes_have_to_suit(fitted, shape, message):
    with pytest.raises(ValueError, match=message):
        SampleDisplay.from_estimator(fitted, image_shape=shape)


class TestSamples:
    def test_a_single_column(self, small, iris):
        model = small(layer_rates=1.0, max_epochs=50).fit(iris[:, :1])
        display = SampleDisplay.from_estimator(model, iris[:, :1]).plot()
        assert display.ax_.get_ylabel() == "density"

    def test_data_have_to_suit(self, fitted, iris):
        with pytest.raises(ValueError, match="X has 2 features, but"):
            SampleDisplay.from_estimator(fitted, iris[:, :2])

    def test_needs_something_to_compare_with(self, fitted):
        with pytest.raises(ValueError, match="pass X; or pass image_shape"):
            SampleDisplay.from_estimator(fitted)

    def test_images(self, of_images):
        display = SampleDisplay.from_estimator(of_images, n_samples=13).plot()
        assert display.ax_.images[0].get_array().shape == (2 * 9 - 1, 10 * 9 - 1)
        assert set(np.unique(display.samples)) - {0.0, 1.0}
