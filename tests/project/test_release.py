"""What a release promises: few dependencies, a quick import, and one version everywhere."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import sk_hvae

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.rst"), *(ROOT / "docs").glob("*/*.rst")]
CITATION = dict(re.findall(r"^([\w-]+): *(.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))

WITHOUT_EXTRAS = """
import sys
from importlib.machinery import PathFinder

OPTIONAL = {
    "accelerate", "dask", "distributed", "matplotlib", "onnx", "onnxruntime", "onnxscript",
    "optuna", "pandas", "polars", "psutil", "pyarrow", "safetensors", "tensorboard",
}

class WithoutOptional(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in OPTIONAL else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutOptional

import numpy as np
from sk_hvae import HierarchicalVAETransformer, RateMap
from sk_hvae.plotting import RateHistoryDisplay

X = np.random.default_rng(0).normal(size=(50, 3))
hvae = HierarchicalVAETransformer(
    1, betas=None, n_components=2, hidden_layer_sizes=4, max_epochs=30, random_state=0
).fit(X)
assert hvae.transform(X).shape == (50, 2)
surface = RateMap(np.ones((1, 1)), np.ones((1, 1)), {"psnr": np.ones(1)})
for feature, argument in (
    (hvae.save, "model"),
    (hvae.export_onnx, "model"),
    (RateHistoryDisplay.from_estimator(hvae).plot, None),
    (surface.plot, "psnr"),
    (lambda _: surface.to_frame(), None),
):
    try:
        feature(argument)
    except ImportError as error:
        print(error)
    else:
        print("no error")
"""
SLOW_TO_IMPORT = {
    "scipy.cluster",
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.gaussian_process",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.manifold",
    "sklearn.neighbors",
    "sklearn.svm",
    "sklearn.tree",
    "tqdm.auto",
    "skorch",
}


def output_of(code, folder):
    """Run code in a fresh interpreter, where warnings are errors; returns what it prints."""
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def _packages_of(extra):
    """Return what an extra installs, as arguments of pip: names that an index has."""
    requirements = PROJECT["optional-dependencies"][extra]
    return " ".join(re.match(r"[\w-]+", requirement)[0] for requirement in requirements)


@pytest.mark.slow
def test_optional_dependencies_are_optional(tmp_path):
    errors = output_of(WITHOUT_EXTRAS, tmp_path)
    assert errors == [
        f"safetensors is needed for save and load: pip install {_packages_of('io')}",
        f"onnx is needed for export_onnx: pip install {_packages_of('onnx')}",
        f"matplotlib is needed for plots: pip install {_packages_of('plot')}",
        f"matplotlib is needed for plots: pip install {_packages_of('plot')}",
        "pandas is needed for RateMap.to_frame: pip install pandas",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_slow_to_import_is_imported_when_it_is_used(tmp_path):
    code = (
        "import sys, torch, sklearn; before = set(sys.modules); import sk_hvae; "
        "print(*sorted(set(sys.modules) - before))"
    )
    (modules,) = output_of(code, tmp_path)
    assert "sk_hvae._estimators.transformer" in modules.split()
    assert SLOW_TO_IMPORT & set(modules.split()) == set()


def test_the_version_is_the_same_everywhere():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev0|rc\d+)?", sk_hvae.__version__)
    assert metadata.version("sk-hvae") == sk_hvae.__version__
    assert CITATION["version"] == sk_hvae.__version__
    series = ".".join(sk_hvae.__version__.split(".")[:2])
    assert (ROOT / f"docs/whats_new/v{series}.rst").read_text().startswith(f"Version {series}\n")


def test_the_citation_has_what_its_format_asks_for():
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert CITATION["type"] == "software"
    assert CITATION["license"] == PROJECT["license"]
    for author in PROJECT["authors"]:
        assert f"  - name: {author['name']}\n" in (ROOT / "CITATION.cff").read_text()


def test_extras_that_are_named_exist():
    text = "\n".join(page.read_text() for page in PAGES)
    named = {
        extra for extras in re.findall(r"'\.\[([\w,]+)\]'", text) for extra in extras.split(",")
    }
    assert named >= {"docs", "io", "onnx", "plot", "test"}
    assert named <= set(PROJECT["optional-dependencies"])


def test_pages_install_from_the_clone():
    """No index has the library, so that its name is nothing that pip could find."""
    asked_for = [command for page in PAGES for command in _installed_by(page.read_text())]
    assert any(command.startswith("-c .ci/constraints.txt -e ") for command in asked_for)
    assert [command for command in asked_for if re.search(r"sk[-_]hvae", command)] == []


def _installed_by(text):
    """Find what pip is to install by the commands on a page."""
    return re.findall(r"pip install +([^`\n]+)", text)
