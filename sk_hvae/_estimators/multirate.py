"""MultiRateHVAETransformer: one fit for all rates."""

import copy
import math
from numbers import Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sk_hvae._data.batches import Selection
from sk_hvae._data.devices import module_device, place, usable_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.base import KEPT_OF_TRAINING, BaseHierarchicalVAE
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.parameters import check_layer_values, resolve_epochs, resolve_rate_range
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._estimators.typing import (
    ImageShape,
    InferenceKind,
    LayerRange,
    LayerSizes,
    LayerValues,
    LikelihoodChoice,
    MatrixLike,
    MaxEpochs,
    Missing,
    Network,
    OutputLayers,
    Precision,
    RandomState,
    TopLayer,
)
from sk_hvae._files.saving import SavedAttribute
from sk_hvae._fit.calibration import Calibration, PlanePoint
from sk_hvae._fit.control import Goal
from sk_hvae._fit.plane_control import PlaneController, TargetGrid
from sk_hvae._fit.plane_survey import PlaneSurvey
from sk_hvae._fit.start import START_ROWS, build_seeded, start_plane
from sk_hvae._input.kept import KeptRows
from sk_hvae._sklearn.callbacks import with_callbacks
from sk_hvae._sklearn.privates import Interval, fit_context
from sk_hvae.exceptions import RateTargetWarning, warn_caller
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBox
from sk_hvae.nn.hierarchy import HierarchicalVAE

_LN2 = math.log(2)
_MARGIN = 1.2
_MOST_OF_STATES = 0.97
_STEPS, _FEWEST_STEPS, _MOST_EPOCHS = 2000, 1000, 300
_UNIT_ROWS, _MOST_DRAWS = 512, 4
_SINGLE = HierarchicalVAETransformer._parameter_constraints
_OF_THE_FIT = (
    *("n_features_in_", "feature_names_in_", "n_iter_", "device_", "_architecture"),
    "_data_dtype",
)


def _at_current(name, what) -> Any:
    """Return a property that reads a fitted attribute at the current ``layer_rates``."""

    def read(self):
        return getattr(self._current(), name)

    return property(read, doc=f"{what} At the current ``layer_rates``.")


