"""EXTENT, AREA, GRID, STATIC and SCALING as QGIS gives them: strings, layers, other CRS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from synthetic import BANDS, ORIGIN, PIXEL, RecordingFeedback, spectra, write_raster

from iikmc.core import ClassModel

WEST, NORTH = ORIGIN
# Columns 20 to 50 and rows 30 to 70 of the 96 × 96 pixels.
BOX = QgsRectangle(WEST + 400, NORTH - 1400, WEST + 1000, NORTH - 600)
EDGES = "500400,501000,4647600,4648400"


@pytest.fixture
def model(plugin, series, tmp_path) -> str:
    """A model of the whole scenes, so that labels may be compared with theirs."""
    path = str(tmp_path / "model.json")
    processing.run("iikmc:fitmodel", {"INPUT": list(series.scenes), "CLASSES": 4, "MODEL": path})
    return path


@pytest.fixture
def apply(model, series, tmp_path):
    """Apply the model to the scenes; return rasters and geotransforms, oldest date first."""

    def run(**parameters) -> list[tuple[np.ndarray, tuple[float, ...]]]:
        run.count += 1
        made = processing.run(
            "iikmc:applymodel",
            {
                "INPUT": list(series.scenes),
                "MODEL": model,
                "OUTPUT": str(tmp_path / f"applied {run.count}"),
                **parameters,
            },
        )
        opened = [gdal.Open(path) for path in made["OUTPUT_LAYERS"]]
        return [(item.ReadAsArray(), item.GetGeoTransform()) for item in opened]

    run.count = 0
    return run


@pytest.fixture
def project(qgis_new_project) -> QgsProject:
    """An empty project without a CRS."""
    project = QgsProject.instance()
    project.setCrs(QgsCoordinateReferenceSystem())
    return project


def crs_of(epsg: int) -> QgsCoordinateReferenceSystem:
    return QgsCoordinateReferenceSystem(f"EPSG:{epsg}")


def to(epsg: int, geometry: QgsGeometry) -> QgsGeometry:
    """Return a geometry of the scenes' CRS in another one."""
    moved = QgsGeometry(geometry)
    moved.transform(QgsCoordinateTransform(crs_of(32633), crs_of(epsg), QgsProject.instance()))
    return moved


def polygon_layer(
    geometries: list[QgsGeometry | None], epsg: int = 32633, kind: str = "Polygon"
) -> QgsVectorLayer:
    """Return a memory layer of geometries, given in the scenes' CRS."""
    layer = QgsVectorLayer(f"{kind}?crs=EPSG:{epsg}", "my fields", "memory")
    features = []
    for geometry in geometries:
        feature = QgsFeature()
        if geometry is not None:
            feature.setGeometry(to(epsg, geometry))
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def assert_window(found, whole, row: int, column: int, height: int, width: int) -> None:
    """Check that a raster is a window of a whole one, at its place."""
    assert len(found) == len(whole) == 3
    for (labels, place), (every, _) in zip(found, whole):
        np.testing.assert_array_equal(labels, every[row : row + height, column : column + width])
        expected = (WEST + column * PIXEL, PIXEL, 0.0, NORTH - row * PIXEL, 0.0, -PIXEL)
        assert place == pytest.approx(expected)


# EXTENT.


@pytest.mark.parametrize(
    "extent",
    [
        f"{EDGES} [EPSG:32633]",
        EDGES,  # without a CRS, and none of the project: the scenes' own
        QgsReferencedRectangle(BOX, crs_of(32633)),
        BOX,
    ],
    ids=["text", "text alone", "referenced", "rectangle"],
)
def test_an_extent_cuts_the_rasters_to_its_pixels(extent, apply, project):
    assert_window(apply(EXTENT=extent), apply(), 30, 20, 40, 30)


def test_a_pixel_that_the_extent_touches_is_inside(apply, project):
    found = apply(EXTENT="500401,500999,4647601,4648399 [EPSG:32633]")
    assert_window(found, apply(), 30, 20, 40, 30)


