"""The user's X, kept beyond a fit, and what tells whether it is still as it was."""

from typing import Any, NamedTuple

from sk_hvae._input.checks import check_rows


class KeptRows(NamedTuple):
    """A reference to X, which is not copied, and a hash of all of it."""

    X: Any
    fingerprint: str

    @classmethod
    def of(cls, estimator, X):
        """Keep the X of a fitted estimator; None for a Dataset, whose items may be drawn anew."""
        fingerprint = _fingerprint(estimator, X)
        return None if fingerprint is None else cls(X, fingerprint)

    def unchanged(self, estimator):
        """Return X, or raise ValueError if it has changed."""
        try:
            is_unchanged = _fingerprint(estimator, self.X) == self.fingerprint
        except (TypeError, ValueError):  # It is no longer what fit takes.
            is_unchanged = False
        if not is_unchanged:
            raise ValueError(
                "X has changed since fit, perhaps in the order of its rows: the estimator keeps a "
                "reference, not a copy. Pass X, and y in the same order if y is needed."
            )
        return self.X


def _fingerprint(estimator, X):
    return check_rows(estimator, X, reset=False, allow_nan=True).fingerprint()
