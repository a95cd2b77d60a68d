"""Colours: of layers, and of points by what is known of them: labels, numbers or dates."""

import numpy as np

from sk_hvae._input.cells import is_missing
from sk_hvae._input.tables import as_numbers
from sk_hvae._input.written_times import form_of_all, read_time

# Petroff, "Accessible Color Sequences for Data Visualization" (arXiv 2107.02270): readers with any
# form of colour blindness can tell them apart. Of matplotlib's ten, some see two as one. The two
# that are nearly grey are last, because grey is what is missing.
COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59"),
    *("#e76300", "#b9ac70", "#92dadd", "#94a4a2", "#717581"),
)
# For more labels, matplotlib's "tab20" without its greys, which mean what is missing or rare. Still
# more colours could not be told apart.
_MANY = (*range(14), *range(16, 20))
_MOST_COLOURS = len(_MANY)
# Areas of dots, in square points: all dots together, and the least and most of each.
_TOTAL_AREA, _AREAS = 2e4, (2.0, 25.0)
# Of the numbers on either side, those that share the colour at the end of the bar, in percent: a
# few numbers that are far out leave all colours to the others.
_OUTER = 2
_GREY = (0.8, 0.8, 0.8)
_MISSING, _OTHER = "missing", "other"


def layer_colour(number):
    """Return the colour of a layer, which is the same in all pictures."""
    return COLOURS[(number - 1) % len(COLOURS)]


def scatter_by(ax, points, values=None, name=None):
    """Draw points and explain their colours by a legend or a colour bar.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    points : ndarray of shape (n, 2)
        Points.
    values : ndarray of shape (n,), default=None
        Labels, numbers or dates, which may be written as text as in a CSV; some may be missing,
        which is grey. None is one colour for all.
    name : str, default=None
        Title of the legend or name of the colour bar.
    """
    for old in list(ax.child_axes):
        old.remove()
    style = {"s": np.clip(_TOTAL_AREA / len(points), *_AREAS), "linewidths": 0, "alpha": 0.8}
    # In the order of a table that is sorted, the points of the last label could hide all others.
    order = np.random.RandomState(0).permutation(len(points))
    points = points[order]
    if values is None:
        ax.scatter(*points.T, color=COLOURS[0], **style)
        return
    values = _with_times(values[order])
    numbers = quantities_of(values)
    if numbers is None:
        _scatter_labels(ax, points, values, name, style)
    else:
        _scatter_numbers(ax, points, numbers, name, style, are_dates=values.dtype.kind == "M")


def _with_times(values):
    """Return many dates that are written as text as datetimes; everything else as it is."""
    known = [value for value in values.tolist() if not is_missing(value)]
    if not all(isinstance(value, str) for value in known):
        return values
    texts = list(dict.fromkeys(known))
    if len(texts) <= _MOST_COLOURS or form_of_all(texts) is None:
        return values
    # All have the same offset from UTC, and the bar shows times as they are written.
    moments = {text: np.datetime64(read_time(text).replace(tzinfo=None), "us") for text in texts}
    hole = np.datetime64("NaT")
    return np.array([hole if is_missing(v) else moments[v] for v in values.tolist()], "M8[us]")


def quantities_of(values):
    """Return values as numbers, (n,), or None if they are better told as labels."""
    if any(isinstance(value, str) for value in values.tolist()):
        return None
    numbers = np.asarray(as_numbers(values[:, None]), dtype=float)[:, 0]
    known = numbers[np.isfinite(numbers)]
    few = len(np.unique(known)) <= _MOST_COLOURS and (known == known.round()).all()
    return None if few else numbers


def texts_of(values):
    """Write labels as text, (n,)."""
    return np.array([_text(value) for value in values.tolist()])


def _text(value):
    if is_missing(value):
        return _MISSING
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scatter_numbers(ax, points, numbers, name, style, are_dates):
    known = np.isfinite(numbers)
    ax.scatter(*points[~known].T, color=[_GREY], **style)
    low, high = np.percentile(numbers[known], [_OUTER, 100 - _OUTER])
    colours = ax.scatter(*points[known].T, c=numbers[known], vmin=low, vmax=high, **style)
    place = ax.inset_axes([1.03, 0, 0.04, 1])
    dates = (lambda seconds, _: str(np.datetime64(round(seconds), "s"))[:10]) if are_dates else None
    ax.figure.colorbar(colours, cax=place, label=name or "", extend="both", format=dates)


def _scatter_labels(ax, points, values, name, style):
    """Draw points by label; those of rare labels are grey."""
    names, member, rest = groups_of(values)
    colours = np.vstack((_palette(len(names)), _GREY))  # the number of the rest is -1, the last
    ax.scatter(*points.T, c=colours[member], **style)
    entries = [*zip(names, colours, strict=False), *([] if rest is None else [(rest, _GREY)])]
    dots = [ax.scatter([], [], color=[colour], label=label) for label, colour in entries]
    ax.legend(handles=dots, title=name, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def groups_of(values):
    """Sort labels into as many groups as there are colours: a group for each frequent label.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Labels; some may be missing.

    Returns
    -------
    names : list of str
        The labels of the groups, sorted.
    member : ndarray of shape (n,)
        Number of each value's group; -1 if it has none.
    rest : str or None
        What the values without a group are; None if there are none.
    """
    labels, number, counts = np.unique(texts_of(values), return_inverse=True, return_counts=True)
    counts = np.where(labels == _MISSING, 0, counts)
    n_colours = _MOST_COLOURS - 1 if np.count_nonzero(counts) > _MOST_COLOURS else _MOST_COLOURS
    most = np.argsort(-counts, kind="stable")[:n_colours]
    shown = _in_order(labels, most[counts[most] > 0])
    group = np.full(len(labels), -1)
    group[shown] = np.arange(len(shown))
    rest = _MISSING if np.count_nonzero(counts) == len(shown) else _OTHER
    return labels[shown].tolist(), group[number], rest if len(shown) < len(labels) else None


def _palette(n):
    """Return n colours, (n, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if n <= len(COLOURS):
        return np.array([to_rgb(colour) for colour in COLOURS[:n]]).reshape(n, 3)
    return colormaps["tab20"](_MANY[:n])[:, :3]


def _in_order(labels, numbers):
    """Sort the numbers of labels by name, or by value if all are numbers."""
    try:
        return sorted(numbers, key=lambda number: float(labels[number]))
    except ValueError:
        return sorted(numbers)