def test_an_extent_in_degrees(apply, project):
    box = to(4326, QgsGeometry.fromRect(BOX)).boundingBox()
    edges = box.xMinimum(), box.xMaximum(), box.yMinimum(), box.yMaximum()
    found = apply(EXTENT=f"{','.join(map(repr, edges))} [EPSG:4326]")
    # The box around the box in degrees is a little larger.
    (_, place), whole = found[0], apply()
    row, column = round((NORTH - place[3]) / PIXEL), round((place[0] - WEST) / PIXEL)
    height, width = found[0][0].shape
    assert 28 <= row <= 30 and 18 <= column <= 20
    assert row + height in (70, 71, 72) and column + width in (50, 51, 52)
    assert_window(found, whole, row, column, height, width)


def test_an_extent_without_crs_is_the_projects(apply, project):
    project.setCrs(crs_of(4326))
    box = to(4326, QgsGeometry.fromRect(BOX)).boundingBox()
    edges = box.xMinimum(), box.xMaximum(), box.yMinimum(), box.yMaximum()
    (labels, _), *_ = apply(EXTENT=",".join(map(repr, edges)))
    assert 40 <= labels.shape[0] <= 44 and 30 <= labels.shape[1] <= 34


def test_an_extent_of_a_layer(apply, project, tmp_path):
    path = write_raster(
        tmp_path / "box.tif",
        np.ones((1, 40, 30), np.uint8),
        origin=(BOX.xMinimum(), BOX.yMaximum()),
    )
    layer = QgsRasterLayer(path, "box")
    assert_window(apply(EXTENT=layer), apply(), 30, 20, 40, 30)


@pytest.mark.parametrize("empty", [None, ""])
def test_no_extent_is_all_of_the_scenes(empty, apply, project):
    assert_window(apply(EXTENT=empty), apply(), 0, 0, 96, 96)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        ("10,20,10,20 [EPSG:32633]", "extent 10, 10 to 20, 20 lies outside the scenes"),
        ("-60,-50,10,20 [EPSG:4326]", "lies outside the scenes"),
        ("here and there", "EXTENT"),
        ("500400,500400,4647600,4648400 [EPSG:32633]", "west below east"),
    ],
)
def test_a_wrong_extent_is_answered_with_a_sentence(
    extent, expected, plugin, series, project, tmp_path
):
    for name in ("classifyseries", "fitmodel"):
        parameters = {
            "INPUT": list(series.scenes),
            "CLASSES": 4,
            "EXTENT": extent,
            "OUTPUT": str(tmp_path / "new" / "out"),
            "MODEL": str(tmp_path / "new" / "m.json"),
        }
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
        context = QgsProcessingContext()
        context.setProject(project)
        ok, message = algorithm.checkParameterValues(parameters, context)
        assert not ok and expected in message and "\n" not in message
        assert not (tmp_path / "new").exists()


# AREA.


@pytest.mark.parametrize("epsg", [32633, 4326, 3035])
def test_only_pixels_whose_centre_is_in_a_polygon_count(epsg, apply, project):
    ring = QgsGeometry.fromRect(BOX).difference(
        QgsGeometry.fromRect(QgsRectangle(WEST + 600, NORTH - 1000, WEST + 700, NORTH - 900))
    )
    found = apply(AREA=polygon_layer([ring], epsg))
    whole = apply()
    for (labels, place), (every, _) in zip(found, whole):
        row, column = round((NORTH - place[3]) / PIXEL), round((place[0] - WEST) / PIXEL)
        inside = np.zeros((96, 96), bool)
        inside[30:70, 20:50] = True
        inside[45:50, 30:35] = False
        height, width = labels.shape
        window = np.s_[row : row + height, column : column + width]
        np.testing.assert_array_equal(labels, np.where(inside, every, 0)[window])
        assert inside[window].sum() == inside.sum()


