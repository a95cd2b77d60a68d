"""Bounds on what latents can tell, and measures of latents, reconstructions and samples."""

from sk_hvae.metrics._bounds import RateBounds, accuracy_bound, information_needed, rate_bounds
from sk_hvae.metrics._downstream import DownstreamScores, downstream_scores
from sk_hvae.metrics._generation import GenerationScore, generation_score
from sk_hvae.metrics._information import InformationEstimate, mutual_information
from sk_hvae.metrics._likelihood import log_likelihood
from sk_hvae.metrics._reconstruction import gaussian_rate_distortion, psnr

__all__ = [
    "DownstreamScores",
    "GenerationScore",
    "InformationEstimate",
    "RateBounds",
    "accuracy_bound",
    "downstream_scores",
    "gaussian_rate_distortion",
    "generation_score",
    "information_needed",
    "log_likelihood",
    "mutual_information",
    "psnr",
    "rate_bounds",
]
