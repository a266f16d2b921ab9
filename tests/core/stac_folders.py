"""STAC items with their rasters, as catalogues write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from product_rasters import (
    CLEAR_OLI,
    EPSG,
    OLI_BANDS,
    ORIGIN,
    S2_BANDS,
    made_up,
    write_raster,
)


def stac_items(
    folder: Path,
    dates: Sequence[str] = ("2020-05-01", "2020-05-11"),
    *,
    kind: str = "sentinel2",
    fields: str = "eo:bands",
    bands: Sequence[str] | None = None,
    collection: bool = True,
    remote: str = "",
    properties: Mapping[str, object] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    quality: np.ndarray | None = None,
    height: int = 60,
    width: int = 60,
    origin: tuple[float, float] = ORIGIN,
    epsg: int = EPSG,
    scale: float | None = 0.0001,
    offset: float | None = 0.0,
) -> Path:
    """Write STAC items with their rasters; return the ItemCollection, or the folder of items.

    ``kind`` is sentinel2 (B02.tif, with SCL.tif), landsat (SR_B2.TIF with QA_PIXEL.TIF and
    QA_RADSAT.TIF) or plain (no quality). ``fields`` is eo:bands with raster:bands (STAC 1.0) or
    bands (STAC 1.1). With ``remote``, a prefix such as https://example.com/, only the items are
    written and hrefs begin with it; else hrefs are relative to the items. ``bands`` are common
    names (blue to swir16 where not given), all written on one grid, 10 m or (Landsat) 30 m.
    """
    near_infrared = "nir08" if kind == "landsat" else "nir"
    bands = bands or ("blue", "green", "red", near_infrared, "swir16")
    folder.mkdir(parents=True, exist_ok=True)
    pixel, items = (30.0 if kind == "landsat" else 10.0), []
    for date in dates:
        day, layers, roles = date.replace("-", ""), {}, {}
        for band in bands:
            layers[_stac_file(kind, band)] = (values or {}).get(
                band, made_up(f"{date}{band}", (height, width))
            )
            roles[_stac_file(kind, band)] = band
        if kind == "sentinel2":
            name = f"S2B_33TVM_{day}_0_L2A"
            classes = np.full((height, width), 4) if quality is None else quality
            layers["SCL.tif"] = classes.astype(np.uint8)
        elif kind == "landsat":
            name = f"LC08_L2SP_190031_{day}_02_T1"
            bits = np.full((height, width), CLEAR_OLI) if quality is None else quality
            layers["QA_PIXEL.TIF"] = bits.astype(np.uint16)
            layers["QA_RADSAT.TIF"] = np.zeros((height, width), np.uint16)
        else:
            name = f"scene_{day}"
        assets = {}
        for file, layer in layers.items():
            if not remote:
                place = {"pixel": pixel, "origin": origin, "epsg": epsg}
                write_raster(folder / name / file, layer, **place)
            inner = f"{name}/{file}" if collection else file
            href = f"{remote}{name}/{file}" if remote else f"./{inner}"
            key = roles.get(file, Path(file).stem.lower())
            assets[key] = _stac_asset(href, roles.get(file), file, fields, scale, offset)
        item = {
            "type": "Feature",
            "stac_version": "1.1.0" if fields == "bands" else "1.0.0",
            "id": name,
            "geometry": None,
            "properties": {
                "datetime": f"{date}T09:50:31.024000Z",
                "platform": {"sentinel2": "sentinel-2b", "landsat": "landsat-8"}.get(kind, "any"),
                "proj:epsg": epsg,
                **(properties or {}),
            },
            "links": [],
            "assets": assets,
        }
        items.append(item)
        if not collection:
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{name}.json").write_text(json.dumps(item, indent=1), "utf-8")
    if not collection:
        return folder
    target = folder / "items.json"
    target.write_text(json.dumps({"type": "FeatureCollection", "features": items}), "utf-8")
    return target


def _stac_file(kind: str, band: str) -> str:
    if kind == "sentinel2":
        return f"{S2_BANDS[band][0]}.tif"
    return f"SR_B{OLI_BANDS[band]}.TIF" if kind == "landsat" else f"{band}.tif"


def _stac_asset(
    href: str,
    band: str | None,
    file: str,
    fields: str,
    scale: float | None,
    offset: float | None,
) -> dict[str, object]:
    asset: dict[str, object] = {
        "href": href,
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data", "reflectance"] if band else ["data"],
    }
    if band is None:
        return asset
    numbers = {"scale": scale, "offset": offset}
    numbers = {key: value for key, value in numbers.items() if value is not None}
    if fields == "bands":
        asset["bands"] = [{"name": Path(file).stem, "eo:common_name": band}]
        asset["nodata"] = 0
        asset |= {f"raster:{key}": value for key, value in numbers.items()}
    else:
        asset["eo:bands"] = [{"name": Path(file).stem, "common_name": band}]
        asset["raster:bands"] = [{"nodata": 0, "data_type": "uint16", **numbers}]
    return asset
