"""The core of all control of rates: multipliers follow the errors of rates, and settle."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from sk_hvae._fit.checkpoint import Checkpointed

# Targets come down to their values over this share of the steps: a longer ramp finds more structure
# while the code is rich, a shorter one leaves more steps for the rates that were asked for.
_RAMP_UNTIL = 0.3
# Betas end at their mean over the steps between these shares. The longer that stretch is, the less
# noise is left in them; the later it comes, the less the weights still move (the learning rate is
# at 14% of its peak where it begins and at 2% where it ends), but the fewer steps are left to train
# on an objective that is fixed.
_AVERAGE_FROM, _SETTLE_AT = 0.88, 0.95
# A beta gets there if its target is out of reach. The limit lets it come back soon if that changes.
MAX_LOG_BETA = math.log(1e4)
# The push grows no further once a rate is off by a factor of 4.5. It holds rates that are near
# their targets; those that are far off would otherwise be pushed by orders of magnitude at once.
_MAX_PUSHED_ERROR = 1.5


class ProportionalIntegral(Checkpointed, ABC):
    """Logarithms of multipliers that are moved by a proportional-integral controller.

    The integral part adds up the errors of the rates and is kept. The proportional part, the
    push, follows the last error. From 95% of the steps on, there is no push, and the
    multipliers stay at their mean over the steps between 88% and 95%, so that training ends on
    a fixed objective.

    All state is on one device, and nothing is read back.

    Parameters
    ----------
    betas : Tensor
        Multipliers to start from.
    n_steps : int or None
        Number of optimiser steps to come; None never settles.
    has_ramp : bool
        Whether targets start above their values.
    gains : tuple of float
        Of the integral and of the proportional part.
    min_log_beta : float
        Lower limit.
    smoother : Tensor, default=None
        Matrix that smooths the multipliers after every step; None leaves them.
    """

    CHECKPOINTED: ClassVar[tuple[str, ...]] = ("_step", "_log_betas", "_push", "_sum", "_n_summed")

    def __init__(self, betas, n_steps, has_ramp, gains, min_log_beta, smoother=None):
        self._n_steps = math.inf if n_steps is None else n_steps
        self._has_ramp = has_ramp
        self._integral_gain, self._proportional_gain = gains
        self._min_log_beta = min_log_beta
        self._smoother = smoother
        self._step = 0
        self._log_betas = betas.log()
        self._push = torch.zeros_like(betas)
        self._sum = torch.zeros_like(betas)
        self._n_summed = 0

    @property
    def is_ramping(self):
        """Whether the targets are still coming down."""
        return self._has_ramp and self._ramp_ahead > 0

    @property
    def _ramp_ahead(self):
        """Power to which the ramp is still applied: 1 at first, 0 after 30% of the steps."""
        return max(0.0, 1 - self._step / (_RAMP_UNTIL * self._n_steps))

    @abstractmethod
    def _error(self, output):
        """Return ln of measured over wanted rates, of the shape of the multipliers."""

    def _advance(self, output):
        """Move or settle the multipliers after a batch; returns whether they have changed."""
        self._step += 1
        if self._step < _SETTLE_AT * self._n_steps:
            self._move(self._error(output))
            return True
        if not self._n_summed:
            return False
        self._log_betas = self._sum / self._n_summed
        self._push = torch.zeros_like(self._push)
        self._n_summed = 0
        return True

    def _move(self, error):
        log_betas = self._log_betas + self._integral_gain * error
        if self._smoother is not None:
            log_betas = self._smoother @ log_betas
        self._log_betas = log_betas.clamp(self._min_log_beta, MAX_LOG_BETA)
        bounded = error.clamp(-_MAX_PUSHED_ERROR, _MAX_PUSHED_ERROR)
        self._push = self._proportional_gain * bounded
        if self._step >= _AVERAGE_FROM * self._n_steps:
            self._sum = self._sum + self._log_betas
            self._n_summed += 1
