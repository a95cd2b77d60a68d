"""Metrics over the rate plane, and their pictures."""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_hvae import (
    HierarchicalVAETransformer,
    MultiRateHVAETransformer,
    RateMap,
    rate_grid,
    rate_map,
)
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._rates.map import path_through
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.metrics import generation_score
from sk_hvae.plotting import RateMapDisplay

mpl.use("Agg")

POINTS = rate_grid([0.5, 2], [1, 3])


@pytest.fixture(scope="module")
def species():
    return np.repeat([0, 1, 2], 50)


def by_hand(single, X):
    """Distortion, rates and psnr of one draw of the latents."""
    module = single.module_
    x = torch.tensor(X)
    with torch.no_grad():
        output = module(x, module.row_noise(x))
        mean = module.decode(output.latents[0] / module.layers[0].scale)
    mse = np.square(mean.numpy() - X).mean()
    psnr = 20 * np.log10(X.max() - X.min()) - 10 * np.log10(mse)
    rates = output.rates.mean(0).numpy() / np.log(2)
    return float(output.distortion.mean() / np.log(2)), rates, psnr


class TestMultiRate:
    def test_numbers_are_those_of_each_point(self, multi, iris):
        found = rate_map(
            multi, iris, layer_rates=POINTS, metrics=["distortion", "lower_bound", "psnr"]
        )
        assert np.array_equal(found.layer_rates, POINTS)
        for i, point in enumerate(POINTS):
            distortion, rates, psnr = by_hand(multi.at(point), iris)
            assert found.rates[i] == pytest.approx(rates, rel=1e-4)
            assert found.metrics["distortion"][i] == pytest.approx(distortion, rel=1e-4)
            assert found.metrics["psnr"][i] == pytest.approx(psnr, rel=1e-4)
            bound = -np.log(2) * (distortion + rates.sum())
            assert found.metrics["lower_bound"][i] == pytest.approx(bound, rel=1e-4)

    def test_accuracies_are_cross_validated(self, multi, iris, species):
        found = rate_map(multi, iris, species, layer_rates=POINTS, metrics="accuracy:knn", cv=5)
        for point, accuracy in zip(POINTS, found.metrics["accuracy:knn"], strict=True):
            Z = multi.at(point).transform(iris)
            assert accuracy == cross_val_score(KNeighborsClassifier(), Z, species, cv=5).mean()

    @pytest.mark.slow
    def test_all_classifiers(self, multi, iris, species):
        names = [
            f"accuracy:{name}" for name in ("logistic_regression", "knn", "linear_svm", "rbf_svm")
        ]
        found = rate_map(multi, iris, species, layer_rates=[(2, 3)], metrics=names)
        assert all(found.metrics[name][0] > 0.8 for name in names)

    def test_functions_and_names_of_ones_own(self, multi, iris, species):
        def n_columns(estimator, X, y):
            assert y is species
            return estimator.transform(X).shape[1]

        found = rate_map(multi, iris, species, layer_rates=POINTS, metrics=[n_columns, "psnr"])
        assert list(found.metrics) == ["n_columns", "psnr"]
        assert (found.metrics["n_columns"] == 6).all()
        named = {"width": n_columns, "fidelity": "psnr"}
        again = rate_map(multi, iris, species, layer_rates=POINTS, metrics=named)
        assert list(again.metrics) == ["width", "fidelity"]
        assert np.array_equal(again.metrics["fidelity"], found.metrics["psnr"])

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    def test_the_default_grid_spans_the_range(self, multi, iris):
        found = rate_map(multi, iris, metrics="distortion")
        assert len(found.rates) == 49
        assert np.unique(found.layer_rates[:, 0]) == pytest.approx(np.geomspace(0.4, 4, 7))

    def test_processes_give_the_same(self, multi, iris):
        one, two = (rate_map(multi, iris, layer_rates=POINTS, n_jobs=n) for n in (1, 2))
        np.testing.assert_allclose(one.rates, two.rates, rtol=1e-5)

    def test_points_out_of_reach_warn_once(self, multi, iris):
        with pytest.warns(RateTargetWarning, match="at 2 of 3 points, rates are off") as caught:
            rate_map(multi, iris, layer_rates=[(1, 1), (1, 99), (99, 1)])
        assert [warning.filename for warning in caught] == [__file__]

    def test_the_model_stays_as_it_is(self, multi, iris):
        before = multi.transform(iris)
        rate_map(multi, iris, layer_rates=POINTS)
        assert multi.layer_rates == (1, 1)
        assert np.array_equal(multi.transform(iris), before)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
