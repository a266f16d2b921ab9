"""Areas, transitions and rasters of changes are those counted by hand, whatever the windows."""

from __future__ import annotations

import csv
import datetime as dt

import numpy as np
import pytest
import rasterio
from class_rasters import DATES, grid_of, read, styles, write_series
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import plots
from iikmc.core.areas import ClassAreas
from iikmc.core.errors import Cancelled, DateError
from iikmc.core.files import StagedOutputs
from iikmc.core.grid import Window
from iikmc.core.interpret import label_series
from iikmc.core.interpret.change_report import write_change_report
from iikmc.core.interpret.changes import (
    NO_COUNT,
    NO_DATE,
    choose_dates,
    code_of,
    measure_changes,
    write_areas,
    write_transitions,
)
from iikmc.core.interpret.label_series import open_labels
from iikmc.core.interpret.transitions import TransitionTally, tally
from iikmc.core.monitor import Monitor
from iikmc.core.raster.tables import read_table

NAMES = ("Forest", "Bare", "Water")
# Four dates of six pixels; classes 1 to 3.
STACK = np.array(
    [
        [[1, 1, 2], [2, 0, 3]],
        [[1, 2, 2], [2, 0, 0]],
        [[1, 1, 3], [2, 1, 3]],
        [[1, 2, 3], [2, 0, 2]],
    ]
)
RASTERS = ("change_count.tif", "last_change.tif", "from_to.tif", "majority.tif")


def run(paths, folder, report=False, **options):
    labels = open_labels(paths)
    with StagedOutputs() as outputs:
        found = measure_changes(labels, folder, outputs, **options)
        write_areas(outputs.file(folder / "areas.csv"), found)
        write_transitions(outputs.file(folder / "transitions.csv"), found)
        if report:
            write_change_report(outputs.file(folder / "report.html"), found)
    return found


@pytest.fixture
def by_hand(tmp_path):
    """The outputs for four dates of six pixels."""
    folder = tmp_path / "out"
    return run(write_series(tmp_path / "in", STACK, 3, names=NAMES), folder), folder


