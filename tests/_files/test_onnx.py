"""ONNX files: the numbers of transform and inverse_transform, by onnxruntime, without torch."""

import copy
import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from every_kind import changed
from onnxruntime import InferenceSession
from sklearn.exceptions import NotFittedError

import sk_hvae
from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae._files import onnx as exporting
from sk_hvae.nn import Bernoulli, Categorical, DiscretizedLogisticMixture, Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

BATCHES = (1, 7, 300)


def run(path, **inputs):
    return InferenceSession(path).run(None, inputs)


def assert_close(found, expected):
    """Assert that arrays agree up to 1e-5 (1 + |expected|)."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def assert_same_numbers(model, X, path):
    """Compare both parts for batches of 1, 7 and 300 rows."""
    X = np.resize(X, (max(BATCHES), X.shape[1]))
    Z = model.transform(X)
    model.export_onnx(path)
    for n in BATCHES:
        assert_close(run(path, X=X[:n])[0], Z[:n])
    model.export_onnx(path, part="decoder")
    for n in BATCHES:
        (found,) = run(path, Z=Z[:n])
        assert_close(found, model.inverse_transform(Z[:n]))


# Kinds of models: parameters, and data for them.


def binary(n_columns=48):
    return np.random.default_rng(0).integers(0, 2, (60, n_columns)).astype(float)


def with_gaps(X, share=0.2):
    return np.where(np.random.default_rng(1).random(X.shape) < share, np.nan, X)


def pixels(n_columns):
    return np.random.default_rng(0).random((40, n_columns))


class OwnEncoder(torch.nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(n_inputs, 6), torch.nn.LayerNorm(6), torch.nn.GELU()
        )

    def forward(self, x):
        return self.net(x.view(x.shape[0], -1)) + x.mean(1, keepdim=True)


def own_decoder(n_units, n_outputs):
    return torch.nn.Sequential(
        torch.nn.Linear(n_units, 6), torch.nn.Dropout(), torch.nn.Linear(6, n_outputs)
    )


MIXED = [
    ("gaussian", [3, 0]),
    ("categorical", [1]),
    (Bernoulli(-1, 1), [2]),
    ("poisson", [4, 5]),
    ("negative_binomial", range(6, 12)),
]


def mixed():
    X = binary(12)
    X[:, 1] = np.where(X[:, 1], 300, 3)
    return X


def atoms_and_tails():
    """Zeros among skewed numbers, cents, and flags."""
    skewed = np.exp(2 * pixels(4))
    skewed[::3, 0] = 0
    return np.hstack([skewed, skewed.round(2), skewed > 1])


KINDS = {
    "quantile scale": ({"likelihood": Gaussian("per_feature", "quantile")}, atoms_and_tails),
    "levels, three layers, gumbel top, ladder": (
        {
            "likelihood": "discretized_logistic",
            "top_layer": "gumbel",
            "inference": "ladder",
            "layer_rates": (1, 1, 2),
        },
        binary,
    ),
    "mixture of levels, fully-conv, output layers": (
        {
            "likelihood": DiscretizedLogisticMixture(2, 33, 1.0),
            "network": "fully-conv",
            "image_shape": (3, 5, 4),
            "layer_rates": (1, 1, 1),
            "n_components": (2, 3, 2),
            "output_layers": [1, 3],
        },
        lambda: binary(60),
    ),
    "missing cells of columns, categorical top alone": (
        {
            "likelihood": MIXED,
            "missing": "mask",
            "top_layer": "categorical",
            "output_layers": "top",
        },
        lambda: with_gaps(mixed()),
    ),
    "codes with gaps, own networks": (
        {"likelihood": "categorical", "network": (OwnEncoder, own_decoder)},
        lambda: np.array([-5.0, 2.0**40])[binary(4).astype(int)],
    ),
    "rare codes": (
        {"likelihood": Categorical(max_categories=3)},
        lambda: np.random.default_rng(0).geometric(0.3, (60, 2)).astype(float),
    ),
    "one layer, large offset": (
        {"layer_rates": 2, "hidden_layer_sizes": ()},
        lambda: 1e7 + pixels(5),
    ),
    "hit-cifar, ladder": ({"network": "hit-cifar", "inference": "ladder"}, lambda: pixels(3072)),
    "many missing cells, conv": (
        {"missing": "mask", "image_shape": (1, 3, 3)},
        lambda: np.vstack([np.full((1, 9), np.nan), with_gaps(pixels(9), share=0.5)]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_gives_the_same_numbers(small, tmp_path, kind):
    params, make = KINDS[kind]
    X = make()
    model = small(**params).fit(X)
    assert_same_numbers(model, X, tmp_path / "model.onnx")


@pytest.mark.slow
def test_the_multi_rate_model_exports_its_current_rates(multi, iris, tmp_path):
    single = multi.at((2, 3))
    single.export_onnx(tmp_path / "model.onnx")
    Z = run(tmp_path / "model.onnx", X=iris)[0]
    assert_close(Z, single.transform(iris))
    moved = copy.copy(multi).set_params(layer_rates=(2, 3))
    moved.export_onnx(tmp_path / "model.onnx")
    assert_close(run(tmp_path / "model.onnx", X=iris)[0], Z)
    assert abs(Z - multi.transform(iris)).max() > 0.1


@pytest.mark.slow
def test_the_clusterer_exports_probabilities_too(wine, tmp_path):
    model = HVAEClusterer(3, max_epochs=20, random_state=0).fit(wine)
    model = changed(model, states=np.arange(2))  # as if a cluster had not come out
    model.export_onnx(tmp_path / "model.onnx")
    Z, probabilities = run(tmp_path / "model.onnx", X=wine)
    assert_close(Z, model.transform(wine))
    assert_close(probabilities, model.predict_proba(wine))
    np.testing.assert_array_equal(probabilities.argmax(1), model.predict(wine))


# The file.


@pytest.fixture(scope="module")
def encoder(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "iris.onnx"
    fitted.export_onnx(path)
    return path


@pytest.mark.slow
def test_the_file_needs_neither_torch_nor_this_library(encoder, fitted, iris, tmp_path):
    np.save(tmp_path / "X.npy", iris)
    code = """
