"""What a fit has to do."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sk_hvae._data.rows import Rows
from sk_hvae._fit.checkpoint import Checkpoint
from sk_hvae._fit.control import Goal
from sk_hvae._fit.history import Epochs
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.likelihoods import DataSummary, Likelihood


class Plan(NamedTuple):
    """What a call of ``fit`` or ``partial_fit`` has to do, resolved.

    Attributes
    ----------
    goal, architecture, likelihood, device, rows, seed
        As the parameters and the data say.
    data_dtype : str
        Name of the dtype of what comes out on the scale of the data.
    feature_names : sequence of str or None
        Names of the columns of X, for errors and warnings about them.
    summary : DataSummary
        Of the rows; for a fitted model, what it is to know of the data from now on.
    known : DataSummary or None
        What a fitted model knows so far.
    accelerator : accelerate.Accelerator or None
        Joins this process to others.
    checkpoint : Checkpoint or None
        Where to keep the state of a fit.
    state_shares : Tensor of shape (n, n_states) or None
        States that the rows of a clusterer should go to.
    n_different : int
        How many of the rows of a clusterer are no copies of others.
    past : Epochs
        What the model has behind it and its attributes go on counting.
    """

    goal: Goal
    architecture: Architecture
    likelihood: Likelihood
    device: torch.device
    rows: Rows
    seed: int
    data_dtype: str
    summary: DataSummary
    known: DataSummary | None = None
    feature_names: Sequence[str] | None = None
    accelerator: Any = None
    checkpoint: Checkpoint | None = None
    state_shares: torch.Tensor | None = None
    n_different: int = 0
    past: Epochs = Epochs()

    @property
    def n_varying(self):
        """Number of columns that are not constant."""
        return int((self.summary.std > 0).sum())

    def generator(self):
        """Make the generator of shuffling and noise, on the device."""
        return torch.Generator(self.device).manual_seed(self.seed)
