"""What the user chose about training, and the learning rate over the steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


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
    on_epoch : callable or None
        Called after each epoch with the net; training stops if it returns True.
    verbose : int
        1 shows a progress line.
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
    on_epoch: Callable[[Any], bool] | None = None
    verbose: int = 0
