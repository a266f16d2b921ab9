"""STAC items become products: hrefs to paths, bands by what the item says of them."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import numpy as np
import pytest
import rasterio
from product_folders import as_tar, as_zip, planet_scene, stac_items, write_raster

from iikmc.core.products import Condition, ProductKind, find_products

UTC = dt.timezone.utc
BLUE_TO_SWIR = ("blue", "green", "red", "nir", "swir16")


def found(*inputs, **options):
    """Return the products of the items in the inputs; nothing may be left out."""
    products, left_out = find_products(inputs, ProductKind.STAC, **options)
    assert left_out == []
    return products


def reasons(*inputs, **options):
    """Return why items are left out; none may be used."""
    products, left_out = find_products(inputs, ProductKind.STAC, **options)
    assert products == []
    return [item.reason for item in left_out]


def read(band):
    """Return the values of a product's band as GDAL reads them."""
    with rasterio.open(band.path) as dataset:
        return dataset.read(band.number)


def item_file(folder, assets, name="scene_20200501", **properties):
    """Write one item with the given assets and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2020-05-01T10:00:00Z", **properties},
        "links": [],
        "assets": assets,
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(item))
    return file


def asset(href, common_name="", name="", **more):
    """Return an asset with one band."""
    bands = [{"name": name or common_name, "common_name": common_name}] if common_name else []
    return {"href": href, "type": "image/tiff; application=geotiff", "eo:bands": bands, **more}


def remote_items(tmp_path, hrefs, **properties):
    """Return the paths of the bands of an item with these hrefs."""
    assets = {f"b{number}": asset(href, f"b{number}") for number, href in enumerate(hrefs)}
    product = found(item_file(tmp_path, assets, **properties))[0]
    return [band.path for band in product.bands]


@pytest.mark.parametrize("fields", ["eo:bands", "bands"])
@pytest.mark.parametrize("collection", [True, False], ids=["collection", "items"])
def test_relative_hrefs_are_read_beside_the_items(tmp_path, fields, collection):
    given = stac_items(tmp_path, fields=fields, collection=collection, scale=0.0002, offset=0.01)
    products = found(given)
    assert [product.name for product in products] == [
        "S2B_33TVM_20200501_0_L2A",
        "S2B_33TVM_20200511_0_L2A",
    ]
    product = products[0]
    assert product.time == dt.datetime(2020, 5, 1, 9, 50, 31, 24000, UTC)
    assert (product.sensor, product.usual) == ("Sentinel-2B", BLUE_TO_SWIR)
    assert [(band.name, band.native) for band in product.bands] == list(
        zip(BLUE_TO_SWIR, ("B02", "B03", "B04", "B08", "B11"))
    )
    for band in product.bands:
        file = tmp_path / product.name / f"{band.native}.tif"
        assert (band.path, band.number) == (file.as_posix(), 1)
        assert (band.scale, band.offset, band.nodata) == (0.0002, 0.01, 0.0)
    assert [layer.path[-8:] for layer in product.quality] == ["/SCL.tif"]


def test_the_layer_of_scene_classes_is_read(tmp_path):
    classes = np.full((60, 60), 4, np.uint8)
    classes[1, 2], classes[3, 4] = 3, 10
    layer = found(stac_items(tmp_path, ["2020-05-01"], quality=classes))[0].quality[0]
    told = layer.conditions(read(layer))
    assert np.argwhere(told[Condition.SHADOW]).tolist() == [[1, 2]]
    assert np.argwhere(told[Condition.CIRRUS]).tolist() == [[3, 4]]


def test_landsat_items_have_landsats_bits_and_constants(tmp_path):
    bits = np.full((60, 60), 21824, np.uint16)
    bits[5, 6] = 1 << 2
    given = stac_items(
        tmp_path, ["2020-05-01"], kind="landsat", quality=bits, scale=None, offset=None
    )
    product = found(given)[0]
    assert (product.sensor, product.notes) == ("Landsat 8", ())
    assert [(band.name, band.native) for band in product.bands] == [
        ("blue", "SR_B2"),
        ("green", "SR_B3"),
        ("red", "SR_B4"),
        ("nir08", "SR_B5"),
        ("swir16", "SR_B6"),
    ]
    assert {(band.scale, band.offset, band.nodata) for band in product.bands} == {
        (2.75e-05, -0.2, 0.0)
    }
    pixel, saturation = product.quality
    assert np.argwhere(pixel.conditions(read(pixel))[Condition.CIRRUS]).tolist() == [[5, 6]]
    assert Condition.SATURATED in saturation.conditions(read(saturation))


def test_items_of_landsat_7_name_their_bands_by_its_own_numbers(tmp_path):
    place = "https://e.com/LE07_L2SP_021030_20100109_20200911_02_T1_"
    numbers = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}
    assets = {
        name: asset(f"{place}SR_B{number}.TIF", name, f"SR_B{number}")
        for name, number in numbers.items()
    }
    assets["lwir"] = asset(f"{place}ST_B6.TIF", "lwir", "ST_B6", roles=["temperature"])
    assets["cdist"] = {"href": f"{place}ST_CDIST.TIF", "type": "image/tiff", "roles": ["data"]}
    assets["cloud_qa"] = {"href": f"{place}SR_CLOUD_QA.TIF", "type": "image/tiff"}
    for kind in ("qa_pixel", "qa_radsat"):
        assets[kind] = {"href": f"{place}{kind.upper()}.TIF", "type": "image/tiff"}
    name = "LE07_L2SP_021030_20100109_02_T1"
    product = found(item_file(tmp_path, assets, name, platform="landsat-7"))[0]
    assert {band.name: band.native for band in product.bands} == {
        name: f"SR_B{number}" for name, number in numbers.items()
    }
    told = product.quality[0].conditions(np.zeros((1, 1), np.uint16))
    assert len(product.quality) == 2 and Condition.CIRRUS not in told


@pytest.mark.parametrize(
    ("properties", "declared", "expected"),
    [
        ({"s2:processing_baseline": "02.09"}, None, 0.0),
        ({"s2:processing_baseline": "02.09"}, -0.1, 0.0),
        ({"s2:processing_baseline": "04.00"}, None, -0.1),
        ({"s2:processing_baseline": "05.10"}, -0.1, -0.1),
        ({"processing:version": "05.11"}, -0.1, -0.1),
        ({"s2:processing_baseline": "2.09"}, None, 0.0),
        ({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": True}, -0.1, 0.0),
        ({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": False}, 0.0, -0.1),
        ({"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": True}, None, 0.0),
        ({}, -0.1, -0.1),
        ({}, None, 0.0),
    ],
)
@pytest.mark.parametrize("fields", ["eo:bands", "bands"])
def test_the_offset_of_sentinel_2_is_applied_once(tmp_path, properties, declared, expected, fields):
    given = stac_items(tmp_path, properties=properties, fields=fields, offset=declared)
    for product in found(given):
        assert {(band.scale, band.offset) for band in product.bands} == {(0.0001, expected)}
        assert bool(product.notes) == (not properties)


def test_the_baseline_may_come_from_the_products_name(tmp_path):
    uri = "S2B_MSIL2A_20200501T095031_N0500_R079_T33TVM_20200501T135001.SAFE"
    given = stac_items(tmp_path, properties={"s2:product_uri": uri}, offset=None)
    assert {band.offset for band in found(given)[0].bands} == {-0.1}


def test_remote_hrefs_become_paths_of_gdals_file_systems(tmp_path):
    hrefs = {
        "https://e.com/a/B02.tif": "/vsicurl/https://e.com/a/B02.tif",
        "http://e.com/a.tif?sig=x%2F&se=1": "/vsicurl/http://e.com/a.tif?sig=x%2F&se=1",
        "s3://bucket/a/b.tif": "/vsis3/bucket/a/b.tif",
        "gs://bucket/a/b.tif": "/vsigs/bucket/a/b.tif",
        "az://container/b.tif": "/vsiaz/container/b.tif",
        "/vsicurl/https://e.com/c.tif": "/vsicurl/https://e.com/c.tif",
        "/vsizip//vsicurl/https://e.com/c.zip/c.tif": (
            "/vsizip//vsicurl/https://e.com/c.zip/c.tif"
        ),
    }
    paths = remote_items(tmp_path, list(hrefs)[:-1])
    assert paths == list(hrefs.values())[:-1]
    products = found(stac_items(tmp_path / "more", remote="https://e.com/"))
    assert products[0].bands[0].path == "/vsicurl/https://e.com/S2B_33TVM_20200501_0_L2A/B02.tif"
    assert products[0].quality[0].path.endswith("/S2B_33TVM_20200501_0_L2A/SCL.tif")


def test_local_hrefs_of_every_form_are_found(tmp_path):
    stac_items(tmp_path / "data", ["2020-05-01"], kind="plain")
    images = tmp_path / "data" / "scene_20200501"
    (images / "a b").mkdir()
    for name in ("red", "nir"):
        (images / f"{name}.tif").rename(images / "a b" / f"{name}.tif")
    hrefs = [
        (images / "blue.tif").as_posix(),
        (images / "green.tif").as_uri(),
        "../data/scene_20200501/a b/red.tif",
        "../data/scene_20200501/a%20b/nir.tif",
    ]
    assert remote_items(tmp_path / "items", hrefs) == [
        (images / part).as_posix()
        for part in ("blue.tif", "green.tif", "a b/red.tif", "a b/nir.tif")
    ]


def test_files_beside_their_item_are_read_there_though_the_href_is_remote(tmp_path):
    file = stac_items(tmp_path, ["2020-05-01"], collection=False, remote="https://e.com/")
    remote = found(file)[0]
    made = stac_items(tmp_path / "made", ["2020-05-01"], collection=False) / remote.name
    for name in ("B02.tif", "SCL.tif"):
        (made / name).rename(tmp_path / remote.name / name)
    shutil.rmtree(tmp_path / "made")
    product = found(file)[0]
    assert [band.path.startswith("/vsicurl/") for band in product.bands] == [False] + [True] * 4
    assert product.quality[0].path == (tmp_path / remote.name / "SCL.tif").as_posix()


def test_a_file_named_for_its_date_is_found_beside_a_collection(tmp_path):
    place = "https://e.com/LC08_L2SP_190031_"
    for date in ("20200501", "20200511"):
        item_file(
            tmp_path,
            {"red": asset(f"{place}{date}_20200827_02_T1_SR_B4.TIF", "red")},
            f"LC08_L2SP_190031_{date}_02_T1",
            datetime=f"{date[:4]}-{date[4:6]}-{date[6:]}T10:00:00Z",
        )
    local = tmp_path / "LC08_L2SP_190031_20200511_20200827_02_T1_SR_B4.TIF"
    write_raster(local, np.ones((5, 6), np.uint16))
    first, second = found(tmp_path, need_quality=False)
    assert first.bands[0].path.startswith("/vsicurl/")
    assert second.bands[0].path == local.as_posix()


def test_a_file_that_could_be_any_dates_is_not_taken(tmp_path):
    write_raster(tmp_path / "B02.tif", np.ones((60, 60), np.uint16))
    write_raster(tmp_path / "SCL.tif", np.ones((60, 60), np.uint8))
    for product in found(stac_items(tmp_path, remote="https://e.com/")):
        layers = (*product.bands, *product.quality)
        assert all(layer.path.startswith("/vsicurl/") for layer in layers)


def test_relative_hrefs_of_items_saved_from_a_catalogue_lead_to_the_catalogue(tmp_path):
    file = item_file(tmp_path, {"red": asset("../data/red.tif", "red")})
    item = json.loads(file.read_text())
    item["links"] = [{"rel": "self", "href": "https://e.com/items/one/item.json"}]
    file.write_text(json.dumps(item))
    assert found(file)[0].bands[0].path == "/vsicurl/https://e.com/items/data/red.tif"


@pytest.mark.parametrize("pack", [as_zip, as_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("nested", [True, False])
def test_items_in_archives_lead_to_the_archives_files(tmp_path, pack, nested):
    folder = stac_items(tmp_path / "set", ["2020-05-01"]).parent
    expected = read(found(folder)[0].bands[3])
    archive = pack(folder, nested=nested)
    shutil.rmtree(folder)
    product = found(archive)[0]
    assert len(product.bands) == 5
    np.testing.assert_array_equal(read(product.bands[3]), expected)


def test_hrefs_do_not_lead_out_of_an_archive(tmp_path):
    stac_items(tmp_path / "data", ["2020-05-01"], kind="plain")
    images, folder = tmp_path / "data" / "scene_20200501", tmp_path / "set"
    hrefs = {
        "red": "../data/scene_20200501/red.tif",
        "green": (images / "green.tif").as_posix(),
        "blue": (images / "blue.tif").as_uri(),
    }
    for number, (name, href) in enumerate(hrefs.items(), start=1):
        item_file(folder, {name: asset(href, name)}, f"scene_2020050{number}")
    assert len(found(folder)) == 3
    for name, reason in zip(hrefs, reasons(as_zip(folder))):
        assert f"has no usable assets; these files are not there: {name};" in reason


def test_an_asset_of_many_bands_is_taken_band_by_band(tmp_path):
    image = {
        "href": "https://e.com/all.tif",
        "type": "image/tiff",
        "eo:bands": [{"name": "b1", "common_name": "red"}, {"name": "b2", "common_name": "nir"}],
        "raster:bands": [
            {"scale": 0.5, "offset": 1, "nodata": "nan"},
            {"scale": 2, "nodata": -9999},
        ],
    }
    red, nir = found(item_file(tmp_path, {"data": image}))[0].bands
    assert (red.name, red.native, red.number, red.scale, red.offset) == ("red", "b1", 1, 0.5, 1.0)
    assert np.isnan(red.nodata)
    assert (nir.name, nir.number, nir.scale, nir.offset, nir.nodata) == ("nir", 2, 2.0, 0, -9999)


def test_stac_1_1_bands_take_what_the_asset_says_for_all(tmp_path):
    image = {
        "href": "https://e.com/all.tif",
        "type": "image/tiff",
        "bands": [
            {"name": "b1", "eo:common_name": "red", "eo:center_wavelength": 0.66},
            {"name": "b2", "eo:common_name": "nir", "raster:scale": 0.25, "nodata": 7},
        ],
        "raster:scale": 0.5,
        "raster:offset": -1,
        "nodata": 0,
    }
    red, nir = found(item_file(tmp_path, {"data": image}))[0].bands
    assert (red.scale, red.offset, red.nodata, red.wavelength) == (0.5, -1.0, 0.0, 0.66)
    assert (nir.scale, nir.offset, nir.nodata, nir.wavelength) == (0.25, -1.0, 7.0, None)


def test_bands_told_by_their_place_in_the_items_list(tmp_path):
    listed = [{"name": "SR_B3", "common_name": "green"}, {"name": "SR_B4", "common_name": "red"}]
    assets = {
        "SR_B3.TIF": {"href": "https://e.com/x_SR_B3.TIF", "eo:bands": [0]},
        "SR_B4.TIF": {"href": "https://e.com/x_SR_B4.TIF", "eo:bands": [1]},
    }
    product = found(item_file(tmp_path, assets, **{"eo:bands": listed}))[0]
    assert [band.name for band in product.bands] == ["green", "red"]


def test_the_finest_geotiff_is_taken_where_one_band_comes_several_times(tmp_path):
    assets = {
        "B04_60m": asset("https://e.com/B04_60m.jp2", "red", "B04"),
        "B04_10m-jp2": asset("https://e.com/B04_10m.jp2", "red", "B04", gsd=10),
        "B04_20m": asset("https://e.com/B04_20m.jp2", "red", "B04"),
        "B04_10m": asset("https://e.com/B04_10m.tif", "red", "B04", gsd=10),
        "visual": {
            "href": "https://e.com/TCI.tif",
            "type": "image/tiff",
            "gsd": 5,
            "eo:bands": [{"name": "B04", "common_name": "red"}] * 3,
        },
        "SCL_60m": {"href": "https://e.com/SCL_60m.jp2", "type": "image/jp2"},
        "SCL_20m": {"href": "https://e.com/SCL_20m.jp2", "type": "image/jp2"},
    }
    name = "S2B_MSIL2A_20220302T095029_N0400_R079_T33TVM_20220302T135001"
    product = found(item_file(tmp_path, assets, name))[0]
    assert [band.path for band in product.bands] == ["/vsicurl/https://e.com/B04_10m.tif"]
    assert [layer.path[-12:] for layer in product.quality] == ["/SCL_20m.jp2"]


def test_red_edges_with_one_common_name_stay_three(tmp_path):
    assets = {
        key: asset(f"https://e.com/{key}.tif", "rededge", key) for key in ("B05", "B06", "B07")
    }
    generic = found(item_file(tmp_path / "any", assets))[0]
    assert [band.name for band in generic.bands] == ["B05", "B06", "B07"]
    assets["SCL"] = {"href": "https://e.com/SCL.tif", "type": "image/tiff"}
    sentinel = found(item_file(tmp_path / "s2", assets, "S2A_33TVM_20200501_0_L2A"))[0]
    assert [band.name for band in sentinel.bands] == ["rededge1", "rededge2", "rededge3"]


def test_items_of_planetscope_have_their_bands_and_their_mask(tmp_path):
    scene = "20190105_083012_1034"
    image = planet_scene(tmp_path, scene)
    mask = image.with_name(image.name.replace("_AnalyticMS_SR", "_udm2"))
    assets = {
        "ortho_analytic_4b": {"href": "https://e.com/x_AnalyticMS.tif", "type": "image/tiff"},
        "ortho_analytic_4b_sr": {"href": image.name, "type": "image/tiff", "roles": ["data"]},
        "ortho_udm2": {"href": mask.name, "type": "image/tiff", "roles": ["data", "cloud"]},
    }
    product = found(item_file(tmp_path, assets, scene, constellation="planetscope"))[0]
    assert product.sensor == "PlanetScope"
    assert [(band.name, band.number) for band in product.bands] == [
        ("blue", 1),
        ("green", 2),
        ("red", 3),
        ("nir", 4),
    ]
    assert {(band.scale, band.nodata) for band in product.bands} == {(0.0001, 0.0)}
    assert [layer.number for layer in product.quality] == [2, 3, 4, 5, 6, 8]


def test_items_without_usable_assets_are_left_out_and_others_stay(tmp_path):
    stac_items(tmp_path, ["2020-05-01"])
    item_file(
        tmp_path,
        {
            "thumbnail": {"href": "https://e.com/t.png", "type": "image/png"},
            "browse": asset("https://e.com/p.tif", "red", roles=["overview"]),
            "visual": asset("https://e.com/v.tif", "red"),
            "aerosol": {"href": "https://e.com/a.tif", "type": "image/tiff"},
            "broken": {"title": "no href"},
        },
        "empty_20200101",
    )
    products, left_out = find_products([tmp_path], ProductKind.STAC)
    assert [product.name for product in products] == ["S2B_33TVM_20200501_0_L2A"]
    assert [item.reason for item in left_out] == [
        "STAC item 'empty_20200101' has no usable assets; expected rasters whose eo:bands or "
        "bands say which part of the spectrum they are."
    ]


def test_files_that_are_not_there_are_named(tmp_path):
    stac_items(tmp_path, ["2020-05-01"])
    for path in tmp_path.rglob("B04.tif"):
        path.unlink()
    assert reasons(tmp_path) == [
        "STAC item 'S2B_33TVM_20200501_0_L2A' lacks red; it has blue, green, nir, swir16: add the "
        "files, or name the bands to use with BANDS."
    ]
    assert len(found(tmp_path, bands=["green", "B08"])[0].bands) == 4


def test_an_item_of_a_known_product_needs_its_quality_layer(tmp_path):
    stac_items(tmp_path, ["2020-05-01"])
    for path in tmp_path.rglob("SCL.tif"):
        path.unlink()
    assert "has no quality layer that is known to tell clouds" in reasons(tmp_path)[0]
    assert "MASK" in reasons(tmp_path)[0]
    assert found(tmp_path, need_quality=False)[0].quality == ()


def test_saturation_alone_is_no_quality_that_tells_clouds(tmp_path):
    stac_items(tmp_path, ["2020-05-01"], kind="landsat")
    for path in tmp_path.rglob("QA_PIXEL.TIF"):
        path.unlink()
    assert "tell clouds" in reasons(tmp_path)[0]
    product = found(tmp_path, need_quality=False)[0]
    assert len(product.quality) == 1 and "clouds are not masked" in product.notes[0]


def test_a_landsat_item_without_qa_radsat_says_so(tmp_path):
    stac_items(tmp_path, ["2020-05-01"], kind="landsat")
    for path in tmp_path.rglob("QA_RADSAT.TIF"):
        path.unlink()
    product = found(tmp_path)[0]
    assert len(product.quality) == 1 and "has no QA_RADSAT" in product.notes[0]


def test_other_json_files_are_passed_over_when_detecting(tmp_path):
    stac_items(tmp_path, ["2020-05-01"])
    (tmp_path / "area.geojson").write_bytes('{"name": "Größe"}'.encode("latin-1"))
    (tmp_path / "broken.json").write_text('{"type": "Feature", "geo')
    products, left_out = find_products([tmp_path], ProductKind.DETECT)
    assert len(products) == 1 and left_out == []


def test_an_item_of_an_unknown_product_goes_without_quality_and_says_so(tmp_path):
    product = found(stac_items(tmp_path, ["2020-05-01"], kind="plain"))[0]
    assert product.quality == () and "clouds are not masked" in product.notes[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LC08_L1TP_047027_20201204_20210313_02_T1", "L1TP of Collection 2"),
        ("S2B_MSIL1C_20220302T095029_N0400_R079_T33TVM_20220302T135001", "Level 1C"),
    ],
)
def test_items_of_level_1_are_named(tmp_path, name, expected):
    file = item_file(tmp_path, {"B04": asset("https://e.com/B04.tif", "red")}, name)
    assert expected in reasons(file)[0] and "expected" in reasons(file)[0]


def test_the_time_may_be_a_range_or_in_the_id(tmp_path):
    red = {"red": asset("https://e.com/red.tif", "red")}
    file = item_file(tmp_path, red, datetime=None, start_datetime="2020-03-04T05:06:07+01:00")
    assert found(file)[0].time == dt.datetime(2020, 3, 4, 4, 6, 7, tzinfo=UTC)
    assert found(item_file(tmp_path, red, datetime=None))[0].time == dt.datetime(
        2020, 5, 1, tzinfo=UTC
    )
    file.unlink()
    assert "has no datetime" in reasons(item_file(tmp_path, red, "field", datetime=None))[0]


def test_truncated_and_other_files_are_named(tmp_path):
    file = stac_items(tmp_path)
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    assert "'items.json' is no whole JSON file" in reasons(file)[0]
    file.write_text('{"type": "FeatureCollection", "features": []}')
    assert "holds no STAC item" in reasons(file)[0]
    file.write_bytes(b'\xff\xfe\x00"assets"')
    assert "no text in UTF-8" in reasons(file)[0]


def test_whatever_lies_in_an_item_nothing_breaks(tmp_path):
    strange = [None, 3, "x", [], {}, [None], [3], {"href": 3}, {"href": "a.tif", "eo:bands": "x"}]
    strange += [{"href": "https://e.com/a.tif", "eo:bands": [99, -1, None], "raster:bands": [5]}]
    strange += [{"href": "https://[e/a.tif", "bands": [{"name": 3}], "roles": 7, "type": 1}]
    for number, value in enumerate(strange):
        file = item_file(tmp_path, {"red": value}, f"a_2020050{number % 9 + 1}_{number}")
        text = file.read_text()
        file.write_text(text.replace("[]", '[{"rel": "self", "href": "https://[e/x.json"}]', 1))
    for reason in reasons(tmp_path):
        assert "has no usable assets" in reason


def test_collections_and_catalogues_beside_items_are_passed_over(tmp_path):
    stac_items(tmp_path, ["2020-05-01"])
    red = {"red": asset("https://e.com/red.tif", "red")}
    for kind in ("Collection", "Catalog"):
        text = json.dumps({"type": kind, "id": "x_20200501", "assets": red})
        (tmp_path / f"{kind}.json").write_text(text)
    products, _ = find_products([tmp_path], ProductKind.DETECT)
    assert [product.name for product in products] == ["S2B_33TVM_20200501_0_L2A"]


def test_an_acquisition_in_two_files_is_listed_once_and_read_from_the_disk(tmp_path):
    stac_items(tmp_path / "a", ["2020-05-01"], remote="https://e.com/")
    stac_items(tmp_path / "b", ["2020-05-01"])
    product = found(tmp_path)[0]
    assert not product.bands[0].path.startswith("/vsi")
    assert any("same acquisition" in note for note in product.notes)
