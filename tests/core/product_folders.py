"""Builders of small products: names, metadata and bits as agencies deliver them, values made up.

Each builder writes below ``folder`` and returns what a user would hand over: the product's folder
or its main file. Values can be given by common band name; what is not given is made from the
date and the band, so that two builds of one product are the same.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from product_metadata import MTL_WRITERS, mtl_groups, sentinel2_metadata
from product_rasters import (
    CLEAR_OLI,
    CLEAR_TM,
    EPSG,
    OLI_BANDS,
    ORIGIN,
    PLANET_4,
    PLANET_8,
    S2_BANDS,
    TM_BANDS,
    UDM2,
    made_up,
    write_raster,
)
from stac_folders import stac_items

__all__ = [
    "CLEAR_OLI",
    "CLEAR_TM",
    "EPSG",
    "OLI_BANDS",
    "ORIGIN",
    "PLANET_4",
    "PLANET_8",
    "S2_BANDS",
    "TM_BANDS",
    "UDM2",
    "as_tar",
    "as_zip",
    "landsat_folder",
    "made_up",
    "multiband_folder",
    "planet_scene",
    "sentinel2_bands",
    "sentinel2_name",
    "sentinel2_safe",
    "stac_items",
    "write_raster",
]


def landsat_folder(
    folder: Path,
    sensor: str = "LC08",
    date: str = "2019-07-31",
    *,
    path_row: str = "190031",
    processed: str = "20200827",
    tier: str = "T1",
    level: str = "L2SP",
    time: str = "09:58:12.3456780Z",
    height: int = 40,
    width: int = 50,
    origin: tuple[float, float] = ORIGIN,
    epsg: int = EPSG,
    values: Mapping[str, np.ndarray] | None = None,
    qa_pixel: np.ndarray | None = None,
    radsat: np.ndarray | None = None,
    metadata: Sequence[str] = ("txt",),
    leave_out: Sequence[str] = (),
) -> Path:
    """Write a Collection 2 Level 2 scene and return its folder, named as the product.

    ``metadata`` are the kinds of MTL file (txt, json, xml). ``leave_out`` names files by what
    follows the product's name, such as SR_B4 or QA_PIXEL. ``level`` L2SR has no temperature.
    """
    oli = sensor[1:] in {"C08", "C09", "O08", "O09"}
    bands = OLI_BANDS if oli else TM_BANDS
    name = f"{sensor}_{level}_{path_row}_{date.replace('-', '')}_{processed}_02_{tier}"
    target, shape = folder / name, (height, width)
    target.mkdir(parents=True)
    clear = np.full(shape, CLEAR_OLI if oli else CLEAR_TM, np.uint16)
    layers = {
        f"SR_B{number}": (values or {}).get(band, made_up(f"{date}{band}", shape, 7_300, 30_000))
        for band, number in bands.items()
    }
    if level == "L2SP":
        layers["ST_B10" if oli else "ST_B6"] = made_up(f"{date}lwir", shape, 35_000, 50_000)
    layers["QA_PIXEL"] = clear if qa_pixel is None else qa_pixel.astype(np.uint16)
    layers["QA_RADSAT"] = np.zeros_like(clear) if radsat is None else radsat.astype(np.uint16)
    if oli:
        layers["SR_QA_AEROSOL"] = np.full(shape, 96, np.uint8)
    else:
        layers["SR_CLOUD_QA"] = np.zeros(shape, np.uint8)
    for part, layer in layers.items():
        if part not in leave_out:
            nodata = {"QA_PIXEL": 1.0, "QA_RADSAT": None}.get(part, 0.0)
            file = target / f"{name}_{part}.TIF"
            write_raster(file, layer, origin=origin, epsg=epsg, nodata=nodata)
    groups = mtl_groups(name, sensor, date, time, bands)
    for kind in metadata:
        (target / f"{name}_MTL.{kind}").write_text(MTL_WRITERS[kind](groups), "utf-8")
    return target


def sentinel2_name(
    baseline: str, date: str, tile: str, time: str, satellite: str, level: str = "L2A"
) -> str:
    """Return a product's name without .SAFE."""
    day = date.replace("-", "")
    number = "N" + baseline.replace(".", "")
    return f"{satellite}_MSI{level}_{day}T{time}_{number}_R079_{tile}_{day}T135001"


