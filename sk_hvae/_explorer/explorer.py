"""RateExplorer, and the door by which estimators reach the function that makes one."""

from dataclasses import dataclass, field
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import Any

from sk_hvae._explorer.page import as_frame


@dataclass(frozen=True, eq=False)
class RateExplorer:
    """A page on which to explore the rate plane, as ``MultiRateHVAETransformer.explore`` makes it.

    In a notebook, the object shows itself. ``to_html`` writes it to a file, which needs neither
    Python nor a network, so that you can send it to others. The file contains the rows that it
    shows: send it only to those who may see them.

    Parameters
    ----------
    html : str
        The page.
    rate_map : RateMap
        The numbers on it.

    Examples
    --------
    >>> from sk_hvae import RateExplorer
    >>> explorer = RateExplorer("<!doctype html><title>empty</title>", rate_map=None)
    >>> explorer.html[:15]
    '<!doctype html>'
    """

    html: str = field(repr=False)
    rate_map: Any

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the page to a file.

        Parameters
        ----------
        path : str or path-like
            The file, which any browser opens. A file that is there is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        Path(path).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        return as_frame(self.html)


@singledispatch
def explorer_of(estimator, X, y, **options) -> RateExplorer:
    """Make the explorer of a fitted estimator.

    What is on the page is measured by rate maps, which are on a higher floor than the estimators.
    That floor registers here what it does for which class, so that an estimator can have the
    method, and imports still go down.
    """
    raise NotImplementedError(type(estimator).__name__)
