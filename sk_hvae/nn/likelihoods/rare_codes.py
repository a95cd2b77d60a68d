"""The rare categories of columns: one group for each column, told apart by their frequencies."""

import torch
from torch import Tensor, nn

from sk_hvae.nn.likelihoods.codes import rank_in_column
from sk_hvae.nn.likelihoods.known_codes import KnownCodes
from sk_hvae.nn.noise import uniform

# With fewer rows whose category no other row has, chance tells no identifier from categories.
_FEWEST_ONCE = 10


class RareCodes(nn.Module):
    """Categories that share an output; each has its share of the count of its group.

    Parameters
    ----------
    table : Tensor of shape (n, 3), int64
        The column, the code and the count of each, sorted.
    """

    columns: Tensor
    code: Tensor
    start: Tensor
    end: Tensor
    total: Tensor
    log_shares: Tensor

    def __init__(self, table):
        super().__init__()
        column, code, count = table.T
        columns, group = column.unique(return_inverse=True)
        total = torch.zeros_like(columns).index_add(0, group, count)
        self.known = KnownCodes(group, code)
        buffers = {
            "columns": columns,
            "code": code.clone(),
            "start": total.cumsum(0) - total,
            "end": count.cumsum(0),
            "total": total,
            # The last stands for codes that are not rare.
            "log_shares": torch.cat(((count / total[group]).log(), torch.zeros(1))),
        }
        for name, tensor in buffers.items():
            # These follow from the summary of the data, which files hold.
            self.register_buffer(name, tensor, persistent=False)

    def log_share(self, whole):
        """Return ln of the share of each rare code, 0 for others: (b, n_features), from int64."""
        place = self.known.find(whole[:, self.columns])
        shares = torch.zeros(whole.shape, device=whole.device)
        return shares.index_copy(1, self.columns, self.log_shares[place])

    def draw(self, noise):
        """Draw a code of each group, given standard normal noise (b, n_groups)."""
        passed = (uniform(noise) * self.total).long().minimum(self.total - 1)
        return self.code[torch.searchsorted(self.end, self.start + passed, right=True)]


def are_rare(table, max_categories):
    """Tell which lines of a table of columns, codes and counts are of rare categories.

    Parameters
    ----------
    table : Tensor of shape (n, 3), int64
        Sorted. Categories whose count is not known, and therefore 0, are not rare.
    max_categories : int or None
        In columns of more, one less have an output of their own, of those that occur more than
        once. In columns of less, those that occur once are rare if most rows have such a
        category, see `name_rows`. None for no limit, and no rare ones.

    Returns
    -------
    BoolTensor of shape (n,)
    """
    column, count = table[:, 0], table[:, 2]
    if max_categories is None:
        return torch.zeros_like(column, dtype=torch.bool)
    n_codes = column.bincount()
    is_over, is_name = (n_codes > max_categories)[column], name_rows(table, len(n_codes))[column]
    is_beyond = is_over & (rank_by_count(table) >= max_categories - 1) & (count > 0)
    return is_beyond | ((is_over | is_name) & (count == 1))


def name_rows(table, n_columns):
    """Tell which columns name the rows: most rows have a category that no other row has.

    Nothing can be learned of such a category.

    Parameters
    ----------
    table : Tensor of shape (n, 3), int64
        Columns, codes and counts.
    n_columns : int
        Number of all columns.

    Returns
    -------
    BoolTensor of shape (n_columns,)
    """
    column, count = table[:, 0], table[:, 2]
    n_once = column[count == 1].bincount(minlength=n_columns)
    n_rows = count.new_zeros(n_columns).index_add(0, column, count)
    return (n_once >= _FEWEST_ONCE) & (2 * n_once > n_rows)


def rank_by_count(table):
    """Rank the lines of each column from 0, the most frequent first; ties keep their order."""
    order = table[:, 2].argsort(descending=True, stable=True)
    order = order[table[order, 0].argsort(stable=True)]
    return torch.empty_like(order).index_copy(0, order, rank_in_column(table[:, 0]))
