"""What a strict type checker says of programs that use the library as it is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sk_hvae

PROGRAM = Path(__file__).with_name("typed_program.py")
BEGIN = """
import numpy as np
from sk_hvae import (
    HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer, rate_grid, rate_map
)
from sk_hvae.metrics import psnr
from sk_hvae.plotting import SampleDisplay

X = np.zeros((4, 2))
hvae = HierarchicalVAETransformer()
"""
# Large packages that say nothing of this library's types; to read them would take twice as long.
SKIPPED = [
    "matplotlib",
    "scipy",
    *(f"torch.{name}" for name in ("_dynamo", "_export", "_functorch", "_inductor", "_subclasses")),
    *(f"torch.{name}" for name in ("ao", "distributed", "export", "fx", "jit", "onnx", "optim")),
]
MISTAKES = {
    "HierarchicalVAETransformer(layer_rates='two')": "arg-type",
    "HierarchicalVAETransformer(inference='bottom_up')": "arg-type",
    "HierarchicalVAETransformer(batch_size=2.5)": "arg-type",
    "HierarchicalVAETransformer(no_such_parameter=1)": "call-arg",
    "hvae.fit(None)": "arg-type",
    "hvae.fit(X).no_method": None,  # what scikit-learn's classes have is not known
    "hvae.fit_transform(X).no_method": "attr-defined",
    "hvae.transform(X).no_method": "attr-defined",
    "hvae.latents(X, sample='yes')": "arg-type",
    "hvae.reconstruct(X, layer=1.5)": "arg-type",
    "hvae.save(3)": "arg-type",
    "hvae.sample(3, given=['age'])": "arg-type",
    "hvae.sample(3, missing='all')": "arg-type",
    "HierarchicalVAETransformer(handle_unknown='ignore')": "arg-type",
    "MultiRateHVAETransformer().fit(X).at('high')": "arg-type",
    "HVAEClusterer(n_clusters='many')": "arg-type",
    "rate_grid('high')": "arg-type",
    "rate_map(X, X)": "arg-type",
    "psnr(X, None)": "arg-type",
    "SampleDisplay.from_estimator(X)": "arg-type",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Check both programs; returns the code of the first error of every line, by file and line."""
    folder = tmp_path_factory.mktemp("typing")
    (folder / "program.py").write_text(PROGRAM.read_text())
    (folder / "mistakes.py").write_text(BEGIN + "\n".join(MISTAKES))
    skipped = ",".join(f"{name}.*" for name in SKIPPED)
    settings = f"[mypy]\nstrict = True\npretty = False\n[mypy-{skipped}]\nfollow_imports = skip\n"
    (folder / "mypy.ini").write_text(settings)
    command = [sys.executable, "-m", "mypy", f"--cache-dir={os.devnull}"]
    run = subprocess.run(  # noqa: S603
        [*command, "program.py", "mistakes.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    errors = re.findall(r"^(.+)\.py:(\d+): error: .*\[([\w-]+)\]$", run.stdout, re.MULTILINE)
    assert f"Found {len(errors)} errors" in run.stdout, run.stdout
    return {(name, int(line)): code for name, line, code in reversed(errors)}


def test_the_package_says_that_it_has_types():
    assert Path(sk_hvae.__file__).with_name("py.typed").is_file()


@pytest.mark.slow
def test_a_program_has_the_types_that_it_asserts(reported):
    assert [place for place in reported if place[0] == "program"] == []
    assert PROGRAM.read_text().count("assert_type(") > 45


@pytest.mark.slow
def test_mistakes_are_reported(reported):
    first = BEGIN.count("\n") + 1
    found = {
        line: reported.get(("mistakes", number)) for number, line in enumerate(MISTAKES, first)
    }
    assert found == MISTAKES
