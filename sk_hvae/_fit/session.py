"""What one call of ``partial_fit`` leaves for the next."""

from typing import TYPE_CHECKING, NamedTuple

from sk_hvae._fit.control import Goal
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.history import Epochs
from sk_hvae._fit.off_target import describe_drift
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae._fit.single_rate import SingleRate

if TYPE_CHECKING:
    from sk_hvae._fit.loop import HVAENet

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
    fitted : Fitted or None
        What it came to in the last call.
    past : Epochs
        What the model had behind it then.
    has_warned : bool
        Whether it was said that the rates do not come to their targets.
    """

    goal: Goal
    settings: TrainingSettings
    net: "HVAENet"
    fitted: Fitted | None
    past: Epochs
    has_warned: bool = False

    @classmethod
    def begin(cls, plan, fitted):
        """Begin by the plan of a call, with a new model or a fitted one."""
        # Imports skorch, see `fit`.
        from sk_hvae._fit.assemble import build_net

        module, control = SingleRate(fitted).start(plan)
        net = build_net(
            module, control, plan.settings, plan.generator(), accelerator=plan.accelerator
        )
        past = Epochs() if fitted is None else fitted.epochs
        return cls(plan.goal, plan.settings, net, fitted, past)

    def suits(self, plan, fitted):
        """Tell whether parameters and model are what they were after the last call."""
        is_same_model = fitted is not None and fitted is self.fitted
        return is_same_model and (plan.goal, plan.settings) == (self.goal, self.settings)

    def describe_drift(self):
        """Say which rates do not come to their targets, given some steps; empty if all do."""
        n_steps = self.net.n_steps_done_
        if self.goal.betas or n_steps < _STEPS_TO_SETTLE:
            return ""
        rows = Epochs.of(self.net.history).history["train_rates"]
        last_quarter = rows[3 * len(rows) // 4 :].mean(0)
        return describe_drift(self.goal.layer_rates, last_quarter, n_steps)
