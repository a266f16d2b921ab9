"""What is written is a whole GeoTIFF that every reader takes, or nothing at all."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_products import TIME, Log, bit, make_product, plan_of, prepared
from product_folders import made_up, multiband_folder

from iikmc.core.errors import Cancelled, OutputError, ParameterError, RasterError
from iikmc.core.files import StagedOutputs
from iikmc.core.grid import Grid, Window
from iikmc.core.places import Area, Extent
from iikmc.core.prepare.indices import Index
from iikmc.core.prepare.inputs import prepare_series
from iikmc.core.prepare.plan import LeftOutScene, PrepareSettings
from iikmc.core.prepare.radiometry import Radiometry
from iikmc.core.prepare.run import prepare
from iikmc.core.prepare.scenes import plan_scenes
from iikmc.core.prepare.table import COLUMNS, write_table
from iikmc.core.products.base import Condition
from iikmc.core.raster import scenes
from iikmc.core.raster.opened import OpenRasters
from iikmc.core.raster.scenes import SceneBand, SceneFile, SceneHeader, pack

UTM = rasterio.CRS.from_epsg(32633).to_wkt()
NODATA = {"uint8": 0, "uint16": 0, "int16": -32768, "int32": 7, "float32": np.nan, "float64": -1.5}


def header(dtype, height, width, bands=2, crs=UTM):
    grid = Grid(crs, (30.0, 0.0, 500_015.0, 0.0, -30.0, 4_599_985.0), width, height)
    described = tuple(SceneBand(f"bänd {n}", 0.5 + n, 2.75e-5, -0.2) for n in range(bands))
    when = dt.datetime(2020, 2, 29, 23, 59, 58)
    return SceneHeader(grid, dtype, NODATA[dtype], described, "Made-1", when)


def cut(data, height, width):
    """Return windows that cover all, along tiles, in any order."""
    rows = sorted({0, *data.draw(st.sets(st.sampled_from(range(0, height, 256)))), height})
    columns = sorted({0, *data.draw(st.sets(st.sampled_from(range(0, width, 256)))), width})
    windows = [
        Window(top, left, bottom - top, right - left)
        for top, bottom in zip(rows, rows[1:])
        for left, right in zip(columns, columns[1:])
    ]
    return data.draw(st.permutations(windows))


def part(values, window):
    rows = slice(window.row, window.row + window.height)
    return values[..., rows, window.column : window.column + window.width]


def write(path, head, values, windows):
    with SceneFile(path, head) as file:
        for window in windows:
            for band, plane in enumerate(part(values, window)):
                file.add(pack(head, band, window, plane))


@pytest.mark.parametrize("big", [False, True])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(st.data(), st.integers(1, 700), st.integers(1, 700), st.sampled_from(sorted(NODATA)))
def test_whatever_the_windows_and_types_values_are_read_back(
    tmp_path, monkeypatch, big, data, height, width, dtype
):
    monkeypatch.setattr(scenes, "_BIG", 0 if big else 2e9)
    head = header(dtype, height, width, data.draw(st.integers(1, 3)))
    shape = (len(head.bands), height, width)
    values = np.random.default_rng(height).integers(0, 100, shape).astype(dtype)
    values[:, height // 2 :, : width // 2] = head.nodata  # some tiles are empty
    path = tmp_path / "x.tif"
    write(path, head, values, cut(data, height, width))
    assert path.read_bytes()[2] == (43 if big else 42)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(), values)
        assert tuple(raster.transform)[:6] == head.grid.transform
        assert raster.crs == rasterio.CRS.from_epsg(32633)
        assert raster.descriptions == tuple(band.name for band in head.bands)
        assert raster.scales == (2.75e-5,) * len(head.bands)
        assert set(raster.block_shapes) == {(256, 256)} and raster.interleaving.name == "band"
        np.testing.assert_array_equal(raster.nodata, head.nodata)


def test_only_tiles_with_values_take_room_and_the_rest_is_nodata(tmp_path):
    head = header("uint16", 5000, 5000)
    window = Window(512, 1024, 256, 256)
    values = np.full((256, 256), 9, np.uint16)
    with SceneFile(tmp_path / "x.tif", head) as file:
        file.add(pack(head, 1, window, values))
    assert (tmp_path / "x.tif").stat().st_size < 20_000
    with rasterio.open(tmp_path / "x.tif") as raster:
        found = raster.read()
    assert found.sum() == values.sum()
    np.testing.assert_array_equal(part(found[1], window), values)


def test_gdal_finds_nothing_wrong_and_can_write_into_the_file(tmp_path):
    gdal = pytest.importorskip("osgeo.gdal")
    head = header("int16", 600, 500)
    values = made_up("x", (2, 600, 500)).astype(np.int16)
    values[:, :300] = head.nodata
    write(tmp_path / "x.tif", head, values, [Window(0, 0, 600, 500)])
    gdal.UseExceptions()
    dataset = gdal.Open(str(tmp_path / "x.tif"), gdal.GA_Update)
    assert dataset.GetRasterBand(2).GetDescription() == "bänd 1"
    assert dataset.GetMetadataItem("ACQUISITIONDATETIME", "IMAGERY") == "2020-02-29 23:59:58"
    values[0, 10:20, 10:20] = 7
    dataset.GetRasterBand(1).WriteArray(values[0, 10:20, 10:20], 10, 10)
    dataset = None
    dataset = gdal.Open(str(tmp_path / "x.tif"))
    np.testing.assert_array_equal(dataset.ReadAsArray(), values)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"x\.tif' cannot be written: No such file"):
        SceneFile(tmp_path / "gone" / "x.tif", header("uint8", 5, 5))


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from made_products import make_product, prepared
from product_folders import made_up
from iikmc.core.errors import OutputError

def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the limit ends the process
folder = Path(sys.argv[2])
values = {band: made_up(band, (600, 700), 1, 60_000) for band in ("blue", "red")}
product = make_product(folder / "in", values=values)
out = folder / "out"
prepared([product], out)
largest = (out / "scene.tif").stat().st_size
before = tree(folder)
for limit in [0, 1, 100, 1000, 2000, largest - 1, *range(0, largest, largest // 25)]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for target in (out, out / "new"):
        try:
            prepared([product], target)
        except OutputError as error:
            assert "File too large" in str(error), error
        else:
            raise AssertionError(f"no error with at most {limit} bytes")
        assert tree(folder) == before, limit
print("whole")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_an_error_and_leaves_all_as_it_was(tmp_path):
    """Wherever it strikes: in the header, in a tile, or when the table of tiles is written."""
    command = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "whole\n", done.stderr


class Cancelling(Log):
    """Is cancelled, as by a button, a moment after some share of the run."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share, self._timer = share, None
        self.at: float | None = None

    def progress(self, fraction: float) -> None:
        super().progress(fraction)
        if self._timer is None and fraction >= self._share:
            self._timer = threading.Timer(0.02, self._cancel)
            self._timer.start()

    def _cancel(self) -> None:
        self.at = time.perf_counter()

    def cancelled(self) -> bool:
        return self.at is not None


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Scenes that take a while: noise, to be warped."""
    folder = tmp_path_factory.mktemp("large")
    values = {band: made_up(band, (2200, 2200), 1, 60_000) for band in ("blue", "red", "nir")}
    return [make_product(folder, f"s{n}", values, pixel=20.0) for n in range(2)]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_cancel_is_answered_within_a_second_and_leaves_nothing(large, tmp_path, share):
    monitor = Cancelling(share)
    with pytest.raises(Cancelled):
        prepared(large, tmp_path / "new" / "out", monitor=monitor, resolution=13.0)
    assert time.perf_counter() - monitor.at < 1.0
    assert max(monitor.fractions) < 1.0
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_a_cancel_does_not_wait_for_a_window_that_takes_long(tmp_path):
    def slow(values):
        time.sleep(0.4)
        return {}

    product = make_product(tmp_path, quality=np.zeros((40, 50)))
    layer = dataclasses.replace(product.quality[0], conditions=slow)
    monitor = Cancelling(0.0)
    with pytest.raises(Cancelled):
        prepared([dataclasses.replace(product, quality=(layer,) * 8)], tmp_path, monitor=monitor)
    assert time.perf_counter() - monitor.at < 1.0


def test_progress_rises_to_the_end(large, tmp_path):
    log = Log()
    prepared(large, tmp_path, monitor=log)
    assert log.fractions == sorted(log.fractions)
    assert log.fractions[-1] == 1.0 and len(set(log.fractions)) > 10


def test_a_cancel_while_headers_are_read_is_no_scene_left_out(tmp_path):
    class Stopped(Log):
        def cancelled(self) -> bool:
            return True

    with pytest.raises(Cancelled):
        plan_scenes([make_product(tmp_path)], [], PrepareSettings(), Stopped())


def test_memory_does_not_grow_with_the_scene(tmp_path):
    """Twice as many rows take as much: windows come and go."""
    code = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import dataclasses
from made_products import make_product, prepared
from product_folders import made_up, multiband_folder
folder, rows = Path(sys.argv[2]), int(sys.argv[3])
import numpy as np, rasterio
with rasterio.open(folder / f"{rows}.tif", "w", driver="GTiff", dtype="uint16", count=1, width=2048,
                   height=rows, tiled=True, crs="EPSG:32633", nodata=0, compress="deflate",
                   transform=rasterio.transform.from_origin(500000, 4600000, 30, 30)) as raster:
    for row in range(0, rows, 256):
        raster.write(made_up(str(row), (1, 256, 2048)), window=((row, row + 256), (0, 2048)))
product = make_product(folder, f"s{rows}", {"blue": made_up("b", (4, 4))})
band = dataclasses.replace(product.bands[0], path=str(folder / f"{rows}.tif"))
bands = tuple(dataclasses.replace(band, name=f"b{n}") for n in range(4))
product = dataclasses.replace(product, bands=bands, usual=tuple(b.name for b in bands))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepared([product], folder / f"out{rows}", threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = []
    for rows in (4096, 12_288):
        command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown.append(int(done.stdout) / 1024)
    # The longer one has 128 MB more of values.
    assert grown[1] < grown[0] + 60, grown


def test_a_vrt_shows_the_products_files_where_nothing_has_to_be_done(tmp_path):
    quality = np.full((40, 50), bit(Condition.CLOUD))
    product = make_product(tmp_path / "in" / "deep", quality=quality)
    settings_ = {"references": True, "mask": frozenset(), "bands": ("red", "blue")}
    extent = Extent(499_700.0, 4_599_100.0, 500_600.0, 4_600_300.0)
    made = prepared([product], tmp_path / "out", **settings_, extent=extent)
    (scene,) = made.scenes
    assert scene.path == tmp_path / "out" / "scene.vrt"
    assert '"1">../in/deep/scene_B3.tif<' in scene.path.read_text("utf-8")
    assert scene.shares.share(Condition.CLOUD) == 1.0
    as_tiff = prepared(
        [product], tmp_path / "tiff", **{**settings_, "references": False}, extent=extent
    )
    with rasterio.open(scene.path) as shown, rasterio.open(as_tiff.scenes[0].path) as copied:
        np.testing.assert_array_equal(shown.read(), copied.read())
        assert shown.read().any()
        for what in (
            "descriptions",
            "nodatavals",
            "scales",
            "offsets",
            "crs",
            "transform",
            "dtypes",
        ):
            assert getattr(shown, what) == getattr(copied, what), what
        assert shown.tags(ns="IMAGERY") == copied.tags(ns="IMAGERY")
        assert shown.tags(1, ns="IMAGERY") == copied.tags(1, ns="IMAGERY")
        assert shown.tags()["ACQUISITION_DATE"] == "2020-05-01"
    shutil.move(tmp_path / "in", tmp_path / "moved" / "in")
    shutil.move(tmp_path / "out", tmp_path / "moved" / "out")
    with rasterio.open(tmp_path / "moved" / "out" / "scene.vrt") as shown:
        assert shown.read().any()


TRIANGLE = [(500_000, 4_600_000), (500_900, 4_600_000), (500_000, 4_599_100), (500_000, 4_600_000)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mask": frozenset({Condition.SNOW})}, "MASK asks"),
        ({"area": Area(({"type": "Polygon", "coordinates": [TRIANGLE]},))}, "AREA asks"),
        ({"indices": (Index.NDVI,)}, "INDICES have"),
        ({"resolution": 20.0}, "bands have to be resampled"),
        ({"radiometry": Radiometry.REFLECTANCE}, "numbers have to be converted"),
    ],
)
def test_where_pixels_need_work_a_geotiff_is_written_instead_and_that_is_said(
    tmp_path, change, reason
):
    product = make_product(tmp_path, values=("red", "nir"), quality=np.zeros((40, 50)))
    log = Log()
    wanted = {"references": True, "mask": frozenset(), **change}
    made = prepared([product], tmp_path / "out", monitor=log, **wanted)
    assert made.scenes[0].path.suffix == ".tif"
    assert any(f"1 of 1 scenes become GeoTIFFs: {reason}" in text for text in log.messages)


def test_a_vrt_is_not_left_of_a_scene_that_breaks(tmp_path):
    values = {"blue": made_up("b", (300, 300), 1, 60_000)}
    products = [make_product(tmp_path, f"s{n}", values) for n in range(2)]
    path = Path(products[0].bands[0].path)
    path.write_bytes(path.read_bytes()[:50_000])
    prepared(products, tmp_path / "out", references=True, mask=frozenset())
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["s1.vrt"]


def test_the_table_has_a_row_for_each_scene_used_or_not(tmp_path):
    clouds = np.full((40, 50), bit(Condition.CLOUD))
    products = [
        make_product(tmp_path, "clear", quality=clouds * (np.arange(50) < 10), time=TIME),
        make_product(tmp_path, "cloudy", quality=clouds, time=TIME + dt.timedelta(days=1)),
        make_product(tmp_path, "bare", time=TIME + dt.timedelta(days=2)),
    ]
    left = [LeftOutScene("torn", "Product 'torn' is torn.")]
    made = prepared(products, tmp_path / "out", left_out=left)
    write_table(tmp_path / "scenes.csv", made)
    with open(tmp_path / "scenes.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:7] == (
        *("scene", "date", "time", "sensor", "cloud_share", "valid_share"),
        "path",
    )
    assert [row["scene"] for row in rows] == ["clear", "bare", "torn", "cloudy"]
    clear, bare, torn, cloudy = rows
    assert (clear["date"], clear["time"], clear["sensor"]) == ("2020-05-01", "09:50:31", "Made-1")
    assert [float(clear[key]) for key in ("cloud_share", "valid_share", "snow_share")] == [
        0.2,
        0.8,
        0,
    ]
    assert clear["path"] == str(tmp_path / "out" / "clear.tif") and not clear["left_out"]
    assert (bare["cloud_share"], bare["valid_share"]) == ("", "1")
    assert (torn["path"], torn["date"], torn["left_out"]) == ("", "", "Product 'torn' is torn.")
    assert (cloudy["path"], cloudy["cloud_share"]) == ("", "1")
    assert "has no valid pixel" in cloudy["left_out"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_table(tmp_path / "gone" / "scenes.csv", made)


def test_rasters_in_archives_stay_open_on_their_thread_and_others_do_not(tmp_path):
    product = make_product(tmp_path, values=["blue"])
    path = product.bands[0].path
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path)
    inside = f"/vsizip/{archive}/{Path(path).name}"
    with OpenRasters() as rasters:
        with rasters.open(path) as plain:
            assert not plain.closed
        assert plain.closed
        with rasters.open(inside) as first, rasters.open(inside) as second:
            assert first is second
        assert not first.closed
        others = []
        thread = threading.Thread(target=lambda: others.append(_opened(rasters, inside)))
        thread.start()
        thread.join()
        assert others[0] is not first and not others[0].closed
    assert first.closed and others[0].closed


def _opened(rasters, path):
    with rasters.open(path) as dataset:
        return dataset


def test_one_call_from_folder_to_series(tmp_path):
    """What an earlier run left below the input is not taken for a product."""
    multiband_folder(tmp_path / "in")
    out = tmp_path / "in" / "prepared"
    first = prepare_series([tmp_path / "in"], out, product="multiband")
    assert [path.name for path in first] == ["scene_2020-05-01.tif", "scene_2020-05-11.tif"]
    before = [path.read_bytes() for path in first]
    again = prepare_series([tmp_path / "in"], out, product="multiband")
    assert again == first and [path.read_bytes() for path in again] == before
    with pytest.raises(OutputError, match="is an input"):
        prepare_series([tmp_path / "in" / "prepared"], out, product="multiband")
    with pytest.raises(ParameterError, match="product is 'modis'; expected one of detect, landsat"):
        prepare_series([tmp_path / "in"], out, product="modis")


def test_outputs_appear_only_when_all_are_there(tmp_path):
    plan = plan_of([make_product(tmp_path)])
    out = tmp_path / "out"
    with pytest.raises(RasterError), StagedOutputs() as outputs:
        made = prepare(plan, out, outputs)
        assert made.scenes[0].staged.is_file() and not made.scenes[0].path.exists()
        raise RasterError("something else went wrong")
    assert not out.exists()
