"""Where does the time of a fit go: matrix products, other operations, or Python?

Fits digits with the defaults, once without a profiler, for the time of a step, and once with that
of torch, for the time inside operations. What is left is Python, the dispatcher and autograd. All
are CPU times of one thread, of which a busy machine makes nonsense. The library of another checkout
is profiled by PYTHONPATH:

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


def main():
    torch.set_num_threads(1)
    fit(2)
    # Start and measurement take as long after few passes as after many.
    seconds = fit(2 * N_EPOCHS) - fit(N_EPOCHS)
    spent = Counter()
    for n_epochs, sign in ((2 * N_EPOCHS, 1), (N_EPOCHS, -1)):
        with profile(activities=[ProfilerActivity.CPU]) as found:
            fit(n_epochs)
        for event in found.key_averages():
            if event.key.startswith("aten::"):
                spent[kind_of(event)] += sign * event.self_cpu_time_total / 1e6
    spent["Python, dispatcher, autograd"] = seconds - spent.total()
    print(f"{1000 * seconds / (BATCHES * N_EPOCHS):.2f} ms a step, of which")
    for kind, time_spent in spent.most_common():
        print(f"{time_spent / seconds:6.3f}  {kind}")


if __name__ == "__main__":
    main()
