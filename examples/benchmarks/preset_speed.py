"""What does an epoch of the hit-mnist preset cost, against a plain PyTorch loop?

The loop below is written by hand from the published architecture: the same layers, likelihood,
optimiser, batches and steps, in float32, as one would write it. Both train on 20,000
Fashion-MNIST images at fixed multipliers in the same process; medians of interleaved epochs.
The library is timed between the begin and the end of training, as in training_speed.py.

    python examples/benchmarks/preset_speed.py [--repeats 7] [--rows 20000]
"""

import argparse
import time
import warnings

import numpy as np
import torch
from fashion_mnist import load_fashion_mnist
from torch import nn
from torch.nn import functional
from training_speed import Stopwatch

from sk_hvae import HierarchicalVAETransformer

BETAS = (5.0, 5.0)
BATCH, LR = 256, 2e-3


class PlainHVAE(nn.Module):
    """The two-layer model of Xiao & Bamler for 28x28 images, written out."""

    def __init__(self, c=16, n_top=20):
        super().__init__()
        self.c = c
        self.qz2_conv1 = nn.Conv2d(1, c, 4, 2, 1)
        self.qz2_conv2 = nn.Conv2d(c, c, 4, 2, 1)
        self.qz2_conv3 = nn.Conv2d(c, c, 4)
        self.qz2_mean = nn.Linear(c * 16, n_top)
        self.qz2_std = nn.Linear(c * 16, n_top)
        self.qz1_conv1 = nn.Conv2d(1, c, 4, 2, 1)
        self.qz1_conv2 = nn.Conv2d(c, c, 4, 2, 1)
        self.qz1_linear = nn.Linear(n_top, c * 16)
        self.qz1_up = nn.ConvTranspose2d(c, c, 4)
        self.qz1_join = nn.Conv2d(2 * c, c, 4)
        self.qz1_mean = nn.Conv2d(c, c, 3, 1, 1)
        self.qz1_std = nn.Conv2d(c, c, 3, 1, 1)
        self.pz1_linear = nn.Linear(n_top, c * 8)
        self.pz1_mean = nn.Linear(c * 8, c * 16)
        self.pz1_std = nn.Linear(c * 8, c * 16)
        self.px_up1 = nn.ConvTranspose2d(c, c, 4)
        self.px_up2 = nn.ConvTranspose2d(c, c, 4, 2, 1)
        self.px_up3 = nn.ConvTranspose2d(c, 1, 4, 2, 1)

    def forward(self, x):
        """Return distortion and both rates of images (b, 1, 28, 28), nats per image."""
        h = functional.relu(self.qz2_conv1(x))
        h = functional.relu(self.qz2_conv2(h))
        h = functional.relu(self.qz2_conv3(h)).flatten(1)
        mean_2, std_2 = self.qz2_mean(h), functional.softplus(self.qz2_std(h))
        z_2 = mean_2 + std_2 * torch.randn_like(std_2)
        rate_2 = 0.5 * (mean_2**2 + std_2**2 - 1 - 2 * std_2.log()).sum(1)

        h_x = functional.relu(self.qz1_conv1(x))
        h_x = functional.relu(self.qz1_conv2(h_x))
        h_z = functional.relu(self.qz1_linear(z_2)).view(-1, self.c, 4, 4)
        h_z = functional.relu(self.qz1_up(h_z))
        h = functional.relu(self.qz1_join(torch.cat((h_z, h_x), 1)))
        mean_1, std_1 = self.qz1_mean(h).flatten(1), self.qz1_std(h).flatten(1)
        std_1 = functional.softplus(std_1)
        h = functional.relu(self.pz1_linear(z_2))
        prior_mean, prior_std = self.pz1_mean(h), functional.softplus(self.pz1_std(h))
        z_1 = mean_1 + std_1 * torch.randn_like(std_1)
        ratio = std_1 / prior_std
        offset = (mean_1 - prior_mean) / prior_std
        rate_1 = 0.5 * (offset**2 + ratio**2 - 1 - 2 * ratio.log()).sum(1)

        h = functional.relu(self.px_up1(z_1.view(-1, self.c, 4, 4)))
        h = functional.relu(self.px_up2(h))
        logits = self.px_up3(h)
        distortion = functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return distortion.flatten(1).sum(1), rate_1, rate_2


def plain(X, epochs, fused=None):
    """Train by hand; returns seconds and the objective of the last epoch."""
    torch.manual_seed(0)
    model, images = PlainHVAE(), torch.from_numpy(X).view(-1, 1, 28, 28)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=fused)
    start = time.perf_counter()
    for _ in range(epochs):
        total = torch.zeros(())
        for index in torch.randperm(len(images)).split(BATCH):
            distortion, rate_1, rate_2 = model(images[index])
            loss = (distortion + BETAS[0] * rate_1 + BETAS[1] * rate_2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
    return time.perf_counter() - start, float(total) / len(images)


def library(X, epochs, precision):
    """Train by the library; returns seconds and the objective of the last epoch."""
    watch = Stopwatch()
    hvae = HierarchicalVAETransformer(
        layer_rates=None,
        betas=BETAS,
        network="hit-mnist",
        likelihood="bernoulli",
        max_epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        precision=precision,
        random_state=0,
        callbacks=[watch],
    ).fit(X)
    bits = hvae.history_["train_distortion"][-1] + hvae.history_["train_rates"][-1] @ BETAS
    return watch.seconds, bits * np.log(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--loss-epochs", type=int, default=15)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X = load_fashion_mnist(arguments.rows)[0] / np.float32(255)
    n_plain = sum(p.numel() for p in PlainHVAE().parameters())
    print(f"plain model: {n_plain:,} parameters")
    runs = {
        "plain loop": lambda epochs: plain(X, epochs),
        "plain loop, fused AdamW": lambda epochs: plain(X, epochs, fused=True),
        "library, float32": lambda epochs: library(X, epochs, "float32"),
        "library, bfloat16": lambda epochs: library(X, epochs, "bfloat16"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            seconds[name].append(run(1)[0])
    for name, times in seconds.items():
        ratio = np.median(np.divide(times, seconds["plain loop"]))
        print(
            f"{name}: {np.median(times):.2f} s an epoch, {ratio:.3f} of the plain loop", flush=True
        )
    losses = {name: run(arguments.loss_epochs)[1] for name, run in runs.items()}
    for name, loss in losses.items():
        change = 100 * (loss / losses["library, float32"] - 1)
        print(
            f"{name}: objective {loss:.2f} nats in epoch {arguments.loss_epochs}, {change:+.2f}% "
            "against the library in float32"
        )