def table(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_number_and_date_of_changes(by_hand):
    found, folder = by_hand
    assert read(folder / "change_count.tif").tolist() == [[0, 3, 1], [0, NO_COUNT, 1]]
    # The fifth pixel is valid once; the sixth is 3, none, 3, 2.
    last = [[0, 20190415, 20190315], [0, NO_DATE, 20190415]]
    assert read(folder / "last_change.tif").tolist() == last
    assert found.counts.tolist() == [2, 2, 0, 1]
    assert found.lasts.tolist() == [0, 0, 1, 2]


def test_from_to_and_majority(by_hand):
    _, folder = by_hand
    # 1 → 1, 1 → 2, 2 → 3; 2 → 2, not valid, 3 → 2.
    assert read(folder / "from_to.tif").tolist() == [[1, 2, 6], [5, 0, 8]]
    assert code_of(3, 2, 3) == 8
    # 1 and 2 come twice each in the second pixel, 2 and 3 in the third: the lower wins.
    assert read(folder / "majority.tif").tolist() == [[1, 1, 2], [2, 1, 3]]


def test_rasters_say_what_their_values_mean(by_hand):
    _, folder = by_hand
    kinds = {}
    for name in RASTERS:
        with rasterio.open(folder / name) as raster:
            kinds[name] = (raster.dtypes[0], raster.nodata)
            assert raster.transform == rasterio.Affine(*grid_of(2, 3).transform)
            if name == "from_to.tif":
                assert raster.tags()["CODE"] == "(from - 1) * 3 + to"
                assert raster.tags()["FROM_DATE"] == "2019-01-15"
            else:
                assert raster.tags()["LAST_DATE"] == "2019-04-15"
    assert kinds == {
        "change_count.tif": ("uint16", 65_535),
        "last_change.tif": ("int32", -1),
        "from_to.tif": ("uint16", 0),
        "majority.tif": ("uint8", 0),
    }
    assert read_table(folder / "from_to.tif").names == {
        1: "Forest (unchanged)",
        2: "Forest → Bare",
        5: "Bare (unchanged)",
        6: "Bare → Water",
        8: "Water → Bare",
    }
    colours = read_table(folder / "from_to.tif").colours
    assert len(set(colours.values())) == 5
    assert min(colours[1]) > 190, "what kept its class is pale"
    assert min(colours[2]) < 100
    names = read_table(folder / "last_change.tif").names
    assert names == {20190315: "2019-03-15", 20190415: "2019-04-15"}
    majority = read_table(folder / "majority.tif")
    assert [majority.names[number] for number in (1, 2, 3)] == list(NAMES)
    assert [majority.colours[item.number] for item in styles(3)] == [
        item.colour for item in styles(3)
    ]


def test_tables_by_hand(by_hand):
    found, folder = by_hand
    areas = table(folder / "areas.csv")
    assert len(areas) == 4 * 3
    assert list(areas[0].values()) == [
        *("2019-01-15", "place_2019-01-15_classes", "1", "Forest", "2", "0.02", "0.4"),
    ]
    assert found.class_pixels.tolist() == [[2, 2, 1], [1, 3, 0], [3, 1, 2], [1, 3, 1]]
    rows = table(folder / "transitions.csv")
    chosen = [row for row in rows if row["from_date"] == "2019-01-15"]
    chosen = [row for row in chosen if row["to_date"] == "2019-04-15"]
    assert rows[: len(chosen)] == chosen, "from FROM to TO comes first"
    assert [
        (row["from_name"], row["to_name"], row["pixels"], row["hectares"]) for row in chosen
    ] == [
        ("Forest", "Forest", "1", "0.01"),
        ("Forest", "Bare", "1", "0.01"),
        ("Bare", "Bare", "1", "0.01"),
        ("Bare", "Water", "1", "0.01"),
        ("Water", "Bare", "1", "0.01"),
    ]
    steps = [row for row in rows if row not in chosen]
    assert sum(int(row["pixels"]) for row in steps) == 4 + 4 + 5
    assert {(row["from_date"], row["to_date"]) for row in steps} == {
        (f"{first}", f"{second}") for first, second in zip(DATES[:3], DATES[1:4])
    }


def test_two_dates_are_listed_once(tmp_path):
    folder = tmp_path / "out"
    run(write_series(tmp_path / "in", STACK[:2], 3), folder)
    assert sum(int(row["pixels"]) for row in table(folder / "transitions.csv")) == 4


def test_dates_that_are_chosen(tmp_path):
    folder = tmp_path / "out"
    paths = write_series(tmp_path / "in", STACK, 3)
    found = run(paths, folder, since=DATES[1], until=DATES[2])
    assert read(folder / "from_to.tif").tolist() == [[1, 4, 6], [5, 0, 0]]
    assert (found.between.first, found.between.second) == (1, 2)
    # The others are of all dates.
    assert read(folder / "change_count.tif")[0, 1] == 3


def test_dates_that_cannot_be_chosen(tmp_path):
    labels = open_labels(write_series(tmp_path, STACK, 3))
    for since, until, sentence in (
        (dt.date(2019, 2, 1), None, "FROM is 2019-02-01, .* nearest are 2019-01-15 and 2019-02-15"),
        (dt.date(1999, 1, 1), None, "FROM is 1999-01-01, .* the nearest is 2019-01-15"),
        (None, dt.date(2033, 1, 1), "TO is 2033-01-01, .* the nearest is 2019-04-15"),
        (DATES[1], DATES[1], "FROM is 2019-02-15, which is TO as well"),
        (DATES[2], DATES[1], "FROM is 2019-03-15, which comes after TO, 2019-02-15"),
    ):
        with pytest.raises(DateError, match=sentence):
            choose_dates(labels, since, until)
    assert choose_dates(labels, None, None) == (0, 3)


def test_areas_in_a_geographic_crs_are_those_of_the_ellipsoid(tmp_path):
    stack = np.random.default_rng(0).integers(0, 4, (3, 300, 40))
    found = run(write_series(tmp_path / "in", stack, 3, geographic=True), tmp_path / "out")
    grid = open_labels(sorted((tmp_path / "in").glob("*.tif"))).grid
    for place, plane in enumerate(stack):
        areas = ClassAreas(grid, 3)
        areas.add(Window(0, 0, 300, 40), plane)
        np.testing.assert_allclose(
            found.class_hectares[place], areas.hectares(found.class_pixels[place]), rtol=1e-9
        )
    expected = np.zeros((3, 3))
    for row, hectares in enumerate(grid.row_hectares()):
        for first, second in zip(stack[0, row], stack[2, row]):
            if first and second:
                expected[first - 1, second - 1] += hectares
    np.testing.assert_allclose(found.between.hectares, expected, rtol=1e-9)


def test_areas_that_cannot_be_known_are_left_out(tmp_path):
    paths = write_series(tmp_path / "in", STACK, 3)
    for path in paths:
        with rasterio.open(path, "r+") as raster:
            raster.crs = rasterio.CRS()
    found = run(paths, tmp_path / "out", report=True)
    assert found.class_hectares is None
    assert {row["hectares"] for row in table(tmp_path / "out" / "areas.csv")} == {""}
    assert {row["hectares"] for row in table(tmp_path / "out" / "transitions.csv")} == {""}
    assert "Areas are in pixels" in (tmp_path / "out" / "report.html").read_text("utf-8")


@given(st.data())
def test_sums_of_ground_do_not_depend_on_windows(data):
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 20))
    grid = grid_of(height, width, geographic=True)
    ranks = np.random.default_rng(height).integers(0, 4, (3, height, width)).astype(np.uint8)
    pairs = [(0, 0), (0, 1), (0, 2)]
    whole, parts = TransitionTally(3, pairs, grid), TransitionTally(3, pairs, grid)
    whole.add(Window(0, 0, height, width), ranks)
    rows = sorted(data.draw(st.sets(st.integers(1, height))) | {0, height})
    cuts = list(zip(rows, rows[1:]))
    for top, bottom in data.draw(st.permutations(cuts)):
        parts.add(Window(top, 0, bottom - top, width), ranks[:, top:bottom])
    np.testing.assert_array_equal(whole.pixels, parts.pixels)
    assert whole.hectares().tolist() == parts.hectares().tolist()
    np.testing.assert_array_equal(whole.pixels[1], tally(ranks[0].ravel(), ranks[1].ravel(), 3))


