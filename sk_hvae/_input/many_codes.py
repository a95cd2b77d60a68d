"""Categorical columns that have about as many categories as there are rows."""

from sk_hvae.exceptions import CategoryWarning, warn_caller
from sk_hvae.nn.likelihoods.rare_codes import name_rows


def warn_of_many_codes(summary, n_rows, names):
    """Warn of categorical columns in which most rows have a category of their own.

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
    n_features = len(summary.mean)
    n_codes = summary.codes[:, 0].bincount(minlength=n_features).tolist()
    names = range(n_features) if names is None else names
    columns = name_rows(summary.codes, n_features).nonzero().flatten().tolist()
    found = [f"{names[column]!r} ({n_codes[column]})" for column in columns]
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
