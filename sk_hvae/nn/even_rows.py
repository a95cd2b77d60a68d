"""How many rows a matrix product takes for each to be what it is in any other company."""

import torch

# Matrix products round a row's result in the same way in any batch of a multiple of this many rows.
EVEN_ROWS = 32


def even_rows(rows):
    """Repeat the last row of a tensor up to a multiple of 32 rows.

    Matrix products round in one way for these, and in others for what is left over: a row's
    result would depend on how many rows come with it, in the last digits.
    """
    n_more = -len(rows) % EVEN_ROWS
    return torch.cat((rows, rows[-1:].expand(n_more, *rows.shape[1:]))) if n_more else rows
