"""What the rate explorer shows, against the methods of the estimator at each place."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from explorer_pages import Reader
from PIL import Image
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sk_hvae import MultiRateHVAETransformer, RateMap, rate_grid, rate_map, recommend_rates
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.metrics import rate_bounds

POINTS = rate_grid([0.5, 2], [1, 3])


@pytest.fixture(scope="module")
def species():
    return np.repeat(["setosa", "versicolor", "virginica"], 50)


@pytest.fixture(scope="module")
def explorer(multi, iris, species):
    return multi.explore(iris, species, layer_rates=POINTS, n_rows=4, n_samples=3, random_state=1)


@pytest.fixture(scope="module")
def content(explorer):
    return Reader(explorer.html).content()


def numbers_in(content):
    """A frame of the numbers on a page, as ``to_frame`` names them."""
    layers = range(len(content["targets"][0]))
    frame = pd.DataFrame(content["targets"], columns=[f"target_z{n + 1}" for n in layers])
    frame[[f"rate_z{n + 1}" for n in layers]] = content["rates"]
    return frame.assign(**{own["name"]: own["values"] for own in content["metrics"]})


class TestNumbers:
    def test_they_are_those_of_the_map(self, multi, iris, species, explorer, content):
        pd.testing.assert_frame_equal(numbers_in(content), explorer.rate_map.to_frame())
        names = ["accuracy:knn", "psnr", "distortion"]
        again = rate_map(multi, iris, species, layer_rates=POINTS, metrics=names)
        pd.testing.assert_frame_equal(explorer.rate_map.to_frame(), again.to_frame())

    def test_layers_have_bounds(self, multi, iris, species, content):
        bounds = [rate_bounds(multi.at(point), iris, species).accuracy for point in POINTS]
        # Rates of the map are those of one draw of the latents, and those of ``rates`` of four.
        np.testing.assert_allclose(content["bounds"], bounds, atol=0.05)
        assert np.min(content["bounds"]) < 1

    def test_recommendations_with_their_reason(self, explorer, content):
        for own in content["metrics"]:
            advice = recommend_rates(explorer.rate_map, own["name"])
            assert tuple(content["targets"][own["chosen"]]) == advice.layer_rates
            assert own["reason"] == advice.reason
            assert own["reason"].startswith(f"By {own['label']}: ")

    @pytest.mark.parametrize(
        "y",
        [None, np.linspace(0, 1, 150), np.arange(150), np.r_[np.nan, np.zeros(149)], np.zeros(150)],
        ids=["nothing", "numbers", "all_different", "missing", "one_class"],
    )
    def test_what_holds_no_classes_has_no_accuracy(self, multi, iris, y):
        page = Reader(multi.explore(iris, y, layer_rates=POINTS[:1], n_rows=1, n_samples=1).html)
        assert [own["name"] for own in page.content()["metrics"]] == ["psnr", "distortion"]
        assert page.content()["bounds"] is None

    def test_metrics_of_ones_own(self, multi, iris):
        def width(estimator, X, y):
            return estimator.transform(X).shape[1]

        page = Reader(multi.explore(iris, metrics=width, layer_rates=POINTS, n_rows=1).html)
        assert page.content()["metrics"][0]["values"] == [6] * 4


class TestTables:
    def test_cells_are_those_of_each_layer(self, multi, iris, content):
        rows = content["rows"]
        assert rows["kind"] == "table"
        assert rows["numbers"] == [0, 50, 99, 149]
        assert rows["labels"] == ["setosa", "versicolor", "versicolor", "virginica"]
        assert rows["columns"] == ["x0", "x1", "x2", "x3"]
        np.testing.assert_allclose(np.array(rows["originals"], float), iris[rows["numbers"]])
        for point, place in zip(POINTS, rows["places"], strict=True):
            for number, cells in enumerate(place["layers"], start=1):
                expected = multi.at(point).reconstruct(iris, number)[rows["numbers"]]
                np.testing.assert_allclose(np.array(cells, float), expected, rtol=1e-3)

    def test_samples_are_those_of_the_seed(self, multi, content):
        for point, place in zip(POINTS, content["rows"]["places"], strict=True):
            expected = multi.at(point).sample(3, random_state=1)
            np.testing.assert_allclose(np.array(place["samples"], float), expected, rtol=1e-3)

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    @pytest.mark.usefixtures("coarse_plane")
    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames_with_text_dates_and_holes(self, library):
        frame = pd.DataFrame(
            {
                "<b>city</b>": ["Oslo", "Rome", None, "a name of more than thirty characters"] * 10,
                "day": pd.date_range("2024-03-01", periods=40),
                "age": [30.25, np.nan] * 20,
            }
        )
        if library == "polars":
            frame = pytest.importorskip("polars").from_pandas(frame)
        multi = MultiRateHVAETransformer(
            (0.5, 2),
            layer_rates=1,
            n_components=2,
            hidden_layer_sizes=4,
            max_epochs=1,
            random_state=0,
        ).fit(frame)
        page = multi.explore(frame, layer_rates=[1], n_rows=40, n_samples=2).html
        assert "<b>city" not in page
        rows = Reader(page).content()["rows"]
        assert rows["columns"] == ["<b>city</b>", "day", "age"]
        assert rows["originals"][:4] == [
            ["Oslo", "2024-03-01", "30.25"],
            ["Rome", "2024-03-02", "missing"],
            ["missing", "2024-03-03", "30.25"],
            ["a name of more than thirty ch…", "2024-03-04", "missing"],
        ]
        (place,) = rows["places"]
        decoded = np.array(place["layers"][0])
        assert set(decoded[:, 0]) <= {"Oslo", "Rome", "a name of more than thirty ch…"}
        assert all(day.startswith("20") and len(day) == 10 for day in decoded[:, 1])
        assert np.shape(place["samples"]) == (2, 3)

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    @pytest.mark.usefixtures("coarse_plane")
    def test_of_many_columns_the_first_are_shown(self):
        X = np.random.default_rng(0).normal(size=(20, 33))
        multi = MultiRateHVAETransformer(
            (0.5, 2),
            layer_rates=1,
            n_components=2,
            hidden_layer_sizes=4,
            max_epochs=1,
            random_state=0,
        ).fit(X)
        rows = Reader(multi.explore(X, layer_rates=[1], n_rows=2).html).content()["rows"]
        assert (len(rows["columns"]), rows["n_more"]) == (30, 3)
        assert np.shape(rows["originals"]) == (2, 30)


class TestImages:
    def test_pictures_are_those_of_each_layer(self, multi, iris):
        page = multi.explore(iris, layer_rates=POINTS, n_rows=3, n_samples=2, image_shape=(2, 2))
        rows = Reader(page.html).content()["rows"]
        shown = iris[rows["numbers"]]

        def pixels(url):
            image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
            levels = np.asarray(image.convert("L")).astype(float)
            bright = np.stack([levels[:, n : n + 2] for n in range(0, levels.shape[1], 3)])
            dark = 1 - bright.reshape(len(bright), 4) / 254
            return shown.min() + dark * np.ptp(shown)

        def close(url, expected):
            cut = np.clip(expected, shown.min(), shown.max())
            np.testing.assert_allclose(pixels(url), cut, atol=np.ptp(shown) / 254)

        close(rows["originals"], shown)
        assert len(rows["places"]) == len(POINTS)
        for point, place in zip(POINTS, rows["places"], strict=True):
            single = multi.at(point)
            for number, url in enumerate(place["layers"], start=1):
                close(url, single.reconstruct(shown, number))
            close(place["samples"], single.sample(2, mean=True))

    def test_a_shape_that_does_not_suit(self, multi, iris):
        with pytest.raises(ValueError, match="image_shape=\\(3, 3\\) has 9 pixels"):
            multi.explore(iris, image_shape=(3, 3))


class TestLatents:
    def test_distances_are_those_of_principal_components(self, multi, iris, content):
        latents = content["rows"]["latents"]
        for number, point in enumerate(POINTS):
            levels = np.frombuffer(base64.b64decode(latents["points"][number]), np.uint8)
            points = levels.reshape(-1, 2) / 127.5 - 1
            Z = multi.at(point).transform(iris).astype(float)
            pca = PCA(2).fit(Z)
            expected = pdist(pca.transform(Z))
            size = expected @ pdist(points) / (pdist(points) @ pdist(points))
            np.testing.assert_allclose(size * pdist(points), expected, atol=0.02 * expected.max())
            assert latents["shares"][number] == pytest.approx(pca.explained_variance_ratio_.sum())

    def test_points_move_little_between_places_that_are_alike(self, multi, iris):
        page = multi.explore(iris, layer_rates=[(2, 3), (2.02, 3.03)], n_rows=1)
        points = [
            np.frombuffer(base64.b64decode(own), np.uint8).astype(int)
            for own in Reader(page.html).content()["rows"]["latents"]["points"]
        ]
        assert np.abs(points[0] - points[1]).max() < 20

    def test_colours(self, multi, iris, content):
        colours = content["rows"]["colours"]
        assert colours["names"] == ["setosa", "versicolor", "virginica"]
        assert colours["groups"] == [0] * 50 + [1] * 50 + [2] * 50
        assert colours["rest"] is None
        numbers = np.r_[np.nan, np.linspace(0, 10, 149)]
        page = multi.explore(iris, numbers, layer_rates=POINTS[:1], n_rows=1)
        colours = Reader(page.html).content()["rows"]["colours"]
        assert colours["shares"][0] is None
        assert colours["low"] < colours["high"]
        middle = (numbers[75] - colours["low"]) / (colours["high"] - colours["low"])
        assert colours["shares"][75] == pytest.approx(middle)


class TestMistakes:
    def test_a_model_that_is_not_fitted(self, iris):
        with pytest.raises(NotFittedError):
            MultiRateHVAETransformer().explore(iris)

    def test_labels_for_other_rows(self, multi, iris, species):
        with pytest.raises(ValueError, match="inconsistent numbers"):
            multi.explore(iris, species[:-1])

    @pytest.mark.parametrize("name", ["n_rows", "n_samples"])
    def test_counts(self, multi, iris, name):
        with pytest.raises(ValueError, match=f"{name} must be an int of at least 1; got 0"):
            multi.explore(iris, **{name: 0})

    def test_places_out_of_reach_warn_once(self, multi, iris):
        with pytest.warns(RateTargetWarning, match="at 1 of 2 points, rates are off") as caught:
            multi.explore(iris, layer_rates=[(1, 1), (1, 99)], n_rows=1)
        assert [warning.filename for warning in caught] == [__file__]

    def test_the_model_stays_as_it_is(self, multi, iris):
        before = multi.transform(iris)
        multi.explore(iris, layer_rates=POINTS, n_rows=1)
        assert multi.layer_rates == (1, 1)
        assert np.array_equal(multi.transform(iris), before)


class TestMaps:
    def test_a_map_alone(self, tmp_path):
        points = np.array(rate_grid([1, 2, 4], [1, 2]))
        values = {"psnr": np.arange(6.0), "distortion": np.r_[np.nan, 5.0, 3, 4, 6, 7]}
        surface = RateMap(points, 1.1 * points, values, n_samples=50)
        surface.to_html(tmp_path / "map.html")
        page = Reader((tmp_path / "map.html").read_text())
        pd.testing.assert_frame_equal(numbers_in(page.content()).astype(float), surface.to_frame())
        psnr, distortion = page.content()["metrics"]
        assert (psnr["chosen"], distortion["chosen"]) == (5, 2)
        assert psnr["reason"] == "Of 6 places, (4, 2) bits have the highest psnr (dB): 5."
        assert distortion["reason"] == (
            "Of 5 places, (2, 1) bits have the lowest distortion (bits): 3."
        )
        assert page.content()["rows"] is None

    def test_a_map_without_any_value(self, tmp_path):
        surface = RateMap(np.ones((1, 1)), np.ones((1, 1)), {"psnr": np.array([np.nan])})
        with pytest.raises(ValueError, match=r"no metric .* it has \['psnr'\]"):
            surface.to_html(tmp_path / "map.html")
