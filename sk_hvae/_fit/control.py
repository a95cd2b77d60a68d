"""Find the multipliers: measured rates and targets in, betas out."""

import math
from typing import NamedTuple

import torch

from sk_hvae._fit.checkpoint import Checkpointed
from sk_hvae.nn.objective import objective
from sk_hvae.nn.units import LN2

OFFSET = 0.1 * LN2
_SMOOTHING = 0.9
_INTEGRAL_GAIN = 0.1
_PROPORTIONAL_GAIN = 4.0
MAX_PUSHED_ERROR = 1.5
_RAMP_UNTIL, _RAMP_STEPS, _RAMP_BITS_PER_UNIT = 0.3, 2000, 2.5
AVERAGE_FROM, SETTLE_AT = 0.88, 0.95
MAX_LOG_BETA = math.log(1e4)


class Goal(NamedTuple):
    """What training aims at: target rates in bits, or fixed betas; the other is empty."""

    layer_rates: tuple[float, ...]
    betas: tuple[float, ...]

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.layer_rates or self.betas)

    @property
    def nats(self):
        """Target rates in nats."""
        return [rate * LN2 for rate in self.layer_rates]

    def ramp(self, n_units, n_steps):
        """Return the multiple of the target rates to begin with.

        2 for 2,000 steps or more, towards 1 for fewer, in which the controller could not come
        down from more; and no more than 2.5 bits for each of ``n_units``, beyond which codes
        are hard to train.
        """
        if self.betas:
            return 1.0
        affordable = _RAMP_BITS_PER_UNIT * n_units / sum(self.layer_rates)
        return max(1.0, min(affordable, 2.0 ** min(1.0, n_steps / _RAMP_STEPS)))


def ramp_ahead(step, n_steps):
    """Return the power to which the ramp is still applied: 1 at first, 0 after 30%."""
    return max(0.0, 1 - step / (_RAMP_UNTIL * n_steps))


class RateController(Checkpointed):
    """Hold every layer at its target rate by moving its multiplier.

    A proportional-integral controller on log beta. Layers compete for the same information:
    once their betas are equal, the distortion depends on the total rate alone, and the split
    drifts. The integral part is dual ascent on the multipliers; the proportional part acts
    as the quadratic term of an augmented Lagrangian and holds the split in place.

    From 95% of the steps on, the betas are settled at their mean over the steps between 88%
    and 95%, so that training ends on a fixed objective.

    All state lives on the device of the targets, and nothing is read back.

    Parameters
    ----------
    targets : Tensor of shape (n_layers,)
        Target rates in nats, z_1 first.
    betas : Tensor of shape (n_layers,)
        Multipliers to start from.
    n_steps : int or None
        Number of optimiser steps to come; None never settles.
    ramp : sequence of float, default=()
        Multiple of each target to begin with; none for 1. They fall to 1 over the first 30%
        of the steps, if there is an end to them: a code that starts rich finds structure that
        a poor one does not see.
    gain : float, default=1.0
        Share of the full strength of the proportional part, for models that answer slowly and
        would go round in cycles; the integral part changes as its square.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae._fit.control import RateController
    >>> from sk_hvae.nn import HVAEOutput
    >>> control = RateController(torch.tensor([1.0]), torch.tensor([1.0]), n_steps=None)
    >>> control.observe(HVAEOutput(torch.zeros(1), torch.tensor([[2.0]]), ()))
    >>> bool(control.betas > 1)
    True
    """

    _CHECKPOINTED = ("_step", "_smoothed", "_log_betas", "_sum", "_n_summed", "betas")

    def __init__(self, targets, betas, n_steps, ramp=(), gain=1.0):
        self.targets = targets
        self._n_steps = math.inf if n_steps is None else n_steps
        self._step = 0
        self._gain = gain
        self._has_ramp = max(ramp, default=1.0) > 1
        self._ramp = targets.new_tensor(ramp) if ramp else torch.ones_like(targets)
        self._smoothed = targets * self._ramp
        self._log_betas = betas.log()
        self._sum = torch.zeros_like(betas)
        self._n_summed = 0
        self.betas = betas

    @property
    def is_ramping(self):
        """Whether the targets are still coming down."""
        return self._has_ramp and self._step < _RAMP_UNTIL * self._n_steps

    @property
    def current_targets(self):
        """Targets at this step, nats, (n_layers,)."""
        return self.targets * self._ramp ** ramp_ahead(self._step, self._n_steps)

    def loss(self, output):
        """Weigh distortion and rates of an `HVAEOutput`; returns `LossTerms`."""
        return objective(output, self.betas)

    def observe(self, output):
        """Move the betas after a batch.

        Parameters
        ----------
        output : HVAEOutput
            Of the batch; mean rates that are not finite are ignored.
        """
        rates = output.rates.detach().mean(0)
        self._step += 1
        if self._step >= SETTLE_AT * self._n_steps:
            self._settle()
            return
        rates = torch.where(rates.isfinite(), rates, self._smoothed)
        self._smoothed = torch.lerp(rates, self._smoothed, _SMOOTHING)
        error = ((self._smoothed + OFFSET) / (self.current_targets + OFFSET)).log()
        step = _INTEGRAL_GAIN * self._gain**2 * error
        self._log_betas = (self._log_betas + step).clamp(-MAX_LOG_BETA, MAX_LOG_BETA)
        bounded = error.clamp(-MAX_PUSHED_ERROR, MAX_PUSHED_ERROR)
        push = _PROPORTIONAL_GAIN * self._gain * bounded
        self.betas = (self._log_betas + push).exp()
        if self._step >= AVERAGE_FROM * self._n_steps:
            self._sum = self._sum + self._log_betas
            self._n_summed += 1

    def _settle(self):
        if self._n_summed:
            self._log_betas = self._sum / self._n_summed
            self._n_summed = 0
            self.betas = self._log_betas.exp()


class GuidedController(RateController):
    """A `RateController` for a categorical top layer whose states have targets.

    Parameters
    ----------
    consistency : float
        Multiplier of the disagreement with the targets.
    *args
        As for `RateController`.
    """

    def __init__(self, consistency, *args):
        super().__init__(*args)
        self._consistency = consistency

    def loss(self, output):
        """Weigh distortion, rates and disagreement of a `GuidedOutput`; returns `LossTerms`."""
        terms = super().loss(output)
        return terms._replace(loss=terms.loss + self._consistency * output.disagreement.mean())


class FixedMultipliers(Checkpointed):
    """Betas that stay as they are: the paper's way.

    Parameters
    ----------
    betas : Tensor of shape (n_layers,)
        Multipliers, z_1 first.
    """

    current_targets = None

    def __init__(self, betas):
        self.betas = betas
        self.targets = torch.zeros_like(betas)

    @property
    def is_ramping(self):
        """Whether targets are still coming down: there are none."""
        return False

    def loss(self, output):
        """Weigh distortion and rates of an `HVAEOutput`; returns `LossTerms`."""
        return objective(output, self.betas)

    def observe(self, output):
        """Leave the betas as they are, whatever the rates."""
