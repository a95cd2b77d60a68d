"""What a fit has to do."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from sk_hvae._data.rows import Rows
from sk_hvae._fit.checkpoint import Checkpoint
from sk_hvae._fit.control import Goal
from sk_hvae._fit.history import Epochs
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.likelihoods import DataSummary, Likelihood


class Plan(NamedTuple):
    """What a call of ``fit`` or ``partial_fit`` has to do, resolved.

    Attributes
    ----------
    goal, architecture, likelihood
        As the parameters and the data say.
    settings : TrainingSettings
        How to train.
    rows : Rows
        All rows, on the device.
    training : Rows
        Those of them to train on.
    held_out : Rows or None
        The others, which tell when to stop.
    seed : int
        Of everything random.
    data_dtype : str
        Name of the dtype of what comes out on the scale of the data.
    feature_names : sequence of str or None
        Names of the columns of X, for errors and warnings about them.
    summary : DataSummary
        Of the rows to train on; for a fitted model, what it is to know of the data from now on.
        None until the rows have been looked at.
    known : DataSummary or None
        What a fitted model knows so far.
    has_wild_cells : bool
        Whether a few cells make up nearly all of a column's spread.
    is_off_scale : bool
        Whether the rows are far off the scales of a fitted model.
    past : Epochs
        What the model has behind it and its attributes go on counting.
    accelerator : accelerate.Accelerator or None
        Joins this process to others.
    checkpoint : Checkpoint or None
        Where to keep the state of a fit.
    """

    goal: Goal
    architecture: Architecture
    likelihood: Likelihood
    settings: TrainingSettings
    rows: Rows
    training: Rows
    held_out: Rows | None
    seed: int
    data_dtype: str
    summary: DataSummary = None  # type: ignore[assignment]
    known: DataSummary | None = None
    has_wild_cells: bool = False
    is_off_scale: bool = False
    feature_names: Sequence[str] | None = None
    past: Epochs = Epochs()
    accelerator: Any = None
    checkpoint: Checkpoint | None = None

    @property
    def device(self):
        """Where the model is trained."""
        return self.settings.device

    @property
    def shows_progress(self):
        """Whether this process is to show how far it has come; others have joined it, if any."""
        is_first = self.accelerator is None or self.accelerator.is_main_process
        return bool(self.settings.verbose) and is_first

    @property
    def n_varying(self):
        """Number of columns that are not constant."""
        return int((self.summary.std > 0).sum())

    def begin(self):
        """Keep the seed on disk if a checkpoint is kept, which also tries whether that works."""
        if self.checkpoint is not None:
            self.checkpoint.begin(self.seed)

    def end(self, outcome):
        """Delete what was kept on disk, unless the fit is to be gone on with."""
        if self.checkpoint is not None and not outcome.interrupted:
            self.checkpoint.remove()

    def generator(self):
        """Make the generator of shuffling and noise, on the device."""
        return torch.Generator(self.device).manual_seed(self.seed)

    def start_generator(self):
        """Make the generator of what a start draws, on the CPU."""
        return stream(self.seed, "start")


def stream(seed, purpose):
    """Make a generator on the CPU whose numbers have nothing to do with those for other purposes.

    Parameters
    ----------
    seed : int
        Of the fit. Shuffling and noise in training have it to themselves.
    purpose : {"split", "start", "plane", "impute", "copula"}
        Which rows are held out, which rows the start is computed on, at which rates a model of
        all rates is started, which cells are hidden to learn how to fill them in, or the noise of
        the training rows in a copula.

    Returns
    -------
    torch.Generator
    """
    word = int.from_bytes(purpose.encode(), "big")
    (own,) = np.random.SeedSequence([seed, word]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(own >> np.uint64(1)))
