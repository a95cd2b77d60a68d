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
            f"there are categorical columns with nearly as many categories as the {n_rows} rows: "
            f"{', '.join(found)}. Most are seen once, so that nothing can be learned of them but "
            "how frequent they are. Leave out columns that number or name the rows, and free text. "
            "Turn text that tells dates into dates, by pandas.to_datetime, and text of numbers "
            "into numbers, by pandas.to_numeric. For codes that are numbers choose a likelihood of "
            "numbers, such as 'gaussian' or 'poisson'.",
            CategoryWarning,
        )
