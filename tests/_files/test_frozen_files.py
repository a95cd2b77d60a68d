"""Files of earlier releases are read, and their estimators say what they said then."""

from pathlib import Path

import numpy as np
import pytest
from frozen_files import ESTIMATORS, NEW_IN_FORMAT, answers, rows
from sklearn.base import clone

from sk_hvae._files.saving import FORMAT

DATA = Path(__file__).parents[1] / "data"
FILES = sorted(DATA.glob("format_*/*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_are_read(path):
    made = ESTIMATORS[path.stem]
    estimator = type(made).load(path)
    expected = np.load(path.with_suffix(".npz"))
    found = answers(estimator, rows(path.stem))
    assert found.keys() == set(expected)
    for name, array in found.items():
        assert array.dtype == expected[name].dtype or path.parent.name == "format_1"
        if array.dtype.kind == "U":
            np.testing.assert_array_equal(array, expected[name])
            continue
        rtol = 1e-12 if (path.stem, name) == ("seconds", "reconstruction") else 1e-4
        np.testing.assert_allclose(array, expected[name], rtol=rtol, atol=1e-4, err_msg=name)
    # Files keep the learning rate, of which the default has changed since they were written.
    assert repr(estimator) == repr(clone(made).set_params(lr=estimator.lr))


def test_there_are_files_of_every_format_and_kind():
    known = set(ESTIMATORS)
    for number in range(FORMAT, 0, -1):
        found = {path.stem for path in FILES if path.parent.name == f"format_{number}"}
        assert found == known
        known -= NEW_IN_FORMAT[number]
