"""Write fitted estimators to safetensors files with a JSON header, and read them back."""

import json
import math
import os
from os import PathLike
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_hvae._data.whole_file import whole_file
from sk_hvae._extras import import_extra
from sk_hvae._files.plain import CodeNeededError, build_model, describe, describe_model, restore
from sk_hvae._input.columns import has_plain_columns
from sk_hvae.exceptions import UnsupportedFormatError

# Format 1 knows no codes, which are then all from 0 to the largest, and no dtype.
FORMAT, _OLDEST_FORMAT = 2, 1
_KEY = "sk_hvae"
_WEIGHTS = "module."
_NOT_SAVED = ("callbacks", "checkpoint")
_CLASSES = ("HierarchicalVAETransformer", "MultiRateHVAETransformer", "HVAEClusterer")


class SavedAttribute(NamedTuple):
    """What a file holds of a fitted attribute: an array, or a number, which is one of no axes.

    Attributes
    ----------
    kind : str
        "f" for floats, "i" for whole numbers from 0, "b" for truth values, "fib" for any.
    shape : tuple of str or int
        Length of each axis; the same name stands for the same length in all attributes.
    below : str or None
        Name of a length that whole numbers are below.
    optional : bool
        Whether it may be missing, or not finite.
    """

    kind: str
    shape: tuple[str | int, ...] = ()
    below: str | None = None
    optional: bool = False

    def check(self, array, lengths):
        """Raise ValueError unless an array is of this kind; adds to the known ``lengths``."""
        right = array.dtype.kind in self.kind and array.ndim == len(self.shape)
        for name, found in zip(self.shape, array.shape, strict=False):
            length = lengths.setdefault(name, found) if isinstance(name, str) else name
            right = right and found == length
        if not right:
            raise ValueError(f"found {array.dtype} of shape {array.shape}")
        if not (self.optional or np.isfinite(array).all()):
            raise ValueError("found numbers that are not finite")
        if self.kind == "i" and array.size:
            most = lengths[self.below] if self.below else math.inf
            if array.min() < 0 or array.max() >= most:
                raise ValueError(f"found numbers from {array.min()} to {array.max()}")