@pytest.mark.parametrize("kind", ["MultiPolygon", "PolygonZ", "CurvePolygon", "MultiSurface"])
def test_polygons_of_every_kind(kind, apply, project):
    found = apply(AREA=polygon_layer([QgsGeometry.fromRect(BOX)], kind=kind))
    assert_window(found, apply(), 30, 20, 40, 30)


def test_several_polygons_and_one_without_geometry(apply, project):
    halves = [
        QgsRectangle(WEST + 400, NORTH - 1000, WEST + 1000, NORTH - 600),
        QgsRectangle(WEST + 400, NORTH - 1400, WEST + 1000, NORTH - 1000),
    ]
    geometries = [QgsGeometry.fromRect(half) for half in halves]
    found = apply(AREA=polygon_layer([geometries[0], None, geometries[1]]))
    assert_window(found, apply(), 30, 20, 40, 30)


def test_a_polygon_that_crosses_itself_is_taken_as_it_is(apply, project):
    """QGIS's check of geometries may end the program rather than raise an error in Python."""
    bow = QgsGeometry.fromWkt(
        f"Polygon(({WEST} {NORTH}, {WEST + 1920} {NORTH - 1920}, {WEST + 1920} {NORTH}, "
        f"{WEST} {NORTH - 1920}, {WEST} {NORTH}))"
    )
    assert not bow.isGeosValid()
    rows, columns = np.mgrid[:96, :96]
    inside = (rows > columns) == (rows + columns > 95)  # the triangles to the west and east
    edges = (rows == columns) | (rows + columns == 95)
    for (labels, _), (every, _) in zip(apply(AREA=polygon_layer([bow])), apply()):
        np.testing.assert_array_equal(labels[~edges], np.where(inside, 0, every)[~edges])


def test_selected_features_only(apply, project):
    other = QgsRectangle(WEST, NORTH - 200, WEST + 200, NORTH)
    layer = polygon_layer([QgsGeometry.fromRect(other), QgsGeometry.fromRect(BOX)])
    project.addMapLayer(layer)
    layer.selectByExpression("$id = 2")
    assert layer.selectedFeatureCount() == 1
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    assert_window(apply(AREA=chosen), apply(), 30, 20, 40, 30)


def test_a_file_of_polygons(apply, project, tmp_path):
    box = to(4326, QgsGeometry.fromRect(BOX))
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
    (tmp_path / "a.geojson").write_text(f'{text}"geometry": {box.asJson(12)}}}]}}', "utf-8")
    found = apply(AREA=str(tmp_path / "a.geojson"))
    whole = apply()
    for (labels, _), (every, _) in zip(found, whole):
        assert np.count_nonzero(labels) == np.count_nonzero(every[30:70, 20:50])


def test_extent_and_area_together(apply, project):
    extent = "500600,501200,4647800,4648800 [EPSG:32633]"
    found = apply(EXTENT=extent, AREA=polygon_layer([QgsGeometry.fromRect(BOX)]))
    assert_window(found, apply(), 30, 30, 30, 20)


def test_the_statistics_of_a_fit_are_those_of_the_area(plugin, series, project, tmp_path):
    """A fit inside an area is the fit of scenes that hold nothing else."""
    area = polygon_layer([QgsGeometry.fromRect(BOX)])
    common = {"CLASSES": 3, "SCALING": 2, "INIT": 1}
    inside = processing.run(
        "iikmc:fitmodel",
        {**common, "INPUT": list(series.scenes), "AREA": area, "MODEL": str(tmp_path / "a.json")},
    )
    cut = []
    (tmp_path / "cut").mkdir()
    for rank, path in enumerate(series.scenes):
        planes = spectra(rank)[:, 30:70, 20:50]
        cut.append(
            write_raster(
                tmp_path / "cut" / Path(path).name,
                planes,
                names=BANDS,
                nodata=0,
                origin=(BOX.xMinimum(), BOX.yMaximum()),
            )
        )
    alone = processing.run(
        "iikmc:fitmodel", {**common, "INPUT": cut, "MODEL": str(tmp_path / "b.json")}
    )
    assert inside["VALID_PIXELS"] == alone["VALID_PIXELS"] == 3 * 1200
    assert Path(inside["MODEL"]).read_bytes() == Path(alone["MODEL"]).read_bytes()


