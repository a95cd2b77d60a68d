"""A user's program, for type checkers alone: what they see is asserted."""

from pathlib import Path
from typing import Any, TypeAlias, assert_type

import numpy as np
import numpy.typing as npt
import torch

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    RateDistribution,
    RateExplorer,
    RateMap,
    RateRecommendation,
    RateSearchCV,
    rate_grid,
    rate_map,
    recommend_rates,
)
from sk_hvae.metrics import (
    DownstreamScores,
    GenerationScore,
    InformationEstimate,
    RateBounds,
    accuracy_bound,
    downstream_scores,
    gaussian_rate_distortion,
    generation_score,
    information_needed,
    log_likelihood,
    mutual_information,
    psnr,
    rate_bounds,
)
from sk_hvae.nn import Gaussian, HierarchicalVAE
from sk_hvae.plotting import (
    AccuracyBoundDisplay,
    MapDisplay,
    RateHistoryDisplay,
    RateMapDisplay,
    ReconstructionDisplay,
    SampleDisplay,
    TraversalDisplay,
)

Floats32: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.floating]
Floats64: TypeAlias = npt.NDArray[np.float64]


def represent(X: Floats64, path: Path) -> Floats32:
    hvae = HierarchicalVAETransformer(
        layer_rates=(2, 8), n_components=[4, 2], likelihood=Gaussian(), random_state=0
    )
    assert_type(hvae.fit(X), HierarchicalVAETransformer)
    assert_type(hvae.partial_fit(X), HierarchicalVAETransformer)
    assert_type(hvae.set_params(lr=1e-3), HierarchicalVAETransformer)
    assert_type(hvae.fit_transform(X), Floats32)
    assert_type(hvae.rates_, Floats64)
    assert_type(hvae.betas_, Floats64)
    assert_type(hvae.converged_, bool)
    assert_type(hvae.module_, HierarchicalVAE)
    assert_type(hvae.layer_slices_, dict[str, slice])
    assert_type(hvae.latents(X, sample=True), list[Floats32])
    assert_type(hvae.latents(X, sample=True, random_state=1), list[Floats32])
    assert_type(hvae.reconstruct(X, "top"), Any)
    assert_type(hvae.reconstruct(X, resample=True, random_state=None), Any)
    assert_type(hvae.inverse_transform(hvae.transform(X)), Any)
    assert_type(hvae.sample(3), Any)
    assert_type(hvae.sample(3, random_state=np.random.RandomState(0)), Any)
    assert_type(hvae.sample(3, like=X), Any)
    assert_type(hvae.sample(3, given={"age": (30, None), 2: ["a"]}, missing=False), Any)
    assert_type(hvae.impute(X), Any)
    assert_type(hvae.columns_, Any)
    assert_type(hvae.rates(X), Floats64)
    assert_type(hvae.distortion(X), Floats64)
    assert_type(hvae.score_samples(X), Floats64)
    assert_type(hvae.typicality(X), Floats64)
    assert_type(hvae.score(X), float)
    assert_type(hvae.history_, dict[str, npt.NDArray[Any]])
    assert_type(hvae.transform([[0.1, 0.2], [0.3, 0.4]]), Floats32)
    assert_type(hvae.transform(torch.zeros(3, 2)), Floats32)
    hvae.save(path)
    assert_type(HierarchicalVAETransformer.load(path), HierarchicalVAETransformer)
    return hvae.transform(X)


def choose(X: Floats64, y: npt.NDArray[np.intp]) -> tuple[float, ...]:
    multi = MultiRateHVAETransformer((0.5, 8), layer_rates=(1, 2)).fit(X)
    assert_type(multi, MultiRateHVAETransformer)
    assert_type(multi.at((1, 3)), HierarchicalVAETransformer)
    assert_type(multi.fine_tune([1, 3]), HierarchicalVAETransformer)
    assert_type(multi.rates_, Floats64)
    surface = rate_map(multi, X, y, layer_rates=rate_grid([1, 2], 4), metrics=["psnr"])
    assert_type(surface, RateMap)
    assert_type(surface.rates, Floats64)
    assert_type(surface.best("psnr"), int)
    assert_type(surface.plot("psnr"), RateMapDisplay)
    assert_type(multi.explore(X, y, layer_rates=[(1, 2)], n_rows=4), RateExplorer)
    multi.explore(X).to_html("explorer.html")
    surface.to_html("map.html")
    search = RateSearchCV(HierarchicalVAETransformer(), {"layer_rates": rate_grid(1, 2)}).fit(X)
    assert_type(search, RateSearchCV)
    assert_type(search.best_score_, float)
    assert_type(search.best_params_, dict[str, Any])
    assert_type(RateDistribution().rvs(2), list[tuple[float, ...]])
    assert_type(RateDistribution().rvs(), tuple[float, ...])
    advice = recommend_rates(surface, "reconstruction")
    assert_type(advice, RateRecommendation)
    return advice.layer_rates


def judge(hvae: HierarchicalVAETransformer, X: Floats64, y: npt.NDArray[np.intp]) -> float:
    assert_type(mutual_information(hvae, X, y), InformationEstimate)
    assert_type(rate_bounds(hvae, X, y), RateBounds)
    assert_type(rate_bounds(hvae, X, y).accuracy, Floats64)
    assert_type(downstream_scores(hvae, X, y, classifiers=["knn"]), DownstreamScores)
    assert_type(log_likelihood(hvae, X), Floats64)
    assert_type(generation_score(hvae.sample(9), object()), GenerationScore)
    bound: float = accuracy_bound(2.0, [0.5, 0.5])
    needed: float = information_needed(0.9, [0.5, 0.5])
    least: Floats64 = gaussian_rate_distortion(X, [1, 2])
    return psnr(X, hvae.reconstruct(X)) + bound + needed + float(least[0])


def cluster(X: Floats64) -> npt.NDArray[np.intp]:
    clusterer = HVAEClusterer(n_clusters="auto", layer_rates=(8, 1)).fit(X)
    assert_type(clusterer, HVAEClusterer)
    assert_type(clusterer.labels_, npt.NDArray[np.intp])
    assert_type(clusterer.fit_predict(X), npt.NDArray[np.intp])
    assert_type(clusterer.predict_proba(X), Floats32)
    assert_type(clusterer.cluster_centers_, Floats)
    assert_type(clusterer.sample(2, cluster=0), Any)
    assert_type(clusterer.sample(2, random_state=1), Any)
    return clusterer.predict(X)


def draw(
    hvae: HierarchicalVAETransformer,
    multi: MultiRateHVAETransformer,
    X: Floats64,
    y: npt.NDArray[np.intp],
) -> None:
    from matplotlib.figure import Figure

    assert_type(RateHistoryDisplay.from_estimator(hvae).plot().figure_, Figure)
    assert_type(AccuracyBoundDisplay.from_estimator(multi, X, y), AccuracyBoundDisplay)
    assert_type(MapDisplay.from_estimator(hvae, X, y).place(X), npt.NDArray[np.float64])
    assert_type(SampleDisplay.from_estimator(hvae, X).plot(), SampleDisplay)
    assert_type(ReconstructionDisplay.from_estimator(hvae, X), ReconstructionDisplay)
    assert_type(TraversalDisplay.from_estimator(hvae, X, layer=1), TraversalDisplay)
