"""The learning rate over the steps, and a guard against gradients that are too large."""

import math

import torch

from sk_hvae._fit.checkpoint import Checkpointed

# Shares of the steps. The linear code that training starts from needs a gentle beginning, and the
# betas need rates that are nearly still at the end; the peak in between does the work.
_WARM_UP, _DECAY_FROM = 0.05, 0.5
# Steps, where the end is not known: 5% of the usual 2,000.
_OPEN_ENDED_WARM_UP = 100
# The typical norm is averaged over some 20 steps.
_SMOOTHING = 0.95
# Multiples of the typical norm. Up to the first, gradients may differ as those of batches do; from
# the second on, a batch is taken for broken, and better left out than shortened.
_CLIP_AT, _SKIP_AT = 5.0, 50.0
# Steps that may be skipped, so that a norm which has grown for good is followed.
_BUDGET = 20


class GradientGuard(Checkpointed):
    """Compare every gradient with its moving norm.

    A gradient longer than 5 times the moving norm is shortened to that. One longer than 50
    times, or not finite, is skipped; after 20 skipped steps, long ones are shortened and taken
    instead, so that training cannot freeze below a limit that its gradients have outgrown.
    A step that is not finite is never taken.

    The decision is made on the device, and taken by the fused optimisers of torch.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        What the optimiser moves.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae._fit.optimise import GradientGuard
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    >>> guard = GradientGuard([weight])
    >>> for gradient in (1.0, 10.0, torch.nan, 1000.0):
    ...     weight.grad = torch.tensor([gradient])
    ...     guard.inspect(optimizer)
    ...     optimizer.step()
    >>> weight.detach()
    tensor([-6.])
    """

    CHECKPOINTED = ("_typical", "_n_skipped", "_n_broken")

    def __init__(self, parameters):
        self._parameters = list(parameters)
        device = self._parameters[0].device
        self._typical = torch.full((), torch.inf, device=device)
        self._n_skipped = torch.zeros((), device=device)
        self._n_broken = torch.zeros((), device=device)

    def inspect(self, optimizer):
        """Tell a fused optimiser by how much to divide the gradients, or to skip the step."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        broken = ~norm.isfinite()
        wild = (norm > _SKIP_AT * self._typical) & (self._n_skipped < _BUDGET)
        skip = broken | wild
        limit = _CLIP_AT * self._typical
        moved = torch.lerp(torch.minimum(norm, limit), self._typical, _SMOOTHING)
        moved = torch.where(self._typical.isinf(), norm, moved)
        self._typical = torch.where(skip, self._typical, moved)
        self._n_skipped = self._n_skipped + skip
        self._n_broken = self._n_broken + broken
        optimizer.grad_scale = (norm / limit).nan_to_num(1.0).clamp(min=1.0)
        optimizer.found_inf = skip.float()

    def is_exhausted(self):
        """Whether more than 20 steps were not finite; reads from the device."""
        return bool(self._n_broken > _BUDGET)


def lr_factor(step, n_steps):
    """Return the learning rate of a step as a share of its peak.

    Linear warm-up over the first 5% of the steps, constant until half, cosine to zero: the
    rates have to be still when the betas settle. Without an end (``n_steps=None``) only the
    warm-up, over 100 steps.
    """
    if n_steps is None:
        return min(1.0, (step + 1) / _OPEN_ENDED_WARM_UP)
    warm_up = min(1.0, (step + 1) / (_WARM_UP * n_steps))
    decay = max(0.0, (step / n_steps - _DECAY_FROM) / (1 - _DECAY_FROM))
    return warm_up * 0.5 * (1 + math.cos(math.pi * decay))
