"""The learning rate over the steps, and a guard against gradients that are too large."""

import math
from abc import ABC, abstractmethod

import torch

from sk_hvae._fit.checkpoint import Checkpointed

# Shares of the steps. The linear code that training starts from needs a gentle beginning, and the
# betas need rates that are nearly still at the end; the peak in between does the work.
_WARM_UP, _DECAY_FROM = 0.05, 0.5
# Steps, where the end is not known: 5% of the usual 1,200.
_OPEN_ENDED_WARM_UP = 60
# The typical norm is averaged over some 20 steps.
_SMOOTHING = 0.95
# Multiples of the typical norm. Up to the first, gradients may differ as those of batches do; from
# the second on, a batch is taken for broken, and better left out than shortened.
_CLIP_AT, _SKIP_AT = 5.0, 50.0
# Steps that may be skipped, so that a norm which has grown for good is followed.
_BUDGET = 20


class GradientGuard(Checkpointed, ABC):
    """Compare every gradient with its moving norm.

    A gradient longer than 5 times the moving norm is shortened to that. One longer than 50
    times, or not finite, is skipped; after 20 skipped steps, long ones are shortened and taken
    instead, so that training cannot freeze below a limit that its gradients have outgrown.
    A step that is not finite is never taken.

    The decision is taken by the fused optimisers of torch.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        What the optimiser moves.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae._fit.optimise import guard_for
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    >>> guard = guard_for([weight])
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
        self._typical, self._n_skipped, self._n_broken = self._start(self._parameters[0].device)

    def inspect(self, optimizer):
        """Tell a fused optimiser by how much to divide the gradients, or to skip the step."""
        norms = [torch.linalg.vector_norm(p.grad) for p in self._parameters if p.grad is not None]
        optimizer.grad_scale, optimizer.found_inf = self._decide(norms)

    def is_exhausted(self):
        """Whether more than 20 steps were not finite; reads from the device."""
        return bool(self._n_broken > _BUDGET)

    @abstractmethod
    def _start(self, device):
        """Return the typical norm and the numbers of skipped and of broken steps to begin with."""

    @abstractmethod
    def _decide(self, norms):
        """Return what to divide by, and 1 for a step to skip, as tensors; None is for neither."""


class HostGuard(GradientGuard):
    """Decides with plain numbers, because twenty tensors of one number take a tenth of a step."""

    def _start(self, device):  # noqa: ARG002 numbers are nowhere
        return math.inf, 0, 0

    def _decide(self, norms):
        norm = math.hypot(*(float(norm) for norm in norms))
        is_broken = not math.isfinite(norm)
        is_wild = norm > _SKIP_AT * self._typical and self._n_skipped < _BUDGET
        self._n_broken += is_broken
        if is_broken or is_wild:
            self._n_skipped += 1
            return None, torch.ones(())
        limit = _CLIP_AT * self._typical
        if math.isinf(limit):
            self._typical = norm
        else:
            self._typical += (1 - _SMOOTHING) * (min(norm, limit) - self._typical)
        return torch.tensor(norm / limit) if norm > limit > 0 else None, None


class DeviceGuard(GradientGuard):
    """Decides on the device, which nobody then has to wait for."""

    def _start(self, device):
        return torch.full((), torch.inf, device=device), *torch.zeros(2, device=device)

    def _decide(self, norms):
        norm = torch.linalg.vector_norm(torch.stack(norms))
        broken = ~norm.isfinite()
        wild = (norm > _SKIP_AT * self._typical) & (self._n_skipped < _BUDGET)
        skip = broken | wild
        limit = _CLIP_AT * self._typical
        moved = torch.lerp(torch.minimum(norm, limit), self._typical, _SMOOTHING)
        moved = torch.where(self._typical.isinf(), norm, moved)
        self._typical = torch.where(skip, self._typical, moved)
        self._n_skipped = self._n_skipped + skip
        self._n_broken = self._n_broken + broken
        return (norm / limit).nan_to_num(1.0).clamp(min=1.0), skip.float()


def guard_for(parameters):
    """Return the guard of parameters on their device."""
    parameters = list(parameters)
    return (HostGuard if parameters[0].device.type == "cpu" else DeviceGuard)(parameters)


def lr_factor(step, n_steps):
    """Return the learning rate of a step as a share of its peak.

    Linear warm-up over the first 5% of the steps, constant until half, cosine to zero: the
    rates have to be still when the betas settle. Without an end (``n_steps=None``) only the
    warm-up, over 60 steps.
    """
    if n_steps is None:
        return min(1.0, (step + 1) / _OPEN_ENDED_WARM_UP)
    warm_up = min(1.0, (step + 1) / (_WARM_UP * n_steps))
    decay = max(0.0, (step / n_steps - _DECAY_FROM) / (1 - _DECAY_FROM))
    return warm_up * 0.5 * (1 + math.cos(math.pi * decay))
