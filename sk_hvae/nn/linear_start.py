"""Where training starts: the best linear-Gaussian code at the target rates.

A Gaussian source is successively refinable, so a hierarchy of linear layers reaches the
rate-distortion optimum of the data's covariance whatever the split of the rate: the top
layer codes the principal components by reverse water-filling at its own rate, and each layer
below continues at the sum of the rates so far (Cover & Thomas, Elements of Information
Theory, 10.3.3; Equitz & Cover, 1991).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_hvae.nn.latents.categorical import CategoricalPosterior, CategoricalPrior
from sk_hvae.nn.latents.gaussian import GaussianLatent, LayerCode
from sk_hvae.nn.units import LN2
from sk_hvae.nn.water_filling import water_fill

# Posteriors cannot be much narrower: their std has a floor at exp(-6.9) of the prior's.
_MAX_NATS_PER_UNIT = 6.0
# With a larger std of their logits states are certain, and their softmax has no gradient to learn
# from.
_MAX_LOGIT_STD = 10.0
# Bits that a principal component of mean variance gets at most in a model of all rates. Finer codes
# leave errors so small, or put so many bits into a unit, that they draw all of the training to
# themselves, and rates and distortions go astray everywhere.
_FINEST_BITS = 6.0


class PrincipalComponents(NamedTuple):
    """Principal components of the data on the likelihood's link scale.

    Attributes
    ----------
    directions : Tensor of shape (n, n_features)
        Orthonormal rows, largest variance first.
    variances : Tensor of shape (n,)
        Positive.
    mean : Tensor of shape (n_features,)
        What was subtracted.
    """

    directions: Tensor
    variances: Tensor
    mean: Tensor


def linear_codes(variances, layer_rates, n_components):
    """Plan the code of every layer.

    Parameters
    ----------
    variances : Tensor of shape (n,)
        Variances of the principal components, positive, largest first.
    layer_rates : sequence of float
        Rates in nats, z_1 first.
    n_components : sequence of int
        Units of each layer, z_1 first.

    Returns
    -------
    list of LayerCode
        z_1 first; entries of layer l have min(n, n_components[l]) units.
    """
    variances = variances.double()
    nats = torch.zeros_like(variances)
    above = torch.zeros_like(variances)
    total, codes = 0.0, []
    for layer in reversed(range(len(n_components))):
        total += layer_rates[layer]
        usable = min(n_components[: layer + 1])
        nats[:usable] = water_fill(
            variances[:usable], total, nats[:usable], most=_MAX_NATS_PER_UNIT
        )
        signal = (-torch.expm1(-2 * nats)).sqrt()
        shared = torch.where(signal > 0, above / signal.where(signal > 0, 1), 0)
        width = n_components[layer]
        codes.append(LayerCode(signal[:width], shared.clamp(max=1 - 1e-6)[:width]))
        above = signal
    return codes[::-1]


def finest_rate(variances):
    """Find the rate of a linear code whose errors are 1/64 of the spread of the components.

    Parameters
    ----------
    variances : Tensor of shape (n,)
        Variances of the principal components that units code, positive.

    Returns
    -------
    float
        Nats; infinite if there are no components.
    """
    if not len(variances):
        return math.inf
    log_variances = variances.double().log()
    log_error = variances.double().mean().log() - 2 * _FINEST_BITS * LN2
    return float((0.5 * (log_variances - log_error)).clamp(min=0).sum())


@torch.no_grad()
def start_at_linear_code(model, components, layer_rates):
    """Set the linear paths of a model to the best linear code.

    Parameters
    ----------
    model : HierarchicalVAE
        With linear paths. Its networks and a categorical top layer stay as they are.
    components : PrincipalComponents
        On any device, at most as many as the encoder's linear activations; the code is planned
        on the CPU, in float64, which MPS has not got.
    layer_rates : sequence of float
        Rates in nats, z_1 first.
    """
    _set_codes(model, components, _plan_codes(model, components, layer_rates))


def _plan_codes(model, components, layer_rates):
    """Return the codes of the Gaussian layers, z_1 first, as `linear_codes` does."""
    sizes = [layer.n_units for layer in _gaussian_layers(model)]
    return linear_codes(components.variances.cpu(), _gaussian_rates(model, layer_rates), sizes)


def _set_codes(model, components, codes):
    """Set the linear paths of a model to codes that were planned."""
    directions, variances, mean = (tensor.cpu() for tensor in components)
    gaussian, n = _gaussian_layers(model), len(variances)
    whiten = directions / variances.sqrt()[:, None]
    model.encoder.linear.weight[:n] = whiten
    model.encoder.linear.bias[:n] = -(whiten @ mean)
    for layer, code in zip(gaussian, codes, strict=True):
        layer.start_at(LayerCode(*(value.float() for value in code)))
    model.decoder.linear.bias.copy_(mean)
    if codes:
        signal = codes[0].signal.float()
        n = len(signal)
        scale = signal * variances[:n].sqrt()
        model.decoder.linear.weight[:, :n] = (directions[:n] * scale[:, None]).T


def _gaussian_layers(model):
    return [layer for layer in model.layers if isinstance(layer, GaussianLatent)]


@torch.no_grad()
def start_at_pca(model, x, components, layer_rates):
    """Start a model as probabilistic PCA at the given rates.

    Sets the linear paths, lets the likelihood fit its scale to what they leave, and
    estimates the multiplier that belongs to these rates.

    Parameters
    ----------
    model : HierarchicalVAE
        As in `start_at_linear_code`.
    x : Tensor of shape (b, n_features)
        Raw data to measure on.
    components : PrincipalComponents
        As in `start_at_linear_code`.
    layer_rates : sequence of float
        Rates in nats, z_1 first.

    Returns
    -------
    float
        -dD/dR of the linear code: nats of distortion per nat of rate, at least 1e-2; 1 for
        data without variance.
    """
    if not len(components.variances):
        return 1.0
    layer_rates = _gaussian_rates(model, layer_rates)
    smaller = [0.9 * rate for rate in layer_rates]
    codes = _plan_codes(model, components, layer_rates)
    _set_codes(model, components, codes)
    fit_scale(model, x)
    distortion = model(x, model.row_noise(x)).distortion.mean()
    start_at_linear_code(model, components, smaller)
    rise = model(x, model.row_noise(x)).distortion.mean() - distortion
    _set_codes(model, components, codes)
    if not layer_rates:
        return 1.0
    slope = float(rise) / (sum(layer_rates) - sum(smaller))
    return max(slope, 1e-2) if math.isfinite(slope) else 1.0


@torch.no_grad()
def fit_scale(model, x):
    """Let the likelihood fit its scale to what a model leaves of raw data (b, n_features)."""
    z_1 = model.encode(x, model.row_noise(x))[0] * model.layers[0].scale
    model.fit_scale(x, model.decoder(z_1))


@torch.no_grad()
def start_at_clusters(model, x, components, centres, layer_rates):
    """Start a categorical top layer, and the priors below it, at clusters of the data.

    q(c | x) is the softmax of -|s - centre_c|^2 / (2 temperature). Except for a term that all
    states share, that is linear in the principal scores s. The temperature sets the rate. The
    prior of the layer below gets the mean code of each state, and the variance within states.

    Parameters
    ----------
    model : HierarchicalVAE
        Started at PCA.
    x : Tensor of shape (b, n_features)
        Raw data to measure on.
    components : PrincipalComponents
        As in `start_at_linear_code`.
    centres : Tensor of shape (n_states, n)
        Clusters of the principal scores.
    layer_rates : sequence of float
        Rates in nats, z_1 first. If that of the top layer is out of reach, assignments stay
        soft enough to be trained.
    """
    linear = model.layers[-1].logits_net.linear
    n = centres.shape[1]
    stds = components.variances.sqrt().to(centres)
    weight = centres * stds
    bias = -0.5 * centres.square().sum(1)
    logits = model.activations(x).linear[:, :n] @ weight.T + bias
    spread = float((logits - logits.mean(1, keepdim=True)).std())
    low, high = -20.0, math.log(_MAX_LOGIT_STD / max(spread, 1e-6))
    for _ in range(40):
        middle = (low + high) / 2
        log_q = (logits * math.exp(middle)).log_softmax(1)
        q = CategoricalPosterior(log_q, CategoricalPrior.uniform(log_q))
        if float(q.kl().mean()) > layer_rates[-1]:
            high = middle
        else:
            low = middle
    linear.weight[:, :n] = weight * math.exp(low)
    linear.bias.copy_(bias * math.exp(low))
    gaussian = _gaussian_layers(model)
    if gaussian and n:
        variances, sizes = components.variances.cpu(), [layer.n_units for layer in gaussian]
        code = linear_codes(variances, _gaussian_rates(model, layer_rates), sizes)[-1]
        signal = code.signal.to(centres)
        q = (logits * math.exp(low)).softmax(1)
        mean_code = signal * model.activations(x).linear[:, : len(signal)]
        means = q.T @ mean_code / q.sum(0).clamp(min=1e-6)[:, None]
        within = 1 - q.mean(0) @ means.square()
        std = torch.maximum(within, 1 - signal.square()).sqrt()
        gaussian[-1].start_at_groups(signal, means, std)


def _gaussian_rates(model, layer_rates):
    """Return rates of the Gaussian layers; the top one codes what a categorical one does too."""
    n = len(_gaussian_layers(model))
    rates = list(layer_rates[:n])
    if n and n < len(layer_rates):
        rates[-1] += layer_rates[n]
    return rates


def start_at_slope(model, x, components, betas):
    """Start a model as probabilistic PCA where fixed multipliers will hold it.

    Doubles the total rate, split evenly, until a nat of rate no longer buys as much
    distortion as the cheapest layer charges for it.

    Parameters
    ----------
    model, x, components
        As in `start_at_pca`.
    betas : sequence of float
        Multipliers, z_1 first.

    Returns
    -------
    list of float
        Rates in nats, z_1 first.
    """
    total, price = LN2, min(betas)
    most = 4.0 * len(components.variances)
    while start_at_pca(model, x, components, [total / len(betas)] * len(betas)) > price:
        if 2 * total > most:
            break
        total *= 2
    return [total / len(betas)] * len(betas)
