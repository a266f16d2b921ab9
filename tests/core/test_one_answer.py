"""One answer: the same bits from every backend, thread count, block size, order and dtype."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import available_backends, cluster, open_series, reading

SEEDS = st.integers(0, 2**32 - 1)
ROOM = reading.pixel_room


@dataclass(frozen=True)
class Way:
    """A way to run that must not show in the result."""

    engine: str = "numpy"
    threads: int = 1
    block_pixels: int = reading.BLOCK_PIXELS
    order: tuple[int, ...] = ()
    dtype: str = ""
    layout: dict[str, object] = field(default_factory=dict)
    memory_mb: int | None = None
    spill: bool = False


def write(folder: Path, index: int, values: np.ndarray, way: Way) -> Path:
    """Write one date in the dtype and layout of a way; 0 is nodata."""
    values = values.astype(way.dtype) if way.dtype else values
    path = folder / f"s_2021-01-{index + 1:02d}.tif"
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=bands, height=height, width=width,
        crs="EPSG:32633", transform=rasterio.transform.from_origin(0, 0, 10, 10), nodata=0,
        **way.layout,
    ) as dataset:  # fmt: skip
        dataset.write(values)
    return path


def answer(
    folder: Path, scenes: list[np.ndarray], way: Way, monkeypatch: pytest.MonkeyPatch, **options
) -> tuple[str, list[bytes]]:
    """Return the model as JSON and the label rasters' bytes for one way of running."""
    folder.mkdir(exist_ok=True)
    paths = [write(folder, index, values, way) for index, values in enumerate(scenes)]
    monkeypatch.setattr(reading, "BLOCK_PIXELS", way.block_pixels)
    monkeypatch.setattr(reading, "pixel_room", (lambda *_: 0) if way.spill else ROOM)
    ordered = [paths[index] for index in way.order] if way.order else paths
    with open_series(ordered) as series:
        model = cluster(
            series, engine=way.engine, threads=way.threads, memory_mb=way.memory_mb, **options
        )
        labels = model.classify(series, folder / "out", engine=way.engine, threads=way.threads)
    model.save(folder / "model.json")
    content = json.loads((folder / "model.json").read_text())
    for band in content["bands"]:  # how a dtype is shifted to codes is not part of the answer
        band["midpoint"] += band.pop("shift")
    arrays = []
    for path in labels:
        with rasterio.open(path) as dataset:
            arrays.append(dataset.read(1).tobytes())
    return json.dumps(content), arrays


