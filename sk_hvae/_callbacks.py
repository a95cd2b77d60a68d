"""scikit-learn's callback protocol, where the installed scikit-learn has one (1.9 and later)."""

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in: without the protocol there is nothing to support."""

    def _with_callbacks(method):
        return method


Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """Let callbacks set on an estimator hear of its fits; the type of the method stays."""
    return _with_callbacks(method)


class FitReport:
    """Report a fit and its epochs to the callbacks set on an estimator.

    Parameters
    ----------
    estimator : estimator
        With `CallbackSupportMixin`.
    X : ndarray
        The training data.
    max_epochs : int
        Number of epochs to come.
    """

    def __init__(self, estimator, X, max_epochs):
        self._call = {"estimator": estimator, "X": X}
        self._context = None
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(max_subtasks=max_epochs)
            self._context.call_on_fit_task_begin(**self._call)

    def epoch(self, number):
        """Report that an epoch has ended; returns True if a callback asks to stop."""
        if self._context is None:
            return False
        task = self._context.subcontext(task_name=f"epoch {number}")
        task.call_on_fit_task_begin(**self._call)
        return bool(task.call_on_fit_task_end(**self._call))

    def end(self):
        """Report that the fit has ended."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._call, reconstruction_attributes={})
