"""Plots show the numbers they are given; small maps show the labels in the palette."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from iikmc.core import plots
from iikmc.core.palette import colours

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures that are drawn."""
    pytest.importorskip("matplotlib")
    figures, encode = [], plots.png
    monkeypatch.setattr(plots, "png", lambda figure: figures.append(figure) or encode(figure))
    return figures


def lines(figure):
    return figure.axes[0].get_lines()


def test_a_signature_plot_has_each_class_in_its_colour(drawn):
    signatures = np.array([[10.0, 20.0, 30.0], [5.0, 5.0, 1.0]])
    png = plots.signature_plot(signatures, ["B2", "B3", "B8"], colours(2))
    assert png.startswith(PNG)
    for line, values, colour in zip(lines(drawn[0]), signatures, colours(2)):
        assert line.get_ydata().tolist() == values.tolist()
        assert line.get_color() == tuple(value / 255 for value in colour)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["B2", "B3", "B8"]
    assert {text.get_text() for text in axes.texts} == {"1", "2"}


def test_numbers_at_close_lines_are_moved_apart(drawn):
    plots.signature_plot(np.array([[0.0], [100.0], [100.0], [100.1]]), ["B"], colours(4))
    places = sorted(text.xy[1] for text in drawn[0].axes[0].texts)
    assert np.diff(places).min() > 3


def test_a_band_name_is_no_formula(drawn):
    assert plots.signature_plot(np.ones((2, 2)), ["$a$", r"$\frac{"], colours(2)).startswith(PNG)


@pytest.mark.parametrize(("classes", "bands"), [(2, 1), (254, 4), (8, 70)])
def test_signature_plots_of_any_size(drawn, classes, bands):
    signatures = np.random.default_rng(0).normal(size=(classes, bands))
    names = [f"Band {number}" for number in range(bands)]
    assert plots.signature_plot(signatures, names, colours(classes)).startswith(PNG)


def test_an_area_plot_stacks_the_classes(drawn):
    areas = np.array([[1.0, 2.0, 4.0], [3.0, 0.0, 4.0]])
    plots.area_plot(areas, ["2020-01-01", "2020-02-01"], colours(3), "Hectares")
    axes = drawn[0].axes[0]
    stacks = axes.collections[:3]
    for stack, colour, top in zip(stacks, colours(3), np.cumsum(areas, axis=1).max(axis=0)):
        assert stack.get_facecolor()[0][:3] == pytest.approx([value / 255 for value in colour])
        assert stack.get_paths()[0].vertices[:, 1].max() == top
    lowest = stacks[0].get_paths()[0]
    for place, area in enumerate(areas[:, 0]):
        for x in (place - 0.4, place + 0.4):
            assert lowest.contains_point((x, area - 0.1))
            assert not lowest.contains_point((x, area + 0.1))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2020-01-01", "2020-02-01"]


@pytest.mark.parametrize("dates", [1, 11, 200])
def test_date_labels_stay_few(drawn, dates):
    names = [f"date {number}" for number in range(dates)]
    plots.area_plot(np.ones((dates, 2)), names, colours(2), "Pixels")
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert labels[0] == "date 0"
    assert 1 <= len(labels) <= 30


def test_a_convergence_plot_shows_zeros_as_open_circles_on_its_floor(drawn):
    plots.convergence_plot([1.0, 0.01, 0.0], None, 1e-4)
    axes = drawn[0].axes[0]
    floor = axes.get_ylim()[0]
    assert floor == pytest.approx(1e-5)
    assert axes.get_yscale() == "log"
    curve, full, circles, tolerance = lines(drawn[0])
    assert curve.get_ydata().tolist() == pytest.approx([1.0, 0.01, floor])
    assert full.get_ydata().tolist() == [1.0, 0.01]
    assert circles.get_xydata().tolist() == [[3.0, pytest.approx(floor)]]
    assert circles.get_markerfacecolor() == "white"
    assert list(tolerance.get_ydata()) == [1e-4, 1e-4]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["share of pixels that changed class", "none", "tolerance"]


def test_a_convergence_plot_shows_the_shift_where_it_decides(drawn):
    plots.convergence_plot([1.0, 0.1], [0.5, 0.02], 0.001)
    curves = [list(line.get_ydata()) for line in lines(drawn[0])]
    assert [1.0, 0.1] in curves
    assert [0.5, 0.02] in curves


@pytest.mark.parametrize("changed", [[1.0], [0.0], [0.0, 0.0]])
def test_a_convergence_plot_of_hardly_anything(drawn, changed):
    assert plots.convergence_plot(changed, None, 0.0).startswith(PNG)


def test_plots_are_drawn_beside_the_main_thread_and_without_pyplot(drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    done = []
    thread = threading.Thread(
        target=lambda: done.append(plots.convergence_plot([1.0, 0.1], None, 1e-4))
    )
    thread.start()
    thread.join()
    assert done[0].startswith(PNG)


def test_without_matplotlib_plots_are_not_available(monkeypatch):
    pytest.importorskip("matplotlib")
    assert plots.available()
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not plots.available()


@pytest.mark.parametrize("classes", [1, 6, 254])
def test_a_map_holds_the_labels_in_the_palette(classes):
    labels = np.random.default_rng(1).integers(0, classes + 1, (7, 11)).astype(np.uint8)
    labels[0, :2] = 0, classes
    with MemoryFile(plots.label_png(labels, colours(classes))) as file, file.open() as image:
        assert np.array_equal(image.read(1), labels)
        table = image.colormap(1)
        assert image.colorinterp[0] == rasterio.enums.ColorInterp.palette
    assert table[0][3] == 0
    for number, colour in enumerate(colours(classes), start=1):
        assert table[number] == (*colour, 255)


def test_a_map_without_any_class_is_transparent():
    png = plots.label_png(np.zeros((2, 3), np.uint8), colours(4))
    with MemoryFile(png) as file, file.open() as image:
        assert image.shape == (2, 3)
        assert image.colormap(1)[0][3] == 0
