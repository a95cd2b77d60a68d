"""What does a GPU give, and what is left to gain on it?

Rows per second of `fit` beside a hand-written loop of the same model, in float32 and bfloat16,
and beside the same loop with torch.compile and with CUDA graphs, which the library does not use:
whether they would earn their place, this shows. Then rows that do not fit on the device, the
speed of `transform`, peak memory, and a model from the device opened without one.

Times are medians, after a run that is not counted; compilation is not counted either. A `fit` is
timed between the begin of training and its end.

    python examples/benchmarks/gpu.py [--device cuda] [--repeats 3]

``--device cpu`` runs the same with tiny sizes, to see that it runs; its times say nothing.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from training_speed import PlainLoop, library

from sk_hvae._data import rows
from sk_hvae.exceptions import RateTargetWarning


class Sizes(NamedTuple):
    """How much to run."""

    n_rows: int
    epochs: int
    widths: tuple
    batch_sizes: tuple


ON_GPU = Sizes(131_072, 4, ((64, 64), (512, 512), (2048, 2048)), (256, 1024, 8192))
ON_CPU = Sizes(512, 1, ((16, 16),), (128,))


class CompiledLoop(PlainLoop):
    """The plain loop with its forward and backward pass compiled."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # On a CPU the compiler is left out: it takes a minute.
        backend = "inductor" if self.device.type == "cuda" else "aot_eager"
        self.loss = torch.compile(self.loss, backend=backend)


class GraphedLoop(PlainLoop):
    """The plain loop with a step recorded once, and replayed; batches must have one size."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, capturable=True, **kwargs)
        self.x = self.rows[: len(self.rows) // self.n_batches].clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                super().step(self.x)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.last_loss = super().step(self.x)

    def step(self, x):
        self.x.copy_(x)
        self.graph.replay()
        return self.last_loss


def median_speed(n_rows, repeats, run):
    """Return rows per second: the median of several runs, after one that is not counted."""
    run()
    return n_rows / np.median([run() for _ in range(repeats)])


def training(X, device, sizes, repeats):
    """Compare the ways to train, for every size of networks and batches."""
    loops = {"plain": PlainLoop, "compiled": CompiledLoop}
    if device.type == "cuda":
        loops["graphs"] = GraphedLoop
    n_rows = len(X) * sizes.epochs
    for widths in sizes.widths:
        for batch_size in sizes.batch_sizes:
            for precision in ("float32", "bfloat16"):
                autocast = None if precision == "float32" else torch.bfloat16

                def fit(widths=widths, batch_size=batch_size, precision=precision):
                    return library(X, sizes.epochs, batch_size, widths, precision, device)

                ours = median_speed(n_rows, repeats, lambda: fit()[0])
                print(
                    f"784-{'-'.join(map(str, widths))}, batch {batch_size}, {precision}: "
                    f"fit {ours:,.0f} rows/s",
                    end="",
                )
                for name, kind in loops.items():
                    loop = kind(fit()[1], X, batch_size, autocast)
                    speed = median_speed(n_rows, repeats, lambda: loop.run(sizes.epochs))  # noqa: B023
                    print(f", {name} {speed:,.0f} (fit is {ours / speed:.2f} of it)", end="")
                print(flush=True)


def rows_elsewhere(X, device, sizes, repeats):
    """Compare rows on the device with rows that are read ahead from memory."""
    if device.type != "cuda":
        print("rows larger than the device: not run, rows are in memory anyway")
        return
    share, speeds = rows._SHARE_OF_GPU, []
    for rows._SHARE_OF_GPU in (share, 0.0):
        speeds.append(
            median_speed(
                len(X) * sizes.epochs,
                repeats,
                lambda: library(X, sizes.epochs, 1024, sizes.widths[-1], "float32", device)[0],
            )
        )
    rows._SHARE_OF_GPU = share
    print(
        f"rows on the device: {speeds[0]:,.0f} rows/s, read ahead from memory: "
        f"{speeds[1]:,.0f} ({speeds[1] / speeds[0]:.2f} of it)"
    )


def transform(X, hvae, repeats):
    """Compare transform, to and from numpy, with the module alone on rows on its device."""
    device = torch.device(hvae.device_)
    rows = torch.from_numpy(X).to(device)

    def whole():
        start = time.perf_counter()
        hvae.transform(X)
        return time.perf_counter() - start

    def bare():
        start = time.perf_counter()
        with torch.inference_mode():
            for part in rows.split(2048):
                last = hvae.module_.encode(part)
        last[0].sum().item()  # waits for the device
        return time.perf_counter() - start

    ours, theirs = (median_speed(len(X), repeats, run) for run in (whole, bare))
    print(f"transform: {ours:,.0f} rows/s, {ours / theirs:.2f} of the bare forward pass")


def memory(X, device, sizes):
    """Show the peak of memory on the device, and what is left of it afterwards."""
    if device.type != "cuda":
        print("memory on the device: not run, there is none")
        return
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    hvae = library(X, 1, 1024, sizes.widths[-1], "float32", device)[3]
    peak, after = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
    weights = sum(tensor.nbytes for tensor in hvae.module_.state_dict().values())
    parts = {"X": X.nbytes, "weights": weights, "peak": peak - before, "left": after - before}
    print("memory: " + ", ".join(f"{name} {n / 2**20:,.0f} MiB" for name, n in parts.items()))


_OPEN = """
import pickle, sys, warnings
import numpy as np
from sk_hvae.exceptions import DeviceWarning
warnings.simplefilter("ignore", DeviceWarning)
folder = sys.argv[1]
with open(folder + "/model", "rb") as file:
    hvae = pickle.load(file)
np.save(folder + "/Z.npy", hvae.transform(np.load(folder + "/X.npy")))
"""


def pickle_without_gpu(X, hvae):
    """Open a pickle in a process that sees no GPU, and compare what it gives."""
    with tempfile.TemporaryDirectory() as folder:
        # The stopwatch among the callbacks belongs to this script.
        Path(folder, "model").write_bytes(pickle.dumps(hvae.set_params(callbacks=None)))
        np.save(Path(folder, "X.npy"), X)
        subprocess.run(
            [sys.executable, "-c", _OPEN, folder],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            check=True,
        )
        difference = np.abs(np.load(Path(folder, "Z.npy")) - hvae.transform(X)).max()
    print(
        f"pickle of a model on {hvae.device_}, opened without a GPU: transform differs by "
        f"{difference:.1e} at most"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = arguments.device
    if device.type == "cuda" and not torch.cuda.is_available():
        print("There is no GPU here, so nothing was run; --device cpu runs tiny sizes.")
        sys.exit()
    warnings.simplefilter("ignore", RateTargetWarning)
    sizes = ON_GPU if device.type == "cuda" else ON_CPU
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, tiny sizes"
    print(f"{name}, torch {torch.__version__}")
    X = np.random.default_rng(0).random((sizes.n_rows, 784), np.float32)
    training(X, device, sizes, arguments.repeats)
    rows_elsewhere(X, device, sizes, arguments.repeats)
    hvae = library(X, 1, sizes.batch_sizes[-1], sizes.widths[-1], "float32", device)[3]
    transform(X, hvae, arguments.repeats)
    memory(X, device, sizes)
    pickle_without_gpu(X[:1000], hvae)