@st.composite
def series_values(draw: st.DrawFn) -> list[np.ndarray]:
    """Draw scenes of awkward kinds: uint16 below 2^15, which every dtype holds."""
    rng = np.random.default_rng(draw(SEEDS))
    bands, scenes = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    height, width = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    kind = draw(st.sampled_from(["spread", "few values", "tight", "constant band", "extremes"]))
    shape = (scenes, bands, height, width)
    if kind == "spread":
        values = rng.integers(1, 10_000, shape)
    elif kind == "few values":  # many duplicates and exact ties
        values = rng.integers(1, 5, shape)
    elif kind == "tight":  # a huge offset with a tiny spread
        values = rng.integers(32_000, 32_006, shape)
    elif kind == "constant band":
        values = rng.integers(1, 3_000, shape)
        values[:, 0] = 777
    else:
        values = rng.choice([1, 2, 32_766, 32_767], shape)
    values[np.broadcast_to(rng.random((scenes, 1, height, width)) < 0.2, shape)] = 0
    values[0, :, 0, :3] = np.array([10, 20, 30])  # three distinct spectra at least
    return list(values.astype(np.uint16))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_way_of_running_gives_the_same_bits(data, tmp_path_factory, monkeypatch):
    scenes = data.draw(series_values())
    options = {
        "classes": data.draw(st.integers(2, 3)),
        "init": data.draw(st.sampled_from(["minmax", "k-means++"])),
        "empty": data.draw(st.sampled_from(["keep", "relocate", "drop"])),
        "order": data.draw(st.sampled_from(["brightness", "size", "seeded"])),
        "stop_rule": data.draw(st.sampled_from(["changed", "shift"])),
        "max_iter": data.draw(st.sampled_from([1, 2, 30])),
        "seed": data.draw(st.integers(0, 5)),
        "strategy": data.draw(st.sampled_from(["full", "progressive", "sample", "mini-batch"])),
        "sample_fraction": data.draw(st.sampled_from([0.5, 0.9])),
    }
    way = Way(
        engine=data.draw(st.sampled_from(available_backends())),
        threads=data.draw(st.sampled_from([1, 2, 3, 7])),
        block_pixels=data.draw(st.sampled_from([1, 37, 256, 1 << 20])),
        memory_mb=data.draw(st.sampled_from([None, 1])),
        spill=data.draw(st.booleans()),  # so small a series never leaves a megabyte
        order=tuple(data.draw(st.permutations(range(len(scenes))))),
        dtype=data.draw(
            st.sampled_from(["uint16", "int16", "int32", "uint32", "float32", "float64"])
        ),
        layout=data.draw(
            st.sampled_from(
                [
                    {},
                    {"interleave": "pixel"},
                    {"blockysize": 3, "compress": "deflate"},
                    {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw"},
                ]
            )
        ),
    )
    folder = tmp_path_factory.mktemp("ways")
    expected = answer(folder / "a", scenes, Way(), monkeypatch, **options)
    found = answer(folder / "b", scenes, way, monkeypatch, **options)
    assert found[0] == expected[0]
    assert found[1] == expected[1]


@pytest.mark.parametrize(
    ("bands", "classes"),
    [
        (1, 2),
        (1, 254),
        (2, 9),
        (3, 8),
        (4, 5),
        (6, 8),
        (6, 50),
        (12, 7),
        (13, 3),
        (16, 17),
        (40, 6),
    ],
)
def test_numba_kernels_of_every_shape_agree_with_numpy(bands, classes, tmp_path, monkeypatch):
    if "numba" not in available_backends():
        pytest.skip("the engine numba is not installed here")
    rng = np.random.default_rng(bands * 1000 + classes)
    scenes = [rng.integers(1, 4000, (bands, 40, 61)).astype(np.uint16) for _ in range(2)]
    options = {"classes": classes, "init": "k-means++", "max_iter": 4}
    expected = answer(tmp_path / "a", scenes, Way(), monkeypatch, **options)
    way = Way("numba", 2, 700)
    assert answer(tmp_path / "b", scenes, way, monkeypatch, **options) == expected


@pytest.mark.parametrize("stray", [-9999.0, 1e9])
def test_floats_with_a_stray_value_have_one_answer_and_sensible_labels(
    stray, tmp_path, monkeypatch
):
    rng = np.random.default_rng(5)
    cover = rng.integers(0, 4, (60, 70))
    values = np.array([[0.1, 0.4], [0.3, 0.1], [0.6, 0.6], [0.9, 0.2]])[cover].transpose(2, 0, 1)
    values = (values + rng.normal(0, 0.005, values.shape)).astype(np.float32)
    spoilt = values.copy()
    spoilt[0, 7, 7] = stray
    options = {"classes": 5, "init": "k-means++", "seed": 1}  # four covers and the stray value
    expected = answer(tmp_path / "a", [spoilt, values], Way(), monkeypatch, **options)
    for engine in available_backends():
        way = Way(engine, 3, 500, (1, 0))
        assert answer(tmp_path / engine, [spoilt, values], way, monkeypatch, **options) == expected
    labels = np.frombuffer(expected[1][1], np.uint8).reshape(60, 70)
    # Whatever the stray value did, every pixel of a cover has one label, and covers differ.
    assert len({tuple(np.unique(labels[cover == c])) for c in range(4)}) == 4
