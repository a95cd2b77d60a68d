"""Several processes train one model: that of one process, the same in all of them."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
]

START = """
import os, sys, warnings
from datetime import timedelta
import numpy as np
import torch
warnings.simplefilter("ignore")
torch.set_num_threads(1)
from accelerate import Accelerator, InitProcessGroupKwargs
from skorch.callbacks import Callback
from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
patience = InitProcessGroupKwargs(timeout=timedelta(seconds=60))  # for each other
accelerator = Accelerator(cpu=True, kwargs_handlers=[patience])
rank, out = accelerator.process_index, sys.argv[1]
X = np.random.default_rng(0).normal(size=(512, 10)).cumsum(axis=1)
"""
PARAMS = {"n_components": 3, "hidden_layer_sizes": (16,), "batch_size": 64, "max_epochs": 12}
EARLY = {"early_stopping": True, "n_iter_no_change": 2}

# The second process leaves at the end of the fifth epoch; every step was kept before.
BREAK_DOWN = """
from sk_hvae._fit import checkpoint
from sk_hvae.exceptions import LostProcessError
checkpoint._LONGEST, checkpoint._SHARE_OF_TIME = 0.0, 1e9
class Vanish(Callback):
    def on_epoch_end(self, net, **kwargs):
        if rank == 1 and len(net.history) == 5:
            os._exit(3)
hvae = HierarchicalVAETransformer(
    (1, 3), random_state=0, checkpoint=out + "state", callbacks=[Vanish()], **PARAMS
)
try:
    hvae.fit(X)
except LostProcessError as error:
    assert "launch all anew" in str(error)
    assert hvae.n_iter_ == 5 and np.isfinite(hvae.transform(X)).all()
    os._exit(0)
raise AssertionError("not noticed")
"""
GO_ON = """
from sklearn.model_selection import GridSearchCV
found = {}
def keep(name, model):
    found[f"{name}: transform"] = model.transform(X)
    for attribute in ("rates_", "betas_", "distortion_", "n_iter_"):
        found[f"{name}: {attribute}"] = getattr(model, attribute)
keep("resumed", HierarchicalVAETransformer(
    (1, 3), random_state=0, checkpoint=out + "state", **PARAMS
).fit(X))
whole = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS).fit(X)
keep("whole", whole)
keep("partial_fit", whole.partial_fit(X).partial_fit(X))
keep("one epoch", HierarchicalVAETransformer(
    (1, 3), random_state=0, **PARAMS | {"max_epochs": 1}
).fit(X))
keep("no seed", HierarchicalVAETransformer((1, 3), **PARAMS | {"max_epochs": 2}).fit(X))
early = HierarchicalVAETransformer((1, 3), random_state=0, **EARLY, **PARAMS).fit(X)
keep("early", early)
keep("multi", MultiRateHVAETransformer(
    (0.5, 4), layer_rates=(1, 1), random_state=0, **PARAMS
).fit(X))
search = GridSearchCV(early, {"lr": [1e-3, 5e-3]}, cv=2).fit(X)
found["search: scores"] = search.cv_results_["mean_test_score"]
np.savez(f"{out}{rank}.npz", **found)
accelerator.end_training()
"""


def launch(program, out, n_processes=2):
    """Run a program in processes that find each other on this machine; returns those."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(n_processes):
        environment = os.environ | {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(n_processes),
            "LOCAL_WORLD_SIZE": str(n_processes),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        code = f"{START}PARAMS, EARLY = {PARAMS!r}, {EARLY!r}\n{program}"
        command = [sys.executable, "-c", code, str(out)]
        processes.append(
            subprocess.Popen(  # noqa: S603
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return processes


@pytest.fixture(scope="module", name="X")
def rows():
    return np.random.default_rng(0).normal(size=(512, 10)).cumsum(axis=1)


@pytest.fixture(scope="module")
def broken_down(tmp_path_factory):
    """Return where two processes kept their state until one of them was lost."""
    out = tmp_path_factory.mktemp("together") / "of "
    first, second = launch(BREAK_DOWN, out)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 0, said
    second.communicate(timeout=120)
    assert second.returncode == 3
    return out


@pytest.fixture(scope="module")
def together(broken_down):
    """Return what each of two processes found, in all that they did after one start."""
    for process in launch(GO_ON, broken_down):
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    return [dict(np.load(f"{broken_down}{rank}.npz")) for rank in range(2)]


def test_all_processes_have_the_same_model(together):
    first, second = together
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_fits_are_as_good_as_those_of_one_process(X, together):
    first, _ = together
    alone = HierarchicalVAETransformer((1, 3), random_state=0, **EARLY, **PARAMS).fit(X)
    # Sums are rounded in another order, so that the held-out rows stop it some epochs apart.
    assert 1 < first["early: n_iter_"] < PARAMS["max_epochs"]
    assert 1 < alone.n_iter_ < PARAMS["max_epochs"]
    np.testing.assert_allclose(first["early: rates_"], alone.rates_, atol=0.2)
    np.testing.assert_allclose(first["early: distortion_"], alone.distortion_, rtol=0.03)
    multi = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), random_state=0, **PARAMS).fit(X)
    np.testing.assert_allclose(first["multi: rates_"], multi.rates_, atol=0.1)
    np.testing.assert_allclose(first["multi: distortion_"], multi.distortion_, rtol=0.02)


def test_steps_are_those_of_one_process(X, together):
    """Equal batches and the same noise: what remains is the rounding of sums."""
    first, _ = together
    alone = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS | {"max_epochs": 1}).fit(X)
    np.testing.assert_allclose(first["one epoch: transform"], alone.transform(X), atol=2e-3)
    np.testing.assert_allclose(first["one epoch: betas_"], alone.betas_, rtol=2e-3)


def test_what_a_lost_process_broke_off_goes_on_to_the_same_end(together):
    first, _ = together
    assert first["resumed: n_iter_"] == first["whole: n_iter_"] == PARAMS["max_epochs"]
    np.testing.assert_array_equal(first["resumed: transform"], first["whole: transform"])


def test_an_accelerator_of_one_process_changes_nothing(X, monkeypatch):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    alone = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS).fit(X)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert Accelerator(cpu=True).num_processes == 1
    try:
        beside = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS).fit(X)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    np.testing.assert_array_equal(beside.transform(X), alone.transform(X))
