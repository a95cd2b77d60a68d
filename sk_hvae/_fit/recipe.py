"""What tells one kind of fit from another."""

from abc import ABC, abstractmethod
from typing import ClassVar

from sk_hvae._fit.fitted import Fitted, Trained
from sk_hvae._fit.settings import AutoEpochs


class Recipe(ABC):
    """What an estimator gives to `fit`, which does all that the kinds of fits have in common.

    A recipe says how training begins, what it is told of each row, and what it comes to. It holds
    what the estimator's own parameters add to a `Plan`.
    """

    auto_epochs: ClassVar[AutoEpochs]
    """What ``max_epochs="auto"`` stands for."""

    @abstractmethod
    def beside(self, plan):
        """Return what the module is given of each row besides the raw data, a dict of tensors."""

    @abstractmethod
    def start(self, plan):
        """Return the module to train and the control of its betas."""

    @abstractmethod
    def conclude(self, net, plan) -> Trained:
        """Measure what a net has trained; returns a `Trained`.

        It is called at the end, and after epochs if a callback asks for the model so far.
        """

    @abstractmethod
    def at_goal(self, fitted, plan) -> Fitted:
        """Return the model at the rates of the goal, of a fitted value that `conclude` has made."""
