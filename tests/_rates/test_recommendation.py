"""Recommended rates, on maps whose best region is known."""

import itertools
import pickle
from functools import partial

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_hvae import HierarchicalVAETransformer, RateMap, rate_grid, rate_map, recommend_rates

mpl.use("Agg")

AXIS = 2.0 ** np.arange(-1, 6)
POINTS = np.array(list(itertools.product(AXIS, AXIS)))


def spread_of(layer, estimator, X, y):
    return float(estimator.rates(X).mean(axis=0)[layer - 1])


def surface(n_samples=None, **metrics):
    return RateMap(POINTS, 1.02 * POINTS, metrics, n_samples)


def plateau(noise, seed=0):
    """Rise in R_2 to its half height at 2 bits, indifferent to R_1."""
    values = 0.9 / (1 + (2 / POINTS[:, 1]) ** 3)
    return values + np.random.default_rng(seed).normal(0, noise, len(values))


def test_the_cheapest_of_what_is_as_good():
    found = [
        recommend_rates(surface(**{"accuracy:knn": plateau(0.01, seed)}), "classification")
        for seed in range(9)
    ]
    chosen = np.array([advice.layer_rates for advice in found])
    assert np.median(chosen[:, 0]) <= 1
    assert set(chosen[:, 1]) <= {8, 16, 32}
    for advice, point in zip(found, chosen, strict=True):
        assert 0.005 < advice.tolerance < 0.02
        assert (POINTS[advice.region, 1] >= 8).all()
        assert POINTS[advice.region].sum(axis=1).min() == point.sum()
        index = int(np.flatnonzero((point == POINTS).all(axis=1))[0])
        assert advice.value == advice.rate_map.values("accuracy:knn")[index]


def test_a_peak_is_found_under_noise():
    logs = np.log2(POINTS)
    peak = 30 - np.square(logs - [1, 3]).sum(axis=1)
    values = peak + np.random.default_rng(1).normal(0, 0.3, len(peak))
    advice = recommend_rates(surface(inception_score=values), "generation")
    assert advice.layer_rates == (2, 8)
    assert 0.15 < advice.tolerance < 0.5


def test_reasons_are_in_words_and_numbers():
    values = 3 * np.log2(POINTS[:, 0]) + np.log2(POINTS[:, 1])
    advice = recommend_rates(surface(psnr=values), "reconstruction")
    assert advice.layer_rates == (32, 32)
    text = str(advice)
    assert "For reconstruction, by psnr (dB): (32, 32) bits give 20" in text
    assert "z_1 by +3, z_2 by +1" in text
    assert "The map ends at this rate of z_1 and z_2" in text


def test_low_distortion_is_good():
    values = np.square(np.log2(POINTS) - 2).sum(axis=1)
    advice = recommend_rates(surface(distortion=values), "reconstruction")
    assert advice.layer_rates == (4, 4)
    assert "z_1 by" in advice.reason


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_region_is_drawn(n_layers):
    points = np.array(list(itertools.product(AXIS[::3], repeat=n_layers)))
    values = np.log2(points).sum(axis=1)
    values += np.random.default_rng(0).normal(0, 0.01, len(points))
    advice = recommend_rates(RateMap(points, points, {"psnr": values}), "psnr")
    axes = np.ravel(advice.plot().ax_)
    rings = [line for ax in axes for line in ax.lines if line.get_markersize() == 14]
    rings = [line for line in rings if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in rings) == advice.region.sum()
    plt.close("all")


def test_the_split_matters():
    ratio = np.log2(POINTS[:, 0] / POINTS[:, 1])
    advice = recommend_rates(surface(mine=10 - np.abs(ratio - 2)), "mine")
    assert np.log2(advice.layer_rates[0] / advice.layer_rates[1]) == 2
    assert "Of about as many bits, the split" in advice.reason


def test_rows_limit_what_accuracies_tell():
    values = {"accuracy:knn": 0.9 + 0.001 * np.log2(POINTS).sum(axis=1) / 10}
    exact, sampled = (recommend_rates(surface(n, **values), "classification") for n in (None, 100))
    assert exact.layer_rates == (32, 32)
    assert sampled.layer_rates == (0.5, 0.5)
    assert sampled.tolerance == pytest.approx(np.sqrt(0.901 * 0.099 / 100), rel=1e-6)


def test_the_better_classifier_decides():
    metrics = {"accuracy:knn": plateau(0.01), "accuracy:rbf_svm": plateau(0.01) + 0.05}
    assert recommend_rates(surface(**metrics), "classification").metric == "accuracy:rbf_svm"


