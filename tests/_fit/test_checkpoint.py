"""Fits that are killed go on, to the same end; checkpoints that are not theirs are told apart."""

import os
import signal
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
)
from sk_hvae._data import whole_file
from sk_hvae._fit import checkpoint
from sk_hvae._fit.checkpoint import Checkpoint, Checkpointed
from sk_hvae._fit.loop import LocalNet
from sk_hvae.exceptions import (
    CheckpointError,
    TrainingDivergedError,
    TrainingInterruptedWarning,
    TrainingMemoryError,
)
from sk_hvae.nn import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

FILE = "fit.checkpoint"


class BreakError(Exception):
    """Stands for whatever ends a process."""


class BreakAt(Callback):
    """Raise in the n-th training batch."""

    def __init__(self, n, error=BreakError):
        self.n, self.error = n, error

    def on_batch_begin(self, net, training=True, **kwargs):
        self.n -= training
        if self.n < 0:
            raise self.error()


@pytest.fixture
def keep_always(monkeypatch):
    """Write a checkpoint before every batch."""
    monkeypatch.setattr("sk_hvae._fit.checkpoint._LONGEST", 0.0)
    monkeypatch.setattr("sk_hvae._fit.checkpoint._SHARE_OF_TIME", np.inf)


def assert_same_model(model, other, X):
    np.testing.assert_array_equal(model.transform(X), other.transform(X))
    np.testing.assert_array_equal(model.rates_, other.rates_)
    np.testing.assert_array_equal(model.betas_, other.betas_)
    assert model.n_iter_ == other.n_iter_
    assert model.distortion_ == other.distortion_


def broken_up(make, X, folder, batches):
    """Fit with a break after each of the given numbers of batches, then to the end."""
    for n in batches:
        with pytest.raises(BreakError):
            make(checkpoint=folder, callbacks=[BreakAt(n)]).fit(X)
        assert os.listdir(folder) == [FILE]
    model = make(checkpoint=folder).fit(X)
    assert os.listdir(folder) == []
    return model


