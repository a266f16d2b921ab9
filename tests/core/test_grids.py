"""Scenes of other grids, extents, areas and static features end as labels in the right place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from ground import NORTH_UP, ORIGIN, UTM, bilinear, centres, grid_of, metres, to_crs, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.warp import transform_bounds

from iikmc.core import available_backends, cluster, open_series
from iikmc.core.errors import BandError, GridError, SeriesError
from iikmc.core.places import Area, Extent
from iikmc.core.valid import LeftOut

HERE = settings(suppress_health_check=list(HealthCheck), max_examples=20)
# Fields of 100 m on the ground, of three covers.
FIELD = 100.0
SIGNATURES = np.array([[500, 4000], [2500, 1000], [4500, 3000]])


def cover(transform, height, width, crs=UTM):
    """Return the cover, 0 to 2, on the ground at each pixel's centre, and how far its edge is."""
    east, south = metres(transform, height, width, crs)
    fields = np.floor(east / FIELD) + 2 * np.floor(south / FIELD)
    edge = np.minimum(*(np.minimum(way % FIELD, FIELD - way % FIELD) for way in (east, south)))
    return (fields % 3).astype(int), edge


def scene(folder, name, transform, height=60, width=60, crs=UTM, dtype=np.uint16, **options):
    """Write a scene that shows the cover of the ground."""
    found, _ = cover(transform, height, width, crs)
    values = SIGNATURES[found].transpose(2, 0, 1)
    noise = np.random.default_rng(len(name)).integers(-20, 20, values.shape)
    return write(folder, name, (values + noise).astype(dtype), transform, crs, **options)


def shifted(columns, rows):
    return NORTH_UP * Affine.translation(columns, rows)


def classified(paths, folder, **options):
    """Open, cluster and classify; return each scene's labels and transform, in the order given."""
    engine = options.pop("engine", "numpy")
    with open_series(paths, **options) as series:
        model = cluster(series, classes=3, engine=engine, threads=2)
        written = dict(zip([item.path for item in series.scenes], model.classify(series, folder)))
        left_out = dict(zip(written, series.pixels().left_out))
    found = []
    for path in map(str, paths):
        with rasterio.open(written[path]) as labels:
            found.append((labels.read(1), labels.transform, labels.crs, left_out[path]))
    return found


def assert_labels_show_the_ground(labels, transform, crs=UTM, clear=0.0, least=0.5):
    """Every label, but for those near an edge of a field, is that of the cover at its centre."""
    found, edge = cover(transform, *labels.shape, crs)
    counts = (labels > 0) & (edge > clear)
    assert counts.mean() > least
    pairs = set(zip(labels[counts].tolist(), found[counts].tolist()))
    assert len(pairs) == 3, pairs
    return pairs


def codes_in_place(series, store):
    """Return the codes of all scenes, (scenes, bands, height, width); far below zero: none."""
    size = (len(series), len(series.band_names), series.grid.height, series.grid.width)
    codes = np.full(size, -(1 << 40))
    for block in store.blocks:
        rows = slice(block.window.row, block.window.row + block.window.height)
        columns = slice(block.window.column, block.window.column + block.window.width)
        valid = block.spread(np.ones(block.pixels, bool))
        planes = np.stack([block.spread(band) for band in block.codes.load()])
        codes[block.scene, :, rows, columns][:, valid] = planes[:, valid]
    return codes


SHIFTS = [(7, -4), (-13, 22), (0.5, 0.5), (3.3, -7.8)]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("rule", ["first", "common"])
def test_labels_of_shifted_scenes_line_up_on_the_ground(tmp_path, shift, rule):
    paths = [
        scene(tmp_path, "b_20200201", NORTH_UP),
        scene(tmp_path, "a_20200101", shifted(*shift)),
    ]
    found = classified(paths, tmp_path / "out", grid=rule)
    whole = all(float(way).is_integer() for way in shift)
    seen = set()
    for labels, transform, _, _ in found:
        column, row = ~NORTH_UP * (transform.c, transform.f)
        assert (column, row) == pytest.approx((round(column), round(row)))
        # Warped pixels mix covers where one is within half a pixel's reach.
        seen |= assert_labels_show_the_ground(
            labels, transform, clear=0 if whole else 10, least=0.4
        )
    assert len(seen) == 3, "a cover has one class on every date"
    (first, at, _, _), (second, of, _, left_out) = found
    assert (at, first.shape) == (of, second.shape)
    if rule == "first":
        assert at == NORTH_UP and first.shape == (60, 60)
        columns, rows = (60 - int(np.ceil(abs(way) - 0.5)) for way in shift)
        assert (second > 0).sum() == columns * rows
        assert left_out[list(LeftOut).index(LeftOut.OUTSIDE)] == 3600 - columns * rows
    else:
        assert (first > 0).all() and (second > 0).all()
        assert first.shape == tuple(60 - int(np.ceil(abs(way))) for way in reversed(shift))