@pytest.mark.parametrize("top_layer", ["gaussian", "categorical"])
def test_missing_cells_and_states_are_counted_right(iris, top_layer):
    X = iris.copy()
    X[::7, 1] = np.nan
    hvae = HierarchicalVAETransformer(
        (2, 0.5), n_components=3, hidden_layer_sizes=8, max_epochs=2, missing="mask",
        top_layer=top_layer, random_state=0,
    )  # fmt: skip
    hvae.fit(X)
    module, x = hvae.module_, torch.tensor(X)
    found = PlaneSurvey(module, x, with_error=True).measure(module)
    with torch.no_grad():
        activations = module.activations(x)
        inference, parameters = module.infer_and_decode(activations, module.row_noise(x))
        cells = inference.expect((module.likelihood.mean(parameters) - inference.align(x)).square())
        measured = module.forward_from(x, activations, module.row_noise(x))
    assert found.squared_error == pytest.approx(np.nanmean(cells.numpy()), rel=1e-4)
    distortion, rates = measured.distortion.mean() / np.log(2), measured.rates.mean(0) / np.log(2)
    assert found.distortion == pytest.approx(float(distortion), rel=1e-4)
    assert found.rates == pytest.approx(rates.numpy(), rel=1e-4)


def test_more_draws_are_averaged(multi, iris):
    module, x = multi.at((2, 3)).module_, torch.tensor(iris)
    found = PlaneSurvey(module, x, n_draws=2).measure(module)
    with torch.no_grad():
        outputs = [module(x, module.row_noise(x).draw(n)) for n in (0, 1)]
    expected = np.mean([float(output.distortion.mean() / np.log(2)) for output in outputs])
    assert found.distortion == pytest.approx(expected, rel=1e-4)
    assert np.isnan(found.squared_error)


class TestSingleRate:
    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    def test_a_fit_for_each_point_along_the_path(self, small, iris):
        hvae = small(max_epochs=5)
        found = rate_map(hvae, iris, layer_rates=POINTS, metrics=["distortion", "psnr"])
        # The path goes to and fro: the last two points change places.
        single = small(max_epochs=5)
        for i in (0, 1, 3, 2):
            single.set_params(layer_rates=POINTS[i], warm_start=i > 0).fit(iris)
            distortion, rates, psnr = by_hand(single, iris)
            assert found.rates[i] == pytest.approx(rates, rel=1e-3)
            assert found.metrics["distortion"][i] == pytest.approx(distortion, rel=1e-3)
            assert found.metrics["psnr"][i] == pytest.approx(psnr, rel=1e-3)
        assert not hasattr(hvae, "module_")

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    def test_other_rows_to_fit(self, small, iris):
        hvae = small(max_epochs=5)
        found = rate_map(hvae, iris[::2], layer_rates=[(1, 2)], X_fit=iris)
        distortion, _, _ = by_hand(hvae.fit(iris), iris[::2])
        assert found.metrics["distortion"][0] == pytest.approx(distortion, rel=1e-3)

    def test_the_path_visits_neighbours(self):
        grid = np.array(rate_grid([1, 2, 4], [1, 2, 4, 8]))
        path = path_through(grid[::-1])
        assert sorted(path) == list(range(12))
        steps = np.abs(np.diff(np.log2(grid[::-1][path]), axis=0)).sum(1)
        assert (steps == 1).all()


