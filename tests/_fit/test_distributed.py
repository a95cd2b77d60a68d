"""Several processes train one model: that of one process, the same in all of them."""

import os
import socket
import warnings
from datetime import timedelta

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
from sk_hvae._fit import checkpoint
from sk_hvae.exceptions import LostProcessError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
]

PARAMS = {"n_components": 3, "hidden_layer_sizes": (16,), "batch_size": 64, "max_epochs": 12}
EARLY = {"early_stopping": True, "n_iter_no_change": 2}


def rows():
    return np.random.default_rng(0).normal(size=(512, 10)).cumsum(axis=1)


def make(**params):
    return HierarchicalVAETransformer((1, 3), **{"random_state": 0, **PARAMS, **params})


def make_multi():
    return MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), random_state=0, **PARAMS)


# What each of two processes does.


def join_the_others(rank, port):
    """Be one of two processes that train together; returns what must be ended at last."""
    from accelerate import Accelerator, InitProcessGroupKwargs

    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        GLOO_SOCKET_IFNAME="lo",
    )
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    patience = InitProcessGroupKwargs(timeout=timedelta(seconds=60))  # for each other
    return Accelerator(cpu=True, kwargs_handlers=[patience])


class Vanish(Callback):
    """End the process without a word after the fifth epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 5:
            os._exit(3)


def break_down(rank, port, out):
    """Train, and keep every step, until the second process is lost."""
    join_the_others(rank, port)
    checkpoint._LONGEST, checkpoint._SHARE_OF_TIME = 0.0, 1e9
    hvae = make(checkpoint=out / "state", callbacks=[Vanish()] if rank == 1 else None)
    with pytest.raises(LostProcessError, match="launch all anew"):
        hvae.fit(rows())
    assert hvae.n_iter_ == 5
    assert np.isfinite(hvae.transform(rows())).all()
    os._exit(0)  # the way out through torch would wait for the lost one


def go_on(rank, port, out):
    """Train in all ways, and save what comes out."""
    accelerator = join_the_others(rank, port)
    X, found = rows(), {}

    def keep(name, model):
        found[f"{name}: transform"] = model.transform(X)
        for attribute in ("rates_", "betas_", "distortion_", "n_iter_"):
            found[f"{name}: {attribute}"] = getattr(model, attribute)

    keep("resumed", make(checkpoint=out / "state").fit(X))
    whole = make().fit(X)
    keep("whole", whole)
    keep("partial_fit", whole.partial_fit(X).partial_fit(X))
    keep("one epoch", make(max_epochs=1).fit(X))
    keep("no seed", make(random_state=None, max_epochs=2).fit(X))
    keep("early", make(**EARLY).fit(X))
    keep("multi", make_multi().fit(X))
    search = GridSearchCV(make(max_epochs=2), {"lr": [1e-3, 5e-3]}, cv=2).fit(X)
    found["search: scores"] = search.cv_results_["mean_test_score"]
    np.savez(out / f"{rank}.npz", **found)
    accelerator.end_training()


def exit_codes(processes, program, out):
    """Run a function in two processes that find each other on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [processes.Process(target=program, args=(rank, port, out)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=240)
    return [process.exitcode for process in both]


@pytest.fixture(scope="module", name="X")
def shared_rows():
    return rows()


@pytest.fixture(scope="module")
def broken_down(processes, tmp_path_factory):
    """Return where two processes kept their state until one of them was lost."""
    out = tmp_path_factory.mktemp("together")
    assert exit_codes(processes, break_down, out) == [0, 3]
    return out


@pytest.fixture(scope="module")
def together(processes, broken_down):
    """Return what each of two processes found, in all that they did after one start."""
    assert exit_codes(processes, go_on, broken_down) == [0, 0]
    return [dict(np.load(broken_down / f"{rank}.npz")) for rank in range(2)]


def test_all_processes_have_the_same_model(together):
    first, second = together
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_fits_are_as_good_as_those_of_one_process(X, together):
    first, _ = together
    alone = make(**EARLY).fit(X)
    # Sums are rounded in another order, so that the held-out rows stop it some epochs apart.
    assert 1 < first["early: n_iter_"] < PARAMS["max_epochs"]
    assert 1 < alone.n_iter_ < PARAMS["max_epochs"]
    np.testing.assert_allclose(first["early: rates_"], alone.rates_, atol=0.2)
    np.testing.assert_allclose(first["early: distortion_"], alone.distortion_, rtol=0.03)
    multi = make_multi().fit(X)
    np.testing.assert_allclose(first["multi: rates_"], multi.rates_, atol=0.1)
    np.testing.assert_allclose(first["multi: distortion_"], multi.distortion_, rtol=0.02)


def test_steps_are_those_of_one_process(X, together):
    """Equal batches and the same noise: what remains is the rounding of sums."""
    first, _ = together
    alone = make(max_epochs=1).fit(X)
    np.testing.assert_allclose(first["one epoch: transform"], alone.transform(X), atol=2e-3)
    np.testing.assert_allclose(first["one epoch: betas_"], alone.betas_, rtol=2e-3)


def test_what_a_lost_process_broke_off_goes_on_to_the_same_end(together):
    first, _ = together
    assert first["resumed: n_iter_"] == first["whole: n_iter_"] == PARAMS["max_epochs"]
    np.testing.assert_array_equal(first["resumed: transform"], first["whole: transform"])


def test_an_accelerator_of_one_process_changes_nothing(X, monkeypatch):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    alone = make().fit(X)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert Accelerator(cpu=True).num_processes == 1
    try:
        beside = make().fit(X)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    np.testing.assert_array_equal(beside.transform(X), alone.transform(X))
