"""The torch half of the library: models, likelihoods and the objective, all in nats."""

from sk_hvae.nn.hierarchy import HierarchicalVAE, HVAEOutput, mlp_hierarchy
from sk_hvae.nn.likelihoods import Bernoulli, DataSummary, Gaussian, Likelihood
from sk_hvae.nn.objective import LossTerms, objective

__all__ = [
    "Bernoulli",
    "DataSummary",
    "Gaussian",
    "HVAEOutput",
    "HierarchicalVAE",
    "Likelihood",
    "LossTerms",
    "mlp_hierarchy",
    "objective",
]
