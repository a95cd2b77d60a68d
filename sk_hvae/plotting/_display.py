"""The base of all displays: arrays that were computed once and can be drawn any number of times."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Display(ABC):
    """Draws arrays that were computed before; subclasses say how."""

    ax_: Any
    figure_: "Figure"

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; it is divided if there are several panels. None makes a figure.

        Returns
        -------
        Display
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``ax`` is given for a map of more than two layers, which makes its own figure.
        """
        self.ax_ = self._draw(ax)
        self.figure_ = np.ravel(self.ax_)[0].figure
        return self

    @abstractmethod
    def _draw(self, ax):
        """Draw on the given Axes, or on those of a new figure for None; return the Axes used."""
