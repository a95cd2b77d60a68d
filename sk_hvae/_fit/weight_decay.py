"""An optimiser whose weight decay pulls on the weights of networks only."""

import torch

from sk_hvae._fit.flat_nadam import FlatNAdam
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBasis
from sk_hvae.nn.latents.categorical import CategoricalLatent
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.networks.skip import FadeIn, LinearPath


def optimizer_for(module, weight_decay):
    """Return a function that makes the optimiser of a module.

    Networks are pulled towards zero, where they add nothing to the linear code that training
    starts from. That code is not pulled, nor are biases, the likelihood's scales, the learned
    prior of a categorical layer, and what modulates layers by the target rates.

    Parameters
    ----------
    module : nn.Module
        Our models, whatever is around them, with networks of any kind.
    weight_decay : float
        As in ``torch.optim.AdamW``.

    Returns
    -------
    callable
        Takes parameter groups, as skorch makes them, and options of ``torch.optim.AdamW``.
    """

    def make(groups, **options):
        # Asked here, because a module that is moved to a device may get other parameters.
        spared = {id(parameter) for parameter in _spared(module)}
        parameters = [parameter for group in groups for parameter in group["params"]]
        pulled = [parameter for parameter in parameters if id(parameter) not in spared]
        others = [parameter for parameter in parameters if id(parameter) in spared]
        groups = [{"params": pulled}, {"params": others, "weight_decay": 0.0}]
        return FlatNAdam(groups, weight_decay=weight_decay, **options)

    return make


def _spared(module):
    """Yield what weight decay leaves alone: parts of ours, known by their type, and all biases."""
    for part in module.modules():
        if isinstance(part, (LinearPath, Likelihood, RateBasis)):
            yield from part.parameters()
        elif isinstance(part, ConditionedHierarchy):
            yield from (part.coefficients, *part.scales.values())
        elif isinstance(part, FadeIn):
            yield part.gain
        elif isinstance(part, CategoricalLatent) and part.prior_logits is not None:
            yield part.prior_logits
        elif isinstance(getattr(part, "bias", None), torch.nn.Parameter):
            yield part.bias
