"""Likelihoods: the decoder's output to log-probability, mean and samples of the data."""

from sk_hvae.nn.likelihoods.base import DataSummary, Likelihood
from sk_hvae.nn.likelihoods.bernoulli import Bernoulli
from sk_hvae.nn.likelihoods.categorical import Categorical
from sk_hvae.nn.likelihoods.columns import PerColumn, check_cover, resolve
from sk_hvae.nn.likelihoods.counts import NegativeBinomial, Poisson
from sk_hvae.nn.likelihoods.discretized_logistic import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from sk_hvae.nn.likelihoods.gaussian import Gaussian
from sk_hvae.nn.likelihoods.registry import LIKELIHOOD_SYNONYMS, LIKELIHOODS

__all__ = [
    "LIKELIHOODS",
    "LIKELIHOOD_SYNONYMS",
    "Bernoulli",
    "Categorical",
    "DataSummary",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "Likelihood",
    "NegativeBinomial",
    "PerColumn",
    "Poisson",
    "check_cover",
    "resolve",
]
