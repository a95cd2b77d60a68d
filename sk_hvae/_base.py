"""What the estimators share: check X, build the model, train it, measure it."""

import copy
import math
import threading
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_hvae._callbacks import CallbackSupportMixin, FitReport
from sk_hvae._data import (
    as_tensor,
    choose_rows,
    chunks,
    n_pca_rows,
    principal_components,
    to_device,
)
from sk_hvae._rate_control import FixedMultipliers, Goal, RateController
from sk_hvae._training import (
    HVAENet,
    Rows,
    TrainingSettings,
    build_net,
    divergence,
    n_batches,
)
from sk_hvae._validation import (
    Architecture,
    check_callbacks,
    check_network,
    check_rows,
    resolve_autocast,
    resolve_device,
    resolve_epochs,
    resolve_hidden,
    resolve_likelihood,
    resolve_output_layers,
    resolve_sizes,
    resolve_targets,
    usable_device,
)
from sk_hvae.exceptions import (
    RateTargetWarning,
    TrainingDivergedError,
    TrainingInterruptedWarning,
)
from sk_hvae.nn.hierarchy import HierarchicalVAE, mlp_hierarchy
from sk_hvae.nn.likelihoods import DataSummary
from sk_hvae.nn.linear_start import start_at_pca, start_at_slope
from sk_hvae.nn.noise import RowNoise

_LN2 = math.log(2)
_N_DRAWS = 4
_START_ROWS = 2048
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.05, 0.1
_EXHAUSTED_BETA = 1e-3
_DECAY_ROWS, _MAX_DECAY_PER_STEP = 1000, 0.1
_HISTORY = (
    "train_distortion",
    "train_rates",
    "valid_distortion",
    "valid_rates",
    "betas",
)
_BUILDING = threading.Lock()


class Session(NamedTuple):
    """What ``partial_fit`` goes on with as long as the parameters stay the same."""

    goal: Goal
    settings: TrainingSettings
    net: HVAENet


class Measurement(NamedTuple):
    """Distortion (n,) and rates (n, n_layers) of rows, in bits, float64 arrays."""

    distortion: np.ndarray
    rates: np.ndarray

    @property
    def lower_bound(self):
        """Lower bound on ln p(x) per row, nats, (n,)."""
        return -_LN2 * (self.distortion + self.rates.sum(1))


