"""What only a GPU can show; skipped where there is none."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from every_kind import KINDS, changed, make, rows_for, uses
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
from sk_hvae._fit.plan import Plan
from sk_hvae.nn.noise import GeneratorNoise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

# Each draws from a generator on the device of the model.
DRAWN = ("samples of latents", "sample")


@pytest.fixture
def same_noise(monkeypatch):
    """Shuffle and draw noise on the CPU, so that fits on two devices see the same."""
    monkeypatch.setattr(Plan, "generator", lambda plan: torch.Generator().manual_seed(plan.seed))
    monkeypatch.setattr(
        GeneratorNoise,
        "__call__",
        lambda noise, like: torch.randn(like.shape, generator=noise.generator).to(like.device),
    )


def assert_close(found, expected, rtol=1e-3, atol=1e-3):
    for name, values in expected.items():
        if name not in DRAWN:
            np.testing.assert_allclose(found[name], values, rtol=rtol, atol=atol, err_msg=name)


# Results.


@pytest.mark.parametrize("name", [name for name in KINDS if name != "bfloat16"])
def test_fits_of_every_kind_are_near_those_on_the_cpu(same_noise, name):
    X = rows_for(KINDS[name])
    expected, found = (make(device=d, **KINDS[name]).fit(X) for d in ("cpu", "cuda"))
    assert found.device_ == "cuda"
    assert {p.device.type for p in found.module_.state_dict().values()} == {"cuda"}
    # cuDNN's convolutions may be in TF32, and ten steps of training amplify that.
    assert_close(uses(found, X), uses(expected, X), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", [HierarchicalVAETransformer, MultiRateHVAETransformer])
def test_targets_are_reached(iris, kind):
    params = {"layer_rates": (1, 1), "max_epochs": "auto", "n_components": 3}
    if kind is MultiRateHVAETransformer:
        params["rate_range"] = (0.4, 4)
    model = make(kind, device="cuda", **params).fit(iris)
    np.testing.assert_allclose(model.rates_, 1, atol=0.15)


@pytest.mark.parametrize("name", ["default", "missing", "multi-rate", "early stopping"])
def test_the_seed_decides_the_result(name):
    X = rows_for(KINDS[name])
    first, second = (uses(make(device="cuda", **KINDS[name]).fit(X), X) for _ in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize("name", KINDS)
def test_a_fitted_model_gives_the_same_on_the_cpu(name):
    X = rows_for(KINDS[name])
    model = make(device="cuda", **KINDS[name]).fit(X)
    other = changed(pickle.loads(pickle.dumps(model)), device="cpu")  # noqa: S301
    assert_close(uses(other, X), uses(model, X))


def test_bfloat16_is_near_float32():
    X = load_digits().data / 16
    objectives = {}
    for precision in ("float32", "bfloat16", "auto"):
        model = make(
            layer_rates=None,
            betas=(0.3, 0.3),
            hidden_layer_sizes=(256, 256),
            max_epochs=20,
            batch_size=128,
            precision=precision,
            device="cuda",
        ).fit(X)
        assert {p.dtype for p in model.module_.parameters()} == {torch.float32}
        objectives[precision] = model.distortion_ + 0.3 * model.rates_.sum()
    scale = abs(objectives["float32"])
    assert abs(objectives["bfloat16"] - objectives["float32"]) < 0.02 * scale
    if torch.cuda.is_bf16_supported(including_emulation=False):
        assert objectives["auto"] == objectives["bfloat16"]


def test_rows_larger_than_the_device_give_the_same_model(monkeypatch, iris):
    resident = uses(make(device="cuda").fit(iris), iris)
    monkeypatch.setattr("sk_hvae._data.rows._SHARE_OF_GPU", 0.0)
    monkeypatch.setattr("sk_hvae._data.rows._WINDOW_ELEMENTS", 160)
    monkeypatch.setattr("sk_hvae._data.rows._READ_AT_ONCE_ELEMENTS", 160)
    read_ahead = uses(make(device="cuda").fit(iris), iris)
    for key in resident:
        np.testing.assert_array_equal(read_ahead[key], resident[key], err_msg=key)


# No wait between batches.


class NoWaitBetweenBatches(Callback):
    """Forbid waits from the second batch of training to the last of each pass."""

    def __init__(self, n_batches):
        self.n_batches = n_batches
        self.n_begun = 0

    def on_batch_begin(self, net, training, **kwargs):
        self.n_begun += 1
        # In the first batch, libraries are set up.
        if training and self.n_begun > 1:
            torch.cuda.set_sync_debug_mode("error")

    def on_batch_end(self, net, training, **kwargs):
        if training and self.n_begun % self.n_batches == 0:
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def watched():
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "early stopping"])
def test_training_never_waits_between_batches(watched, name):
    X = rows_for(KINDS[name])
    guard = NoWaitBetweenBatches(n_batches=len(X) // 8)
    make(device="cuda", callbacks=[guard], **KINDS[name]).fit(X)
    assert guard.n_begun == 2 * guard.n_batches


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_wait_between_batches_would_be_seen(watched):
    class Reads(Callback):
        def on_batch_end(self, net, loss, **kwargs):
            loss.item()

    guard = NoWaitBetweenBatches(n_batches=5)
    with pytest.raises(RuntimeError, match="synchronizing"):
        make(device="cuda", callbacks=[guard, Reads()]).fit(rows_for({}))


# Memory.


def allocated():
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("name", ["default", "early stopping", "multi-rate"])
def test_after_fit_the_device_holds_the_weights_alone(name):
    X = np.tile(rows_for({}), (250, 1))
    params = {**KINDS[name], "batch_size": 1000, "device": "cuda"}
    make(**params).fit(X)  # libraries keep workspaces
    before = allocated()
    model = make(**params).fit(X)
    held = getattr(model, "conditioned_", model.module_)
    blocks = [-(-t.nbytes // 512) * 512 for t in held.state_dict().values()]
    used = allocated() - before
    # A multi-rate model also keeps the plain module for the current rates.
    assert used <= (2 if name == "multi-rate" else 1) * sum(blocks) + 4096
    assert used < X.nbytes / 10
    model.transform(X)
    assert allocated() - before <= used + 4096


def test_too_little_memory_is_said_and_survived():
    X = rows_for({})
    wide = make(device="cuda", hidden_layer_sizes=(8192, 8192))
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((allocated() + 2**27) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            wide.fit(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not hasattr(wide, "module_")
    wide.set_params(hidden_layer_sizes=(8,)).fit(X)
    assert np.isfinite(wide.transform(X)).all()


# Other devices and other processes.


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is no second CUDA device")
def test_the_second_device(iris):
    expected = uses(make(device="cuda:0").fit(iris), iris)
    model = make(device="cuda:1").fit(iris)
    assert {str(p.device) for p in model.module_.parameters()} == {"cuda:1"}
    assert torch.cuda.current_device() == 0
    assert_close(uses(model, iris), expected)


OPEN = """
import pickle, sys, warnings
import numpy as np
from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import DeviceWarning
path, way, X, out = sys.argv[1:]
if way == "pickle":
    with open(path, "rb") as file:
        model = pickle.load(file)
