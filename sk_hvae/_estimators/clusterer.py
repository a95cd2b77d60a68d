"""HVAEClusterer: clusters as the top layer of the hierarchy."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClusterMixin

from sk_hvae._clustering.lost_clusters import ClusterOutcome
from sk_hvae._clustering.state_shares import MOST_CLUSTERS, ClusterSearch
from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.base import BaseHierarchicalVAE
from sk_hvae._estimators.compression import CompressionMixin
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.inspection import inspect_first_rows
from sk_hvae._estimators.model import as_in_fit, check_new_rows, frame_attribute
from sk_hvae._estimators.parameters import (
    check_layer_values,
    draw_seed,
    resolve_output_layers,
    resolve_sizes,
)
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._estimators.typing import (
    HandleUnknown,
    ImageShape,
    InferenceKind,
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
)
from sk_hvae._fit.clusters import (
    Clusters,
    TowardsClusters,
    WithClusters,
    codes_for_search,
    likelihood_for_search,
    measured_for_search,
    without_copies,
)
from sk_hvae._fit.control import Goal
from sk_hvae._fit.fit import fit
from sk_hvae._fit.fitted import Fitted
from sk_hvae._fit.progress import counting_bar, shown_rows
from sk_hvae._fit.single_rate import SingleRate
from sk_hvae._input.repeats import Repeats
from sk_hvae._sklearn.callbacks import with_callbacks
from sk_hvae._sklearn.fitted_state import fitted_of, is_fitted
from sk_hvae._sklearn.privates import Interval, StrOptions, fit_context
from sk_hvae.exceptions import (
    CategoryWarning,
    ClusterWarning,
    ImageShapeWarning,
    OutlierWarning,
    TrainingDivergedError,
    TrainingMemoryError,
    muted,
    warn_caller,
)
from sk_hvae.nn.building import FLAT_NETWORKS

# Bits of the continuous layer, if no rates are asked for. More tell neighbours apart that should be
# one cluster, and fewer mix clusters; examples/benchmarks/clustering.py has tables and images.
_MOST_BITS, _BITS_PER_COLUMN = 32.0, 2.0
# Of the bits that tell different rows apart, where copies say how dense these are: with all of them
# a code learns each row by heart, and forgets which are alike. See repeated_rows.py there.
_SHARE_OF_ENTROPY = 0.5
# Below this mean adjusted Rand index, starts have less than half in common beyond chance.
_POOR_AGREEMENT = 0.5
_TRANSFORMER = HierarchicalVAETransformer._parameter_constraints


class HVAEClusterer(ClusterMixin, LatentsMixin, CompressionMixin, BaseHierarchicalVAE):
    """Clusters as the top layer of a hierarchical variational autoencoder.

    The top layer z_L has one of ``n_clusters`` states, which are the clusters. Its rate is the
    number of bits that the cluster says about a sample, at most log2(n_clusters). The Gaussian
    layers below describe how a sample differs from the others in its cluster. ``layer_rates`` says
    how many bits each of them has [1]_.

    Fitting takes three steps, and uses no labels:

    1. A `HierarchicalVAETransformer` with the continuous layers alone is fitted. Images with a
       scale from black to white, of which half have pixels of both, are described by a `Bernoulli`
       likelihood there, to which it matters most whether a pixel is lit at all. Rows that are
       close to each other in its latents are neighbours, and joined by the edges of a graph. The
       weight of an edge is the fraction of neighbours that its two rows have in common.
    2. That graph is clustered by spectral clustering [2]_ from ``n_init`` starts, and each result
       is refined to the most likely block model [3]_. Fewer than 5 rows are outliers and no
       cluster, if another start finds more clusters of 5 rows. Among the results whose clusters
       few edges leave (at most 20% more than the fewest), the best is the one in which the cluster
       of a row tells most, in bits, about the clusters of its neighbours.
    3. The hierarchy with the categorical layer on top is trained to minimise D + sum_l beta_l R_l +
       ``consistency`` * E[-sum_c t_c ln q(c | x)], where t are the shares of the clusters among the
       neighbours of x. The posterior q(c | x) then gives the labels of training rows and of new
       rows.

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        Number of clusters. "auto" starts with at most 20 clusters, and at most one for every 5
        different rows. It merges clusters, beginning with those that are hardest to tell apart, and
        stops before the largest step between successive heights of the merges (see
        ``cluster_tree_``).
    layer_rates : sequence of float, default=None
        Target rate of each layer in bits per sample, z_1 first; the last entry is that of the
        categorical layer. If it is smaller than what ``n_clusters`` clusters carry, those clusters
        are merged that are hardest to tell apart, as long as the entropy of the others is still
        sufficient. None asks for one continuous layer, with 2 bits for every column that varies,
        but at most 32 bits, which works well for tables and images (and for fewer bits if rows are
        repeated, see the notes). In the categorical layer it asks for as many bits as a row tells
        about the clusters of its neighbours.
    n_init : int, default=50
        Number of starts of the spectral clustering. They take little time compared with the
        training.
    n_neighbors : int, default=30
        Number of neighbours of a row in the graph. It is reduced to half of n_samples / n_clusters
        if that is smaller, so that clusters have enough rows.
    consistency : float, default=100.0
        Weight of the agreement with the neighbours, in nats of distortion per nat. With the
        default, the clusters agree with those of the neighbours, and the distortion is hardly
        larger. With 0, training starts at these clusters, and then changes them for better
        reconstruction.
    n_components : int or sequence of int, default=16
        Number of units: one number for all continuous layers, or one for each of them, z_1 first.
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Widths of the encoder's hidden layers; the decoder mirrors them.
    network : {"auto", "mlp", "conv"} or (encoder, decoder), default="auto"
        Kind of network, as in `HierarchicalVAETransformer`.
    image_shape : tuple of int (channels, height, width), default=None
        Shape of the images whose flattened pixels are the columns of X.
    inference : {"ladder", "top_down"}, default="ladder"
        Form of the Gaussian posteriors, as in `HierarchicalVAETransformer`. With "ladder", the
        priors of the clusters differ from each other, so that each cluster has a centre and samples
        of its own. With "top_down", they hardly differ at high rates.
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
        Layers that ``transform`` returns side by side. The columns of the last layer are the
        probabilities of the clusters. This can be changed without fitting again.
    max_epochs : int or "auto", default="auto"
        Passes over the data in each of the two trainings, as in `HierarchicalVAETransformer`.
    batch_size : int, default=256
        Largest number of rows per optimiser step.
    lr : float, default=3e-3
        Largest learning rate of NAdam, with the schedule of `HierarchicalVAETransformer`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training, as in `HierarchicalVAETransformer`.
    device : str or torch.device, default="auto"
        Device on which the model is trained and stays afterwards. "auto" uses CUDA if it is
        available, otherwise MPS, and otherwise the CPU.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the fitted model, and keeps its clusters: there is no new
        search, each row stays in the cluster that the model gives it, and the model learns what the
        rows of each cluster are like now. So cluster 3 of this month is cluster 3 of the last. A
        cluster of which there are no rows any more has a size of 0. ``stability_`` and
        ``cluster_tree_`` stay those of the search.
    callbacks : list of skorch callbacks, default=None
        Callbacks for skorch's training loop in step 3.
    checkpoint : str or path-like, default=None
        Folder in which ``fit`` keeps its state: after passes over the data, and every minute within
        long passes. If a fit is killed, start it again with the same parameters and rows: it
        continues from this state, and gives the same result as without the interruption. The file
        is deleted at the end. Every fit needs a folder of its own. The state of your own callbacks
        is not kept.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. With an int, fits on the same machine with the same versions
        are identical.
    verbose : int, default=0
        1 shows lines on stderr, or bars in notebooks, with the progress of both trainings, and
        of the search for clusters between them: graph, spectrum and starts. Methods that take
        longer than a second show how many rows are done, and the time left.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each training row, 0 to the number of clusters - 1.
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centres of the clusters on the scale of the data: the decoded state, with all layers below
        at their prior means.
    cluster_centers_frame_ : frame
        The same as a frame like X, if X was one.
    cluster_sizes_ : ndarray of shape (n_clusters,)
        Number of training rows of each cluster.
    cluster_tree_ : ndarray of shape (n_clusters - 1, 4)
        Tree of the clusters in scipy's linkage format. Two clusters are hard to tell apart if
        random walks of 4 steps, from neighbour to neighbour, that start in them often end in the
        same clusters. The tree merges such clusters first. The height of a merge is 0 if walks from
        both end in the same clusters equally often, and 1 if they never do.
    stability_ : float
        Mean adjusted Rand index between all pairs of the ``n_init`` starts.
    rates_ : ndarray of shape (n_layers,)
        Measured rates on the training rows, bits per sample, z_1 first.
    betas_ : ndarray of shape (n_layers,)
        Final multipliers, z_1 first.
    distortion_ : float
        Measured distortion on the training rows, bits per sample.
    lower_bound_ : float
        Lower bound on the mean ln p(x) of the training rows, nats.
    converged_ : bool
        Whether every layer is within 5% or 0.1 bit of its target, and training was neither
        interrupted nor diverged.
    n_iter_ : int
        Number of epochs of step 3.
    n_layers_ : int
        Number of layers, the categorical one included.
    n_components_ : tuple of int
        Number of units of each layer, z_1 first. The last entry is the number of states.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer.
    history_ : dict of ndarray
        Per epoch, as in `HierarchicalVAETransformer`.
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
    ClusterWarning
        If there are fewer clusters than asked for. The warning gives the reason: training, too few
        different rows, too few bits, neighbours that do not show more clusters, or
        ``warm_start=True``. Also if the mean adjusted Rand index of the starts is below 0.5.
    RateTargetWarning
        If the rate of a layer is off its target in ``layer_rates`` after training.

    See Also
    --------
    HierarchicalVAETransformer : The same hierarchy without clusters.
    sklearn.cluster.SpectralClustering : Clusters of a graph, without a model of the data.
    sklearn.mixture.GaussianMixture : A linear model with clusters.

    Notes
    -----
    Copies of a row are one node of the graph. If all rows have about the same number of copies, or
    if most of them have a value of their own in some column, the number of copies does not matter.
    In other tables in which a row has at least one copy on average, such as answers to a few
    questions, or small counts, the number of copies shows where the data are dense. In such tables
    the continuous layers have at most half as many bits as are needed to tell the different rows
    apart, rows are joined by how often samples of their latents are mistaken for each other, and
    ``n_neighbors`` is not used.

    The graph has at most 70,000 rows. From larger data, so many rows are drawn at random, and the
    posterior that learns their clusters is used for all rows. The prior of the clusters is learned,
    so that the rate of the categorical layer is the information of a sample about its cluster, also
    if the clusters have different sizes.

    From scikit-learn 1.9 on, ``set_callbacks`` takes scikit-learn's own callbacks, such as
    ProgressBar and ScoringMonitor, see :doc:`/user_guide/speed`. They are called in the training of
    step 3, and not in that of the continuous layers in step 1.

    References
    ----------
    .. [1] Xiao and Bamler, "Trading Information between Latents in Hierarchical
       Variational Autoencoders", ICLR 2023.
    .. [2] Ng, Jordan and Weiss, "On Spectral Clustering: Analysis and an
       Algorithm", NeurIPS 2001.
    .. [3] Karrer and Newman, "Stochastic blockmodels and community structure in
       networks", Physical Review E 83, 2011.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_hvae import HVAEClusterer
    >>> X = load_wine().data
    >>> clusterer = HVAEClusterer(n_clusters=3, max_epochs=50, random_state=0).fit(X)
    >>> clusterer.cluster_sizes_.sum()
    np.int64(178)
    >>> clusterer.cluster_centers_.shape
    (3, 13)
    """

    top_layer = "mixture"

    _kind: ClassVar = Clusters

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "layer_rates": ["array-like", None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "consistency": [Interval(Real, 0, None, closed="left")],
        "n_components": ["array-like", Interval(Integral, 1, None, closed="left")],
        "network": [StrOptions({"auto", *FLAT_NETWORKS}), tuple, list],
        **{
            name: _TRANSFORMER[name]
            for name in (
                *("hidden_layer_sizes", "image_shape", "inference", "likelihood"),
                *("missing", "handle_unknown", "output_layers", "max_epochs", "batch_size"),
                *("lr", "precision", "device", "warm_start", "callbacks", "checkpoint"),
                *("random_state", "verbose"),
            )
        },
    }

    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 8,
        *,
        layer_rates: LayerValues | None = None,
        n_init: int = 50,
        n_neighbors: int = 30,
        consistency: float = 100.0,
        n_components: LayerSizes = 16,
        hidden_layer_sizes: LayerSizes = (256, 256),
        network: Network = "auto",
        image_shape: ImageShape | None = None,
        inference: InferenceKind = "ladder",
        likelihood: LikelihoodChoice = "auto",
        missing: Missing = "auto",
        handle_unknown: HandleUnknown = "missing",
        output_layers: OutputLayers = "all",
        max_epochs: MaxEpochs = "auto",
        batch_size: int = 256,
        lr: float = 3e-3,
        precision: Precision = "auto",
        device: str | torch.device = "auto",
        warm_start: bool = False,
        callbacks: list[Any] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.layer_rates = layer_rates
        self.n_init = n_init
        self.n_neighbors = n_neighbors
        self.consistency = consistency
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.network = network
        self.image_shape = image_shape
        self.inference = inference
        self.likelihood = likelihood
        self.missing = missing
        self.handle_unknown = handle_unknown
        self.output_layers = output_layers
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.device = device
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @FixedThreads()
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Find clusters and train the model.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            A frame of pandas, polars or pyarrow with numbers, text, categories, truth values and
            dates, and cells may be missing; or an array of finite numbers, or NaN where missing if
            ``missing="mask"``. At least 2 rows.
        y : array-like of shape (n_samples,), default=None
            Not used for training. It is passed on to scikit-learn's callbacks, whose scorers may
            need it.

        Returns
        -------
        HVAEClusterer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter does not make sense, X does not suit the likelihood, there are fewer rows
            than clusters, or a fit with ``warm_start=True`` is asked for fewer clusters than it
            has, or for other layers or columns.
        TrainingDivergedError
            If a number becomes infinite or NaN in training. In step 3 the last finite weights are
            kept. In step 1 the clusterer stays as it was before.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HVAEClusterer
        >>> X = load_iris().data
        >>> HVAEClusterer(n_clusters=2, max_epochs=50, random_state=0).fit(X).labels_.max()
        np.int64(1)
        """
        if self._kept is not None:
            return self._go_on(X, y)
        plan, columns = self._plan(X, TowardsClusters.auto_epochs)
        search = self._search(plan)
        plan.begin()
        repeats = Repeats.among(plan.rows)
        rates = self._rates_below(plan, repeats)
        below = self._fit_below(plan, rates, repeats)
        codes = codes_for_search(below, plan.rows, repeats)
        bar = partial(counting_bar, is_shown=plan.shows_progress)
        state_shares = search.find(*codes, bar=bar)
        plan = self._aim_at(state_shares, plan, rates)
        self._train(plan, columns, TowardsClusters(state_shares, self.consistency), X, y)
        self._warn_of_clusters(plan, state_shares, len(repeats.first))
        return self

    def _go_on(self, X, y):
        """Train the fitted model further; it keeps its clusters."""
        fitted = self._kept
        n_known = len(fitted.states)
        told = (
            f"with warm_start=True the {n_known} clusters of the last fit stay, but "
            f"n_clusters={self.n_clusters}; to look for clusters, fit anew with warm_start=False."
        )
        if self.n_clusters != "auto" and self.n_clusters < n_known:
            raise ValueError(told)
        plan, columns = self._plan(X, WithClusters.auto_epochs, go_on_from=fitted)
        plan.begin()
        state_shares = fitted.state_shares(plan.rows)
        plan = self._aim_at(state_shares, plan, fitted.rates[:-1])
        self._train(plan, columns, WithClusters(fitted, state_shares, self.consistency), X, y)
        if self.n_clusters != "auto" and self.n_clusters > n_known:
            warn_caller(told, ClusterWarning)
        return self

    def _train(self, plan, columns, recipe, X, y):
        outcome = self._run(plan, columns, recipe, X, y)
        if self.layer_rates is not None and not (outcome.interrupted or self.converged_):
            self._warn_off_target(plan)

    @property
    def labels_(self) -> NDArray[np.intp]:
        """Cluster of each training row, (n_samples,)."""
        return fitted_of(self).labels

    @property
    def cluster_sizes_(self) -> NDArray[np.intp]:
        """Number of training rows of each cluster, (n_clusters,)."""
        return fitted_of(self).sizes

    @property
    def cluster_centers_(self) -> NDArray[np.floating]:
        """Clusters decoded, (n_clusters, n_features)."""
        return fitted_of(self).centers

    @property
    def cluster_centers_frame_(self) -> Any:
        """``cluster_centers_`` as a frame like the X of ``fit``, if that was one."""
        with frame_attribute(self, "cluster_centers_frame_"):
            return as_in_fit(self, self.cluster_centers_)

    @property
    def cluster_tree_(self) -> NDArray[np.float64]:
        """Tree over the clusters in scipy's linkage format, (n_clusters - 1, 4)."""
        return fitted_of(self).tree

    @property
    def stability_(self) -> float:
        """Mean adjusted Rand index between pairs of starts."""
        return fitted_of(self).stability

    if TYPE_CHECKING:  # scikit-learn has no types

        def fit_predict(self, X: MatrixLike, y: object = None) -> NDArray[np.intp]: ...

    def predict(self, X: MatrixLike) -> NDArray[np.intp]:
        """Find the most probable cluster of every row.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

        Returns
        -------
        ndarray of shape (n_samples,)
            From 0 to the number of clusters - 1. On the training rows they are ``labels_``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HVAEClusterer
        >>> X = load_iris().data
        >>> clusterer = HVAEClusterer(n_clusters=2, max_epochs=50, random_state=0).fit(X)
        >>> bool((clusterer.predict(X) == clusterer.labels_).all())
        True
        """
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: MatrixLike) -> NDArray[np.float32]:
        """Compute the posterior probabilities of the clusters.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), float32
            q(c | x); a row sums to 1.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HVAEClusterer
        >>> X = load_iris().data
        >>> clusterer = HVAEClusterer(n_clusters=2, max_epochs=50, random_state=0).fit(X)
        >>> clusterer.predict_proba(X).shape
        (150, 2)
        """
        with shown_rows("predict", check_new_rows(self, X), self.verbose) as rows:
            return fitted_of(self).probabilities(rows)

    def sample(
        self,
        n_samples: int = 1,
        cluster: int | None = None,
        *,
        given: Mapping[Any, Any] | None = None,
        like: MatrixLike | None = None,
        mean: bool = False,
        missing: bool = True,
        random_state: RandomState = None,
    ) -> Any:
        """Draw data from the model, or from one of its clusters.

        The decoder says how each column is distributed given the latents. Columns of a table have
        more in common than so few bits tell. Those with ``Gaussian(scaling="quantile")`` or
        "categorical" are therefore drawn by noise that is correlated as in the rows of ``fit``, by
        a Gaussian copula, which leaves each column its distribution given the latents. Estimators
        of a `MultiRateHVAETransformer` have none.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        cluster : int, default=None
            Cluster to draw from. None draws each cluster as often as it occurs in the training
            rows.
        given : dict, default=None
            Conditions on columns: name or number of a column to the value that all rows are to
            have, to a list of values, or, for numbers and times, to a range as a tuple (low, high),
            whose ends belong to it and are None if they are open:
            ``{"region": "north", "age": (30, None)}``. Times may be text, such as "2024-03-01".
        like : frame or array-like of shape (n_rows, n_features), default=None
            Rows that the samples are to be like, for example those of ``fit``, or the rows of one
            kind: z_1 is drawn from a mixture of Gaussians that is fitted to z_1 of these rows [1]_.
            It takes some ten seconds for many rows. None draws z_1 from the model's prior, which
            also has latents that no row has, so that more samples look like no row.
        mean : bool, default=False
            Whether to return the mean of the data given the sampled latents, without the
            noise of the likelihood.
        missing : bool, default=True
            Whether cells of a frame are missing as often, and in the same combinations, as in the
            frame of ``fit``, whatever else is in their row. False draws all cells, and so does
            ``mean``.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the estimator's ``random_state``. If that is an int,
            every call draws the same samples.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A frame like that of ``fit``, if it was given one: with its names, dtypes and
            categories, and only with values that its columns can have. Else an array
            on the scale of the data. float64 if the rows of ``fit`` were float64 or integers of
            more than 16 bits, and float32 otherwise, which then holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If ``given`` is no dict.
        ValueError
            If ``n_samples`` is less than 1, ``given`` asks for what a column cannot have, or for
            what the model hardly ever draws, there is no such cluster, both ``cluster`` and
            ``like`` are given, ``like`` has other columns than in ``fit``, or ``random_state`` is
            no seed.

        References
        ----------
        .. [1] Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HVAEClusterer
        >>> X = load_iris().data
        >>> clusterer = HVAEClusterer(n_clusters=2, max_epochs=50, random_state=0).fit(X)
        >>> clusterer.sample(5, cluster=1).shape
        (5, 4)
        """
        model = fitted_of(self)
        n_clusters = len(model.sizes)
        known = isinstance(cluster, Integral) and 0 <= cluster < n_clusters
        if cluster is not None and not known:
            raise ValueError(
                f"cluster must be one of the {n_clusters} clusters, 0 to {n_clusters - 1}, or "
                f"None; got {cluster!r}."
            )
        if cluster is not None and like is not None:
            raise ValueError(
                "cluster and like both say what samples are to be like; pass one of them. For "
                "samples like the rows of a cluster, pass those rows as like."
            )
        top = None if cluster is None else model.one_hot(cluster)
        return self._draw(n_samples, given, random_state, top, like, mean, missing)

    def __hvae_model__(self) -> Fitted:
        return fitted_of(self)

    @property
    def _kept(self):
        """The model that ``fit`` is to train further, or None."""
        return fitted_of(self) if self.warm_start and is_fitted(self) else None

    def _goal(self):
        """Return the rates asked for; without any, `_aim_at` sets them."""
        if self.layer_rates is None:
            return Goal((_MOST_BITS, 1.0), ())
        rates = check_layer_values("layer_rates", self.layer_rates, "bits per sample")
        if len(rates) < 2:
            raise ValueError(
                "layer_rates needs an entry for each continuous layer, z_1 first, and a last one "
                f"for the clusters, for example (32, 2); got {self.layer_rates!r}."
            )
        most = math.log2(MOST_CLUSTERS if self.n_clusters == "auto" else self.n_clusters)
        if rates[-1] > most:
            raise ValueError(
                f"the last entry of layer_rates asks for {rates[-1]:g} bits, but "
                f"n_clusters={self.n_clusters!r} carries at most {most:.3g}; ask for less, or for "
                "more clusters."
            )
        return Goal(rates, ())

    def _layer_sizes(self, goal):
        n_states = 1 if self._kept is None else self._kept.n_components[-1]
        return (*resolve_sizes(self.n_components, goal.n_layers - 1), n_states)

    def _check_usable(self):
        self._goal()
        resolve_output_layers(self.output_layers, self.n_layers_)

    def _rates_below(self, plan, repeats):
        """Return the rates of the continuous layers while clusters are looked for."""
        coarse = _SHARE_OF_ENTROPY * repeats.entropy if repeats.are_density else math.inf
        if self.layer_rates is None:
            return (min(_MOST_BITS, _BITS_PER_COLUMN * max(1, plan.n_varying), coarse),)
        rates = plan.goal.layer_rates[:-1]
        scale = min(1.0, coarse / sum(rates))
        return tuple(scale * rate for rate in rates)

    def _fit_below(self, plan, rates, repeats):
        """Fit the continuous layers alone; returns a `Fitted`."""
        rows = without_copies(plan.rows, repeats)
        architecture = plan.architecture._replace(
            n_components=plan.architecture.n_components[:-1],
            inference="top_down",
            top_layer="gaussian",
        )
        settings = self._settings(SingleRate.auto_epochs, len(rows), plan.device)
        below = plan._replace(
            goal=Goal(rates, ()),
            architecture=architecture,
            likelihood=likelihood_for_search(plan.likelihood, plan.summary),
            settings=replace(settings, callbacks=[]),
            rows=rows,
            training=rows,
            seed=draw_seed(plan.seed),
            checkpoint=plan.checkpoint and plan.checkpoint.part("continuous"),
        )
        # All that is odd about the rows has been said.
        with muted(CategoryWarning, ImageShapeWarning, OutlierWarning):
            below = inspect_first_rows(below)
        below.begin()
        try:
            outcome = fit(below, SingleRate(conclusion=measured_for_search))
        except (TrainingDivergedError, TrainingMemoryError) as error:
            raise type(error)(
                f"{error} These are weights of the layers below the clusters, which are "
                "trained first; the clusterer is as it was before."
            ) from error
        below.end(outcome)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return outcome.fitted

    def _search(self, plan):
        """Say how to look for clusters; raises ValueError for more clusters than rows."""
        n_clusters, n_rows = None if self.n_clusters == "auto" else self.n_clusters, len(plan.rows)
        if n_clusters is not None and n_clusters > n_rows:
            raise ValueError(
                f"n_clusters={n_clusters} needs at least as many rows; X has {n_rows}."
            )
        rate = None if self.layer_rates is None else plan.goal.layer_rates[-1]
        return ClusterSearch(n_clusters, rate, self.n_init, self.n_neighbors, plan.seed)

    def _aim_at(self, state_shares, plan, rates):
        """Return the plan with as many states as there are clusters, at the rates asked for.

        Without any, the categorical layer gets the bits on which the neighbours agree.
        """
        sizes = (*plan.architecture.n_components[:-1], state_shares.shares.shape[1])
        goal = plan.goal
        if self.layer_rates is None:
            goal = Goal((*rates, state_shares.information), ())
        architecture = plan.architecture._replace(n_components=sizes)
        return plan._replace(goal=goal, architecture=architecture)

    def _warn_of_clusters(self, plan, state_shares, n_different):
        """Say if fewer clusters came out than were asked for, or if the starts disagree."""
        n_found = len(self.cluster_sizes_)
        if self.n_clusters != "auto" and n_found < self.n_clusters:
            states, has_rates = fitted_of(self).states[self.labels_], self.layer_rates is not None
            outcome = ClusterOutcome.of(
                state_shares.shares, states, n_different, plan.has_wild_cells
            )
            warn_caller(
                f"{n_found} of the {self.n_clusters} clusters asked for came out, at "
                f"{self.rates_[-1]:.3g} bits. "
                f"{outcome.why_fewer(self.n_clusters, n_found, self.n_iter_, has_rates)}",
                ClusterWarning,
            )
        if self.stability_ < _POOR_AGREEMENT:
            warn_caller(
                f"the {self.n_init} starts agree poorly (mean pairwise ARI "
                f"{self.stability_:.2f}); the labels are not stable. Try another n_clusters or "
                "more rows.",
                ClusterWarning,
            )
