"""Packages that are needed for one thing, and imported when it is asked for."""


def import_pandas(caller):
    """Import pandas for a method, which is named where it is missing."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"{caller} needs pandas: pip install pandas.") from error
    return pandas
