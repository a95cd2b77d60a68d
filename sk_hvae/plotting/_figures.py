"""What displays share: the import of matplotlib, Axes, and mosaics of images."""

import math

import numpy as np

from sk_hvae._estimators.model import model_of
from sk_hvae._extras import import_extra

_GAP = 1  # pixels between the images of a mosaic
_MARGIN = 0.1  # between panels, as a share of a panel
_LINES_OF_LABELS = 4  # room for ticks and the name of an axis below a panel, in lines of text
_WIDTH = 6.4  # inches, matplotlib's default
# A standard deviation below this share of the mean is rounding: float64 has 16 digits, of which a
# sum over many rows loses a few.
_ROUNDING = 1e-12
# Of the pixels on either side, those that may be cut off, in percent: a few decoded pixels that are
# far below all others would make a white background grey.
_OUTER = 2


def pyplot():
    """Import matplotlib's pyplot."""
    return import_extra("matplotlib.pyplot", "plots", "matplotlib")


def axes(ax=None, figsize=None):
    """Return the Axes to draw on: the given ones, or those of a new figure."""
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(layout="constrained", figsize=figsize)
    return ax


def split(ax, n_rows, n_columns, heights=None):
    """Divide Axes into a table of panels.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The Axes to divide.
    n_rows, n_columns : int
        Size of the table.
    heights : sequence of float, default=None
        Heights of the rows in lines of text; each row has a horizontal axis of its own then. None
        makes rows of the same height, which share their horizontal axes.

    Returns
    -------
    ndarray of Axes of shape (n_rows, n_columns)
        The panels. Those of a row share their vertical axis.
    """
    ax.set_axis_off()
    for old in list(ax.child_axes):
        old.remove()
    shares_x = heights is None
    gap = _MARGIN * (n_rows > 1) if shares_x else _LINES_OF_LABELS
    rows = np.full(n_rows, 1 - gap) if shares_x else np.asarray(heights, dtype=float)
    total, width = (rows + gap).sum(), 1 / n_columns
    bottoms = 1 - np.cumsum(rows + gap) / total
    panels = np.empty((n_rows, n_columns), dtype=object)
    for row, column in np.ndindex(panels.shape):
        place = [
            column * width,
            bottoms[row],
            width * (1 - _MARGIN * (n_columns > 1)),
            rows[row] / total,
        ]
        panel = ax.inset_axes(
            place,
            sharex=panels[0, column] if row and shares_x else None,
            sharey=panels[row, 0] if column else None,
        )
        has_labels = row == n_rows - 1 or not shares_x
        panel.tick_params(labelbottom=has_labels, labelleft=column == 0)
        panels[row, column] = panel
    return panels


def mosaic(rows, image_shape, ax=None, limits=None):
    """Draw a table of images.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns, n_features)
        Pixels of each image.
    image_shape : tuple of int (channels, height, width) or (height, width)
        Shape of each image.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a figure.
    limits : tuple of float (low, high), default=None
        Values that are drawn white and black, or black and full colour. None takes those of nearly
        all pixels.

    Returns
    -------
    matplotlib.axes.Axes
        They have a tick for every row of images, which has no label yet.
    """
    *channels, height, width = image_shape
    n_rows, n_columns, _ = rows.shape
    low, high = np.nanpercentile(rows, [_OUTER, 100 - _OUTER]) if limits is None else limits
    scaled = ((rows - low) / (high - low or 1.0)).clip(0, 1)
    images = scaled.reshape(n_rows, n_columns, *(channels or [1]), height, width)
    images = np.moveaxis(images, 2, -1)
    gap = [(0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0)]
    images = np.pad(images, gap, constant_values=np.nan)
    canvas = images.transpose(0, 2, 1, 3, 4).reshape(n_rows * (height + _GAP), -1, images.shape[-1])
    canvas = canvas[:-_GAP, :-_GAP]
    ax = axes(ax, figsize=(_WIDTH, _WIDTH * canvas.shape[0] / canvas.shape[1] + 0.3))
    if canvas.shape[-1] == 1:
        ax.imshow(canvas[..., 0], cmap="gray_r", vmin=0, vmax=1)
    else:
        ax.imshow(np.nan_to_num(canvas, nan=1.0))
    ax.set_xticks([])
    ax.set_yticks(np.arange(n_rows) * (height + _GAP) + (height - 1) / 2)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def plain_ticks(axis):
    """Write the ticks of a logarithmic axis as plain numbers."""
    from matplotlib.ticker import FuncFormatter

    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(plain)


def moments(X):
    """Return means and standard deviations of columns, (n_features,), without missing cells.

    Both are 0 for a column whose cells are all missing. A standard deviation that comes from
    rounding alone is 0.
    """
    known = np.ma.masked_invalid(X)
    mean, std = (np.ma.filled(part, 0.0) for part in (known.mean(axis=0), known.std(axis=0)))
    return mean, np.where(std > _ROUNDING * np.abs(mean), std, 0.0)


def column_names(feature_names, n_features):
    """Return the names of columns; columns without names are "x0", "x1" and so on."""
    if feature_names is None:
        return [f"x{number}" for number in range(n_features)]
    return list(feature_names)


def image_shape_of(estimator, image_shape):
    """Return the given shape of images, or else the estimator's, which is None for tables."""
    if image_shape is None:
        return model_of(estimator).architecture.image_shape
    n_channels = image_shape[0] if len(image_shape) == 3 else 1
    n_pixels = math.prod(image_shape)
    if len(image_shape) not in (2, 3) or n_channels not in (1, 3):
        raise ValueError(
            "image_shape must be (height, width) or (channels, height, width) with 1 or 3 "
            f"channels; got {image_shape!r}."
        )
    if n_pixels != estimator.n_features_in_:
        raise ValueError(
            f"image_shape={image_shape!r} has {n_pixels} pixels, but the model has "
            f"{estimator.n_features_in_} columns."
        )
    return image_shape
