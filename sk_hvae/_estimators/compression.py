"""Rows to bytes and back, by a fitted model."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Literal, Protocol, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_hvae._codec.codec import Compressed
from sk_hvae._codec.exactness import DTYPES, Exactness
from sk_hvae._codec.lossless import decode_rows, encode_rows
from sk_hvae._codec.lossy import decode_symbols, encode_symbols
from sk_hvae._codec.rows import RowCoder, completed, is_gaussian
from sk_hvae._data.rows import ResidentRows
from sk_hvae._estimators.model import as_in_fit, check_new_rows, model_of
from sk_hvae._estimators.typing import MatrixLike
from sk_hvae._fit.progress import rows_bar
from sk_hvae._input.checks import check_rows
from sk_hvae._input.frames import read_frame
from sk_hvae._input.same_cells import first_difference
from sk_hvae._input.tables import as_table
from sk_hvae._sklearn.fitted_state import schema_of
from sk_hvae.exceptions import CodecError
from sk_hvae.nn.likelihoods.refusal import told_by_name

# Whole numbers up to here are exact in float64.
_LARGEST_WHOLE = 2**53
# With steps beyond, bins are as narrow as they can be, or there is one of each unit.
_STEPS = 1e-6, 1e6


Mode = Literal["lossless", "lossy"]


class _Readable(Protocol):
    """A binary file that is open for reading."""

    def read(self) -> bytes: ...


class CompressionMixin:
    """Methods that turn rows into bytes, of estimators with one model."""

    verbose: int

    def compress(
        self,
        X: MatrixLike,
        *,
        mode: Mode = "lossless",
        step: float | None = None,
        resolution: float | ArrayLike | Mapping[Any, float] | None = None,
        verify: bool = True,
        out: BinaryIO | None = None,
    ) -> bytes | BinaryIO:
        """Compress rows to about as many bits as the model says.

        Without loss, a row takes D + the total rate on average, which are its ``distortion`` and
        ``rates``, by bits-back coding with asymmetric numeral systems [1]_ [2]_. With loss, it
        takes the total of ``rates_`` and comes back as the decoder sees it: its latents are rounded
        to bins, whose numbers are coded. A file also has a header of some 30 bytes. The model is
        needed to decompress, so that its size counts as well, unless it is there anyway or serves
        many rows.

        Parameters
        ----------
        X : frame, array-like, sparse matrix or Dataset of shape (n_samples, n_features)
            With the columns seen in ``fit``, and of the same kinds. Memory-mapped files,
            sparse matrices and torch Datasets are read part by part.
        mode : {"lossless", "lossy"}, default="lossless"
            Whether rows come back exactly, or as in ``reconstruct``, in far fewer bits. Missing
            cells are then filled in.
        step : float, default=None
            With ``mode="lossy"``: width of the bins in standard deviations of what a row leaves
            open, which is the same for all latents. Wider bins take fewer bits and lose more. By
            default the step is the one with which these rows take ``sum(rates_)`` bits on average;
            it is usually near 3.
        resolution : float, array-like of shape (n_features,) or dict, default=None
            With ``mode="lossless"``: what the values of Gaussian columns are rounded to multiples
            of. One number, one for each column (NaN for none), or a dict of some columns, by name
            or number. By default nothing is rounded: the values are taken to be on the grid that
            ``fit`` found, such as cents, or whole if the array holds integers. Values that are not
            take up to 89 bits. Columns of real numbers that are on no grid need a resolution.
        verify : bool, default=True
            Whether the file is decoded again, and compared, which doubles the time.
        out : binary file, default=None
            Open for writing. None returns the bytes.

        Returns
        -------
        bytes or binary file
            What `decompress` takes. If ``out`` is given, it is returned.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X is not finite, has other columns than in ``fit``, or cannot come from the
            likelihood; or if a parameter makes no sense, or not in this mode. Without loss also if
            X has categories that ``fit`` did not see; if columns need a ``resolution``; or if
            networks or likelihoods are not of the library, or need an exposure.
        CodecError
            If rows would not come back as they are, such as times of more digits than the numbers
            of the model have.

        See Also
        --------
        code_length : How many bits each row takes.

        Notes
        -----
        Without loss, all that the decoder computes again is computed in whole numbers, or in
        operations that IEEE 754 rounds in one way only [3]_. The file therefore does not depend on
        the machine, the number of threads, or whether the model was saved in between.

        With loss, the bins of a latent are as wide as ``step`` times the noise that the posterior
        leaves in it, in units relative to the prior; the header has their widths, and how many bits
        a bin takes follows from them. A file gives the same bins on every machine, and what is
        decoded from them is the same but for the last digits. To which of two bins a latent between
        them is rounded may differ from machine to machine, and with it the file.

        Segments of up to 1,024 rows are compressed one by one. The labels of the rows of a frame,
        its index, are not kept.

        References
        ----------
        .. [1] Townsend, Bird and Barber, "Practical Lossless Compression with Latent Variables
           using Bits Back Coding", ICLR 2019.
        .. [2] Townsend, Bird, Kunze and Barber, "HiLLoC: Lossless Image Compression with
           Hierarchical Latent Variable Models", ICLR 2020.
        .. [3] Balle, Johnston and Minnen, "Integer Networks for Data Compression with
           Latent-Variable Models", ICLR 2019.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = (load_digits().data > 8).astype("uint8")
        >>> hvae = HierarchicalVAETransformer(likelihood="bernoulli", max_epochs=30, random_state=0)
        >>> data = hvae.fit(X[:1500]).compress(X[1500:])
        >>> len(data) < X[1500:].size / 8 / 1.5
        True
        >>> bool((hvae.decompress(data) == X[1500:]).all())
        True

        Ten bits for each of the digits, of the 64 that they have:

        >>> data = hvae.compress(X[1500:], mode="lossy")
        >>> round(8 * len(data) / len(X[1500:]))
        11
        >>> bool(((hvae.decompress(data) > 0.5) == X[1500:]).mean() > 0.85)
        True
        """
        _check_mode(mode, step, resolution)
        if mode == "lossy":
            data = self._encode_latents(X, step, verify).data
        else:
            data = self._encode(X, resolution, verify).data
        if out is None:
            return data
        out.write(data)
        return out

    def decompress(
        self, data: bytes | bytearray | memoryview | _Readable, *, rows: slice = slice(None)
    ) -> Any:
        """Give back what `compress` was given, or what it kept of it.

        Parameters
        ----------
        data : bytes-like or binary file
            What `compress` returned, by the same fitted model, also if it was saved and loaded.
        rows : slice, default=slice(None)
            Which rows. Of others, no more is decoded than the rest of their segments, of up to
            1,024 rows.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A frame like that of ``fit``, if it was given one. Else an array of the dtype that
            `compress` was given; if this was with loss, of that of ``inverse_transform``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If ``rows`` is no slice.
        CodecError
            If the data are damaged, or were compressed by another model. No row is returned then.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.decompress(hvae.compress(X, resolution=0.1), rows=slice(2))
        array([[5.1, 3.5, 1.4, 0.2],
               [4.9, 3. , 1.4, 0.2]])
        """
        if not isinstance(rows, slice):
            raise TypeError(f"rows must be a slice, such as slice(100, 200); got {rows!r}.")
        content = data if isinstance(data, bytes | bytearray | memoryview) else data.read()
        model, compressed = model_of(self), Compressed(content, rows)
        details = compressed.details
        if isinstance(details, Exactness):
            with rows_bar("decompress", len(compressed), self.verbose) as on_rows:
                numbers = decode_rows(model.module, compressed, on_rows)
            is_array = schema_of(self) is None
            return numbers.astype(details.dtype) if is_array else as_in_fit(self, numbers)
        with rows_bar("decompress", len(compressed), self.verbose) as on_rows:
            symbols = decode_symbols(model.module, compressed, on_rows)
        return as_in_fit(self, model.decode_symbols(symbols, details))

    def code_length(
        self,
        X: MatrixLike,
        *,
        mode: Mode = "lossless",
        step: float | None = None,
        resolution: float | ArrayLike | Mapping[Any, float] | None = None,
    ) -> NDArray[np.float64]:
        """Tell how many bits of the file that `compress` makes each row takes.

        That is what a row adds to what is there already. Without loss, what its latents take is
        partly paid with the bits of the rows before it.

        Parameters
        ----------
        X : frame, array-like, sparse matrix or Dataset of shape (n_samples, n_features)
            As for `compress`.
        mode : {"lossless", "lossy"}, default="lossless"
            As for `compress`.
        step : float, default=None
            As for `compress`.
        resolution : float, array-like of shape (n_features,) or dict, default=None
            As for `compress`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Bits. Their mean is close to that of ``distortion`` plus the sum of ``rates``; with loss
            and no ``step``, to the sum of ``rates_``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            As for `compress`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.code_length(X, resolution=0.1).shape
        (150,)
        """
        _check_mode(mode, step, resolution)
        if mode == "lossy":
            return self._encode_latents(X, step, is_verified=False).costs
        return self._encode(X, resolution, is_verified=False).costs

    @final
    def _encode_latents(self, X, step, is_verified):
        """Compress rows with loss; returns `Encoded`."""
        rows, model = check_new_rows(self, X), model_of(self)
        bins = model.choose_bins(rows, step)

        def take(span):
            part = rows.take(torch.arange(span.start, span.stop))
            return model.quantise(ResidentRows(part), bins)

        with rows_bar("compress", len(rows), self.verbose) as on_rows:
            return encode_symbols(model.module, bins, take, rows.shape, is_verified, on_rows)

    @final
    def _encode(self, X, resolution, is_verified):
        """Compress rows without loss; returns `Encoded`."""
        X, model = as_table(X), model_of(self)
        module, names = model.module, getattr(self, "feature_names_in_", None)
        # An unknown category that was taken for a missing cell would not come back.
        may_miss = module.missing is not None
        rows = check_rows(self, X, reset=False, allow_nan=may_miss, unknown="error")
        rows.check(told_by_name(names)(module.likelihood.check))
        dtype = _dtype_of(X)
        known = names if schema_of(self) is None else schema_of(self).names
        resolution = _resolution_of(resolution, known, model)
        with told_by_name(known), rows_bar("compress", len(rows), self.verbose) as on_rows:
            of_all = completed(resolution, module.likelihood, dtype)
            coder = RowCoder(module.likelihood, of_all)
            rows.check(lambda part: coder.check(part.cpu().double().numpy()))
            try:
                encoded = encode_rows(module, rows, dtype, resolution, is_verified, on_rows)
            except TypeError as error:
                raise ValueError(
                    f"there is no exact code for networks with a {error}: compress() without loss "
                    "needs network='mlp' or 'conv', with or without a categorical top layer; "
                    "mode='lossy' takes any."
                ) from error
        if is_verified and schema_of(self) is not None:
            _check_cells(X, self.decompress(encoded.data), resolution)
        return encoded


def _check_mode(mode, step, resolution):
    """Raise ValueError unless the mode is known, and the other parameters go with it."""
    if mode not in ("lossless", "lossy"):
        raise ValueError(f"mode must be 'lossless' or 'lossy'; got {mode!r}.")
    if mode == "lossless" and step is not None:
        raise ValueError(
            "step is for mode='lossy' only; resolution is what columns are rounded to."
        )
    if mode == "lossy" and resolution is not None:
        raise ValueError("resolution is for mode='lossless' only; step says how much is lost.")
    is_number = isinstance(step, (int, float, np.number)) and not isinstance(step, bool)
    if step is not None and not (is_number and _STEPS[0] <= step <= _STEPS[1]):
        raise ValueError(
            f"step must be None, or a number from {_STEPS[0]:g} to {_STEPS[1]:g}; got {step!r}."
        )


def _dtype_of(X):
    """Return the dtype in which rows come back; raises ValueError if float64 does not hold X."""
    dtype = getattr(X, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.str[1:] not in DTYPES:
        return "f8"
    if dtype.str[1:] in ("i8", "u8") and read_frame(X) is None:
        values = X.data if hasattr(X, "tocsr") else np.asarray(X)
        if values.size and max(abs(int(values.min())), abs(int(values.max()))) > _LARGEST_WHOLE:
            raise ValueError(
                "X holds integers beyond 2**53, which the model does not tell from their "
                "neighbours; leave such columns out."
            )
    return dtype.str[1:]


def _resolution_of(given, names, model):
    """Return the resolution of each column, (n_features,), NaN for those that are not rounded."""
    n_features = model.n_features
    is_there = is_gaussian(model.likelihood)
    found = np.full(n_features, np.nan)
    if isinstance(given, Mapping):
        for column, value in given.items():
            found[_number_of(column, names, n_features)] = value
    elif given is not None:
        found = np.where(
            is_there, np.broadcast_to(np.asarray(given, np.float64), found.shape), found
        )
    wrong = ~np.isnan(found) & ~((found > 0) & np.isfinite(found))
    if wrong.any():
        raise ValueError(f"resolution must be positive; got {found[wrong][0]:g}.")
    if (~np.isnan(found) & ~is_there).any():
        raise ValueError("resolution is for Gaussian columns only; those of others are exact.")
    return found


def _number_of(column, names, n_features):
    known = range(n_features) if names is None or column not in names else list(names)
    if column not in known:
        raise ValueError(f"resolution names {column!r}, which is no column of X.")
    return known.index(column)


def _check_cells(X, again, resolution):
    """Raise CodecError if a frame does not come back cell by cell, but for what was rounded."""
    if read_frame(X) is None:
        return
    found = first_difference(X, again, np.flatnonzero(np.isnan(resolution)).tolist())
    if found is not None:
        row, name, cell, other = found
        raise CodecError(
            f"column {name!r} of X would not come back: row {row} has {cell!r}, of which the model "
            f"knows {other!r}. Round the column to what float64 can tell, such as microseconds."
        )
