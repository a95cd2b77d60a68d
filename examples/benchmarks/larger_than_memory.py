"""Train on a file larger than memory should hold, and transform it: rows per second, and memory.

Writes a memmap of ``--gigabytes`` of images (Fashion-MNIST, jittered), trains for one epoch and
transforms it three times into another memmap, from the file and from memory, each in a process of
its own. Peak memory is counted above what the imports take; the process that reads from the file
must stay under 2 GB above them.

    python examples/benchmarks/larger_than_memory.py --gigabytes 6 --folder /tmp
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from fashion_mnist import load_fashion_mnist

_ROWS_AT_ONCE = 20_000
_N_TRANSFORMS = 3
_GIGABYTE = 1e9


def write_rows(path, gigabytes, dtype):
    """Write jittered images to a .npy file; returns its shape."""
    images = load_fashion_mnist()[0]
    n_features = images.shape[1]
    n_rows = int(gigabytes * _GIGABYTE / np.dtype(dtype).itemsize / n_features)
    file = np.lib.format.open_memmap(path, "w+", dtype, (n_rows, n_features))
    rng = np.random.default_rng(0)
    for first in range(0, n_rows, _ROWS_AT_ONCE):
        part = file[first : first + _ROWS_AT_ONCE]
        gain = rng.uniform(0.8, 1.2, (len(part), 1)) * (255 if dtype == "uint8" else 1)
        chosen = images[rng.integers(len(images), size=len(part))]
        part[:] = np.clip(chosen * gain, 0, 255).astype(dtype)
        file.flush()
    return file.shape


def peak_bytes():
    """Return the most resident memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def run_once(path, out, source, width):
    """Fit and transform in this process; prints what it took as JSON."""
    import sk_hvae

    hvae = sk_hvae.HierarchicalVAETransformer(
        (4, 30),
        n_components=32,
        hidden_layer_sizes=(width, width),
        max_epochs=1,
        random_state=0,
    )
    warm = np.random.default_rng(0).random((2000, 784), np.float32)
    sk_hvae.HierarchicalVAETransformer(max_epochs=1).fit(warm).transform(warm)
    above = peak_bytes()
    X = np.load(path, mmap_mode="r" if source == "file" else None)
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    hvae.fit(X)
    times = [time.perf_counter()]
    Z = np.lib.format.open_memmap(out, "w+", np.float32, (len(X), 64))
    for _ in range(_N_TRANSFORMS):
        hvae.transform(X, out=Z)
        times.append(time.perf_counter())
    result = {
        "fit": len(X) / (times[0] - start),
        "transform": len(X) / float(np.median(np.diff(times))),
        "gigabytes": (peak_bytes() - above) / _GIGABYTE,
        "rates": hvae.rates_.tolist(),
        "check": float(Z[:: len(Z) // 1000].sum(dtype=np.float64)),
    }
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "uint8"])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--run", nargs=3, metavar=("PATH", "OUT", "SOURCE"))
    options = parser.parse_args()
    if options.run:
        run_once(*options.run, options.width)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path, out = Path(folder, "X.npy"), Path(folder, "Z.npy")
        shape = write_rows(path, options.gigabytes, options.dtype)
        print(f"{shape[0]} rows of {shape[1]}, {options.dtype}")
        results = {"memory": [], "file": []}
        for _ in range(options.repeats):
            for source in results:
                command = [sys.executable, __file__, "--run", path, out, source]
                command += ["--width", str(options.width)]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                results[source].append(json.loads(run.stdout))
                print(f"{source:>7}", results[source][-1])
    for step in ("fit", "transform"):
        ratios = [
            a[step] / b[step] for a, b in zip(results["file"], results["memory"], strict=True)
        ]
        print(f"{step}: rows per second from the file over those from memory", end=" ")
        print(f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    most = max(run["gigabytes"] for run in results["file"])
    print(f"peak memory above the imports, from the file: {most:.2f} GB")
    same = {(tuple(run["rates"]), run["check"]) for runs in results.values() for run in runs}
    print(f"results are {'the same' if len(same) == 1 else 'DIFFERENT'} in all runs")


if __name__ == "__main__":
    main()
