"""Pictures in PNG files, read back by Pillow."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sk_hvae._explorer.pictures import strip


def read(url):
    """Levels (height, width, 4) of a picture: red, green, blue and opacity."""
    kind, _, data = url.partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    return np.asarray(image.convert("RGBA")).astype(int)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_pixels_come_back_in_their_places(n_channels):
    images = np.random.default_rng(0).uniform(-2, 5, (4, n_channels, 3, 2))
    levels = read(strip(images, -2, 5))
    assert levels.shape == (3, 4 * 2 + 3, 4)
    for number, image in enumerate(images):
        found = levels[:, 3 * number : 3 * number + 2]
        bright = (np.moveaxis(image, 0, -1) + 2) / 7
        bright = 1 - bright if n_channels == 1 else bright
        assert (found[..., 3] == 255).all()
        np.testing.assert_allclose(
            found[..., :3] / 254, np.broadcast_to(bright, (3, 2, 3)), atol=2e-3
        )


def test_gaps_and_missing_pixels_are_transparent():
    images = np.array([[[[0.0, np.nan]]], [[[1.0, 0.0]]]])
    opacity = read(strip(images, 0, 1))[0, :, 3]
    assert opacity.tolist() == [255, 0, 0, 255, 255]


def test_values_beyond_the_limits_are_cut_off():
    images = np.array([[[[-9.0, 0.0, 1.0, 9.0]]]])
    assert read(strip(images, 0, 1))[0, :, 0].tolist() == [254, 254, 0, 0]


def test_pixels_that_are_all_alike():
    assert (read(strip(np.full((1, 1, 2, 2), 3.0), 3, 3))[..., 3] == 255).all()