class MultiRateHVAETransformer(LatentsMixin, BaseHierarchicalVAE):
    """Latent representation whose bits per layer are chosen after the fit.

    One network is trained for all target rates within ``rate_range`` at once: every eight rows
    of a batch get targets of their own, and all layers are modulated by smooth functions of
    them [1]_. The multipliers of the rates are found for all targets, by controllers on a grid.
    After training the rates that come out are measured over the grid, and what the network is
    conditioned on is chosen so that asking for r bits gives r bits.

    The estimator acts as a `HierarchicalVAETransformer` at the current ``layer_rates``, which
    ``set_params`` changes without another fit; ``at`` gives it as an estimator of its own. A
    fit costs about as much as three of those, whatever the number of rates that are tried.

    Parameters
    ----------
    rate_range : (float, float) or sequence of (float, float), default=(0.5, 32)
        Smallest and largest rate in bits per sample, for all layers or for each, z_1 first.
        The wider, the more the network has to learn; half a bit to 32 bits suits anything
        from class labels to small images. The rate of a categorical top layer is at most
        log2 of the number of its states.
    layer_rates : float or sequence of float, default=(2, 8)
        Rates at which the estimator works, bits per sample, z_1 first. May be changed without
        fitting again; only the number of layers is fixed by ``fit``.
    n_components : int or sequence of int, default=16
        Number of units of every layer, or of each, z_1 first.
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Widths of the encoder's hidden layers; the decoder mirrors them.
    network : str or (encoder, decoder), default="auto"
        Kind of network, as in `HierarchicalVAETransformer`. Of your own networks, the linear
        and convolutional layers that have a bias are modulated.
    image_shape : tuple of int (channels, height, width), default=None
        Shape of the images whose flattened pixels are the columns of X.
    inference : {"top_down", "ladder"}, default="top_down"
        Form of the posteriors, as in `HierarchicalVAETransformer`.
    top_layer : {"gaussian", "categorical", "gumbel"}, default="gaussian"
        Kind of z_L, as in `HierarchicalVAETransformer`.
    likelihood : str, Likelihood or list of (likelihood, columns), default="gaussian"
        Distribution of the columns of X given z_1, as in `HierarchicalVAETransformer`. Its
        scales depend on the rates too.
    missing : {"error", "mask"}, default="error"
        Whether missing cells of X are an error or allowed: NaN, None, NA and NaT, and masked
        cells of a masked array.
    output_layers : {"all", "top"}, int or list of int, default="all"
        Layers that ``transform`` returns side by side. May be changed without fitting again.
    max_epochs : int or "auto", default="auto"
        Passes over the data. "auto" makes 2,000 optimiser steps, but at most 300 passes,
        unless these are fewer than 1,000 steps, which are then made: three times the passes
        of a single-rate fit.
    batch_size : int, default=768
        Largest number of rows per optimiser step; three times that of a single-rate fit,
        because many targets share the rows of a batch.
    lr : float, default=2e-3
        Peak learning rate of AdamW, with the schedule of `HierarchicalVAETransformer`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training, as in `HierarchicalVAETransformer`.
    device : str or torch.device, default="auto"
        Where to train, and to stay afterwards. "auto" takes CUDA, then MPS, then the CPU.
    callbacks : list of skorch callbacks, default=None
        Passed to skorch's training loop, as they are.
    checkpoint : str or path-like, default=None
        Folder in which ``fit`` keeps its state after passes over the data, and every minute in
        long ones. A fit that was killed goes on from there when it is started again with the
        same parameters and rows, and ends as if nothing had happened; the file is deleted at the
        end. One fit per folder. Callbacks of yours start anew.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, shuffling, targets and noise.
    verbose : int, default=0
        1 shows a progress line on stderr; rates and targets are means over the plane.

    Attributes
    ----------
    rates_ : ndarray of shape (n_layers,)
        Rates at the current ``layer_rates``, bits per sample, z_1 first. These and the next
        four are interpolated between measurements on up to 2,048 training rows.
    betas_ : ndarray of shape (n_layers,)
        Multipliers at the current ``layer_rates``, z_1 first.
    distortion_ : float
        Distortion at the current ``layer_rates``, bits per sample.
    lower_bound_ : float
        Lower bound on the mean ln p(x) at the current ``layer_rates``, nats.
    converged_ : bool
        Whether every layer is within 5% or 0.1 bit of the current ``layer_rates``, and
        training was neither interrupted nor diverged.
    n_iter_ : int
        Number of epochs run.
    n_layers_ : int
        Number of layers.
    n_components_ : tuple of int
        Units of each layer, z_1 first.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer, such as "z1".
    history_ : dict of ndarray
        Per epoch, means over the plane: "train_distortion" (n_iter_,) and "train_rates"
        (n_iter_, n_layers) in bits per sample, and "betas" (n_iter_, n_layers), whose means
        are geometric.
    module_ : sk_hvae.nn.HierarchicalVAE
        Plain torch module at the current ``layer_rates``.
    conditioned_ : sk_hvae.nn.ConditionedHierarchy
        The trained torch module, for all rates.
    calibration_ : Calibration
        What was measured over the plane; ``calibration_.find(layer_rates)`` tells condition,
        rates, distortion and betas of the point that comes closest.
    likelihood_ : sk_hvae.nn.Likelihood
        The fitted likelihood, ``module_.likelihood``; that of a list has its parts in
        ``likelihoods``. A `Gaussian` tells in ``scaling_`` how columns were standardised.
    device_ : str
        Device that the model was trained on.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names of X, if it had string names.

    Warns
    -----
    RateTargetWarning
        If the model does not reach the rates that are asked for; says which come nearest.
    TrainingInterruptedWarning
        If training was stopped from the keyboard.

    See Also
    --------
    HierarchicalVAETransformer : One fit for one vector of rates.
    RateSearchCV : Search over rates, at one fit of this estimator per split.
    rate_map : Metrics over the rate plane.

    Notes
    -----
    The loss of a row with multipliers beta is divided by the cube root of 1 + mean beta, so
    that neither end of the plane drowns the other. Training starts at probabilistic PCA for
    all rates: the closed forms of the linear code at 96 targets, 32 for one layer, are
    regressed on the functions of the rates that modulate the linear paths.

    Unlike `HierarchicalVAETransformer` it has no early stopping, warm start or partial fit.

    From scikit-learn 1.9 on, ``set_callbacks`` takes callbacks of its protocol, such as
    ProgressBar and ScoringMonitor, see :doc:`/user_guide/speed`.

    References
    ----------
    .. [1] Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI
       2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import MultiRateHVAETransformer
    >>> X = load_iris().data
    >>> multi = MultiRateHVAETransformer(
    ...     (0.5, 6), layer_rates=(1, 3), max_epochs=200, random_state=0
    ... ).fit(X)
    >>> multi.rates(X).mean(axis=0).round()
    array([1., 3.])
    >>> multi.set_params(layer_rates=(2, 1)).rates(X).mean(axis=0).round()
    array([2., 1.])
    """

    _parameter_constraints: ClassVar[dict] = {
        "rate_range": ["array-like"],
        "layer_rates": ["array-like", Interval(Real, 0, None, closed="neither")],
        **{
            name: _SINGLE[name]
            for name in (
                "n_components",
                "hidden_layer_sizes",
                "network",
                "image_shape",
                "inference",
                "top_layer",
                "likelihood",
                "missing",
                "output_layers",
                "max_epochs",
                "batch_size",
                "lr",
                "precision",
                "device",
                "callbacks",
                "checkpoint",
                "random_state",
                "verbose",
            )
        },
    }

    conditioned_: ConditionedHierarchy
    calibration_: Calibration
    _at: dict[tuple[float, ...], HierarchicalVAETransformer] = {}  # noqa: RUF012
    _empty: HierarchicalVAE | None = None
    _rows_of_fit: KeptRows | None = None
    _model_name: ClassVar = "conditioned_"
    _transient: ClassVar = (*BaseHierarchicalVAE._transient, "_rows_of_fit", "_at", "_empty")
    _kept: ClassVar = {
        **KEPT_OF_TRAINING,
        "_completed": SavedAttribute("b"),
        "calibration_.low": SavedAttribute("f", ("n_layers",)),
        "calibration_.high": SavedAttribute("f", ("n_layers",)),
        "calibration_.table": SavedAttribute("f", ("n_nodes", "n_measured")),
    }

    def __init__(
        self,
        rate_range: LayerRange = (0.5, 32),
        *,
        layer_rates: LayerValues = (2, 8),
        n_components: LayerSizes = 16,
        hidden_layer_sizes: LayerSizes = (256, 256),
        network: Network = "auto",
        image_shape: ImageShape | None = None,
        inference: InferenceKind = "top_down",
        top_layer: TopLayer = "gaussian",
        likelihood: LikelihoodChoice = "gaussian",
        missing: Missing = "error",
        output_layers: OutputLayers = "all",
        max_epochs: MaxEpochs = "auto",
        batch_size: int = 768,
        lr: float = 2e-3,
        precision: Precision = "auto",
        device: str | torch.device = "auto",
        callbacks: list[Any] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.rate_range = rate_range
        self.layer_rates = layer_rates
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.network = network
        self.image_shape = image_shape
        self.inference = inference
        self.top_layer = top_layer
        self.likelihood = likelihood
        self.missing = missing
        self.output_layers = output_layers
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Train for all rates, then measure which rates come out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, or NaN where missing if ``missing="mask"``; at least 2 rows. For
            ``fine_tune`` and `recommend_rates` the estimator keeps a reference, which keeps X in
            memory, and a hash of all of it, which tells whether it has changed; copies, pickles
            and files hold neither. A torch Dataset is not kept: its items may be drawn anew.
        y : array-like of shape (n_samples,), default=None
            Nothing is trained on it. It is handed on to scikit-learn's callbacks, whose scorers
            may need it.

        Returns
        -------
        MultiRateHVAETransformer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter does not make sense or X does not suit the likelihood.
        TrainingDivergedError
            If training turns non-finite; the last finite weights are kept.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sk_hvae import MultiRateHVAETransformer
        >>> multi = MultiRateHVAETransformer((1, 8), layer_rates=3, max_epochs=200, random_state=0)
        >>> multi.fit(load_wine().data).converged_
        True
        """
        self._fit(X, y)
        self._rows_of_fit = KeptRows.of(self, X)
        return self

    def at(self, layer_rates: LayerValues) -> HierarchicalVAETransformer:
        """Make a fitted single-rate estimator.

        Parameters
        ----------
        layer_rates : float or sequence of float
            Rates in bits per sample, z_1 first.

        Returns
        -------
        HierarchicalVAETransformer
            Fitted, with the shared weights as they are at these rates. It knows nothing of
            the other rates: it pickles and saves as small as any, and may be trained further
            with ``warm_start=True`` or ``partial_fit``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the number of layers is not that of ``fit``.

        Warns
        -----
        RateTargetWarning
            If the model does not reach these rates; says which come nearest, and takes them.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import MultiRateHVAETransformer
        >>> X = load_iris().data
        >>> multi = MultiRateHVAETransformer(
        ...     (0.5, 6), layer_rates=(1, 3), max_epochs=200, random_state=0
        ... ).fit(X)
        >>> hvae = multi.at((1, 2))
        >>> type(hvae).__name__, hvae.rates(X).mean(axis=0).round()
        ('HierarchicalVAETransformer', array([1., 2.]))
        """
        check_is_fitted(self, "calibration_")
        rates = self._check_rates(layer_rates)
        point = self.calibration_.find(rates)
        shared = {
            name: copy.copy(value)
            for name, value in self.get_params(deep=False).items()
            if name in _SINGLE and name != "checkpoint"
        }
        single = HierarchicalVAETransformer(**{**shared, "layer_rates": copy.copy(layer_rates)})
        for name in _OF_THE_FIT:
            if hasattr(self, name):
                setattr(single, name, getattr(self, name))
        single.n_layers_, single.n_components_ = self.n_layers_, self.n_components_
        single.history_, single._session = self.history_, None
        single._wild_cells, single._is_off_scale = (), False
        single.rates_, single.betas_ = point.rates, point.betas
        single.distortion_ = point.distortion
        single.lower_bound_ = -_LN2 * (point.distortion + float(point.rates.sum()))
        misses = single._reached(Goal(rates, ())).misses
        single.converged_ = self._completed and not any(misses)
        single.module_ = self._plain(point)
        if any(misses):
            nearest = ", ".join(f"{rate:.3g}" for rate in point.rates)
            warn_caller(
                f"the model does not reach {rates} bits; nearest are ({nearest}). Ask for "
                f"these, or fit with another rate_range ({self.rate_range} now) or longer "
                "(max_epochs); data may have no more bits to give.",
                RateTargetWarning,
            )
        return single

    def fine_tune(
        self, layer_rates: LayerValues, X: MatrixLike | None = None, *, max_epochs: MaxEpochs = 10
    ) -> HierarchicalVAETransformer:
        """Train a copy of the model further, for one vector of rates.

        Parameters
        ----------
        layer_rates : float or sequence of float
            Rates in bits per sample, z_1 first.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to train on. None takes those of ``fit``, if they are still there and have not
            changed.
        max_epochs : int or "auto", default=10
            Passes over the data; a few are enough, as the shared weights are close.

        Returns
        -------
        HierarchicalVAETransformer
            Fitted; the shared weights stay as they are.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is None and the rows of ``fit`` have changed since, even in their order, or are
            not there: they were a torch Dataset, or this estimator is a copy, or was pickled or
            saved. Otherwise as ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import MultiRateHVAETransformer
        >>> X = load_iris().data
        >>> multi = MultiRateHVAETransformer(
        ...     (0.5, 6), layer_rates=(1, 3), max_epochs=200, random_state=0
        ... ).fit(X)
        >>> multi.fine_tune((1, 2), max_epochs=100).converged_
        True
        """
        single = self.at(layer_rates)
        X = self._unchanged_rows() if X is None else X
        single.set_params(warm_start=True, max_epochs=max_epochs).fit(X)
        return single.set_params(warm_start=False, max_epochs=self.max_epochs)

    module_: HierarchicalVAE = _at_current("module_", "Plain torch module.")
    rates_: NDArray[np.float64] = _at_current("rates_", "Rates, bits per sample, (n_layers,).")
    betas_: NDArray[np.float64] = _at_current("betas_", "Multipliers, (n_layers,).")
    distortion_: float = _at_current("distortion_", "Distortion, bits per sample.")
    lower_bound_: float = _at_current("lower_bound_", "Lower bound on the mean ln p(x), nats.")
    converged_: bool = _at_current("converged_", "Whether the rates were reached.")

    def _current(self):
        """Return the single-rate estimator at the current ``layer_rates``."""
        if not hasattr(self, "calibration_"):
            raise AttributeError("this MultiRateHVAETransformer is not fitted yet; call fit.")
        rates = check_layer_values("layer_rates", self.layer_rates, "bits per sample")
        if rates not in self._at:
            self._at = {rates: self.at(rates)}
        return self._at[rates]

    def _unchanged_rows(self):
        """Return the X of ``fit``, once it is sure to be as it was."""
        check_is_fitted(self, "calibration_")
        if self._rows_of_fit is None:
            raise ValueError(
                "the rows of fit are not there: copies, pickles and files do not hold them, and a "
                "torch Dataset, whose items may be drawn anew, is not kept. Pass X."
            )
        return self._rows_of_fit.unchanged(self)

    def _check_rates(self, layer_rates):
        """Return rates in bits as a tuple, one for each layer of the fitted model."""
        rates = check_layer_values("layer_rates", layer_rates, "bits per sample")
        if len(rates) != self.n_layers_:
            raise ValueError(
                f"layer_rates has {len(rates)} entries, but the model was fitted with "
                f"{self.n_layers_} layers; give one rate per layer or fit anew."
            )
        return rates

    def _check_usable(self):
        super()._check_usable()
        self._check_rates(self.layer_rates)
        if not np.isfinite(self.calibration_.arrays["table"]).all():
            raise ValueError("what was measured over the rate plane is not finite; fit anew.")

    def _goal(self):
        return Goal(check_layer_values("layer_rates", self.layer_rates, "bits per sample"), ())

    def _n_epochs(self, steps_per_epoch):
        limits = _STEPS, _FEWEST_STEPS, _MOST_EPOCHS
        return resolve_epochs(self.max_epochs, steps_per_epoch, *limits)

    def _split(self, plan):
        return Selection(plan.rows), None

    def _start(self, plan, n_steps, warm):
        def ramp(targets):
            goals = [Goal(tuple(nats / _LN2 for nats in target), ()) for target in targets]
            ramps = [self._ramp(plan._replace(goal=goal), n_steps) for goal in goals]
            return torch.tensor(ramps, dtype=torch.float32, device=plan.device)

        low, high = (ends * _LN2 for ends in self._ends(plan))
        module, betas = start_plane(plan, RateBox(low.tolist(), high.tolist()), ramp)
        grid = TargetGrid(module.box)
        control = PlaneController(grid, betas(grid.rates), n_steps, ramp(grid.rates.tolist()))
        return module, control

    def _ends(self, plan):
        """Return the ends of the conditions in bits: wider than the targets, to hit them all."""
        low, high = map(np.array, resolve_rate_range(self.rate_range, plan.goal.n_layers))
        low, high = low / _MARGIN, high * _MARGIN
        if plan.architecture.has_categorical_top:
            n_states = plan.architecture.layer_sizes[-1]
            if n_states < 2:
                raise ValueError(
                    f"top_layer={self.top_layer!r} with one state has no bits to choose from; the "
                    "last entry of n_components must be at least 2."
                )
            most = _MOST_OF_STATES * math.log2(n_states)
            high[-1] = min(high[-1], most)
            low[-1] = min(low[-1], most / _MARGIN)
        return low, high

    def _mark_diverged(self, betas):
        self._completed, self._at = False, {}

    def _warn_off_target(self, goal):
        """Do nothing: `at` has warned."""

    def _conclude(self, net, plan):
        """Measure the trained model over the plane, and set the fitted attributes."""
        self._set_common(net, plan)
        self.conditioned_ = net.module_.eval()
        self._completed, self._at, self._empty = not net.interrupted_, {}, None
        self._rows_of_fit = None
        some = plan.rows.every(math.ceil(len(plan.rows) / START_ROWS))
        n_draws = max(1, min(_MOST_DRAWS, START_ROWS // len(some)))
        grid, module = net.control.grid, self._build()
        module.load_state_dict(self.conditioned_.state_at(grid.rates[0].tolist()))
        survey = PlaneSurvey(module, some, n_draws, net.autocast)
        points = []
        for rates, betas in zip(grid.rates.tolist(), net.control.node_betas.tolist(), strict=True):
            module.load_state_dict(self.conditioned_.state_at(rates))
            module.set_scales(some[:: math.ceil(len(some) / _UNIT_ROWS)])
            measured = survey.measure(module)
            points.append(
                PlanePoint(
                    condition=np.array(rates) / _LN2,
                    rates=measured.rates,
                    distortion=measured.distortion,
                    betas=np.array(betas),
                    scales=torch.cat([layer.scale for layer in module.layers]).cpu().numpy(),
                )
            )
        self.calibration_ = Calibration.of(points)

    def _build(self):
        """Build a plain module on the device of the conditioned one."""
        if self._empty is None:
            likelihood = copy.deepcopy(self.conditioned_.model.likelihood)
            self._empty = build_seeded(self._architecture, likelihood, 0).eval()
        return place(copy.deepcopy(self._empty), module_device(self.conditioned_))

    @FixedThreads()
    def _plain(self, point, module=None):
        """Return a plain module at a `PlanePoint`: a new one, or the one given."""
        if module is None:
            self.conditioned_ = place(self.conditioned_, usable_device(self.device_))
            module = self._build()
        module.load_state_dict(self.conditioned_.state_at((point.condition * _LN2).tolist()))
        sizes = [layer.n_units for layer in module.layers]
        units = torch.from_numpy(point.scales).to(module.layers[0].scale).split(sizes)
        for layer, unit in zip(module.layers, units, strict=True):
            layer.scale.copy_(unit)
        return module
