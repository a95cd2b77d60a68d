"""What the encoder reads of the training rows, computed once and not in every pass."""

import torch

# Kept up to so many numbers, 16 MB of float32. Larger data are read, and links are computed, batch
# by batch; the networks, which are then larger too, take most of the time anyway.
_KEPT_ELEMENTS = 2**22


@torch.no_grad()
def kept_inputs(module, rows):
    """Return what the encoder reads of all rows, if they are few, fixed and at hand.

    To fill in missing cells, and to look up scales and categories, takes an eighth of the time of
    a pass over a table.

    Parameters
    ----------
    module : nn.Module
        With a method ``inputs``, and all that it knows of the data.
    rows : Rows
        The training data.

    Returns
    -------
    dict of str to Tensor
        ``{"inputs": Tensor of shape (n_rows, n_inputs)}``, or nothing.
    """
    width = module.inputs(rows.every(len(rows))).shape[1]
    if not rows.are_fixed or len(rows) * width > _KEPT_ELEMENTS:
        return {}
    return {"inputs": torch.cat([module.inputs(chunk) for chunk in rows.chunks()])}
