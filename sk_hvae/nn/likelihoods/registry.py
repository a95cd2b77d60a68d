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

# What other libraries and papers call them.
LIKELIHOOD_SYNONYMS = {
    "normal": "gaussian",
    "gauss": "gaussian",
    "mse": "gaussian",
    "l2": "gaussian",
    "squared_error": "gaussian",
    "numeric": "gaussian",
    "continuous": "gaussian",
    "binary": "bernoulli",
    "boolean": "bernoulli",
    "binomial": "bernoulli",
    "bce": "bernoulli",
    "binary_cross_entropy": "bernoulli",
    "count": "poisson",
    "zip": "poisson",
    "nb": "negative_binomial",
    "negbin": "negative_binomial",
    "zinb": "negative_binomial",
    "nominal": "categorical",
    "discrete": "categorical",
    "multinomial": "categorical",
    "softmax": "categorical",
    "cross_entropy": "categorical",
    "logistic": "discretized_logistic",
    "pixels": "discretized_logistic",
    "dmol": "discretized_logistic_mixture",
    "mol": "discretized_logistic_mixture",
    "logistic_mixture": "discretized_logistic_mixture",
}
