"""How many passes "auto" stands for."""

import pytest

from sk_hvae._fit.plane import RatePlane
from sk_hvae._fit.settings import AutoEpochs
from sk_hvae._fit.single_rate import SingleRate

AUTO = AutoEpochs(n_steps=1200, most_epochs=60, fewest_steps=120)


@pytest.mark.parametrize(
    ("steps_per_epoch", "n_epochs"),
    [
        (1, 120),  # 60 passes make fewer than 120 steps, which are then made
        (2, 60),
        (3, 60),
        (20, 60),  # as many passes as make 1,200 steps
        (21, 58),
        (1199, 2),
        (1200, 1),
        (5000, 1),
    ],
)
def test_auto(steps_per_epoch, n_epochs):
    assert AUTO.resolve("auto", steps_per_epoch) == n_epochs
    assert AUTO.resolve(7, steps_per_epoch) == 7


def test_documented_numbers():
    assert SingleRate.auto_epochs == AUTO
    assert RatePlane.auto_epochs == AutoEpochs(n_steps=1200, most_epochs=180, fewest_steps=600)