VARIANTS = {
    "plain": {},
    "betas": {"layer_rates": None, "betas": (0.5, 2.0)},
    "early stopping": {"early_stopping": True, "max_epochs": 12, "n_iter_no_change": 2},
    "optimal sigma, ladder": {"likelihood": Gaussian(sigma="optimal"), "inference": "ladder"},
    "missing": {"missing": "mask"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_fit_goes_on_to_the_same_end(small, iris, tmp_path, keep_always, variant):
    def make(**params):
        return small(**{"max_epochs": 6, **VARIANTS[variant]}, **params)

    whole = make().fit(iris)
    model = broken_up(make, iris, tmp_path, [1, 3, 5, 4])
    assert_same_model(whole, model, iris)
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(values, model.history_[name])


def test_multi_rate(iris, tmp_path, keep_always, coarse_plane):
    def make(**params):
        return MultiRateHVAETransformer(
            (0.5, 4),
            layer_rates=(1, 1),
            n_components=2,
            hidden_layer_sizes=(8,),
            max_epochs=6,
            batch_size=64,
            random_state=0,
            **params,
        )

    assert_same_model(make().fit(iris), broken_up(make, iris, tmp_path, [2, 3, 4]), iris)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning")
def test_clusterer(iris, tmp_path, keep_always):
    params = {"hidden_layer_sizes": (8,), "max_epochs": 6, "batch_size": 32, "random_state": 0}
    with pytest.raises(BreakError):
        HVAEClusterer(3, checkpoint=tmp_path, callbacks=[BreakAt(7)], **params).fit(iris)
    assert FILE in os.listdir(tmp_path)
    model = HVAEClusterer(3, checkpoint=tmp_path, **params).fit(iris)
    assert_same_model(HVAEClusterer(3, **params).fit(iris), model, iris)
    assert FILE not in os.listdir(tmp_path)


@pytest.mark.parametrize("random_state", [None, "RandomState"])
def test_the_seed_is_kept(small, iris, tmp_path, keep_always, monkeypatch, random_state):
    seeds = []
    write = Checkpoint.write

    def spy(self, training):
        seeds.append(self.seed)
        write(self, training)

    monkeypatch.setattr(Checkpoint, "write", spy)

    def make(**params):
        state = random_state and np.random.RandomState(len(seeds))
        return small(**{**params, "random_state": state})

    broken_up(make, iris, tmp_path, [4, 4])
    assert len(set(seeds)) == 1


def test_warm_starts_are_kept_too(small, iris, tmp_path, keep_always):
    start, again = (small(warm_start=True).fit(iris) for _ in range(2))
    start.set_params(layer_rates=(2, 2)).fit(iris)
    again.set_params(layer_rates=(2, 2), checkpoint=tmp_path, callbacks=[BreakAt(4)])
    with pytest.raises(BreakError):
        again.fit(iris)
    fresh = small(warm_start=True).fit(iris).set_params(layer_rates=(2, 2), checkpoint=tmp_path)
    assert_same_model(start, fresh.fit(iris), iris)


def test_an_interrupted_fit_can_go_on(small, iris, tmp_path, keep_always, monkeypatch):
    step, steps = LocalNet.train_step_single, []

    def interrupted(*args, **kwargs):
        steps.append(1)
        if len(steps) == 8:  # of 5 an epoch
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(LocalNet, "train_step_single", interrupted)
    model = small(max_epochs=6, checkpoint=tmp_path)
    with pytest.warns(TrainingInterruptedWarning):
        model.fit(iris)
    assert model.n_iter_ == 1
    assert os.listdir(tmp_path) == [FILE]
    assert_same_model(small(max_epochs=6).fit(iris), model.fit(iris), iris)
    assert os.listdir(tmp_path) == []


def test_partial_fit_keeps_nothing(small, iris, tmp_path, keep_always):
    small(checkpoint=tmp_path).partial_fit(iris)
    assert os.listdir(tmp_path) == []


class TestOtherCheckpoints:
    @pytest.fixture
    def folder(self, small, iris, tmp_path, keep_always):
        """Return a folder with the checkpoint of a fit of ``small()`` to iris."""
        with pytest.raises(BreakError):
            small(checkpoint=tmp_path, callbacks=[BreakAt(4)]).fit(iris)
        return tmp_path

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"lr": 0.5}, "lr was 0.003, is 0.5"),
            ({"random_state": 1}, "random_state was 0, is 1"),
            ({"layer_rates": (1, 3)}, r"layer_rates was \(1, 2\), is \(1, 3\)"),
            ({"max_epochs": 9}, "max_epochs was 3, is 9"),
        ],
        ids=["lr", "random_state", "layer_rates", "max_epochs"],
    )
    def test_other_parameters(self, small, iris, folder, params, said):
        with pytest.raises(CheckpointError, match=rf"is of another fit.*{said}.*another folder"):
            small(checkpoint=folder, **params).fit(iris)

    @pytest.mark.parametrize("change", ["value", "order", "rows"])
    def test_other_rows(self, small, iris, folder, change):
        X = {"value": iris + (iris == iris.max()), "order": iris[::-1], "rows": iris[:-1]}[change]
        with pytest.raises(CheckpointError, match=r"is of another fit.* X was of shape"):
            small(checkpoint=folder).fit(X)

    def test_another_class(self, iris, folder):
        with pytest.raises(CheckpointError, match=r"class was HierarchicalVAETransformer, is HVAE"):
            HVAEClusterer(checkpoint=folder).fit(iris)

    def test_what_does_not_change_the_result_may_change(self, small, iris, folder):
        model = small(checkpoint=str(folder), output_layers="top", device="cpu").fit(iris)
        assert model.n_iter_ == 3

    @pytest.mark.parametrize("length", [0, 1, 20, 25, 60, 1000, -1])
    def test_a_part_of_one(self, small, iris, folder, length):
        path = folder / FILE
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CheckpointError, match=r"damaged|not a checkpoint"):
            small(checkpoint=folder).fit(iris)

    @pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 0.999])
    def test_a_changed_byte(self, small, iris, folder, place):
        content = bytearray((folder / FILE).read_bytes())
        content[int(place * len(content))] ^= 1
        (folder / FILE).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged|not a checkpoint"):
            small(checkpoint=folder).fit(iris)

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 a zip", b"\x80\x04pickle"])
    def test_a_foreign_file(self, small, iris, tmp_path, content):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"not a checkpoint that this version"):
            small(checkpoint=tmp_path).fit(iris)
        assert (tmp_path / FILE).read_bytes() == content

    def test_an_unfinished_file_is_no_hindrance(self, small, iris, folder):
        (folder / f"{FILE}.unfinished").write_bytes(b"half")
        assert_same_model(small().fit(iris), small(checkpoint=folder).fit(iris), iris)

    def test_two_fits_in_one_folder(self, small, iris, tmp_path, keep_always):
        class Other(Callback):
            def on_epoch_end(self, net, **kwargs):
                (tmp_path / FILE).write_bytes(b"of the other")

        with pytest.raises(CheckpointError, match=r"was changed by someone else.*of its own"):
            small(checkpoint=tmp_path, callbacks=[Other()]).fit(iris)

    def test_no_code_is_run(self, small, iris, tmp_path):
        import hashlib
        import pickle

        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "was run"),)

        content = pickle.dumps(Evil(), protocol=2)
        digest = hashlib.sha256(content).digest()
        (tmp_path / FILE).write_bytes(checkpoint._MAGIC + digest + content)
        with pytest.raises(CheckpointError, match=r"damaged or foreign"):
            small(checkpoint=tmp_path).fit(iris)
        assert os.listdir(tmp_path) == [FILE]


