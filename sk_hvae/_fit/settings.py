"""How to train: what the user chose, resolved."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch


class AutoEpochs(NamedTuple):
    """How many passes over the data ``max_epochs="auto"`` stands for.

    Attributes
    ----------
    n_steps : int
        As many passes as make so many optimiser steps,
    most_epochs : int
        but at most so many, after which small data are learnt by heart,
    fewest_steps : int
        unless these make fewer steps than that, which are then made.
    """

    n_steps: int
    most_epochs: int
    fewest_steps: int

    def resolve(self, max_epochs, steps_per_epoch):
        """Return the number of passes for ``max_epochs``, an int or "auto"."""
        if max_epochs != "auto":
            return int(max_epochs)
        n_steps = min(self.n_steps, max(self.fewest_steps, self.most_epochs * steps_per_epoch))
        return math.ceil(n_steps / steps_per_epoch)


@dataclass(frozen=True)
class TrainingSettings:
    """What the user chose about training, resolved.

    Attributes
    ----------
    max_epochs, batch_size : int
        As in the estimators.
    n_steps : int or None
        Number of optimiser steps to come; None keeps the learning rate up, for a caller that
        decides from pass to pass.
    lr : float
        Peak learning rate.
    weight_decay : float
        Pull of the networks' weights, but not of the linear paths, towards zero.
    device : torch.device
        Where module and rows are.
    autocast : torch.dtype or None
        Lower precision for matrix products; None for none.
    patience : int
        Epochs without improvement before training stops early, if there are validation rows.
    callbacks : list
        skorch callbacks of the user.
    verbose : int
        1 shows a progress line or bar.
    """

    max_epochs: int
    batch_size: int
    n_steps: int | None
    lr: float
    weight_decay: float
    device: torch.device
    autocast: torch.dtype | None = None
    patience: int = 10
    callbacks: list = field(default_factory=list)
    verbose: int = 0
