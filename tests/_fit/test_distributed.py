"""Several processes train one model: that of one process, the same in all of them."""

import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
]

START = """
import os, sys, warnings
import numpy as np
import torch
warnings.simplefilter("ignore")
torch.set_num_threads(1)
from accelerate import Accelerator
from sk_hvae import HierarchicalVAETransformer, MultiRateHVAETransformer
accelerator = Accelerator(cpu=True)
rank, out = accelerator.process_index, sys.argv[1]
X = np.random.default_rng(0).normal(size=(512, 10)).cumsum(axis=1)
"""
PARAMS = {"n_components": 3, "hidden_layer_sizes": (16,), "batch_size": 64, "max_epochs": 12}


def launch(code, out, n_processes=2):
    """Run code in processes that find each other on this machine; returns those."""
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
        command = [sys.executable, "-c", START + textwrap.dedent(code), str(out)]
        processes.append(
            subprocess.Popen(  # noqa: S603
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return processes


def finish(processes):
    for process in processes:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said


@pytest.fixture(scope="module", name="X")
def rows():
    return np.random.default_rng(0).normal(size=(512, 10)).cumsum(axis=1)


def test_one_model_in_all_processes_and_searches(X, tmp_path):
    code = f"""
    from sklearn.model_selection import GridSearchCV
    params = {PARAMS!r}
    hvae = HierarchicalVAETransformer((1, 3), random_state=0, **params).fit(X)
    early = HierarchicalVAETransformer(
        (1, 3), random_state=0, early_stopping=True, n_iter_no_change=2, **params
    ).fit(X)
    free = HierarchicalVAETransformer((1, 3), **params).fit(X)
    multi = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), random_state=0, **params).fit(X)
    parts = hvae.partial_fit(X).partial_fit(X)
    search = GridSearchCV(early, {{"lr": [1e-3, 5e-3]}}, cv=2).fit(X)
    np.savez(
        f"{{out}}{{rank}}.npz", rates=early.rates_, betas=early.betas_, Z=early.transform(X),
        free=free.transform(X), multi=multi.transform(X), multi_rates=multi.rates_,
        multi_distortion=multi.distortion_, parts=parts.transform(X), distortion=early.distortion_,
        n_iter=early.n_iter_, scores=search.cv_results_["mean_test_score"],
    )
    accelerator.end_training()
    """
    finish(launch(code, tmp_path / "of "))
    first, second = (np.load(tmp_path / f"of {rank}.npz") for rank in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    alone = HierarchicalVAETransformer(
        (1, 3), random_state=0, early_stopping=True, n_iter_no_change=2, **PARAMS
    ).fit(X)
    # Sums are rounded in another order, so that the held-out rows stop it some epochs apart.
    assert 1 < first["n_iter"] < PARAMS["max_epochs"]
    assert 1 < alone.n_iter_ < PARAMS["max_epochs"]
    np.testing.assert_allclose(first["rates"], alone.rates_, atol=0.2)
    np.testing.assert_allclose(first["distortion"], alone.distortion_, rtol=0.03)
    multi = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), random_state=0, **PARAMS).fit(X)
    np.testing.assert_allclose(first["multi_rates"], multi.rates_, atol=0.1)
    np.testing.assert_allclose(first["multi_distortion"], multi.distortion_, rtol=0.02)


def test_steps_are_those_of_one_process(X, tmp_path):
    """Equal batches and the same noise: what remains is the rounding of sums."""
    code = f"""
    hvae = HierarchicalVAETransformer((1, 3), random_state=0, **{PARAMS!r} | {{"max_epochs": 1}})
    hvae.fit(X)
    np.savez(f"{{out}}{{rank}}.npz", Z=hvae.transform(X), betas=hvae.betas_)
    """
    finish(launch(code, tmp_path / "of "))
    alone = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS | {"max_epochs": 1}).fit(X)
    together = np.load(tmp_path / "of 0.npz")
    np.testing.assert_allclose(together["Z"], alone.transform(X), atol=2e-3)
    np.testing.assert_allclose(together["betas"], alone.betas_, rtol=2e-3)


def test_a_lost_process_is_named_and_the_rest_goes_on_later(X, tmp_path):
    def fit(vanish):
        return textwrap.dedent(f"""
    from skorch.callbacks import Callback
    from sk_hvae._fit import checkpoint
    checkpoint._LONGEST, checkpoint._SHARE_OF_TIME = 0.0, 1e9
    class Vanish(Callback):
        def on_epoch_end(self, net, **kwargs):
            if {vanish} and rank == 1 and len(net.history) == 5:
                os._exit(3)
    hvae = HierarchicalVAETransformer(
        (1, 3), random_state=0, checkpoint=out + "state", callbacks=[Vanish()], **{PARAMS!r}
    )
    """)

    lost = """
    from sk_hvae.exceptions import LostProcessError
    try:
        hvae.fit(X)
    except LostProcessError as error:
        assert "launch all anew" in str(error)
        assert hvae.n_iter_ == 5 and np.isfinite(hvae.transform(X)).all()
        os._exit(0)
    raise AssertionError("not noticed")
    """
    first, second = launch(fit(vanish=True) + textwrap.dedent(lost), tmp_path / "of ")
    _, said = first.communicate(timeout=240)
    assert first.returncode == 0, said
    second.communicate(timeout=60)
    assert second.returncode == 3
    rest = """
    hvae.fit(X)
    np.savez(f"{out}{rank}.npz", Z=hvae.transform(X), n=hvae.n_iter_)
    """
    finish(launch(fit(vanish=False) + textwrap.dedent(rest), tmp_path / "of "))
    whole = f"""
    hvae = HierarchicalVAETransformer((1, 3), random_state=0, **{PARAMS!r}).fit(X)
    np.savez(f"{{out}}whole{{rank}}.npz", Z=hvae.transform(X), n=hvae.n_iter_)
    """
    finish(launch(whole, tmp_path / "of "))
    resumed, unbroken = np.load(tmp_path / "of 0.npz"), np.load(tmp_path / "of whole0.npz")
    assert resumed["n"] == unbroken["n"] == PARAMS["max_epochs"]
    np.testing.assert_array_equal(resumed["Z"], unbroken["Z"])


def test_an_accelerator_of_one_process_changes_nothing(X, tmp_path):
    code = f"""
    hvae = HierarchicalVAETransformer((1, 3), random_state=0, **{PARAMS!r}).fit(X)
    np.savez(f"{{out}}{{rank}}.npz", Z=hvae.transform(X))
    """
    finish(launch(code, tmp_path / "of ", n_processes=1))
    alone = HierarchicalVAETransformer((1, 3), random_state=0, **PARAMS).fit(X)
    np.testing.assert_array_equal(np.load(tmp_path / "of 0.npz")["Z"], alone.transform(X))
