"""Products are looked for in folders, archives and files: listed once, or named with a reason."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile

import pytest
from product_folders import (
    as_tar,
    as_zip,
    landsat_folder,
    multiband_folder,
    planet_scene,
    sentinel2_bands,
    sentinel2_safe,
    stac_items,
)

from iikmc.core.errors import Cancelled, SeriesError
from iikmc.core.monitor import Monitor
from iikmc.core.products import ProductKind, find_products

EVIL_NAMES = [
    "../x.tif",
    "a/../../x.tif",
    "/etc/x.tif",
    "..\\x.tif",
    "C:\\x.tif",
    "\\x.tif",
    "a/..",
]


def every_kind(folder):
    """Write one product of each kind but multiband and return their names."""
    names = [landsat_folder(folder / "landsat").name, sentinel2_safe(folder / "s2").name[:-5]]
    planet_scene(folder / "planet")
    stac_items(folder / "stac", ["2020-05-01"])
    return {*names, "20190105_083012_1034", "S2B_33TVM_20200501_0_L2A"}


def test_kinds_are_in_the_order_of_the_parameter():
    assert [kind.value for kind in ProductKind] == [
        "detect",
        "landsat",
        "sentinel2",
        "planetscope",
        "stac",
        "multiband",
    ]


def test_detecting_finds_each_product_once_oldest_first(tmp_path):
    names = every_kind(tmp_path)
    multiband_folder(tmp_path / "others")
    products, left_out = find_products([tmp_path])
    assert left_out == []
    assert [product.name for product in products if product.name in names] == [
        product.name for product in products
    ]
    assert {product.name for product in products} == names
    assert [product.time for product in products] == sorted(product.time for product in products)
    assert all(product.notes == () for product in products if product.name[0] == "L")


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (ProductKind.LANDSAT, 1),
        (ProductKind.SENTINEL2, 1),
        (ProductKind.PLANETSCOPE, 1),
        (ProductKind.STAC, 1),
    ],
)
def test_a_kind_asked_for_by_name_is_the_only_one_found(tmp_path, kind, count):
    every_kind(tmp_path)
    products, _ = find_products([tmp_path], kind)
    assert len(products) == count


def test_items_come_before_the_bands_they_describe(tmp_path):
    six = ("blue", "green", "red", "nir08", "swir16", "swir22")
    file = stac_items(tmp_path, kind="landsat", bands=six)
    text = file.read_text()
    for image in tmp_path.rglob("*.TIF"):
        name = image.parent.name.replace("_02_T1", "_20200827_02_T1")
        renamed = image.rename(image.with_name(f"{name}_{image.name}"))
        text = text.replace(
            f"{image.parent.name}/{image.name}", f"{image.parent.name}/{renamed.name}"
        )
    file.write_text(text)
    by_name, _ = find_products([tmp_path], ProductKind.LANDSAT)
    assert {band.scale for product in by_name for band in product.bands} == {2.75e-05}
    products, left_out = find_products([tmp_path])
    assert left_out == []
    assert [product.name for product in products] == [
        "LC08_L2SP_190031_20200501_02_T1",
        "LC08_L2SP_190031_20200511_02_T1",
    ]
    assert {band.scale for product in products for band in product.bands} == {0.0001}
    assert all(product.notes == () for product in products)


def describe_image(image, name):
    """Write a STAC item of another name beside a PlanetScope image."""
    bands = [{"name": band, "common_name": band} for band in ("blue", "green", "red", "nir")]
    item = {
        "type": "Feature",
        "id": name,
        "properties": {"datetime": "2019-01-05T08:30:12Z"},
        "assets": {"image": {"href": image.name, "type": "image/tiff", "eo:bands": bands}},
    }
    image.with_name(f"{name}.json").write_text(json.dumps(item))


def test_an_image_that_an_item_describes_is_no_second_product(tmp_path):
    describe_image(planet_scene(tmp_path), "field")
    products, left_out = find_products([tmp_path])
    assert [product.name for product in products] == ["field"]
    assert left_out == []


def test_what_an_item_makes_usable_is_not_left_out_as_well(tmp_path):
    describe_image(planet_scene(tmp_path, mask="none"), "field")
    products, left_out = find_products([tmp_path])
    assert [product.name for product in products] == ["field"]
    assert left_out == []


def test_an_unusable_item_of_a_scene_that_is_there_is_not_left_out(tmp_path):
    folder = landsat_folder(tmp_path)
    item = {
        "type": "Feature",
        "id": folder.name.replace("_20200827_", "_"),
        "properties": {"datetime": "2019-07-31T10:00:00Z"},
        "assets": {"st": {"href": f"{folder.name}_ST_B10.TIF", "type": "image/tiff"}},
    }
    (folder / f"{folder.name}_ST_stac.json").write_text(json.dumps(item))
    assert "has no usable assets" in find_products([tmp_path], ProductKind.STAC)[1][0].reason
    products, left_out = find_products([tmp_path])
    assert [product.name for product in products] == [folder.name]
    assert left_out == []


def test_a_product_is_listed_once_however_often_it_is_given(tmp_path):
    folder = landsat_folder(tmp_path)
    inputs = [tmp_path, folder, str(folder), folder / f"{folder.name}_SR_B4.TIF", f"{folder}/../"]
    products, left_out = find_products(inputs)
    assert len(products) == 1 and products[0].notes == () and left_out == []


def test_a_folder_and_its_archive_are_one_acquisition(tmp_path):
    folder = landsat_folder(tmp_path)
    as_tar(folder)
    as_zip(folder)
    product = find_products([tmp_path])[0][0]
    assert product.bands[0].path.startswith(folder.as_posix())
    assert sorted(note.split("'")[3][-4:] for note in product.notes) == [".tar", ".zip"]
    assert all("is the same acquisition and not used" in note for note in product.notes)


def test_nested_folders_are_searched_and_hidden_ones_are_not(tmp_path):
    deep = landsat_folder(tmp_path / "a" / "b" / "c")
    landsat_folder(tmp_path / ".trash", "LC09", "2022-07-31")
    assert [product.name for product in find_products([tmp_path])[0]] == [deep.name]


def test_links_are_followed_but_not_in_circles(tmp_path):
    folder = landsat_folder(tmp_path / "real")
    inside = tmp_path / "given"
    inside.mkdir()
    try:
        os.symlink(folder, inside / "linked")
        os.symlink(inside, inside / "circle")
        os.symlink(tmp_path / "nowhere", inside / "broken")
    except OSError:
        pytest.skip("this system makes no links")
    products, left_out = find_products([inside])
    assert [product.name for product in products] == [folder.name]
    assert products[0].notes == () and left_out == []


def test_only_the_products_of_given_files_count(tmp_path):
    first = landsat_folder(tmp_path, "LC08", "2019-07-31")
    second = landsat_folder(tmp_path, "LC08", "2019-08-16")
    for folder in (first, second):
        for file in folder.iterdir():
            file.rename(tmp_path / file.name)
    products, left_out = find_products([tmp_path / f"{second.name}_SR_B2.TIF"])
    assert [product.name for product in products] == [second.name]
    assert left_out == []


@pytest.mark.parametrize("kind", list(ProductKind))
def test_nothing_found_is_an_error_that_says_what_was_looked_for_and_where(tmp_path, kind):
    (tmp_path / "notes.txt").write_text("nothing here")
    words = {
        ProductKind.DETECT: "expected Landsat, Sentinel-2, PlanetScope, STAC items or multiband",
        ProductKind.LANDSAT: "expected Landsat Collection 2 Level 2 files",
        ProductKind.SENTINEL2: "expected Sentinel-2 L2A products",
        ProductKind.PLANETSCOPE: "expected PlanetScope images",
        ProductKind.STAC: "expected STAC items",
        ProductKind.MULTIBAND: "expected rasters",
    }
    with pytest.raises(SeriesError) as caught:
        find_products([tmp_path], kind)
    assert str(caught.value).startswith(f"No product was found in '{tmp_path}'; {words[kind]}")
    with pytest.raises(SeriesError, match="No product was found in an empty list"):
        find_products([], kind)


def test_an_input_that_does_not_exist_is_left_out_and_others_stay(tmp_path):
    landsat_folder(tmp_path)
    products, left_out = find_products([tmp_path, tmp_path / "gone"])
    assert len(products) == 1
    assert left_out[0].path == (tmp_path / "gone").as_posix()
    assert "does not exist" in left_out[0].reason


def test_one_bad_product_does_not_lose_the_others(tmp_path):
    names = every_kind(tmp_path)
    landsat_folder(tmp_path, "LE07", "2010-01-09", leave_out=["SR_B3"])
    sentinel2_safe(tmp_path, date="2022-03-12", leave_out=["SCL"])
    planet_scene(tmp_path, "20200105_083012_1034", mask="none")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut off")
    products, left_out = find_products([tmp_path])
    assert {product.name for product in products} == names
    assert len(left_out) == 4
    for item in left_out:
        assert item.reason.endswith(".") and item.path.startswith(tmp_path.as_posix())


@pytest.mark.parametrize("name", EVIL_NAMES)
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_archives_with_names_that_lead_out_are_refused_whole(tmp_path, name, ending):
    folder = landsat_folder(tmp_path / "made")
    archive = as_zip(folder) if ending == ".zip" else as_tar(folder)
    archive = archive.rename(tmp_path / archive.name)
    assert len(find_products([archive])[0]) == 1
    if ending == ".zip":
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(name, b"evil")
    else:
        with tarfile.open(archive, "a") as opened:
            opened.addfile(tarfile.TarInfo(name))
    products, left_out = find_products([archive])
    assert products == []
    assert [item.path for item in left_out] == [archive.as_posix()]
    assert "which leads out of the archive" in left_out[0].reason
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["made", archive.name])


def test_links_in_a_tar_that_lead_out_are_not_read(tmp_path):
    archive = tmp_path / "x.tar"
    folder = landsat_folder(tmp_path / "made")
    with tarfile.open(archive, "w") as opened:
        for file in folder.iterdir():
            link = tarfile.TarInfo(file.name)
            link.type, link.linkname = tarfile.SYMTYPE, file.as_posix()
            opened.addfile(link)
    with pytest.raises(SeriesError, match="No product was found"):
        find_products([archive])


@pytest.mark.parametrize("pack", [as_zip, as_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_cut_off_archives_are_left_out_with_a_reason(tmp_path, pack, share):
    folder = landsat_folder(tmp_path / "made")
    archive = pack(folder)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    products, left_out = find_products([archive])
    assert products == []
    assert len(left_out) == 1
    assert archive.name in left_out[0].reason and "download it again" in left_out[0].reason


def test_a_tar_cut_off_between_two_files_is_left_out(tmp_path):
    archive = as_tar(landsat_folder(tmp_path / "made"))
    with tarfile.open(archive) as opened:
        ends = [item.offset for item in opened][1:]
    whole = archive.read_bytes()
    for end in ends:
        archive.write_bytes(whole[:end])
        products, left_out = find_products([archive])
        assert products == [] and "its end is missing" in left_out[0].reason


def test_a_cut_off_compressed_tar_is_left_out(tmp_path):
    archive = as_tar(landsat_folder(tmp_path / "made"), compressed=True)
    archive.write_bytes(archive.read_bytes()[:-500])
    assert "cannot be listed" in find_products([archive])[1][0].reason


def test_names_in_a_tar_that_gdal_cannot_read_are_named(tmp_path):
    folder = sentinel2_safe(tmp_path / "made")
    archive = tmp_path / "long.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as opened:
        opened.add(folder, folder.name)
    assert "unpack it and give its folder" in find_products([archive])[1][0].reason


def test_names_that_begin_with_the_folder_itself_are_read(tmp_path):
    folder = landsat_folder(tmp_path / "made")
    archive = tmp_path / "dots.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(folder, ".")
    product = find_products([archive])[0][0]
    assert len(product.bands) == 7 and product.time.hour == 9
    assert product.bands[0].path.startswith(f"/vsitar/{archive.as_posix()}/LC08")


def test_archives_of_other_things_are_passed_over(tmp_path):
    folder = sentinel2_bands(tmp_path)
    with zipfile.ZipFile(tmp_path / "papers.zip", "w") as archive:
        archive.writestr("paper.pdf", b"%PDF")
    products, left_out = find_products([tmp_path])
    assert [product.name for product in products] == [folder.name]
    assert left_out == []


def test_reading_leaves_the_folders_as_they_were(tmp_path):
    every_kind(tmp_path)
    as_zip(landsat_folder(tmp_path, "LC09", "2022-07-31"))
    before = sorted(tmp_path.rglob("*"))
    find_products([tmp_path])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", list(ProductKind))
def test_a_search_can_be_cancelled_at_every_step(tmp_path, kind):
    every_kind(tmp_path)
    multiband_folder(tmp_path / "others")
    as_tar(landsat_folder(tmp_path, "LC09", "2022-07-31"))

    class After(Monitor):
        def __init__(self, steps):
            self.steps = steps

        def cancelled(self):
            self.steps -= 1
            return self.steps < 0

    counting = After(10_000)
    find_products([tmp_path], kind, counting)
    steps = 10_000 - counting.steps
    assert steps > 20
    for cut in {0, 1, steps // 2, steps - 1}:
        with pytest.raises(Cancelled):
            find_products([tmp_path], kind, After(cut))