class TestFaults:
    @pytest.mark.parametrize("place", ["a file", "below a file"])
    def test_a_folder_that_cannot_be_made(self, small, iris, tmp_path, place):
        (tmp_path / "file").touch()
        folder = tmp_path / ("file" if place == "a file" else "file/folder")
        model = small(checkpoint=folder)
        with pytest.raises(CheckpointError, match=r"cannot be (written|read): it is not a folder"):
            model.fit(iris)
        assert not hasattr(model, "module_")

    def test_a_full_disk_keeps_the_weights_so_far(self, small, iris, tmp_path, keep_always):
        class Fill(Callback):
            def on_epoch_end(self, net, **kwargs):
                if len(net.history) == 2:
                    (tmp_path / f"{FILE}.unfinished").symlink_to("/dev/full")

        model = small(checkpoint=tmp_path, callbacks=[Fill()], max_epochs=5)
        with pytest.raises(
            CheckpointError, match=r"No space left on device. Make room or pass another"
        ):
            model.fit(iris)
        two = small(max_epochs=5, callbacks=[StopAfter(2)]).fit(iris)
        assert_same_model(two, model, iris)
        assert not model.converged_
        assert os.listdir(tmp_path) == [FILE]

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        ],
        ids=["numpy", "torch", "CUDA"],
    )
    def test_memory_that_runs_out(self, small, iris, error):
        def fail():
            raise error

        model = small(callbacks=[BreakAt(12, fail)], max_epochs=5)
        with pytest.raises(TrainingMemoryError, match=r"Lower batch_size \(32 now\).* so far"):
            model.fit(iris)
        assert model.n_iter_ == 2
        assert np.isfinite(model.transform(iris)).all()

    def test_too_large_a_model_says_so_before_training(self, small, iris):
        with pytest.raises(TrainingMemoryError, match=r"memory ran out .*hidden_layer_sizes"):
            small(hidden_layer_sizes=(10**11,)).fit(iris)

    def test_other_errors_pass(self, small, iris):
        with pytest.raises(BreakError):
            small(callbacks=[BreakAt(3)]).fit(iris)


class StopAfter(Callback):
    """End training after some epochs, as skorch's callbacks do."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise KeyboardInterrupt


# A process that is killed, at every batch or while it writes its state.

FIT = {"n_components": 4, "hidden_layer_sizes": (32,), "max_epochs": 6, "batch_size": 64}


def long_rows():
    return np.random.default_rng(0).normal(size=(500, 20)).cumsum(axis=1)


def long_fit(**params):
    return HierarchicalVAETransformer((2, 4), random_state=0, **FIT, **params).fit(long_rows())


def kill_at(n):
    """Return a function that kills its process when it is called for the n-th time."""
    calls = iter(range(1, n))

    def count(*args, **kwargs):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def fit_until_killed(folder, place, n):
    """Fit in a process of its own, which is killed in its n-th batch or its n-th writing."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    checkpoint._LONGEST = 0.0
    callback = Callback()
    if place == "batch":
        callback.on_batch_begin = kill_at(n)
    else:
        whole_file.os.fsync = kill_at(n)  # the new file is written, but not yet in its place
    long_fit(checkpoint=folder, callbacks=[callback])


