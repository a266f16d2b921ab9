"""All scenes of a run come out on one grid; what need not be resampled is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_products import Log, bit, make_product, plan_of, prepared
from product_folders import made_up, write_raster
from rasterio.enums import ColorInterp
from rasterio.warp import transform, transform_bounds

from iikmc.core.errors import GridError, ParameterError, SeriesError
from iikmc.core.grid import Grid, Window
from iikmc.core.places import Area, Extent
from iikmc.core.placing import place
from iikmc.core.products.base import Condition
from iikmc.core.raster import describe
from iikmc.core.raster.opened import OpenRasters
from iikmc.core.raster.resampling import Way, read_resampled
from iikmc.core.raster.windows import Source

X, Y = 500_000.0, 4_600_000.0


def read(scene):
    with rasterio.open(scene.path) as raster:
        return raster.read()


def original(product, band=0):
    with rasterio.open(product.bands[band].path) as raster:
        return raster.read(1)


def by_name(made):
    return {scene.product.name: scene for scene in made.scenes}


def corner_box(west, north, columns, rows, pixel=30.0, crs=""):
    return Extent(west, north - rows * pixel, west + columns * pixel, north, crs)


def test_scenes_on_one_lattice_fill_their_union_unchanged(tmp_path):
    """Landsat's corners lie at 15 m, not at multiples of 30, and so do those of the result."""
    products = [
        make_product(tmp_path, "a", ["blue"], origin=(X + 15, Y - 15)),
        make_product(tmp_path, "b", ["blue"], origin=(X + 15 + 20 * 30, Y - 15 + 10 * 30)),
    ]
    made = by_name(prepared(products, tmp_path / "out"))
    plan = plan_of(products)
    assert plan.grid.origin == (X + 15, Y - 15 + 300)
    assert (plan.grid.width, plan.grid.height) == (70, 50)
    for name, (row, column) in {"a": (10, 0), "b": (0, 20)}.items():
        expected = np.zeros((50, 70), np.uint16)
        expected[row : row + 40, column : column + 50] = original(made[name].product)
        np.testing.assert_array_equal(read(made[name])[0], expected)
        assert describe(made[name].path).grid.transform == plan.grid.transform
        assert made[name].shares.pixels == 40 * 50, "beyond a scene's edge is no part of it"
        assert made[name].shares.valid == 40 * 50


def test_the_lattice_is_that_of_most_scenes(tmp_path):
    products = [
        make_product(tmp_path, name, ["blue"], origin=(X + shift, Y))
        for name, shift in (("odd", 7), ("one", 15), ("two", 45))
    ]
    log = Log()
    made = by_name(prepared(products, tmp_path / "out", monitor=log))
    assert plan_of(products).grid.origin == (X - 15, Y)
    np.testing.assert_array_equal(read(made["one"])[0][:, 1:51], original(products[1]))
    np.testing.assert_array_equal(read(made["two"])[0][:, 2:52], original(products[2]))
    assert any("1 of 3 scenes resampled" in text and "'odd'" in text for text in log.messages)


def test_a_resolution_that_no_scene_has_is_snapped_to_its_multiples(tmp_path):
    product = make_product(tmp_path, origin=(X + 15, Y - 15))
    grid = plan_of([product], resolution=100.0).grid
    assert grid.transform == (100.0, 0.0, X, 0.0, -100.0, Y)
    assert (grid.width, grid.height) == (16, 13)


def test_the_finest_band_chosen_gives_the_pixels(tmp_path):
    values = {
        "blue": made_up("b", (60, 60)),
        "nir": made_up("n", (30, 30)),
        "swir16": made_up("s", (10, 10)),
    }
    pixels = {"blue": 10.0, "nir": 20.0, "swir16": 60.0}
    product = make_product(tmp_path, values=values, pixels=pixels, pixel=20.0)
    assert plan_of([product]).grid.pixel_size == (10.0, 10.0)
    assert plan_of([product], bands=("nir", "swir16")).grid.pixel_size == (20.0, 20.0)
    said = "Bands resampled to pixels of 10 × 10: nir, swir16."
    assert plan_of([product]).notes[-1] == said
    made = prepared([product], tmp_path / "out")
    np.testing.assert_array_equal(read(made.scenes[0])[0], values["blue"])


