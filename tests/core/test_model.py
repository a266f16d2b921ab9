"""A model survives its file to the bit, and a file that is no whole model is refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import ClassModel, cluster, open_series
from iikmc.core.codes import CodeGrid
from iikmc.core.errors import ModelError, OutputError
from iikmc.core.records import FitRecord, FitSettings, SceneRecord
from iikmc.core.scores import FeatureSpace

FOLDER_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
FINITE = st.floats(-1e200, 1e200)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANY_OF_TYPE = {"int": 3, "float": 1e-4, "str": "minmax"}


def record(kind, **known):
    """A record with these values, and any in its other fields."""
    fields = dataclasses.fields(kind)
    return kind(**{item.name: ANY_OF_TYPE.get(item.type) for item in fields} | known)


SETTINGS = record(FitSettings, scaling="zscore", harmonise="none")


@st.composite
def models(draw):
    """Any model there can be, of 1 to 3 bands and 2 to 4 classes."""
    bands, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    grids = st.builds(
        CodeGrid,
        st.integers(-(1 << 40), 1 << 40),
        st.integers(-60, 60).map(lambda power: 2.0**power),
        st.booleans(),
    )
    coding = [
        (grid, draw(st.integers(grid.lowest, grid.highest)), draw(st.sampled_from([1.0, 0.3])))
        for grid in draw(st.lists(grids, min_size=bands, max_size=bands))
    ]
    rows = st.lists(st.lists(FINITE, min_size=bands, max_size=bands), min_size=1)
    counts = st.lists(st.integers(0, 1 << 50), min_size=classes, max_size=classes).map(tuple)
    scenes = st.builds(SceneRecord, NAMES, st.dates(), st.integers(0, 1 << 50), counts)
    shares = draw(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=4))
    return ClassModel(
        band_names=tuple(draw(st.lists(NAMES, min_size=bands, max_size=bands))),
        space=FeatureSpace(*zip(*coding)),
        centres=np.resize(np.array(draw(rows)), (classes, bands)),
        names=tuple(draw(st.lists(NAMES, min_size=classes, max_size=classes))),
        colours=((0, 1, 2), (255, 254, 16), (9, 10, 11), (77, 88, 99))[:classes],
        fit=record(
            FitRecord,
            settings=dataclasses.replace(SETTINGS, tol=draw(FINITE), seed=draw(st.integers())),
            n_iter=draw(st.integers(1, 100)),
            converged=draw(st.booleans()),
            changed=tuple(pair[0] for pair in shares),
            shift=tuple(pair[1] for pair in shares),
            inertia=draw(FINITE),
            saturated=tuple(draw(st.lists(st.integers(0), min_size=bands, max_size=bands))),
            scenes=tuple(draw(st.lists(scenes, min_size=1, max_size=3))),
        ),
    )


def a_model():
    grids = (CodeGrid(0, 1.0), CodeGrid(-3, 2.0**-7, wide=True))
    return ClassModel(
        band_names=("red", "nir"),
        space=FeatureSpace(grids, (5, -40), (1.0, 2.5)),
        centres=np.array([[1.5, -2.0], [0.1, 7.0], [3.0, 1 / 3]]),
        names=("Class 1", "Wasser", "森"),
        colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
        fit=record(
            FitRecord,
            settings=SETTINGS,
            n_iter=2,
            converged=True,
            changed=(1.0, 0.0),
            shift=(0.5, 0.0),
            inertia=3.25,
            saturated=(0, 2),
            scenes=(SceneRecord("s", dt.date(2020, 1, 2), 6, (1, 2, 3)),),
        ),
    )


def assert_same(found, expected):
    for field in ("band_names", "space", "names", "colours", "fit"):
        assert getattr(found, field) == getattr(expected, field), field
    assert found.centres.tobytes() == expected.centres.tobytes()
    assert found.signatures.tobytes() == expected.signatures.tobytes()


@FOLDER_FIXTURE
@given(models())
def test_any_model_is_read_back_to_the_bit(tmp_path_factory, model):
    path = tmp_path_factory.getbasetemp() / "model.json"
    model.save(path)
    loaded = ClassModel.load(path)
    assert_same(loaded, model)
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


def test_a_fitted_model_is_read_back_and_gives_the_same_labels(three_scenes, tmp_path):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=4, engine="numpy")
        model.save(tmp_path / "new" / "model.json")
        loaded = ClassModel.load(tmp_path / "new" / "model.json")
        assert_same(loaded, model)
        one = model.classify(series, tmp_path / "one", engine="numpy")
        two = loaded.classify(series, tmp_path / "two", engine="numpy")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_the_file_is_json_that_people_can_read(tmp_path):
    model = a_model()
    model.save(tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text("utf-8")
    third = json.loads(text)["classes"][2]
    assert (third["number"], third["name"], third["colour"]) == (3, "森", "#070809")
    assert third["signature"] == model.signatures[2].tolist()
    assert "森" in text


def refused(tmp_path, content, words):
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ModelError, match=words) as caught:
        ClassModel.load(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def content(tmp_path):
    """The JSON of a good model, to be spoiled."""
    a_model().save(tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text("utf-8"))


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.json' cannot be read: No such file"):
        ClassModel.load(tmp_path / "gone.json")
    with pytest.raises(ModelError, match="cannot be read"):
        ClassModel.load(tmp_path)


@pytest.mark.parametrize("foreign", [b"", b"\x89PNG\xff", b"<html>", b'{"format": ', b"[" * 10**5])
def test_what_is_not_json_is_refused(tmp_path, foreign):
    refused(tmp_path, foreign, "is not JSON")


@pytest.mark.parametrize("foreign", [[], 3, "model", {}, {"type": "FeatureCollection"}])
def test_other_json_is_refused(tmp_path, foreign):
    refused(tmp_path, foreign, "is not a class model")


def test_a_model_of_the_future_asks_for_an_update(tmp_path, content):
    content["version"] = 2
    refused(tmp_path, content, "format version 2, this version reads 1: update the plugin")


def test_a_file_cut_short_is_refused(tmp_path):
    a_model().save(tmp_path / "whole.json")
    whole = (tmp_path / "whole.json").read_bytes()
    for length in range(0, len(whole) - 2, 97):
        refused(tmp_path, whole[:length], "is not JSON")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    a_model().save(tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text("utf-8")
    (tmp_path / "m.json").write_text(text, "utf-8-sig")
    assert_same(ClassModel.load(tmp_path / "m.json"), a_model())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("bands",), []),
        (("bands", 0, "step"), 0.0),
        (("bands", 0, "step"), 3.0),
        (("bands", 0, "step"), float("inf")),
        (("bands", 0, "shift"), 0.5),
        (("bands", 0, "wide"), "no"),
        (("bands", 0, "midpoint"), 1 << 60),
        (("bands", 1, "name"), None),
        (("classes",), []),
        (("classes", 0, "number"), 2),
        (("classes", 0, "centre"), [1.0]),
        (("classes", 0, "centre"), [1.0, float("nan")]),
        (("classes", 0, "colour"), "red"),
        (("classes", 0, "colour"), "#-1-1-1"),
        (("fit",), None),
        (("fit", "changed"), []),
        (("fit", "scenes"), []),
        (("fit", "scenes", 0, "date"), "2020-13-01"),
        (("fit", "scenes", 0, "class_pixels"), [1, 2]),
        (("fit", "settings", "classes"), ...),
    ],
)
def test_a_damaged_model_is_refused(tmp_path, content, place, value):
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    refused(tmp_path, content, "is damaged")


def test_more_classes_than_labels_can_number_are_refused(tmp_path, content):
    first = content["classes"][0]
    content["classes"] = [dict(first, number=number) for number in range(1, 256)]
    content["fit"]["scenes"][0]["class_pixels"] = [0] * 255
    refused(tmp_path, content, "is damaged .*bad number of bands or classes")


def leaves(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))


@FOLDER_FIXTURE
@given(st.data())
def test_whatever_is_spoiled_the_model_is_refused_or_can_be_used(content, tmp_path, data):
    content = copy.deepcopy(content)
    *parents, key = data.draw(st.sampled_from(list(leaves(content))))
    parent = content
    for step in parents:
        parent = parent[step]
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    parent[key] = data.draw(scalars | st.lists(scalars, max_size=3) | st.just({}))
    path = tmp_path / "m.json"
    path.write_text(json.dumps(content), "utf-8")
    try:
        model = ClassModel.load(path)
    except ModelError:
        return
    model.check_bands(model.band_names)
    assert np.isfinite(model.signatures).all()
    assert np.isfinite(model.space.scale(model.centres))
    assert len(model.classes) == len(model.centres) == len(model.fit.class_pixels)
    assert model.fit.changed_fraction is not None


def test_bands_are_compared_by_number_and_name():
    model = a_model()
    model.check_bands(["Red ", "NIR"])
    model.check_bands(["Band 1", "Band 2"])
    with pytest.raises(ModelError, match=r"has 2 bands \(red, nir\), the series 3 .* with BANDS"):
        model.check_bands(["red", "nir", "swir"])
    with pytest.raises(ModelError, match=r"bands are red, nir, those of the series nir, red: .*"):
        model.check_bands(["nir", "red"])


def test_a_series_of_other_bands_is_refused_before_any_pixel_is_read(
    three_scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr("iikmc.core.valid.read_onto", lambda *_: pytest.fail("read a pixel"))
    with open_series(three_scenes) as series:
        for attempt in (
            lambda: a_model().classify(series, tmp_path / "out", engine="numpy"),
            lambda: cluster(series, init=a_model(), engine="numpy"),
        ):
            with pytest.raises(ModelError, match="The model has 2 bands"):
                attempt()
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_saved_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("theirs")
    for place in (tmp_path, tmp_path / "file" / "m.json"):
        with pytest.raises(OutputError):
            a_model().save(place)
    with pytest.raises(OutputError, match="cannot be written"):
        a_model().write(tmp_path)


def test_other_names_and_colours_change_nothing_else():
    model = a_model()
    renamed = model.renamed(("a", "b", "c"), ((0, 0, 0),) * 3)
    assert [item.name for item in renamed.classes] == ["a", "b", "c"]
    assert (renamed.fit, renamed.space) == (model.fit, model.space)
