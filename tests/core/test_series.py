"""Scenes that form no series are refused in one sentence that names the scene and the trouble."""

from __future__ import annotations

import datetime as dt
import itertools
import re

import numpy as np
import pytest
import rasterio
from conftest import ORIGIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from iikmc.core import open_series
from iikmc.core.errors import (
    BandError,
    DateError,
    GridError,
    IikmcError,
    MaskError,
    ParameterError,
    RasterError,
    SeriesError,
)
from iikmc.core.masks import MaskKind, kind_hint
from iikmc.core.placing import RESAMPLE

ONES = np.ones((3, 6, 8), np.uint16)


@pytest.fixture
def scene(make_scene):
    """Make a scene whose name holds a date."""
    days = itertools.count(1)

    def make(values=ONES, name="scene", **options):
        return make_scene(f"{name}_202001{next(days):02}", values, **options)

    return make


@pytest.fixture(autouse=True)
def no_pixel_is_read(monkeypatch):
    monkeypatch.setattr("iikmc.core.valid.read_onto", lambda *_: pytest.fail("read a pixel"))


def refused(error, sentence, paths, **options):
    """Assert that opening fails with a message that is this sentence."""
    with pytest.raises(error) as caught:
        open_series(paths, **options)
    assert isinstance(caught.value, IikmcError)
    assert re.fullmatch(sentence, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("options", "found", "expected"),
    [
        ({"crs": "EPSG:32634"}, "the CRS EPSG:32634", "EPSG:32633"),
        ({"crs": None}, "the CRS no CRS", "EPSG:32633"),
        ({"pixel": 20.0}, "pixels of 20, 20", "10, 10"),
        ({"pixel": 10.01}, r"pixels of 10\.01, 10\.01", "10, 10"),
        ({"pixel": -10.0}, "rows and columns along -10, 0 and 0, 10", "10, 0 and 0, -10"),
        (
            {"origin": (ORIGIN[0], ORIGIN[1] + 5)},
            "its origin at 500000, 4600005",
            "500000, 4600000",
        ),
    ],
)
def test_scenes_of_another_grid_are_refused_with_both_values(scene, options, found, expected):
    for name, paths in (
        ("scene_20200102", [scene(), scene(**options)]),
        ("mask", [scene()]),
    ):
        masks = None
        whose = r"the first scene \('scene_20200101'\)"
        if name == "mask":
            masks = [scene(ONES[:1], "mask", **options)]
            name, whose = "mask_20200104", r"its scene \('scene_20200103'\)"
        what = "Mask" if masks else "Scene"
        sentence = f"{what} '{name}' has {found}, {whose} {expected}: {RESAMPLE}."
        refused(GridError, sentence, paths, masks=masks)


@pytest.mark.parametrize("shape", [(3, 5, 8), (3, 6, 9), (3, 8, 6)])
def test_scenes_of_another_size_are_refused(scene, shape):
    sentence = (
        rf"Scene 'scene_20200102' has a size of {shape[2]} × {shape[1]} pixels, the first scene "
        r"\('scene_20200101'\) 8 × 6: resample with GRID, or bring all to one grid first\."
    )
    refused(GridError, sentence, [scene(), scene(np.ones(shape, np.uint16))])


def test_the_last_digits_of_a_transform_may_differ(scene):
    near = (ORIGIN[0] + 0.004, ORIGIN[1])
    assert len(open_series([scene(), scene(origin=near, pixel=10 + 1e-5)])) == 2


def test_scenes_of_other_bands_are_refused(scene):
    paths = [scene(), scene(ONES[:2])]
    sentence = (
        r"Scene 'scene_20200102' has 2 bands, the first scene \('scene_20200101'\) has 3: "
        "pick the common ones with BANDS."
    )
    refused(BandError, sentence, paths)
    assert open_series(paths, bands=[1, 2]).band_names == ("Band 1", "Band 2")


def test_bands_in_another_order_are_refused_and_found_by_name(scene):
    names = ["blue", "red", "nir"]
    paths = [scene(band_names=names), scene(band_names=names[::-1])]
    refused(
        BandError, r"Scene 'scene_20200102' has the bands nir, red, blue, .*name.*BANDS\.", paths
    )
    series = open_series(paths, bands=["NIR", " blue "])
    assert [item.source.bands for item in series.scenes] == [(3, 1), (1, 3)]
    assert series.band_names == ("nir", "blue")


