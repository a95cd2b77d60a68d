"""Whether new rows are on the scales that a fitted model knows."""

from sk_hvae.exceptions import ScaleWarning, warn_caller

_FAR, _NARROW, _VERY_NARROW = 10.0, 0.01, 1e-3
_MOST_NAMED = 5


def warn_of_scales(likelihood, found, names):
    """Warn if columns of new rows lie or spread many scales off those in training.

    A scale is the spread by which a likelihood standardises, and the mean of a column or its
    standard deviation may be 10 of them off. A spread of less than a hundredth is a warning if
    half of the columns have it, since single ones may happen to; one of less than a thousandth
    of the column's own is a warning by itself.

    Parameters
    ----------
    likelihood : Likelihood
        Of the fitted model.
    found : DataSummary
        Of the new rows.
    names : sequence of str or None
        Names of the columns.

    Returns
    -------
    bool
        Whether it has warned.

    Warns
    -----
    ScaleWarning
        Once, naming the columns.
    """
    spread = likelihood.spread
    shift = (found.mean - likelihood.summary.mean) / spread
    width = found.std / spread
    off = (shift.abs() > _FAR) | (width > _FAR)
    narrow = (width > 0) & (width < _NARROW)
    if 2 * narrow.sum() > spread.isfinite().sum():
        off |= narrow
    off |= (found.std > 0) & (found.std < _VERY_NARROW * likelihood.summary.std)
    columns = off.nonzero().flatten().tolist()
    if not columns:
        return False
    told = [
        f"{column if names is None else repr(str(names[column]))} (mean {shift[column]:+.3g} "
        f"scales off, standard deviation {width[column]:.3g} scales)"
        for column in columns[:_MOST_NAMED]
    ]
    more = f" and {len(columns) - _MOST_NAMED} more" if len(columns) > _MOST_NAMED else ""
    warn_caller(
        f"columns of X are far from what the model was first fitted on: {', '.join(told)}{more}. "
        "It standardises by the rows of its first fit, and learns slowly, or nothing, of what "
        "lies far off. Scale X as then, begin partial_fit with rows that are like all others, or "
        "fit anew with warm_start=False.",
        ScaleWarning,
    )
    return True