class FilesMixin:
    """The methods ``save`` and ``load`` of estimators."""

    _kept: ClassVar[dict[str, SavedAttribute]]
    _model_name: ClassVar[str]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file.

        A safetensors file with parameters as JSON in its header: no code, no training data, no
        optimiser. ``callbacks``, ``checkpoint`` and the state of a RandomState are left out;
        columns that ``likelihood`` gives by slices, masks or functions are written as the numbers
        that they were in ``fit``. A file that is there is replaced once the new one is complete.
        Needs ``pip install 'sk-hvae[io]'``.

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
            If the file cannot be written; one that was there stays as it was.

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
        check_is_fitted(self, self._model_name)
        _check_params(self)
        _write(_to_bytes(self), path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an estimator written by `save`; no code from the file is run.

        All of a file is checked, so that one from a stranger gives a working estimator or an
        error, and takes no more memory than a few times its size.

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
            If the file is damaged, foreign, of another format, or of another class.
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
            return _from_parts(cls, header, arrays)
        except Exception as error:
            problem = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise UnsupportedFormatError(
                f"{os.fspath(path)} is damaged, or is no {cls.__name__}: {problem.rstrip('.')}. "
                "Copy the file anew, or save the estimator again."
            ) from error

    def _check_usable(self):
        """Raise ValueError unless the parameters let the fitted estimator be used."""
        raise NotImplementedError


def _check_params(estimator):
    estimator._validate_params()
    estimator._check_usable()


def _to_bytes(estimator):
    save = _safetensors("safetensors.numpy").save
    model = describe_model(getattr(estimator, estimator._model_name), estimator._architecture)
    names = getattr(estimator, "feature_names_in_", None)
    params = estimator.get_params(deep=False)
    if not has_plain_columns(params["likelihood"]):
        params["likelihood"] = model["likelihood"]
    header = {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "params": {
            name: describe(value) for name, value in params.items() if name not in _NOT_SAVED
        },
        "architecture": model["architecture"],
        "likelihood": model["likelihood"],
        "device": estimator.device_,
        "data_dtype": estimator._data_dtype,
        "feature_names": None if names is None else list(names),
    }
    arrays = {f"{_WEIGHTS}{name}": weights for name, weights in model["weights"].items()}
    arrays |= {name: model[name] for name in ("summary", "codes") if model[name] is not None}
    for name in {name.split(".")[0] for name in estimator._kept}:
        arrays |= _flatten(name, describe(getattr(estimator, name)))
    return save(arrays, {_KEY: json.dumps(header, default=_to_json, allow_nan=False)})


def _from_parts(cls, header, arrays):
    if header["class"] != cls.__name__:
        raise ValueError(f"it holds a {header['class']!r}")
    surplus = header["params"].keys() & _NOT_SAVED
    if surplus:
        raise ValueError(f"it sets {', '.join(sorted(surplus))}, which no file does")
    estimator = cls(**{name: restore(value) for name, value in header["params"].items()})
    weights = {
        name.removeprefix(_WEIGHTS): arrays.pop(name)
        for name in list(arrays)
        if name.startswith(_WEIGHTS)
    }
    description = {
        "architecture": header["architecture"],
        "likelihood": header["likelihood"],
        "summary": arrays.pop("summary"),
        "codes": arrays.pop("codes", None),
        "weights": weights,
    }
    conditioned = cls._model_name == "conditioned_"
    architecture, model = build_model(description, conditioned)
    estimator._architecture = architecture
    setattr(estimator, cls._model_name, model)
    estimator.n_components_ = architecture.layer_sizes
    estimator.n_layers_ = len(architecture.layer_sizes)
    estimator.n_features_in_ = description["summary"].shape[1]
    estimator.device_ = str(restore({"device": header["device"]}))
    estimator._data_dtype = _data_dtype(header)
    if header["feature_names"] is not None:
        estimator.feature_names_in_ = _names(header["feature_names"], estimator.n_features_in_)
    _check_arrays(cls._kept, arrays, estimator)
    attributes: dict[str, Any] = {"history_": {}}
    for name, array in arrays.items():
        attribute, _, part = name.partition(".")
        if part:
            attributes.setdefault(attribute, {})[part] = array
        else:
            attributes[attribute] = array if array.ndim else array.item()
    for name, value in attributes.items():
        setattr(estimator, name, restore(value))
    _check_params(estimator)
    return estimator


def _check_arrays(kept, arrays, estimator):
    """Raise ValueError unless arrays are what a class keeps."""
    sizes = estimator.n_components_
    lengths = {
        "n_features": estimator.n_features_in_,
        "n_layers": len(sizes),
        "n_top": sizes[-1],
        "n_measured": 2 * len(sizes) + 1 + sum(sizes),
    }
    recorded = {
        name: SavedAttribute("fib", (name,), optional=True)
        for name in arrays
        if name.startswith("history_.")
    }
    known = {**recorded, **kept}
    needed = {name for name, kind in kept.items() if not kind.optional}
    odd = sorted((needed - arrays.keys()) | (arrays.keys() - known.keys()))
    if odd:
        raise ValueError(f"the arrays {', '.join(odd[:5])} are missing, or do not belong there")
    for name, kind in known.items():
        if name in arrays:
            try:
                kind.check(arrays[name], lengths)
            except ValueError as error:
                raise ValueError(f"{name} is wrong: {error}") from error


def _flatten(name, value):
    """Name the arrays of an attribute, which may be a dict of them."""
    parts = {name: value}
    if isinstance(value, dict):
        parts = {f"{name}.{key}": item for key, item in value.items()}
    return {part: np.asarray(item, order="C") for part, item in parts.items()}


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
    return import_extra(module, "save and load", "'sk-hvae[io]'")
