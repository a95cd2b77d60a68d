"""Categorical columns, rare categories included."""

import numpy as np

from sk_hvae._codec.cells import CellCoder, Step
from sk_hvae._codec.distributions import Shares
from sk_hvae._codec.elementary import exp, log, log_softmax
from sk_hvae._codec.networks import as_numbers

# Of the link: the share of the probability that is spread over all categories.
_SMOOTHING = 0.1
# Columns are coded together if none has more than that many times the categories of another.
_ALIKE = 4
# Logit of a category that a column does not have.
_NEVER = -1e4


class NameCells(CellCoder):
    """Codes columns of codes: the number of a cell is the place of its code among those known.

    Parameters
    ----------
    likelihood : Categorical
        Of the model.
    """

    def __init__(self, likelihood):
        self._column = likelihood.column.cpu().numpy()
        self._bias = as_numbers(likelihood.bias)
        self.n_features = len(likelihood.n_categories)
        self.n_linked = self.n_outputs = len(self._column)
        codes, outputs, shares = _categories(likelihood)
        self._codes = codes
        sizes = np.array([len(part) for part in codes])
        # In powers of _ALIKE, so that a table for several columns is not mostly empty.
        ranks = np.ceil(np.log2(np.maximum(sizes, 2)) / np.log2(_ALIKE)).astype(np.int64)
        self.steps, self._tables = [], {}
        for rank in np.unique(ranks).tolist():
            step = Step(np.flatnonzero(ranks == rank))
            self.steps.append(step)
            self._tables[int(step.columns[0])] = _table(step.columns, outputs, shares)
        self.n_numbers = 3 * sum(table[0].size for table in self._tables.values())
        self._outputs = outputs
        n_outputs = np.bincount(self._column, minlength=self.n_features)
        self._size = log(1 + n_outputs * ((1 - _SMOOTHING) / _SMOOTHING))
        self._even = 1 / n_outputs

    def link(self, x):
        linked = np.zeros((len(x), self.n_linked))
        numbers = self.nearest(np.nan_to_num(x))
        rows = np.arange(len(x))
        for column, outputs in enumerate(self._outputs):
            linked[rows, outputs[numbers[:, column]]] = 1.0
        linked = self._size[self._column] * (linked - self._even[self._column])
        return np.where(np.isnan(x)[:, self._column], np.nan, linked)

    def nearest(self, x):
        numbers = np.empty(x.shape, np.int64)
        for column, (codes, order) in enumerate(self._sorted()):
            place = np.searchsorted(codes, np.rint(x[:, column]))
            numbers[:, column] = order[np.minimum(place, len(codes) - 1)]
        return numbers

    def values(self, numbers):
        columns = [codes[numbers[:, i]] for i, codes in enumerate(self._codes)]
        return np.stack(columns, 1).astype(np.float64)

    def distribution(self, step, parameters, numbers, n_stacks):  # noqa: ARG002 all at once
        outputs, log_shares = self._tables[int(step.columns[0])]
        logits = (parameters + self._bias)[:, outputs] + log_shares
        below = np.add.accumulate(exp(log_softmax(logits, 2)), 2)
        below = np.concatenate((np.zeros_like(below[:, :, :1]), below[:, :, :-1]), 2)
        return Shares(below.reshape(n_stacks, -1, below.shape[2]))

    def _sorted(self):
        """Yield the codes of each column in order, and their places among its codes."""
        for codes in self._codes:
            order = codes.argsort()
            yield codes[order], order


def _categories(likelihood):
    """Return codes, outputs and ln of the shares in their output of all categories, by column."""
    column = likelihood.column.cpu().numpy()
    code, is_group = likelihood.code.cpu().numpy(), likelihood.is_group.cpu().numpy()
    own = [np.flatnonzero((column == c) & ~is_group) for c in range(len(likelihood.n_categories))]
    codes, outputs = [code[places] for places in own], own
    shares = [np.zeros(len(places)) for places in own]
    rare = likelihood.rare
    if rare is not None:
        ends = rare.end.cpu().numpy()
        counts, rare_codes = np.diff(ends, prepend=0), rare.code.cpu().numpy()
        totals = rare.total.cpu().numpy()
        group_of = np.searchsorted(totals.cumsum(), ends)
        for group, c in enumerate(rare.columns.cpu().tolist()):
            members = np.flatnonzero(group_of == group)
            place = np.flatnonzero((column == c) & is_group)
            codes[c] = np.append(codes[c], rare_codes[members])
            outputs[c] = np.append(outputs[c], np.repeat(place, len(members)))
            shares[c] = np.append(shares[c], log(counts[members] / totals[group]))
    return codes, outputs, shares


def _table(columns, outputs, shares):
    """Put the categories of some columns into a table (n_columns, most), filled up with none."""
    most = max(len(outputs[c]) for c in columns)
    table = np.zeros((len(columns), most), np.int64)
    log_shares = np.full((len(columns), most), _NEVER)
    for line, c in enumerate(columns):
        table[line, : len(outputs[c])] = outputs[c]
        log_shares[line, : len(shares[c])] = shares[c]
    return table, log_shares
