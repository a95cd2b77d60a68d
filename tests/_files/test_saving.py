"""Pickle, joblib and save/load: the same estimator elsewhere, small files, clear errors."""

import io
import json
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from every_kind import changed
from safetensors.torch import load_file, safe_open, save_file
from sklearn.base import clone

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.exceptions import DeviceWarning, UnsupportedFormatError
from sk_hvae.nn import (
    Bernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    PerColumn,
    Poisson,
)

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

load = HierarchicalVAETransformer.load


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301


def saved(model, path):
    model.save(path)
    return load(path)


def assert_same_use(model, other, X):
    np.testing.assert_array_equal(model.transform(X), other.transform(X))
    np.testing.assert_array_equal(model.rates(X), other.rates(X))
    np.testing.assert_array_equal(model.sample(5), other.sample(5))
    for name in ("rates_", "betas_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name))
    for name in ("distortion_", "lower_bound_", "converged_", "n_iter_", "n_components_"):
        assert getattr(model, name) == getattr(other, name)
    assert set(model.history_) == set(other.history_)
    for name in model.history_:
        np.testing.assert_array_equal(model.history_[name], other.history_[name])


@pytest.mark.slow
def test_round_trip_through_a_fresh_process(fitted, iris, tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps(fitted))
    joblib.dump(fitted, tmp_path / "joblib")
    fitted.save(tmp_path / "save")
    np.save(tmp_path / "X.npy", iris)
    code = """
import os, pickle, sys, warnings
os.chdir(sys.argv[1])
warnings.simplefilter("error")
models = {"pickle": pickle.load(open("pickle", "rb"))}
import joblib
models["joblib"] = joblib.load("joblib")
from sk_hvae import HierarchicalVAETransformer
models["save"] = HierarchicalVAETransformer.load("save")
import numpy as np
X = np.load("X.npy")
for way, model in models.items():
    np.savez(way + ".npz", Z=model.transform(X), rates=model.rates(X), **model.history_)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True)  # noqa: S603
    for way in ("pickle", "joblib", "save"):
        out = np.load(tmp_path / f"{way}.npz")
        np.testing.assert_array_equal(out["Z"], fitted.transform(iris))
        np.testing.assert_array_equal(out["rates"], fitted.rates(iris))
        np.testing.assert_array_equal(out["train_rates"], fitted.history_["train_rates"])


VARIANTS = [
    {},
    {"layer_rates": 2, "n_components": 3},
    {"layer_rates": np.array([1.0, 2.0, 3.0]), "n_components": np.array([3, 2, 1])},
    {"layer_rates": None, "betas": [0.5, 2.0], "inference": "ladder"},
    {"likelihood": "bernoulli", "early_stopping": True},
    {"likelihood": Bernoulli(high=2)},
    {"likelihood": Gaussian(sigma="per_feature", scaling="shared")},
    {"likelihood": Gaussian(sigma=0.3)},
    {"output_layers": [1], "hidden_layer_sizes": (), "device": torch.device("cpu")},
]


@pytest.mark.parametrize("params", VARIANTS, ids=lambda params: "-".join(params) or "default")
@pytest.mark.parametrize("way", ["pickle", "save"])
def test_round_trip(small, iris, tmp_path, params, way):
    X = iris / 10
    model = small(**params).fit(X)
    other = pickled(model) if way == "pickle" else saved(model, tmp_path / "model")
    assert_same_use(model, other, X)
    likelihood, restored = model.module_.likelihood, other.module_.likelihood
    assert type(restored) is type(likelihood)
    assert restored.config == likelihood.config
    for (_, value), (_, same) in zip(
        likelihood.state_dict().items(), restored.state_dict().items(), strict=True
    ):
        assert value.dtype == same.dtype


# Kinds of models: parameters, and how to make data for them of 0s and 1s.

FAMILY = {
    "categorical": {"likelihood": "categorical"},
    "counts": {"likelihood": NegativeBinomial(dispersion="shared")},
    "levels": {"likelihood": DiscretizedLogistic(n_levels=17, maximum=1.0)},
    "mixture of 3 channels": {
        "likelihood": DiscretizedLogisticMixture(n_mixtures=2),
        "image_shape": (3, 4, 4),
    },
    "columns by name": {
        "likelihood": [
            ("gaussian", ["c3", "c0"]),
            (Gaussian(sigma=0.3), ["c1"]),
            ("categorical", ["c2"]),
            (Poisson(), [f"c{i}" for i in range(4, 48)]),
        ]
    },
    "columns by number": {
        "likelihood": [("bernoulli", range(40)), ("gaussian", np.arange(40, 48))]
    },
    "PerColumn": {"likelihood": PerColumn([("bernoulli", range(40)), ("poisson", range(40, 48))])},
    "conv": {"image_shape": (3, 4, 4)},
    "conv, one layer": {"image_shape": np.array([1, 6, 8]), "layer_rates": 2},
    "fully-conv": {"network": "fully-conv", "image_shape": (3, 4, 4), "n_components": (2, 3)},
    "categorical top": {"top_layer": "categorical", "n_components": (2, 4)},
    "gumbel top": {"top_layer": "gumbel", "inference": "ladder"},
    "missing": {"missing": "mask"},
    "missing, categorical": {"missing": "mask", "likelihood": "categorical"},
    "missing, by column": {
        "missing": "mask",
        "likelihood": [("categorical", [5]), ("gaussian", [*range(5), *range(6, 48)])],
    },
    "missing, conv": {"missing": "mask", "image_shape": (3, 4, 4)},
}


def binary_table(params, n_columns=48):
    X = np.random.default_rng(0).integers(0, 2, (40, n_columns)).astype(float)
    if params.get("missing") == "mask":
        X[3:30:2, 4:20] = np.nan
    return pd.DataFrame(X, columns=[f"c{i}" for i in range(n_columns)])


@pytest.mark.parametrize("variant", FAMILY)
@pytest.mark.parametrize("way", ["pickle", "save"])
def test_round_trip_of_every_kind(small, tmp_path, variant, way):
    params = FAMILY[variant]
    X = binary_table(params)
    model = small(**params).fit(X)
    other = pickled(model) if way == "pickle" else saved(model, tmp_path / "model")
    assert_same_use(model, other, X)
    np.testing.assert_array_equal(model.reconstruct(X), other.reconstruct(X))
    assert other.get_params().keys() == model.get_params().keys()
    # What was restored can be fitted anew, to the same model.
    np.testing.assert_array_equal(clone(other).fit(X).transform(X), model.transform(X))


@pytest.mark.parametrize("variant", FAMILY)
def test_training_goes_on_after_loading(small, tmp_path, variant):
    params = FAMILY[variant]
    X = binary_table(params)
    model = saved(small(**params, warm_start=True).fit(X), tmp_path / "model")
    module = model.module_
    assert model.fit(X).partial_fit(X).module_ is module


@pytest.mark.slow
@pytest.mark.parametrize("network", ["hit-mnist", "hit-cifar"])
@pytest.mark.parametrize("way", ["pickle", "save"])
def test_round_trip_of_published_models(small, tmp_path, network, way):
    X = np.random.default_rng(0).random((6, 784 if network == "hit-mnist" else 3072))
    model = small(network=network, likelihood="bernoulli", max_epochs=1).fit(X)
    other = pickled(model) if way == "pickle" else saved(model, tmp_path / "model")
    assert_same_use(model, other, X)


def test_save_keeps_parameters(small, iris, tmp_path):
    params = {"lr": 0.01, "layer_rates": (1.5, 2.5), "output_layers": "top", "verbose": 0}
    model = small(**params, random_state=7).fit(iris)
    restored = saved(model, tmp_path / "model").get_params()
    assert restored == model.get_params()


def test_save_keeps_feature_names(small, iris, tmp_path):
    frame = pd.DataFrame(iris, columns=["länge", "breite", "c", "d"])
    model = saved(small().fit(frame), tmp_path / "model")
    assert model.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame.rename(columns={"c": "x"}))


def test_save_takes_a_string(fitted, iris, tmp_path):
    fitted.save(str(tmp_path / "model"))
    assert_same_use(fitted, load(str(tmp_path / "model")), iris)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "start"), [("pickle", "fit"), ("save", "partial_fit")])
def test_training_goes_on_after_a_round_trip(small, iris, tmp_path, way, start):
    model = getattr(small(layer_rates=(1, 3), n_components=3), start)(iris)
    model = pickled(model) if way == "pickle" else saved(model, tmp_path / "model")
    for _ in range(80):
        model.partial_fit(iris)
    np.testing.assert_allclose(model.rates_, (1, 3), atol=0.3)


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_warm_start_after_a_round_trip(small, iris, tmp_path, way):
    model = small(max_epochs=20, warm_start=True).fit(iris)
    bound = model.lower_bound_
    model = pickled(model) if way == "pickle" else saved(model, tmp_path / "model")
    model.set_params(lr=1e-9).fit(iris)
    assert model.lower_bound_ == pytest.approx(bound, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_size_is_that_of_the_weights(small, tmp_path, method):
    X = np.random.default_rng(0).normal(size=(20_000, 32))
    model = small(hidden_layer_sizes=(256, 256), max_epochs=1, batch_size=5000)
    model = getattr(model, method)(X)
    n_bytes = sum(p.numel() * p.element_size() for p in model.module_.parameters())
    most = 1.2 * n_bytes + 1e6
    assert X.nbytes > 2 * most
    assert len(pickle.dumps(model)) <= most
    model.save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size <= most


def test_unfitted_estimators_are_pickled(small):
    assert pickled(small()).get_params() == small().get_params()


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_the_whole_plane(multi, iris, tmp_path, way):
    if way == "save":
        multi.save(tmp_path / "model")
        again = MultiRateHVAETransformer.load(tmp_path / "model")
    else:
        again = pickled(multi)
    assert_same_use(multi, again, iris)
    for rates in [(1, 1), (3, 0.5)]:
        assert_same_use(multi.at(rates), again.at(rates), iris)


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_clusterers(iris, tmp_path, way):
    small = {"n_components": 3, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    clusterer = HVAEClusterer(3, n_init=2, **small).fit(iris)
    if way == "save":
        clusterer.save(tmp_path / "model")
        again = HVAEClusterer.load(tmp_path / "model")
    else:
        again = pickled(clusterer)
    assert_same_use(clusterer, again, iris)
    np.testing.assert_array_equal(again.predict_proba(iris), clusterer.predict_proba(iris))
    for name in ("labels_", "cluster_centers_", "cluster_sizes_", "cluster_tree_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(clusterer, name))
    assert again.stability_ == clusterer.stability_


# Devices.


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "cuda:7"])
def test_device_that_is_not_there(small, iris, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    model = small().fit(iris)
    expected = model.transform(iris)
    model = changed(model, device=device)
    with pytest.warns(DeviceWarning, match=f"'{device}', which is not available.*'cpu'"):
        Z = pickled(model).transform(iris)
    np.testing.assert_array_equal(Z, expected)


# Files that are not ours, damaged, or from another version.


@pytest.fixture
def path(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def rewrite(path, header=lambda header: None, tensors=lambda tensors: None):
    """Change the JSON header and the tensors of a saved file in place."""
    content = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["sk_hvae"])
    metadata = header(metadata) or metadata
    tensors(content)
    save_file(content, path, metadata={"sk_hvae": json.dumps(metadata)})


def test_rewriting_without_a_change_is_harmless(fitted, iris, path):
    rewrite(path)
    assert_same_use(fitted, load(path), iris)


@pytest.mark.parametrize("content", [b"", b"no safetensors", pickle.dumps({"a": 1}), bytes(1000)])
def test_not_a_safetensors_file(path, content):
    path.write_bytes(content)
    with pytest.raises(UnsupportedFormatError, match="not a file written by save"):
        load(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_file(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnsupportedFormatError, match="or is damaged"):
        load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"sk_hvae": "{"}], ids=str)
def test_foreign_safetensors(path, metadata):
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(UnsupportedFormatError, match="not a file written by save"):
        load(path)


@pytest.mark.parametrize("header", [[], "text", 1, None, {}, {"format": 1}], ids=str)
def test_header_of_another_kind(path, header):
    save_file({"weight": torch.zeros(3)}, path, metadata={"sk_hvae": json.dumps(header)})
    with pytest.raises(UnsupportedFormatError, match=r"not a file written by save|damaged"):
        load(path)


def test_newer_format(path):
    rewrite(path, header=lambda header: header | {"format": 99})
    with pytest.raises(UnsupportedFormatError, match=r"has format 99.*reads format.*Upgrade"):
        load(path)


def test_another_class(path):
    rewrite(path, header=lambda header: header | {"class": "HVAEClusterer"})
    with pytest.raises(UnsupportedFormatError, match=r"HVAEClusterer; load it with HVAEClus"):
        load(path)


@pytest.mark.parametrize(
    "part", ["class", "params", "architecture", "likelihood", "device", "feature_names"]
)
def test_missing_part_of_the_header(path, part):
    rewrite(path, header=lambda header: {k: v for k, v in header.items() if k != part})
    with pytest.raises(UnsupportedFormatError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("params", {"no_such_parameter": 1}),
        ("likelihood", {"likelihood": "poisson"}),
        ("likelihood", {"config": {"no_such": 1}}),
        ("architecture", {"n_components": "ab"}),
        ("architecture", {"n_components": [3]}),
        ("architecture", {"hidden_layer_sizes": [9]}),
        ("architecture", {"inference": "ladder"}),
        ("architecture", {"no_such": 1}),
    ],
    ids=str,
)
def test_damaged_part_of_the_header(path, part, changed):
    rewrite(path, header=lambda header: header | {part: header[part] | changed})
    with pytest.raises(UnsupportedFormatError, match="damaged"):
        load(path)


def widen(tensors, name):
    tensors[name] = torch.zeros(tensors[name].numel() + 1)


@pytest.mark.parametrize("name", ["module.decoder.linear.weight", "rates_", "betas_", "summary"])
def test_tensor_of_the_wrong_shape(path, name):
    rewrite(path, tensors=lambda tensors: widen(tensors, name))
    with pytest.raises(UnsupportedFormatError, match="damaged"):
        load(path)


@pytest.mark.parametrize("name", ["module.decoder.linear.weight", "rates_", "summary"])
def test_missing_tensor(path, name):
    rewrite(path, tensors=lambda tensors: tensors.pop(name))
    with pytest.raises(UnsupportedFormatError, match="damaged"):
        load(path)


def test_surplus_tensor(path):
    rewrite(path, tensors=lambda tensors: tensors.update(surplus=torch.zeros(1)))
    with pytest.raises(UnsupportedFormatError, match="damaged"):
        load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("use", ["save", "load"])
def test_without_safetensors(fitted, path, monkeypatch, use):
    for module in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install safetensors$"):
        fitted.save(path) if use == "save" else load(path)


class Foreign(Gaussian):
    """A likelihood that this library does not know."""


def test_foreign_likelihood_is_not_saved(small, iris, tmp_path):
    model = small(likelihood=Foreign()).fit(iris)
    assert isinstance(model.module_.likelihood, Likelihood)
    with pytest.raises(TypeError, match="not this Foreign; pickle the estimator instead"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_loading_runs_no_code_from_the_file(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a file was unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert load(path).n_features_in_ == 4


def test_joblib_with_compression(fitted, iris):
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer, compress=3)
    buffer.seek(0)
    assert_same_use(fitted, joblib.load(buffer), iris)
