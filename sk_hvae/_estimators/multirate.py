"""MultiRateHVAETransformer: one fit for all rates."""

import copy
from collections.abc import Iterable
from numbers import Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.base import BaseHierarchicalVAE
from sk_hvae._estimators.model import model_of
from sk_hvae._estimators.parameters import (
    auto_sizes,
    check_layer_values,
    resolve_output_layers,
    resolve_rate_range,
    resolve_sizes,
    set_after_fit,
)
from sk_hvae._estimators.sampling import SamplesMixin
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._estimators.typing import (
    HandleUnknown,
    ImageShape,
    InferenceKind,
    Labels,
    LayerRange,
    LayerSizes,
    LayerUnits,
    LayerValues,
    LikelihoodChoice,
    MatrixLike,
    MaxEpochs,
    Metrics,
    Missing,
    Network,
    OutputLayers,
    Precision,
    RandomState,
    TopLayer,
)
from sk_hvae._explorer.explorer import RateExplorer, explorer_of
from sk_hvae._fit.calibration import Calibration
from sk_hvae._fit.control import Goal
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.off_target import Reached
from sk_hvae._fit.plane import Plane, RatePlane
from sk_hvae._input.kept import keep_rows, unchanged_rows
from sk_hvae._sklearn.callbacks import with_callbacks
from sk_hvae._sklearn.fitted_state import columns_of, fitted_of, set_fitted
from sk_hvae._sklearn.privates import Interval, fit_context
from sk_hvae.exceptions import RateTargetWarning, warn_caller
from sk_hvae.nn.conditioned import ConditionedHierarchy

_SINGLE = HierarchicalVAETransformer._parameter_constraints


