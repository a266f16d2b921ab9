"""Every valid pixel of a series is read once, as it is, whatever the files look like inside."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iikmc.core import Monitor, cluster, open_series, valid
from iikmc.core.codes import CodeGrid
from iikmc.core.errors import SeriesError
from iikmc.core.grid import Grid, Window
from iikmc.core.pixels import Block
from iikmc.core.raster import read_onto
from iikmc.core.reading import windows
from iikmc.core.tiling import in_tiles

HERE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
FLOAT32_LOWEST = -3.4028234663852886e38


def valid_of(series, **options):
    """Which pixels of each scene were read, and their values: (height, width), (bands, pixels)."""
    store = series.pixels(threads=1, **options)
    found = []
    for rank in range(len(series)):
        valid = np.zeros((series.grid.height, series.grid.width), bool)
        values = []
        for block in store.blocks:
            if block.scene == rank:
                rows = slice(block.window.row, block.window.row + block.window.height)
                columns = slice(block.window.column, block.window.column + block.window.width)
                valid[rows, columns] = block.spread(np.ones(block.pixels, bool))
                codes = np.array(block.codes.load())
                values.append([g.values(row) for g, row in zip(store.code_grids, codes)])
        found.append((valid, np.concatenate(values, axis=1)))
    return found


def read_one(path, **options):
    with open_series([path], **options) as series:
        ((valid, values),) = valid_of(series)
    return valid, values


SIDES = st.integers(1, 60)


@given(SIDES, SIDES, st.integers(1, 80), st.integers(1, 80), st.integers(1, 4000))
def test_windows_cover_any_grid_once_and_keep_to_the_files_blocks(
    height, width, block_height, block_width, pixels
):
    grid = Grid("", (1, 0, 0, 0, -1, 0), width, height)
    seen = np.zeros((height, width), int)
    for window in windows(grid, block_height, block_width, pixels):
        rows = slice(window.row, window.row + window.height)
        seen[rows, window.column : window.column + window.width] += 1
        assert window.row % block_height == 0
        assert window.column % block_width == 0
        one_block = min(block_height, height) * min(block_width, width)
        assert 0 < window.height * window.width <= max(pixels, one_block)
    assert (seen == 1).all()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 11), st.integers(1, 19))))
def test_labels_are_spread_to_the_valid_pixels_in_the_order_of_tiles(valid):
    window = Window(0, 0, *valid.shape)
    labels = np.arange(1, valid.sum() + 1, dtype=np.uint8)
    whole = Block(0, window, None, np.packbits(in_tiles(valid))).spread(labels)
    assert whole.dtype == np.uint8
    assert in_tiles(whole)[in_tiles(valid)].tolist() == labels.tolist()
    assert not whole[~valid].any()
    if valid.all():
        assert Block(0, window, None, None).spread(labels).tolist() == whole.tolist()


LAYOUTS = [{}, {"interleave": "band"}] + [
    {"tiled": True, "blockxsize": x, "blockysize": y, "compress": "deflate"}
    for x, y in ((16, 16), (64, 16), (16, 64))
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_pixels_come_unchanged_from_any_layout(make_scene, monkeypatch, layout, dtype):
    values = land_cover(1).astype(dtype)
    values[1, ::3, ::2] = 0
    path = make_scene("s_20200101", values, nodata=0, **layout)
    expected = (values != 0).all(axis=0)
    stores = []
    for pixels in (50, 300, 1 << 20):
        monkeypatch.setattr("iikmc.core.reading.BLOCK_PIXELS", pixels)
        with open_series([path]) as series:
            ((valid, found),) = valid_of(series)
            store = series.pixels()
            stores.append((store.statistics, store.code_grids, store.pixels))
            order = np.concatenate([_places(series.grid, block) for block in store.blocks])
        np.testing.assert_array_equal(valid, expected)
        np.testing.assert_array_equal(found, values.reshape(3, -1)[:, order])
    assert stores[0] == stores[1] == stores[2]


def _places(grid, block):
    """Flat places, in the grid, of a block's pixels."""
    numbers = block.spread(np.arange(1, block.pixels + 1))
    rows, columns = np.nonzero(numbers)
    places = (rows + block.window.row) * grid.width + columns + block.window.column
    return places[np.argsort(numbers[rows, columns])]


