"""The rate explorer in a browser: no errors, and what is shown is what was measured."""

import html
import re

import numpy as np
import pytest
from explorer_pages import browse, data, needs_browser, part

from sk_hvae import RateMap, rate_grid, recommend_rates
from sk_hvae.metrics import accuracy_bound

pytestmark = [needs_browser, pytest.mark.slow]

POINTS = rate_grid([0.5, 1, 2], [0.5, 1, 2])
# What a reader does: point at a place, click there, press a key where the focus is.
POINT = """
const pointAt = (place, kind) => {
  const box = document.querySelector(`[data-place="${place}"]`).getBoundingClientRect();
  const [clientX, clientY] = [box.left + box.width / 2, box.top + box.height / 2];
  const event = new PointerEvent(kind, { clientX, clientY, bubbles: true });
  document.querySelector("#plane svg").dispatchEvent(event);
};
const press = (key) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(event);
};
const choose = (id, value, kind) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(kind, { bubbles: true }));
};
"""


@pytest.fixture(scope="module")
def species():
    return np.repeat(["<i>setosa</i>", "versicolor", "virginica"], 50)


@pytest.fixture(scope="module")
def explorer(multi, iris, species):
    return multi.explore(iris, species, layer_rates=POINTS, n_rows=3, n_samples=2)


@pytest.fixture
def path(explorer, tmp_path):
    explorer.to_html(tmp_path / "explorer.html")
    return tmp_path / "explorer.html"


def selected(page):
    """Numbers of the places that are shown, and of those that the Tab key reaches."""
    options = re.findall(r'<g role="option"[^>]*>', page)
    return tuple(
        [int(re.search(r'data-place="(\d+)"', own)[1]) for own in options if mark in own]
        for mark in ('aria-selected="true"', 'tabindex="0"')
    )


def shown_numbers(page, n_layers):
    """Targets and measured rates in the table of rates, and metrics in theirs."""
    rates = data(part(page, "rates")).reshape(n_layers, -1)
    metrics = [data(row)[0] for row in part(page, "metrics").split("<tr>")[2:]]
    return [*rates[:, 0], *rates[:, 1], *metrics], rates[:, 2:]


@pytest.mark.parametrize("place", [0, 5])
def test_the_numbers_of_a_place_are_those_of_the_frame(explorer, path, place):
    page = browse(path, place)
    frame = explorer.rate_map.to_frame()
    numbers, others = shown_numbers(page, 2)
    cumulative, bounds = others.T
    assert numbers == frame.loc[place].tolist()
    rates = explorer.rate_map.rates[place]
    assert cumulative.tolist() == [rates.sum(), rates[1]]
    assert bounds == pytest.approx(accuracy_bound(cumulative, [1 / 3] * 3))
    all_numbers = data(part(page, "numbers")).reshape(frame.shape)
    assert np.array_equal(all_numbers, frame.to_numpy())
    assert selected(page) == ([place], [place])


def test_it_opens_at_what_is_recommended(explorer, path):
    page = browse(path)
    ((place,), _) = selected(page)
    advice = recommend_rates(explorer.rate_map, "accuracy:knn")
    assert tuple(POINTS[place]) == advice.layer_rates
    assert html.unescape(part(page, "reason")).count(advice.reason) == 1
    assert "★" in page


def test_text_stays_text(path):
    page = browse(path, 0)
    assert "row 0: &lt;i&gt;setosa&lt;/i&gt;" in page
    assert "<i>" not in page


