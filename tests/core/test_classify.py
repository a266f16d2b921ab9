"""Classifying: where rasters go, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import land_cover

from iikmc.core import cluster, errors, open_series


@pytest.mark.parametrize("taken_by", ["a scene", "a mask"])
def test_labels_never_take_the_place_of_an_input(taken_by, make_scene):
    scene = make_scene("x_2020-01-01", land_cover(1))
    other = scene.with_name("x_2020-01-01_classes.tif")
    shutil.copy(scene, other)
    if taken_by == "a scene":
        series = open_series([scene, other])
    else:
        series = open_series([scene], masks=[other])
    before = other.read_bytes()
    model = cluster(series, classes=3)
    with pytest.raises(errors.OutputError, match="is an input"):
        model.classify(series, scene.parent)
    assert other.read_bytes() == before
    model.classify(series, scene.parent / "elsewhere")


def test_a_model_classifies_scenes_it_has_not_seen_alike(make_scene, tmp_path):
    paths = [make_scene(f"s_2020-01-0{day}", land_cover(day)) for day in (1, 2, 3)]
    with open_series(paths) as series:
        model = cluster(series, classes=4)
        together = model.classify(series, tmp_path / "together")
    with open_series(paths[1:2]) as one:
        alone = model.classify(one, tmp_path / "alone")
    assert [path.name for path in alone] == [together[1].name]
    assert alone[0].read_bytes() == together[1].read_bytes()


def test_band_names_do_not_depend_on_the_order_of_scenes(make_scene):
    named = make_scene("a_2020-01-02", land_cover(1), band_names=["red", "nir", "swir"])
    plain = make_scene("b_2020-01-01", land_cover(2))
    for paths in ([named, plain], [plain, named]):
        assert open_series(paths).band_names == ("red", "nir", "swir")
    assert open_series([plain]).band_names == ("Band 1", "Band 2", "Band 3")
    model = cluster(open_series([named]), classes=3)
    assert np.isfinite(model.signatures).all()
