"""Find the multipliers: measured rates and targets in, betas out."""

from typing import NamedTuple

import torch

from sk_hvae._fit.checkpoint import Checkpointed
from sk_hvae._fit.proportional_integral import MAX_LOG_BETA, ProportionalIntegral
from sk_hvae.nn.objective import objective
from sk_hvae.nn.units import LN2

# A tenth of a bit is added to rates and targets before they are compared. It keeps the error of a
# layer at 0 bits finite; small targets are held less tightly for it.
OFFSET = 0.1 * LN2
# Rates are averaged over some 3 batches. Over more, betas lag behind the rates, and fits of some
# 100 steps end off their targets; over fewer, betas are as noisy as the rates of batches.
_SMOOTHING = 0.6
# The push answers at once and holds the split between layers. The sum answers slowly: larger gains
# of it reach targets sooner, and let layers that compete go round in cycles.
# examples/benchmarks/rate_control.py checks both on one to three layers.
_INTEGRAL_GAIN, _PROPORTIONAL_GAIN = 0.17, 4.0
# A ramp begins at twice the targets if there are 2,000 steps to come down from there, and nowhere
# above 2.5 bits a unit, beyond which codes are hard to train.
_RAMP_STEPS, _RAMP_BITS_PER_UNIT = 2000, 2.5


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


class RateController(ProportionalIntegral):
    """Hold every layer at its target rate by moving its multiplier.

    Layers compete for the same information: once their betas are equal, the distortion depends
    on the total rate alone, and the split drifts. The integral part is dual ascent on the
    multipliers; the proportional part acts as the quadratic term of an augmented Lagrangian and
    holds the split in place.

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
    consistency : float, default=0.0
        Multiplier of the disagreement between states and their shares, which is part of the loss
        of a `GuidedHierarchy`; 0 for models without.

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

    CHECKPOINTED = (*ProportionalIntegral.CHECKPOINTED, "_smoothed", "betas")

    def __init__(self, targets, betas, n_steps, ramp=(), gain=1.0, consistency=0.0):
        gains = _INTEGRAL_GAIN * gain**2, _PROPORTIONAL_GAIN * gain
        super().__init__(betas, n_steps, max(ramp, default=1.0) > 1, gains, -MAX_LOG_BETA)
        self.targets = targets
        self._consistency = consistency
        self._ramp = targets.new_tensor(ramp) if ramp else torch.ones_like(targets)
        self._smoothed = targets * self._ramp
        self.betas = betas

    @property
    def current_targets(self):
        """Targets at this step, nats, (n_layers,)."""
        if not self.is_ramping:
            return self.targets
        return self.targets * self._ramp**self._ramp_ahead

    def loss(self, output):
        """Weigh the terms of an `HVAEOutput` or a `GuidedOutput`; returns `LossTerms`.

        The loss is divided by 1 + the mean beta of a bit. The optimiser does not see how large a
        loss is, but it would see it grow: when betas rise, to bring rates down that have jumped,
        gradients rise with them, are taken for broken, and shorten all steps for a long time.
        """
        terms = objective(output, self.betas)
        loss = terms.loss
        if self._consistency:
            loss = loss + self._consistency * output.disagreement.mean()
        rates = self._smoothed + OFFSET
        price = (self.betas * rates).sum() / rates.sum()
        return terms._replace(loss=loss / (1 + price))

    def observe(self, output):
        """Move the betas after a batch.

        Parameters
        ----------
        output : HVAEOutput
            Of the batch; mean rates that are not finite are ignored.
        """
        if self._advance(output):
            self.betas = (self._log_betas + self._push).exp()

    def _error(self, output):
        rates = output.rates.detach().mean(0)
        rates = torch.where(rates.isfinite(), rates, self._smoothed)
        self._smoothed = torch.lerp(rates, self._smoothed, _SMOOTHING)
        return ((self._smoothed + OFFSET) / (self.current_targets + OFFSET)).log()


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
