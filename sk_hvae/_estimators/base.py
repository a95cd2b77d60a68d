"""What the estimators share: parameters and X to a plan, a plan and a recipe to a fitted value."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

from sklearn.base import BaseEstimator

from sk_hvae._data.batches import n_batches
from sk_hvae._data.devices import resolve_autocast, resolve_device
from sk_hvae._estimators.attributes import FittedAttributes
from sk_hvae._estimators.cluster_table import clusters_html
from sk_hvae._estimators.column_table import column_table, columns_html
from sk_hvae._estimators.inspection import inspect_first_rows, inspect_further_rows
from sk_hvae._estimators.layer_table import layers_html
from sk_hvae._estimators.parameters import (
    check_callbacks,
    draw_seed,
    hints,
    resolve_hidden,
    resolve_network,
    resolve_output_layers,
)
from sk_hvae._files.plain import pack, unpack
from sk_hvae._files.saving import FilesMixin
from sk_hvae._fit.checkpoint import Checkpoint, fit_identity
from sk_hvae._fit.control import Goal
from sk_hvae._fit.distributed import broadcast_from_first, joined_accelerator
from sk_hvae._fit.fit import fit
from sk_hvae._fit.off_target import Reached
from sk_hvae._fit.plan import Plan
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae._input.checks import check_rows
from sk_hvae._input.frames import read_frame
from sk_hvae._input.likelihood_columns import AUTO, readings_of, resolve_likelihood
from sk_hvae._input.tables import as_table
from sk_hvae._sklearn.callbacks import CallbackSupportMixin, FitReport
from sk_hvae._sklearn.documentation import DocumentationLinkMixin
from sk_hvae._sklearn.fitted_state import (
    as_attributes,
    columns_of,
    fitted_of,
    is_fitted,
    schema_of,
    set_fitted,
)
from sk_hvae._sklearn.notebooks import NotebookMixin
from sk_hvae.exceptions import RateTargetWarning, TrainingInterruptedWarning, warn_caller
from sk_hvae.nn.building import Architecture
from sk_hvae.nn.likelihoods import resolve as new_likelihood
from sk_hvae.nn.networks.hit import PRESETS

# The networks' weights decay by this over the number of rows: a small table is not learnt by heart,
# and of many rows the decay is not felt. examples/benchmarks/representation.py measures both sides.
# No step takes more than a tenth off a weight, whatever the learning rate.
_DECAY_ROWS, _MAX_DECAY_PER_STEP = 800, 0.1


class BaseHierarchicalVAE(
    FilesMixin,
    FittedAttributes,
    CallbackSupportMixin,
    DocumentationLinkMixin,
    NotebookMixin,
    BaseEstimator,
    ABC,
):
    """Scikit-learn's conventions around the fit of a hierarchical VAE.

    An estimator says what it aims at, how large its layers are, and which model it stands for;
    its ``fit`` makes a `Plan`, chooses a `Recipe`, and hands both to `_run`.
    """

    n_features_in_: int
    _transient: ClassVar[tuple[str, ...]] = ()
    """Attributes that copies, pickles and files do not hold."""

    @abstractmethod
    def _goal(self) -> Goal:
        """Return what the parameters ask for; raises ValueError if they make no sense."""

    @abstractmethod
    def _layer_sizes(self, goal) -> tuple[int, ...]:
        """Return the units of each layer, z_1 first, unless the network has its own."""

    @final
    def _plan(self, X, auto_epochs, *, is_open_ended=False, go_on_from=None, stopping=None):
        """Turn parameters and X into what there is to do; changes nothing, here or on disk.

        Parameters
        ----------
        X : object
            As passed to ``fit``.
        auto_epochs : AutoEpochs
            What ``max_epochs="auto"`` stands for.
        is_open_ended : bool, default=False
            Whether there is one pass, after which the caller decides whether there are more.
        go_on_from : Fitted, default=None
            The model to train further; None for a new one.
        stopping : EarlyStopping, default=None
            When to stop early; None trains to the end.

        Returns
        -------
        tuple of (Plan, dict)
            The second is what scikit-learn's checks found out about the columns of X.
        """
        is_new = go_on_from is None
        rows, columns = self._check(X, go_on_from)
        names, schema = columns.get("feature_names_in_"), columns.get("_schema")
        goal = self._goal()
        masks = self._masks(schema, go_on_from)
        architecture = self._architecture(goal, rows.shape[1], go_on_from)._replace(missing=masks)
        if not is_new and self.likelihood == AUTO:
            likelihood = new_likelihood(go_on_from.likelihood)
        else:
            likelihood = resolve_likelihood(self.likelihood, X, names, rows, schema)
        resolve_output_layers(self.output_layers, goal.n_layers)
        accelerator = joined_accelerator()
        device = resolve_device(self.device, accelerator)
        checkpoint, seed = None, broadcast_from_first(draw_seed(self.random_state), accelerator)
        if self.checkpoint is not None and not is_open_ended:
            identity = fit_identity(self, rows, likelihood, not is_new)
            writes = accelerator is None or accelerator.is_main_process
            checkpoint = Checkpoint(self.checkpoint, identity, writes)
            seed = seed if checkpoint.seed is None else checkpoint.seed
        there = rows.on(device)
        training, held_out = (there, None) if stopping is None else stopping.split(there, seed)
        settings = self._settings(auto_epochs, len(training), device, is_open_ended)
        plan = Plan(
            goal=goal,
            architecture=architecture,
            likelihood=likelihood,
            settings=settings if stopping is None else stopping.within(settings),
            rows=there,
            training=training,
            held_out=held_out,
            seed=seed,
            data_dtype=rows.float_dtype,
            feature_names=names,
            accelerator=accelerator,
            checkpoint=checkpoint,
        )
        if is_new:
            return inspect_first_rows(plan), columns
        return inspect_further_rows(plan, go_on_from), columns

    @final
    def _check(self, X, go_on_from):
        """Check X; returns rows on the CPU, and what is known of the columns, by attribute."""
        X = as_table(X)
        is_new, frame = go_on_from is None, read_frame(X)
        # What an earlier fit knew of its columns is to stay, if this one comes to nothing.
        holder = type(self)(**self.get_params(deep=False)) if is_new else self
        may_miss = frame is not None if is_new else go_on_from.architecture.missing
        rows = check_rows(
            holder,
            X,
            reset=is_new,
            min_rows=2 if is_new else 1,
            allow_nan=may_miss if self.missing == "auto" else self.missing == "mask",
            readings=readings_of(self.likelihood, frame, X) if frame is not None else None,
            unknown=self.handle_unknown,
        )
        return rows, columns_of(holder)

    @final
    def _masks(self, schema, go_on_from):
        """Tell whether the model is to know of missing cells.

        With "auto" all tables have such models, because cells of later rows may be missing. What
        are no tables, but images or for networks of one's own, have one if cells are missing.
        """
        if self.missing != "auto":
            return self.missing == "mask"
        if go_on_from is not None:
            return go_on_from.architecture.missing
        if schema is None:
            return False
        is_table = self.image_shape is None and self.network in ("auto", "mlp")
        return is_table or schema.has_missing

    @final
    def _architecture(self, goal, n_features, go_on_from):
        network, image_shape = resolve_network(
            self.network, self.image_shape, goal.n_layers, n_features
        )
        return Architecture(
            self._sizes(goal, network, go_on_from),
            resolve_hidden(self.hidden_layer_sizes),
            network,
            image_shape,
            self.inference,
            self.top_layer,
        )

    @final
    def _sizes(self, goal, network, go_on_from):
        """Return the units of each layer; with "auto" a model that is trained further keeps its."""
        if network in PRESETS:
            return PRESETS[network].n_components
        if go_on_from is not None and isinstance(self.n_components, str):
            known = go_on_from.architecture.n_components
            if len(known) == goal.n_layers:
                return known
        return self._layer_sizes(goal)

    @final
    def _settings(self, auto_epochs, n_rows, device, is_open_ended=False):
        widths = resolve_hidden(self.hidden_layer_sizes)
        steps_per_epoch = n_batches(n_rows, self.batch_size)
        n_epochs = auto_epochs.resolve(self.max_epochs, steps_per_epoch)
        decay = min(_DECAY_ROWS / n_rows, _MAX_DECAY_PER_STEP / self.lr)
        return TrainingSettings(
            max_epochs=1 if is_open_ended else n_epochs,
            batch_size=self.batch_size,
            n_steps=None if is_open_ended else n_epochs * steps_per_epoch,
            lr=self.lr,
            weight_decay=0.0 if is_open_ended else decay,
            device=device,
            autocast=resolve_autocast(self.precision, device, widths),
            callbacks=check_callbacks(self.callbacks),
            verbose=self.verbose,
        )

    @final
    def _run(self, plan, columns, recipe, X, y):
        """Fit, and keep what it comes to; X and y are for scikit-learn's callbacks alone."""
        report = FitReport(self, X, y, plan.settings.max_epochs)

        def on_epoch(number, fitted_so_far):
            return report.epoch(number, lambda: as_attributes(fitted_so_far(), columns))

        def keep(fitted):
            set_fitted(self, fitted, columns)

        outcome = fit(plan, recipe, keep, on_epoch)
        keep(outcome.fitted)
        plan.end(outcome)
        if outcome.interrupted:
            warn_caller(
                f"training was interrupted after {self.n_iter_} of {plan.settings.max_epochs} "
                "epochs; the estimator is fitted so far, with rates_ as measured now.",
                TrainingInterruptedWarning,
            )
        report.end()
        return outcome

    @final
    def _warn_off_target(self, plan):
        reached = Reached(plan.goal.layer_rates, self.rates_, self.betas_)
        message = reached.describe(self.n_iter_, plan.has_wild_cells, plan.is_off_scale)
        warn_caller(message, RateTargetWarning)

    @final
    def _validate_params(self):
        with hints(self._parameter_constraints, self.get_params(deep=False)):
            super()._validate_params()

    @final
    def _html_below_diagram(self):
        """Show rates beside targets, clusters, and what the columns of a frame were taken for."""
        if not is_fitted(self):
            return ""
        return layers_html(self) + clusters_html(fitted_of(self)) + self._columns_html()

    @final
    def _columns_html(self):
        schema = schema_of(self)
        if schema is None:
            return ""
        try:
            return columns_html(column_table(schema, fitted_of(self).likelihood))
        except ImportError:  # The library of the frame is not installed where the model was loaded.
            return ""

    @final
    def __getstate__(self):
        state = super().__getstate__()
        return pack({name: state[name] for name in state if name not in self._transient})

    @final
    def __setstate__(self, state):
        super().__setstate__(unpack(state))

    @final
    def __sklearn_is_fitted__(self):
        return is_fitted(self)
