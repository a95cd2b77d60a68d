"""Which learning rate and which weight decay each parameter of a module gets."""

import math
from collections import defaultdict

import torch

from sk_hvae._fit.flat_nadam import FlatNAdam
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBasis
from sk_hvae.nn.latents.categorical import CategoricalLatent
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.networks.skip import FadeIn, LinearPath

# Numbers that an output is computed from, up to which weights learn at the full rate. Adam moves
# every weight as far as any other, so that an output moves in proportion to its inputs: 784 pixels
# bring the rate that suits a table to its limit, at which training now and then diverges.
_FULL_RATE_INPUTS = 256
# A group of its own takes a fiftieth of the time of a step; smaller differences are not worth it.
_LEAST_DIFFERENCE = 0.1


def optimizer_for(module, weight_decay):
    """Return a function that makes the optimiser of a module.

    Networks are pulled towards zero, where they add nothing to the linear code that training
    starts from. That code is not pulled, nor are biases, the likelihood's scales, the learned
    prior of a categorical layer, and what modulates layers by the target rates.

    Weights of layers with more than 256 inputs learn more slowly, by 256 over that number [1]_ if
    it is .9 at most, and are pulled as the others are. Groups have this number as ``rate_share``.

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

    References
    ----------
    .. [1] Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
       Hyperparameter Transfer", 2022; table 3, hidden weights under Adam.
    """

    def make(groups, lr, **options):
        # Asked here, because a module that is moved to a device may get other parameters.
        spared = {id(parameter) for parameter in _spared(module)}
        shares = _rate_shares(module)
        alike = defaultdict(list)
        for parameter in (parameter for group in groups for parameter in group["params"]):
            decay = 0.0 if id(parameter) in spared else weight_decay
            alike[shares.get(id(parameter), 1.0), decay].append(parameter)
        groups = [
            {"params": params, "lr": share * lr, "weight_decay": decay / share, "rate_share": share}
            for (share, decay), params in alike.items()
        ]
        return FlatNAdam(groups, lr, **options)

    return make


def set_rate(optimizer, lr):
    """Set the learning rate of an optimiser, of which each group takes its share."""
    for group in optimizer.param_groups:
        group["lr"] = group["rate_share"] * lr


def _rate_shares(module):
    """Return the shares of the learning rate of weights, by their id."""
    weights = ((part, getattr(part, "weight", None)) for part in module.modules())
    shares = {
        id(weight): _FULL_RATE_INPUTS / _n_inputs(part, weight)
        for part, weight in weights
        if isinstance(weight, torch.nn.Parameter) and weight.dim() > 1
    }
    return {key: share for key, share in shares.items() if share <= 1 - _LEAST_DIFFERENCE}


def _n_inputs(layer, weight):
    """Return how many numbers each output of a layer is computed from."""
    if getattr(layer, "transposed", False):
        return weight.numel() / weight.shape[1] / math.prod(layer.stride)
    return weight[0].numel()


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
