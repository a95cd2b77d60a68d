"""Warnings are muted where they are said elsewhere, and only those."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from sk_hvae.exceptions import OutlierWarning, RateTargetWarning, muted


def test_muted_categories_and_those_below_them():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with muted(ConvergenceWarning, OutlierWarning):
            warnings.warn("below ConvergenceWarning", RateTargetWarning, stacklevel=1)
            warnings.warn("named", OutlierWarning, stacklevel=1)
        warnings.warn("afterwards", OutlierWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["afterwards"]


def test_others_are_heard_within_and_all_of_them_after():
    with muted(RateTargetWarning), pytest.warns(OutlierWarning, match="within"):
        warnings.warn("within", OutlierWarning, stacklevel=1)
    with pytest.warns(RateTargetWarning, match="after"):
        warnings.warn("after", RateTargetWarning, stacklevel=1)
