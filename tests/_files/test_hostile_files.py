"""Files from strangers: no code runs, nothing large is allocated, all are refused by name."""

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae.exceptions import UnsupportedFormatError

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

load = HierarchicalVAETransformer.load


@pytest.fixture
def good(fitted, tmp_path):
    fitted.save(tmp_path / "good")
    return tmp_path / "good"


def parts(path):
    """Take a file apart: its JSON header, and its tensors."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"]["sk_hvae"]
    return json.loads(header), load_file(path)


def put_together(path, header, tensors):
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, {"sk_hvae": text})


def raw(header, data=b"", length=None):
    """Write the bytes of a safetensors file whose header says what it likes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


class Exploit:
    """Pickles to a call that leaves a trace."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def archive(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


def tape(name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


METADATA = {"__metadata__": {"sk_hvae": "{}"}}
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
FOREIGN = {
    "pickle": pickle.dumps(Exploit()),
    "pickle of an old protocol": pickle.dumps(Exploit(), protocol=0),
    "npz with a pickle": archive("weights.npy", pickle.dumps(Exploit())),
    "zip that climbs": archive("../pwned", b"x"),
    "tar that climbs": tape("../pwned"),
    "header of 2**60 bytes": raw(METADATA, length=2**60),
    "header of 2**64 - 1 bytes": raw(METADATA, length=2**64 - 1),
    "header longer than the file": raw(METADATA, length=100_000),
    "header of no bytes": raw(b""),
    "header that is no JSON": raw(b"{'a': 1}"),
    "header that is a pickle": raw(pickle.dumps(Exploit())),
    "header of brackets": raw(b"[" * 1_000_000),
    "tensor beyond the end": raw(METADATA | {"a": ONE | {"data_offsets": [0, 2**40]}}, bytes(4)),
    "tensor of 2**60 numbers": raw(METADATA | {"a": ONE | {"shape": [2**60]}}, bytes(4)),
    "tensor of 2**64 numbers": raw(METADATA | {"a": ONE | {"shape": [2**32, 2**32]}}, bytes(4)),
    "tensor of negative size": raw(METADATA | {"a": ONE | {"shape": [-1]}}, bytes(4)),
    "tensor of another dtype": raw(METADATA | {"a": ONE | {"dtype": "F8_E4M3"}}, bytes(4)),
    "tensor of no dtype": raw(METADATA | {"a": ONE | {"dtype": "object"}}, bytes(4)),
    "tensors that overlap": raw(METADATA | {"a": ONE, "b": ONE}, bytes(4)),
    "tensor between tensors": raw(
        METADATA | {"a": ONE, "b": ONE | {"data_offsets": [8, 12]}}, bytes(12)
    ),
    "more bytes than tensors": raw(METADATA | {"a": ONE}, bytes(4000)),
    "metadata that is no text": raw({"__metadata__": {"sk_hvae": {"format": 1}}}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_bytes(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UnsupportedFormatError, match="not a file written by save"):
        load("file")
    assert os.listdir(tmp_path) == ["file"]


HEADERS = {
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 100_000,
    "a long number": '{"format": ' + "9" * 1_000_000 + "}",
    "a long fraction": '{"format": 1, "class": 0.' + "9" * 1_000_000 + "}",
    "no number": '{"format": NaN}',
    "infinity": '{"format": 1e999}',
    "a format that is true": '{"format": true}',
    "a format that is text": '{"format": "1"}',
    "a format before all others": '{"format": 0}',
    "a negative format": '{"format": -1}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_not_ours(tmp_path, header):
    put_together(tmp_path / "file", header, {"a": np.zeros(1)})
    with pytest.raises(UnsupportedFormatError, match=r"not a file written by save|has form|damag"):
        load(tmp_path / "file")


def leaves(value, place=()):
    """List the places of all values in a header, parts and wholes."""
    yield place
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*place, key))


def with_leaf(value, place, new):
    """Copy a header, with another value in a place."""
    if not place:
        return new
    copied = value.copy()
    copied[place[0]] = with_leaf(value[place[0]], place[1:], new)
    return copied


HOSTILE = [
    None,
    True,
    -1,
    0,
    10**9,
    10**30,
    1e-300,
    1e300,
    "",
    "os.system",
    "../../etc/passwd",
    "\x00",
    [],
    [[]],
    [10**9] * 3,
    [1] * 10_000,
    {},
    {"likelihood": "os", "config": {}},
    {"likelihood": "Gaussian", "config": {"sigma": "x" * 1000}},
    {"likelihood": "DiscretizedLogistic", "config": {"n_levels": 10**12}},
    {"likelihood": "PerColumn", "config": {"parts": [["categorical", [10**12]]]}},
    {"device": "cuda:99999999999"},
    {"device": "os"},
    {"low": 1, "high": 2, "table": 3},
    {"__class__": "os.system", "args": ["true"]},
]
PLACES = [
    ("class",),
    ("device",),
    ("data_dtype",),
    ("feature_names",),
    ("likelihood",),
    ("likelihood", "likelihood"),
    ("likelihood", "config"),
    ("likelihood", "config", "sigma"),
    *[("architecture", name) for name in ("n_components", "hidden_layer_sizes", "image_shape")],
    *[("architecture", name) for name in ("inference", "top_layer", "network", "missing")],
    *[("architecture", "n_components", 0), ("architecture", "hidden_layer_sizes", 0)],
    *[("params",), ("params", "layer_rates"), ("params", "likelihood"), ("params", "lr")],
    *[("params", "output_layers"), ("params", "device"), ("params", "random_state")],
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_headers_changed_in_one_place_are_refused_or_work(good, iris, place):
    header, tensors = parts(good)
    assert place in [*leaves(header)]
    memory = psutil.Process().memory_info().rss
    for value in HOSTILE:
        put_together(good, with_leaf(header, place, value), tensors)
        try:
            model = load(good)
        except UnsupportedFormatError as error:
            assert str(good) in str(error)  # noqa: PT017
        else:
            assert model.transform(iris[:3]).shape[0] == 3
            assert np.isfinite(model.transform(iris[:3])).all()
    assert psutil.Process().memory_info().rss < memory + 2**28


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor[..., None],
        lambda tensor: tensor.astype(np.float16).astype(np.int32),
        lambda tensor: np.full_like(tensor, np.nan),
        lambda tensor: np.full_like(tensor, np.inf),
    ],
    ids=["another axis", "whole numbers", "nan", "infinite"],
)
def test_tensors_of_another_kind(good, change):
    header, tensors = parts(good)
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not name.startswith("history_"):
            put_together(good, header, tensors | {name: change(tensor)})
            with pytest.raises(UnsupportedFormatError, match="is damaged"):
                load(good)


def test_labels_of_no_cluster(iris, tmp_path):
    small = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
    HVAEClusterer(3, n_init=2, **small).fit(iris).save(tmp_path / "file")
    header, tensors = parts(tmp_path / "file")
    for name, number in [("labels_", 3), ("labels_", -1), ("_states", 3), ("cluster_sizes_", -1)]:
        changed = tensors[name].copy()
        changed[0] = number
        put_together(tmp_path / "file", header, tensors | {name: changed})
        with pytest.raises(UnsupportedFormatError, match=f"{name} is wrong: found numbers from"):
            HVAEClusterer.load(tmp_path / "file")


CODES = {
    "of another axis": lambda codes: codes[..., None],
    "of one column": lambda codes: codes[:, :1],
    "that are floats": lambda codes: codes.astype(float),
    "of narrow numbers": lambda codes: codes.astype(np.int32),
    "of a column that is not there": lambda codes: np.add(codes, [99, 0, 0]),
    "of a negative column": lambda codes: np.subtract(codes, [1, 0, 0]),
    "in disorder": lambda codes: codes[::-1],
    "that are repeated": lambda codes: np.repeat(codes, 2, axis=0),
    "other than they were": lambda codes: np.add(codes, [0, 1, 0]),
    "too few": lambda codes: codes[:-1],
    "none": lambda codes: codes[:0],
    "left out": lambda codes: None,
    "too many": lambda codes: np.stack((np.zeros(20_000, int), np.arange(20_000)), 1),
    "with negative counts": lambda codes: np.subtract(codes, [0, 0, 99]),
    "with more than counts": lambda codes: np.pad(codes, ((0, 0), (0, 1))),
}


@pytest.mark.parametrize("change", CODES.values(), ids=CODES)
def test_codes_that_are_not_those_of_the_model(small, tmp_path, change):
    X = np.random.default_rng(0).choice([-3.0, 7.0, 2.0**40], (40, 3))
    small(likelihood="categorical", max_epochs=1).fit(X).save(tmp_path / "file")
    header, tensors = parts(tmp_path / "file")
    codes = change(tensors.pop("codes"))
    if codes is not None:
        tensors["codes"] = np.ascontiguousarray(codes)
    put_together(tmp_path / "file", header, tensors)
    with pytest.raises(UnsupportedFormatError, match="is damaged"):
        load(tmp_path / "file")


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "", "module.", "module.x", "rates_.a"])
def test_tensors_that_do_not_belong_there(good, name):
    header, tensors = parts(good)
    put_together(good, header, tensors | {name: np.zeros(3, np.float32)})
    with pytest.raises(UnsupportedFormatError, match="do not belong there"):
        load(good)


def test_every_cut_is_noticed(good):
    content = good.read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(content), 997), len(content) - 1]:
        good.write_bytes(content[:length])
        with pytest.raises(UnsupportedFormatError, match="is not a file written by save"):
            load(good)


# An audit hook, which cannot be taken out again, so that it needs a process of its own.

WATCHED = """
import sys
from pathlib import Path
from sk_hvae import HierarchicalVAETransformer, HVAEClusterer
from sk_hvae.exceptions import UnsupportedFormatError

