"""The user's X, kept beyond a fit, and what tells whether it is still as it was."""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sk_hvae._input.checks import check_rows


class KeptRows(NamedTuple):
    """A reference to X, which is not copied, and a hash of all of it."""

    X: Any
    fingerprint: str


# Kept beside what was fitted and not in it, so that copies, pickles and files hold no rows.
_KEPT: WeakKeyDictionary[Any, KeptRows] = WeakKeyDictionary()


def keep_rows(fitted, estimator, X):
    """Keep the X of a fit for as long as what was fitted lives.

    Parameters
    ----------
    fitted : object
        What the fit came to.
    estimator : estimator
        Fitted; knows what its columns are.
    X : object
        As passed to ``fit``. A Dataset is not kept: its items may be drawn anew each time.
    """
    fingerprint = _fingerprint(estimator, X)
    if fingerprint is not None:
        _KEPT[fitted] = KeptRows(X, fingerprint)


def unchanged_rows(fitted, estimator):
    """Return the X of a fit.

    Raises
    ------
    ValueError
        If it is not there, or has changed since.
    """
    kept = _KEPT.get(fitted)
    if kept is None:
        raise ValueError(
            "the rows of fit are not there: copies, pickles and files do not hold them, and a "
            "torch Dataset, whose items may be drawn anew, is not kept. Pass X."
        )
    try:
        is_unchanged = _fingerprint(estimator, kept.X) == kept.fingerprint
    except (TypeError, ValueError):  # It is no longer what fit takes.
        is_unchanged = False
    if not is_unchanged:
        raise ValueError(
            "X has changed since fit, perhaps in the order of its rows: the estimator keeps a "
            "reference, not a copy. Pass X, and y in the same order if y is needed."
        )
    return kept.X


def _fingerprint(estimator, X):
    return check_rows(estimator, X, reset=False, allow_nan=True).fingerprint()