def test_coarser_bands_stay_as_they_are_where_their_pixels_are_asked_for(tmp_path):
    values = {"blue": made_up("b", (60, 60)), "nir": made_up("n", (30, 30))}
    pixels = {"blue": 10.0, "nir": 20.0}
    product = make_product(tmp_path, values=values, pixels=pixels, origin=(X + 15, Y - 15))
    made = prepared([product], tmp_path / "out", resolution=20.0)
    np.testing.assert_array_equal(read(made.scenes[0])[1], values["nir"])
    assert plan_of([product], resolution=20.0).notes[-1] == (
        "Bands resampled to pixels of 20 × 20: blue."
    )


def test_finer_bands_are_averaged_and_coarser_ones_interpolated(tmp_path):
    plane = np.add.outer(np.arange(60), np.arange(60) * 2).astype(np.uint16) * 6 + 100
    coarse = np.add.outer(np.arange(30) * 2, np.arange(30) * 4).astype(np.uint16) * 6 + 109
    values = {"blue": plane, "nir": coarse}
    product = make_product(tmp_path, values=values, pixels={"blue": 10.0, "nir": 20.0})
    means = read(prepared([product], tmp_path / "a", resolution=20.0).scenes[0])
    np.testing.assert_array_equal(means[0], plane.reshape(30, 2, 30, 2).mean((1, 3)))
    np.testing.assert_array_equal(means[1], coarse)
    fine = read(prepared([product], tmp_path / "b", resolution=10.0).scenes[0])
    np.testing.assert_array_equal(fine[0], plane)
    # Both bands hold one plane, which is interpolated without error but at the edges.
    np.testing.assert_array_equal(fine[1][1:-1, 1:-1], plane[1:-1, 1:-1])


def test_a_mean_is_of_all_pixels_that_hold_values(tmp_path):
    values = made_up("b", (60, 80), 1, 60_000)
    values[:2, :5] = 0
    values[2, 12] = 0  # the middle of the third: what the pixel is does not lie in its edges
    product = make_product(tmp_path, values={"blue": values}, pixel=10.0)
    found = read(prepared([product], tmp_path / "out", resolution=50.0).scenes[0])[0]
    blocks = values.reshape(12, 5, 16, 5).astype(float)
    means = blocks.sum((1, 3)) / (blocks > 0).sum((1, 3))
    means[0, 2] = 0
    assert np.abs(found - means).max() <= 0.5


def test_masks_take_the_nearest_pixel(tmp_path):
    quality = np.zeros((30, 30), np.uint8)
    quality[10, 20] = bit(Condition.CLOUD)
    values = {"blue": made_up("b", (60, 60))}
    product = make_product(
        tmp_path, values=values, pixels={"blue": 10.0}, pixel=20.0, quality=quality
    )
    found = read(prepared([product], tmp_path / "out").scenes[0])[0]
    expected = values["blue"].copy()
    expected[20:22, 40:42] = 0
    np.testing.assert_array_equal(found, expected)


def test_nodata_has_no_part_in_the_pixels_beside_it(tmp_path):
    values = np.full((40, 50), 1000, np.uint16)
    values[10:20, 10:20] = 0
    product = make_product(tmp_path, values={"blue": values})
    for number, resolution in enumerate((17.0, 31.0, 70.0)):
        made = prepared([product], tmp_path / str(number), resolution=resolution)
        assert set(np.unique(read(made.scenes[0]))) == {0, 1000}


def test_mixed_utm_zones_are_warped_to_the_commonest_and_that_is_said(tmp_path):
    west, _, _, north = transform_bounds(32633, 32634, X + 240_000, Y - 1200, X + 241_500, Y)
    products = [
        make_product(tmp_path, "a", ["blue"], origin=(X + 240_000, Y)),
        make_product(tmp_path, "b", ["blue"], origin=(X + 240_000, Y)),
        make_product(tmp_path, "far", ["blue"], origin=(west, north), epsg=32634),
    ]
    log = Log()
    made = by_name(prepared(products, tmp_path / "out", monitor=log))
    assert "Scene 'far' is in EPSG:32634 and is warped to EPSG:32633." in log.messages
    assert not any("'a' is" in text for text in log.messages)
    grids = {describe(scene.path).grid for scene in made.values()}
    assert len(grids) == 1
    (grid,) = grids
    assert grid.pixel_size == (30.0, 30.0)
    column, row = round((X + 240_000 - grid.origin[0]) / 30), round((grid.origin[1] - Y) / 30)
    np.testing.assert_array_equal(
        read(made["a"])[0, row : row + 40, column : column + 50], original(products[0])
    )
    # A pixel of the warped scene is the bilinear mean of the four around its place.
    found, source = read(made["far"])[0], original(products[2]).astype(float)
    rows, columns = np.nonzero(found)
    xs = grid.origin[0] + (columns + 0.5) * 30
    ys = grid.origin[1] - (rows + 0.5) * 30
    east, north_ = (np.array(item) for item in transform(32633, 32634, xs, ys))
    x, y = (east - west) / 30 - 0.5, (north - north_) / 30 - 0.5
    inner = (x > 1) & (x < 48) & (y > 1) & (y < 38)
    assert inner.sum() > 1000
    x, y, values = x[inner], y[inner], found[rows, columns][inner]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    dx, dy = x - left, y - top
    expected = (
        source[top, left] * (1 - dx) * (1 - dy)
        + source[top, left + 1] * dx * (1 - dy)
        + source[top + 1, left] * (1 - dx) * dy
        + source[top + 1, left + 1] * dx * dy
    )
    assert np.abs(values - expected).max() < 1.0


def test_a_crs_may_be_asked_for(tmp_path):
    product = make_product(tmp_path, values=["blue"])
    grid = plan_of([product], crs="EPSG:4326").grid
    assert (describe(product.bands[0].path).grid.crs, grid.crs) != (grid.crs, "")
    made = prepared([product], tmp_path / "out", crs="EPSG:4326")
    with rasterio.open(made.scenes[0].path) as raster:
        assert raster.crs.to_epsg() == 4326
        assert raster.res[0] == pytest.approx(0.0003, rel=0.2)
    assert made.scenes[0].shares.valid_share == 1.0


def test_a_scene_without_crs_is_left_out_unless_none_has_one(tmp_path):
    bare = [make_product(tmp_path, f"bare{n}", ["blue"], epsg=None) for n in range(2)]
    good = make_product(tmp_path, "good", ["blue"])
    plan = plan_of([*bare, good])
    assert [scene.product.name for scene in plan.scenes] == ["good"]
    assert all("has no CRS" in item.reason for item in plan.left_out)
    shifted = make_product(tmp_path, "shifted", ["blue"], epsg=None, origin=(X + 10, Y))
    made = prepared([*bare, shifted], tmp_path / "out")
    assert len(made.scenes) == 3
    with pytest.raises(SeriesError, match="has no CRS"):
        plan_of(bare, crs="EPSG:32633")


def test_an_extent_gives_the_same_grid_to_every_run(tmp_path):
    """So that a date that is prepared later joins the series."""
    one = make_product(tmp_path, "one", ["blue"])
    two = make_product(tmp_path, "two", ["blue"], origin=(X + 300, Y + 300))
    extent = Extent(X - 100, Y - 500, X + 1000, Y + 100)
    first, second = plan_of([one], extent=extent), plan_of([two], extent=extent)
    assert first.grid == second.grid
    assert first.grid.transform[2::3] == (X - 120, Y + 120)
    assert (first.grid.width, first.grid.height) == (38, 21)
    made = prepared([one], tmp_path / "out", extent=extent)
    expected = np.zeros((21, 38), np.uint16)
    expected[4:, 4:] = original(one)[:17, :34]
    np.testing.assert_array_equal(read(made.scenes[0])[0], expected)


def test_an_extent_in_another_crs_covers_what_was_meant(tmp_path):
    product = make_product(tmp_path, values=["blue"])
    box = X + 300, Y - 900, X + 900, Y - 300
    west, south, east, north = transform_bounds(32633, 4326, *box)
    grid = plan_of([product], extent=Extent(west, south, east, north, "EPSG:4326")).grid
    assert grid.bounds[0] <= box[0] and grid.bounds[3] >= box[3]
    assert grid.bounds[0] > box[0] - 60 and grid.bounds[3] < box[3] + 60


def test_outside_polygons_all_is_nodata(tmp_path):
    product = make_product(tmp_path, values=["blue"])
    ring = [(X + 300, Y - 300), (X + 900, Y - 300), (X + 300, Y - 900), (X + 300, Y - 300)]
    area = Area(({"type": "Polygon", "coordinates": [ring]},))
    made = prepared([product], tmp_path / "out", area=area)
    (scene,) = made.scenes
    assert describe(scene.path).grid.bounds == (X + 300, Y - 900, X + 900, Y - 300)
    found, source = read(scene)[0], original(product)[10:30, 10:30]
    rows, columns = np.mgrid[:20, :20]
    inside = rows + columns < 19  # pixel centres left of the slope
    np.testing.assert_array_equal(found[inside], source[inside])
    assert not found[rows + columns > 19].any()
    assert scene.shares.pixels == np.count_nonzero(found)


def test_places_without_ground_in_common_are_refused(tmp_path):
    products = [
        make_product(tmp_path, "near", ["blue"]),
        make_product(tmp_path, "far", ["blue"], origin=(X + 9000, Y)),
    ]
    plan = plan_of(products, extent=corner_box(X, Y, 5, 5))
    assert [scene.product.name for scene in plan.scenes] == ["near"]
    (left,) = plan.left_out
    assert left.reason == "Scene 'far' cannot be used: it lies outside EXTENT and AREA."
    with pytest.raises(SeriesError, match="outside EXTENT and AREA"):
        plan_of(products, extent=corner_box(X - 9000, Y, 5, 5))
    ring = [(X, Y), (X + 60, Y), (X, Y - 60), (X, Y)]
    area = Area(({"type": "Polygon", "coordinates": [ring]},))
    with pytest.raises(GridError, match="EXTENT and AREA have no ground in common"):
        plan_of(products, extent=corner_box(X + 300, Y, 5, 5), area=area)


@pytest.mark.parametrize("resolution", [0.0, -30.0, float("nan"), float("inf")])
def test_a_resolution_is_more_than_nothing(tmp_path, resolution):
    with pytest.raises(ParameterError, match="RESOLUTION is"):
        plan_of([make_product(tmp_path)], resolution=resolution)


def test_a_slip_of_the_resolution_is_noticed_before_it_fills_the_disk(tmp_path):
    with pytest.raises(GridError, match="check RESOLUTION, EXTENT"):
        plan_of([make_product(tmp_path)], resolution=0.001)


def test_a_quality_layer_or_band_of_another_place_is_noticed(tmp_path):
    here = make_product(tmp_path / "a", "here", quality=np.zeros((40, 50)))
    there = make_product(tmp_path / "b", "there", quality=np.zeros((40, 50)), origin=(X + 60, Y))
    mixed = dataclasses.replace(here, quality=there.quality)
    with pytest.raises(SeriesError, match=r"there_QA\.tif' does not cover the same ground as"):
        plan_of([mixed])
    mixed = dataclasses.replace(here, bands=(*here.bands[:2], there.bands[2]))
    with pytest.raises(SeriesError, match=r"there_B3\.tif' does not cover the same ground as"):
        plan_of([mixed])


@pytest.mark.parametrize("resolution", [30.0, 13.0, 70.0])
def test_a_band_that_is_declared_as_transparency_is_a_band_like_others(tmp_path, resolution):
    """As in files of four bands that were taken for colours: infrared is no transparency."""
    values = made_up("rgba", (4, 40, 50), 1, 40_000)
    values[3] = values[3] // 8 + 1
    found = []
    for name in ("plain", "alpha"):
        path = write_raster(tmp_path / f"{name}.tif", values, nodata=0)
        with rasterio.open(path, "r+") as raster:
            kinds = [ColorInterp.undefined] * 3
            last = ColorInterp.alpha if name == "alpha" else ColorInterp.undefined
            raster.colorinterp = [*kinds, last]
        product = make_product(tmp_path / name, values=("blue", "green", "red", "nir"))
        bands = [
            dataclasses.replace(band, path=str(path), number=number)
            for number, band in enumerate(product.bands, start=1)
        ]
        product = dataclasses.replace(product, bands=tuple(bands))
        made = prepared([product], tmp_path / f"out_{name}", resolution=resolution)
        found.append(read(made.scenes[0]))
        assert made.scenes[0].shares.valid_share == 1.0
    np.testing.assert_array_equal(*found)


@pytest.fixture(scope="module")
def warped_source(tmp_path_factory):
    """A raster with holes, to be brought onto a finer grid in the next zone."""
    values = made_up("w", (2, 300, 340), 1, 60_000)
    values[:, 50:90, 60:100] = 0
    values[0, 150:160, 200:260] = 0
    path = tmp_path_factory.mktemp("warped") / "source.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=2,
        height=300,
        width=340,
        crs="EPSG:32633",
        transform=rasterio.transform.from_origin(X + 240_000, Y, 30, 30),
    ) as raster:
        raster.write(values)
    return path


def onto(path, columns, rows, way, window, pixel=25.0):
    """Read a window whose place is counted from a fixed corner, on a grid that begins elsewhere."""
    source = describe(path).grid
    crs = rasterio.CRS.from_epsg(32634).to_wkt()
    west, _, _, north = transform_bounds(32633, 32634, *source.bounds)
    west, north = west // pixel * pixel, north // pixel * pixel
    corner = (pixel, 0.0, west + columns * pixel, 0.0, -pixel, north - rows * pixel)
    grid = Grid(crs, corner, 900, 900)
    what = Source(str(path), (1, 2), (0.0, 0.0), False, place(source, grid))
    moved = Window(window.row - rows, window.column - columns, window.height, window.width)
    with OpenRasters() as rasters:
        return read_resampled(rasters, what, way, moved)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(st.data(), st.sampled_from(Way), st.sampled_from([25.0, 55.0, 70.0]))
def test_what_a_warped_pixel_gets_depends_neither_on_windows_nor_on_the_extent(
    warped_source, data, way, pixel
):
    whole = onto(warped_source, 0, 0, way, Window(0, 0, 400, 420), pixel)
    assert whole[2].sum() > 10_000
    row, column = data.draw(st.integers(0, 380)), data.draw(st.integers(0, 400))
    window = Window(row, column, data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20)))
    begin = data.draw(st.integers(-300, column)), data.draw(st.integers(-300, row))
    part = onto(warped_source, *begin, way, window, pixel)
    place_in = np.s_[..., row : row + window.height, column : column + window.width]
    values, inside, valid = (item[place_in] for item in whole)
    np.testing.assert_array_equal(part[1], inside)
    np.testing.assert_array_equal(part[2], valid)
    np.testing.assert_array_equal(part[0][:, valid], values[:, valid])


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("nodata", [0.0, None])
@pytest.mark.parametrize("pixel", [20.0, 30.0])
def test_beyond_the_edge_is_never_valid(warped_source, way, nodata, pixel):
    """Neither where a raster is resampled nor where it is only shifted (pixels of 30 m)."""
    source = describe(warped_source).grid
    edge = 5 * pixel
    grid = Grid(source.crs, (pixel, 0.0, X + 240_000 - edge, 0.0, -pixel, Y + edge), 600, 500)
    what = Source(str(warped_source), (1, 2), (nodata,) * 2, False, place(source, grid))
    assert what.placement.warped == (pixel == 20.0)
    with OpenRasters() as rasters:
        values, inside, valid = read_resampled(rasters, what, way, Window(0, 0, 500, 600))
    expected = np.zeros((500, 600), bool)
    expected[5 : 5 + int(9000 / pixel), 5 : 5 + int(10_200 / pixel)] = True
    np.testing.assert_array_equal(inside, expected)
    assert not valid[~expected].any()
    if nodata is None:
        np.testing.assert_array_equal(valid, expected)
    else:
        assert (values[:, valid] != 0).all() and valid.sum() < expected.sum() - 1500
