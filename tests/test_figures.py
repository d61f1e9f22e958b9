"""Figures follow the page's theme, fit their texts, and are saved whole."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from reports import figures


def test_palette_colours_follow_the_theme_of_the_page():
    figure, axes = figures.new_figure(300, 200)
    figures.draw_curves(axes, [1, 2, 3], [("training", [1, 2, 3], figures.TRAINING)])
    svg = figures.figure_to_svg(figure, "a <b>")
    assert f"stroke: var(--training, {figures.TRAINING})" in svg
    light = "|".join(colour for colour, _ in figures.PALETTE.values())
    assert not re.search(f"(fill|stroke): ({light})", svg)
    element = ElementTree.fromstring(svg)
    assert element.get("aria-label") == "a <b>" and element.get("width") is None
    for name in figures.PALETTE:
        assert figures.FIGURE_CSS.count(f"--{name}:") == 3


def test_curve_names_do_not_overlap():
    figure, axes = figures.new_figure(430, 250)
    curves = [
        ("a", [3, 1.0], figures.INK),
        ("b", [2, 1.001], figures.INK),
        ("c", [0, 9], figures.INK),
    ]
    figures.draw_curves(axes, [1, 2], curves)
    figure.savefig(io.BytesIO(), format="png")
    heights = [axes.transData.transform(text.xy)[1] for text in axes.texts]
    assert (np.diff(sorted(heights)) > 11).all()


def test_save_png_has_two_pixels_per_css_pixel(tmp_path):
    figure, _ = figures.new_figure(300, 200, rows=2, columns=2, note="stand-in data")
    path = figures.save_png(figure, tmp_path / "x.png")
    assert imread(str(path)).shape[:2] == (400, 600)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_an_image_in_a_page_has_at_most_the_largest_side():
    uri = figures.image_to_uri(np.zeros((300, 100, 1), np.uint8), largest_side=96)
    pixels = imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert pixels.shape[:2] == (75, 25)
    with pytest.raises(ValueError, match="float64"):
        figures.image_to_uri(np.zeros((3, 3, 3)))


def test_in_a_heat_image_strength_is_opacity_and_the_strongest_wins():
    image = figures.heat_image(
        [(np.array([[0.2, 0.9]]), "#ff0000"), (np.array([[0.5, 0.1]]), "#0000ff")]
    )
    assert image[0].tolist() == [[0, 0, 1, 0.5], [1, 0, 0, 0.9]]
