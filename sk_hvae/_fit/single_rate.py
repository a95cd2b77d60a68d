"""The recipe of a model at one vector of rates."""

import math

import torch

from sk_hvae._data.devices import place
from sk_hvae._fit.control import FixedMultipliers, RateController
from sk_hvae._fit.copula import noise_correlations
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.history import Epochs
from sk_hvae._fit.imputation import learn_to_impute
from sk_hvae._fit.measurement import measure
from sk_hvae._fit.off_target import Reached
from sk_hvae._fit.plan import stream
from sk_hvae._fit.progress import shown_rows
from sk_hvae._fit.recipe import Recipe
from sk_hvae._fit.refinement import REFINEMENT_ROWS
from sk_hvae._fit.settings import AutoEpochs
from sk_hvae._fit.start import some_rows, start_model
from sk_hvae.nn.linear_start import fit_scale

# Of the controller's full strength, with which models that answer slowly would go round in cycles;
# examples/benchmarks/rate_control.py shows that rates settle.
_SLOW_GAIN = 0.5


def measured(module, net, plan):
    """Bring a trained module to rest and measure it; returns the arguments of a `Fitted`."""
    with shown_rows("measure", plan.rows, plan.shows_progress) as rows:
        fields = measured_on(rows, module, net, plan)
    if plan.known is None:
        generator = stream(plan.seed, "impute")
        n_rows = len(plan.training)
        shown = plan.training.every(math.ceil(n_rows / REFINEMENT_ROWS))
        fields["refinement"] = learn_to_impute(module, shown, n_rows, generator)
    copula = noise_correlations(module, plan.training, stream(plan.seed, "copula"))
    return {**fields, "copula": copula}


def measured_on(rows, module, net, plan):
    """Bring a trained module to rest and measure it on some rows, for models nobody samples."""
    module = module.eval()
    some = some_rows(plan.training)
    if module.likelihood.fits_each_batch:
        fit_scale(module, some)
    module.set_scales(some)
    found = measure(module, rows)
    betas, rates = net.control.betas.cpu().double().numpy(), found.rates.mean(0)
    misses = Reached(plan.goal.layer_rates, rates, betas).misses
    return {
        **provenance(net, plan),
        "module": module,
        "rates": rates,
        "betas": betas,
        "distortion": float(found.distortion.mean()),
        "lower_bound": float(found.lower_bound.mean()),
        "converged": not (net.interrupted_ or any(misses)),
    }


class SingleRate(Recipe):
    """Train a new model, or a fitted one further.

    Parameters
    ----------
    fitted : Fitted, default=None
        Where to go on; None starts a new model.
    conclusion : callable, default=measured
        Brings a trained module to rest, and returns the arguments of a `Fitted`.
    """

    auto_epochs = AutoEpochs(n_steps=1200, most_epochs=60, fewest_steps=120)

    def __init__(self, fitted=None, conclusion=measured):
        self._fitted = fitted
        self._conclusion = conclusion

    def beside(self, plan):  # noqa: ARG002 there is nothing more to say of a row
        return {}

    def start(self, plan):
        if self._fitted is None:
            ramp = () if plan.settings.n_steps is None else target_ramp(plan)
            module, betas = start_model(plan, ramp)
        else:
            ramp, module = (), place(self._fitted.module, plan.device)
            betas = plan.goal.betas or tuple(self._fitted.betas)
        if plan.goal.betas:
            return module, FixedMultipliers(_on(plan, betas))
        return module, rate_controller(plan, module, betas, ramp)

    def conclude(self, net, plan) -> Fitted:
        return Fitted(**self._conclusion(net.module_, net, plan))

    def at_goal(self, fitted, plan) -> Fitted:  # noqa: ARG002 there are no other rates
        return fitted


def target_ramp(plan):
    """Return the multiple of each target to begin with; states have no more to give."""
    sizes = plan.architecture.layer_sizes
    states = sizes[-1:] if plan.architecture.has_categorical_top else ()
    units = sizes[: len(sizes) - len(states)]
    ramp = 1.0
    if units:
        ramp = plan.goal.ramp(min(*units, plan.n_varying), plan.settings.n_steps)
    return [ramp] * len(units) + [1.0] * len(states)


def rate_controller(plan, module, betas, ramp, consistency=0.0):
    """Make the controller of a module that begins with these betas."""
    return RateController(
        _on(plan, plan.goal.nats),
        _on(plan, betas),
        plan.settings.n_steps,
        ramp,
        _gain(plan.architecture, module),
        consistency,
    )


def provenance(net, plan):
    """Say how a net was trained; returns the arguments of a `Trained`."""
    return {
        "architecture": plan.architecture,
        "device": str(plan.device),
        "data_dtype": plan.data_dtype,
        "epochs": plan.past.then(Epochs.of(net.history)),
    }


def _on(plan, values):
    return torch.tensor(values, dtype=torch.float32, device=plan.device)


def _gain(architecture, module):
    """Return the controller's gain: less for models that answer slowly.

    These are ladders, and models that start at random, and those of many layers.
    """
    slow = architecture.inference == "ladder" or not module.has_linear_paths
    return min(_SLOW_GAIN if slow else 1.0, (2 / len(module.layers)) ** 0.5)