def points() -> QgsVectorLayer:
    layer = QgsVectorLayer("Point?crs=EPSG:32633", "my points", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt(f"Point({WEST + 100} {NORTH - 100})"))
    layer.dataProvider().addFeatures([feature])
    return layer


FAR = QgsGeometry.fromRect(QgsRectangle(0, 0, 1000, 1000))
BETWEEN = QgsGeometry.fromRect(  # pixels' edges, and no centre
    QgsRectangle(WEST + 401, NORTH - 404, WEST + 404, NORTH - 401)
)


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (lambda: polygon_layer([]), "'my fields' has no polygon"),
        (lambda: polygon_layer([None]), "'my fields' has no polygon"),
        (lambda: polygon_layer([QgsGeometry.fromWkt("Polygon EMPTY")]), "no polygon"),
        (lambda: polygon_layer([FAR]), "area lies outside the scenes"),
        (points, "polygons"),
        (lambda: "no/such/layer.gpkg", "no/such/layer.gpkg"),
    ],
    ids=["no feature", "no geometry", "empty geometry", "far away", "points", "no layer"],
)
def test_a_wrong_area_is_answered_with_a_sentence(
    area, expected, plugin, series, project, tmp_path
):
    parameters = {
        "INPUT": list(series.scenes),
        "CLASSES": 4,
        "AREA": area(),
        "OUTPUT": str(tmp_path / "new"),
    }
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("iikmc:classifyseries")
    context = QgsProcessingContext()
    context.setProject(project)
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert not ok and expected in message and "\n" not in message
    with pytest.raises(QgsProcessingException):
        processing.run("iikmc:classifyseries", parameters)
    assert not (tmp_path / "new").exists()


def test_an_area_between_pixel_centres_says_where_to_look(plugin, series, project, tmp_path):
    with pytest.raises(QgsProcessingException, match=r"valid pixel.*AREA"):
        processing.run(
            "iikmc:classifyseries",
            {
                "INPUT": list(series.scenes),
                "CLASSES": 4,
                "AREA": polygon_layer([BETWEEN]),
                "OUTPUT": str(tmp_path / "new"),
            },
        )
    assert not (tmp_path / "new").exists()


# GRID.


@pytest.fixture
def shifted(tmp_path) -> list[str]:
    """Two scenes of one size; the second shows the ground 10 columns east and 20 rows south."""
    (tmp_path / "shifted").mkdir()
    ground = spectra(0, 140)[:, 10:, 10:]
    places = {"2019-04-02": (0, 0), "2019-05-12": (20, 10)}
    return [
        write_raster(
            tmp_path / "shifted" / f"part_{date}.tif",
            np.ascontiguousarray(ground[:, row : row + 96, column : column + 96]),
            names=BANDS,
            origin=(WEST + column * PIXEL, NORTH - row * PIXEL),
        )
        for date, (row, column) in places.items()
    ]


def classified(paths: list[str], folder: Path, **parameters) -> list[gdal.Dataset]:
    made = processing.run(
        "iikmc:classifyseries",
        {"INPUT": paths, "CLASSES": 4, "OUTPUT": str(folder), **parameters},
    )
    return [gdal.Open(path) for path in made["OUTPUT_LAYERS"]]


def test_grid_0_names_both_origins(plugin, shifted, tmp_path):
    with pytest.raises(QgsProcessingException) as caught:
        classified(shifted, tmp_path / "out")
    message = str(caught.value)
    assert "500200, 4648600" in message and "500000, 4649000" in message and "GRID" in message


