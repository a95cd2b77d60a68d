"""Displays of fitted models. They need matplotlib, which is imported when one is drawn."""

from sk_hvae.plotting._accuracy_bound import AccuracyBoundDisplay
from sk_hvae.plotting._history import RateHistoryDisplay
from sk_hvae.plotting._latent_map import MapDisplay
from sk_hvae.plotting._rate_map import RateMapDisplay
from sk_hvae.plotting._reconstructions import ReconstructionDisplay
from sk_hvae.plotting._samples import SampleDisplay
from sk_hvae.plotting._traversals import TraversalDisplay

__all__ = [
    "AccuracyBoundDisplay",
    "MapDisplay",
    "RateHistoryDisplay",
    "RateMapDisplay",
    "ReconstructionDisplay",
    "SampleDisplay",
    "TraversalDisplay",
]