def test_the_grid_is_that_of_the_first_scene_given_and_not_of_the_oldest(tmp_path):
    old = scene(tmp_path, "old_20190101", shifted(0.5, 0))
    new = scene(tmp_path, "new_20200101", NORTH_UP)
    for first, second in ((old, new), (new, old)):
        with open_series([first, second], grid="first") as series:
            with rasterio.open(first) as raster:
                assert series.grid.transform == tuple(raster.transform)[:6]
            warped = {item.path: item.source.placement.warped for item in series.scenes}
        assert warped == {str(first): False, str(second): True}


def test_one_grid_is_asked_for_unless_said_otherwise(tmp_path):
    paths = [scene(tmp_path, f"s_2020010{n}", shifted(n, 0)) for n in (1, 2)]
    with pytest.raises(GridError, match=r"origin at 500020, 4600000, .* 500010, 4600000: resample"):
        open_series(paths)


@pytest.mark.parametrize("shift", [(5, 9), (-31, 2)])
def test_whole_pixel_shifts_change_no_value(tmp_path, shift):
    values = land_cover(1, height=60, width=60)
    paths = [
        write(tmp_path, "s_20200101", values),
        write(tmp_path, "s_20200102", values, shifted(*shift)),
    ]
    columns, rows = shift
    with open_series(paths, grid="common") as series:
        store = series.pixels(threads=1)
        assert store.code_grids[0].step == 1 and store.code_grids[0].shift == 0
        codes = codes_in_place(series, store)
        size = codes.shape[1:]
        assert {block.codes.dtype for block in store.blocks} == {np.dtype(np.uint16)}
        assert len(store.blocks) == 2, "no strip of a file is read for two windows"
    left, top = max(columns, 0), max(rows, 0)
    box = slice(None), slice(top, top + size[1]), slice(left, left + size[2])
    np.testing.assert_array_equal(codes[0], values[box])
    box = (
        slice(None),
        slice(top - rows, top - rows + size[1]),
        slice(left - columns, left - columns + size[2]),
    )
    np.testing.assert_array_equal(codes[1], values[box])


@pytest.mark.parametrize(
    ("name", "transform", "crs"),
    [
        ("pixels of 7 m", NORTH_UP * Affine.translation(-3, 2) * Affine.scale(0.7), UTM),
        ("pixels of 15 m", NORTH_UP * Affine.translation(-8, -9) * Affine.scale(1.5), UTM),
        ("south up", Affine(10, 0, ORIGIN[0] - 33, 0, 10, ORIGIN[1] - 580), UTM),
        ("turned", NORTH_UP * Affine.rotation(25) * Affine.translation(5, -12), UTM),
        ("next zone", None, "EPSG:32634"),
        ("geographic", None, "EPSG:4326"),
    ],
)
@pytest.mark.parametrize("rule", ["first", "common"])
@pytest.mark.parametrize("turned_round", [False, True])
def test_other_pixels_axes_and_crs_line_up_on_the_ground(
    tmp_path, name, transform, crs, rule, turned_round
):
    if transform is None:
        west, south, east, north = transform_bounds(
            UTM, crs, ORIGIN[0] - 50, ORIGIN[1] - 650, ORIGIN[0] + 650, ORIGIN[1] + 50
        )
        transform = Affine((east - west) / 70, 0, west, 0, (south - north) / 70, north)
    paths = [
        scene(tmp_path, "a_20200101", NORTH_UP),
        scene(tmp_path, "b_20200102", transform, 70, 70, crs),
    ][:: -1 if turned_round else 1]
    seen = set()
    for labels, place, of, _ in classified(paths, tmp_path / "out", grid=rule):
        # Between fields bands mix, in a pixel of up to 15 m and of its neighbour's half.
        seen |= assert_labels_show_the_ground(labels, place, of.to_string(), clear=24, least=0.05)
    assert len(seen) == 3


