"""The report is one file that says everything, reads well at any size, and trusts no name."""

from __future__ import annotations

import base64
import datetime as dt
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from class_rasters import write_plane
from rasterio.io import MemoryFile

from iikmc.core import raster, report
from iikmc.core.classify import ClassifiedScene
from iikmc.core.codes import CodeGrid
from iikmc.core.errors import Cancelled, OutputError
from iikmc.core.grid import Grid
from iikmc.core.model import ClassModel
from iikmc.core.monitor import Monitor
from iikmc.core.palette import colours
from iikmc.core.quality import Quality
from iikmc.core.records import FitRecord, FitSettings, RunRecord, SceneRecord
from iikmc.core.scores import FeatureSpace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 20, 30
GRID = Grid("EPSG:32634", (500_000.0, 10.0, 0.0, 5_000_000.0, 0.0, -10.0), WIDTH, HEIGHT, 1.0)
DATES = (dt.date(2018, 4, 2), dt.date(2018, 6, 30), dt.date(2019, 7, 1))


class Page(HTMLParser):
    """A page taken apart: its text, tags with attributes, and tables as rows of cells."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._caption = ""
        self._text: list[str] = []
        self.feed(source)
        for rows in self.tables.values():
            rows[:] = [[cell.strip() for cell in row] for row in rows]
        self.text = re.sub(r"\s+", " ", "".join(self._text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._caption = ""
        elif tag == "tr":
            self.tables[self._caption.strip()].append([])
        elif tag in {"td", "th"}:
            self.tables[self._caption.strip()][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self.tables[self._caption.strip()] = []

    def handle_data(self, data: str) -> None:
        inside = self.tags[-1][0] if self.tags else ""
        if inside == "style":
            return
        self._text.append(data)
        if inside == "caption":
            self._caption += data
        elif inside in {"td", "th", "small", "i"} and self.tables:
            self.tables[self._caption.strip()][-1][-1] += data

    def images(self, start: str) -> list[dict[str, str | None]]:
        """Return the images whose alternative text starts so."""
        return [
            found for tag, found in self.tags if tag == "img" and found["alt"].startswith(start)
        ]


def label_rasters(folder, classes, count=3, seed=0):
    """Write rasters of class numbers, a tenth of them nodata; return the scenes."""
    rng = np.random.default_rng(seed)
    scenes = []
    for rank, date in enumerate(DATES[:count]):
        labels = rng.integers(1, classes + 1, (HEIGHT, WIDTH)).astype(np.uint8)
        labels[: 2 * rank] = 0
        name = f"scene_{date:%Y%m%d}"
        path = folder / f"{name}_classes.tif"
        styles = [
            raster.ClassStyle(number, f"Class {number}", colour)
            for number, colour in enumerate(colours(classes), start=1)
        ]
        write_plane(path, GRID, styles, date, labels)
        pixels = np.bincount(labels.ravel(), minlength=classes + 1)[1:]
        scenes.append(
            ClassifiedScene(name, date, Path("out") / path.name, path, pixels, pixels / 100)
        )
    return scenes


def model_of(scenes, bands=("B2", "B8"), names=None):
    classes = len(scenes[0].class_pixels)
    grids = (CodeGrid(0, 1.0),) * len(bands)
    space = FeatureSpace(grids, (1000,) * len(bands), (1.0,) * len(bands))
    settings = FitSettings(
        classes=classes,
        init="k-means++",
        strategy="full",
        sample_fraction=0.02,
        max_iter=50,
        stop_rule="changed",
        tol=0.001,
        empty="relocate",
        order="size",
        seed=7,
    )
    records = tuple(
        SceneRecord(
            scene.name,
            scene.date,
            int(scene.class_pixels.sum()),
            tuple(scene.class_pixels.tolist()),
            (0, 0, 15, HEIGHT * WIDTH - int(scene.class_pixels.sum()) - 15, 0),
        )
        for scene in scenes
    )
    changed = (1.0, 0.08, 0.01, 0.0008)
    fit = FitRecord(
        settings=settings,
        n_iter=4,
        sample_iterations=0,
        sample_pixels=0,
        converged=True,
        changed=changed,
        shift=changed,
        inertia=1e9,
        saturated=(0,) * len(bands),
        scenes=records,
        quality=Quality(
            simplified_silhouette=0.5,
            class_silhouettes=tuple(number / 1000 for number in range(classes)),
            class_distances=tuple(2.5 * number for number in range(classes)),
            silhouette=-0.0625,
            silhouette_pixels=500,
            davies_bouldin=0.75,
            calinski_harabasz=123456.0,
        ),
    )
    return ClassModel(
        band_names=tuple(bands),
        space=space,
        centres=np.arange(classes * len(bands), dtype=np.float64).reshape(classes, -1) * 10,
        names=tuple(names or (f"Class {number + 1}" for number in range(classes))),
        colours=colours(classes),
        fit=fit,
        run=RunRecord("numba", 3, (("reading", 1.5), ("fitting", 2.25))),
    )


@pytest.fixture
def scenes(tmp_path):
    return label_rasters(tmp_path, 4)


def written(tmp_path, model, scenes, **options):
    path = tmp_path / "staged" / "report.html"
    path.parent.mkdir(exist_ok=True)
    report.write_report(path, model, scenes, GRID, **options)
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]
    return path.read_text("utf-8")


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_file_needs_nothing_else(tmp_path, scenes):
    source = written(tmp_path, model_of(scenes), scenes)
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert "href" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "url(" not in source
    assert "@import" not in source


def test_the_lead_says_what_was_done_and_how_it_ended(tmp_path, scenes):
    text = plain(Page(written(tmp_path, model_of(scenes), scenes, title="Karst")).text)
    pixels = sum(int(scene.class_pixels.sum()) for scene in scenes)
    assert pixels == 1620
    assert (
        "3 scenes, 2018-04-02 to 2019-07-01, with 1,620 valid pixels in 4 classes that mean the "
        "same on every date. The fit converged after 4 iterations: in the last, 0.08 % of the "
        "pixels changed class (tolerance 0.1 %)." in text
    )
    assert "Karst" in text
    assert "90 % of the grid" in text.replace("90.0 %", "90 %")
    assert "root mean square distance 785.7" in text  # (1e9 / 1620)^½


def test_class_areas_are_hectares_and_shares(tmp_path, scenes):
    page = Page(written(tmp_path, model_of(scenes), scenes))
    rows = page.tables["Area in hectares, and share of the date's valid area"]
    assert rows[0] == ["Date", "Valid area", "Class 1", "Class 2", "Class 3", "Class 4"]
    for row, scene in zip(rows[1:], scenes):
        total = scene.hectares.sum()
        assert row[0] == f"{scene.date}"
        assert float(row[1]) == pytest.approx(total, abs=0.001)
        for cell, area in zip(row[2:], scene.hectares):
            assert plain(cell) == f"{area:.3f} {100 * area / total:.1f} %"
    assert rows[-1][0] == "Mean"
    assert float(rows[-1][1]) == pytest.approx(5.4, abs=0.001)


def test_areas_are_pixels_where_the_crs_does_not_say(tmp_path, scenes):
    unknown = [replace(scene, hectares=None) for scene in scenes]
    page = Page(written(tmp_path, model_of(unknown), unknown))
    rows = page.tables["Area in pixels, and share of the date's valid area"]
    assert rows[1][1] == "600"
    assert rows[1][2].startswith(f"{scenes[0].class_pixels[0]} ")
    assert "the CRS does not say how large a pixel is" in page.text


def test_signatures_are_in_the_units_of_the_input(tmp_path, scenes):
    model = model_of(scenes)
    rows = Page(written(tmp_path, model, scenes)).tables["Class centres, in the input's units"]
    assert rows[0] == ["Class", "Number", "Pixels", "B2", "B8"]
    for number, (row, signature) in enumerate(zip(rows[1:], model.signatures), start=1):
        pixels = sum(int(scene.class_pixels[number - 1]) for scene in scenes)
        expected = [f"Class {number}", f"{number}", f"{pixels}"]
        assert row == [*expected, *(f"{value:,.0f}" for value in signature)]


def test_every_iteration_is_in_the_table(tmp_path, scenes):
    rows = Page(written(tmp_path, model_of(scenes), scenes)).tables["All iterations"]
    assert [plain(row[1]) for row in rows[1:]] == ["100 %", "8 %", "1 %", "0.08 %"]
    assert rows[2][2] == "130"  # 8 % of 1,620


def test_quality_says_what_was_measured_on_which_pixels(tmp_path, scenes):
    page = Page(written(tmp_path, model_of(scenes), scenes))
    rows = page.tables["All classes together, over the scenes of the fit"]
    assert [row[:3] for row in rows[1:]] == [
        ["Simplified silhouette", "0.500", "all 1,620 pixels"],
        ["Silhouette", "−0.062", "a sample of 500, even over scenes and places"],
        ["Davies-Bouldin", "0.750", "all 1,620 pixels"],
        ["Calinski-Harabasz", "123,456", "all 1,620 pixels"],
    ]
    assert page.text.index("Convergence") < page.text.index("All classes together")


def test_quality_of_each_class_names_its_nearest(tmp_path, scenes):
    model = model_of(scenes)
    rows = Page(written(tmp_path, model, scenes)).tables[
        "Class by class, distances in the input's units"
    ]
    # Signatures lie on a line, 28.28 apart; of two that are as near, the first is named.
    nearest = ["Class 2", "Class 1", "Class 2", "Class 3"]
    for number, (row, other) in enumerate(zip(rows[1:], nearest)):
        pixels = f"{model.fit.class_pixels[number]}"
        distance = f"{2.5 * number:.2f}"
        assert row == [f"Class {number + 1}", pixels, f"0.00{number}", distance, "28.28", other]


def test_a_class_without_pixels_has_no_quality_and_is_no_neighbour(tmp_path, scenes):
    model = model_of(scenes)
    fit = model.fit
    found = replace(
        fit.quality,
        class_silhouettes=(0.1, None, 0.3, 0.4),
        class_distances=(1.0, None, 1.0, 1.0),
        silhouette=None,
        silhouette_pixels=1620,
        calinski_harabasz=None,
    )
    gone = tuple(
        replace(scene, class_pixels=(5, 0, *scene.class_pixels[2:])) for scene in fit.scenes
    )
    fit = replace(fit, quality=found, scenes=gone)
    page = Page(written(tmp_path, replace(model, fit=fit), scenes))
    rows = page.tables["Class by class, distances in the input's units"]
    assert rows[2] == ["Class 2", "0", "–", "–", "–", "–"]
    assert [row[-1] for row in rows[1:]] == ["Class 3", "–", "Class 4", "Class 3"]
    together = page.tables["All classes together, over the scenes of the fit"]
    assert together[2][1:3] == ["–", "all 1,620 pixels"]
    assert together[4][1] == "–"


def test_a_model_of_an_older_file_has_no_quality(tmp_path, scenes):
    model = model_of(scenes)
    older = replace(model, fit=replace(model.fit, quality=None))
    assert "Not measured: the model's file does not say" in (
        Page(written(tmp_path, older, scenes)).text
    )


def test_what_ran_is_told(tmp_path, scenes):
    page = Page(written(tmp_path, model_of(scenes), scenes, seconds=[("writing", 4.0)]))
    settings = dict(page.tables["Settings"])
    assert settings["Bands"] == "B2, B8"
    assert settings["Grid"] == "30 × 20 pixels, EPSG:32634"
    assert settings["First centres"] == "k-means++"
    assert settings["Iterations at most"] == "50"
    assert settings["Seed"] == "7"
    assert settings["Engine"] == "numba, 3 threads"
    assert page.tables["Seconds"] == [
        ["Reading", "1.50"],
        ["Fitting", "2.25"],
        ["Writing", "4.00"],
        ["All", "7.75"],
    ]
    versions = dict(page.tables["Versions"])
    assert versions["numpy"] == np.__version__
    assert {"iikmc", "Python"} <= set(versions)
    assert page.tables["Scenes"][2] == [
        "2018-06-30",
        "scene_20180630",
        "540",
        "90.0\N{NO-BREAK SPACE}%",
        "2.5\N{NO-BREAK SPACE}% nodata, 7.5\N{NO-BREAK SPACE}% masked",
        "scene_20180630_classes.tif",
    ]


def test_a_model_from_a_file_knows_no_engine(tmp_path, scenes):
    page = Page(written(tmp_path, replace(model_of(scenes), run=None), scenes))
    assert dict(page.tables["Settings"])["Engine"] == "not recorded"
    assert "Seconds" not in page.tables


def test_there_is_a_map_of_every_date_in_the_palette(tmp_path, scenes):
    page = Page(written(tmp_path, model_of(scenes), scenes))
    maps = page.images("Map of the classes")
    assert [image["alt"][-10:] for image in maps] == [f"{date}" for date in DATES]
    for image, scene in zip(maps, scenes):
        assert int(image["width"]) * HEIGHT == int(image["height"]) * WIDTH
        data = base64.b64decode(image["src"].partition("base64,")[2])
        with MemoryFile(data) as file, file.open() as shown:
            assert np.array_equal(shown.read(1), raster.read_preview(scene.staged, 340))
            table = shown.colormap(1)
        assert [table[number][:3] for number in (1, 2, 3, 4)] == list(colours(4))
        assert table[0][3] == 0
    assert "2018-06-30 90.0 % valid" in plain(page.text)


def test_two_scenes_of_one_date_are_told_apart(tmp_path, scenes):
    twins = [replace(scenes[0], name="morning"), replace(scenes[1], name="noon", date=DATES[0])]
    page = Page(written(tmp_path, model_of(twins), twins))
    rows = page.tables["Area in hectares, and share of the date's valid area"]
    assert [row[0] for row in rows[1:3]] == ["2018-04-02 morning", "2018-04-02 noon"]


def test_what_is_odd_is_told_at_the_top(tmp_path, scenes):
    model = model_of(scenes)
    nothing = tuple(
        replace(scene, class_pixels=(*scene.class_pixels[:3], 0)) for scene in model.fit.scenes
    )
    odd = replace(model.fit, converged=False, saturated=(3, 0), scenes=nothing)
    page = Page(written(tmp_path, replace(model, fit=odd), scenes))
    start = page.text.index("Maps")
    assert "not converged" in page.text[:start]
    assert "No pixel of the fit belongs to Class 4" in page.text[:start]
    assert "3 values in B2" in page.text[:start]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "nasty", ['<script>alert("1")</script>', "a & b", "$x$", "日本", "'\"><img>"]
)
def test_names_are_shown_and_never_run(tmp_path, scenes, nasty):
    named = [replace(scenes[0], name=nasty), *scenes[1:]]
    model = model_of(named, bands=(nasty, "B8"), names=(nasty, "b", "c", "d"))
    page = Page(written(tmp_path, model, named, title=nasty))
    assert "script" not in {tag for tag, _ in page.tags}
    assert len(page.images("")) == 3 + len(page.images("Map of the classes"))
    assert page.tables["Class centres, in the input's units"][1][0] == nasty
    assert page.tables["Class centres, in the input's units"][0][3] == nasty
    assert page.tables["Scenes"][1][1] == nasty


def test_without_matplotlib_there_are_sentences_and_all_tables(tmp_path, scenes, monkeypatch):
    pytest.importorskip("matplotlib")
    model = model_of(scenes)
    whole = Page(written(tmp_path, model, scenes))
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    page = Page(written(tmp_path, model, scenes))
    assert len(whole.images("")) == 6
    assert len(page.images("")) == len(page.images("Map of the classes")) == 3
    assert page.text.count("Plots need the Python package matplotlib") == 3
    assert "Plots need" not in whole.text
    assert page.tables.keys() == whole.tables.keys()


def test_every_image_has_an_alternative_text(tmp_path, scenes):
    page = Page(written(tmp_path, model_of(scenes), scenes))
    assert all(found["alt"] for tag, found in page.tags if tag == "img")


def test_the_same_result_gives_the_same_file(tmp_path, scenes):
    model = model_of(scenes)
    assert written(tmp_path, model, scenes) == written(tmp_path, model, scenes)


def test_the_smallest_report(tmp_path):
    scenes = label_rasters(tmp_path, 2, count=1)
    model = model_of(scenes, bands=("B1",))
    fit = replace(model.fit, n_iter=1, changed=(1.0,), shift=(0.0,), converged=False)
    text = Page(written(tmp_path, replace(model, fit=fit), scenes)).text
    assert "1 scene, 2018-04-02, with 600 valid pixels in 2 classes. The fit did not" in text


def test_a_date_without_a_valid_pixel_has_no_shares(tmp_path, scenes):
    none = np.zeros(4, np.int64)
    cloudy = [replace(scenes[0], class_pixels=none, hectares=none / 100), *scenes[1:]]
    rows = Page(written(tmp_path, model_of(cloudy), cloudy)).tables[
        "Area in hectares, and share of the date's valid area"
    ]
    assert rows[1] == ["2018-04-02", "0.000", "–", "–", "–", "–"]


@pytest.mark.slow
def test_the_largest_series_stays_below_ten_megabytes(tmp_path):
    # Noise is the worst case: it does not compress.
    grid = replace(GRID, width=400, height=400)
    labels = np.random.default_rng(0).integers(1, 255, (400, 400)).astype(np.uint8)
    path = tmp_path / "labels.tif"
    write_plane(path, grid, (), DATES[0], labels)
    pixels = np.bincount(labels.ravel(), minlength=255)[1:]
    scenes = [
        ClassifiedScene(
            f"scene_{rank}",
            DATES[0] + dt.timedelta(days=5 * rank),
            path,
            path,
            pixels,
            pixels / 100,
        )
        for rank in range(200)
    ]
    model = model_of(scenes, bands=[f"Band {number}" for number in range(12)])
    source = written(tmp_path, model, scenes)
    assert len(source.encode()) < 10_000_000
    assert len(Page(source).images("Map of the classes")) == 200


def test_an_unwritable_place_is_an_output_error(tmp_path, scenes):
    with pytest.raises(OutputError, match=r"report\.html"):
        report.write_report(tmp_path / "missing" / "report.html", model_of(scenes), scenes, GRID)


class Cancelling(Monitor):
    """Cancels when asked for the n-th time."""

    def __init__(self, after: int) -> None:
        self.left = after

    def cancelled(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("after", [0, 3])
def test_a_cancel_leaves_no_file(tmp_path, scenes, after):
    path = tmp_path / "report.html"
    with pytest.raises(Cancelled):
        report.write_report(path, model_of(scenes), scenes, GRID, monitor=Cancelling(after))
    assert not path.exists()
