"""Warnings and errors of the library."""

import sys
import warnings
from contextlib import contextmanager

from sklearn.exceptions import ConvergenceWarning


class RateTargetWarning(ConvergenceWarning):
    """A layer did not reach its target rate."""


class ClusterWarning(UserWarning):
    """Fewer clusters were found than asked for, or the starts of a clusterer disagree."""


class OutlierWarning(UserWarning):
    """A few cells are so far from the rest of their columns that the rest hardly counts."""


class ScaleWarning(UserWarning):
    """New rows are far from those by whose scales a fitted model standardises."""


class CategoryWarning(UserWarning):
    """A categorical column has about as many categories as the table has rows."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped from the keyboard; the estimator has the weights so far."""


class ImageShapeWarning(UserWarning):
    """The shape of images looks like (height, width, channels), not (channels, height, width)."""


class DeviceWarning(UserWarning):
    """The device on which an estimator was fitted is not available here."""


class TrainingDivergedError(ValueError):
    """Training led to numbers that are not finite; the estimator has the last finite weights."""


class UnsuitableParameterError(ValueError, AttributeError):
    """A parameter that was set after ``fit`` does not suit the fitted model.

    It is an AttributeError too, as scikit-learn's NotFittedError is: attributes that depend on such
    a parameter do not exist until it is set anew, and ``hasattr`` says so.
    """


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or this fit cannot go on from the one that is there."""


class TrainingMemoryError(MemoryError):
    """Memory ran out; if training had begun, the estimator has the weights so far."""


class LostProcessError(RuntimeError):
    """One of the processes that train together is gone; the estimator has the weights so far."""


class UnsupportedFormatError(ValueError):
    """A file was not written by this library, is damaged, or needs another version of it."""


class CodecError(ValueError):
    """Compressed rows are damaged, or were compressed by another model; no rows are returned."""


def warn_caller(message, category):
    """Warn at the line of the user's code that led here.

    The lines of this library, of scikit-learn and of joblib in between are passed over; so are
    those of contextlib, where a method is decorated with a context manager, and of functools, where
    a function is chosen by the class of its argument.
    """
    frame, level = sys._getframe(1), 2  # noqa: SLF001 (documented under this name)
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def muted(*categories):
    """Leave out warnings of some categories, which are said elsewhere or do not matter here."""
    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("ignore", category)
        yield


def _is_library(module):
    return module.split(".")[0] in ("contextlib", "functools", "joblib", "sk_hvae", "sklearn")
