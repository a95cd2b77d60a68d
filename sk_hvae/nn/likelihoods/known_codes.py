"""Where the cells of a table stand in a list of known codes."""

import torch
from torch import Tensor, nn


class KnownCodes(nn.Module):
    """The codes of some columns, to be looked up in time that hardly grows with their number.

    Parameters
    ----------
    column, code : Tensor of shape (n,), int64
        A number of a column, from 0, and one of its codes each; sorted by both.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.known_codes import KnownCodes
    >>> known = KnownCodes(torch.tensor([0, 0, 1]), torch.tensor([5, 40, 7]))
    >>> known.find(torch.tensor([[40, 7], [41, 5]]))
    tensor([[ 1,  2],
            [-1, -1]])
    """

    levels: Tensor
    keys: Tensor

    def __init__(self, column, code):
        super().__init__()
        levels, rank = code.unique(return_inverse=True)
        # These follow from the summary of the data, which files hold.
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("keys", column * len(levels) + rank, persistent=False)

    def find(self, whole):
        """Return the places of cells of whole numbers (b, n_columns) in the list; -1 if in none."""
        levels, keys = self.levels.to(whole.device), self.keys.to(whole.device)
        rank = torch.searchsorted(levels, whole).clamp(max=len(levels) - 1)
        wanted = torch.arange(whole.shape[1], device=whole.device) * len(levels) + rank
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        is_known = (levels[rank] == whole) & (keys[place] == wanted)
        return place.masked_fill(~is_known, -1)

    def of_column(self, column):
        """Return the codes of a column, in order."""
        of_column, rank = self.keys // len(self.levels), self.keys % len(self.levels)
        return self.levels[rank[of_column == column]]
