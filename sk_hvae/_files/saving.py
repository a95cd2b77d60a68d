"""Write fitted estimators to safetensors files with a JSON header, and read them back."""

import json
import math
import os
from abc import ABC, abstractmethod
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sk_hvae._data.whole_file import whole_file
from sk_hvae._extras import import_extra
from sk_hvae._files.plain import (
    CodeNeededError,
    build_model,
    describe,
    describe_model,
    make_fitted,
    model_within,
    restore,
)
from sk_hvae._files.saved_arrays import check_arrays, to_arrays
from sk_hvae._fit.fitted import Trained
from sk_hvae._fit.plane import Plane
from sk_hvae._input.likelihood_columns import has_plain_columns
from sk_hvae._sklearn.fitted_state import columns_of, fitted_of, set_fitted
from sk_hvae.exceptions import UnsupportedFormatError
from sk_hvae.nn.likelihoods import DataSummary

# Format 1 knows no codes, which are then all from 0 to the largest, and no dtype; format 2 does not
# know how often codes occur. Both know no frames.
FORMAT, _OLDEST_FORMAT = 3, 1
_KEY = "sk_hvae"
_WEIGHTS = "module."
_NOT_SAVED = ("callbacks", "checkpoint")
_CLASSES = ("HierarchicalVAETransformer", "MultiRateHVAETransformer", "HVAEClusterer")


class FilesMixin(ABC):
    """The methods ``save`` and ``load`` of estimators.

    What an estimator is fitted to is a value of one kind, which `saved_arrays.SAVED` knows.
    """

    _kind: ClassVar[type[Trained]]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file.

        This is a safetensors file with the parameters as JSON in its header. It contains no code,
        no rows of the training data and no state of the optimiser, but the categories of a frame,
        and the smallest, the largest and some other values of each column. ``callbacks``,
        ``checkpoint`` and the state of a RandomState are not saved. Columns that ``likelihood``
        gives by slices, masks or functions are saved as the numbers that they had in ``fit``. An
        existing file is replaced only when the new one is complete. Needs
        ``pip install safetensors``.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ImportError
            If safetensors is not installed.
        TypeError
            If likelihood or networks are not those of `sk_hvae.nn`.
        ValueError
            If a parameter that was set after the fit does not make sense.
        OSError
            If the file cannot be written. An existing file stays as it was.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "iris.safetensors")
        >>> hvae.save(path)
        >>> bool((HierarchicalVAETransformer.load(path).transform(X) == hvae.transform(X)).all())
        True
        """
        fitted = fitted_of(self)
        self._validate_params()
        self._check_usable()
        params = self.get_params(deep=False)
        _write(_to_bytes(type(self).__name__, params, columns_of(self), fitted), path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an estimator written by `save`; no code from the file is run.

        Everything in the file is checked. A file from somebody whom you do not trust gives a
        working estimator or an error, and needs no more memory than a few times its size.

        Parameters
        ----------
        path : str or path-like
            File to read.

        Returns
        -------
        HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            The fitted estimator, of the class whose method this is.

        Raises
        ------
        OSError
            If there is no such file, or it may not be read.
        UnsupportedFormatError
            If the file is damaged, not one of this library, of another format, or of another class.
        ImportError
            If safetensors is not installed.

        Examples
        --------
        See `save`.
        """
        header, arrays = _read(path)
        kind = header.get("class")
        if kind in _CLASSES and kind != cls.__name__:
            raise UnsupportedFormatError(
                f"{os.fspath(path)} holds a {kind}; load it with {kind}.load."
            )
        try:
            estimator = _from_parts(cls, cls._kind, header, arrays)
            cls._validate_params(estimator)
            cls._check_usable(estimator)
            return estimator
        except Exception as error:
            problem = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise UnsupportedFormatError(
                f"{os.fspath(path)} is damaged, or is no {cls.__name__}: {problem.rstrip('.')}. "
                "Copy the file anew, or save the estimator again."
            ) from error

    @abstractmethod
    def _check_usable(self) -> None:
        """Raise ValueError unless the parameters let the fitted estimator be used."""

    if TYPE_CHECKING:  # of scikit-learn's estimators

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...

        def _validate_params(self) -> None: ...


def _to_bytes(name, params, columns, fitted):
    """Write parameters, columns and the fitted value of an estimator of some class."""
    save = _safetensors("safetensors.numpy").save
    model = describe_model(model_within(fitted), fitted.architecture)
    names, schema = columns.get("feature_names_in_"), columns.get("_schema")
    if schema is not None:
        _refuse_code(schema)
    described = {name: describe(value) for name, value in params.items() if name not in _NOT_SAVED}
    if not has_plain_columns(params["likelihood"]):
        described["likelihood"] = model["likelihood"]
    header = {
        "format": FORMAT,
        "class": name,
        "params": described,
        "architecture": model["architecture"],
        "likelihood": model["likelihood"],
        "device": fitted.device,
        "data_dtype": fitted.data_dtype,
        "feature_names": None if names is None else list(names),
        "schema": describe(schema),
    }
    arrays = {f"{_WEIGHTS}{name}": weights for name, weights in model["weights"].items()}
    arrays |= {name: model[name] for name in ("summary", "codes") if model[name] is not None}
    arrays |= {name: np.asarray(value, order="C") for name, value in to_arrays(fitted).items()}
    return save(arrays, {_KEY: json.dumps(header, default=_to_json, allow_nan=False)})


