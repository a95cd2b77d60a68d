"""What does `import sk_hvae` cost beyond importing what it needs?

Fresh processes in turns: one imports torch, scikit-learn and skorch, by nothing but their names,
the other this library, which imports them. The first of each writes the bytecode that an
installation has, and is left out. The bar is a ratio of medians of 1.05 in wall time; the ratio
of the quickest, and of processor time, says how far the noise of the machine carries.

    python examples/benchmarks/import_time.py [--repeats 20]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

NEEDED, OURS = "import torch, sklearn, skorch", "import sk_hvae"
BAR = 1.05


class Cost(NamedTuple):
    """Seconds of one process."""

    wall: float
    processor: float


def run(code):
    """Run code in a fresh interpreter that may write bytecode; returns its `Cost`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    pairs = [(run(NEEDED), run(OURS)) for _ in range(repeats + 1)][1:]
    for kind in Cost._fields:
        needed, ours = (
            [getattr(cost, kind) for cost in costs] for costs in zip(*pairs, strict=True)
        )
        middle = statistics.median(ours) / statistics.median(needed)
        print(
            f"{kind}: {NEEDED!r} {statistics.median(needed):.3f} s "
            f"(from {min(needed):.3f} to {max(needed):.3f}), "
            f"{OURS!r} {statistics.median(ours):.3f} s "
            f"(from {min(ours):.3f} to {max(ours):.3f}): ratio of medians {middle:.3f}, "
            f"of minima {min(ours) / min(needed):.3f}, bar {BAR}"
        )


if __name__ == "__main__":
    main()