@pytest.mark.slow
def test_a_process_that_is_killed(processes, tmp_path):
    for place, n in [("batch", 3), ("write", 5), ("batch", 11), ("write", 20)]:
        child = processes.Process(target=fit_until_killed, args=(tmp_path, place, n))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert (tmp_path / FILE).exists()
        assert (tmp_path / f"{FILE}.unfinished").exists() is (place == "write")
    resumed, whole = long_fit(checkpoint=tmp_path), long_fit()
    assert_same_model(whole, resumed, long_rows())
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(values, resumed.history_[name])


def test_checkpoints_are_seldom_enough(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now))
    kept = Checkpoint(tmp_path, {})

    def save(*args):
        nonlocal now
        now += 1.0  # which is what a writing takes

    monkeypatch.setattr(torch, "save", save)
    kept.begin(0)
    # A twentieth of the time between passes, and once a minute in them.
    for seconds, between, within in [(0, False, False), (19, False, False), (21, True, False)]:
        now = 1.0 + seconds
        assert kept.is_due(between_passes=True) is between
        assert kept.is_due(between_passes=False) is within
    now = 61.5
    assert kept.is_due(between_passes=False)
    kept.write(None)
    assert not kept.is_due(between_passes=True)


def test_the_estimator_can_be_cloned_pickled_and_saved(small, iris, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingInterruptedWarning)
        model = small(checkpoint=tmp_path / "state").fit(iris)
    model.save(tmp_path / "model")
    assert HierarchicalVAETransformer.load(tmp_path / "model").checkpoint is None


def test_a_file_that_cannot_be_deleted_does_not_take_the_model_along(
    small, iris, tmp_path, monkeypatch
):
    def refuse(self, **kwargs):
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "unlink", refuse)
    model = small(checkpoint=tmp_path)
    with pytest.raises(PermissionError):
        model.fit(iris)
    assert model.transform(iris).shape == (150, 4)


def test_a_fit_that_diverges_keeps_its_file(small, iris, tmp_path):
    with pytest.raises(TrainingDivergedError):
        small(checkpoint=tmp_path, lr=1e30).fit(iris)
    with pytest.raises(CheckpointError, match=r"lr was 1e\+30, is 0.001"):
        small(checkpoint=tmp_path, lr=1e-3).fit(iris)


def test_files_of_other_versions_are_refused(small, iris, tmp_path):
    (tmp_path / FILE).write_bytes(b"sk_hvae checkpoint 1\n" + bytes(40))
    with pytest.raises(CheckpointError, match="not a checkpoint that this version"):
        small(checkpoint=tmp_path).fit(iris)


class Counter(Checkpointed):
    """Counts with a number, a list or a tensor."""

    CHECKPOINTED = ("count",)

    def __init__(self, count):
        self.count = count


@pytest.mark.parametrize("kept", [2.0, torch.tensor(2.0)])
@pytest.mark.parametrize("start", [0.0, torch.tensor(0.0)])
def test_a_number_of_another_device_becomes_what_it_is_here(kept, start):
    counter = Counter(start)
    counter.load_state_dict(Counter(kept).state_dict())
    assert type(counter.count) is type(start)
    assert counter.count == 2


def test_a_list_of_numbers_becomes_a_tensor_and_a_tensor_a_list():
    counter, other = Counter(torch.zeros(2)), Counter([0.0, 0.0])
    counter.load_state_dict({"count": [1.0, 2.0]})
    other.load_state_dict(counter.state_dict())
    assert torch.equal(counter.count, torch.tensor([1.0, 2.0]))
    assert other.count == [1.0, 2.0]