def _refuse_code(schema):
    """Raise TypeError if names or categories of columns are no plain values."""
    for column in schema.columns:
        for value in (column.name, *(column.categories or ())):
            parts = value if isinstance(value, tuple) else (value,)
            if not all(type(part) in (str, int, float, bool, type(None)) for part in parts):
                raise TypeError(
                    f"column {column.name!r} has the name or category {value!r} of type "
                    f"{type(value).__name__}, which a file cannot hold; make text of it before "
                    "fit, or pickle the estimator."
                )


def _from_parts(cls, kind, header, arrays):
    """Make an estimator of a class whose fitted value is of a kind."""
    if header["class"] != cls.__name__:
        raise ValueError(f"it holds a {header['class']!r}")
    surplus = header["params"].keys() & _NOT_SAVED
    if surplus:
        raise ValueError(f"it sets {', '.join(sorted(surplus))}, which no file does")
    estimator = cls(**{name: restore(value) for name, value in header["params"].items()})
    description = {
        "architecture": header["architecture"],
        "likelihood": header["likelihood"],
        "summary": arrays.pop("summary"),
        "codes": arrays.pop("codes", None),
        "weights": {
            name.removeprefix(_WEIGHTS): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(_WEIGHTS)
        },
    }
    architecture, model = build_model(description, kind is Plane)
    summary = DataSummary(*description["summary"])
    n_features = len(summary.maximum)
    likelihood = (model.model if kind is Plane else model).likelihood
    check_arrays(kind, arrays, architecture.layer_sizes, likelihood)
    device = str(restore({"device": header["device"]}))
    values = {name: array if array.ndim else array.item() for name, array in arrays.items()}
    fitted = make_fitted(kind, model, architecture, device, _data_dtype(header), values)
    columns = {"n_features_in_": n_features}
    if header["feature_names"] is not None:
        columns["feature_names_in_"] = _names(header["feature_names"], n_features)
    schema = restore(header["schema"]) if header["format"] > 2 else None
    if schema is not None:
        schema.check(summary.maximum.tolist())
        columns["_schema"] = schema
    return set_fitted(estimator, fitted, columns)


def _data_dtype(header):
    """Return the dtype of what comes out on the scale of the data; float64 if it is not known."""
    dtype = header["data_dtype"] if header["format"] > 1 else "float64"
    if dtype not in ("float32", "float64"):
        raise ValueError(f"it knows no data of {dtype!r}")
    return dtype


def _names(names, n_features):
    if type(names) is not tuple or len(names) != n_features or {*map(type, names)} != {str}:
        raise ValueError(f"feature_names are not the names of {n_features} columns")
    return np.array(names, dtype=object)


def _write(content, path):
    """Write a file in one step, as far as its readers see."""
    path = os.fspath(path)
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}. The estimator was not saved, and nothing was changed; save it "
            f"to a folder that is there, may be written to, and has {len(content):,} bytes free",
            path,
        ) from error


def _read(path):
    """Return the JSON header and the arrays of a file."""
    safe_open = _safetensors("safetensors").safe_open
    try:
        with open(path, "rb"):  # says what is wrong with a path better than safetensors
            pass
        with safe_open(path, framework="np") as file:
            header = _parse(file.metadata()[_KEY])
            version = header["format"]
            if type(version) is not int:
                raise TypeError(f"its format is {version!r}")
            known = _OLDEST_FORMAT <= version <= FORMAT
            names = file.keys() if known else ()
            arrays = {name: file.get_tensor(name) for name in names}
    except OSError:
        raise
    except Exception as error:
        raise UnsupportedFormatError(
            f"{os.fspath(path)} is not a file written by save(), or is damaged: {error}. Copy "
            "it anew, or save the estimator again; pickles are read by pickle and joblib."
        ) from error
    if not known:
        advice = "Upgrade sk_hvae." if version > FORMAT else "Fit and save the estimator anew."
        raise UnsupportedFormatError(
            f"{os.fspath(path)} has format {version}; this version of sk_hvae reads formats "
            f"{_OLDEST_FORMAT} to {FORMAT}. {advice}"
        )
    return header, arrays


def _parse(text):
    """Parse JSON; arrays become tuples, and there are no numbers that are not finite."""
    return _with_tuples(json.loads(text, parse_float=_finite, parse_constant=_finite))


def _with_tuples(value):
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _finite(text):
    if not math.isfinite(float(text)):
        raise ValueError(f"its header has the number {text[:20]}")
    return float(text)


def _to_json(value):
    """Make what JSON knows of a value that it does not know."""
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise CodeNeededError(type(value).__name__)


def _safetensors(module):
    return import_extra(module, "save and load", "safetensors")