class MultiRateHVAETransformer(SamplesMixin, BaseHierarchicalVAE):
    """Latent representation in which you choose the bits of each layer after the fit.

    One network is trained for all target rates within ``rate_range`` at once. Every eight rows of a
    batch get targets of their own, and the layers are modulated by smooth functions of these
    targets [1]_. Controllers on a grid of targets find the multipliers of the rates. After
    training, the measured rates are compared with the targets all over the grid, and the inputs of
    these functions are corrected so that asking for r bits gives r bits.

    The estimator works like a `HierarchicalVAETransformer` with the current ``layer_rates``.
    ``set_params`` changes these without another fit, and ``at`` returns a
    `HierarchicalVAETransformer` for given rates. A fit takes as long as two fits of that estimator
    to 20,000 rows, or five to 1,300 rows, however many rates you try.

    Parameters
    ----------
    rate_range : (float, float) or sequence of (float, float), default=(0.5, 32)
        Smallest and largest rate in bits per sample: one pair for all layers, or one for each
        layer, z_1 first. With a wider range the network has to learn more. The default, from half a
        bit to 32 bits, is enough for anything from class labels to small images. Layers get no
        higher rates than they can hold, as ``rate_range_`` says: a categorical top layer has at
        most log2 of the number of its states, and all layers together have at most some 6 bits for
        each unit that a principal component of the rows belongs to. With more, models of few
        columns or units would be worse at all rates.
    layer_rates : float or sequence of float, default=(2, 8)
        Current rates in bits per sample, z_1 first. They can be changed without fitting again, but
        the number of layers is fixed by ``fit``.
    n_components : "auto", int or sequence of int, default="auto"
        Number of units: one number for all layers, or one for each layer, z_1 first. "auto" gives
        every layer as many units as there are bits in the highest rate of ``rate_range``, but not
        less than 16 nor more than 256. With more, a short fit would not reach all rates.
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Widths of the encoder's hidden layers; the decoder mirrors them.
    network : str or (encoder, decoder), default="auto"
        Kind of network, as in `HierarchicalVAETransformer`. In networks of your own, those linear
        and convolutional layers are modulated that have a bias.
    image_shape : tuple of int (channels, height, width), default=None
        Shape of the images whose flattened pixels are the columns of X.
    inference : {"top_down", "ladder"}, default="top_down"
        Form of the posteriors, as in `HierarchicalVAETransformer`.
    top_layer : {"gaussian", "categorical", "gumbel"}, default="gaussian"
        Kind of z_L, as in `HierarchicalVAETransformer`.
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
        Layers that ``transform`` returns side by side. This can be changed without fitting again.
    max_epochs : int or "auto", default="auto"
        Passes over the data. "auto" makes as many passes as are needed for 1,200 optimiser steps,
        but at most 180. If 180 passes are fewer than 600 steps, it makes as many as are needed
        for 600 steps. This is about three times the number of passes of a single-rate fit.
    batch_size : int, default=768
        Largest number of rows per optimiser step. It is three times that of a single-rate fit,
        because the rows of a batch are divided among many targets.
    lr : float, default=3e-3
        Largest learning rate of NAdam, with the schedule of `HierarchicalVAETransformer`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training, as in `HierarchicalVAETransformer`.
    device : str or torch.device, default="auto"
        Device on which the model is trained and stays afterwards. "auto" uses CUDA if it is
        available, otherwise MPS, and otherwise the CPU.
    callbacks : list of skorch callbacks, default=None
        Callbacks for skorch's training loop.
    checkpoint : str or path-like, default=None
        Folder in which ``fit`` keeps its state: after passes over the data, and every minute within
        long passes. If a fit is killed, start it again with the same parameters and rows: it
        continues from this state, and gives the same result as without the interruption. The file
        is deleted at the end. Every fit needs a folder of its own. The state of your own callbacks
        is not kept.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, shuffling, targets and noise.
    verbose : int, default=0
        1 shows a line on stderr, or a bar in notebooks, with the progress. Its rates and targets
        are means over all targets. Methods that take longer than a second show how many rows are
        done, and the time left; ``explore`` shows the places of the map.

    Attributes
    ----------
    rates_ : ndarray of shape (n_layers,)
        Rates at the current ``layer_rates``, bits per sample, z_1 first. They and the next four
        attributes come from an interpolation between measurements on up to 2,048 training rows.
    betas_ : ndarray of shape (n_layers,)
        Multipliers at the current ``layer_rates``, z_1 first.
    distortion_ : float
        Distortion at the current ``layer_rates``, bits per sample.
    lower_bound_ : float
        Lower bound on the mean ln p(x) at the current ``layer_rates``, nats.
    converged_ : bool
        Whether every layer is within 5% or 0.1 bit of the current ``layer_rates``, and
        training was neither interrupted nor diverged.
    rate_range_ : ndarray of shape (n_layers, 2)
        Smallest and largest rate of each layer that the model was trained for, bits per sample,
        z_1 first: ``rate_range``, but no more than the layers can hold.
    n_iter_ : int
        Number of epochs run.
    n_layers_ : int
        Number of layers.
    n_components_ : tuple of int
        Units of each layer, z_1 first.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer, such as "z1".
    history_ : dict of ndarray
        Figures of every epoch, as means over all targets: "train_distortion" (n_iter_,) and
        "train_rates" (n_iter_, n_layers) in bits per sample, and "betas" (n_iter_, n_layers), whose
        means are geometric.
    module_ : sk_hvae.nn.HierarchicalVAE
        Plain torch module at the current ``layer_rates``.
    conditioned_ : sk_hvae.nn.ConditionedHierarchy
        The trained torch module, for all rates.
    calibration_ : Calibration
        What was measured at the nodes of the grid. ``calibration_.find(layer_rates)`` returns
        condition, rates, distortion and betas of the point whose rates are closest to
        ``layer_rates``.
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
        If the model does not reach the rates that are asked for. The warning says which rates are
        closest to them.
    TrainingInterruptedWarning
        If training was stopped from the keyboard.

    See Also
    --------
    HierarchicalVAETransformer : One fit for one vector of rates.
    RateSearchCV : Search over rates, at one fit of this estimator per split.
    rate_map : Metrics over the rate plane.

    Notes
    -----
    The loss of a row is divided by the cube root of 1 plus the mean of its multipliers, so that
    neither low nor high rates dominate the training. Training starts at probabilistic PCA for all
    rates: the best linear-Gaussian code is computed in closed form at 96 targets (32 for one
    layer), and regressed on the functions of the rates that modulate the linear paths.

    Unlike `HierarchicalVAETransformer`, this estimator has no early stopping, no warm start and no
    ``partial_fit``.

    From scikit-learn 1.9 on, ``set_callbacks`` takes scikit-learn's own callbacks, such as
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
                "handle_unknown",
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

    _kind: ClassVar = Plane
    _transient: ClassVar = ("_at_current",)
    _at_current: tuple[Plane, tuple[float, ...], Fitted] | None = None

    def __init__(
        self,
        rate_range: LayerRange = (0.5, 32),
        *,
        layer_rates: LayerValues = (2, 8),
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
        batch_size: int = 768,
        lr: float = 3e-3,
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
        self.handle_unknown = handle_unknown
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
    @FixedThreads()
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Train for all rates, and measure the rates that the model then has.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            A frame of pandas, polars or pyarrow with numbers, text, categories, truth values and
            dates, and cells may be missing; or an array of finite numbers, or NaN where missing if
            ``missing="mask"``. At least 2 rows. For
            ``fine_tune`` and `recommend_rates` the estimator keeps a reference to X, so that X
            stays in memory, and a hash of X, which shows whether X has changed. Copies, pickles and
            files have neither. There is no reference to a torch Dataset, because its items may
            change from one reading to the next.
        y : array-like of shape (n_samples,), default=None
            Not used for training. It is passed on to scikit-learn's callbacks, whose scorers may
            need it.

        Returns
        -------
        MultiRateHVAETransformer
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
        >>> from sk_hvae import MultiRateHVAETransformer
        >>> multi = MultiRateHVAETransformer((1, 8), layer_rates=3, max_epochs=200, random_state=0)
        >>> multi.fit(load_wine().data).converged_
        True
        """
        plan, columns = self._plan(X, RatePlane.auto_epochs)
        low, high = resolve_rate_range(self.rate_range, plan.goal.n_layers)
        recipe = RatePlane(low, high, plan.architecture)
        plan.begin()
        self._at_current = None  # It would keep the model of an earlier fit, and its rows.
        outcome = self._run(plan, columns, recipe, X, y)
        keep_rows(outcome.fitted, self, X)
        if not outcome.interrupted:
            model_of(self)  # warns if the current rates are out of reach
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
            Fitted, with the weights that the shared model has at these rates. It does not contain
            the model for other rates, so that its pickles and files are as small as those of any
            single-rate estimator. It can be trained further with ``warm_start=True`` or
            ``partial_fit``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the number of layers is not that of ``fit``.

        Warns
        -----
        RateTargetWarning
            If the model does not reach these rates. The warning says which rates are closest to
            them; the returned estimator has these.

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
        plane = fitted_of(self)
        model = self._reach(plane, self._check_rates(layer_rates))
        shared = {
            name: copy.copy(value)
            for name, value in self.get_params(deep=False).items()
            if name in _SINGLE and name != "checkpoint"
        }
        single = HierarchicalVAETransformer(**{**shared, "layer_rates": copy.copy(layer_rates)})
        return set_fitted(single, model, columns_of(self))

    def fine_tune(
        self, layer_rates: LayerValues, X: MatrixLike | None = None, *, max_epochs: MaxEpochs = 10
    ) -> HierarchicalVAETransformer:
        """Train a copy of the model further, for one vector of rates.

        Parameters
        ----------
        layer_rates : float or sequence of float
            Rates in bits per sample, z_1 first.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to train on. None uses those of ``fit``, if they still exist and have not changed.
        max_epochs : int or "auto", default=10
            Passes over the data. A few are enough, because training starts from the shared weights.

        Returns
        -------
        HierarchicalVAETransformer
            Fitted. The shared weights do not change.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is None and the rows of ``fit`` have changed, even if only their order has, or are
            not available, because they were a torch Dataset, or because this estimator is a copy or
            was read from a file. Otherwise as in ``fit``.

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
        X = unchanged_rows(fitted_of(self), self) if X is None else X
        single.set_params(warm_start=True, max_epochs=max_epochs).fit(X)
        return single.set_params(warm_start=False, max_epochs=self.max_epochs)

    def explore(
        self,
        X: MatrixLike,
        y: Labels | None = None,
        *,
        layer_rates: Iterable[LayerValues] | None = None,
        metrics: Metrics | None = None,
        n_rows: int = 8,
        n_samples: int = 8,
        image_shape: ImageShape | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> RateExplorer:
        """Make a page on which to explore the rate plane, in a browser or a notebook.

        The page is a map of the rates. At each place of it, it shows metrics, and what the model
        makes of some rows there: their reconstructions, what the layers from each one up know of
        them, samples, and the latents. It is a single file that needs neither Python nor a network.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to measure on, preferably some to which the model was not fitted. A few thousand
            are enough, and all are measured at every place.
        y : array-like of shape (n_samples,), default=None
            Labels or numbers of the rows: they give the points in the picture of the latents their
            colours. With classes of at least 3 rows each, there is an accuracy, and for each layer
            the upper bound of `sk_hvae.metrics.accuracy_bound`. No hierarchical VAE is fitted to
            them.
        layer_rates : sequence of (float or tuple of float), default=None
            Places of the map: target rates in bits per sample, z_1 first, as `rate_grid` makes
            them. None takes the grid of `rate_map`.
        metrics : str, callable, or sequence or dict of them, default=None
            What to measure, as in `rate_map`. None takes "psnr" and "distortion", and before
            them "accuracy:knn" if y holds classes.
        n_rows : int, default=8
            Number of rows to show. They are evenly spaced through X, so that all parts of a sorted
            table occur. 8 images fit side by side on a phone.
        n_samples : int, default=8
            Number of samples to show at every place. They have the same noise everywhere, so that
            they differ by the rates alone.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width), if rows are images. None uses that of the
            estimator. Without any, rows are shown as a table of their first 30 columns.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the estimator's ``random_state``.
        n_jobs : int, default=None
            Number of processes that measure, as in `rate_map`.

        Returns
        -------
        RateExplorer
            A notebook shows it, ``to_html(path)`` writes the file, and ``rate_map`` has the
            numbers.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not suit the model, y has not one value for each row, a parameter does not
            make sense, or the page would be larger than 5 MB.

        Warns
        -----
        RateTargetWarning
            If some places are out of reach. The page shows the measured rates.

        See Also
        --------
        rate_map : The numbers alone.
        recommend_rates : The recommendations of the page.

        Notes
        -----
        Reconstructions and latents are those of posterior means, as ``reconstruct`` and
        ``transform`` return them. The latents are drawn by their first two principal components at
        each place, for up to 600 rows. They are turned so that points stay near where they are at
        the highest rates.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import MultiRateHVAETransformer, rate_grid
        >>> X, y = load_iris(return_X_y=True)
        >>> multi = MultiRateHVAETransformer(
        ...     (0.5, 4), layer_rates=(1, 2), hidden_layer_sizes=32, max_epochs=200, random_state=0
        ... ).fit(X)
        >>> explorer = multi.explore(X, y, layer_rates=rate_grid([0.5, 2], [0.5, 2]))
        >>> explorer.rate_map.rates.shape
        (4, 2)

        ``explorer.to_html("rates.html")`` writes the file.
        """
        return explorer_of(
            self,
            X,
            y,
            layer_rates=layer_rates,
            metrics=metrics,
            n_rows=n_rows,
            n_samples=n_samples,
            image_shape=image_shape,
            random_state=random_state,
            n_jobs=n_jobs,
        )

    @property
    def conditioned_(self) -> ConditionedHierarchy:
        """The trained torch module, for all rates."""
        return fitted_of(self).conditioned

    @property
    def rate_range_(self) -> NDArray[np.float64]:
        """Smallest and largest rate of every layer in bits per sample, (n_layers, 2)."""
        return fitted_of(self).rate_range

    @property
    def calibration_(self) -> Calibration:
        """What was measured over the rate plane."""
        return fitted_of(self).calibration

    def __hvae_model__(self) -> Fitted:
        plane, known = fitted_of(self), self._at_current
        with set_after_fit():
            rates = self._check_rates(self.layer_rates)
        if known is None or known[0] is not plane or known[1] != rates:
            known = plane, rates, self._reach(plane, rates)
            self._at_current = known
        return known[2]

    def _reach(self, plane, rates):
        """Return the model at rates; warns if it does not reach them."""
        model = plane.at(rates)
        if any(Reached(rates, model.rates, model.betas).misses):
            warn_caller(
                f"the model does not reach {rates} bits; nearest are ({_bits(model.rates)}). Ask "
                f"for these{self._other_advice(plane, rates)}.",
                RateTargetWarning,
            )
        return model

    def _other_advice(self, plane, rates):
        """Say what to do, other than to ask for what the model has."""
        _, high = resolve_rate_range(self.rate_range, plane.n_layers)
        most = plane.rate_range[:, 1]
        cut = most < 0.99 * np.array(high)
        if (np.greater(rates, most) & cut).any():
            return (
                f": it was trained for at most ({_bits(most)}) bits, as rate_range_ says, because "
                "so few columns, units or states hold no more"
            )
        return (
            f", or fit with another rate_range ({self.rate_range} now) or longer (max_epochs); "
            "data may have no more bits to give"
        )

    def _check_rates(self, layer_rates):
        """Return rates in bits as a tuple, one for each layer of the fitted model."""
        rates = check_layer_values("layer_rates", layer_rates, "bits per sample")
        if len(rates) != self.n_layers_:
            raise ValueError(
                f"layer_rates has {len(rates)} entries, but the model was fitted with "
                f"{self.n_layers_} layers; give one rate per layer or fit anew."
            )
        return rates

    def _goal(self):
        return Goal(check_layer_values("layer_rates", self.layer_rates, "bits per sample"), ())

    def _layer_sizes(self, goal):
        # With units for the bits of all layers, short fits miss rates in parts of the box.
        _, high = resolve_rate_range(self.rate_range, goal.n_layers)
        auto = auto_sizes(max(high), goal.n_layers, self.network, self.top_layer)
        return resolve_sizes(self.n_components, goal.n_layers, auto)

    def _check_usable(self):
        self._check_rates(self.layer_rates)
        resolve_output_layers(self.output_layers, self.n_layers_)
        if not np.isfinite(self.calibration_.arrays["table"]).all():
            raise ValueError("what was measured over the rate plane is not finite; fit anew.")


def _bits(rates):
    """Write rates in bits."""
    return ", ".join(f"{rate:.3g}" for rate in rates)