def _sentinel2_values(
    date: str, values: Mapping[str, np.ndarray] | None, height: int, width: int, shift: int
) -> dict[str, np.ndarray]:
    shapes = {metres: (height * 10 // metres, width * 10 // metres) for metres in (10, 20, 60)}
    return {
        band: (values or {}).get(
            band, made_up(f"{date}{band}", shapes[metres], 1 + shift, 6_000 + shift)
        )
        for band, (_, metres) in S2_BANDS.items()
    }


def sentinel2_safe(
    folder: Path,
    baseline: str = "04.00",
    date: str = "2022-03-02",
    *,
    tile: str = "T33TVM",
    time: str = "095029",
    satellite: str = "S2B",
    height: int = 120,
    width: int = 120,
    origin: tuple[float, float] = ORIGIN,
    epsg: int = EPSG,
    values: Mapping[str, np.ndarray] | None = None,
    scl: np.ndarray | None = None,
    metadata: bool = True,
    quantification: int = 10_000,
    coarser: bool = True,
    extension: str = "jp2",
    leave_out: Sequence[str] = (),
) -> Path:
    """Write an L2A product as a SAFE folder and return the folder.

    ``height`` and ``width`` count 10 m pixels: multiples of 6. ``values`` are at each band's own
    resolution, ``scl`` (20 m) holds scene classes; where it is not given all is vegetation. From
    baseline 04.00 on, made-up values lie 1000 higher, and the metadata say so. ``coarser`` adds
    the copies at 20 and 60 m that products have. ``leave_out`` names bands such as B04 or SCL.
    """
    shift = 1_000 if baseline >= "04.00" else 0
    name = sentinel2_name(baseline, date, tile, time, satellite)
    day = date.replace("-", "")
    safe = folder / f"{name}.SAFE"
    images = safe / "GRANULE" / f"L2A_{tile}_A026031_{day}T{time}" / "IMG_DATA"
    place = {"origin": origin, "epsg": epsg}
    layers = _sentinel2_values(date, values, height, width, shift)
    classes = np.full((height // 2, width // 2), 4, np.uint8) if scl is None else scl
    for band, (native, metres) in S2_BANDS.items():
        if native in leave_out:
            continue
        for size in (metres, *(s for s in (20, 60) if s > metres and coarser)):
            layer = layers[band][:: size // metres, :: size // metres]
            file = f"{tile}_{day}T{time}_{native}_{size}m.{extension}"
            write_raster(images / f"R{size}m" / file, layer, pixel=size, **place)
    if "SCL" not in leave_out:
        file = f"{tile}_{day}T{time}_SCL_20m.{extension}"
        write_raster(images / "R20m" / file, classes.astype(np.uint8), pixel=20, **place)
    aerosol = made_up("AOT", layers["rededge1"].shape, 50, 200)
    write_raster(
        images / "R20m" / f"{tile}_{day}T{time}_AOT_20m.{extension}", aerosol, pixel=20, **place
    )
    if metadata:
        start = f"{date}T{time[:2]}:{time[2:4]}:{time[4:]}.024Z"
        text = sentinel2_metadata(name, baseline, start, quantification, shift)
        (safe / "MTD_MSIL2A.xml").write_text(text, "utf-8")
    return safe


def sentinel2_bands(
    folder: Path,
    baseline: str = "04.00",
    date: str = "2022-03-02",
    *,
    tile: str = "T33TVM",
    time: str = "095029",
    satellite: str = "S2B",
    height: int = 120,
    width: int = 120,
    origin: tuple[float, float] = ORIGIN,
    epsg: int = EPSG,
    values: Mapping[str, np.ndarray] | None = None,
    scl: np.ndarray | None = None,
    short: bool = True,
    extension: str = "tif",
    leave_out: Sequence[str] = (),
) -> Path:
    """Write a folder of band files without metadata, named as the product; return the folder.

    ``short`` files are called B02.tif, others T33TVM_20220302T095029_B02_10m.tif.
    """
    shift = 1_000 if baseline >= "04.00" else 0
    target = folder / sentinel2_name(baseline, date, tile, time, satellite)
    layers = dict(_sentinel2_values(date, values, height, width, shift))
    layers["scl"] = (
        np.full((height // 2, width // 2), 4, np.uint8) if scl is None else scl.astype(np.uint8)
    )
    day = date.replace("-", "")
    for band, layer in layers.items():
        native, metres = S2_BANDS.get(band, ("SCL", 20))
        if native not in leave_out:
            file = native if short else f"{tile}_{day}T{time}_{native}_{metres}m"
            write_raster(
                target / f"{file}.{extension}", layer, pixel=metres, origin=origin, epsg=epsg
            )
    return target


def planet_scene(
    folder: Path,
    scene: str = "20190105_083012_1034",
    *,
    bands: int = 4,
    infix: str = "_3B",
    height: int = 40,
    width: int = 50,
    origin: tuple[float, float] = ORIGIN,
    epsg: int = EPSG,
    values: np.ndarray | None = None,
    udm2: np.ndarray | None = None,
    udm: np.ndarray | None = None,
    mask: str = "udm2",
    described: bool = True,
    acquired: str | None = None,
    clipped: bool = False,
) -> Path:
    """Write a surface reflectance scene with its mask and return the image's path.

    ``values`` are (bands, height, width) in Planet's order; ``udm2`` (8, height, width) in
    Planet's order, all clear where not given; ``udm`` (height, width) the older bit mask.
    ``mask`` is udm2, udm or none. ``acquired`` is written to a metadata JSON file.
    """
    shape = (height, width)
    order = PLANET_8 if bands == 8 else PLANET_4
    if values is None:
        values = np.stack([made_up(f"{scene}{band}", shape) for band in order])
    ending = "_8b" if bands == 8 else ""
    clip = "_clip" if clipped else ""
    place = {"pixel": 3.0, "origin": origin, "epsg": epsg}
    image = write_raster(
        folder / f"{scene}{infix}_AnalyticMS_SR{ending}{clip}.tif",
        values.astype(np.uint16),
        nodata=0,
        names=order if described else (),
        **place,
    )
    if mask == "udm2":
        if udm2 is None:
            udm2 = np.zeros((8, *shape), np.uint8)
            udm2[0], udm2[6] = 1, 90
        write_raster(
            folder / f"{scene}{infix}_udm2{clip}.tif",
            udm2.astype(np.uint8),
            names=UDM2 if described else (),
            **place,
        )
    elif mask == "udm":
        bits = np.zeros(shape, np.uint8) if udm is None else udm.astype(np.uint8)
        write_raster(folder / f"{scene}{infix}_AnalyticMS_DN_udm{clip}.tif", bits, **place)
    if acquired:
        properties = {"acquired": acquired, "instrument": "PSB.SD", "satellite_id": scene[-4:]}
        (folder / f"{scene}_metadata.json").write_text(
            json.dumps({"id": scene, "properties": properties, "type": "Feature"}), "utf-8"
        )
    return image


def multiband_folder(
    folder: Path,
    dates: Sequence[str] = ("2020-05-01", "2020-05-11"),
    *,
    names: Sequence[str] = ("blue", "green", "red", "nir"),
    described: bool = True,
    height: int = 40,
    width: int = 50,
    scale: float | None = None,
    offset: float | None = None,
) -> Path:
    """Write one multiband GeoTIFF per date and return the folder."""
    for date in dates:
        values = np.stack([made_up(f"{date}{name}", (height, width)) for name in names])
        write_raster(
            folder / f"scene_{date}.tif",
            values,
            pixel=10.0,
            nodata=0,
            names=names if described else (),
            scale=scale,
            offset=offset,
        )
    return folder


def as_tar(path: Path, *, nested: bool = False, compressed: bool = False) -> Path:
    """Put a folder's files in a .tar beside it, as USGS does; ``nested`` keeps the folder."""
    target = path.with_name(path.name + (".tar.gz" if compressed else ".tar"))
    mode = "w:gz" if compressed else "w"
    # GDAL does not find long names in Python's usual format.
    with tarfile.open(target, mode, format=tarfile.GNU_FORMAT) as archive:
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            archive.add(file, file.relative_to(path.parent if nested else path).as_posix())
    return target


def as_zip(path: Path, *, nested: bool = True) -> Path:
    """Put a folder in a .zip beside it, as Copernicus does; not ``nested``: its files only."""
    target = path.with_name(path.name.removesuffix(".SAFE") + ".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            archive.write(file, file.relative_to(path.parent if nested else path).as_posix())
    return target
