"""Warnings and errors of the library."""

import sys
import warnings
from contextlib import contextmanager

from sklearn.exceptions import ConvergenceWarning


class RateTargetWarning(ConvergenceWarning):
    """A layer did not reach its target rate."""


class ClusterWarning(UserWarning):
    """Fewer clusters than asked for survived, or the starts of a clusterer disagree."""


class OutlierWarning(UserWarning):
    """A few cells are so far out that the rest of their columns hardly counts."""


class ScaleWarning(UserWarning):
    """New rows lie far off the scales by which a fitted model standardises."""


class CategoryWarning(UserWarning):
    """A categorical column has about as many different codes as there are rows."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped from the keyboard; the estimator is fitted so far."""


class ImageShapeWarning(UserWarning):
    """The shape of images looks like (height, width, channels), not (channels, height, width)."""


class DeviceWarning(UserWarning):
    """The device an estimator was fitted on is not available here."""


class TrainingDivergedError(ValueError):
    """Training turned non-finite; the estimator holds the last finite weights."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or is not one that this fit can go on from."""


class TrainingMemoryError(MemoryError):
    """Memory ran out; the estimator holds the weights so far, if training had begun."""


class LostProcessError(RuntimeError):
    """One of the processes that train together is gone; the weights so far are kept."""


class UnsupportedFormatError(ValueError):
    """A file is not one of ours, is damaged, or needs another version of the library."""


def warn_caller(message, category):
    """Warn at the line of the user's code that led here, past ours and scikit-learn's.

    contextlib is in between where a method of ours is decorated with a context manager.
    """
    frame, level = sys._getframe(1), 2  # noqa: SLF001 (documented under this name)
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def muted(*categories):
    """Ignore warnings of some categories within a ``with`` block."""
    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("ignore", category)
        yield


def _is_library(module):
    return module.split(".")[0] in ("contextlib", "joblib", "sk_hvae", "sklearn")
