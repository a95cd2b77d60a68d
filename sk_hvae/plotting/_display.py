"""What a display is: arrays that can be drawn, on any Axes and as often as wanted."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Display(ABC):
    """Draw what was computed before; subclasses say how."""

    ax_: Any
    figure_: "Figure"

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw, or what to divide into panels; None makes a figure.

        Returns
        -------
        Display
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``ax`` is given for a picture that has to make its own figure, a map of more
            than two layers.
        """
        self.ax_ = self._draw(ax)
        self.figure_ = np.ravel(self.ax_)[0].figure
        return self

    @abstractmethod
    def _draw(self, ax):
        """Draw on the given Axes, or a new figure's for None; returns the Axes with content."""
