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
