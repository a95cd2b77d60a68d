"""Categorical columns that have about as many categories as there are rows."""

from sk_hvae.exceptions import CategoryWarning, warn_caller

# Small tables may have as many codes as rows, and be meant so.
_MANY_CODES = 100


def warn_of_many_codes(summary, n_rows, names):
    """Warn of categorical columns of which most categories are seen once.

    Parameters
    ----------
    summary : DataSummary
        Of the rows, with the codes of the categorical columns.
    n_rows : int
        Number of rows.
    names : sequence of str or None
        Names of the columns.

    Warns
    -----
    CategoryWarning
        Once, naming the columns.
    """
    columns, n_codes = summary.codes[:, 0].unique(return_counts=True)
    many = n_codes > max(_MANY_CODES, n_rows / 2)
    names = range(len(summary.mean)) if names is None else names
    found = [
        f"{names[column]!r} ({n})" for column, n in zip(columns[many], n_codes[many], strict=True)
    ]
    if found:
        warn_caller(
            f"likelihood='categorical' on columns with nearly as many different codes as the "
            f"{n_rows} rows: {', '.join(found)}. Most are seen once, so that nothing can be "
            "learned of them but how frequent they are. Leave out columns that number the rows, "
            "and use likelihood='gaussian' or 'poisson' for numbers.",
            CategoryWarning,
        )
