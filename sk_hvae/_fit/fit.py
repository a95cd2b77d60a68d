"""The fit: from a plan and a recipe to a fitted value, read from top to bottom."""

import copy
import math
from typing import NamedTuple

from sk_hvae._data.batches import TrainingRows
from sk_hvae._fit.errors import divergence, translate_errors
from sk_hvae._fit.fitted import Trained
from sk_hvae._fit.kept_inputs import kept_inputs
from sk_hvae._fit.start import some_rows
from sk_hvae.exceptions import (
    CheckpointError,
    LostProcessError,
    TrainingDivergedError,
    TrainingMemoryError,
)
from sk_hvae.nn.guided import unguided


class Outcome(NamedTuple):
    """What a fit has come to.

    Attributes
    ----------
    fitted : Trained
        All that is known of the model.
    interrupted : bool
        Whether training was ended from the keyboard.
    """

    fitted: Trained
    interrupted: bool


def fit(plan, recipe, keep=None, on_epoch=None):
    """Train and measure.

    An error of a kind that is not ours, such as a callback's, is passed on, and leaves a fitted
    model that was to be trained further as it was.

    Parameters
    ----------
    plan : Plan
        What to do, on which rows.
    recipe : Recipe
        How to do it.
    keep : callable, default=None
        Called with the fitted value if training fails, but what it came to before can be used;
        the error follows. None keeps nothing.
    on_epoch : callable, default=None
        Called after each epoch with its number and a function without arguments, which returns
        the fitted value so far, or None if training has diverged. Training stops if it returns
        True.

    Returns
    -------
    Outcome
    """
    # Imports skorch, which takes as long as all of ours together, and is needed here first.
    from sk_hvae._fit.assemble import build_net

    with translate_errors(plan.settings.batch_size):
        module, control = recipe.start(plan)
    net = build_net(
        module,
        control,
        plan.settings,
        plan.generator(),
        validation=None if plan.held_out is None else TrainingRows(plan.held_out),
        checkpoint=plan.checkpoint,
        accelerator=plan.accelerator,
        on_epoch=on_epoch and _teller(on_epoch, recipe, plan),
    )
    return train(net, recipe, plan, keep)


def train(net, recipe, plan, keep=None):
    """Train a net for as long as its settings say, and conclude, as `fit` does."""
    weights = copy.deepcopy(net.model.state_dict())
    try:
        fitted, failure = _train(net, recipe, plan)
    except BaseException:
        _put_back(net.model, weights, plan)
        raise
    if failure is None:
        return Outcome(fitted, net.interrupted_)
    if keep is not None:
        keep(fitted)
    try:
        raise failure
    finally:
        del failure  # Its traceback holds this frame, and so the net.


def _train(net, recipe, plan):
    """Train and conclude; returns the fitted value and the error with which training failed."""
    betas, diverged = net.control.betas, ""
    try:
        if plan.known is not None:
            net.take_in(plan.summary, some_rows(plan.training))
        with translate_errors(plan.settings.batch_size):
            net.partial_fit(_training_rows(net.model, recipe, plan))
    except TrainingDivergedError as error:
        diverged = str(error)
    except (CheckpointError, LostProcessError, TrainingMemoryError) as error:
        net.interrupted_ = True
        return recipe.conclude(net, plan), error
    fitted = recipe.conclude(net, plan)
    model = recipe.at_goal(fitted, plan)
    if not diverged and not math.isfinite(model.lower_bound):
        diverged = divergence(model.epochs.n_iter, model.distortion, model.rates)
        net.restore_snapshot()
        fitted = recipe.conclude(net, plan)
    if not diverged:
        return fitted, None
    told = f"{diverged} max|X| is {_largest(plan.rows):.3g}, lr is {plan.settings.lr:g}."
    return fitted.after_divergence(betas), TrainingDivergedError(told)


def _training_rows(module, recipe, plan):
    inputs = kept_inputs(module, plan.training)
    return TrainingRows(plan.training, **recipe.beside(plan), **inputs)


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
        unguided(model).remember(plan.known)
    model.load_state_dict(weights)
    model.eval()


def _largest(rows):
    """Return the largest absolute value of all cells that are not missing."""
    return max(float(chunk.cpu().double().abs().nan_to_num(0.0).max()) for chunk in rows.chunks())
