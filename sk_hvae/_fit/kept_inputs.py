"""What the model reads of the training rows, computed once and not in every pass."""

import torch

from sk_hvae.nn.cells import Cells

# Kept up to so many numbers, 16 MB of float32. Larger data are read, and links are computed, batch
# by batch; the networks, which are then larger too, take most of the time anyway.
_KEPT_ELEMENTS = 2**22


@torch.no_grad()
def kept_inputs(module, rows):
    """Return what encoder and likelihood read of all rows, if they are few, fixed and at hand.

    To fill in missing cells, and to look up scales, bins and categories, takes a fifth of the time
    of a pass over a table.

    Parameters
    ----------
    module : nn.Module
        With methods ``inputs`` and ``cells``, and all that it knows of the data.
    rows : Rows
        The training data.

    Returns
    -------
    dict
        ``"inputs"``, a Tensor of shape (n_rows, n_inputs), and ``"cells"``, see `Cells`; nothing if
        the rows are many.
    """
    one = rows.every(len(rows))
    width = sum(part.shape[1] for part in (module.inputs(one), *module.cells(one).tensors()))
    if not rows.are_fixed or len(rows) * width > _KEPT_ELEMENTS:
        return {}
    pairs = [(module.inputs(chunk), module.cells(chunk)) for chunk in rows.chunks()]
    inputs, cells = zip(*pairs, strict=True)
    return {"inputs": torch.cat(inputs), "cells": Cells.joined(cells)}
