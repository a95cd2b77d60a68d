"""The training objective, a pure function of the model's output and the multipliers."""

from typing import NamedTuple

from torch import Tensor


class LossTerms(NamedTuple):
    """Batch means, in nats.

    Attributes
    ----------
    loss : Tensor of shape ()
        D + sum_l beta_l R_l.
    distortion : Tensor of shape ()
        D.
    rates : Tensor of shape (n_layers,)
        R_l, z_1 first.
    """

    loss: Tensor
    distortion: Tensor
    rates: Tensor


def objective(output, betas):
    """Weigh distortion and rates: loss = D + sum_l beta_l R_l (Xiao & Bamler, 2023).

    Parameters
    ----------
    output : HVAEOutput
        Distortion (b,) and rates (b, n_layers) of a batch.
    betas : Tensor of shape (n_layers,)
        Multipliers, z_1 first.

    Returns
    -------
    LossTerms

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import HVAEOutput, objective
    >>> output = HVAEOutput(torch.tensor([1.0, 3.0]), torch.tensor([[1.0, 2.0]] * 2), ())
    >>> objective(output, torch.tensor([2.0, 0.5])).loss
    tensor(5.)
    """
    distortion = output.distortion.mean()
    rates = output.rates.mean(0)
    return LossTerms(distortion + (betas * rates).sum(), distortion, rates)


def balanced_objective(output, betas):
    """Weigh distortion and rates of many targets, which have multipliers of their own.

    Where betas are large, so are the gradients. Each target's loss is divided by the cube root
    of 1 + its mean beta, so that neither end of a range of rates drowns the other.

    Parameters
    ----------
    output : ConditionedOutput
        Of a batch.
    betas : Tensor of shape (n_targets, n_layers)
        Multipliers of every target, z_1 first.

    Returns
    -------
    LossTerms
        ``distortion`` and ``rates`` are plain means.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.conditioned import ConditionedOutput
    >>> from sk_hvae.nn.objective import balanced_objective
    >>> distortion, rates = torch.tensor([1.0, 3.0]), torch.tensor([[1.0], [2.0]])
    >>> output = ConditionedOutput(distortion, rates, targets=torch.tensor([[1.5]]))
    >>> balanced_objective(output, torch.tensor([[7.0]])).loss
    tensor(12.5000)
    """
    distortions, rates = output.mean_distortions(), output.mean_rates()
    weights = (1 + betas.mean(1)) ** (-1 / 3)
    losses = distortions + (betas * rates).sum(1)
    loss = (weights * losses).mean() / weights.mean()
    return LossTerms(loss, distortions.mean(), rates.mean(0))