def test_scenes_without_common_ground_are_named(tmp_path):
    here, there = scene(tmp_path, "a_20200101", NORTH_UP), shifted(60, 0)
    away = scene(tmp_path, "b_20200102", there)
    for rule, words in (
        ("first", r"^Scene 'b_20200102' lies outside the first \('a_20200101'\) \("),
        ("common", r"^Scene 'b_20200102' has no ground in common with those before it \("),
    ):
        with pytest.raises(GridError, match=words + r".* in EPSG:32633\): choose others, "):
            open_series([here, away], grid=rule)
    static = write(tmp_path, "height", np.ones((60, 60), np.float32), there)
    with pytest.raises(GridError, match=r"^The static raster 'height' lies outside the scenes \("):
        open_series([here], static=[static])
    mask = write(tmp_path, "mask", np.ones((60, 60), np.uint8), there)
    with pytest.raises(GridError, match=r"^Mask 'mask' lies outside its scene \('a_20200101'\) \("):
        open_series([here], masks=[mask], grid="first")


def test_a_scene_beside_the_extent_keeps_its_mask_and_has_no_pixel(tmp_path):
    paths, masks = [], []
    for name, columns in (("a_20200101", 0), ("b_20200102", 40)):
        paths.append(scene(tmp_path, name, shifted(columns, 0)))
        masks.append(write(tmp_path, f"m{name}", np.ones((60, 60), np.uint8), shifted(columns, 0)))
    extent = (ORIGIN[0], ORIGIN[1] - 600, ORIGIN[0] + 300, ORIGIN[1])
    with open_series(paths, masks=masks, extent=extent, grid="first") as series:
        assert series.pixels().scene_pixels.tolist() == [1800, 0]


@pytest.mark.parametrize("rule", ["same", "first", "common"])
def test_outputs_have_the_cut_grid_in_the_right_place(tmp_path, rule):
    paths = [
        scene(tmp_path, "a_20200101", NORTH_UP),
        scene(tmp_path, "b_20200102", NORTH_UP if rule == "same" else shifted(3.4, 2)),
    ]
    extent = (ORIGIN[0] + 105, ORIGIN[1] - 420, ORIGIN[0] + 555, ORIGIN[1] - 90)
    for labels, transform, _, _ in classified(paths, tmp_path / "out", grid=rule, extent=extent):
        assert transform == shifted(10, 9) and labels.shape == (33, 46)
        assert_labels_show_the_ground(labels, transform, clear=10)


def test_extents_outside_and_of_another_crs(tmp_path):
    path = scene(tmp_path, "a_20200101", NORTH_UP)
    with pytest.raises(GridError, match=r"^The extent 0, 0 to 1, 1 lies outside the scenes \("):
        open_series([path], extent=(0, 0, 1, 1))
    x, y = to_crs(*np.array([[ORIGIN[0] + 305], [ORIGIN[1] - 305]]), UTM, "EPSG:4326")
    tiny = Extent(x[0] - 1e-9, y[0] - 1e-9, x[0] + 1e-9, y[0] + 1e-9, "EPSG:4326")
    with open_series([path], extent=tiny) as series:
        assert (series.grid.width, series.grid.height) == (1, 1)
        assert series.grid.origin == (ORIGIN[0] + 300, ORIGIN[1] - 300)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_labels_are_written_inside_the_area_alone(tmp_path, crs):
    path = scene(tmp_path, "a_20200101", NORTH_UP)
    corners = [(3, 3), (57, 3), (57, 50), (3, 50), (3, 3)]
    hole = [(20, 20), (40, 20), (40, 40), (20, 40), (20, 20)]
    rings = []
    for ring in (corners, hole):
        points = np.array([NORTH_UP * pixel for pixel in ring])
        x, y = points.T if crs == UTM else to_crs(*points.T, UTM, crs)
        rings.append(list(zip(x.tolist(), y.tolist())))
    area = Area(({"type": "Polygon", "coordinates": rings},), crs)
    ((labels, transform, _, left_out),) = classified([path], tmp_path / "out", area=area)
    x, y = centres(transform, *labels.shape)
    columns, rows = ~NORTH_UP * (x, y)
    expected = (columns > 3) & (columns < 57) & (rows > 3) & (rows < 50)
    expected &= ~((columns > 20) & (columns < 40) & (rows > 20) & (rows < 40))
    np.testing.assert_array_equal(labels > 0, expected)
    assert left_out.sum() == left_out[0] == (~expected).sum()
    assert_labels_show_the_ground(labels, transform)


def test_an_area_between_all_centres_leaves_no_pixel(tmp_path):
    path = scene(tmp_path, "a_20200101", NORTH_UP)
    ring = [NORTH_UP * pixel for pixel in ((3.1, 3.1), (3.4, 3.1), (3.4, 3.4), (3.1, 3.1))]
    area = {"type": "Polygon", "coordinates": [ring]}
    nothing = pytest.raises(SeriesError, match="EXTENT and AREA")
    with open_series([path], area=area) as series, nothing:
        series.pixels()


