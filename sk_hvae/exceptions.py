"""Warnings and errors of the library."""

from sklearn.exceptions import ConvergenceWarning


class RateTargetWarning(ConvergenceWarning):
    """A layer did not reach its target rate."""


class ClusterWarning(UserWarning):
    """Fewer clusters than asked for survived, or the starts of a clusterer disagree."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped from the keyboard; the estimator is fitted so far."""


class DeviceWarning(UserWarning):
    """The device an estimator was fitted on is not available here."""


class TrainingDivergedError(ValueError):
    """Training turned non-finite; the estimator holds the last finite weights."""


class UnsupportedFormatError(ValueError):
    """A file is not one of ours, is damaged, or needs another version of the library."""
