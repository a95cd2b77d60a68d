"""A model of all rates: the value of its fit, and the recipe."""

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from sk_hvae._data.devices import module_device, place, usable_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae._fit.calibration import Calibration, PlanePoint
from sk_hvae._fit.control import Goal
from sk_hvae._fit.fitted import Fitted, Trained
from sk_hvae._fit.off_target import Reached
from sk_hvae._fit.plane_control import PlaneController, TargetGrid
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._fit.progress import counting_bar
from sk_hvae._fit.recipe import Recipe
from sk_hvae._fit.settings import AutoEpochs
from sk_hvae._fit.single_rate import provenance, target_ramp
from sk_hvae._fit.start import START_ROWS, build_seeded, some_rows, start_plane
from sk_hvae._fit.survey_rows import SurveyRows
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBox
from sk_hvae.nn.likelihoods import Likelihood
from sk_hvae.nn.units import LN2

# Conditions go this much beyond the targets: the rates that come out are a little off what is asked
# for, and the ends of the range are to be hit too.
_MARGIN = 1.2
# All bits of a categorical layer would take states that are equally frequent and certain for each
# row, which no training reaches.
_MOST_OF_STATES = 0.97
# Scales of units are averages, for which some rows are enough; they are measured at every node.
_SCALE_ROWS = 512
# As many draws of few rows as make as many samples as there are of many rows, but at most so many.
_MOST_DRAWS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane(Trained):
    """A model of all rates, and what is known of it over the rate plane.

    Attributes
    ----------
    conditioned : ConditionedHierarchy
        In evaluation mode.
    calibration : Calibration
        Which rates come out, and how to ask for them.
    completed : bool
        Whether training came to its end.
    """

    module_field = "conditioned"

    conditioned: ConditionedHierarchy
    calibration: Calibration
    completed: bool

    def after_divergence(self, betas):  # noqa: ARG002 those at the nodes are measured
        return replace(self, completed=False)

    @property
    def likelihood(self) -> Likelihood:
        return self.conditioned.model.likelihood

    @property
    def rate_range(self):
        """Smallest and largest target of every layer in bits, (n_layers, 2), to four digits."""
        ends = np.exp([self.calibration.arrays[end] for end in ("low", "high")])
        targets = ends * [[_MARGIN], [1 / _MARGIN]]
        return np.array([[float(f"{rate:.4g}") for rate in of_layer] for of_layer in targets.T])

    def at(self, layer_rates, module=None):
        """Return the model at rates in bits, z_1 first, or at those that come nearest.

        Parameters
        ----------
        layer_rates : tuple of float
            One for each layer.
        module : HierarchicalVAE, default=None
            A module that `at` has made and that is not needed any more: it gets the new weights,
            which saves the time to make another. None makes one.

        Returns
        -------
        Fitted
            It knows nothing of the other rates.
        """
        point = self.calibration.find(layer_rates)
        misses = Reached(layer_rates, point.rates, point.betas).misses
        return Fitted(
            architecture=self.architecture,
            device=self.device,
            data_dtype=self.data_dtype,
            epochs=self.epochs,
            module=self._module_at(point, module),
            rates=point.rates,
            betas=point.betas,
            distortion=point.distortion,
            lower_bound=-LN2 * (point.distortion + float(point.rates.sum())),
            converged=self.completed and not any(misses),
        )

    @FixedThreads()
    def _module_at(self, point, module):
        """Return a plain module at a `PlanePoint`: a new one, or the one given."""
        if module is None:
            place(self.conditioned, usable_device(self.device))
            module = self._new_module()
        module.load_state_dict(self.conditioned.state_at((point.condition * LN2).tolist()))
        sizes = [layer.n_units for layer in module.layers]
        scales = torch.from_numpy(point.scales).to(module.layers[0].scale).split(sizes)
        for layer, scale in zip(module.layers, scales, strict=True):
            layer.scale.copy_(scale)
        return module

    def _new_module(self):
        """Make a plain module on the device of the conditioned one."""
        return place(copy.deepcopy(self._plain), module_device(self.conditioned))

    @cached_property
    def _plain(self):
        """A plain module whose weights do not matter: to copy it is cheaper than to build one."""
        return _build_plain(self.architecture, self.conditioned)