class TestMistakes:
    def test_unknown_metrics(self, multi, iris):
        with pytest.raises(ValueError, match=r"no metric 'accuracy:magic'.*'accuracy:knn'"):
            rate_map(multi, iris, metrics="accuracy:magic")

    def test_labels_are_missing(self, multi, iris):
        with pytest.raises(ValueError, match="needs labels; pass y"):
            rate_map(multi, iris, metrics="accuracy:knn")

    def test_other_estimators(self, multi, iris):
        with pytest.raises(TypeError, match="got Pipeline"):
            rate_map(make_pipeline(multi), iris)

    def test_a_multi_rate_model_must_be_fitted(self, iris):
        with pytest.raises(NotFittedError):
            rate_map(MultiRateHVAETransformer(), iris)

    @pytest.mark.parametrize("layer_rates", [None, [], [(1, 2), (1,)], [(1, -2)]])
    def test_points(self, small, iris, layer_rates):
        with pytest.raises(ValueError, match="layer_rates"):
            rate_map(small(), iris, layer_rates=layer_rates)


def made_up(n_layers, n_per_axis=4):
    """A map whose metric is known: best at 4 bits in every layer."""
    points = np.array(rate_grid(*[2.0 ** np.arange(n_per_axis)] * n_layers))
    miss = np.square(np.log2(points) - 2).sum(1)
    return RateMap(points, 1.02 * points, {"accuracy": 0.9 - 0.05 * miss, "distortion": miss})


class TestRateMap:
    @pytest.mark.parametrize("n_layers", [1, 2, 3])
    def test_best(self, n_layers):
        surface = made_up(n_layers)
        for metric in ("accuracy", "distortion"):
            assert (surface.layer_rates[surface.best(metric)] == 4).all()
        with pytest.raises(ValueError, match="'accuracy', 'distortion'"):
            surface.best("psnr")

    def test_frames(self):
        frame = made_up(2).to_frame()
        assert list(frame.columns) == [
            "target_z1", "target_z2", "rate_z1", "rate_z2", "accuracy", "distortion",
        ]  # fmt: skip
        assert frame.loc[frame["accuracy"].idxmax(), ["target_z1", "target_z2"]].tolist() == [4, 4]

    def test_a_curve_for_one_layer(self):
        display = made_up(1).plot("accuracy")
        assert isinstance(display, RateMapDisplay)
        curve, star = display.ax_.lines
        assert np.array_equal(curve.get_xdata(), 1.02 * np.array([1.0, 2, 4, 8]))
        assert (star.get_xdata(), star.get_ydata()) == ([pytest.approx(4.08)], [0.9])
        assert display.ax_.get_xlabel() == "rate of $z_1$ (bits)"

    def test_a_heat_map_for_two_layers(self):
        surface = made_up(2)
        figure, ax = plt.subplots()
        display = surface.plot("distortion", ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is figure
        (mesh,) = ax.collections
        table = mesh.get_array()
        assert table.shape == (4, 4)
        # Rows are z_1: up.
        assert table[0, 3] == surface.metrics["distortion"][3]
        star = [line for line in ax.lines if line.get_marker() == "*"]
        assert [(*s.get_xdata(), *s.get_ydata()) for s in star] == [(4, 4)]
        totals = [line for line in ax.lines if line.get_linestyle() == "--"]
        for line in totals:
            total = line.get_xdata() + line.get_ydata()
            assert total == pytest.approx(total[0])
        assert len(totals) >= 3
        assert figure.axes[1].get_ylabel() == "distortion (bits)"

    def test_totals_are_written_beside_targets(self):
        ax = made_up(2).plot("distortion").ax_
        targets = ax.transData.transform([(x, y) for x in (1, 2, 4, 8) for y in (1, 2, 4, 8)])
        assert ax.texts
        for text in ax.texts:
            across, up = text.xy
            assert across + up == pytest.approx(float(text.get_text()))
            distances = np.linalg.norm(ax.transData.transform(text.xy) - targets, axis=1)
            assert distances.min() > text.get_fontsize()

    def test_a_legend_tells_what_marks_are(self):
        surface = made_up(2)
        display = surface.plot("accuracy")
        words = [text.get_text() for text in display.ax_.get_legend().texts]
        assert words == ["measured rates", "best"]
        display.region = surface.values("accuracy") > np.median(surface.values("accuracy"))
        words = [text.get_text() for text in display.plot().ax_.get_legend().texts]
        assert words == ["measured rates", "as good as the best", "recommended"]

    def test_points_off_a_grid_are_dots(self):
        surface = made_up(2)
        some = RateMap(
            surface.layer_rates[:5], surface.rates[:5], {"psnr": surface.metrics["accuracy"][:5]}
        )
        (dots,) = some.plot("psnr").ax_.collections
        assert len(dots.get_offsets()) == 5

    def test_slices_for_more_layers(self):
        display = made_up(3, 3).plot("accuracy")
        titles = [ax.get_title() for ax in display.ax_.flat]
        assert titles == ["$z_3$ 1 bits", "$z_3$ 2 bits", "$z_3$ 4 bits"]
        with pytest.raises(ValueError, match="leave ax out"):
            made_up(3, 3).plot("accuracy", ax=plt.gca())

    @pytest.mark.parametrize(
        ("package", "call"),
        [("pandas", lambda m: m.to_frame()), ("matplotlib.pyplot", lambda m: m.plot("accuracy"))],
    )
    def test_what_is_not_installed(self, monkeypatch, package, call):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match="pip install"):
            call(made_up(2))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.slow
