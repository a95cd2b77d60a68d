"""Early stopping: the rows that are held out, and how long to wait for them to be told better.

The rule itself is a skorch callback, in `callbacks`.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch

from sk_hvae._data.selected import SelectedRows
from sk_hvae._fit.plan import stream


class EarlyStopping(NamedTuple):
    """When to stop before the end.

    Attributes
    ----------
    share : float
        Share of the rows to hold out.
    patience : int
        Epochs without improvement on them before training ends.
    """

    share: float
    patience: int

    def split(self, rows, seed):
        """Hold rows out; returns those to train on, and the others."""
        n_held_out = math.ceil(self.share * len(rows))
        if len(rows) - n_held_out < 2:
            raise ValueError(
                f"early_stopping=True holds out {n_held_out} of {len(rows)} rows, which leaves "
                "fewer than 2 to train on; lower validation_fraction or pass more rows."
            )
        order = torch.randperm(len(rows), generator=stream(seed, "split")).to(rows.device)
        held_out, rest = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        return SelectedRows(rows, rest), SelectedRows(rows, held_out)

    def within(self, settings):
        """Return training settings that know how long to wait."""
        return replace(settings, patience=self.patience)
