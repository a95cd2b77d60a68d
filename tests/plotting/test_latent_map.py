"""Maps: where rows are, where new ones go, and what colours mean."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy.spatial.distance import pdist
from sklearn.datasets import load_iris

from sk_hvae.plotting import MapDisplay
from sk_hvae.plotting._colours import COLOURS, scatter_by

mpl.use("Agg")
SPECIES = load_iris().target


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def of_iris(fitted, iris):
    return MapDisplay.from_estimator(fitted, iris, SPECIES)


def legend_of(ax):
    return {
        text.get_text(): to_rgb(dot.get_facecolor()[0])
        for text, dot in zip(ax.get_legend().texts, ax.get_legend().legend_handles, strict=True)
    }


def drawn(ax):
    """Colours of the drawn points by place."""
    (points,) = [dots for dots in ax.collections if len(dots.get_offsets())]
    return {
        tuple(place): to_rgb(colour)
        for place, colour in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }


class TestPlaces:
    def test_rows_that_are_near_in_the_latents(self, of_iris, fitted, iris):
        assert of_iris.embedding.shape == (150, 2)
        np.testing.assert_array_equal(of_iris.latents, fitted.transform(iris))
        again = MapDisplay.from_estimator(fitted, iris)
        np.testing.assert_array_equal(again.embedding, of_iris.embedding)

    def test_new_rows_go_to_the_median_of_the_nearest(self, of_iris, fitted, iris):
        new = iris[:20] + 0.03
        distances = np.linalg.norm(fitted.transform(new)[:, None] - of_iris.latents, axis=2)
        nearest = of_iris.embedding[np.argsort(distances)[:, :3]]
        np.testing.assert_allclose(of_iris.place(new), np.median(nearest, axis=1))

    def test_rows_of_the_map_stay_near_their_places(self, of_iris, iris):
        moved = np.linalg.norm(of_iris.place(iris) - of_iris.embedding, axis=1)
        assert np.median(moved) < 0.1 * of_iris.embedding.std()

    def test_two_units_are_the_map(self, small, iris):
        hvae = small(layer_rates=3.0, max_epochs=50).fit(iris)
        display = MapDisplay.from_estimator(hvae, iris).plot()
        np.testing.assert_array_equal(display.embedding, hvae.transform(iris))
        np.testing.assert_array_equal(display.place(iris[:9] + 1), hvae.transform(iris[:9] + 1))
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("z1_0", "z1_1")

    def test_one_unit_is_a_line(self, small, iris):
        hvae = small(layer_rates=2.0, n_components=1, max_epochs=50).fit(iris)
        display = MapDisplay.from_estimator(hvae, iris).plot()
        np.testing.assert_array_equal(display.embedding[:, :1], hvae.transform(iris))
        assert not display.embedding[:, 1].any()

    def test_layers_are_those_of_transform(self, small, iris):
        hvae = small(output_layers="top").fit(iris)
        display = MapDisplay.from_estimator(hvae, iris)
        np.testing.assert_array_equal(display.embedding, hvae.latents(iris)[1])

    def test_output_of_pandas_makes_no_difference(self, small, iris, of_iris, fitted):
        hvae = small().fit(iris)
        plain = MapDisplay.from_estimator(hvae, iris).embedding
        hvae.set_output(transform="pandas")
        np.testing.assert_array_equal(MapDisplay.from_estimator(hvae, iris).embedding, plain)


class TestWhatGivesColours:
    def test_a_name_or_number_of_a_column(self, small, iris):
        frame = pd.DataFrame(iris, columns=["a", "b", "c", "d"])
        hvae = small().fit(frame)
        by_name = MapDisplay.from_estimator(hvae, frame, "c")
        np.testing.assert_array_equal(by_name.labels, iris[:, 2])
        assert by_name.name == "c"
        by_number = MapDisplay.from_estimator(hvae, frame, 2)
        np.testing.assert_array_equal(by_number.labels, iris[:, 2])
        for key in ("e", 9):
            with pytest.raises(ValueError, match=f"y={key!r} is no column"):
                MapDisplay.from_estimator(hvae, frame, key)

    def test_one_value_for_each_row(self, fitted, iris):
        with pytest.raises(ValueError, match="inconsistent numbers"):
            MapDisplay.from_estimator(fitted, iris, SPECIES[:9])
        series = pd.Series(SPECIES, name="species")
        assert MapDisplay.from_estimator(fitted, iris, series).name == "species"

    def test_neighbours_are_counted(self, fitted, iris):
        with pytest.raises(ValueError, match="n_neighbors"):
            MapDisplay.from_estimator(fitted, iris, n_neighbors=0)

    def test_picture(self, of_iris):
        ax = of_iris.plot().ax_
        legend, colours = legend_of(ax), drawn(ax)
        assert [*legend] == ["0", "1", "2"]
        for place, label in zip(of_iris.embedding, SPECIES, strict=True):
            assert colours[tuple(place)] == legend[str(label)]
        assert not len(ax.get_xticks())


class TestColours:
    POINTS = np.arange(80.0).reshape(40, 2)

    def draw(self, values, name=None):
        _, ax = plt.subplots()
        scatter_by(ax, self.POINTS, np.asarray(values), name)
        ax.figure.canvas.draw()
        return ax

    def test_numbers_have_a_bar(self):
        numbers = np.linspace(0, 1, 40) ** 2
        ax = self.draw(np.where(numbers < 0.1, np.nan, numbers), "income")
        (bar,) = ax.child_axes
        assert bar.get_ylabel() == "income"
        grey, coloured = ax.collections[:2]
        assert len(grey.get_offsets()) == (numbers < 0.1).sum()
        known = numbers[numbers >= 0.1]
        assert coloured.get_clim() == pytest.approx(tuple(np.percentile(known, [2, 98])))

    @pytest.mark.parametrize("n_labels", [3, 9, 10, 16, 18, 19, 40])
    def test_only_what_is_missing_or_rare_is_grey(self, n_labels):
        labels = [f"label {k % n_labels:02}" for k in range(39)]
        legend = legend_of(self.draw([*labels, None]))
        greys = [label for label, (r, g, b) in legend.items() if max(r, g, b) - min(r, g, b) < 0.05]
        assert greys == ["other" if n_labels > 18 else "missing"]
        assert len(set(legend.values())) == len(legend) == min(n_labels, 18 - (n_labels > 18)) + 1

    def test_few_whole_numbers_are_labels_in_their_order(self):
        ax = self.draw(np.arange(40) % 12 * 1.0)
        assert [*legend_of(ax)] == [str(number) for number in range(12)]
        assert not ax.child_axes

    def test_text_is_no_number(self):
        assert len(legend_of(self.draw(np.arange(40).astype(str)))) == 18

    def test_rare_labels_share_grey(self):
        labels = ["a", "b"] * 8 + [f"rare {number}" for number in range(24)]
        legend = legend_of(self.draw(labels))
        assert len(legend) == 18
        assert {"a", "b"} < set(legend)
        assert legend["other"] == pytest.approx((0.8, 0.8, 0.8))

    def test_missing_labels_are_grey(self):
        legend = legend_of(self.draw(np.array(["a", None, "b", np.nan] * 10, dtype=object)))
        assert [*legend] == ["a", "b", "missing"]
        assert legend["missing"] == pytest.approx((0.8, 0.8, 0.8))

    def test_dates_are_written_as_dates(self):
        days = np.datetime64("2020-01-01") + np.arange(40)
        ax = self.draw(days.astype("M8[ns]"))
        ticks = [label.get_text() for label in ax.child_axes[0].get_yticklabels()]
        assert any(text.startswith("2020-01-") for text in ticks)

    @pytest.mark.parametrize("end", ["", "T10:30:00Z"])
    def test_dates_that_are_text_are_dates_too(self, end):
        days = (np.datetime64("2020-01-01") + np.arange(40)).astype(str)
        texts = [None, *(f"{day}{end}" for day in days[1:])]
        ax = self.draw(np.array(texts, dtype=object))
        ticks = [label.get_text() for label in ax.child_axes[0].get_yticklabels()]
        assert any(text.startswith("2020-01-") for text in ticks)
        assert len(ax.collections[0].get_offsets()) == 1
        few = np.array([f"{day}{end}" for day in days[:4]] * 10)
        assert [*legend_of(self.draw(few))] == [f"{day}{end}" for day in days[:4]]

    def test_drawing_again_does_not_double_the_legend(self):
        _, ax = plt.subplots()
        for _ in range(2):
            scatter_by(ax, self.POINTS, np.arange(40) % 2)
        assert [*legend_of(ax)] == ["0", "1"]
        assert len(ax.get_legend().texts) == 2


class TestReaders:
    # What readers without one kind of cones see, on linear red, green and blue: Machado, Oliveira
    # and Fernandes, IEEE Transactions on Visualization and Computer Graphics 15 (2009).
    @pytest.mark.parametrize(
        "seen",
        [
            [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
            [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
            [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
        ],
        ids=["red", "green", "blue"],
    )
    def test_all_readers_can_tell_them_apart(self, seen):
        colours = np.array([to_rgb(colour) for colour in COLOURS])
        linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        distances = pdist(self.perceived(np.clip(linear @ np.transpose(seen), 0, 1)))
        assert distances.min() > 0.05  # some 2 just noticeable differences

    def perceived(self, linear):
        """Return coordinates in Ottosson's OKLab, in which distances are those that are seen."""
        cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
        lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
        return np.cbrt(linear @ np.transpose(cones)) @ np.transpose(lab)