def test_a_map_of_digits_tells_what_the_rates_do():
    X, y = load_digits(return_X_y=True)
    common = {"n_components": 8, "hidden_layer_sizes": (64,), "random_state": 0}
    multi = MultiRateHVAETransformer((1, 16), max_epochs=200, **common).fit(X)
    points = rate_grid([1, 4, 16], [1, 4, 16])
    found = rate_map(multi, X, y, layer_rates=points, metrics=["psnr", "accuracy:knn"])
    total = found.rates.sum(1)
    order = np.argsort(total)
    assert np.corrcoef(np.log(total), found.metrics["psnr"])[0, 1] > 0.95
    assert found.metrics["accuracy:knn"][order[-1]] > found.metrics["accuracy:knn"][order[0]] + 0.05


class TestTasks:
    def test_clustering_by_hand(self, multi, iris, species):
        found = rate_map(multi, iris, species, layer_rates=POINTS, metrics=["adjusted_rand:kmeans"])
        latents = multi.at(POINTS[1]).transform(iris)
        labels = KMeans(3, n_init=10, random_state=0).fit_predict(latents)
        expected = adjusted_rand_score(species, labels)
        assert found.values("adjusted_rand:kmeans")[1] == pytest.approx(expected)

    def test_generation_by_hand(self, multi, iris, species):
        names = ["inception_score", "diversity", "sharpness"]
        found = rate_map(multi, iris, species, layer_rates=POINTS, metrics=names)
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        judge.fit(iris, species)
        expected = generation_score(multi.at(POINTS[0]).sample(2000, mean=True), judge)
        np.testing.assert_allclose([found.values(name)[0] for name in names], expected)

    @pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
    def test_samples_of_a_frame_with_missing_cells_are_judged(self, iris, species):
        frame = pd.DataFrame(iris, columns=["a", "b", "c", "d"])
        frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
        small = {"n_components": 2, "hidden_layer_sizes": (8,), "random_state": 0}
        multi = MultiRateHVAETransformer((0.5, 3), missing="mask", max_epochs=60, **small)
        multi.set_params(layer_rates=1.0).fit(frame)
        found = rate_map(multi, frame, species, layer_rates=[0.5, 2], metrics="sharpness")
        assert ((found.values("sharpness") >= 1 / 3) & (found.values("sharpness") <= 1)).all()

    def test_they_need_labels(self, multi, iris):
        for metric in ("adjusted_rand:kmeans", "sharpness"):
            with pytest.raises(ValueError, match=f"'{metric}' needs labels"):
                rate_map(multi, iris, layer_rates=POINTS, metrics=metric)
