"""What a search costs with and without shared fits, counted in optimiser steps of single fits.

Steps are counted and not timed, so that a search does the same on every machine. The prices are
rounded up from the CPU time of fits of 60 to 5,000 rows, with networks of none to 256 units.
"""

from sk_hvae._data.batches import n_batches
from sk_hvae._fit.plane_control import nodes_per_axis
from sk_hvae._fit.single_rate import SingleRate
from sk_hvae.nn.conditioned import n_codes

ROWS = 3
"""Batches of a shared fit have so many times the rows of a single fit's."""

_EPOCHS = 2
_PRICE_OF_EVALUATION = 2.0
_PRICE_OF_STEP, _PRICE_OF_ROWS = 1.0, 0.7


def shared_epochs(max_epochs, steps_per_epoch):
    """Return the number of passes of a shared fit, given its steps in one."""
    return _EPOCHS * SingleRate.auto_epochs.resolve(max_epochs, ROWS * steps_per_epoch)


def single_cost(n_rows, batch_size, max_epochs):
    """Return what a single fit costs: its number of steps."""
    steps_per_epoch = n_batches(n_rows, batch_size)
    return SingleRate.auto_epochs.resolve(max_epochs, steps_per_epoch) * steps_per_epoch


def shared_cost(n_rows, batch_size, max_epochs, n_layers):
    """Return what a shared fit costs.

    It computes linear codes where it starts, and measures the nodes of its grid at the end, each
    for the price of two steps. Its own steps cost 1.7 times a single fit's of as many rows, and
    3.1 times where they have three times the rows. ``batch_size`` is the single fit's.
    """
    steps_per_epoch = n_batches(n_rows, ROWS * batch_size)
    n_steps = shared_epochs(max_epochs, steps_per_epoch) * steps_per_epoch
    times_the_rows = min(n_rows, ROWS * batch_size) / min(n_rows, batch_size)
    price = _PRICE_OF_STEP + _PRICE_OF_ROWS * times_the_rows
    n_evaluations = n_codes(n_layers) + nodes_per_axis(n_layers) ** n_layers
    return price * n_steps + _PRICE_OF_EVALUATION * n_evaluations