@pytest.mark.parametrize("band", [0, 4, -1, "swir", "", "1.0", "²"])
def test_a_band_that_is_not_there_is_named(scene, band):
    paths = [scene(band_names=["blue", "", "nir"])]
    sentence = (
        rf"Scene 'scene_20200101' has no band {band}; it has 3 \(blue, nir\): correct BANDS\."
    )
    refused(BandError, sentence, paths, bands=[1, band])


@pytest.mark.parametrize("bands", [[1, 1], ["2", 2], ["blue", 1]])
def test_a_band_named_twice_is_refused(scene, bands):
    paths = [scene(band_names=["blue", "", "nir"])]
    refused(BandError, "BANDS names a band of scene 'scene_20200101' twice; .*", paths, bands=bands)


def test_bands_of_complex_numbers_and_too_many_bands_are_refused(scene):
    radar = scene(np.ones((2, 6, 8), np.complex64))
    refused(BandError, "Band 1 of scene 'scene_20200101' is complex; .*", [radar])
    many = scene(np.ones((65, 6, 8), np.uint8))
    refused(BandError, "Scene 'scene_20200102' gives 65 bands, the most is 64: .*", [many])


def test_bands_are_all_but_alpha_and_alpha_is_data_when_asked_for(scene):
    path = scene(np.ones((4, 6, 8), np.uint8), photometric="rgb", alpha="yes")
    (whole,) = open_series([path]).scenes
    assert (whole.source.bands, whole.source.own_mask) == ((1, 2, 3), True)
    (asked,) = open_series([path], bands=[1, 4]).scenes
    assert (asked.source.bands, asked.source.own_mask) == ((1, 4), False)


def test_lists_that_do_not_fit_the_scenes_are_refused(scene):
    paths, mask = [scene(), scene()], scene(ONES[:1])
    refused(
        MaskError,
        "There are 1 masks for 2 scenes; give one for each, in the order of the scenes.",
        paths,
        masks=[mask],
    )
    refused(DateError, "There are 3 dates for 2 scenes; .*", paths, dates=["2020-01-01"] * 3)


def test_a_mask_of_the_wrong_kind_is_named(scene):
    mask = scene(np.ones((1, 6, 8), np.float32), "mask")
    sentence = r"Mask 'mask_20200101' holds float32 numbers; scl needs integers: .*"
    refused(MaskError, sentence, [scene()], masks=[mask], mask_kind="scl")
    refused(ParameterError, "mask_kind is 'x'; .*", [scene()], masks=[mask], mask_kind="x")


def test_a_date_that_cannot_be_found_or_read_is_named(make_scene):
    path = make_scene("clear", ONES)
    sentence = "Scene 'clear' has no date in its metadata or its file name: .* with DATES."
    refused(DateError, sentence, [path])
    sentence = "Scene 'clear' .*'2020-02-30' is not a date; expected year-month-day, .*"
    refused(DateError, sentence, [path], dates=["2020-02-30"])


@pytest.mark.parametrize(
    "date", ["2020-05-06", "2020-05-06T10:11:12Z", dt.date(2020, 5, 6), dt.datetime(2020, 5, 6, 7)]
)
def test_a_date_that_is_given_goes_before_all_others(scene, date):
    path = scene(tags={"ACQUISITION_DATE": "1999-01-01"})
    assert open_series([path]).scenes[0].date == dt.date(1999, 1, 1)
    assert open_series([path], dates=[date]).scenes[0].date == dt.date(2020, 5, 6)


def test_no_scene_and_arguments_of_the_wrong_shape_are_refused(scene):
    path = scene()
    refused(SeriesError, "There is no scene; give at least one raster.", [])
    refused(ParameterError, "paths is one path; expected a list of them.", path)
    refused(ParameterError, "bands is one text; expected a list .*", [path], bands="12")
    refused(ParameterError, "grid is 'last'; expected one of same, first, .*", [path], grid="last")
    refused(ParameterError, "extent has 3 numbers; .*", [path], extent=(0, 1, 2))
    refused(ParameterError, "extent is 0, 0, 0, 0; .*", [path], extent=(0,) * 4)
    refused(ParameterError, "area has no polygon; .*", [path], area=[])
    refused(ParameterError, "area holds a Point; .*", [path], area={"type": "Point"})
    refused(ParameterError, "The area 'gone.json' cannot be read: .*", [path], area="gone.json")


def test_a_file_that_is_no_raster_is_named(scene, tmp_path):
    (tmp_path / "text.tif").write_text("hello")
    refused(RasterError, r".*text\.tif' cannot be opened: .*", [scene(), tmp_path / "text.tif"])
    refused(RasterError, r".*gone\.tif' cannot be opened: .*", [scene()], masks=["gone.tif"])