def test_few_points_are_taken_as_they_are():
    few = RateMap(POINTS[:3], POINTS[:3], {"psnr": np.array([1.0, 3.0, np.nan])})
    advice = recommend_rates(few, "psnr")
    assert advice.layer_rates == tuple(POINTS[1])
    assert advice.tolerance == 0
    assert "too small to tell its noise" in advice.reason


def test_nothing_is_guessed():
    with pytest.raises(ValueError, match=r"needs finite values of 'adjusted_rand:kmeans'; it has"):
        recommend_rates(surface(psnr=plateau(0)), "clustering")
    with pytest.raises(
        ValueError, match=r"finite values of 'beauty'; it has the metrics \['psnr'\]"
    ):
        recommend_rates(surface(psnr=plateau(0)), "beauty")

    with pytest.raises(ValueError, match="finite values of 'psnr'"):
        recommend_rates(surface(psnr=np.full(len(POINTS), np.nan)), "psnr")


def test_what_is_not_finite_does_not_count():
    broken = plateau(0.01)
    broken[POINTS[:, 0] > 8] = np.inf
    metrics = {"accuracy:knn": np.full(len(POINTS), np.nan), "accuracy:rbf_svm": broken}
    advice = recommend_rates(surface(**metrics), "classification")
    assert advice.metric == "accuracy:rbf_svm"
    assert "The best of 35 points is 0.9" in advice.reason
    assert max(POINTS[advice.region, 0]) == 8


def test_layers_that_were_not_varied_have_no_slope():
    points = np.column_stack((AXIS, np.full(len(AXIS), 8.0)))
    rates = points * np.random.default_rng(0).normal(1, 0.02, points.shape)
    varied = RateMap(points, rates, {"psnr": 20 + 3 * np.log2(rates[:, 0])})
    assert "changes the value: z_1 by +3." in recommend_rates(varied, "psnr").reason


@pytest.mark.slow
class TestFromModels:
    def test_measures_what_the_task_needs(self, multi, iris):
        y, points = np.repeat([0, 1, 2], 50), rate_grid([0.5, 1, 3], [0.5, 1, 3])
        for task, metric in [
            ("reconstruction", "psnr"),
            ("clustering", "adjusted_rand:kmeans"),
            ("generation", "inception_score"),
        ]:
            advice = recommend_rates(multi, task, iris, y, layer_rates=points)
            assert advice.metric == metric
            assert advice.layer_rates in points
            same = rate_map(multi, iris, y, layer_rates=points, metrics=[metric])
            np.testing.assert_allclose(same.values(metric), advice.rate_map.values(metric))
            assert advice.rate_map.n_samples == 150

    def test_rows_of_the_fit_will_do(self, multi, iris):
        points = rate_grid([0.5, 3], [0.5, 3])
        own = recommend_rates(multi, task="reconstruction", layer_rates=points)
        assert own.layer_rates == (3, 3)
        assert own.value == recommend_rates(multi, "psnr", iris, layer_rates=points).value

    def test_scorers(self, multi, iris):
        def spread(estimator, X, y):
            return -abs(float(estimator.rates(X).mean(axis=0)[0]) - 2)

        points = rate_grid([0.5, 2, 3], [1])
        advice = recommend_rates(multi, spread, iris, layer_rates=points)
        assert (advice.task, advice.layer_rates) == ("spread", (2, 1))
        assert recommend_rates(advice.rate_map, spread).layer_rates == (2, 1)

    def test_scorers_without_a_name(self, multi, iris):
        advice = recommend_rates(multi, partial(spread_of, 1), iris, layer_rates=[(1, 1), (2, 1)])
        assert advice.task.startswith("functools.partial")
        assert advice.layer_rates == (2, 1)

    def test_what_is_missing_is_named(self, multi, iris):
        with pytest.raises(ValueError, match=r"the rows of fit are not there.*Pass X"):
            recommend_rates(pickle.loads(pickle.dumps(multi)), "reconstruction")  # noqa: S301
        with pytest.raises(ValueError, match="pass the rows X to measure the estimator on"):
            recommend_rates(HierarchicalVAETransformer(), "reconstruction")
        with pytest.raises(ValueError, match=r"'accuracy:.*' needs labels; pass y"):
            recommend_rates(multi, "classification", iris)
        with pytest.raises(ValueError, match=r"there is no task 'clasification'; take one of 'rec"):
            recommend_rates(multi, "clasification", iris)
        with pytest.raises(TypeError, match="must be a fitted MultiRateHVAETransformer"):
            recommend_rates("model", "psnr", iris)
