"""What a search costs with and without shared fits, counted in optimiser steps of single fits.

Steps are counted and not timed, so that a search does the same on every machine. The prices are
rounded up from the CPU time of fits of 60 to 5,000 rows, with networks of none to 256 units, so
that fits are not shared where that might take longer. small_searches.py in examples/benchmarks
times searches with and without shared fits.
"""

from sk_hvae._data.batches import n_batches
from sk_hvae._fit.plane_control import nodes_per_axis
from sk_hvae._fit.single_rate import SingleRate
from sk_hvae.nn.conditioned import n_codes

# A batch of a shared fit has three times the rows of a single fit's, because its rows are spread
# over many target rates; and it makes twice the passes. More of either costs time, less of either
# learns too little to rank rates. rate_plane.py in examples/benchmarks compares the ranks with
# those of single fits.
ROWS = 3
_EPOCHS = 2
# What a linear code or the measurement of a node costs, and what a step costs by itself and for
# each multiple of a single fit's rows; all in steps of a single fit.
_PRICE_OF_EVALUATION = 2.0
_PRICE_OF_STEP, _PRICE_OF_ROWS = 1.0, 0.7


def shared_epochs(max_epochs, steps_per_epoch):
    """Return the number of passes of a shared fit, given its steps in one."""
    return _EPOCHS * SingleRate.auto_epochs.resolve(max_epochs, ROWS * steps_per_epoch)


def single_cost(n_rows, batch_size, max_epochs):
    """Return what a single fit costs, which is its number of steps."""
    steps_per_epoch = n_batches(n_rows, batch_size)
    return SingleRate.auto_epochs.resolve(max_epochs, steps_per_epoch) * steps_per_epoch


def shared_cost(n_rows, batch_size, max_epochs, n_layers):
    """Return what a shared fit costs, in steps of a single fit.

    It computes linear codes at its start, and measures the nodes of its grid at its end. Each of
    these costs as much as two steps. Each of its own steps costs as much as 1.7 steps of a single
    fit if it has as many rows, and as much as 3.1 if it has three times as many. ``batch_size`` is
    that of a single fit.
    """
    steps_per_epoch = n_batches(n_rows, ROWS * batch_size)
    n_steps = shared_epochs(max_epochs, steps_per_epoch) * steps_per_epoch
    times_the_rows = min(n_rows, ROWS * batch_size) / min(n_rows, batch_size)
    price = _PRICE_OF_STEP + _PRICE_OF_ROWS * times_the_rows
    n_evaluations = n_codes(n_layers) + nodes_per_axis(n_layers) ** n_layers
    return price * n_steps + _PRICE_OF_EVALUATION * n_evaluations