import sys
sys.modules.update(dict.fromkeys(["torch", "sk_hvae", "sklearn", "skorch"]))
import numpy as np, onnxruntime
model, X, out = sys.argv[1:]
(Z,) = onnxruntime.InferenceSession(model).run(["Z"], {"X": np.load(X)})
np.save(out, Z)
"""
    arguments = [encoder, tmp_path / "X.npy", tmp_path / "Z.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)  # noqa: S603
    assert_close(np.load(tmp_path / "Z.npy"), fitted.transform(iris))


@pytest.mark.slow
def test_the_file_is_valid_and_says_what_it_is(encoder, fitted):
    onnx.checker.check_model(encoder, full_check=True)
    session = InferenceSession(encoder)
    sides = (*session.get_inputs(), *session.get_outputs())
    assert [(side.name, side.shape, side.type) for side in sides] == [
        ("X", ["rows", 4], "tensor(double)"),
        ("Z", ["rows", 5], "tensor(float)"),
    ]
    about = session.get_modelmeta()
    assert about.producer_name == "sk_hvae"
    assert about.graph_name == "HierarchicalVAETransformer encoder"
    assert onnx.load(encoder).producer_version == sk_hvae.__version__
    latent_names = json.loads(about.custom_metadata_map["latent_names"])
    assert latent_names == fitted.get_feature_names_out().tolist()
    assert list(about.custom_metadata_map) == ["latent_names"]


@pytest.mark.slow
def test_the_file_is_one_and_holds_no_paths_of_this_machine(encoder):
    assert os.listdir(encoder.parent) == [encoder.name]
    content = encoder.read_bytes()
    assert b"sk_hvae" in content
    assert b".py" not in content
    assert os.fsencode(os.path.dirname(sk_hvae.__file__)) not in content


@pytest.mark.slow
def test_column_names_are_in_the_file(small, iris, tmp_path):
    frame = pd.DataFrame(iris, columns=["länge", "breite", "c", "d"])
    small().fit(frame).export_onnx(str(tmp_path / "model.onnx"), part="decoder")
    metadata = InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["feature_names"]) == list(frame.columns)


@pytest.mark.slow
def test_export_changes_nothing(fitted, iris, tmp_path, capfd):
    Z, state = fitted.transform(iris), torch.get_rng_state()
    names = exporting._CHATTY
    levels = [logging.getLogger(name).level for name in names]
    module = fitted.module_
    fitted.export_onnx(tmp_path / "model.onnx")
    np.testing.assert_array_equal(fitted.transform(iris), Z)
    assert fitted.module_ is module
    assert torch.equal(torch.get_rng_state(), state)
    assert [logging.getLogger(name).level for name in names] == levels
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_nothing_is_printed_for_a_mixed_table(small, tmp_path):
    X = binary(12)
    small(likelihood=MIXED, layer_rates=2, hidden_layer_sizes=()).fit(X).save(tmp_path / "model")
    code = """