@pytest.mark.parametrize("rule", ["first", "common"])
@pytest.mark.parametrize("shift", [(4, 7), (4.4, 7.3)])
def test_masks_lie_where_their_scenes_do(tmp_path, rule, shift):
    """Every field of cover 1 is masked on the second date: none of its labels may be left."""
    transform = shifted(*shift)
    paths = [scene(tmp_path, "a_20200101", NORTH_UP), scene(tmp_path, "b_20200102", transform)]
    other = transform * Affine.translation(-2.5, -1.5)  # the mask has a grid of its own
    clouds, _ = cover(other, 70, 70)
    mask = write(tmp_path, "m", np.stack([clouds == 1, clouds == 5]).astype(np.uint8), other)
    (_, (labels, at, _, left_out)) = classified(
        paths, tmp_path / "out", grid=rule, masks=[None, mask], mask_kind="masked"
    )
    found, edge = cover(at, *labels.shape)
    inner = edge > 10
    with rasterio.open(mask) as raster:
        box = raster.bounds
    x, y = centres(at, *labels.shape)
    inner &= (x > box.left) & (x < box.right) & (y > box.bottom) & (y < box.top)
    x, y = ~transform * (x, y)
    inner &= (x > 0) & (x < 60) & (y > 0) & (y < 60)
    np.testing.assert_array_equal(labels[inner] == 0, found[inner] == 1)
    assert left_out[list(LeftOut).index(LeftOut.MASK)] > 300


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("shift", [(0, 0), (2, 3), (2.4, 3.3)])
def test_masks_whose_clear_value_is_declared_nodata_are_not_all_masked(tmp_path, nodata, shift):
    path = scene(tmp_path, "a_20200101", NORTH_UP)
    clouds = np.zeros((70, 70), np.uint8)
    clouds[30:40, 20:50] = 1
    transform = NORTH_UP * Affine.translation(-5, -5) * Affine.translation(*shift)
    mask = write(tmp_path, "m", clouds, transform, nodata=nodata)
    with open_series([path], masks=[mask], mask_kind="masked", grid="first") as series:
        assert series.pixels().pixels == 3600 - 300


HEIGHTS = NORTH_UP * Affine.translation(-4.3, -6.1) * Affine.scale(2.7)


def heights(folder, crs=UTM, **options):
    """Write a float32 height model over all scenes: metres from the west, and a hole."""
    transform = HEIGHTS
    if crs != UTM:
        west, south, east, north = transform_bounds(
            UTM, crs, ORIGIN[0] - 90, ORIGIN[1] - 700, ORIGIN[0] + 700, ORIGIN[1] + 90
        )
        transform = Affine((east - west) / 30, 0, west, 0, (south - north) / 30, north)
    values = metres(transform, 30, 30, crs)[0] / 7
    values[12, 12] = -9999
    return write(folder, "height", values.astype(np.float32), transform, crs, nodata=-9999)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:32634"])
def test_a_height_model_on_another_grid_joins_as_a_band(tmp_path, crs):
    paths = [scene(tmp_path, f"s_2020010{day}", NORTH_UP, blockysize=9) for day in (1, 2)]
    with open_series(paths, static=[heights(tmp_path, crs)]) as series:
        assert series.band_names == ("Band 1", "Band 2", "height")
        assert series.static_bands == 1
        store = series.pixels(threads=2)
        assert store.code_grids[2].wide and not store.code_grids[1].wide
        left_out = store.left_out[:, list(LeftOut).index(LeftOut.STATIC)]
        assert left_out[0] == left_out[1] and 2 < left_out[0] < 16
        expected = metres(NORTH_UP, 60, 60)[0] / 7
        for block in store.blocks:
            codes = np.array(block.codes.load())
            assert codes.dtype == np.int32
            found = np.full((block.window.height, block.window.width), np.nan)
            valid = block.spread(np.ones(block.pixels, bool))
            found[valid] = store.code_grids[2].values(block.spread(codes[2])[valid])
            rows = slice(block.window.row, block.window.row + block.window.height)
            # Beside the hole the means are of fewer pixels, of 27 m each.
            assert np.nanmax(np.abs(found - expected[rows])) < 27 / 7 / 2 + 0.1
            assert np.nanmedian(np.abs(found - expected[rows])) < 0.01


