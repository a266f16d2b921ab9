"""Writes the demo's Sentinel-2 series: one GeoTIFF and one SCL mask for every clear date.

The series is the 10 m cube inside the PyPI wheel nrt 0.1.0 (Romania, 2015 to 2021; contains
modified Copernicus Sentinel data). SCL is Sentinel-2's scene classification.
"""

import datetime
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

WHEEL = "nrt-0.1.0-py3-none-any.whl"
CUBE = "nrt/data/sentinel2_cube_subset_romania_10m.nc"
BANDS = ("B2", "B3", "B4", "B8")
CLEAR = (4, 5, 6, 7)  # vegetation, bare, water, unclassified
LEAST_CLEAR = 0.95
OPTIONS = ["TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256", "COMPRESS=DEFLATE"]


def fetch(cache: Path) -> Path:
    """Path of the cube, downloaded into ``cache`` unless it is there."""
    cube = cache / Path(CUBE).name
    if cube.exists():
        return cube
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / WHEEL).exists():
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
        subprocess.run([*pip, "--dest", cache, "nrt==0.1.0"], check=True)
    with zipfile.ZipFile(cache / WHEEL) as wheel:
        partial = cube.with_suffix(".partial")
        partial.write_bytes(wheel.read(CUBE))
        partial.rename(cube)
    return cube


def dates(time: gdal.MDArray) -> list[datetime.date]:
    """The calendar dates of a CF time variable in whole days."""
    unit, _, start = time.GetUnit().partition(" since ")
    if unit != "days":
        raise ValueError(f"The cube counts its time in '{unit}', expected days.")
    first = datetime.datetime.fromisoformat(start).date()
    return [first + datetime.timedelta(days=int(days)) for days in time.ReadAsArray()]


def geotransform(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """GDAL's geotransform of pixel centres (columns), (rows): the file itself has none."""
    width, height = x[1] - x[0], y[1] - y[0]
    return (x[0] - width / 2, width, 0.0, y[0] - height / 2, 0.0, height)


def write(path: Path, planes: np.ndarray, names, transform, crs, *, nodata=None) -> None:
    """Write planes (bands, rows, columns) as a GeoTIFF with named bands."""
    kind = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16}[planes.dtype.name]
    bands, rows, columns = planes.shape
    partial = path.with_suffix(".partial")
    raster = gdal.GetDriverByName("GTiff").Create(
        str(partial), columns, rows, bands, kind, options=OPTIONS
    )
    raster.SetGeoTransform(transform)
    raster.SetSpatialRef(crs)
    for number, (name, plane) in enumerate(zip(names, planes), start=1):
        band = raster.GetRasterBand(number)
        band.SetDescription(name)
        if nodata is not None:
            band.SetNoDataValue(nodata)
        band.WriteArray(plane)
    raster.FlushCache()
    del band, raster
    partial.rename(path)


def main(folder: Path) -> None:
    """Write the clear dates of the cube into ``folder``."""
    gdal.UseExceptions()
    source = gdal.OpenEx(str(fetch(folder.parent / ".cache")), gdal.OF_MULTIDIM_RASTER)
    group = source.GetRootGroup()
    x, y, scl = (group.OpenMDArray(name).ReadAsArray() for name in ("x", "y", "SCL"))
    cube = np.stack([group.OpenMDArray(name).ReadAsArray() for name in BANDS], axis=1)
    transform = geotransform(x, y)
    # The file wraps its CRS in a transformation to WGS 84, which would only confuse GIS programs.
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(int(group.OpenMDArray("SCL").GetSpatialRef().GetAuthorityCode(None)))

    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for date, scene, classes in zip(dates(group.OpenMDArray("time")), cube, scl):
        if np.isin(classes, CLEAR).mean() < LEAST_CLEAR:
            continue
        count += 1
        write(folder / f"S2_{date}.tif", scene, BANDS, transform, crs, nodata=0)
        mask = classes[np.newaxis].astype("uint8")
        write(folder / f"SCL_{date}.tif", mask, ["SCL"], transform, crs)
    print(f"scenes: {count} of {len(scl)} dates are at least {LEAST_CLEAR:.0%} clear, in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