def test_pointing_looks_clicking_stays(multi, iris, tmp_path):
    explorer = multi.explore(iris, layer_rates=POINTS, n_rows=3, image_shape=(2, 2))
    path = tmp_path / "images.html"
    explorer.to_html(path)
    first = browse(path, 0)
    pointed = browse(path, 0, POINT + 'pointAt(8, "pointermove")')
    assert selected(pointed) == ([8], [0])
    left = browse(path, 0, POINT + 'pointAt(8, "pointermove"); pointAt(8, "pointerleave")')
    clicked = browse(path, 0, POINT + 'pointAt(8, "click"); pointAt(0, "pointerleave")')
    pictures = [part(own, "images") for own in (first, pointed, left, clicked)]
    assert pictures[0] == pictures[2] != pictures[1] == pictures[3]
    assert pictures[0].count("<img") == 1 + 2 + 1
    assert shown_numbers(pointed, 2)[0] == explorer.rate_map.to_frame().loc[8].tolist()


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["ArrowRight"], 5),  # more of z2
        (["ArrowUp"], 7),  # more of z1
        (["ArrowDown", "ArrowLeft"], 0),
        (["ArrowRight", "ArrowRight"], 5),  # the end
        (["End"], 8),
        (["Home"], 0),
    ],
)
def test_keys_move(path, keys, place):
    presses = "".join(f'press("{key}");' for key in keys)
    page = browse(
        path, 4, POINT + """document.querySelector('[data-place="4"]').focus();""" + presses
    )
    assert selected(page) == ([place], [place])


def test_another_metric_has_its_own_recommendation(explorer, path):
    page = browse(path, 0, POINT + 'choose("metric", 1, "change")')
    assert "Places of the map of psnr (dB)" in page
    reason = html.unescape(part(page, "reason"))
    assert "By psnr (dB): " in reason
    assert f"{explorer.rate_map.values('psnr').max():.3g}" in reason


def made_up(n_layers):
    points = np.array(rate_grid(*[[1, 2, 4]] * n_layers))
    return RateMap(points, 1.1 * points, {"psnr": points.sum(axis=1)})


def test_sliders_and_axes_of_more_layers(tmp_path):
    surface, path = made_up(3), tmp_path / "map.html"
    surface.to_html(path)
    page = browse(path, 0)
    assert len(re.findall('<g role="option"', page)) == 9
    page = browse(path, 0, POINT + 'choose("slider-2", 2, "input")')
    ((place,), _) = selected(page)
    assert surface.layer_rates[place].tolist() == [1, 1, 4]
    page = browse(path, 0, POINT + 'choose("axis-0", 2, "change")')
    options = [int(n) for n in re.findall(r'data-place="(\d+)"', page)]
    assert set(surface.layer_rates[options, 1]) == {1}
    assert "target rate of z3 (bits)" in page
    assert 'id="slider-1"' in page


def test_a_curve_for_one_layer(tmp_path):
    surface, path = made_up(1), tmp_path / "map.html"
    surface.to_html(path)
    script = """document.querySelector('[data-place="0"]').focus(); press("ArrowRight")"""
    page = browse(path, 0, POINT + script)
    assert selected(page) == ([1], [1])
    assert "measured rate of z1 (bits)" in page


def test_places_that_are_no_grid(tmp_path):
    surface, path = made_up(2), tmp_path / "map.html"
    some = [0, 4, 5]
    values = {"psnr": np.array([1.0, np.nan, 3.0])}
    RateMap(surface.layer_rates[some], surface.rates[some], values).to_html(path)
    page = browse(path, 1)
    assert len(re.findall(r'<g role="option"[^>]*><circle', page)) == 3
    assert "psnr (dB) \N{EN DASH}" in page


@pytest.mark.parametrize("width", ["0", "900px"])
def test_a_frame_in_another_page(explorer, tmp_path, width):
    path = tmp_path / "notebook.html"
    frame = explorer._repr_html_()
    path.write_text(f'<!doctype html><body><div style="width: {width}">{frame}</div></body>')
    assert '<iframe srcdoc="' in browse(path)  # which finds no errors


def test_it_fits_a_phone(path):
    script = """document.title = [document.documentElement.scrollWidth, innerWidth].join(" ");"""
    page = browse(path, 0, script, size=(500, 844))
    width, window = map(int, re.search("<title>(.*)</title>", page)[1].split())
    assert width <= window


def test_what_screen_readers_and_keyboards_need(path):
    page = browse(path, 0)
    assert re.search(
        r'<svg [^>]*role="listbox" aria-label="Places of the map of accuracy:knn"', page
    )
    labels = re.findall(r'role="option" aria-label="([^"]*)"', page)
    assert len(labels) == len(POINTS)
    assert all("bits in z1" in label or "bit in z1" in label for label in labels)
    assert re.search(r'id="status" role="status"', page)
    assert re.search(r'<canvas role="img" aria-label="Latents of 150 rows', page)
    assert page.count("<caption>") >= 4