def test_one_scene_is_a_series(scene):
    assert len(open_series([scene()])) == 1


def test_scenes_are_oldest_first_with_masks_and_dates_staying_theirs(scene):
    paths = [scene(), scene(), scene()]
    masks = [scene(ONES[:1], "mask"), None, scene(ONES[:1], "mask")]
    dates = ["2021-01-01", "2019-01-01", "2020-01-01"]
    series = open_series(paths, masks=masks, dates=dates)
    assert [item.path for item in series.scenes] == [str(paths[n]) for n in (1, 2, 0)]
    found = [item.mask and item.mask.path for item in series.scenes]
    assert found == [None, str(masks[2]), str(masks[0])]


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["b/s", "a/s"], ["s_2020-05-06_1", "s_2020-05-06_2"]),
        (["a/s", "b/S"], ["S_2020-05-06_1", "s_2020-05-06_2"]),
        (["a/s", "b/t"], ["s", "t"]),
    ],
)
def test_scenes_of_one_date_and_name_stay_apart(make_scene, stems, expected):
    paths = [make_scene(stem, ONES, tags={"DATE": "2020-05-06"}) for stem in stems]
    assert [item.name for item in open_series(paths).scenes] == expected


def test_scenes_of_one_name_are_told_apart_by_their_dates(make_scene):
    days = ("2020-05-06", "2019-05-06")
    paths = [make_scene(f"{day}/B4", ONES, tags={"DATE": day}) for day in days]
    names = [item.name for item in open_series(paths).scenes]
    assert names == ["B4_2019-05-06", "B4_2020-05-06"]


STEMS = st.sampled_from(["s", "S", "s_2020-05-06", "s_2020-05-06_1", "S_2020-05-06_1", "ß", "ss"])
DAYS = st.sampled_from(["2020-05-06", "2020-05-07"])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(st.lists(st.tuples(STEMS, DAYS), min_size=1, max_size=7), st.randoms())
def test_whatever_the_files_are_called_names_differ_and_do_not_depend_on_order(
    make_scene, found, random
):
    paths = [make_scene(f"{number}/{stem}", ONES) for number, (stem, _) in enumerate(found)]
    pairs = list(zip(map(str, paths), [day for _, day in found]))

    def names(pairs):
        series = open_series([path for path, _ in pairs], dates=[day for _, day in pairs])
        return {item.path: item.name for item in series.scenes}

    expected = names(pairs)
    assert len({name.casefold() for name in expected.values()}) == len(found)
    random.shuffle(pairs)
    assert names(pairs) == expected


def test_what_a_scene_is_made_of_is_kept(scene):
    path = scene(ONES.astype(np.float32), nodata=-9999.0, tiled=True, blockxsize=16, blockysize=32)
    (item,) = open_series([path], bands=[3, 1]).scenes
    assert (item.source.bands, item.source.nodata) == ((3, 1), (-9999.0,) * 2)
    assert item.dtypes == ("float32",) * 2
    assert (item.block_height, item.block_width, item.mask) == (32, 16, None)
    with rasterio.open(path) as raster:
        assert open_series([path]).grid.transform == tuple(raster.transform)[:6]


def test_what_may_not_be_meant_is_noted(make_scene):
    four = make_scene("rgbn_2020-01-01", np.ones((4, 5, 5), np.uint8))
    with rasterio.open(four, "r+") as dataset:
        dataset.colorinterp = [*[ColorInterp.undefined] * 3, ColorInterp.alpha]
    mask = make_scene("x_SCL_20m", np.full((5, 5), 4, np.uint8))
    clear = {"masks": [mask], "mask_kind": "scl", "bands": [1, 4]}
    assert open_series([four], **clear).notes == ()
    (transparency,) = open_series([four], masks=[mask], mask_kind="scl").notes
    assert "Band 4 of 'rgbn_2020-01-01' is declared as transparency" in transparency
    (kind,) = open_series([four], **{**clear, "mask_kind": "valid"}).notes
    assert "named like scl" in kind and "'valid'" in kind
    (twice,) = open_series([four, four], bands=[1, 2]).notes
    assert "more than once" in twice


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LC08_005009_20150710_QA_PIXEL", MaskKind.QA_PIXEL),
        ("T33UWP_20190105_SCL_20m", MaskKind.SCL),
        ("20190105_100021_udm2", MaskKind.UDM2),
        ("clear_2019", None),
        ("muscles", None),
    ],
)
def test_mask_names_hint_at_their_kind(name, kind):
    assert kind_hint(f"folder/{name}.tif") is kind