good, *files = map(Path, sys.argv[1:])
HierarchicalVAETransformer.load(good)  # imports what it needs
allowed = {str(file) for file in (good, *files)}
harmless = {"builtins.id", "object.__getattr__", "object.__setattr__", "sys._getframe"}
refused = []

def watch(event, arguments):
    reads = event == "open" and str(arguments[0]) in allowed and arguments[1] in ("r", "rb")
    if event not in harmless and not reads:
        refused.append((event, arguments))

sys.addaudithook(watch)
HierarchicalVAETransformer.load(good)
for file in files:
    try:
        HierarchicalVAETransformer.load(file)
    except UnsupportedFormatError:
        continue
    raise AssertionError(file)
assert not refused, refused
"""


@pytest.mark.slow
def test_loading_does_nothing_but_read_the_file(good, tmp_path):
    header, tensors = parts(good)
    files = []
    for number, content in enumerate(FOREIGN.values()):
        files.append(tmp_path / f"foreign{number}")
        files[-1].write_bytes(content)
    for number, value in enumerate(HOSTILE):
        files.append(tmp_path / f"hostile{number}")
        put_together(files[-1], with_leaf(header, ("architecture",), value), tensors)
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", WATCHED, *map(str, [good, *files])], check=True, cwd=tmp_path
    )


# Where files cannot be written.


def test_full_disk(fitted, good):
    content = good.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"was not saved, and nothing was changed.*bytes free"):
            fitted.save(good)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert good.read_bytes() == content
    assert os.listdir(good.parent) == ["good"]


@pytest.mark.parametrize("place", ["nowhere/model", "good/model", "."])
def test_places_where_no_file_can_be(fitted, good, place):
    with pytest.raises(OSError, match="was not saved"):
        fitted.save(good.parent / place)
    assert os.listdir(good.parent) == ["good"]
