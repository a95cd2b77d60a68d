"""What a misspelt name was probably meant to be."""

import difflib
from collections.abc import Iterable, Mapping

_NO_SYNONYMS: Mapping[str, str] = {}
# As difflib: two letters of five may be wrong.
_SIMILARITY = 0.6


def did_you_mean(
    given: object, known: Iterable[str], synonyms: Mapping[str, str] = _NO_SYNONYMS
) -> str:
    """Suggest a name in place of one that does not exist.

    Parameters
    ----------
    given : object
        What was passed; case, spaces and hyphens do not matter.
    known : iterable of str
        The names that exist.
    synonyms : mapping of str to str
        What others call them, in small letters and with underscores, to names that exist.

    Returns
    -------
    str
        A sentence that begins with a space, empty if nothing is near.

    Examples
    --------
    >>> from sk_hvae.nn.spelling import did_you_mean
    >>> did_you_mean("Gausian", ["gaussian", "poisson"])
    " Did you mean 'gaussian'?"
    >>> did_you_mean("nb", ["negative_binomial"], {"nb": "negative_binomial"})
    " Did you mean 'negative_binomial'?"
    >>> did_you_mean("zebra", ["gaussian", "poisson"])
    ''
    """
    meant = {_plain(name): name for name in known}
    meant = {**{name: of for name, of in synonyms.items() if of in meant.values()}, **meant}
    nearest = difflib.get_close_matches(_plain(given), meant, n=1, cutoff=_SIMILARITY)
    return f" Did you mean {meant[nearest[0]]!r}?" if nearest else ""


def _plain(name):
    return str(name).strip().lower().replace("-", "_").replace(" ", "_")
