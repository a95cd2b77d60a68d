"""Columns that were constant in training: decoded exactly, and without any other effect."""

import torch
from torch import Tensor, nn


class ConstantColumns(nn.Module):
    """Which columns were constant, and at which values.

    The encoder reads the constant whatever a row holds there, and so learns nothing from it; the
    distortion leaves these cells out, as do the scales of a likelihood.

    Parameters
    ----------
    summary : DataSummary
        Of the training data.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import DataSummary
    >>> from sk_hvae.nn.constant_columns import ConstantColumns
    >>> x = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    >>> constants = ConstantColumns(DataSummary.of([x]))
    >>> constants.restore(torch.tensor([[1.5, 6.2]]))
    tensor([[1.5000, 7.0000]])
    >>> constants.leave_out(torch.tensor([[0.7, 0.3]]))
    tensor([[0.7000, 0.0000]])
    """

    varies: Tensor
    value: Tensor

    def __init__(self, summary):
        super().__init__()
        # They follow from the summary, which files hold: they are no weights.
        self.register_buffer("varies", summary.std > 0, persistent=False)
        self.register_buffer("value", summary.minimum.clone(), persistent=False)

    def update(self, summary):
        """Take over which columns are constant from another summary of the same columns."""
        self.varies.copy_(summary.std > 0)
        self.value.copy_(summary.minimum)

    def restore(self, x):
        """Put the constants into raw data (b, n_features); missing cells stay so."""
        x = _as_float(x)
        return torch.where(self.varies | x.isnan(), x, self.value.to(x.dtype))

    def put_into(self, decoded):
        """Put the constants into what was decoded or sampled, (b, n_features), in float64."""
        return torch.where(self.varies, decoded.to(self.value.dtype), self.value)

    def hide(self, x):
        """Mark the cells of constant columns as missing in raw data (b, n_features)."""
        return _as_float(x).masked_fill(~self.varies, torch.nan)

    def leave_out(self, cells):
        """Put 0 for what was computed of constant columns, (b, n_features)."""
        return cells.masked_fill(~self.varies, 0.0)


def _as_float(x):
    """Return raw data as float64 where they are, else as float32, which holds all other dtypes."""
    return x if x.dtype == torch.float64 else x.float()
