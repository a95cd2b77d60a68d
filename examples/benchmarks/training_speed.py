"""What does the library cost beyond a plain PyTorch loop?

Every line compares with a hand-written loop of the same network, optimiser and batches in the
same process: medians of interleaved runs. A `fit` is timed between the begin of training and
its end, so that building, the PCA start and the final measurement, which the plain loop has
not got either, are left out.

    python examples/benchmarks/training_speed.py [--repeats 5]
"""

import argparse
import copy
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from fashion_mnist import load_fashion_mnist
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning


class Stopwatch(Callback):
    """Measure the training loop alone, and keep the model that it starts from."""

    def on_train_begin(self, net, **kwargs):
        self.start_module = copy.deepcopy(net.module_)
        self.start = time.perf_counter()

    def on_train_end(self, net, **kwargs):
        self.seconds = time.perf_counter() - self.start


def library(X, epochs, batch_size, widths, precision, device="cpu"):
    """Fit at fixed betas; returns seconds, the starting model and the last distortion."""
    watch = Stopwatch()
    hvae = HierarchicalVAETransformer(
        layer_rates=None,
        betas=(5.0, 5.0),
        n_components=32,
        hidden_layer_sizes=widths,
        max_epochs=epochs,
        batch_size=batch_size,
        precision=precision,
        device=device,
        random_state=0,
        callbacks=[watch],
    ).fit(X)
    objective = hvae.distortion_ + 5 * hvae.rates_.sum()
    return watch.seconds, watch.start_module, objective, hvae


class PlainLoop:
    """The shortest loop that trains the same model, on the device where the model is.

    ``autocast`` is the dtype of matrix products, None for float32; the rest goes to AdamW.
    """

    def __init__(self, module, X, batch_size, autocast=None, **options):
        self.module, self.autocast = module, autocast
        self.device = next(module.parameters()).device
        self.rows = torch.from_numpy(X).to(self.device)
        self.n_batches = -(-len(X) // batch_size)
        self.betas = torch.tensor([5.0, 5.0], device=self.device)
        self.optimiser = torch.optim.AdamW(
            module.parameters(), lr=2e-3, weight_decay=0.0, fused=True, **options
        )

    def loss(self, x):
        """Pass a batch through the model."""
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.module(x, torch.randn_like)
        return output.distortion.mean() + (self.betas * output.rates.mean(0)).sum()

    def step(self, x):
        """Train on a batch; returns its loss."""
        loss = self.loss(x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss

    def run(self, epochs):
        """Train; returns seconds."""
        start = time.perf_counter()
        for _ in range(epochs):
            order = torch.randperm(len(self.rows), device=self.device)
            for index in order.tensor_split(self.n_batches):
                loss = self.step(self.rows.index_select(0, index))
        loss.item()  # waits for the device
        return time.perf_counter() - start


def compare(name, X, repeats, *, epochs, batch_size, widths, precision, bar):
    """Time library and plain loop in turns; prints the ratio of the medians."""
    ours, theirs, objectives = [], [], {}
    for _ in range(repeats):
        seconds, module, objectives[precision], _ = library(
            X, epochs, batch_size, widths, precision
        )
        ours.append(seconds)
        theirs.append(PlainLoop(module, X, batch_size).run(epochs))
    a, b = np.median(ours), np.median(theirs)
    print(f"{name}: {a:.2f} s against {b:.2f} s, ratio {a / b:.3f} ({bar})", flush=True)
    if precision == "bfloat16":
        reference = library(X, epochs, batch_size, widths, "float32")[2]
        change = objectives[precision] / reference - 1
        print(f"  final objective against float32: {100 * change:+.2f}% (bar 1%)", flush=True)


def transform_speed(X, repeats):
    """Time transform against the module's bare forward pass on the same rows."""
    hvae = library(X[:2000], 1, 256, (512, 512), "float32")[3]
    module, rows = hvae.module_, torch.from_numpy(X)
    ours, bare = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        hvae.transform(X)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.inference_mode():
            for part in rows.split(2048):
                module.encode(part)
        bare.append(time.perf_counter() - start)
    a, b = np.median(ours), np.median(bare)
    print(
        f"transform of {X.shape}: {a:.2f} s, bare forward pass {b:.2f} s, speed "
        f"{b / a:.3f} of it (bar 0.9)",
        flush=True,
    )


_MEMORY = """
import resource, numpy as np
from sk_hvae import HierarchicalVAETransformer
rng = np.random.default_rng(0)
X = np.empty(({rows}, 784), "{dtype}")
for first in range(0, {rows}, 1000):
    X[first : first + 1000] = rng.integers(0, 256, (1000, 784), dtype=np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
HierarchicalVAETransformer(layer_rates=None, betas=(9, 9), max_epochs=1).fit(X)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def memory():
    """Show what fit adds to the peak memory, for a small and a large number of rows."""
    for dtype in ("uint8", "float16"):
        added = [
            float(
                subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", _MEMORY.format(dtype=dtype, rows=rows)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for rows in (20_000, 400_000)
        ]
        print(
            f"peak memory that fit adds to {dtype} data of 784 columns: {added[0]:.0f} MiB for "
            f"20,000 rows, {added[1]:.0f} MiB for 400,000 (a float32 copy has 1,196 MiB)",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore", RateTargetWarning)
    X = load_fashion_mnist(60_000)[0] / np.float32(255)
    digits = load_digits().data.astype(np.float32)
    compare(
        "784-512-512, batch 256, float32", X[:20_000], repeats,
        epochs=2, batch_size=256, widths=(512, 512), precision="float32", bar="bar 1.05",
    )  # fmt: skip
    compare(
        "digits, 64-64, batch 256, float32", digits, repeats,
        epochs=60, batch_size=256, widths=(64, 64), precision="float32", bar="bar 1.25",
    )  # fmt: skip
    compare(
        "784-512-512, batch 512, bfloat16 against a float32 loop", X[:20_000], repeats,
        epochs=4, batch_size=512, widths=(512, 512), precision="bfloat16", bar="bar 0.714",
    )  # fmt: skip
    transform_speed(X, repeats)
    memory()
