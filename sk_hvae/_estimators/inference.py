"""What fitted estimators do with rows: latents, reconstructions, rates and scores."""

from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_array

from sk_hvae._data.devices import usable_device
from sk_hvae._estimators.conditions import conditions_of
from sk_hvae._estimators.model import as_in_fit, check_like, check_new_rows, model_of
from sk_hvae._estimators.parameters import (
    check_count,
    check_out,
    draw_seed,
    resolve_layer,
    resolve_output_layers,
    set_after_fit,
)
from sk_hvae._estimators.typing import Layer, MatrixLike, RandomState
from sk_hvae._files.onnx import export_model
from sk_hvae._files.torch_modules import frozen_part
from sk_hvae._fit.progress import shown_rows
from sk_hvae._input.frames import fill_holes, index_of
from sk_hvae._input.tables import as_table, name_columns
from sk_hvae._sklearn.fitted_state import fitted_of, schema_of
from sk_hvae._sklearn.privates import check_feature_names_in
from sk_hvae.nn.likelihoods.refusal import told_by_name


class LatentsMixin(TransformerMixin):
    """Methods that need no more than a fitted `HierarchicalVAE`."""

    verbose: int
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
        X : frame, array-like, sparse matrix or Dataset of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds. Memory-mapped files,
            sparse matrices and torch Datasets are read part by part.
        out : ndarray of shape (n_samples, n_columns), default=None
            Where to write the result, for example a memmap for data larger than memory. None
            makes a new array.

        Returns
        -------
        ndarray of shape (n_samples, n_columns), float32
            The layers of ``output_layers`` side by side, z_1 first. Every column is divided by the
            square root of the standard deviation that its posteriors typically have on the rows of
            ``fit``, and probabilities of states by nothing. If ``out`` is given, it is returned.

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
        rows = check_new_rows(self, X)
        check_out(out, (len(rows), self._n_features_out))
        with shown_rows("transform", rows, self.verbose) as rows:
            return model_of(self).encode(rows, self._output_numbers(), out=out)

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Decode latents, as ``transform`` returns them, to the mean of the data.

        The decoder reads z_1. If ``output_layers`` does not include z_1, the lowest layer that it
        includes is decoded, and the layers below take their prior means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Latents, with the columns of ``transform``.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A frame like that of ``fit``, if it was given one, with columns of whole numbers
            rounded, and times to the steps of their column, such as whole days. Else an array on
            the scale of the data: float64 if the rows of ``fit`` were float64 or integers of more
            than 16 bits, and float32 otherwise, which then holds all of their digits.

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
        model = model_of(self)
        Z = check_array(X, dtype=np.float32)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but transform returns {self._n_features_out} with "
                f"output_layers={self.output_layers!r}."
            )
        layers = self._output_numbers()
        decoded = model.decode(Z[:, model.layer_slices(layers)[layers[0]]], layers[0])
        return as_in_fit(self, decoded, index_of(X))

    def latents(
        self, X: MatrixLike, sample: bool = False, *, random_state: RandomState = None
    ) -> list[NDArray[np.float32]]:
        """Infer the latents of every layer.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.
        sample : bool, default=False
            Whether to return samples of the posteriors instead of their means. The rates limit the
            information in samples only.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the estimator's ``random_state``. If that is an int,
            every call draws the same samples.

        Returns
        -------
        list of ndarray of shape (n_samples, n_units), float32
            One array per layer, z_1 first, in the units of ``transform``.

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
        rows, model = check_new_rows(self, X), model_of(self)
        noise = model.noise(self._seed(random_state)) if sample else None
        with shown_rows("latents", rows, self.verbose) as rows:
            columns = model.encode(rows, range(1, model.n_layers + 1), noise)
        return np.split(columns, np.cumsum(model.n_components)[:-1], axis=1)

    def reconstruct(
        self,
        X: MatrixLike,
        layer: Layer = 1,
        resample: bool = False,
        *,
        random_state: RandomState = None,
    ) -> Any:
        """Decode the posterior mean of a layer: all cells, also those that are not missing.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.
        layer : int or "top", default=1
            Number of the layer whose posterior mean is decoded. The layers below are predicted from
            it and do not use x. 1 decodes z_1, which contains the information of all layers.
        resample : bool, default=False
            Whether the layers below are samples of their priors instead of the means. The
            differences between such reconstructions show what the layer does not determine.
        random_state : int, RandomState instance or None, default=None
            Seed of these samples. None uses the estimator's ``random_state``. If that is an int,
            every call draws the same samples.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            Mean of the data given the latents: a frame like that of ``fit``, if it was given one,
            with columns of whole numbers rounded, and times to the steps of their column, such as
            whole days. Other numbers lie between the steps of theirs. Else an array on the scale of
            the data: float64 if the rows of ``fit`` were float64 or integers of more than 16 bits,
            and float32 otherwise, which then holds all of their digits.

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
        rows, model = check_new_rows(self, X), model_of(self)
        number = resolve_layer(layer, model.n_layers)
        noise = model.noise(self._seed(random_state)) if resample else None
        with shown_rows("reconstruct", rows, self.verbose) as rows:
            reconstructed = model.reconstruct(rows, number, noise)
        return as_in_fit(self, reconstructed, index_of(X))

    def impute(self, X: MatrixLike) -> Any:
        """Fill in the missing cells of X; all other cells stay as they are.

        Numbers become their expectation given the cells that are there, and categories the most
        probable one. At the end of ``fit`` some cells of the training rows are hidden, and what
        they teach corrects both; numbers stay within the range of their column. Models of
        `MultiRateHVAETransformer`, and those that were trained further, know nothing of this.
        Numbers with ``Gaussian(scaling="quantile")``, the default of frames, are then rounded to
        the steps of their column, such as whole numbers or cents, unless a step is more than the
        standard deviation. So a flag of 0 and 1 in real numbers gets the probability of 1, of
        which rounding would make 0 in nearly all rows. Columns of a dtype of whole numbers are
        always rounded, and so are times.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            X with its missing cells filled in, in its own dtypes; an array if ``fit`` was given
            one. A column without any value in ``fit`` stays missing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has other columns than in ``fit``, or cannot come from the likelihood, or if cells
            are missing and the model was fitted with ``missing="error"``, or to an array without
            ``missing="mask"``.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris(as_frame=True).data
        >>> holey = X.mask(X > 6.5)
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=50, random_state=0).fit(holey)
        >>> int(holey.isna().sum().sum()), int(hvae.impute(holey).isna().sum().sum())
        (34, 0)
        """
        rows, model = check_new_rows(self, X), model_of(self)
        with shown_rows("impute", rows, self.verbose) as rows:
            imputed = model.impute(rows)
        return fill_holes(as_table(X), as_in_fit(self, imputed, index_of(X)))

    def rates(self, X: MatrixLike) -> NDArray[np.float64]:
        """Measure the rate of every layer for every row.

        The expectation over latents is estimated by the mean over 4 draws. Their noise is computed
        from the row itself, so that the result of a row is always the same and does not depend on
        other rows. That over the states of a categorical layer is exact; below states whose
        probability is less than 1% there is one draw.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

        Returns
        -------
        ndarray of shape (n_samples, n_layers), float64
            Bits, z_1 first. The mean over rows is the rate of the layer.

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
        return self._measure("rates", X).rates

    def distortion(self, X: MatrixLike) -> NDArray[np.float64]:
        """Measure the distortion of every row.

        The expectation over latents is estimated by the mean over 4 draws. Their noise is computed
        from the row itself, so that the result of a row is always the same and does not depend on
        other rows. That over the states of a categorical layer is exact; below states whose
        probability is less than 1% there is one draw.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

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
        return self._measure("distortion", X).distortion

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute a lower bound on the log-likelihood of every row.

        The expectation over latents is estimated by the mean over 4 draws. Their noise is computed
        from the row itself, so that the result of a row is always the same and does not depend on
        other rows. That over the states of a categorical layer is exact; below states whose
        probability is less than 1% there is one draw.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

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
        return self._measure("score_samples", X).lower_bound

    def typicality(self, X: MatrixLike) -> NDArray[np.float64]:
        """Measure how typical every row is; the lowest are the oddest.

        The model draws a row from latents and from normal noise, which has the same scale in all
        columns. An odd row needs noise that is far out, or that does not go together as that of
        other rows does. ``score_samples`` finds fewer odd rows in tables, because a bound on the
        probability depends more on how fine the grids of columns are, and on how much is left to
        chance in them.

        Noise is correlated by the Gaussian copula by which ``sample`` draws rows. It is the mean of
        16 draws that would give the row, computed from the row itself, so that the result of a row
        is always the same and does not depend on other rows. Models of `MultiRateHVAETransformer`
        know no correlations.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus half the squared Mahalanobis length of the noise, less the rates of all layers,
            in nats. Missing cells do not count. Columns whose likelihood is neither
            ``"categorical"`` nor ``Gaussian(scaling="quantile")`` count by their expected
            log-probability; without any other columns, this is ``score_samples``.

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
        >>> X = load_iris(as_frame=True).data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> odd = X.head(20).copy()
        >>> odd.iloc[7, 2:] = 6.5, 0.1  # a long and very narrow petal
        >>> int(hvae.typicality(odd).argmin())
        7
        """
        with shown_rows("typicality", check_new_rows(self, X), self.verbose) as rows:
            return model_of(self).typicality(rows)

    def score(self, X: MatrixLike, y: object = None) -> float:  # noqa: ARG002 scikit-learn passes y
        """Compute a lower bound on the mean log-likelihood per row.

        It says how probable the model makes rows. More bits raise it while the latents come to hold
        what columns have in common. Beyond that they cost more than they explain, and on new rows
        of a small table it may fall from few bits on. It does not say what the latents are worth
        for a task: for that, choose rates by the score of an estimator that uses the latents.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds.
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

        onnxruntime, or any other runtime, then gives the same numbers up to the rounding of
        float32, without torch or this library. The file contains the preprocessing and the current
        ``output_layers``, and takes any number of rows. It does not check X, so check it before: an
        unknown category, for example, is an error in ``transform``, but not in the file. Needs
        ``pip install onnx onnxscript``.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced. All weights are in this one file.
        part : {"encoder", "decoder"}, default="encoder"
            "encoder" maps the input "X" (rows, n_features), float64, to the output "Z", which is
            what ``transform`` returns. The encoder of an `HVAEClusterer` also has the output
            "probabilities", which is what ``predict_proba`` returns. "decoder" maps the input "Z"
            (rows, n_columns), float32, to the output "X", which is what ``inverse_transform``
            returns, in the same dtype. The input X is float64, because raw columns may have more
            digits than float32 holds.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ImportError
            If onnx or onnxscript is not installed.
        ValueError
            If ``part`` is neither of these, if ``fit`` was given a frame with text or categories,
            for which the file has no codes, if the weights take more than the 2 GiB of an ONNX
            file, or if networks or likelihoods of your own use operations that ONNX does not have.
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
        _refuse_text(schema_of(self))
        about = {
            "name": type(self).__name__,
            "latent_names": self.get_feature_names_out(),
            "feature_names": getattr(self, "feature_names_in_", None),
        }
        export_model(model_of(self), path, part, self._output_numbers(), about)

    def to_torch(self, part: Literal["encoder", "decoder"] = "encoder") -> torch.nn.Module:
        """Make a torch module of ``transform`` or ``inverse_transform``.

        The module maps tensors to tensors. Use it for ``torch.export``, for gradients with respect
        to the input, or with the explainers of shap and captum. It contains the preprocessing and
        the current ``output_layers``, but not the checks of X. Results are those of the methods up
        to the rounding of float32.

        Parameters
        ----------
        part : {"encoder", "decoder"}, default="encoder"
            "encoder" maps raw rows (n_samples, n_features), of any dtype that ``fit`` takes, to
            the columns of ``transform`` (n_samples, n_columns), float32. A category of a frame is
            its place, from 0, among those of its column in sorted order; dates are seconds since
            1970. "decoder" maps latents to the mean of the data (n_samples, n_features), as
            ``inverse_transform`` does.

        Returns
        -------
        torch.nn.Module
            In evaluation mode, on ``device_``, with a frozen copy of the weights.
            ``requires_grad_(True)`` makes them trainable. There are gradients with respect to
            columns of numbers, but not with respect to codes of categories.

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

        How strongly does each measurement of a flower influence the first column?

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
        model = model_of(self)
        return frozen_part(model, part, self._output_numbers(), usable_device(model.device))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Name the columns of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Only compared with ``feature_names_in_``.

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
        n_components = model_of(self).n_components
        check_feature_names_in(self, input_features, generate_names=False)
        names = [
            f"z{number}_{unit}"
            for number in self._output_numbers()
            for unit in range(n_components[number - 1])
        ]
        return np.array(names, dtype=object)

    @property
    def layer_slices_(self) -> dict[str, slice]:
        """Columns of ``transform`` that belong to each layer: dict of "z1" to slice."""
        slices = model_of(self).layer_slices(self._output_numbers())
        return {f"z{number}": columns for number, columns in slices.items()}

    @property
    def _n_features_out(self) -> int:
        n_components = fitted_of(self).n_components
        return sum(n_components[number - 1] for number in self._output_numbers())

    @final
    def _measure(self, name, X):
        """Measure distortion and rates of rows, for the method of that name."""
        with shown_rows(name, check_new_rows(self, X), self.verbose) as rows:
            return model_of(self).measure(rows)

    @final
    def _output_numbers(self):
        n_layers = fitted_of(self).n_layers
        with set_after_fit():
            return resolve_output_layers(self.output_layers, n_layers)

    @final
    def _draw(self, n_samples, given, random_state, top=None, like=None, mean=False, missing=True):
        """Draw rows as ``fit`` was given them.

        They meet conditions, and are below a top layer or like other rows, if any are given.
        """
        model, schema = model_of(self), schema_of(self)
        check_count("n_samples", n_samples)
        seed = self._seed(random_state)
        noise, conditions = model.noise(seed), []
        if like is None:
            draw_z_1 = model.prior(top)
        else:
            draw_z_1 = model.aggregate_posterior(check_like(self, like), noise, seed)
        if given is None:
            drawn = model.sample(n_samples, noise, draw_z_1, mean)
        else:
            names = getattr(self, "feature_names_in_", None)
            conditions = conditions_of(given, schema, names, model.n_features)
            with told_by_name(names):
                drawn = model.sample_given(n_samples, noise, conditions, draw_z_1, mean)
        if missing and not mean and schema is not None:
            holes = schema.patterns.draw(drawn.shape, seed)
            holes[:, [condition.column for condition in conditions]] = False
            drawn = np.where(holes, np.nan, drawn)
        return as_in_fit(self, drawn)

    @final
    def _seed(self, random_state):
        """Draw a seed from what a method was given, or from the estimator's own for None."""
        return draw_seed(self.random_state if random_state is None else random_state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = self.missing == "mask"
        tags.input_tags.sparse = True
        return tags


def _refuse_text(schema):
    """Raise ValueError if a frame has columns whose cells are no numbers for other programs."""
    numbers = [] if schema is None else schema.texts
    if numbers:
        raise ValueError(
            f"{name_columns(numbers, schema.names)} of the frame of fit held text or categories, "
            "which an ONNX file does not know how to read. Fit to an array of numbers, for example "
            "of OrdinalEncoder, or use save() or to_torch()."
        )