def test_integers_take_two_bytes_a_band_in_any_type(make_scene):
    for dtype in ("uint8", "int16", "uint16", "int32", "float64"):
        path = make_scene(f"{dtype}_20200101", (land_cover(2) // 40).astype(dtype))
        with open_series([path]) as series:
            assert {block.codes.dtype for block in series.pixels().blocks} == {np.dtype(np.uint16)}


@pytest.mark.parametrize(
    ("dtype", "nodata", "invalid"),
    [
        ("uint8", 0, 0),
        ("uint8", 255, 255),
        ("int16", -9999, -9999),
        ("uint16", 65535, 65535),
        ("int32", -2147483648, -2147483648),
        ("float32", -9999, -9999),
        ("float32", FLOAT32_LOWEST, FLOAT32_LOWEST),
        ("float32", -3.4e38, -3.4e38),
        ("float32", 0.1, 0.1),
        ("float64", FLOAT32_LOWEST, FLOAT32_LOWEST),
        ("float64", -1.7976931348623157e308, -1.7976931348623157e308),
        ("float32", np.nan, np.nan),
        ("float32", None, np.nan),
        ("float64", -9999, np.inf),
        ("float32", None, -np.inf),
    ],
)
def test_nodata_of_any_type_and_what_is_not_finite_are_left_out(make_scene, dtype, nodata, invalid):
    values = np.arange(1, 31).reshape(2, 3, 5).astype(dtype)
    values[0, 1, 2] = values[1, 2, 4] = invalid
    valid, found = read_one(make_scene("s_20200101", values, nodata=nodata))
    expected = np.ones((3, 5), bool)
    expected[1, 2] = expected[2, 4] = False
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_allclose(found, values[:, expected], rtol=1e-6)


@HERE
@given(
    hnp.arrays(np.float64, (4, 6), elements=st.sampled_from([0.0, 1.5, -9999.0, 0.1, np.nan])),
    st.sampled_from([None, 0.0, -9999.0, 0.1, np.nan]),
)
def test_gdal_sees_the_same_nodata(make_scene, values, nodata):
    values = values.astype(np.float32)
    path = make_scene("s_20200101", values, nodata=nodata)
    with rasterio.open(path) as raster:
        expected = (raster.read_masks(1) > 0) & np.isfinite(values)
    if expected.any():
        np.testing.assert_array_equal(read_one(path)[0], expected)


def test_each_band_has_its_own_nodata(make_scene, tmp_path):
    source = make_scene("source", np.stack([np.arange(6), np.arange(6)[::-1]])[:, None] * 1.0)
    bands = "".join(
        f'<VRTRasterBand dataType="Float64" band="{band}"><NoDataValue>{nodata}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, nodata in ((1, 2), (2, 0))
    )
    path = tmp_path / "s_20200101.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="1">'
        f"<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>{bands}</VRTDataset>"
    )
    assert read_one(path)[0].tolist() == [[True, True, False, True, True, False]]
    # A band that is not used does not count.
    assert read_one(path, bands=[2])[0].tolist() == [[True] * 5 + [False]]


def test_masks_alpha_and_nodata_all_have_to_agree(make_scene):
    values = np.arange(1, 9, dtype=np.uint8).reshape(1, 2, 4)
    values[0, 0, 0] = 200
    path = make_scene("s_20200101", values)
    own = np.array([[1, 1, 0, 1], [1, 1, 1, 1]], bool)
    with rasterio.open(path, "r+") as raster:
        raster.write_mask(own)
    given_mask = np.array([[1, 1, 1, 1], [0, 1, 1, 255]], np.uint8)
    mask = make_scene("mask", given_mask, nodata=255)
    expected = own & (given_mask == 1)
    assert read_one(path, masks=[mask])[0].tolist() == expected.tolist()

    rgba = make_scene("a_20200101", np.ones((4, 2, 4), np.uint8), photometric="rgb", alpha="yes")
    with rasterio.open(rgba, "r+") as raster:
        raster.write(own.astype(np.uint8) * 7, 4)
    assert read_one(rgba)[0].tolist() == own.tolist()
    assert read_one(rgba, bands=[1, 4])[0].all()


def test_a_scene_without_a_valid_pixel_is_kept_among_others(three_scenes, make_scene):
    cloudy = make_scene("cloudy_20200101", np.zeros((3, 40, 50), np.uint16), nodata=0)
    with open_series([cloudy, *three_scenes]) as series:
        assert series.pixels().scene_pixels[0] == 0
        model = cluster(series, classes=3, engine="numpy")
    assert model.fit.scenes[0].class_pixels == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_series_without_a_valid_pixel_is_refused(make_scene, dtype):
    with open_series([make_scene("s_20200101", np.zeros((2, 5, 5), dtype), nodata=0)]) as series:
        for _ in range(2):
            with pytest.raises(SeriesError, match="No scene has a valid pixel: check the masks"):
                series.pixels()


def test_bands_of_differing_types_are_coded_together(make_scene):
    scenes = [
        np.array([[0, 255]], np.uint8),
        np.array([[-5, 300]], np.int16),
        np.array([[1, 65_000]], np.uint16),
    ]
    paths = [make_scene(f"s_2020010{n + 1}", values) for n, values in enumerate(scenes)]
    with open_series(paths) as series:
        values = [found.ravel().tolist() for _, found in valid_of(series)]
        assert series.pixels().code_grids == (CodeGrid(-5, 1.0),)
    assert values == [scene.ravel().tolist() for scene in scenes]


class Recorder(Monitor):
    def __init__(self):
        self.shares, self.warnings = [], []

    def progress(self, fraction):
        self.shares.append(fraction)

    def warning(self, text):
        self.warnings.append(text)


def test_values_cut_to_the_grid_are_counted_and_warned_of(make_scene):
    values = np.random.default_rng(0).random((2, 100, 120)).astype(np.float32)
    values[1, 5, 5] = values[1, 7, 7] = -9999
    monitor = Recorder()
    with open_series([make_scene("s_20200101", values, band_names=["red", "nir"])]) as series:
        store = series.pixels()
        store.warn_saturated(series.band_names, monitor)
    assert store.saturated == (0, 2)
    assert len(monitor.warnings) == 1 and monitor.warnings[0].startswith("2 values of band nir")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_files_are_read_once_for_as_many_calls_as_want_them(make_scene, monkeypatch, dtype):
    path = make_scene("s_20200101", (land_cover(3) / 7).astype(dtype))
    reads = []

    def counted(*arguments):
        reads.append(arguments)
        return read_onto(*arguments)

    monkeypatch.setattr(valid, "read_onto", counted)
    with open_series([path]) as series:
        own = series.pixels()
        once = len(reads)
        assert series.pixels() is own
        assert series.pixels(code_grids=own.code_grids) is own
        assert len(reads) == once, "a model's grids that are the series' own need no second read"
        other = [CodeGrid(7, 1.0)] * 3
        foreign = series.pixels(code_grids=other)
        assert foreign.code_grids == tuple(other) and len(reads) > once
        assert series.pixels().code_grids == own.code_grids


def test_progress_of_reading_rises_from_0_to_1(three_scenes, make_scene):
    floats = make_scene("f_20200101", np.random.default_rng(0).random((3, 40, 50)))
    for paths in (three_scenes, [floats]):
        monitor = Recorder()
        with open_series(paths) as series:
            series.pixels(monitor=monitor)
        assert monitor.shares == sorted(monitor.shares)
        assert monitor.shares[0] >= 0 and monitor.shares[-1] == pytest.approx(1)