else:
    model = HierarchicalVAETransformer.load(path)
X = np.load(X)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    Z = model.transform(X)
assert [w.category for w in caught] == [DeviceWarning], caught
warnings.simplefilter("ignore", DeviceWarning)
np.savez(out, transform=Z, score_samples=model.score_samples(X), reconstruct=model.reconstruct(X))
"""


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_a_model_from_cuda_opens_where_there_is_none(iris, tmp_path, way):
    model = make(device="cuda").fit(iris)
    path, X, out = tmp_path / "model", tmp_path / "X.npy", tmp_path / "out.npz"
    np.save(X, iris)
    if way == "pickle":
        path.write_bytes(pickle.dumps(model))
    else:
        model.save(path)
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", OPEN, *map(str, (path, way, X, out))],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    expected = uses(model, iris)
    with np.load(out) as found:
        assert_close(found, {name: expected[name] for name in found})


def fit_in_a_fork(device, X, results):
    try:
        results.put(make(device=device).fit(X).transform(X))
    except RuntimeError as error:
        results.put(str(error))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_cuda_is_in_use(iris, device):
    make(device="cuda").fit(iris)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=fit_in_a_fork, args=(device, iris, results))
    process.start()
    result = results.get(timeout=120)
    process.join(timeout=120)
    if device == "cpu":
        np.testing.assert_array_equal(result, make(device="cpu").fit(iris).transform(iris))
    else:
        assert "Cannot re-initialize CUDA in forked subprocess" in result


def test_parallel_searches_start_processes_of_their_own(iris):
    scores = cross_val_score(make(device="cuda"), iris, cv=2, n_jobs=2)
    np.testing.assert_array_equal(scores, cross_val_score(make(device="cuda"), iris, cv=2))