@pytest.mark.parametrize(("pixels", "threads"), [(1, 3), (7, 2), (50, 1), (10**6, 4)])
def test_windows_and_threads_do_not_matter(tmp_path, monkeypatch, pixels, threads):
    stack = np.random.default_rng(pixels).integers(0, 6, (5, 23, 17))
    paths = write_series(tmp_path / "in", stack, 5)
    run(paths, tmp_path / "one", threads=1)
    cut = label_series.windows_of(open_labels(paths).grid, (1, 17), pixels)
    monkeypatch.setattr(label_series, "windows_of", lambda *_: cut)
    run(paths, tmp_path / "other", threads=threads)
    for name in RASTERS:
        np.testing.assert_array_equal(
            read(tmp_path / "one" / name), read(tmp_path / "other" / name)
        )
    for name in ("areas.csv", "transitions.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_nothing_valid_anywhere(tmp_path):
    paths = write_series(tmp_path / "in", np.zeros((3, 4, 5)), 2)
    found = run(paths, tmp_path / "out", report=True)
    assert found.between.pixels.sum() == 0 and found.most_changes == 0
    values = {name: set(read(tmp_path / "out" / name).flat) for name in RASTERS}
    assert values == dict(zip(RASTERS, ({NO_COUNT}, {NO_DATE}, {0}, {0})))
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "No pixel is valid on 2019-01-15 and on 2019-03-15." in text
    assert "nan" not in text.split("</style>")[1].split("base64")[0]


def test_one_class_everywhere(tmp_path):
    found = run(write_series(tmp_path / "in", np.ones((3, 4, 5)), 1), tmp_path / "out", report=True)
    assert found.between.pixels.tolist() == [[20]]
    assert set(read(tmp_path / "out" / "last_change.tif").flat) == {0}
    assert "No pixel changed class" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_classes_with_numbers_of_their_own(tmp_path, make_scene):
    planes = np.array([[[111, 523]], [[523, 523]], [[523, 111]]], np.uint16)
    paths = [make_scene(f"c_201{place}0101", plane) for place, plane in enumerate(planes)]
    run(paths, tmp_path / "out")
    assert read(tmp_path / "out" / "majority.tif").tolist() == [[523, 523]]
    assert read_table(tmp_path / "out" / "majority.tif").numbers == (111, 523)
    # Places in the list of classes: 1 → 2 and 2 → 1.
    assert read(tmp_path / "out" / "from_to.tif").tolist() == [[2, 3]]
    assert read_table(tmp_path / "out" / "from_to.tif").names[2] == "Class 111 → Class 523"


def test_254_classes(tmp_path):
    stack = np.arange(1, 255).reshape(1, 2, 127).repeat(2, 0)
    stack[1] = 255 - stack[0]
    run(write_series(tmp_path / "in", stack, 254), tmp_path / "out", report=True)
    codes = read(tmp_path / "out" / "from_to.tif").astype(int)
    np.testing.assert_array_equal((codes - 1) // 254 + 1, stack[0])
    np.testing.assert_array_equal((codes - 1) % 254 + 1, stack[1])


class Until(Monitor):
    """Cancels once a run has come so far."""

    def __init__(self, stop):
        self._stop, self._at = stop, 0.0

    def progress(self, fraction):
        self._at = fraction

    def cancelled(self):
        return self._at >= self._stop


@pytest.mark.parametrize("stop", [0.0, 0.3, 0.92])
def test_cancel_leaves_nothing(tmp_path, stop):
    stack = np.random.default_rng(0).integers(1, 4, (4, 900, 700))
    paths = write_series(tmp_path / "in", stack, 3)
    with pytest.raises(Cancelled):
        run(paths, tmp_path / "out", monitor=Until(stop))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("drawn", [True, False])
def test_report_says_it_all(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(plots, "available", lambda: drawn)
    paths = write_series(tmp_path / "in", STACK, 3, names=("Wood & <heath>",))
    run(paths, tmp_path / "out", report=True)
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<heath>" not in text and "Wood &amp; &lt;heath" in text
    for part in ("From 2019-01-15 to 2019-04-15", "Class areas", "From each date to the next"):
        assert part in text
    # 3 of 5 pixels changed.
    assert "60.0" in text and "0.03 hectares of 0.05 hectares" in text
    assert text.count("data:image/png") == (4 + 4 if drawn else 4)
