"""CHECKPOINT: a run that was cancelled goes on, in QGIS, on the command line and in a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingParameterFile,
)
from synthetic import RecordingFeedback
from test_surroundings import qgis_process  # noqa: F401

ALGORITHMS = ("classifyseries", "fitmodel")


class StoppingFeedback(RecordingFeedback):
    """Cancels after so many iterations, as the button does."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def pushInfo(self, text: str) -> None:
        super().pushInfo(text)
        if text.startswith(f"Iteration {self._after}:"):
            self.cancel()


def parameters(name: str, series, folder: Path, checkpoint: Path | None = None) -> dict:
    chosen = {
        "INPUT": list(series.scenes),
        "CLASSES": 9,
        "TOLERANCE": 0.0,
        "MAX_ITERATIONS": 6,
        "MODEL": str(folder / "model.json"),
    }
    if name == "classifyseries":
        chosen["OUTPUT"] = str(folder / "out")
    return {**chosen, "CHECKPOINT": str(checkpoint)} if checkpoint else chosen


def run(name: str, chosen: dict, feedback: RecordingFeedback | None = None) -> RecordingFeedback:
    """Run as a dialog would: check, then run."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
    feedback, context = feedback or RecordingFeedback(), QgsProcessingContext()
    assert algorithm.checkParameterValues(chosen, context) == (True, "")
    _, ok = algorithm.run(chosen, context, feedback)
    assert ok, feedback.errors
    return feedback


def refusal(name: str, chosen: dict) -> str:
    """Return why a run would not start."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
    ok, why = algorithm.checkParameterValues(chosen, QgsProcessingContext())
    assert not ok
    return why


def files(folder: Path) -> dict[str, bytes]:
    """Return all files that there are."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def iterations(feedback: RecordingFeedback) -> int:
    return sum(text.startswith("Iteration ") for text in feedback.infos)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_cancelled_run_leaves_its_checkpoint_and_goes_on(name, plugin, series, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    checkpoint = tmp_path / "kept" / "fit.json"
    run(name, parameters(name, series, whole))
    run(name, parameters(name, series, again, checkpoint), StoppingFeedback(2))
    assert not again.exists()
    assert set(files(tmp_path / "kept")) == {"fit.json"}
    resumed = run(name, parameters(name, series, again, checkpoint))
    assert any(text.startswith("Going on after 2 iterations") for text in resumed.infos)
    assert (
        iterations(resumed) == json.loads((whole / "model.json").read_text())["fit"]["n_iter"] - 2
    )
    assert files(again) == files(whole)
    finished = run(name, parameters(name, series, again, checkpoint))
    assert iterations(finished) == 0
    assert files(again) == files(whole)


def test_the_checkpoint_may_lie_among_the_outputs(plugin, series, tmp_path):
    name, out = "classifyseries", tmp_path / "all"
    chosen = {**parameters(name, series, out), "OUTPUT": str(out)}
    chosen["CHECKPOINT"] = str(out / "fit.json")
    run(name, chosen, StoppingFeedback(2))
    assert set(files(out)) == {"fit.json"}
    run(name, chosen)
    assert {"fit.json", "model.json"} < set(files(out))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_checkpoint_is_no_file(name, plugin, series, tmp_path):
    run(name, {**parameters(name, series, tmp_path / "run"), "CHECKPOINT": ""})
    assert not list((tmp_path / "run").glob("*fit*"))


@pytest.mark.parametrize("place", ["fit.json", "fit.JSON", "fit", "a.b c", "new/fit.ckpt"])
def test_any_name_will_do(place, plugin, series, tmp_path):
    name, checkpoint = "fitmodel", tmp_path / place
    run(name, parameters(name, series, tmp_path / "run", checkpoint))
    assert checkpoint.is_file()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_does_not_fit_is_said_before_the_run(name, plugin, series, tmp_path):
    checkpoint = tmp_path / "fit.json"
    chosen = parameters(name, series, tmp_path / "run", checkpoint)
    run(name, chosen, StoppingFeedback(1))
    before = files(tmp_path)
    assert "with classes 9, this one has 5: name another" in refusal(name, {**chosen, "CLASSES": 5})
    assert "number of scenes 3, this one has 2" in refusal(
        name, {**chosen, "INPUT": list(series.scenes[:2])}
    )
    for clash, words in (
        (series.scenes[0], "is not a checkpoint"),
        (chosen["MODEL"], "which is the model: choose another file."),
        (tmp_path, "is a folder; expected the name of a file"),
        (checkpoint / "fit.json", "cannot be saved there"),
    ):
        assert words in refusal(name, {**chosen, "CHECKPOINT": str(clash)})
    assert files(tmp_path) == before


def test_a_checkpoint_does_not_take_the_place_of_a_class_layer(plugin, series, tmp_path):
    chosen = parameters("classifyseries", series, tmp_path / "run")
    layer = Path(chosen["OUTPUT"], f"{Path(series.scenes[0]).stem}_classes.tif")
    why = refusal("classifyseries", {**chosen, "CHECKPOINT": str(layer)})
    assert f"CHECKPOINT is '{layer}', which is a class layer" in why


def test_qgis_process_saves_to_a_new_file(qgis_process, plugin, series, tmp_path):  # noqa: F811
    checkpoint = tmp_path / "fit.json"
    chosen = parameters("fitmodel", series, tmp_path / "there", checkpoint)
    scenes = [f"INPUT={scene}" for scene in chosen.pop("INPUT")]
    words = [f"{key}={value}" for key, value in chosen.items()]
    made = qgis_process("run", "iikmc:fitmodel", "--", *scenes, *words)
    assert made.returncode == 0, made.stdout + made.stderr
    feedback = run("fitmodel", parameters("fitmodel", series, tmp_path / "here", checkpoint))
    assert iterations(feedback) == 0
    assert files(tmp_path / "there") == files(tmp_path / "here")


@pytest.mark.parametrize("as_parameter", [False, True])
def test_in_a_model_the_file_stays_where_it_is_named(as_parameter, plugin, series, tmp_path):
    checkpoint = tmp_path / "fit.json"
    chosen = parameters("classifyseries", series, tmp_path / "run", checkpoint)
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("Goes on", "tests")
    child = QgsProcessingModelChildAlgorithm("iikmc:classifyseries")
    child.setChildId("classify")
    for key, value in chosen.items():
        child.addParameterSources(key, [source.fromStaticValue(value)])
    given = {}
    if as_parameter:
        item = QgsProcessingParameterFile("KEEP", "Keep")
        model.addModelParameter(item, QgsProcessingModelParameter("KEEP"))
        child.addParameterSources("CHECKPOINT", [source.fromModelParameter("KEEP")])
        given["KEEP"] = str(checkpoint)
    model.addChildAlgorithm(child)
    model.initAlgorithm()
    model.run(given, QgsProcessingContext(), StoppingFeedback(2))
    assert checkpoint.is_file() and not (tmp_path / "run").exists()
    feedback = RecordingFeedback()
    _, ok = model.create().run(given, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    run("classifyseries", parameters("classifyseries", series, tmp_path / "whole"))
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert iterations(feedback) == 4
