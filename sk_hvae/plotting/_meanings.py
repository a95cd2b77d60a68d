"""What units of latents mean: the columns that they change, ranked and in words."""

from typing import NamedTuple

import numpy as np

from sk_hvae._input.plain_numbers import plain

# Significant digits of numbers, and decimals of probabilities.
_DIGITS = 3
# Weaker changes are left out of the words: a correlation of .1 is of no use to anybody.
_LEAST_STRENGTH = 0.1
# A column turns on its way if its ends differ by less than this share of its range.
_ONE_WAY = 0.5


class ColumnChange(NamedTuple):
    """What a unit does to a column, or to the probability of a category.

    Attributes
    ----------
    unit : str
        Name of the unit.
    column : str
        Name of the column.
    category : str or None
        Category of the column; None for a column of numbers.
    low, between, high : float
        Decoded value at the low end of the unit's way, where it is farthest from both ends, and at
        the high end. Of a category, it is the probability.
    strength : float
        Range of the column along the way. For numbers, as a share of 4 standard deviations of the
        column, which is near the absolute correlation with the unit if the change is a straight
        line. For categories, the range of the probability.
    """

    unit: str
    column: str
    category: str | None
    low: float
    between: float
    high: float
    strength: float


def ranked(unit, targets, way, spans):
    """List what a unit changes, the strongest first.

    Parameters
    ----------
    unit : str
        Its name.
    targets : sequence of (str, str or None)
        Columns and categories.
    way : ndarray of shape (n_steps, n_columns)
        Decoded columns along the way of the unit.
    spans : ndarray of shape (n_columns,)
        Ranges that have a strength of 1.

    Returns
    -------
    list of ColumnChange
    """
    strengths = np.ptp(way, axis=0) / spans
    order = np.argsort(-strengths, kind="stable")
    return [_change(unit, targets[i], way[:, i], strengths[i]) for i in order]


def _change(unit, target, way, strength):
    farthest = np.minimum(np.abs(way - way[0]), np.abs(way - way[-1])).argmax()
    low, between, high = (float(value) for value in (way[0], way[farthest], way[-1]))
    column, category = target
    return ColumnChange(unit, column, category, low, between, high, float(strength))


def in_words(units, changes, n_columns):
    """Write what units change: the strongest ``n_columns`` changes of each, a line for a column."""
    lines = []
    for unit in units:
        strongest: dict[str, ColumnChange] = {}
        for change in changes:
            if change.unit == unit and change.strength >= _LEAST_STRENGTH:
                strongest.setdefault(change.column, change)
        told = [(_subject(change), change) for change in [*strongest.values()][:n_columns]]
        width = max((len(subject) for subject, _ in told), default=0)
        lines.append(f"{unit}, from low to high:" if told else f"{unit} changes no column much.")
        lines += [f"  {subject:{width}}  {_sentence(change)}" for subject, change in told]
    return "\n".join(lines)


def _subject(change):
    return change.column if change.category is None else f"{change.column} = {change.category}"


def _sentence(change):
    way = change.low, change.between, change.high
    if change.category is None:
        low, between, high = (plain(value, _DIGITS) for value in way)
    else:
        low, between, high = (f"{round(value, _DIGITS):g}" for value in way)
    reach = max(way) - min(way)
    if abs(change.high - change.low) < _ONE_WAY * reach:
        words = f"goes from {low} to {between} and back to {high}"
    else:
        words = f"{'rises' if change.high > change.low else 'falls'} from {low} to {high}"
    return f"{words} (strength {change.strength:.2f})"