@pytest.mark.parametrize(("grid", "row", "column", "size"), [(1, 0, 0, 96), (2, 20, 10, 0)])
def test_labels_of_shifted_scenes_line_up_on_the_ground(
    grid, row, column, size, plugin, shifted, tmp_path
):
    first, second = classified(shifted, tmp_path / "out", GRID=grid)
    shape = (96, 96) if size else (76, 86)
    for dataset in (first, second):
        assert (dataset.RasterYSize, dataset.RasterXSize) == shape
        assert dataset.GetGeoTransform()[0] == WEST + column * PIXEL
        assert dataset.GetGeoTransform()[3] == NORTH - row * PIXEL
    one, two = first.ReadAsArray(), second.ReadAsArray()
    if grid == 1:
        assert (two[:20] == 0).all() and (two[:, :10] == 0).all() and (one > 0).all()
        one, two = one[20:, 10:], two[20:, 10:]
    np.testing.assert_array_equal(one, two)  # both show the very same ground
    assert set(np.unique(one)) >= {1, 2, 3}


def test_a_scene_of_another_zone_lines_up_on_the_ground(plugin, tmp_path):
    """Smooth ground, so that the warped values are those of the place."""
    (tmp_path / "zones").mkdir()
    size, pixel = 80, 30.0
    # At the border of two zones: 6 and 12 degrees east of Greenwich are their middles' means.
    west, north = 738_000.0, 5_100_000.0

    def ground(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (2000 + 0.6 * (x - west) + 0.2 * (north - y))[None].repeat(2, 0)

    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    here = west + columns * pixel, north - rows * pixel
    first = write_raster(
        tmp_path / "zones" / "a_2019-04-02.tif",
        ground(*here).astype(np.float32),
        epsg=32632,
        origin=(west, north),
        pixel=pixel,
    )
    across = QgsCoordinateTransform(crs_of(32632), crs_of(32633), QgsProject.instance())
    box = across.transformBoundingBox(
        QgsRectangle(west, north - size * pixel, west + size * pixel, north)
    )
    origin = box.xMinimum() // pixel * pixel - 60, box.yMaximum() // pixel * pixel + 60
    back = QgsCoordinateTransform(crs_of(32633), crs_of(32632), QgsProject.instance())
    wide = int(max(box.width(), box.height()) / pixel) + 8
    there = np.array(
        [
            [
                tuple(back.transform(origin[0] + (c + 0.5) * pixel, origin[1] - (r + 0.5) * pixel))
                for c in range(wide)
            ]
            for r in range(wide)
        ]
    )
    second = write_raster(
        tmp_path / "zones" / "b_2019-05-12.tif",
        ground(there[..., 0], there[..., 1]).astype(np.float32),
        epsg=32633,
        origin=origin,
        pixel=pixel,
    )
    for grid in (1, 2):
        one, two = classified([first, second], tmp_path / f"out{grid}", GRID=grid)
        assert one.GetGeoTransform() == two.GetGeoTransform() == (west, pixel, 0, north, 0, -pixel)
        assert one.GetSpatialRef().GetAuthorityCode(None) == "32632"
        labels = one.ReadAsArray(), two.ReadAsArray()
        assert (labels[1] > 0).all()
        assert np.mean(labels[0] == labels[1]) > 0.995
    with pytest.raises(QgsProcessingException, match="'b_2019-05-12' has the CRS EPSG:32633"):
        classified([first, second], tmp_path / "out0")


def test_a_scene_elsewhere_is_named(plugin, series, tmp_path):
    far = write_raster(
        tmp_path / "far_2020-01-01.tif", spectra(1), names=BANDS, origin=(600_000.0, 4_000_000.0)
    )
    for grid in (1, 2):
        with pytest.raises(QgsProcessingException, match="'far_2020-01-01'"):
            classified([*series.scenes, far], tmp_path / "out", GRID=grid)
    assert not (tmp_path / "out").exists()


# STATIC and SCALING.


def test_heights_on_another_grid_join_as_a_band(plugin, series, project, tmp_path):
    """A coarse raster in degrees; what it says decides where the bands say nothing."""
    (tmp_path / "flat").mkdir()
    random = np.random.default_rng(3)
    flat = (1000 + random.integers(-3, 4, (3, 96, 96))).astype(np.uint16)
    scene = write_raster(tmp_path / "flat" / "flat_2019-04-02.tif", flat, names=BANDS)
    corner = to(4326, QgsGeometry.fromRect(QgsRectangle(WEST, NORTH - 1920, WEST + 1920, NORTH)))
    box = corner.boundingBox()
    step = 0.0001
    size = int(max(box.width(), box.height()) / step) + 20
    longitudes = box.xMinimum() + (np.arange(size) - 10 + 0.5) * step
    heights = np.where(longitudes < box.center().x(), 100.0, 900.0)
    static = write_raster(
        tmp_path / "height.tif",
        np.broadcast_to(heights, (1, size, size)).astype(np.float32),
        epsg=4326,
        origin=(box.xMinimum() - 10 * step, box.yMaximum() + 10 * step),
        pixel=step,
    )
    (found,) = classified(
        [scene],
        tmp_path / "out",
        STATIC=[static],
        CLASSES=2,
        SCALING=1,
        MODEL=str(tmp_path / "m.json"),
    )
    model = ClassModel.load(tmp_path / "m.json")
    assert model.band_names == (*BANDS, "height") and model.static_bands == 1
    assert sorted(model.signatures[:, 3].round(-1).tolist()) == [100, 900]
    labels = found.ReadAsArray()
    assert len(np.unique(labels[:, :45])) == len(np.unique(labels[:, 51:])) == 1
    assert labels[0, 0] != labels[0, -1]


def test_static_bands_with_holes_leave_pixels_out(plugin, series, tmp_path):
    heights = np.full((1, 96, 96), 5.0, np.float32)
    heights[0, 60:70, 60:80] = -9999
    static = write_raster(tmp_path / "h.tif", heights, nodata=-9999)
    for dataset in classified(list(series.scenes), tmp_path / "out", STATIC=[static]):
        labels = dataset.ReadAsArray()
        assert (labels[60:70, 60:80] == 0).all() and (labels[70:, 60:80] > 0).all()


@pytest.mark.parametrize("scaling", [1, 2])
def test_a_band_of_day_numbers_decides_only_unscaled(scaling, plugin, tmp_path):
    """Two kinds of ground, north and south; the days are another number at each place."""
    (tmp_path / "days").mkdir()
    random = np.random.default_rng(4)
    days = random.integers(0, 60_000, (1, 96, 96)).astype(np.uint16)
    planes = np.concatenate([np.maximum(spectra(0), 1), days])
    scene = write_raster(tmp_path / "days" / "d_2019-04-02.tif", planes, names=(*BANDS, "day"))

    def purity(folder: str, **parameters) -> float:
        (found,) = classified([scene], tmp_path / folder, CLASSES=2, **parameters)
        labels = found.ReadAsArray()
        return sum(np.bincount(half.ravel()).max() for half in np.split(labels, 2)) / labels.size

    assert purity("plain") < 0.55
    model = str(tmp_path / "m.json")
    assert purity("scaled", SCALING=scaling, MODEL=model) > 0.99
    signatures = ClassModel.load(model).signatures
    assert signatures[:, 3].min() > 10_000  # in day numbers, not in shares of their range


# Cancelling.


def test_a_cancel_while_warping_leaves_nothing(plugin, shifted, tmp_path):
    feedback = RecordingFeedback()
    feedback.progressChanged.connect(lambda now: feedback.cancel() if now >= 1 else None)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("iikmc:classifyseries")
    parameters = {
        "INPUT": shifted,
        "GRID": 1,
        "EXTENT": "500400,501000,4647600,4648400 [EPSG:32633]",
        "AREA": polygon_layer([QgsGeometry.fromRect(BOX)]),
        "CLASSES": 4,
        "OUTPUT": str(tmp_path / "new"),
    }
    results, ok = algorithm.run(parameters, QgsProcessingContext(), feedback)
    assert ok and results == {} and not feedback.errors
    assert not (tmp_path / "new").exists()
