"""Where does the time of a fit go: matrix products, other operations, or Python?

Fits digits with the defaults under torch's profiler. What is outside of operations is Python and
autograd. All are CPU times of one thread. The profiler makes every call longer, so that shares of
many small operations are too large, and those of matrix products too small. The library of another
checkout is profiled by PYTHONPATH:

    python examples/benchmarks/fit_profile.py
    PYTHONPATH=CHECKOUT python examples/benchmarks/fit_profile.py
"""

import time
from collections import Counter

import torch
from sklearn.datasets import load_digits
from torch.profiler import ProfilerActivity, profile

from sk_hvae import HierarchicalVAETransformer

PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::mkldnn_convolution"}
KINDS = {
    "aten::copy_": "copies and casts",
    "aten::_to_copy": "copies and casts",
    "aten::silu": "SiLU",
    "aten::silu_backward": "SiLU",
    "aten::normal_": "noise",
    "aten::_fused_adamw_": "optimiser",
}
BATCHES, N_EPOCHS = 8, 10


def fit(n_epochs):
    hvae = HierarchicalVAETransformer(max_epochs=n_epochs, random_state=0)
    start = time.process_time()
    hvae.fit(load_digits().data)
    return time.process_time() - start


def kind_of(event):
    if event.key in PRODUCTS:
        return "matrix products"
    return KINDS.get(event.key, "other operations")


def profiled(n_epochs):
    """Return the seconds of a fit, and those of each kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        seconds = fit(n_epochs)
    spent = Counter()
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            spent[kind_of(event)] += event.self_cpu_time_total / 1e6
    spent["Python and autograd"] = seconds - spent.total()
    return spent


def main():
    torch.set_num_threads(1)
    fit(2)
    # Start and measurement take as long after few passes as after many.
    plain = (fit(2 * N_EPOCHS) - fit(N_EPOCHS)) / (BATCHES * N_EPOCHS)
    spent = profiled(2 * N_EPOCHS)
    spent.subtract(profiled(N_EPOCHS))
    slowed = spent.total() / (BATCHES * N_EPOCHS)
    print(f"{1000 * plain:.2f} ms a step, {1000 * slowed:.2f} ms under the profiler, of which")
    for kind, seconds in spent.most_common():
        print(f"{seconds / spent.total():6.3f}  {kind}")


if __name__ == "__main__":
    main()
