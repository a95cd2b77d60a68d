"""What fitted estimators do with rows: latents, reconstructions, samples, rates and scores."""

from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_array, check_is_fitted

from sk_hvae._data.devices import module_device, usable_device
from sk_hvae._data.rows import ResidentRows, as_tensor
from sk_hvae._data.threads import FixedThreads
from sk_hvae._estimators.parameters import (
    check_count,
    check_out,
    draw_seed,
    resolve_layer,
    resolve_output_layers,
)
from sk_hvae._estimators.typing import Layer, MatrixLike, RandomState
from sk_hvae._files.onnx import export_estimator
from sk_hvae._files.torch_modules import frozen_part
from sk_hvae._fit.measurement import map_rows, measure
from sk_hvae._input.checks import check_rows
from sk_hvae._sklearn.privates import check_feature_names_in
from sk_hvae.nn.likelihoods.refusal import told_by_name
from sk_hvae.nn.noise import GeneratorNoise


class LatentsMixin(TransformerMixin):
    """Methods that need no more than a fitted `HierarchicalVAE`."""

    __metadata_request__transform: ClassVar = {"out": UNUSED}

    if TYPE_CHECKING:  # scikit-learn has no types

        def fit_transform(self, X: MatrixLike, y: object = None) -> NDArray[np.float32]: ...

        def set_params(self, **params: Any) -> Self: ...

    def transform(
        self, X: MatrixLike, *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Infer the posterior means of the layers.

        Each layer is inferred given the mean of the layer above. A row's result does not
        depend on the other rows.

        Parameters
        ----------
        X : array-like, sparse matrix or Dataset of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``. What is in a file, sparse or a
            torch Dataset is read part by part.
        out : ndarray of shape (n_samples, n_columns), default=None
            Where to write the result, for example a memmap for data larger than memory. None
            makes a new array.

        Returns
        -------
        ndarray of shape (n_samples, n_columns), float32
            The layers of ``output_layers`` side by side, z_1 first; ``out``, if given.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood; or if ``out`` cannot hold the result.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.transform(X[:5]).shape
        (5, 32)
        """
        rows = self._check_new(X)
        module = self._module_in_place()
        layers = self._output_numbers()

        def means(x):
            latents = module.encode(x)
            return torch.cat([latents[n - 1] for n in layers], 1)

        check_out(out, (len(rows), self._n_features_out))
        return map_rows(module, rows, means, self._n_features_out, out)

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Decode latents, as ``transform`` returns them, to the mean of the data.

        The decoder reads z_1. Where ``output_layers`` leaves it out, the lowest layer given
        is decoded, and the layers below it take their prior means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Latents, with the columns of ``transform``.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            On the scale of the data; float64 if the rows of ``fit`` were, float32 if float32
            holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the number of columns is not that of ``transform``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.inverse_transform(hvae.transform(X[:5])).shape
        (5, 4)
        """
        check_is_fitted(self, "module_")
        Z = check_array(X, dtype=np.float32)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but transform returns {self._n_features_out} with "
                f"output_layers={self.output_layers!r}."
            )
        lowest = self._output_numbers()[0]
        return self._decode(Z[:, self.layer_slices_[f"z{lowest}"]], lowest)

    def latents(
        self, X: MatrixLike, sample: bool = False, *, random_state: RandomState = None
    ) -> list[NDArray[np.float32]]:
        """Infer the latents of every layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.
        sample : bool, default=False
            Whether to sample the posteriors instead of taking their means. Only samples are
            limited by the rates.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None takes the estimator's own: if that is an int, every call
            draws the same.

        Returns
        -------
        list of ndarray of shape (n_samples, n_units), float32
            One array per layer, z_1 first.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood, or ``random_state`` is no seed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> [z.shape for z in hvae.latents(X, sample=True, random_state=1)]
        [(150, 16), (150, 16)]
        """
        rows = self._check_new(X)
        module = self._module_in_place()
        noise = self._noise(random_state) if sample else None
        columns = map_rows(
            module, rows, lambda x: torch.cat(module.encode(x, noise), 1), sum(self.n_components_)
        )
        return np.split(columns, np.cumsum(self.n_components_)[:-1], axis=1)

    def reconstruct(
        self,
        X: MatrixLike,
        layer: Layer = 1,
        resample: bool = False,
        *,
        random_state: RandomState = None,
    ) -> NDArray[np.floating]:
        """Decode the posterior mean of a layer; with ``missing="mask"``, this imputes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.
        layer : int or "top", default=1
            Number of the layer; the decoder hears nothing of x but by this layer. 1 has it
            all.
        resample : bool, default=False
            Whether the layers below are sampled from their priors, which shows what the layer
            leaves open, instead of taking their prior means.
        random_state : int, RandomState instance or None, default=None
            Seed of these samples. None takes the estimator's own: if that is an int, every call
            draws the same.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Mean of the data given the latents, on the scale of the data; float64 if the rows of
            ``fit`` were, float32 if float32 holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood, there is no such layer, or ``random_state`` is no seed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> bool(abs(hvae.reconstruct(X) - X).mean() < 0.3)
        True
        """
        rows = self._check_new(X)
        number = resolve_layer(layer, self.n_layers_)
        noise = self._noise(random_state) if resample else None
        return self._reconstruct(rows, number, noise)

    def sample(
        self, n_samples: int = 1, *, mean: bool = False, random_state: RandomState = None
    ) -> NDArray[np.floating]:
        """Draw data from the model: latents from the top down, then the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        mean : bool, default=False
            Whether to return the mean of the data given the sampled latents, without the
            noise of the likelihood, as pictures of samples usually are.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None takes the estimator's own: if that is an int, every call
            draws the same.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            On the scale of the data; float64 if the rows of ``fit`` were, float32 if float32
            holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is less than 1, or ``random_state`` is no seed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.sample(3, random_state=1).shape
        (3, 4)
        """
        return self._sample(n_samples, random_state, mean=mean)

    def rates(self, X: MatrixLike) -> NDArray[np.float64]:
        """Measure the rate of every layer for every row.

        The expectation over latents is a mean over 4 draws whose noise is derived from the
        row itself, so that a row's result is always the same and independent of other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_layers), float64
            Bits, z_1 first; the mean over rows is the rate.

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
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.rates(X).mean(axis=0).round()
        array([1., 3.])
        """
        return measure(self._module_in_place(), self._check_new(X)).rates

    def distortion(self, X: MatrixLike) -> NDArray[np.float64]:
        """Measure the distortion of every row.

        The expectation over latents is a mean over 4 draws whose noise is derived from the
        row itself, so that a row's result is always the same and independent of other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            -log2 p(x | z_1) in bits, expected over z_1.

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
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.distortion(X).shape
        (150,)
        """
        return measure(self._module_in_place(), self._check_new(X)).distortion

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Bound the log-likelihood of every row from below.

        The expectation over latents is a mean over 4 draws whose noise is derived from the
        row itself, so that a row's result is always the same and independent of other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Lower bound on ln p(x), nats: -ln(2) times the sum of distortion and rates.

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
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.score_samples(X).shape
        (150,)
        """
        return measure(self._module_in_place(), self._check_new(X)).lower_bound

    def score(self, X: MatrixLike, y: object = None) -> float:
        """Bound the mean log-likelihood per row from below.

        It rises with the rates, so it cannot choose them: search rates by a downstream
        estimator's score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers, with the columns seen in ``fit``.
        y : None
            Ignored; here for scikit-learn's interface.

        Returns
        -------
        float
            Mean of ``score_samples``, nats.

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
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.score(X) == hvae.lower_bound_
        True
        """
        return float(self.score_samples(X).mean())

    def export_onnx(
        self, path: str | PathLike[str], part: Literal["encoder", "decoder"] = "encoder"
    ) -> None:
        """Write ``transform`` or ``inverse_transform`` to an ONNX file.

        onnxruntime, or any other runtime, then gives the same numbers, up to the rounding of
        float32, without torch or this library. Preprocessing is inside, as are the current
        ``output_layers``; the number of rows is free. X is not checked: check it before, since
        an unknown category, say, is an error in ``transform`` but not in the graph. Needs
        ``pip install 'sk-hvae[onnx]'``.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced. All weights are in this one file.
        part : {"encoder", "decoder"}, default="encoder"
            "encoder" maps the input "X" (rows, n_features), float64, to the output "Z", what
            ``transform`` returns; that of an `HVAEClusterer` also has the output
            "probabilities", those of ``predict_proba``. "decoder" maps the input "Z" (rows,
            n_columns), float32, to the output "X", what ``inverse_transform`` returns, in its
            dtype. The input X is float64, because raw columns may have more digits than float32
            holds.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ImportError
            If onnx or onnxscript is not installed.
        ValueError
            If ``part`` is neither, if the weights take more than the 2 GiB of an ONNX file, or
            if networks or likelihoods of your own do what ONNX cannot express.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> import os, tempfile
        >>> import numpy as np
        >>> from onnxruntime import InferenceSession
        >>> path = os.path.join(tempfile.mkdtemp(), "iris.onnx")
        >>> hvae.export_onnx(path)
        >>> (Z,) = InferenceSession(path).run(["Z"], {"X": X})
        >>> np.allclose(Z, hvae.transform(X), rtol=1e-5, atol=1e-5)
        True
        """
        check_is_fitted(self, "module_")
        export_estimator(self, path, part)

    def to_torch(self, part: Literal["encoder", "decoder"] = "encoder") -> torch.nn.Module:
        """Make a torch module of ``transform`` or ``inverse_transform``.

        It maps tensors to tensors, for what works on torch modules: ``torch.export``, gradients
        with respect to the input, or the explainers of shap and captum. Preprocessing is
        inside, as are the current ``output_layers``; the checks of X are not. Results are
        those of the methods, up to the rounding of float32.

        Parameters
        ----------
        part : {"encoder", "decoder"}, default="encoder"
            "encoder" maps raw rows (n_samples, n_features), of any dtype that ``fit`` takes, to
            the columns of ``transform`` (n_samples, n_columns), float32. "decoder" maps these to
            the mean of the data (n_samples, n_features), as ``inverse_transform`` does.

        Returns
        -------
        torch.nn.Module
            In evaluation mode, on ``device_``, with a copy of the weights that is frozen:
            ``requires_grad_(True)`` lets them be trained. Gradients reach the input wherever
            the likelihood reads columns as numbers; through codes of categories there are none.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``part`` is neither.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> encoder, x = hvae.to_torch(), torch.from_numpy(X)
        >>> torch.allclose(encoder(x), torch.from_numpy(hvae.transform(X)), atol=1e-5)
        True

        How the first column changes with the measurements of every flower:

        >>> encoder(x.requires_grad_())[:, 0].sum().backward()
        >>> x.grad.shape
        torch.Size([150, 4])

        A program for any number of rows, which runs without this library:

        >>> n_rows = torch.export.Dim("rows", min=1)
        >>> program = torch.export.export(
        ...     encoder, (x.detach(),), dynamic_shapes=({0: n_rows},)
        ... )
        >>> program.module()(x.detach()[:7]).shape
        torch.Size([7, 32])
        """
        check_is_fitted(self, "module_")
        return frozen_part(self, part, usable_device(self.device_))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Name the columns of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Ignored but for a check against ``feature_names_in_``.

        Returns
        -------
        ndarray of str
            "z1_0", "z1_1", ... layer by layer.

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.get_feature_names_out()[[0, 15, 16, 31]]
        array(['z1_0', 'z1_15', 'z2_0', 'z2_15'], dtype=object)
        """
        check_is_fitted(self, "module_")
        check_feature_names_in(self, input_features, generate_names=False)
        names = [
            f"z{n}_{i}" for n in self._output_numbers() for i in range(self.n_components_[n - 1])
        ]
        return np.array(names, dtype=object)

    @property
    def layer_slices_(self) -> dict[str, slice]:
        """Columns of ``transform`` that belong to each layer: dict of "z1" to slice."""
        check_is_fitted(self, "module_")
        numbers = self._output_numbers()
        ends = np.cumsum([self.n_components_[n - 1] for n in numbers]).tolist()
        return {
            f"z{n}": slice(first, end)
            for n, first, end in zip(numbers, [0, *ends], ends, strict=False)
        }

    @property
    def _n_features_out(self) -> int:
        return sum(self.n_components_[n - 1] for n in self._output_numbers())

    def _output_numbers(self):
        return resolve_output_layers(self.output_layers, self.n_layers_)

    def _check_new(self, X):
        check_is_fitted(self, "module_")
        allow_nan = self.module_.missing is not None
        rows = check_rows(self, X, reset=False, allow_nan=allow_nan)
        names = getattr(self, "feature_names_in_", None)
        rows.check(told_by_name(names)(self.module_.likelihood.check))
        return rows

    def _reconstruct(self, rows, layer, noise=None):
        """Decode a layer of checked rows, with the layers below drawn if there is noise."""
        module = self._module_in_place()

        def decode(x):
            return module.decode(module.encode(x)[layer - 1], layer, noise)

        return map_rows(module, rows, decode, self.n_features_in_, self._new_data(len(rows)))

    def _decode(self, z, layer):
        """Decode latents (n, n_units), float32, of one layer."""
        module = self._module_in_place()
        rows = ResidentRows(as_tensor(np.ascontiguousarray(z)))
        out = self._new_data(len(rows))
        return map_rows(module, rows, lambda z: module.decode(z, layer), self.n_features_in_, out)

    def _new_data(self, n_rows):
        """Make room for rows on the scale of the data, in the precision that was fitted."""
        return np.empty((n_rows, self.n_features_in_), self._data_dtype)

    def _sample(self, n_samples, random_state, top=None, mean=False):
        """Draw rows, below the states or units ``top`` (n_units,) if these are given."""
        module = self._module_in_place()
        check_count("n_samples", n_samples)
        with FixedThreads(), torch.inference_mode():
            top = top if top is None else top.to(module_device(module)).expand(n_samples, -1)
            drawn = module.sample(n_samples, self._noise(random_state), top, mean).cpu().numpy()
        return drawn.astype(self._data_dtype, copy=False)

    def _noise(self, random_state=None):
        """Make noise by a seed, or by the estimator's own for None."""
        seed = draw_seed(self.random_state if random_state is None else random_state)
        generator = torch.Generator(module_device(self.module_)).manual_seed(seed)
        return GeneratorNoise(generator)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = self.missing == "mask"
        tags.input_tags.sparse = True
        return tags
