"""The engine dask gives the bytes that the engine without it gives, however many workers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SceneMaker
from dask_clusters import PLAIN, Case, Quiet, files, scenes, within, workers
from hypothesis import given, settings
from hypothesis import strategies as st

from iikmc.core import ClassModel, cluster, open_series
from iikmc.core.classify import fitted_scenes
from iikmc.core.workers import direct, store


@pytest.fixture(scope="module")
def two():
    """Two worker processes."""
    with workers(2) as client:
        yield client


def masked(make: SceneMaker) -> Case:
    paths = scenes(make)
    rng = np.random.default_rng(7)
    masks = [
        make(f"{path.stem}_mask", rng.choice([3, 4, 5, 9], (46, 61)).astype(np.uint8))
        for path in paths
    ]
    return Case(paths, {"masks": masks, "mask_kind": "scl"}, measures=True)


def with_static(make: SceneMaker) -> Case:
    rng = np.random.default_rng(8)
    height = make("height", rng.integers(0, 900, (46, 61)).astype(np.float32) + 0.25)
    return Case(scenes(make), {"static": [height], "bands": [3, 1]}, {"scaling": "zscore"})


def area(make: SceneMaker) -> Case:
    west, north = 500_000.0, 4_600_000.0
    corners = [(20, 10), (570, 30), (400, 430), (60, 300), (20, 10)]
    ring = [(west + x, north - y) for x, y in corners]
    return Case(scenes(make), {"area": {"type": "Polygon", "coordinates": [ring]}})


def other_grids(make: SceneMaker) -> Case:
    first, second, third = scenes(make, count=3)
    moved = scenes(make, count=1, prefix="moved_", origin=(500_043.0, 4_599_957.0))
    return Case([first, second, third, *moved], {"grid": "first"})


def extent(make: SceneMaker) -> Case:
    inside = (500_073.0, 4_599_611.0, 500_504.0, 4_599_909.0)
    return Case(scenes(make), {"extent": inside}, measures=True)


def invariant(make: SceneMaker) -> Case:
    options = {"harmonise": "invariant", "harmonise_reference": "2020-02-15"}
    return Case(scenes(make, height=80, width=80), {}, options)


CASES = {
    "int16": lambda make: Case(scenes(make, "int16", nodata=-9999)),
    "float32": lambda make: Case(scenes(make, "float32", nodata=-9999), measures=True),
    "int32": lambda make: Case(scenes(make, "int32"), {}, {"max_iter": 2}),
    "grid smaller than a tile": lambda make: Case(scenes(make, height=5, width=9)),
    "one row": lambda make: Case(scenes(make, height=1, width=300)),
    "masks": masked,
    "static features": with_static,
    "polygon": area,
    "extent": extent,
    "scenes of other grids": other_grids,
    "degrees": lambda make: Case(
        scenes(make, crs="EPSG:4326", origin=(12.0, 48.0), pixel=0.001), measures=True
    ),
    "standardise": lambda make: Case(scenes(make), {}, {"harmonise": "standardise"}, True),
    "invariant pixels": invariant,
    "min-max": lambda make: Case(scenes(make, "float32"), {}, {"scaling": "minmax"}, True),
    "temporal": lambda make: Case(
        scenes(make, count=5), {}, {"temporal": "markov", "harmonise": "standardise"}, True
    ),
    "progressive": lambda make: Case(
        scenes(make), {}, {"strategy": "progressive", "sample_fraction": 0.3}
    ),
    "sample": lambda make: Case(
        scenes(make), {}, {"strategy": "sample", "sample_fraction": 0.3, "seed": 3}
    ),
    "mini-batch": lambda make: Case(
        scenes(make), {}, {"strategy": "mini-batch", "sample_fraction": 0.1, "max_iter": 5}
    ),
    "k-means++ and relocate": lambda make: Case(
        scenes(make), {}, {"init": "k-means++", "empty": "relocate", "classes": 9, "seed": 4}
    ),
    "drop and order by size": lambda make: Case(
        scenes(make), {}, {"empty": "drop", "order": "size", "classes": 9}
    ),
    "many classes and the centres' shift": lambda make: Case(
        scenes(make), {}, {"init": "k-means++", "classes": 60, "stop_rule": "shift"}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_two_workers_give_the_same_bytes(name, two, make_scene, tmp_path):
    case = CASES[name](make_scene)
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    found = case.run(tmp_path / "dask", client=two)
    assert found.keys() == expected.keys()
    for file, content in expected.items():
        assert found[file] == content, file
    count = sum(file.endswith("_classes.tif") for file in found)
    assert count == len(case.scenes)


@pytest.mark.parametrize("count", [1, 4])
def test_so_many_workers_give_the_same_bytes(count, make_scene, tmp_path):
    cases = [
        Case(scenes(make_scene, "float32", prefix="float_")),
        Case(scenes(make_scene, count=5), {}, {"init": "k-means++", "temporal": "markov"}, True),
    ]
    with workers(count) as client:
        for number, case in enumerate(cases):
            expected = case.run(tmp_path / f"plain {number}", engine=PLAIN)
            assert case.run(tmp_path / f"dask {number}", client=client) == expected


def test_threads_of_this_process_give_the_same_bytes(make_scene, tmp_path):
    case = Case(scenes(make_scene, "float32"), {}, {"strategy": "progressive"}, measures=True)
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    for threads in (1, 3):
        assert case.run(tmp_path / str(threads), engine="dask", threads=threads) == expected


def test_too_little_memory_gives_the_same_bytes(two, make_scene, tmp_path, monkeypatch):
    case = Case(scenes(make_scene, "float32", height=300, width=300))
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    try:
        two.run(_no_room)
        assert case.run(tmp_path / "dask", client=two) == expected
    finally:
        two.run(_room_again)


def test_more_parts_than_a_branch_of_the_tree_give_the_same_bytes(
    two, make_scene, tmp_path, monkeypatch
):
    case = Case(scenes(make_scene, height=200, width=110), {}, {"max_iter": 4})
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    monkeypatch.setattr(direct, "_MOST_BYTES", -1)  # sums go up the tree, however small
    monkeypatch.setattr(store, "_PART_BYTES", 200 * 110 * 3 * 3 * 4 // 40)
    monkeypatch.setattr(store, "BLOCK_PIXELS", 29)
    assert case.run(tmp_path / "dask", client=two) == expected
    with open_series(case.scenes) as series:  # else this would be the plain case once more
        assert len(series.pixels(engine="dask", client=two).blocks) > 32


@settings(max_examples=8)
@given(data=st.data())
def test_whatever_the_blocks_and_the_options_the_bytes_are_the_same(data, two, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    draw = data.draw
    case = Case(
        scenes(
            SceneMaker(folder / "scenes"),
            draw(st.sampled_from(["uint16", "int16", "uint8", "float32", "float64"])),
            count=draw(st.integers(1, 5)),
            height=draw(st.integers(4, 60)),
            width=draw(st.integers(4, 60)),
        ),
        {},
        {
            "classes": draw(st.integers(2, 3)),
            "init": draw(st.sampled_from(["minmax", "k-means++"])),
            "strategy": draw(st.sampled_from(["full", "progressive", "sample", "mini-batch"])),
            "sample_fraction": draw(st.sampled_from([0.3, 0.9])),
            "empty": draw(st.sampled_from(["keep", "relocate", "drop"])),
            "harmonise": draw(st.sampled_from(["none", "standardise"])),
            "scaling": draw(st.sampled_from(["none", "minmax", "zscore"])),
            "temporal": draw(st.sampled_from(["none", "markov"])),
            "max_iter": draw(st.sampled_from([1, 2, 20])),
            "seed": draw(st.integers(0, 5)),
        },
        draw(st.booleans()),
    )
    expected = case.run(folder / "plain", engine=PLAIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK_PIXELS", draw(st.sampled_from([37, 256, 1 << 20])))
        patch.setattr(store, "_PARTS_PER_THREAD", draw(st.sampled_from([1, 4, 9])))
        assert case.run(folder / "dask", client=two) == expected


def test_a_model_joins_new_dates_and_says_the_same_of_them(two, make_scene, tmp_path):
    old = scenes(make_scene)
    new = scenes(make_scene, count=2, prefix="new_", crs="EPSG:32633")
    with open_series(old) as series:
        cluster(series, classes=4, harmonise="standardise", engine=PLAIN).save(tmp_path / "m.json")
    model = ClassModel.load(tmp_path / "m.json")
    for name, way in {"plain": {"engine": PLAIN}, "dask": {"client": two}}.items():
        folder = tmp_path / name
        with open_series(new) as series:
            model.classify(series, folder, distance=folder, margin=folder, **way)
    assert files(tmp_path / "dask") == files(tmp_path / "plain")
    assert len(files(tmp_path / "dask")) >= 6


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_areas_of_the_classes_are_the_same_without_rasters(crs, two, make_scene):
    pixel, origin = (0.01, (12.0, 48.0)) if crs == "EPSG:4326" else (10.0, (5e5, 46e5))
    paths, found = scenes(make_scene, crs=crs, pixel=pixel, origin=origin), []
    for engine, client in ((PLAIN, None), ("dask", two)):
        with open_series(paths) as series:
            model = cluster(series, classes=4, engine=engine, client=client)
            found.append(
                fitted_scenes(
                    model, series, engine=engine, threads=2, client=client, monitor=Quiet()
                )
            )
    for plain, dask in zip(*found):
        assert plain.class_pixels.tolist() == dask.class_pixels.tolist()
        assert plain.hectares is not None and plain.hectares.sum() > 0
        assert plain.hectares.tobytes() == dask.hectares.tobytes()


def test_pixels_that_lie_with_workers_are_read_once(two, make_scene, tmp_path):
    paths = scenes(make_scene)
    expected = Case(paths).run(tmp_path / "plain", engine=PLAIN)
    with open_series(paths) as series:
        model = cluster(series, classes=4, client=two)
        for path in paths:  # whoever reads now, fails
            path.rename(path.with_suffix(".gone"))
        model.save(tmp_path / "dask" / "model.json")
        model.classify(series, tmp_path / "dask" / "out", client=two)
    assert files(tmp_path / "dask") == expected


def test_one_series_goes_from_engine_to_engine(two, make_scene, tmp_path):
    expected = Case(scenes(make_scene)).run(tmp_path / "plain", engine=PLAIN)
    paths = sorted((tmp_path / "scenes").glob("*.tif"))
    ways = [{"client": two}, {"engine": PLAIN}, {"engine": "dask"}, {"client": two}]
    with open_series(paths) as series:
        for number, way in enumerate(ways):
            folder = tmp_path / str(number)
            model = cluster(series, classes=4, **way)
            model.save(folder / "model.json")
            model.classify(series, folder / "out", **ways[number - 1])
            assert files(folder) == expected


def _no_room() -> None:
    """Let nothing stay in memory: codes go to a scratch file, values are read twice."""
    from iikmc.core.workers import tasks

    tasks.kept_room = tasks._room
    tasks._room = lambda *_: 0


def _room_again() -> None:
    from iikmc.core.workers import tasks

    tasks._room = tasks.kept_room


def test_workers_keep_nothing_of_a_run_that_is_over(two, make_scene, tmp_path):
    with open_series(scenes(make_scene, "float32")) as series:
        cluster(series, classes=4, client=two).classify(series, tmp_path / "out", client=two)
        assert all(kept > (0, 0, 0) for kept in two.run(_kept).values())
    nothing = dict.fromkeys(two.run(_kept), (0, 0, 0))
    assert within(10, lambda: two.run(_kept) == nothing), two.run(_kept)


def _kept(dask_worker) -> tuple[int, int, int]:
    """Return how many series, parts, and results of tasks a worker has."""
    import gc

    from iikmc.core.workers import part, tasks

    gc.collect()
    parts = sum(issubclass(type(item), part.Part) for item in gc.get_objects())
    return len(tasks._series), parts, len(dask_worker.data)
