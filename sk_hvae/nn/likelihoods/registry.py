"""Likelihoods by name."""

from sk_hvae.nn.likelihoods.base import Likelihood
from sk_hvae.nn.likelihoods.bernoulli import Bernoulli
from sk_hvae.nn.likelihoods.categorical import Categorical
from sk_hvae.nn.likelihoods.counts import NegativeBinomial, Poisson
from sk_hvae.nn.likelihoods.discretized_logistic import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from sk_hvae.nn.likelihoods.gaussian import Gaussian

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "categorical": Categorical,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
}
