"""The fit: from a plan and a recipe to a fitted value, read from top to bottom."""

import copy
from typing import NamedTuple

from sk_hvae._data.batches import PlainRows
from sk_hvae._fit.assemble import build_net
from sk_hvae._fit.errors import translate_errors
from sk_hvae._fit.fitted import Trained
from sk_hvae._fit.loop import divergence
from sk_hvae._fit.start import some_rows
from sk_hvae.exceptions import (
    CheckpointError,
    LostProcessError,
    TrainingDivergedError,
    TrainingMemoryError,
)


class Outcome(NamedTuple):
    """What a fit has come to.

    Attributes
    ----------
    fitted : Trained
        All that is known of the model.
    interrupted : bool
        Whether training was ended from the keyboard.
    error : Exception or None
        What to raise once the fitted value is kept: training failed, but what it came to before
        can be used.
    """

    fitted: Trained
    interrupted: bool = False
    error: Exception | None = None


def fit(plan, recipe, on_epoch=None):
    """Train and measure.

    An error of a kind that is not ours, such as a callback's, is passed on, and leaves a fitted
    model that was to be trained further as it was.

    Parameters
    ----------
    plan : Plan
        What to do, on which rows.
    recipe : Recipe
        How to do it.
    on_epoch : callable, default=None
        Called after each epoch with its number and a function without arguments, which returns
        the fitted value so far, or None if training has diverged. Training stops if it returns
        True.

    Returns
    -------
    Outcome
    """
    with translate_errors(plan.settings.batch_size):
        module, control = recipe.start(plan)
    net = build_net(
        module,
        control,
        plan.settings,
        plan.generator(),
        validation=None if plan.held_out is None else PlainRows(plan.held_out),
        checkpoint=plan.checkpoint,
        accelerator=plan.accelerator,
        on_epoch=on_epoch and _teller(on_epoch, recipe, plan),
    )
    outcome = train(net, recipe, plan)
    if plan.checkpoint is not None and not outcome.interrupted:
        plan.checkpoint.remove()
    return outcome


def train(net, recipe, plan):
    """Train a net for as long as its settings say, and conclude; returns an `Outcome`."""
    weights = copy.deepcopy(net.model.state_dict())
    try:
        return _train(net, recipe, plan)
    except BaseException:
        _put_back(net.model, weights, plan)
        raise


def _train(net, recipe, plan):
    betas, diverged = net.control.betas, ""
    try:
        if plan.known is not None:
            net.take_in(plan.summary, some_rows(plan.training))
        with translate_errors(plan.settings.batch_size):
            net.partial_fit(recipe.batches(plan))
    except TrainingDivergedError as error:
        diverged = str(error)
    except (CheckpointError, LostProcessError, TrainingMemoryError) as error:
        net.interrupted_ = True
        return Outcome(recipe.conclude(net, plan), interrupted=True, error=error)
    fitted = recipe.conclude(net, plan)
    if not diverged and not fitted.is_finite:
        diverged = divergence(fitted.epochs.n_iter, fitted.distortion, fitted.rates)
        net.restore_snapshot()
        fitted = recipe.conclude(net, plan)
    if not diverged:
        return Outcome(fitted, net.interrupted_)
    told = f"{diverged} max|X| is {_largest(plan.rows):.3g}, lr is {plan.settings.lr:g}."
    fitted = fitted.after_divergence(betas)
    return Outcome(fitted, net.interrupted_, TrainingDivergedError(told))


def _teller(on_epoch, recipe, plan):
    """Return what the net calls after each epoch."""

    def tell(net):
        def so_far():
            return recipe.conclude(net.stopped(), plan) if net.weights_are_finite() else None

        return on_epoch(len(net.history), so_far)

    return tell


def _put_back(model, weights, plan):
    """Make a model what it was before it was trained."""
    if plan.known is not None:
        model.remember(plan.known)
    model.load_state_dict(weights)
    model.eval()


def _largest(rows):
    """Return the largest absolute value of all cells that are not missing."""
    return max(float(chunk.cpu().double().abs().nan_to_num(0.0).max()) for chunk in rows.chunks())
