"""Numbers as people write them."""

# Beyond, a float no longer tells all whole numbers apart, and nobody counts so many digits.
_LARGEST = 1e15


def plain(value, n_digits):
    """Write a float with some significant digits, and a large one whole, not as 2.3e+06.

    Parameters
    ----------
    value : float
    n_digits : int
        Number of significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> from sk_hvae._input.plain_numbers import plain
    >>> plain(2_300_000.0, 3), plain(0.12345, 3), plain(1234.5, 3), plain(1e20, 3)
    ('2300000', '0.123', '1234', '1e+20')
    """
    text = f"{value:.{n_digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < _LARGEST else text