import sys, warnings
warnings.simplefilter("error")
from sk_hvae import HierarchicalVAETransformer
model, path = sys.argv[1:]
HierarchicalVAETransformer.load(model).export_onnx(path, "decoder")
"""
    arguments = [str(tmp_path / "model"), str(tmp_path / "model.onnx")]
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# Errors.


def test_before_fit(tmp_path):
    with pytest.raises(NotFittedError):
        HierarchicalVAETransformer().export_onnx(tmp_path / "model.onnx")


def test_a_part_that_there_is_not(fitted, tmp_path):
    with pytest.raises(ValueError, match=r"part must be one of .*'decoder'.*; got 'prior'"):
        fitted.export_onnx(tmp_path / "model.onnx", part="prior")


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_without_onnx(fitted, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install onnx onnxscript$"):
        fitted.export_onnx(tmp_path / "model.onnx")


@pytest.fixture
def traced(encoder, monkeypatch):
    """Put a traced model in place of the tracing, which is no part of what is tested."""
    content = onnx.load(encoder)
    arrays = [onnx.numpy_helper.to_array(weight) for weight in content.graph.initializer]
    weights = dict(enumerate(SimpleNamespace(const_value=array) for array in arrays))
    graph = SimpleNamespace(initializers=weights)
    program = SimpleNamespace(model=SimpleNamespace(graph=graph), model_proto=content)
    monkeypatch.setattr(exporting, "_trace", lambda *args: program)


@pytest.mark.usefixtures("traced")
class TestFileThatCannotBeWritten:
    def test_a_folder_that_there_is_not(self, fitted, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            fitted.export_onnx(tmp_path / "nowhere" / "model.onnx")

    def test_a_folder_in_place_of_the_file(self, fitted, tmp_path):
        path = tmp_path / "model.onnx"
        path.mkdir()
        with pytest.raises(OSError, match=r"model\.onnx"):
            fitted.export_onnx(path)
        assert os.listdir(tmp_path) == ["model.onnx"]

    def test_an_old_file_survives_a_failure(self, fitted, tmp_path, monkeypatch):
        path = tmp_path / "model.onnx"
        path.write_text("old")

        def fail(*args):
            raise OSError("no space left")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            fitted.export_onnx(path)
        assert os.listdir(tmp_path) == ["model.onnx"]
        assert path.read_text() == "old"

    def test_weights_too_large_for_one_file(self, fitted, tmp_path, monkeypatch):
        monkeypatch.setattr("sk_hvae._files.onnx._LARGEST_FILE", 100)
        with pytest.raises(ValueError, match=r"the encoder takes .* GiB, but an ONNX file holds"):
            fitted.export_onnx(tmp_path / "model.onnx")
        assert os.listdir(tmp_path) == []


class FixedNumberOfRows(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.view(len(x), -1))


class WithoutCounterpart(torch.nn.Linear):
    def forward(self, x):
        return torch.special.i0e(super().forward(x))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FixedNumberOfRows, WithoutCounterpart], ids=str)
def test_own_networks_that_cannot_be_exported(small, iris, tmp_path, kind):
    model = small(network=(lambda n: kind(n, 3), own_decoder)).fit(iris)
    with pytest.raises(ValueError, match=r"write x\.shape\[0\] for len\(x\)"):
        model.export_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []
