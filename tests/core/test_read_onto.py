"""What a raster holds on another grid: the right place, the right means, and nothing made up."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from ground import NORTH_UP, ORIGIN, UTM, bilinear, grid_of, metres, wkt, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

from iikmc.core.grid import Grid, Window
from iikmc.core.placing import place
from iikmc.core.raster import Source, describe, read_onto

HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
FRACTIONS = st.floats(-12, 12).filter(lambda shift: 0.01 < shift % 1 < 0.99)


def shifted(columns, rows):
    """The common grid's transform, moved by so many pixels."""
    return NORTH_UP * Affine.translation(columns, rows)


def source_of(path, grid, bands=None, own_mask=None, smooth=True):
    info = describe(path)
    bands = bands or tuple(n for n, alpha in enumerate(info.alpha, 1) if not alpha)
    return Source(
        str(path),
        bands,
        tuple(info.nodata[band - 1] for band in bands),
        info.has_mask if own_mask is None else own_mask,
        place(info.grid, grid),
        smooth,
    )


def whole(path, grid, **options):
    """Read a raster onto all of a grid."""
    return read_onto(source_of(path, grid, **options), Window(0, 0, grid.height, grid.width))


def noise(seed=0, bands=2, height=23, width=31, dtype=np.uint16):
    return np.random.default_rng(seed).integers(1, 60_000, (bands, height, width)).astype(dtype)


@HERE
@given(st.integers(-40, 40), st.integers(-40, 40), st.sampled_from(["uint16", "float32"]))
def test_whole_pixels_are_moved_bit_for_bit(tmp_path, columns, rows, dtype):
    values = noise(dtype=dtype)
    values[0, 3, 4] = 7
    path = write(tmp_path, "s", values, nodata=7)
    grid = grid_of(shifted(columns, rows), 20, 25)
    found, inside, valid = whole(path, grid)
    row, column = np.mgrid[:20, :25] + np.array([rows, columns])[:, None, None]
    expected = (row >= 0) & (row < 23) & (column >= 0) & (column < 31)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(inside, expected)
    np.testing.assert_array_equal(valid, expected & ~((row == 3) & (column == 4)))
    moved = values[:, row[expected], column[expected]]
    np.testing.assert_array_equal(found[:, expected], moved)


@HERE
@given(
    columns=FRACTIONS,
    rows=FRACTIONS,
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    nodata=st.sampled_from([None, 0, 9]),
    seed=st.integers(0, 99),
)
def test_shifts_by_fractions_are_means_of_the_valid_pixels_around(
    tmp_path, columns, rows, dtype, nodata, seed
):
    rng = np.random.default_rng(seed)
    values = rng.integers(10, 250, (1, 23, 31)).astype(dtype)
    if nodata is not None:
        values[:, rng.random((23, 31)) < 0.2] = nodata
    path = write(tmp_path, "s", values, nodata=nodata)
    grid = grid_of(shifted(columns, rows), 27, 35)
    found, inside, valid = whole(path, grid)
    known = np.ones((23, 31), bool) if nodata is None else values[0] != nodata
    expected, within, there = bilinear(values[0], known, NORTH_UP, UTM, grid)
    np.testing.assert_array_equal(inside, within)
    np.testing.assert_array_equal(valid, there)
    assert found.dtype == values.dtype
    most = 0.51 if values.dtype.kind in "iu" else 0.01
    assert np.abs(found[0] - expected)[there].max(initial=0) <= most


def other_grids():
    """Grids of other pixels, axes and CRS that lie over the common scene, by name."""

    def over(crs, height, width):
        west, south, east, north = transform_bounds(
            UTM, crs, ORIGIN[0], ORIGIN[1] - 1200, ORIGIN[0] + 1000, ORIGIN[1]
        )
        across = Affine.translation(west, north) * Affine.scale(
            (east - west) / width, (south - north) / height
        )
        return grid_of(across, height, width, crs)

    turned = Affine.translation(ORIGIN[0] + 300, ORIGIN[1]) * Affine.rotation(-30)
    return {
        "smaller pixels": grid_of(Affine(7, 0, ORIGIN[0] - 33, 0, -7, ORIGIN[1] + 8), 150, 140),
        "south up": grid_of(Affine(10, 0, ORIGIN[0] + 3, 0, 10, ORIGIN[1] - 1202), 130, 100),
        "turned": grid_of(turned * Affine.scale(10, -10), 120, 100),
        "next zone": over("EPSG:32634", 150, 130),
        "zone far away": over("EPSG:32637", 190, 180),
        "geographic": over("EPSG:4326", 150, 130),
    }


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("nodata", [None, 3])
@pytest.mark.parametrize("name", other_grids())
def test_other_pixels_axes_and_crs_are_interpolated_in_the_right_place(
    tmp_path, name, nodata, dtype
):
    values = noise(1, 1, 120, 100, dtype)
    values[:, np.random.default_rng(2).random((120, 100)) < 0.05] = 3
    path = write(tmp_path, "s", values, nodata=nodata)
    grid = other_grids()[name]
    found, inside, valid = whole(path, grid)
    known = values[0] != 3 if nodata else np.ones((120, 100), bool)
    expected, within, there = bilinear(values[0], known, NORTH_UP, UTM, grid)
    assert within.mean() > 0.3
    np.testing.assert_array_equal(inside, within)
    np.testing.assert_array_equal(valid, there)
    # 60,000 levels between neighbours: a hundredth is a place off by less than a millionth.
    most = 0.6 if dtype == "uint16" else 0.1
    assert np.abs(found[0] - expected)[there].max() <= most


@pytest.mark.parametrize("degrees", [4, 30])
def test_large_turned_scenes_are_not_blurred(tmp_path, degrees):
    """GDAL takes parts of large rasters by their bounds, and would see turned pixels as larger."""
    values = noise(1, 1, 700, 600)
    path = write(tmp_path, "s", values, nodata=0)
    turned = NORTH_UP * Affine.translation(200, -50) * Affine.rotation(degrees)
    grid = grid_of(turned, 700, 600)
    found, _, valid = whole(path, grid)
    expected, _, there = bilinear(values[0], values[0] > 0, NORTH_UP, UTM, grid)
    np.testing.assert_array_equal(valid, there)
    assert np.abs(found[0] - expected)[there].max() <= 0.6


@pytest.mark.parametrize("name", other_grids())
def test_values_that_tell_their_place_tell_the_place_of_the_grid(tmp_path, name):
    path = write(tmp_path, "s", metres(NORTH_UP, 120, 100).astype(np.float32))
    grid = other_grids()[name]
    found, _, valid = whole(path, grid)
    crs = rasterio.CRS.from_wkt(grid.crs).to_string()
    expected = metres(Affine(*grid.transform), grid.height, grid.width, crs)
    # Within half a pixel of the raster's edge the outermost pixels are all there is.
    inner = valid & (np.abs(expected - [[[10_500]], [[10_600]]]) < [[[495]], [[595]]]).all(axis=0)
    assert inner.sum() > 0.5 * valid.sum()
    assert np.abs(found - expected)[:, inner].max() < 0.1  # metres, of pixels of 10
    assert np.abs(found - expected)[:, valid].max() < 5.1


def test_rasters_that_are_turned_or_south_up_come_to_a_grid_that_is_not(tmp_path):
    turned = Affine.translation(*ORIGIN) * Affine.rotation(-20) * Affine.scale(10, -10)
    for name, transform in (
        ("south", Affine(10, 0, ORIGIN[0] + 3, 0, 10, ORIGIN[1] - 600)),
        ("turned", turned),
    ):
        values = metres(transform, 60, 60).astype(np.float32)
        path = write(tmp_path, name, values, transform)
        found, _, valid = whole(path, grid_of(NORTH_UP, 60, 60))
        expected = metres(NORTH_UP, 60, 60)
        assert valid.sum() > 1500
        assert np.abs(found - expected)[:, valid].max() < 7.2  # at the edges
        assert np.median(np.abs(found - expected)[:, valid]) < 0.01


def test_larger_pixels_of_a_grid_are_means_of_all_that_lies_in_them(tmp_path):
    values = noise(3, 1, 90, 90, np.float32)
    path = write(tmp_path, "s", values)
    found, _, valid = whole(path, grid_of(NORTH_UP * Affine.scale(9), 10, 10))
    assert valid.all()
    blocks = values[0].reshape(10, 9, 10, 9)
    # A tent as wide as two pixels of the grid varies as little as 2/3² of a mean of nine by nine.
    assert found.std() < 0.5 * values.std() / 3
    assert np.corrcoef(found[0].ravel(), blocks.mean(axis=(1, 3)).ravel())[0, 1] > 0.6


@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0])
@pytest.mark.parametrize("stray", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_out_and_spoils_no_neighbour(tmp_path, nodata, stray):
    values = noise(4, 1, 20, 20, np.float32)
    values[0, 7, 9] = stray
    path = write(tmp_path, "s", values, nodata=nodata)
    grid = grid_of(shifted(0.3, 0.4), 19, 19)
    found, inside, valid = whole(path, grid)
    known = np.isfinite(values[0])
    expected, _, there = bilinear(values[0], known, NORTH_UP, UTM, grid)
    assert inside.all()
    np.testing.assert_array_equal(valid, there)
    assert np.isfinite(found[0][valid]).all()
    far = np.ones((19, 19), bool)
    far[6:8, 8:10] = False
    assert np.abs(found[0] - expected)[far].max() < 0.1
    near = values[0, 6:9, 8:11][np.isfinite(values[0, 6:9, 8:11])]
    beside = found[0, 6:8, 8:10][valid[6:8, 8:10]]
    assert near.min() <= beside.min() and beside.max() <= near.max()


@pytest.mark.parametrize("nodata", [None, 5])
def test_a_rasters_own_mask_is_moved_by_the_nearest_pixel_and_keeps_out_of_means(tmp_path, nodata):
    values = noise(5, 1)
    hidden = np.random.default_rng(6).random((23, 31)) < 0.3
    values[:, hidden] = 65_535
    path = write(tmp_path, "s", values, nodata=nodata)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(~hidden)
    grid = grid_of(shifted(-2.3, 1.4), 25, 30)
    found, inside, valid = whole(path, grid)
    expected, within, there = bilinear(values[0], ~hidden, NORTH_UP, UTM, grid)
    np.testing.assert_array_equal(inside, within)
    np.testing.assert_array_equal(valid, there)
    assert np.abs(found[0] - expected)[there].max() <= 0.51


@pytest.mark.parametrize("shift", [(1, 2), (0.3, 1.6)])
@pytest.mark.parametrize("asked", [False, True])
def test_an_alpha_band_masks_unless_it_is_asked_for_as_data(tmp_path, shift, asked):
    values = noise(7)
    values[1] = np.where(values[1] % 3 == 0, 0, values[1])
    path = write(tmp_path, "s", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    grid = grid_of(shifted(*shift), 25, 30)
    options = {"bands": (1, 2), "own_mask": False} if asked else {}
    found, inside, valid = whole(path, grid, **options)
    opaque = values[1] > 0
    for band, plane in enumerate(found):
        known = np.ones((23, 31), bool) if asked else opaque
        expected, within, there = bilinear(values[band], known, NORTH_UP, UTM, grid)
        np.testing.assert_array_equal(inside, within)
        np.testing.assert_array_equal(valid, there)
        assert np.abs(plane - expected)[there].max() <= (0.51 if asked else 60_000)


def test_each_band_leaves_its_own_nodata_out_of_its_means(tmp_path):
    values = noise(8, 3)
    values[0, 5, 5], values[1, 9, 9], values[2, 2, 2] = 1, 2, 1
    source = write(tmp_path, "source", values)
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}">{nodata}<SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, nodata in (
            (1, "<NoDataValue>1</NoDataValue>"),
            (2, "<NoDataValue>2</NoDataValue>"),
            (3, ""),
        )
    )
    path = tmp_path / "s.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="31" rasterYSize="23"><SRS>{UTM}</SRS><GeoTransform>'
        f"{ORIGIN[0]}, 10, 0, {ORIGIN[1]}, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    grid = grid_of(shifted(0.4, 0.3), 22, 30)
    found, inside, valid = whole(path, grid)
    known = np.ones((3, 23, 31), bool)
    known[0, 5, 5] = known[1, 9, 9] = False
    holes = np.ones((22, 30), bool)
    for band in range(3):
        expected, _, there = bilinear(values[band], known[band], NORTH_UP, UTM, grid)
        holes &= there
        assert np.abs(found[band] - expected)[there].max() <= 0.51
    assert inside.all()
    np.testing.assert_array_equal(valid, holes)
    assert (~valid).sum() == 2


def test_a_mean_that_happens_to_be_the_nodata_value_stays_valid(tmp_path):
    values = np.array([[[10, 20] * 4] * 8], np.uint16)
    path = write(tmp_path, "s", values, nodata=15)
    found, _, valid = whole(path, grid_of(shifted(0.5, 0), 8, 6))
    assert valid.all()
    assert np.abs(found[0] - 15.0).max() <= 1


def test_bands_of_differing_types_are_read_moved_and_warped(tmp_path):
    values = noise(9, 1, 12, 12)
    source = write(tmp_path, "source", values)
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for band, dtype in ((1, "UInt16"), (2, "Float32"))
    )
    path = tmp_path / "s.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="12" rasterYSize="12"><SRS>{UTM}</SRS><GeoTransform>'
        f"{ORIGIN[0]}, 10, 0, {ORIGIN[1]}, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    for shift in ((0, 0), (3, 4), (0.3, 0.4)):
        grid = grid_of(shifted(*shift), 11, 11)
        found, _, valid = whole(path, grid)
        expected, _, there = bilinear(values[0], values[0] > 0, NORTH_UP, UTM, grid)
        np.testing.assert_array_equal(valid, there)
        assert np.abs(found - expected)[:, valid].max() <= 0.51


def test_masks_and_classes_take_the_nearest_pixel(tmp_path):
    values = noise(10, 2, 40, 40, np.uint8)
    path = write(tmp_path, "s", values, nodata=0)
    for grid in (
        grid_of(shifted(0.3, -0.4), 30, 30),
        grid_of(NORTH_UP * Affine.scale(1.7), 20, 20),
    ):
        found, inside, _ = whole(path, grid, smooth=False)
        row, column = np.mgrid[: grid.height, : grid.width] + 0.5
        columns, rows = ~NORTH_UP * Affine(*grid.transform) * (column, row)
        rows, columns = np.floor(rows).astype(int), np.floor(columns).astype(int)
        within = (rows >= 0) & (rows < 40) & (columns < 40)
        np.testing.assert_array_equal(inside, within)
        np.testing.assert_array_equal(found[:, within], values[:, rows[within], columns[within]])


def test_a_raster_that_is_not_under_a_window_has_no_pixel_there(tmp_path):
    for dtype in (np.uint16, np.float32):
        path = write(tmp_path, "s", noise(dtype=dtype))
        for shift in ((500, 0), (0.5, 900.5), (-400.2, 0)):
            _, inside, valid = whole(path, grid_of(shifted(*shift), 12, 12))
            assert not inside.any() and not valid.any()


@pytest.mark.parametrize("crs", [None, UTM])
def test_rasters_without_a_crs_can_be_shifted_by_fractions(tmp_path, crs):
    values = noise(11, 1)
    path = write(tmp_path, "s", values, crs=crs)
    grid = Grid(wkt(crs) if crs else "", tuple(shifted(0.3, 0.4))[:6], 20, 20)
    found, _, valid = whole(path, grid)
    expected, _, there = bilinear(
        values[0], values[0] > 0, NORTH_UP, UTM, grid_of(shifted(0.3, 0.4), 20, 20)
    )
    np.testing.assert_array_equal(valid, there)
    assert np.abs(found[0] - expected)[valid].max() <= 0.51


def pieces(grid, height, width):
    for row in range(0, grid.height, height):
        for column in range(0, grid.width, width):
            yield Window(
                row, column, min(height, grid.height - row), min(width, grid.width - column)
            )


@pytest.mark.parametrize("name", [*other_grids(), "shifted", "larger pixels", "pixels of 7 m"])
@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", None), ("uint16", 3), ("float32", 3)])
def test_what_is_read_does_not_depend_on_windows(tmp_path, name, dtype, nodata):
    values = noise(12, 2, 700, 600, dtype)
    values[:, np.random.default_rng(2).random((700, 600)) < 0.05] = 3
    path = write(tmp_path, "s", values, nodata=nodata)
    grid = {
        "shifted": grid_of(shifted(-3.3, 5.4), 650, 600),
        "larger pixels": grid_of(NORTH_UP * Affine.scale(2.5), 280, 240),
        "pixels of 7 m": grid_of(Affine(7, 0, ORIGIN[0] + 7, 0, -7, ORIGIN[1]), 900, 800),
        **other_grids(),
    }[name]
    source = source_of(path, grid)
    expected = read_onto(source, Window(0, 0, grid.height, grid.width))
    for height, width in ((grid.height, 64), (100, grid.width), (37, 53), (256, 256)):
        for window in pieces(grid, height, width):
            rows = slice(window.row, window.row + window.height)
            columns = slice(window.column, window.column + window.width)
            found = read_onto(source, window)
            valid = found[2]
            for part, all_of_it in zip(found[1:], expected[1:]):
                np.testing.assert_array_equal(part, all_of_it[rows, columns])
            np.testing.assert_array_equal(
                found[0][:, valid], expected[0][:, rows, columns][:, valid]
            )
