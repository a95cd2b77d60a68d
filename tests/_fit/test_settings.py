"""How many passes "auto" stands for."""

import pytest

from sk_hvae._fit.plane import RatePlane
from sk_hvae._fit.settings import AutoEpochs
from sk_hvae._fit.single_rate import SingleRate

AUTO = AutoEpochs(n_steps=2000, most_epochs=100, fewest_steps=200)


@pytest.mark.parametrize(
    ("steps_per_epoch", "n_epochs"),
    [
        (1, 200),  # 100 passes make fewer than 200 steps, which are then made
        (2, 100),
        (3, 100),
        (20, 100),  # as many passes as make 2,000 steps
        (21, 96),
        (1999, 2),
        (2000, 1),
        (5000, 1),
    ],
)
def test_auto(steps_per_epoch, n_epochs):
    assert AUTO.resolve("auto", steps_per_epoch) == n_epochs
    assert AUTO.resolve(7, steps_per_epoch) == 7


def test_documented_numbers():
    assert SingleRate.auto_epochs == AUTO
    assert RatePlane.auto_epochs == AutoEpochs(n_steps=2000, most_epochs=300, fewest_steps=1000)