def test_static_features_keep_their_names_and_what_they_need(tmp_path):
    path = scene(tmp_path, "s_20200101", NORTH_UP)
    named = write(tmp_path, "terrain", np.ones((2, 60, 60), np.float32))
    with rasterio.open(named, "r+") as dataset:
        dataset.set_band_description(2, "slope")
    with open_series([path], static=[named, heights(tmp_path)]) as series:
        assert series.band_names == ("Band 1", "Band 2", "terrain 1", "slope", "height")
    many = write(tmp_path, "many", np.ones((63, 60, 60), np.uint8))
    with pytest.raises(BandError, match="Bands and static features are 65 together, the most is"):
        open_series([path], static=[many])
    radar = write(tmp_path, "radar", np.ones((60, 60), np.complex64))
    with pytest.raises(BandError, match="'radar' has no band of real numbers"):
        open_series([path], static=[radar])


def answers(paths, folder, monkeypatch, pixels, threads, engine, memory_mb, **options):
    """Return the codes in their places, the signatures and the labels of one way of running."""
    monkeypatch.setattr("iikmc.core.reading.BLOCK_PIXELS", pixels)
    with open_series(paths, **options) as series:
        store = series.pixels(threads=threads, memory_mb=memory_mb)
        codes = codes_in_place(series, store)
        left_out = store.left_out
        model = cluster(series, classes=3, engine=engine, threads=threads, memory_mb=memory_mb)
        labels = [path.read_bytes() for path in model.classify(series, folder, engine=engine)]
    return codes, left_out, model.signatures, labels


@HERE
@given(data=st.data())
def test_results_do_not_depend_on_windows_threads_memory_or_engine(
    tmp_path_factory, monkeypatch, data
):
    folder = tmp_path_factory.mktemp("ways")
    rule = data.draw(st.sampled_from(["same", "first", "common"]))
    dtype = data.draw(st.sampled_from(["uint16", "float32"]))
    layout = data.draw(
        st.sampled_from([{"blockysize": 7}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
    )
    ways = data.draw(st.lists(st.floats(-15, 15), min_size=2, max_size=2))
    turn = data.draw(st.sampled_from([0.0, 12.5]))
    second = NORTH_UP if rule == "same" else shifted(*ways) * Affine.rotation(turn)
    options = {"grid": rule}
    if data.draw(st.booleans()):
        options["static"] = [heights(folder, data.draw(st.sampled_from([UTM, "EPSG:4326"])))]
    if data.draw(st.booleans()):
        west, north = shifted(*data.draw(st.tuples(st.floats(0, 20), st.floats(0, 20)))) * (0, 0)
        options["extent"] = (west, north - 333, west + 371, north)
    paths = [
        scene(folder, "a_20200101", NORTH_UP, dtype=dtype, nodata=0, **layout),
        scene(folder, "b_20200102", second, dtype=dtype, **layout),
    ]
    plain = (1 << 20, 1, "numpy", None)
    other = (
        data.draw(st.sampled_from([64, 300, 1000])),
        data.draw(st.sampled_from([1, 3])),
        data.draw(st.sampled_from(available_backends())),
        data.draw(st.sampled_from([None, 1])),
    )
    expected = answers(paths, folder / "one", monkeypatch, *plain, **options)
    found = answers(paths, folder / "other", monkeypatch, *other, **options)
    for one, another in zip(found[:3], expected[:3]):
        np.testing.assert_array_equal(one, another)
    assert found[3] == expected[3]


def test_the_order_of_scenes_changes_no_label_on_a_grid_that_stays(tmp_path):
    paths = [scene(tmp_path, f"s_2020010{n}", shifted(n / 3, -n / 2)) for n in range(1, 5)]
    by_path = []
    for order in itertools.islice(itertools.permutations(paths[1:]), 0, 6, 2):
        found = classified([paths[0], *order], tmp_path / "out", grid="first")
        by_path.append({path: item[0].tobytes() for path, item in zip([paths[0], *order], found)})
    assert by_path[0] == by_path[1] == by_path[2]


def test_integers_stay_integers_and_means_are_those_of_hand(tmp_path):
    values = land_cover(4, height=60, width=60)
    first = write(tmp_path, "s_20200101", values)
    second = write(tmp_path, "s_20200102", values, shifted(0.25, -0.5))
    with open_series([first, second], grid="common") as series:
        store, grid = series.pixels(threads=1), series.grid
        assert all(not item.wide and item.step == 1 for item in store.code_grids)
        assert {block.codes.dtype for block in store.blocks} == {np.dtype(np.uint16)}
        found = codes_in_place(series, store)[1]
    on = grid_of(Affine(*grid.transform), grid.height, grid.width)
    for plane, band in zip(found, values):
        expected, _, _ = bilinear(band, band > 0, shifted(0.25, -0.5), UTM, on)
        assert np.abs(plane - expected).max() <= 0.51
