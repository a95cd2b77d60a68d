"""The torch half of the library: models, likelihoods and the objective, all in nats."""

from sk_hvae.nn.building import Architecture, build_hierarchy
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBox
from sk_hvae.nn.hierarchy import HierarchicalVAE, HVAEOutput
from sk_hvae.nn.latents.categorical import CategoricalLatent
from sk_hvae.nn.latents.gaussian import LadderLatent, TopDownLatent
from sk_hvae.nn.likelihoods import (
    Bernoulli,
    Categorical,
    DataSummary,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    PerColumn,
    Poisson,
)
from sk_hvae.nn.networks.skip import Networks
from sk_hvae.nn.objective import LossTerms, objective

__all__ = [
    "Architecture",
    "Bernoulli",
    "Categorical",
    "CategoricalLatent",
    "ConditionedHierarchy",
    "DataSummary",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "HVAEOutput",
    "HierarchicalVAE",
    "LadderLatent",
    "Likelihood",
    "LossTerms",
    "NegativeBinomial",
    "Networks",
    "PerColumn",
    "Poisson",
    "RateBox",
    "TopDownLatent",
    "build_hierarchy",
    "objective",
]
