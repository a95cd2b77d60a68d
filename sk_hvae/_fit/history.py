"""What training recorded, epoch by epoch, as the estimators show it."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HISTORY: dict[str, tuple[str, ...]] = {
    "train_distortion": ("n_epochs",),
    "train_rates": ("n_epochs", "n_layers"),
    "valid_distortion": ("n_epochs",),
    "valid_rates": ("n_epochs", "n_layers"),
    "betas": ("n_epochs", "n_layers"),
    "target_rates": ("n_epochs", "n_layers"),
}
_INTERNAL = {"epoch", "train_loss", "valid_loss"}


class Epochs(NamedTuple):
    """The epochs of a model: ``n_iter_`` and ``history_`` of an estimator."""

    n_iter: int = 0
    history: dict[str, NDArray[Any]] = {}  # noqa: RUF012

    @classmethod
    def of(cls, rows):
        """Read the rows of skorch's history; those of passes that were cut short are left out."""
        epochs = [row for row in rows if "betas" in row]
        history = {
            name: np.array([row[name] for row in epochs if name in row])
            for name in _names_kept(epochs)
        }
        return cls(len(epochs), history)

    def then(self, later):
        """Append later epochs; what only some have recorded is NaN in the others."""
        if not (self.n_iter and later.n_iter):
            return self if self.n_iter else later
        history = {}
        for name in dict.fromkeys([*self.history, *later.history]):
            shape = {**self.history, **later.history}[name].shape[1:]
            parts = [_column(epochs, name, shape) for epochs in (self, later)]
            history[name] = np.concatenate(parts)
        return Epochs(self.n_iter + later.n_iter, history)


def _column(epochs, name, shape):
    """Return what some epochs have recorded under a name, NaN of a shape each if nothing."""
    if name in epochs.history:
        return epochs.history[name]
    return np.full((epochs.n_iter, *shape), np.nan)


def _names_kept(epochs):
    """Name what ``history_`` keeps: our own columns, and single numbers of the callbacks."""
    first = epochs[0] if epochs else {}
    numbers = (
        name
        for name in first.keys() - _INTERNAL
        if all(isinstance(row[name], Real) for row in epochs if name in row)
    )
    return [*(name for name in HISTORY if name in first), *sorted(set(numbers) - set(HISTORY))]
