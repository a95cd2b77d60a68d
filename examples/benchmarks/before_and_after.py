"""Does a change move the figures of a benchmark?

Runs one of the scripts of this folder twice, at the same time and on one thread each: that of
another checkout with the library there, and this one with the library here. Each line of the
script's output is shown once where both agree, and otherwise as it was before, "-", and after, "+";
lines differ in seconds too.

    git worktree add OLD_CHECKOUT COMMIT
    python examples/benchmarks/before_and_after.py OLD_CHECKOUT rate_control.py --part 2
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(checkout, script, arguments):
    """Start a script of this folder, as it is in a checkout, with the library there."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    path = checkout / "examples" / "benchmarks" / script
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(path), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def main(old, script, arguments):
    before = start(old.resolve(strict=True), script, arguments)
    after = start(ROOT, script, arguments)
    for old_line, new_line in itertools.zip_longest(before.stdout, after.stdout, fillvalue="\n"):
        if old_line == new_line:
            print(f"  {new_line}", end="", flush=True)
        else:
            print(f"- {old_line}+ {new_line}", end="", flush=True)
    if before.wait() or after.wait():
        sys.exit("a run has failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="checkout with the library before the change")
    parser.add_argument("script", help="name of a script in this folder")
    options, rest = parser.parse_known_args()
    main(options.old, options.script, rest)
