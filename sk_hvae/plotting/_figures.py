"""What all displays share: matplotlib when it is needed, axes, and mosaics of images."""

import numpy as np

_GAP = 1
_WIDTH = 6.4


def pyplot():
    """Import matplotlib's pyplot; raises ImportError with advice."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'sk-hvae[plot]'.") from error
    return plt


def axes(ax=None, figsize=None):
    """Return the Axes to draw on: those given, or those of a new figure."""
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(layout="constrained", figsize=figsize)
    return ax


def split(ax, n_rows, n_columns, **kwargs):
    """Put a table of Axes in the place of one: ndarray (n_rows, n_columns)."""
    ax.set_axis_off()
    grid = ax.get_subplotspec().subgridspec(n_rows, n_columns)
    return grid.subplots(squeeze=False, **kwargs)


def mosaic(rows, image_shape, ax=None):
    """Draw rows of images, each a row of pixels (n_features,), side by side.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns, n_features)
        Pixels of a table of images.
    image_shape : tuple of int (channels, height, width) or (height, width)
        Shape of each.
    ax : matplotlib.axes.Axes, default=None
        Where; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        With a tick for every row, to be named.
    """
    *channels, height, width = image_shape
    n_rows, n_columns, _ = rows.shape
    low, high = np.nanmin(rows), np.nanmax(rows)
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


def image_shape_of(estimator, image_shape):
    """Return the shape that was passed, or else that of an estimator; None for tables."""
    return estimator.image_shape if image_shape is None else image_shape
