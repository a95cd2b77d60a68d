"""Errors about a column of X, which every likelihood raises and names in the same way."""

from contextlib import contextmanager


class ColumnError(ValueError):
    """A column of X has values that its likelihood cannot produce.

    Users of estimators get a plain ValueError, see `told_by_name`.

    Parameters
    ----------
    problem : str
        What is wrong, and what to do.
    column : int or str
        Number of the column in the data that the likelihood saw, or its name.
    """

    def __init__(self, problem, column):
        super().__init__(problem, column)
        self.problem = problem
        self.column = column

    def __str__(self):
        return f"column {self.column!r} of X: {self.problem}"


@contextmanager
def naming(columns):
    """Let the errors of a likelihood name columns as their reader knows them.

    Parameters
    ----------
    columns : sequence of int or str, or None
        Number or name of each column that the likelihood sees; None leaves its own numbers.
    """
    try:
        yield
    except ColumnError as error:
        if columns is None:
            raise
        raise ColumnError(error.problem, columns[error.column]) from None


@contextmanager
def told_by_name(names):
    """Turn the errors of a likelihood into plain ValueErrors, with the names (or None) of X."""
    try:
        with naming(names):
            yield
    except ColumnError as error:
        raise ValueError(str(error)) from None


def refuse(x, wrong, problem):
    """Raise ColumnError about the first cell of raw data that is wrong, if there is one.

    Parameters
    ----------
    x : Tensor of shape (b, n_features)
        Raw data.
    wrong : Tensor of shape (b, n_features), bool
        Which cells are.
    problem : callable
        Maps the cell's value and the number of its column to what to say.
    """
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ColumnError(problem(x[row, column].item(), column), column)
