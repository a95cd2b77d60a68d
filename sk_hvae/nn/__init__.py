"""The torch half of the library: models, likelihoods and the objective, all in nats."""

from sk_hvae.nn.hierarchy import HierarchicalVAE, HVAEOutput, mlp_hierarchy
from sk_hvae.nn.latents import LadderLatent, TopDownLatent
from sk_hvae.nn.likelihoods import Bernoulli, DataSummary, Gaussian, Likelihood
from sk_hvae.nn.networks import Features, MLPDecoder, MLPEncoder
from sk_hvae.nn.objective import LossTerms, objective

__all__ = [
    "Bernoulli",
    "DataSummary",
    "Features",
    "Gaussian",
    "HVAEOutput",
    "HierarchicalVAE",
    "LadderLatent",
    "Likelihood",
    "LossTerms",
    "MLPDecoder",
    "MLPEncoder",
    "TopDownLatent",
    "mlp_hierarchy",
    "objective",
]
