"""Rates that are off their targets: which, by how much, and what to try."""

from typing import Any, NamedTuple

import numpy as np

# What ``converged_`` promises: 5% or 0.1 bit, the bars of examples/benchmarks/rate_control.py.
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.05, 0.1
# Share of a target, and bits, that rates averaged over batches in training may be off; they are
# noisier than those of a finished model.
_FAR, _FAR_BITS = 0.2, 0.5
# A layer whose rate is as good as free and that is still below its target has no more to carry.
_EXHAUSTED_BETA = 1e-3
_TRAIN_LONGER = "train longer (max_epochs)"
_SEE_TO_WILD_CELLS = "see to the cells that an OutlierWarning has named"
_SEE_TO_SCALES = "bring the columns that a ScaleWarning has named to their scales of the first fit"
_OF_EXCESS = (
    "Bits above a target matter only where they are a limit, as for bounds, privacy or "
    "compression. Where a small table is learnt by heart, rates(X) of new rows are higher still: "
    "use early_stopping=True, narrower hidden_layer_sizes or more rows."
)


class Reached(NamedTuple):
    """What training has come to, z_1 first.

    Attributes
    ----------
    targets : sequence of float
        Bits; empty if the betas were fixed.
    rates : ndarray of shape (n_layers,)
        Bits.
    betas : ndarray of shape (n_layers,)
        Multipliers of the rates.
    """

    targets: Any
    rates: Any
    betas: Any

    @property
    def misses(self):
        """Whether each layer is off its target by over 5% and 0.1 bit, a list."""
        if not self.targets:
            return [False] * len(self.rates)
        targets = np.array(self.targets)
        tolerance = np.maximum(_RELATIVE_TOLERANCE * targets, _ABSOLUTE_TOLERANCE)
        return list(~(np.abs(self.rates - targets) <= tolerance))

    def describe(self, n_epochs, has_wild_cells, is_off_scale):
        """Say which layers missed their targets, by how much, and what to try.

        Parameters
        ----------
        n_epochs : int
            How long the training was.
        has_wild_cells : bool
            Whether a few cells make up nearly all of a column's spread.
        is_off_scale : bool
            Whether the rows are far off the scales of a fitted model.

        Returns
        -------
        str
        """
        layers, advice, excess = [], [], ""
        for number, miss in enumerate(self.misses, start=1):
            if not miss:
                continue
            target, rate = self.targets[number - 1], self.rates[number - 1]
            if rate > target:
                over = f"{rate - target:.2g} above its target of {target:g}"
                layers.append(f"z_{number} carries {rate:.3g} bits ({over})")
                advice.append(_TRAIN_LONGER)
                excess = f" {_OF_EXCESS}"
                continue
            collapsed = " (collapsed)" if rate < 0.1 * target else ""
            layers.append(f"z_{number} reached {rate:.3g} of its {target:g} bits{collapsed}")
            if self.betas[number - 1] < _EXHAUSTED_BETA:
                advice.append("ask for fewer bits than the data have to give")
            else:
                advice += [_TRAIN_LONGER, "ask for fewer bits", "give other layers less"]
        if has_wild_cells or is_off_scale:
            advice = [_SEE_TO_WILD_CELLS if has_wild_cells else _SEE_TO_SCALES]
            excess = ""
        return (
            f"{'; '.join(layers)} after {n_epochs} epochs. To reach the targets, "
            f"{', or '.join(dict.fromkeys(advice))}.{excess}"
        )


def describe_drift(targets, rates, n_steps):
    """Say which layers stay far off in calls of ``partial_fit``; an empty string if none does.

    Parameters
    ----------
    targets, rates : sequence of float
        Bits, z_1 first; rates are means over the last quarter of the steps.
    n_steps : int
        Number of optimiser steps so far.

    Returns
    -------
    str
    """
    far = [
        f"z_{number} carries {rate:.3g} of its {target:g} bits"
        for number, (rate, target) in enumerate(zip(rates, targets, strict=True), start=1)
        if abs(rate - target) > max(_FAR * target, _FAR_BITS)
    ]
    if not far:
        return ""
    return (
        f"{' and '.join(far)} in training, on average over the last quarter of {n_steps} steps "
        "of partial_fit. Let every batch hold rows of all kinds, go on, or ask for rates that "
        "the data have. This is said once; converged_ tells after each call whether its rows "
        "are on target."
    )
