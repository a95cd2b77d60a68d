"""scikit-learn's callback protocol, where the installed scikit-learn has one (1.9 and later)."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no protocol to support."""

    def _with_callbacks(method):
        return method


Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """Report the fits of an estimator to the callbacks set on it; the method keeps its type."""
    return _with_callbacks(method)


class FitReport:
    """Report a fit and its epochs to the callbacks set on an estimator.

    Parameters
    ----------
    estimator : estimator
        It derives from `CallbackSupportMixin`.
    X : array-like
        The training data.
    y : array-like or None
        What belongs to the rows. Nothing is trained on it; callbacks may score with it.
    max_epochs : int, default=0
        Number of epochs to come.
    """

    def __init__(self, estimator, X, y, max_epochs=0):
        self._call = {"estimator": estimator, "X": X, "y": y}
        self._context = None
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(max_subtasks=max_epochs)
            self._context.call_on_fit_task_begin(**self._call)

    def epoch(self, number, attributes):
        """Report that an epoch has ended, and return True if a callback asks to stop.

        ``attributes`` is a function without arguments. It returns the fitted attributes after this
        epoch by name, or None if there are none. It is called only if a callback asks for a fitted
        estimator.
        """
        if self._context is None:
            return False
        task = self._context.subcontext(task_name=f"epoch {number}")
        task.call_on_fit_task_begin(**self._call)
        stop = task.call_on_fit_task_end(**self._call, reconstruction_attributes=attributes)
        return bool(stop)

    def end(self):
        """Report that the fit has ended."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._call, reconstruction_attributes={})


@contextmanager
def subtasks(context, estimator, task_name, n_tasks):
    """Report tasks that an estimator hands to other estimators; yields a context for each.

    Without the protocol, the context of the estimator is None, and so are those of the tasks.
    """
    if context is None:
        yield [None] * n_tasks
        return
    whole = context.subcontext(
        task_name=f"{task_name}s", max_subtasks=n_tasks, sequential_subtasks=False
    )
    whole.call_on_fit_task_begin(estimator=estimator)
    yield [whole.subcontext(task_name=task_name, task_id=number) for number in range(n_tasks)]
    whole.call_on_fit_task_end(estimator=estimator)


@contextmanager
def subtask(context, estimator, other, X, y):
    """Report one of the `subtasks` of an estimator: to fit another one to X and y."""
    if context is None:
        yield
        return
    call = {"estimator": estimator, "X": X, "y": y}
    with context.propagate_callback_context(other):
        context.call_on_fit_task_begin(**call)
        try:
            yield
        finally:
            context.call_on_fit_task_end(**call)
