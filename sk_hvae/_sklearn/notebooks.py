"""What notebooks show of an estimator, by scikit-learn's name for this."""

from abc import ABC, abstractmethod
from typing import final

from sklearn.utils import estimator_html_repr


class NotebookMixin(ABC):
    """Show more of an estimator than scikit-learn's diagram."""

    @abstractmethod
    def _html_below_diagram(self) -> str:
        """Return HTML; empty if there is nothing to add."""

    @final
    def _html_repr(self):
        return estimator_html_repr(self) + self._html_below_diagram()