class RatePlane(Recipe):
    """Train one model for all rates in a box.

    Parameters
    ----------
    low, high : tuple of float
        Smallest and largest target of every layer, bits.
    architecture : Architecture
        Tells whether there are states, whose bits are limited.

    Attributes
    ----------
    low, high : ndarray of shape (n_layers,)
        Ends of the conditions, bits: wider than the targets, to hit them all.

    Raises
    ------
    ValueError
        If a categorical layer has one state, and so nothing to choose from.
    """

    auto_epochs = AutoEpochs(n_steps=1200, most_epochs=180, fewest_steps=600)

    def __init__(self, low, high, architecture):
        self.low, self.high = np.array(low) / _MARGIN, np.array(high) * _MARGIN
        if not architecture.has_categorical_top:
            return
        n_states = architecture.layer_sizes[-1]
        if n_states < 2:
            raise ValueError(
                f"top_layer={architecture.top_layer!r} with one state has no bits to choose "
                "from; the last entry of n_components must be at least 2."
            )
        most = _MOST_OF_STATES * math.log2(n_states)
        self.high[-1] = min(self.high[-1], most)
        self.low[-1] = min(self.low[-1], most / _MARGIN)

    def beside(self, plan):  # noqa: ARG002 there is nothing more to say of a row
        return {}

    def start(self, plan):
        def ramp(targets):
            goals = [Goal(tuple(nats / LN2 for nats in target), ()) for target in targets]
            ramps = [target_ramp(plan._replace(goal=goal)) for goal in goals]
            return torch.tensor(ramps, dtype=torch.float32, device=plan.device)

        box = RateBox((self.low * LN2).tolist(), (self.high * LN2).tolist())
        module, betas = start_plane(plan, box, ramp)
        grid = TargetGrid(module.box)
        ramps = ramp(grid.rates.tolist())
        return module, PlaneController(grid, betas(grid.rates), plan.settings.n_steps, ramps)

    def at_goal(self, fitted, plan) -> Fitted:
        return fitted.at(plan.goal.layer_rates)

    def conclude(self, net, plan) -> Plane:
        """Measure the trained model over the plane; returns a `Plane`."""
        conditioned = net.module_.eval()
        some = some_rows(plan.training)
        grid = net.control.grid
        corners = [_plain_at(plan, conditioned, rates) for rates in grid.corners.tolist()]
        module = corners[0]
        surveyed = SurveyRows.of(plan.training, corners)
        n_draws = max(1, min(_MOST_DRAWS, START_ROWS // len(surveyed.rows)))
        survey = PlaneSurvey(module, surveyed.rows, n_draws, net.autocast, weights=surveyed.weights)
        points = []
        nodes = zip(grid.rates.tolist(), net.control.node_betas.tolist(), strict=True)
        how = {"is_shown": plan.shows_progress, "only_if_long": True}
        with counting_bar("survey", len(grid.rates), "nodes", **how) as on_node:
            for rates, betas in nodes:
                module.load_state_dict(conditioned.state_at(rates))
                module.set_scales(some[:: math.ceil(len(some) / _SCALE_ROWS)])
                found = survey.measure(module)
                points.append(
                    PlanePoint(
                        condition=np.array(rates) / LN2,
                        rates=found.rates,
                        distortion=found.distortion,
                        betas=np.array(betas),
                        scales=torch.cat([layer.scale for layer in module.layers]).cpu().numpy(),
                    )
                )
                on_node()
        return Plane(
            **provenance(net, plan),
            conditioned=conditioned,
            calibration=Calibration.of(points),
            completed=not net.interrupted_,
        )


def _plain_at(plan, conditioned, rates):
    """Build a plain module with the weights of a conditioned one at rates in nats."""
    module = place(_build_plain(plan.architecture, conditioned), module_device(conditioned))
    module.load_state_dict(conditioned.state_at(rates))
    return module


def _build_plain(architecture, conditioned):
    """Build a plain module for the weights of a conditioned one at some rates."""
    likelihood = copy.deepcopy(conditioned.model.likelihood)
    return build_seeded(architecture, likelihood, 0).eval()