class BaseHierarchicalVAE(CallbackSupportMixin, BaseEstimator):
    """Build, train and measure a hierarchical VAE behind scikit-learn's conventions."""

    module_: HierarchicalVAE
    device_: str
    n_features_in_: int
    n_layers_: int
    n_components_: tuple[int, ...]
    n_iter_: int
    rates_: np.ndarray
    betas_: np.ndarray
    distortion_: float
    lower_bound_: float
    converged_: bool
    history_: dict[str, np.ndarray]
    _architecture: Architecture
    _session: Session | None

    def _fit(self, X):
        warm = self.warm_start and hasattr(self, "module_")
        goal, rows, seed = self._prepare(X, first=not warm)
        train, validation = self._split(rows, seed)
        epochs = resolve_epochs(self.max_epochs, len(train), self.batch_size)
        report = FitReport(self, X, epochs)
        n_steps = epochs * n_batches(len(train), self.batch_size)
        n_units = min(*self.n_components_, rows.shape[1])
        ramp = 1.0 if warm else goal.ramp(n_units, n_steps)
        betas = self._continue(goal) if warm else self._start(rows, goal, seed, ramp)
        settings = self._training_settings(
            max_epochs=epochs,
            n_steps=n_steps,
            weight_decay=min(_DECAY_ROWS / len(train), _MAX_DECAY_PER_STEP / self.lr),
            on_epoch=report.epoch,
        )
        self._session = None
        net = self._build_net(goal, betas, seed, settings, validation, ramp)
        self._train(net, train, rows, goal)
        if net.interrupted_:
            self.converged_ = False
            warnings.warn(
                f"training was interrupted after {self.n_iter_} of {epochs} epochs; the "
                "estimator is fitted so far, with rates_ as measured now.",
                TrainingInterruptedWarning,
                stacklevel=3,
            )
        elif not self.converged_:
            warnings.warn(self._off_target(goal), RateTargetWarning, stacklevel=3)
        report.end()
        return self

    def _partial_fit(self, X):
        first = not hasattr(self, "module_")
        goal, rows, seed = self._prepare(X, first)
        settings = self._training_settings(max_epochs=1, n_steps=None, weight_decay=0.0)
        session = getattr(self, "_session", None)
        if first or session is None or (goal, settings) != (session.goal, session.settings):
            betas = self._start(rows, goal, seed) if first else self._continue(goal)
            net = self._build_net(goal, betas, seed, settings)
            session = Session(goal, settings, net)
        self._session = None
        self._train(session.net, Rows(rows), rows, goal)
        self._session = session
        return self

    def _prepare(self, X, first):
        """Check X and the parameters; returns the goal, the rows on the device, and a seed."""
        X = check_rows(self, X, reset=first, min_rows=2 if first else 1)
        goal = Goal(*resolve_targets(self.layer_rates, self.betas))
        architecture = Architecture(
            resolve_sizes(self.n_components, goal.n_layers),
            resolve_hidden(self.hidden_layer_sizes),
            self.inference,
            repr(resolve_likelihood(self.likelihood)),
        )
        check_network(self.network, self.image_shape, X.shape[1])
        resolve_output_layers(self.output_layers, goal.n_layers)
        if not first and architecture != self._architecture:
            changed = [
                f"{name}={new!r} (fitted: {old!r})"
                for name, new, old in zip(
                    Architecture._fields, architecture, self._architecture, strict=True
                )
                if new != old
            ]
            raise ValueError(
                f"the fitted model cannot be trained further with {', '.join(changed)}. Keep "
                "what it was fitted with, or fit anew with warm_start=False."
            )
        device = resolve_device(self.device)
        self._architecture = architecture
        self.n_layers_, self.n_components_ = goal.n_layers, architecture.n_components
        self.device_ = str(device)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rows = to_device(as_tensor(X), device)
        if not first:
            self.module_.likelihood.check(rows)
        return goal, rows, seed

    def _split(self, rows, seed):
        """Hold rows out for early stopping, if it is on; returns `Rows` and `Rows` or None."""
        if not self.early_stopping:
            return Rows(rows), None
        n_validation = math.ceil(self.validation_fraction * len(rows))
        if len(rows) - n_validation < 2:
            raise ValueError(
                f"early_stopping=True holds out {n_validation} of {len(rows)} rows, which leaves "
                "fewer than 2 to train on; lower validation_fraction or pass more rows."
            )
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        order = order.to(rows.device)
        return Rows(rows, order[n_validation:]), Rows(rows, order[:n_validation])

    def _start(self, rows, goal, seed, ramp=1.0):
        """Build the model, start it at PCA, and return the betas to start from."""
        likelihood = resolve_likelihood(self.likelihood).adapt(DataSummary.of(chunks(rows)))
        with _seeded(seed):
            self.module_ = self._build(likelihood).to(self.device_)
        generator = torch.Generator().manual_seed(seed)
        n_units = max(self.n_components_)
        sample = choose_rows(rows, n_pca_rows(self.n_features_in_, n_units), generator)
        components = principal_components(likelihood.link(sample), n_units, seed)
        sample = choose_rows(sample, _START_ROWS, generator)
        if goal.betas:
            start_at_slope(self.module_, sample, components, goal.betas)
            return goal.betas
        beta = start_at_pca(self.module_, sample, components, [ramp * r for r in goal.nats])
        return (beta,) * goal.n_layers

    def _continue(self, goal):
        """Return the betas to go on from."""
        self.module_.to(self.device_)
        return goal.betas or tuple(self.betas_)

    def _build(self, likelihood):
        module = mlp_hierarchy(
            self.n_features_in_,
            self.n_components_,
            self._architecture.hidden_layer_sizes,
            likelihood,
            self.inference,
        )
        return module.float() if torch.device(self.device_).type == "mps" else module

    def _training_settings(self, **kwargs):
        device = torch.device(self.device_)
        return TrainingSettings(
            batch_size=self.batch_size,
            lr=self.lr,
            device=device,
            autocast=resolve_autocast(
                self.precision, device, self._architecture.hidden_layer_sizes
            ),
            patience=self.n_iter_no_change,
            callbacks=check_callbacks(self.callbacks),
            verbose=self.verbose,
            **kwargs,
        )

    def _build_net(self, goal, betas, seed, settings, validation=None, ramp=1.0):
        def vector(values):
            return torch.tensor(values, dtype=torch.float32, device=settings.device)

        control: RateController | FixedMultipliers
        if goal.betas:
            control = FixedMultipliers(vector(betas))
        else:
            control = RateController(vector(goal.nats), vector(betas), settings.n_steps, ramp)
        generator = torch.Generator(settings.device).manual_seed(seed)
        return build_net(self.module_, control, settings, generator, validation)

    def _train(self, net, train, rows, goal):
        """Train and conclude; on divergence conclude with the last finite weights and raise."""
        diverged = ""
        betas = net.control.betas.double().cpu().numpy()
        try:
            net.partial_fit(train)
        except TrainingDivergedError as error:
            diverged = str(error)
        self._conclude(net, rows, goal)
        if not diverged and not math.isfinite(self.lower_bound_):
            diverged = divergence(len(net.history), self.distortion_, self.rates_)
            net.restore_snapshot()
            self._conclude(net, rows, goal)
        if diverged:
            self.betas_, self.converged_ = betas, False
            largest = max(float(chunk.double().abs().max()) for chunk in chunks(rows))
            raise TrainingDivergedError(f"{diverged} max|X| is {largest:.3g}, lr is {self.lr:g}.")

    def _conclude(self, net, rows, goal):
        """Measure the trained model and set the fitted attributes."""
        for parameter in self.module_.parameters():
            parameter.grad = None
        self.module_.eval()
        self.module_.set_units(rows[:: math.ceil(len(rows) / _START_ROWS)])
        measured = self._measure(rows)
        epochs = [row for row in net.history if "betas" in row]
        self.n_iter_ = len(epochs)
        self.history_ = {
            name: np.array([row[name] for row in epochs if name in row])
            for name in _HISTORY
            if epochs and name in epochs[0]
        }
        self.betas_ = net.control.betas.double().cpu().numpy()
        self.rates_ = measured.rates.mean(0)
        self.distortion_ = float(measured.distortion.mean())
        self.lower_bound_ = float(measured.lower_bound.mean())
        self.converged_ = not any(self._misses(goal))

    def _measure(self, rows):
        """Measure distortion and rates of rows with noise derived from each row."""
        module = self._module_in_place()

        def measure(x):
            features, linked = module.features(x), module.likelihood.link(x)
            draws = [
                module.measure(x, features, RowNoise(linked, draw)) for draw in range(_N_DRAWS)
            ]
            terms = [torch.cat((d.distortion[:, None], d.rates), 1) for d in draws]
            return torch.stack(terms).mean(0) / _LN2

        bits = self._map_rows(rows, measure, 1 + self.n_layers_).astype(np.float64)
        return Measurement(bits[:, 0], bits[:, 1:])

    def _module_in_place(self):
        """Return the module on its device, or on the CPU where that is not available."""
        check_is_fitted(self, "module_")
        return self.module_.to(usable_device(self.device_))

    def _map_rows(self, rows, function, width):
        """Apply ``function`` to chunks of rows on the device; (n, width) float32 array."""
        device = module_device(self.module_)
        result = np.empty((len(rows), width), np.float32)
        first = 0
        with torch.inference_mode():
            for chunk in chunks(rows):
                part = function(to_device(chunk, device)).cpu().numpy()
                result[first : first + len(part)] = part
                first += len(part)
        return result

    def _misses(self, goal):
        """Tell for each layer whether it is off its target by over 5% and 0.1 bit."""
        if goal.betas:
            return [False] * goal.n_layers
        targets = np.array(goal.layer_rates)
        tolerance = np.maximum(_RELATIVE_TOLERANCE * targets, _ABSOLUTE_TOLERANCE)
        return list(~(np.abs(self.rates_ - targets) <= tolerance))

    def _off_target(self, goal):
        """Say which layers missed their targets, and what to try."""
        layers, advice = [], []
        for number, miss in enumerate(self._misses(goal), start=1):
            target, rate = goal.layer_rates[number - 1], self.rates_[number - 1]
            if not miss:
                continue
            collapsed = " (collapsed)" if rate < 0.1 * target else ""
            layers.append(f"z_{number} reached {rate:.3g} of its {target:g} bits{collapsed}")
            if rate < target and self.betas_[number - 1] < _EXHAUSTED_BETA:
                advice.append("ask for fewer bits: the data have no more to give")
            elif rate < target:
                advice.append(
                    "train longer (max_epochs), ask for fewer bits, or give other layers less"
                )
            else:
                advice.append("train longer (max_epochs)")
        return (
            f"{'; '.join(layers)} after {self.n_iter_} epochs. To reach the targets, "
            f"{'; or '.join(dict.fromkeys(advice))}."
        )

    def __getstate__(self):
        state = super().__getstate__()
        state = {name: value for name, value in state.items() if name != "_session"}
        if "module_" in state:
            state["module_"] = _on_cpu(state["module_"])
        return state


def module_device(module):
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


def _on_cpu(module):
    return copy.deepcopy(module).cpu() if module_device(module).type != "cpu" else module


@contextmanager
def _seeded(seed):
    """Seed torch's global generator for building modules, and put it back afterwards."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
