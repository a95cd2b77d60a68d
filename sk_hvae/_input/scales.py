"""Warn of new rows that are on other scales than those a model was fitted to."""

from sk_hvae.exceptions import ScaleWarning, warn_caller

# New rows may differ from those of the first fit, so these limits warn of what is likely to be a
# change of units, or a missing scaler, rather than a drift: factors of 10, 100 and 1,000.
_FAR, _NARROW, _VERY_NARROW = 10.0, 0.01, 1e-3
# A message stays readable if it names no more columns than this.
_MOST_NAMED = 5


def warn_of_scales(likelihood, found, names):
    """Warn if columns of new rows lie far from those in training, or are much wider or narrower.

    The scale of a column is the spread by which the likelihood standardises it. There is a
    warning if

    - the mean of a column is off by more than 10 scales, or its standard deviation is more than
      10 scales;
    - the standard deviations of more than half of the columns are less than a hundredth of their
      scales. A single column may be as narrow by chance;
    - the standard deviation of a column is less than a thousandth of what it was in training.

    Parameters
    ----------
    likelihood : Likelihood
        That of the fitted model.
    found : DataSummary
        That of the new rows.
    names : sequence of str or None
        Names of the columns.

    Returns
    -------
    bool
        Whether there was a warning.

    Warns
    -----
    ScaleWarning
        One warning, which names the columns.
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
