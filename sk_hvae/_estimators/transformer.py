"""HierarchicalVAETransformer: state the bits per layer, get latents that carry them."""

from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import torch

from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.base import BaseHierarchicalVAE
from sk_hvae._estimators.compression import CompressionMixin
from sk_hvae._estimators.parameters import (
    auto_sizes,
    resolve_output_layers,
    resolve_sizes,
    resolve_targets,
)
from sk_hvae._estimators.sampling import SamplesMixin
from sk_hvae._estimators.typing import (
    HandleUnknown,
    ImageShape,
    InferenceKind,
    LayerSizes,
    LayerUnits,
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
from sk_hvae._fit.control import Goal
from sk_hvae._fit.early_stopping import EarlyStopping
from sk_hvae._fit.fit import train
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.session import Session
from sk_hvae._fit.single_rate import SingleRate
from sk_hvae._sklearn.callbacks import with_callbacks
from sk_hvae._sklearn.fitted_state import fitted_of, is_fitted, set_fitted
from sk_hvae._sklearn.privates import Interval, StrOptions, fit_context
from sk_hvae.exceptions import RateTargetWarning, warn_caller
from sk_hvae.nn.building import INFERENCE_KINDS, NETWORKS, TOP_LAYERS
from sk_hvae.nn.likelihoods import LIKELIHOODS, Likelihood


class HierarchicalVAETransformer(SamplesMixin, CompressionMixin, BaseHierarchicalVAE):
    """Latent representation in which you choose the number of bits of each layer.

    A hierarchical variational autoencoder has layers of latents, from z_1, nearest the data, to
    z_L, the top. Latents are inferred in the same order in which data are generated, from the top
    down. The bit rate of the model is then the sum of one rate per layer, R_l = E KL(q(z_l |
    z_{l+1}, x) || p(z_l | z_{l+1})) [1]_. You state the rates in bits, and a controller finds the
    multipliers beta_l of the training objective D + sum_l beta_l R_l that give them, where D =
    E[-log2 p(x | z_1)] is the distortion.

    Training starts at probabilistic PCA. Linear paths through encoder, priors and decoder start as
    the best linear-Gaussian code at the target rates (reverse water-filling on the principal
    components [2]_). Networks beside them start at zero and add what is not linear. Only the
    presets and "fully-conv" have no linear paths and start at random. The targets start at up to
    twice their value and come down over the first 30% of the steps, because models that start with
    more bits find more structure. The weights of the networks are decayed, and more strongly if
    there are fewer rows.

    Parameters
    ----------
    layer_rates : float or sequence of float, default=(2, 8)
        Target rate of each layer in bits per sample, z_1 first. The model has one layer for each
        rate, so a single number asks for one layer. None if ``betas`` are given.
    betas : float or sequence of float, default=None
        Fixed multipliers of the rates, z_1 first, instead of targets, as in [1]_. The rates are
        then not known beforehand, and if the multipliers are unequal, the layer with the larger one
        tends to collapse.
    n_components : "auto", int or sequence of int, default="auto"
        Number of units: one number for all layers, or one for each layer, z_1 first. For a
        categorical top layer this is the number of states, and for "fully-conv" the number of maps.
        "auto" gives every layer as many units as there are bits in ``layer_rates`` together, but
        not less than 16 nor more than 256; with ``betas``, and of states and maps, there are 16.
        Units that the rate of a layer cannot fill stay unused, so that too many take more time but
        do no harm. If there are too few, bits go into further digits of what they know already, and
        classifiers that read them may get worse. A model that is trained further keeps its units.
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Widths of the encoder's hidden layers; the decoder mirrors them. "conv" has its convolutions
        before the encoder's and after the decoder's. The other convolutional networks have no such
        layers.
    network : str or (encoder, decoder), default="auto"
        Kind of network. "mlp": multi-layer perceptrons. "conv": convolutions before and after the
        perceptrons, for ``image_shape``. "fully-conv": every layer of latents is a stack of
        ``n_components`` maps, z_1 at a quarter of the image's height and width, and each higher
        layer at half of the height and width of the one below. It is meant for large images.
        "hit-mnist" and "hit-cifar": the two-layer models of [1]_ for images of (1, 28, 28) and (3,
        32, 32), with their own ``n_components``. Or a pair of your own torch modules or functions
        that build them, see `sk_hvae.nn.Networks`. "auto" is "conv" if ``image_shape`` is given,
        else "mlp".
    image_shape : tuple of int (channels, height, width), default=None
        Shape of the images whose flattened pixels are the columns of X.
    inference : {"top_down", "ladder"}, default="top_down"
        Posterior of a layer below the top: a network of its own, q(z_l | z_{l+1}, x), or the
        precision-weighted product of the prior and a Gaussian read off x [3]_.
    top_layer : {"gaussian", "categorical", "gumbel"}, default="gaussian"
        Kind of z_L. "categorical" has one of ``n_components`` states, whose rate is at most
        log2(n_components) bits. Training computes the exact expectation over the states, so that
        each row passes through the lower layers once for every state. "gumbel" trains on one
        sampled state with straight-through gradients, which is faster but has more noise.
    likelihood : "auto", str, Likelihood, dict or list of (likelihood, columns), default="auto"
        Distribution of the columns of X given z_1. "auto" takes an array as "gaussian". In a frame
        it gives every column what suits its dtype: text, categories and truth values are
        "categorical"; numbers, datetimes, dates that are written as text, and durations are
        ``Gaussian(scaling="quantile", sigma="per_feature")``, which follows skewed columns and
        those that are rounded, and draws values that the column can have. Only pixels of images
        stay "gaussian". ``columns_`` shows what was chosen. "gaussian" takes raw columns: the model
        standardises them, and learns one standard deviation for all of them. "bernoulli" is for X
        in [0, 1], and ``Bernoulli(high=255)`` for X in [0, 255]; "poisson" and "negative_binomial"
        for counts; "categorical" for categories or whole numbers as codes; "discretized_logistic"
        and "discretized_logistic_mixture" for 8-bit values, 0 to 255 or those divided by 255. A
        dict gives a likelihood to some columns, ``{"age": "poisson"}``; the others have that of
        "auto". A list gives a likelihood for each column. Columns are named by number or by name,
        ``[("gaussian", [0, 1]), ("categorical", ["colour"])]``, or by slices, boolean masks and
        functions of X, as in ColumnTransformer. Datetimes and durations in X become seconds;
        datetimes are counted from 1970. See `sk_hvae.nn` for variants of each likelihood.
    missing : {"auto", "error", "mask"}, default="auto"
        Whether missing cells of X are an error or allowed: NaN, None, NA and NaT, and masked cells
        of a masked array. "auto" allows them in a frame, because tables have them, and not in an
        array, where NaN is often the mistake of a computation. Missing cells do not count in the
        distortion. The encoder is told which cells are missing, and reads in their place the values
        that a factor analysis of the training rows expects. ``impute`` fills them in. The model of
        a frame takes missing cells even if that of ``fit`` had none. With "error" set after
        ``fit``, missing cells of new rows are an error; a model that was fitted with "error" never
        takes any.
    handle_unknown : {"error", "missing"}, default="missing"
        What a category of a frame is that the rows of ``fit`` did not have: an error, or a missing
        cell. With "missing", rare categories do no harm in cross-validation. It is read whenever
        rows are, so that it can be set after ``fit``.
    output_layers : {"all", "top"}, int or list of int, default="all"
        Layers that ``transform`` returns side by side. A layer is given by its number, which is 1
        for z_1. This can be changed without fitting again.
    max_epochs : int or "auto", default="auto"
        Passes over the data. "auto" makes as many passes as are needed for 1,200 optimiser steps,
        but at most 60, because with more passes small data are learnt by heart. If 60 passes are
        fewer than 120 steps, it makes as many as are needed for 120 steps.
    batch_size : int, default=256
        Largest number of rows per optimiser step.
    lr : float, default=3e-3
        Largest learning rate of NAdam. The learning rate rises during the first 5% of the steps,
        stays constant until half of the steps are made, and then falls to zero along a cosine.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; everything else is float32. "auto" uses bfloat16
        if the hardware supports it well and every hidden layer is at least 256 wide; narrower
        layers would not be faster.
    device : str or torch.device, default="auto"
        Device on which the model is trained and stays afterwards. "auto" uses CUDA if it is
        available, otherwise MPS, and otherwise the CPU.
    early_stopping : bool, default=False
        Whether to hold out ``validation_fraction`` of the rows, to stop when the objective on these
        has not improved for ``n_iter_no_change`` epochs, and to keep the best weights. Epochs count
        only after 30% of the steps, when the targets have come down.
    validation_fraction : float, default=0.1
        Fraction of the rows that ``early_stopping`` holds out.
    n_iter_no_change : int, default=10
        Epochs without improvement before ``early_stopping`` ends training.
    warm_start : bool, default=False
        Whether ``fit`` continues from the fitted model. The ``layer_rates`` may have changed.
    callbacks : list of skorch callbacks, default=None
        Callbacks for skorch's training loop. The learning rate has a schedule of its own, which an
        LRScheduler does not change.
    checkpoint : str or path-like, default=None
        Folder in which ``fit`` keeps its state: after passes over the data, and every minute within
        long passes. If a fit is killed, start it again with the same parameters and rows: it
        continues from this state, and gives the same result as without the interruption. The file
        is deleted at the end. Every fit needs a folder of its own. The state of your own callbacks
        is not kept.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, shuffling, noise and splits. With an int, fits on the same machine
        with the same versions are identical. Global generators are neither used nor changed.
    verbose : int, default=0
        1 shows a line on stderr, or a bar in notebooks, with the progress, the rates and their
        targets. Methods that take longer than a second, such as ``transform`` of many rows, show
        how many rows are done, and the time left.

    Attributes
    ----------
    rates_ : ndarray of shape (n_layers,)
        Measured rates on the rows of ``fit``, held-out ones included, bits per sample, z_1 first.
    betas_ : ndarray of shape (n_layers,)
        Final multipliers, z_1 first.
    distortion_ : float
        Measured distortion on the rows of ``fit``, held-out ones included, bits per sample. For
        continuous data it may be negative, because densities may be larger than 1.
    lower_bound_ : float
        Lower bound on the mean ln p(x) of the same rows, nats:
        ``-lower_bound_ / ln(2) = distortion_ + sum(rates_)``.
    converged_ : bool
        Whether every layer is within 5% or 0.1 bit of its target, and training was neither
        interrupted from the keyboard nor diverged.
    n_iter_ : int
        Number of epochs run.
    n_layers_ : int
        Number of layers.
    n_components_ : tuple of int
        Units of each layer, z_1 first.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer, such as "z1".
    history_ : dict of ndarray
        Figures of every epoch: "train_distortion" (n_iter_,) and "train_rates" (n_iter_, n_layers)
        in bits per sample, and "betas" (n_iter_, n_layers). With ``layer_rates`` there are also the
        "target_rates" at that time, and with ``early_stopping`` "valid_distortion" and
        "valid_rates". Single numbers that ``callbacks`` recorded are there as well.
    module_ : sk_hvae.nn.HierarchicalVAE
        The trained torch module.
    likelihood_ : sk_hvae.nn.Likelihood
        The fitted likelihood, which is ``module_.likelihood``. If ``likelihood`` is a list, the
        attribute ``likelihoods`` of this object has its parts. The attribute ``scaling_`` of a
        `Gaussian` says how columns were standardised.
    device_ : str
        Device that the model was trained on.
    columns_ : frame
        What the columns of X were taken for, if X was a frame; a frame of the same library, with
        "column", "dtype", "kind", "likelihood", "values", and the share of "missing" cells.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names of X, if it had string names.

    Warns
    -----
    RateTargetWarning
        If the rate of a layer is off its target after training. The warning says which layer it is,
        how far it is off, and what to try.
    ScaleWarning
        If ``warm_start`` or ``partial_fit`` continues with rows that are many scales away from
        those on which the model was first fitted.
    TrainingInterruptedWarning
        If training was stopped from the keyboard.

    See Also
    --------
    MultiRateHVAETransformer : One fit for all rates.
    RateSearchCV : Choose rates by cross-validation.
    sklearn.decomposition.PCA : The linear model that training starts from.

    Notes
    -----
    The rates limit the information in samples of the latents. ``transform`` returns posterior
    means, which are functions of x and may contain more information. Where the limit matters, as
    for bounds, privacy or compression, use ``latents(X, sample=True)``.

    The columns of ``transform`` are scaled so that a column with signal-to-noise ratio s has a
    standard deviation of about sqrt(s). This is half-way between standard deviations of 1 and noise
    of 1 in all columns. Units that carry no information have means near zero. Do not standardise
    the columns of ``transform``, because this enlarges the noise of such units.

    From scikit-learn 1.9 on, ``set_callbacks`` takes scikit-learn's own callbacks, such as
    ProgressBar and ScoringMonitor, see :doc:`/user_guide/speed`.

    References
    ----------
    .. [1] Xiao and Bamler, "Trading Information between Latents in Hierarchical
       Variational Autoencoders", ICLR 2023.
    .. [2] Cover and Thomas, "Elements of Information Theory", section 10.3.3.
    .. [3] Sonderby et al., "Ladder Variational Autoencoders", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer(layer_rates=(2, 4), random_state=0).fit(X)
    >>> hvae.rates_.round()
    array([2., 4.])
    >>> hvae.transform(X).shape
    (150, 32)
    """

    _kind: ClassVar = Fitted
    _transient: ClassVar = ("_session",)
    _session: Session | None = None

    _parameter_constraints: ClassVar[dict] = {
        "layer_rates": ["array-like", Interval(Real, 0, None, closed="neither"), None],
        "betas": ["array-like", Interval(Real, 0, None, closed="neither"), None],
        "n_components": [
            "array-like",
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "network": [
            StrOptions({"auto", *NETWORKS}),
            tuple,
            list,
        ],
        "image_shape": ["array-like", None],
        "inference": [StrOptions(set(INFERENCE_KINDS))],
        "top_layer": [StrOptions(set(TOP_LAYERS))],
        "likelihood": [StrOptions({"auto", *LIKELIHOODS}), Likelihood, list, tuple, dict],
        "missing": [StrOptions({"auto", "error", "mask"})],
        "handle_unknown": [StrOptions({"error", "missing"})],
        "output_layers": [
            "array-like",
            StrOptions({"all", "top"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str, torch.device],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, None],
        "checkpoint": [str, PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        layer_rates: LayerValues | None = (2, 8),
        *,
        betas: LayerValues | None = None,
        n_components: LayerUnits = "auto",
        hidden_layer_sizes: LayerSizes = (256, 256),
        network: Network = "auto",
        image_shape: ImageShape | None = None,
        inference: InferenceKind = "top_down",
        top_layer: TopLayer = "gaussian",
        likelihood: LikelihoodChoice = "auto",
        missing: Missing = "auto",
        handle_unknown: HandleUnknown = "missing",
        output_layers: OutputLayers = "all",
        max_epochs: MaxEpochs = "auto",
        batch_size: int = 256,
        lr: float = 3e-3,
        precision: Precision = "auto",
        device: str | torch.device = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        callbacks: list[Any] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.layer_rates = layer_rates
        self.betas = betas
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.network = network
        self.image_shape = image_shape
        self.inference = inference
        self.top_layer = top_layer
        self.likelihood = likelihood
        self.missing = missing
        self.handle_unknown = handle_unknown
        self.output_layers = output_layers
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.device = device
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @FixedThreads()
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Train the model so that its layers carry the target rates.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            A frame of pandas, polars or pyarrow with numbers, text, categories, truth values and
            dates, and cells may be missing; or an array of finite numbers, or NaN where missing if
            ``missing="mask"``. At least 2 rows.
            float64, float32, float16, uint8, int8, int16 and bool arrays are not copied.
        y : array-like of shape (n_samples,), default=None
            Not used for training. It is passed on to scikit-learn's callbacks, whose scorers may
            need it.

        Returns
        -------
        HierarchicalVAETransformer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter does not make sense or X does not suit the likelihood.
        TrainingDivergedError
            If a number becomes infinite or NaN in training. The last finite weights are kept.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> hvae = HierarchicalVAETransformer(layer_rates=3, random_state=0)
        >>> hvae.fit(load_wine().data).converged_
        True
        """
        fitted = fitted_of(self) if self.warm_start and is_fitted(self) else None
        stopping = None
        if self.early_stopping:
            stopping = EarlyStopping(self.validation_fraction, self.n_iter_no_change)
        plan, columns = self._plan(X, SingleRate.auto_epochs, go_on_from=fitted, stopping=stopping)
        plan.begin()
        outcome = self._run(plan, columns, SingleRate(fitted), X, y)
        self._session = None
        if not (outcome.interrupted or self.converged_):
            self._warn_off_target(plan)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @FixedThreads()
    def partial_fit(self, X: MatrixLike, y: object = None) -> Self:  # noqa: ARG002
        """Train for one pass over a batch of data.

        The rows of the first call determine how columns are standardised, and the principal
        components at which training starts. So pass a few hundred rows that are typical of all
        data. A column that was constant so far is learned from the first rows in which it varies.
        The betas are adjusted to reach the targets from call to call, and the learning rate stays
        constant. ``n_iter_`` and ``history_`` count all passes so far, also those before the model
        was pickled or its parameters changed.

        ``converged_`` says whether the rates are on target after a call. After few steps on rows
        that differ from the first ones, they may be far off, so continue until ``converged_`` is
        True. New targets may take 1,000 steps. If the rates are still off target after that, there
        is a warning, but not at every call.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            As for ``fit``. At least 2 rows in the first call.
        y : None
            Ignored; here for scikit-learn's interface.

        Returns
        -------
        HierarchicalVAETransformer
            The estimator. Its measured attributes, such as ``rates_``, are those of X.

        Raises
        ------
        ValueError
            If a parameter does not make sense, X does not suit the likelihood, or the sizes
            of the layers have changed.
        TrainingDivergedError
            If a number becomes infinite or NaN in training. The last finite weights are kept.

        Warns
        -----
        ScaleWarning
            If columns lie, or spread, ten scales off those of the first call; names them.
        RateTargetWarning
            If layers are over 20% and half a bit off their targets, on average over the last
            quarter of the calls, after 1,000 optimiser steps with the same parameters; once.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_digits().data
        >>> hvae = HierarchicalVAETransformer(random_state=0)
        >>> for first in range(0, 1500, 500):
        ...     hvae = hvae.partial_fit(X[first : first + 500])
        >>> hvae.n_iter_
        3
        """
        fitted = fitted_of(self) if is_fitted(self) else None
        plan, columns = self._plan(X, SingleRate.auto_epochs, is_open_ended=True, go_on_from=fitted)
        session, self._session = self._session, None
        if session is None or not session.suits(plan, fitted):
            session = Session.begin(plan, fitted)

        def keep(fitted):
            set_fitted(self, fitted, columns)

        plan = plan._replace(past=session.past)
        outcome = train(session.net, SingleRate(fitted), plan, keep)
        keep(outcome.fitted)
        self._session = session = session._replace(fitted=outcome.fitted)
        if outcome.interrupted:
            session.net.interrupted_ = False
            raise KeyboardInterrupt
        message = "" if session.has_warned else session.describe_drift()
        if message:
            self._session = session._replace(has_warned=True)
            warn_caller(message, RateTargetWarning)
        return self

    def __hvae_model__(self) -> Fitted:
        return fitted_of(self)

    def _goal(self):
        return Goal(*resolve_targets(self.layer_rates, self.betas))

    def _layer_sizes(self, goal):
        # All layers start at the same principal components, and a lower one passes on what those
        # above it say. So every layer needs units for the bits of all.
        bits = sum(goal.layer_rates)
        auto = auto_sizes(bits, goal.n_layers, self.network, self.top_layer)
        return resolve_sizes(self.n_components, goal.n_layers, auto)

    def _check_usable(self):
        self._goal()
        resolve_output_layers(self.output_layers, self.n_layers_)
