"""What one call of ``partial_fit`` leaves for the next."""

from typing import NamedTuple

from sk_hvae._fit.assemble import build_net
from sk_hvae._fit.control import Goal
from sk_hvae._fit.history import Epochs
from sk_hvae._fit.loop import HVAENet
from sk_hvae._fit.off_target import describe_drift
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae._fit.single_rate import SingleRate

# New targets may take so many steps, before which a warning would come too soon.
_STEPS_TO_SETTLE = 1000


class Session(NamedTuple):
    """A net that goes on training as long as the parameters stay the same.

    Attributes
    ----------
    goal, settings
        What the parameters said when it began.
    net : HVAENet
        With optimiser and control.
    past : Epochs
        What the model had behind it then.
    has_warned : bool
        Whether it was said that the rates do not come to their targets.
    """

    goal: Goal
    settings: TrainingSettings
    net: HVAENet
    past: Epochs
    has_warned: bool = False

    @classmethod
    def begin(cls, plan, fitted):
        """Begin by the plan of a call, with a new model or a fitted one."""
        module, control = SingleRate(fitted).start(plan)
        net = build_net(
            module, control, plan.settings, plan.generator(), accelerator=plan.accelerator
        )
        return cls(plan.goal, plan.settings, net, Epochs() if fitted is None else fitted.epochs)

    def suits(self, plan):
        """Tell whether the parameters are what they were."""
        return (plan.goal, plan.settings) == (self.goal, self.settings)

    def describe_drift(self):
        """Say which rates do not come to their targets, given some steps; empty if all do."""
        n_steps = self.net.n_steps_done_
        if self.goal.betas or n_steps < _STEPS_TO_SETTLE:
            return ""
        rows = Epochs.of(self.net.history).history["train_rates"]
        last_quarter = rows[3 * len(rows) // 4 :].mean(0)
        return describe_drift(self.goal.layer_rates, last_quarter, n_steps)
