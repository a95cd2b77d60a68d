"""What the estimators share: check X, build the model, train it, measure it."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_hvae._data.batches import Selection, n_batches
from sk_hvae._data.devices import place, resolve_autocast, resolve_device, usable_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.parameters import (
    check_callbacks,
    draw_seed,
    hints,
    resolve_epochs,
    resolve_hidden,
    resolve_network,
    resolve_output_layers,
    resolve_sizes,
    resolve_targets,
    warn_of_channels_last,
)
from sk_hvae._files.plain import pack, unpack
from sk_hvae._files.saving import FilesMixin, SavedAttribute
from sk_hvae._fit.assemble import build_net
from sk_hvae._fit.checkpoint import Checkpoint, fit_identity
from sk_hvae._fit.control import FixedMultipliers, Goal, RateController
from sk_hvae._fit.distributed import broadcast_from_first, joined_accelerator
from sk_hvae._fit.errors import translate_errors
from sk_hvae._fit.history import HISTORY, Epochs
from sk_hvae._fit.loop import HVAENet, divergence
from sk_hvae._fit.measurement import measure
from sk_hvae._fit.off_target import Reached, describe_drift
from sk_hvae._fit.plan import Plan
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae._fit.start import START_ROWS, start_model
from sk_hvae._input.checks import check_rows
from sk_hvae._input.columns import resolve_likelihood
from sk_hvae._input.outliers import WildCell, describe_wild_cells, find_wild_cells
from sk_hvae._input.scales import warn_of_scales
from sk_hvae._sklearn.callbacks import CallbackSupportMixin, FitReport
from sk_hvae._sklearn.documentation import DocumentationLinkMixin
from sk_hvae.exceptions import (
    CheckpointError,
    LostProcessError,
    OutlierWarning,
    RateTargetWarning,
    TrainingDivergedError,
    TrainingInterruptedWarning,
    TrainingMemoryError,
    warn_caller,
)
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.hierarchy import HierarchicalVAE
from sk_hvae.nn.likelihoods import DataSummary, Likelihood
from sk_hvae.nn.likelihoods.refusal import told_by_name
from sk_hvae.nn.linear_start import fit_scale
from sk_hvae.nn.networks.hit import PRESETS

_STEPS_TO_SETTLE = 1000
_SLOW_GAIN = 0.5
_DECAY_ROWS, _MAX_DECAY_PER_STEP = 1000, 0.1
KEPT_OF_TRAINING = {
    "n_iter_": SavedAttribute("i"),
    **{
        f"history_.{name}": SavedAttribute("f", shape, optional=True)
        for name, shape in HISTORY.items()
    },
}


class Session(NamedTuple):
    """What ``partial_fit`` goes on with as long as the parameters stay the same."""

    goal: Goal
    settings: TrainingSettings
    net: HVAENet
    past: Epochs
    warned: bool = False

    def rates(self):
        """Return the rates in training, bits, averaged over the last quarter of the passes."""
        rows = Epochs.of(self.net.history).history["train_rates"]
        return rows[3 * len(rows) // 4 :].mean(0)


class BaseHierarchicalVAE(FilesMixin, CallbackSupportMixin, DocumentationLinkMixin, BaseEstimator):
    """Build, train and measure a hierarchical VAE behind scikit-learn's conventions."""

    module_: HierarchicalVAE
    device_: str
    n_features_in_: int
    n_layers_: int
    n_components_: tuple[int, ...]
    n_iter_: int
    rates_: NDArray[np.float64]
    betas_: NDArray[np.float64]
    distortion_: float
    lower_bound_: float
    converged_: bool
    history_: dict[str, NDArray[Any]]
    _architecture: Architecture
    _data_dtype: str
    _session: Session | None
    _wild_cells: Sequence[WildCell]
    _is_off_scale: bool
    _model_name: ClassVar = "module_"
    _transient: ClassVar[tuple[str, ...]] = ("_session", "_wild_cells", "_is_off_scale")
    _kept: ClassVar = {
        **KEPT_OF_TRAINING,
        "rates_": SavedAttribute("f", ("n_layers",)),
        "betas_": SavedAttribute("f", ("n_layers",)),
        "distortion_": SavedAttribute("f"),
        "lower_bound_": SavedAttribute("f"),
        "converged_": SavedAttribute("b"),
    }

    @FixedThreads()
    def _fit(self, X, y=None, warm=False):
        """Train from the start, or go on from the fitted model; y is for scikit-learn's callbacks.

        Nothing is trained on it.
        """
        plan = self._prepare(X, first=not warm, keep=self.checkpoint)
        train, validation = self._split(plan)
        steps_per_epoch = n_batches(len(train), self.batch_size)
        epochs = self._n_epochs(steps_per_epoch)
        n_steps = epochs * steps_per_epoch
        report = FitReport(self, X, y, epochs)
        with translate_errors(self.batch_size):
            module, control = self._start(plan, n_steps, warm)
        self._wild_cells = () if warm else find_wild_cells(plan.rows, plan.likelihood)
        self._warn_of_wild_cells()
        settings = self._training_settings(
            plan,
            max_epochs=epochs,
            n_steps=n_steps,
            weight_decay=min(_DECAY_ROWS / len(train), _MAX_DECAY_PER_STEP / self.lr),
            on_epoch=lambda net: report.epoch(
                len(net.history), partial(self._attributes_after, net, plan)
            ),
            **({} if validation is None else {"patience": self.n_iter_no_change}),
        )
        self._session = None
        net = build_net(
            module,
            control,
            settings,
            plan.generator(),
            validation,
            plan.checkpoint,
            plan.accelerator,
        )
        self._train(net, train, plan)
        if plan.checkpoint is not None and not net.interrupted_:
            plan.checkpoint.remove()
        if net.interrupted_:
            warn_caller(
                f"training was interrupted after {self.n_iter_} of {epochs} epochs; the "
                "estimator is fitted so far, with rates_ as measured now.",
                TrainingInterruptedWarning,
            )
        elif not self.converged_:
            self._warn_off_target(plan.goal)
        report.end()
        return self

    @FixedThreads()
    def _partial_fit(self, X):
        first = not hasattr(self, "module_")
        plan = self._prepare(X, first)
        settings = self._training_settings(plan, max_epochs=1, n_steps=None, weight_decay=0.0)
        session = getattr(self, "_session", None)
        if first or session is None or (plan.goal, settings) != (session.goal, session.settings):
            module, betas = start_model(plan) if first else self._continue(plan)
            if first:
                self._wild_cells = find_wild_cells(plan.rows, plan.likelihood)
                self._warn_of_wild_cells()
            control = self._control(plan, module, betas)
            net = build_net(
                module, control, settings, plan.generator(), accelerator=plan.accelerator
            )
            past = Epochs() if first else Epochs(self.n_iter_, self.history_)
            session = Session(plan.goal, settings, net, past)
        self._session = None
        plan = plan._replace(past=session.past)
        self._train(session.net, Selection(plan.rows), plan)
        self._session = session
        if session.net.interrupted_:
            session.net.interrupted_ = False
            raise KeyboardInterrupt
        self._warn_of_session(session)
        return self

    def _prepare(self, X, first, keep=None):
        """Check X and the parameters; changes nothing but what X's columns are.

        ``keep`` is the folder in which the fit keeps its state, if it is to.
        """
        masked = self.missing == "mask"
        rows = check_rows(self, X, reset=first, min_rows=2 if first else 1, allow_nan=masked)
        goal = self._goal()
        network, image_shape = resolve_network(
            self.network, self.image_shape, goal.n_layers, rows.shape[1]
        )
        architecture = Architecture(
            PRESETS[network].n_components if network in PRESETS else self._layer_sizes(goal),
            resolve_hidden(self.hidden_layer_sizes),
            network,
            image_shape,
            self.inference,
            self.top_layer,
            masked,
        )
        if first:
            warn_of_channels_last(image_shape)
        names = getattr(self, "feature_names_in_", None)
        likelihood = resolve_likelihood(self.likelihood, X, names, rows.shape[1])
        resolve_output_layers(self.output_layers, goal.n_layers)
        if not first:
            self._check_unchanged(architecture, likelihood)
        summary, known = self._look_at(rows, likelihood, image_shape, first)
        accelerator = joined_accelerator()
        device = resolve_device(self.device, accelerator)
        seed = broadcast_from_first(draw_seed(self.random_state), accelerator)
        checkpoint = None
        if keep is not None:
            writes = accelerator is None or accelerator.is_main_process
            identity = fit_identity(self, rows, likelihood, not first)
            checkpoint = Checkpoint(keep, identity, writes)
            seed = seed if checkpoint.seed is None else checkpoint.seed
            checkpoint.begin(seed)
        dtype, rows = rows.float_dtype, rows.on(device)
        if not first:
            dtype = np.promote_types(dtype, self._data_dtype).name
            rows.check(told_by_name(names)(self.module_.likelihood.check))
        return Plan(
            goal=goal,
            architecture=architecture,
            likelihood=likelihood,
            device=device,
            rows=rows,
            seed=seed,
            data_dtype=dtype,
            feature_names=names,
            summary=summary,
            known=known,
            accelerator=accelerator,
            checkpoint=checkpoint,
        )

    def _look_at(self, rows, likelihood, image_shape, first):
        """Summarise rows; returns what to know of the data, and what is known of them so far."""
        n_channels = image_shape[0] if image_shape else 1
        self._is_off_scale = False
        if first:
            coded = likelihood.coded_columns(rows.shape[1])
            is_image = image_shape is not None
            return DataSummary.of(rows.chunks(), n_channels, is_image, coded=coded), None
        likelihood = self.module_.likelihood
        known = likelihood.summary
        found = DataSummary.of(rows.chunks(), known=known, coded=())
        self._is_off_scale = warn_of_scales(
            likelihood, found, getattr(self, "feature_names_in_", None)
        )
        return known.updated(found, len(rows)), known

    def _validate_params(self):
        with hints(self):
            super()._validate_params()

    def _goal(self):
        return Goal(*resolve_targets(self.layer_rates, self.betas))

    def _layer_sizes(self, goal):
        return resolve_sizes(self.n_components, goal.n_layers)

    def _n_epochs(self, steps_per_epoch):
        return resolve_epochs(self.max_epochs, steps_per_epoch)

    def _check_unchanged(self, architecture, likelihood):
        """Raise ValueError unless the fitted model can be trained further as now asked for."""
        new = {**architecture._asdict(), "likelihood": repr(likelihood)}
        old = {**self._architecture._asdict(), "likelihood": repr(self.module_.likelihood)}
        changed = [f"{k}={new[k]!r} (fitted: {old[k]!r})" for k in new if new[k] != old[k]]
        if changed:
            raise ValueError(
                f"the fitted model cannot be trained further with {', '.join(changed)}. Keep "
                "what it was fitted with, or fit anew with warm_start=False."
            )

    def _split(self, plan):
        """Hold rows out for early stopping, if it is on; returns one `Selection` or two."""
        rows = plan.rows
        if not self.early_stopping:
            return Selection(rows), None
        n_validation = math.ceil(self.validation_fraction * len(rows))
        if len(rows) - n_validation < 2:
            raise ValueError(
                f"early_stopping=True holds out {n_validation} of {len(rows)} rows, which leaves "
                "fewer than 2 to train on; lower validation_fraction or pass more rows."
            )
        generator = torch.Generator().manual_seed(plan.seed)
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        held_out, rest = order[:n_validation].sort().values, order[n_validation:].sort().values
        return Selection(rows, rest), Selection(rows, held_out)

    def _start(self, plan, n_steps, warm):
        """Return the model to train and the control of its betas."""
        ramp = () if warm else self._ramp(plan, n_steps)
        module, betas = self._continue(plan) if warm else start_model(plan, ramp)
        return module, self._control(plan, module, betas, n_steps, ramp)

    def _ramp(self, plan, n_steps):
        """Return the multiple of each target to begin with; states have no more to give."""
        sizes = plan.architecture.layer_sizes
        states = sizes[-1:] if plan.architecture.has_categorical_top else ()
        units = sizes[: len(sizes) - len(states)]
        ramp = plan.goal.ramp(min(*units, plan.n_varying), n_steps) if units else 1.0
        return [ramp] * len(units) + [1.0] * len(states)

    def _continue(self, plan):
        """Return the fitted model and the betas to go on from."""
        return place(self.module_, plan.device), plan.goal.betas or tuple(self.betas_)

    def _training_settings(self, plan, **kwargs):
        widths = plan.architecture.hidden_layer_sizes
        return TrainingSettings(
            batch_size=self.batch_size,
            lr=self.lr,
            device=plan.device,
            autocast=resolve_autocast(self.precision, plan.device, widths),
            callbacks=check_callbacks(self.callbacks),
            verbose=self.verbose,
            **kwargs,
        )

    def _control(self, plan, module, betas, n_steps=None, ramp=()):
        def vector(values):
            return torch.tensor(values, dtype=torch.float32, device=plan.device)

        if plan.goal.betas:
            return FixedMultipliers(vector(betas))
        gain = _gain(plan.architecture, module)
        return self._controller(vector(plan.goal.nats), vector(betas), n_steps, ramp, gain)

    def _controller(self, *args):
        return RateController(*args)

    def _train(self, net, train, plan):
        """Train and conclude; on divergence conclude with the last finite weights and raise.

        Any other error, such as a callback's, leaves the model as it was.
        """
        diverged = ""
        betas, weights = net.control.betas, copy.deepcopy(net.model.state_dict())
        try:
            if plan.known is not None:
                net.take_in(plan.summary, _some(plan.rows))
            with translate_errors(self.batch_size):
                net.partial_fit(train)
        except TrainingDivergedError as error:
            diverged = str(error)
        except (CheckpointError, LostProcessError, TrainingMemoryError):
            net.interrupted_ = True
            self._conclude(net, plan)
            raise
        except BaseException:
            if plan.known is not None:
                net.model.remember(plan.known)
            net.model.load_state_dict(weights)
            net.model.eval()
            raise
        self._conclude(net, plan)
        if not diverged and not math.isfinite(self.lower_bound_):
            diverged = divergence(self.n_iter_, self.distortion_, self.rates_)
            net.restore_snapshot()
            self._conclude(net, plan)
        if diverged:
            self._mark_diverged(betas)
            largest = max(
                float(chunk.cpu().double().abs().nan_to_num(0.0).max())
                for chunk in plan.rows.chunks()
            )
            raise TrainingDivergedError(f"{diverged} max|X| is {largest:.3g}, lr is {self.lr:g}.")

    def _attributes_after(self, net, plan):
        """Return the attributes of a fit that ends now, by name, or None if it has diverged."""
        if not net.weights_are_finite():
            return None
        twin = object.__new__(type(self))
        twin.__dict__.update(vars(self))
        twin._conclude(net.stopped(), plan)
        return {k: v for k, v in vars(twin).items() if vars(self).get(k) is not v}

    def _mark_diverged(self, betas):
        """Say what the weights before the divergence were trained with."""
        self.betas_, self.converged_ = betas.cpu().double().numpy(), False

    def _conclude(self, net, plan):
        """Measure the trained model, then set the fitted attributes, all together."""
        module = self._trained_module(net).eval()
        for parameter in module.parameters():
            parameter.grad = None
        some = _some(plan.rows)
        if module.likelihood.fits_each_batch:
            fit_scale(module, some)
        module.set_scales(some)
        measured = measure(module, plan.rows)
        self._set_common(net, plan)
        self.betas_ = net.control.betas.cpu().double().numpy()
        self.rates_ = measured.rates.mean(0)
        self.distortion_ = float(measured.distortion.mean())
        self.lower_bound_ = float(measured.lower_bound.mean())
        self.converged_ = not (net.interrupted_ or any(self._reached(plan.goal).misses))
        self.module_ = module

    def _trained_module(self, net):
        """Return the hierarchical VAE that a net has trained."""
        return net.module_

    def _set_common(self, net, plan):
        """Set the fitted attributes that do not depend on any measurement."""
        self.n_iter_, self.history_ = plan.past.then(Epochs.of(net.history))
        self.n_layers_ = plan.goal.n_layers
        self.n_components_ = plan.architecture.layer_sizes
        self.device_, self._architecture = str(plan.device), plan.architecture
        self._data_dtype = plan.data_dtype

    @property
    def likelihood_(self) -> Likelihood:
        """The fitted likelihood; those of a list are its ``likelihoods``."""
        return self.module_.likelihood

    def _module_in_place(self):
        """Return the module on its device, or on the CPU where that is not available."""
        check_is_fitted(self, "module_")
        return place(self.module_, usable_device(self.device_))

    def _check_usable(self):
        self._goal()
        resolve_output_layers(self.output_layers, self.n_layers_)

    def _warn_of_wild_cells(self):
        if self._wild_cells:
            names = getattr(self, "feature_names_in_", None)
            message = describe_wild_cells(
                self._wild_cells, lambda n: f"column {n}" if names is None else f"{names[n]!r}"
            )
            warn_caller(message, OutlierWarning)

    def _reached(self, goal):
        return Reached(goal.layer_rates, self.rates_, self.betas_)

    def _warn_off_target(self, goal):
        reached = self._reached(goal)
        message = reached.describe(self.n_iter_, bool(self._wild_cells), self._is_off_scale)
        warn_caller(message, RateTargetWarning)

    def _warn_of_session(self, session):
        """Say once if calls of ``partial_fit`` do not come to the targets, given some steps."""
        goal, n_steps = session.goal, session.net.n_steps_done_
        if session.warned or goal.betas or n_steps < _STEPS_TO_SETTLE:
            return
        message = describe_drift(goal.layer_rates, session.rates(), n_steps)
        if message:
            self._session = session._replace(warned=True)
            warn_caller(message, RateTargetWarning)

    def __getstate__(self):
        state = super().__getstate__()
        lasting = {name: state[name] for name in state if name not in self._transient}
        return pack(lasting, self._model_name)

    def __setstate__(self, state):
        super().__setstate__(unpack(state, self._model_name))


def _some(rows):
    """Return rows at even distances, as many as are enough to measure on."""
    return rows.every(math.ceil(len(rows) / START_ROWS))


def _gain(architecture, module):
    """Return the controller's gain: less for models that answer slowly.

    These are ladders, and models that start at random, and those of many layers.
    """
    slow = architecture.inference == "ladder" or not module.has_linear_paths
    return min(_SLOW_GAIN if slow else 1.0, (2 / len(module.layers)) ** 0.5)
