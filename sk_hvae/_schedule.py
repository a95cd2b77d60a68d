"""What the user chose about training, and the learning rate over the steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

_WARM_UP = 0.05
_DECAY_FROM = 0.5
_OPEN_ENDED_WARM_UP = 100


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
