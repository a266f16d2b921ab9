"""The contract: ids, keys, options, defaults and help, which scripts and models rely on."""

from __future__ import annotations

import sys

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingOutputHtml,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
)

from iikmc import classFactory

# Key: kind, default, optional.
READING = {
    "INPUT": ("multilayer", None, False),
    "MASKS": ("multilayer", None, True),
    "MASK_KIND": ("enum", 0, False),
    "BANDS": ("string", "", True),
    "STATIC": ("multilayer", None, True),
    "DATES": ("string", "", True),
    "EXTENT": ("extent", None, True),
    "AREA": ("source", None, True),
    "GRID": ("enum", 0, False),
}
FITTING = {
    "HARMONISE": ("enum", 0, False),
    "HARMONISE_REFERENCE": ("string", "", True),
    "SCALING": ("enum", 0, False),
    "CLASSES": ("number", 8, False),
    "INIT": ("enum", 0, False),
    "MODEL_IN": ("file", None, True),
    "STRATEGY": ("enum", 0, False),
    "SAMPLE_FRACTION": ("number", 0.02, False),
    "MAX_ITERATIONS": ("number", 100, False),
    "STOP_RULE": ("enum", 0, False),
    "TOLERANCE": ("number", 0.0001, False),
    "EMPTY": ("enum", 0, False),
    "ORDER": ("enum", 0, False),
}
RUNNING = {
    "ENGINE": ("enum", 0, False),
    "SCHEDULER": ("string", "", True),
    "THREADS": ("number", 0, False),
    "MEMORY_MB": ("number", 0, False),
}
SEED = {
    "SEED": ("number", 0, False),
    "TEMPORAL": ("enum", 0, False),
    "TEMPORAL_STRENGTH": ("number", 1.0, False),
    "CHECKPOINT": ("file", None, True),
}
LAYERS = {
    "LOAD": ("boolean", True, False),
    "OUTPUT": ("folderDestination", None, False),
}
REPORT = {"REPORT": ("fileDestination", None, True)}
PARAMETERS = {
    "classifyseries": {
        **READING,
        **FITTING,
        **RUNNING,
        **SEED,
        **LAYERS,
        "MODEL": ("fileDestination", None, True),
        **REPORT,
    },
    "fitmodel": {
        **READING,
        **FITTING,
        **RUNNING,
        **SEED,
        "MODEL": ("fileDestination", None, False),
        **REPORT,
    },
    "applymodel": {
        **READING,
        "MODEL": ("file", None, False),
        **RUNNING,
        **LAYERS,
        "DISTANCE": ("folderDestination", None, True),
        "MARGIN": ("folderDestination", None, True),
    },
}
OPTIONS = {"MASK_KIND": 5, "GRID": 3, "SCALING": 3, "INIT": 3, "STRATEGY": 4, "STOP_RULE": 2}
OPTIONS |= {"HARMONISE": 3, "TEMPORAL": 2}
OPTIONS |= {"EMPTY": 3, "ORDER": 3, "ENGINE": 5}
NUMBERS = (
    "CLASSES_FOUND",
    "ITERATIONS",
    "CONVERGED",
    "CHANGED_FRACTION",
    "INERTIA",
    "VALID_PIXELS",
)


def test_provider(plugin):
    provider = QgsApplication.processingRegistry().providerById("iikmc")
    found = {algorithm.id() for algorithm in provider.algorithms()}
    assert found >= {f"iikmc:{name}" for name in PARAMETERS}
    assert provider.versionInfo()
    assert not provider.icon().isNull()
    assert not provider.problem


def test_unload_takes_the_provider_away(plugin):
    plugin.unload()
    assert QgsApplication.processingRegistry().providerById("iikmc") is None
    plugin.initProcessing()
    assert QgsApplication.processingRegistry().providerById("iikmc") is not None


def test_a_missing_package_is_said_in_the_window(plugin, qgis_iface, monkeypatch):
    monkeypatch.setitem(sys.modules, "iikmc.algorithms", None)
    plugin.unload()
    windowed = classFactory(qgis_iface)
    try:
        windowed.initGui()
        assert not QgsApplication.processingRegistry().providerById("iikmc").algorithms()
        messages = str(qgis_iface.messageBar().messages)
        assert "A Python package is missing" in messages
    finally:
        windowed.unload()
        monkeypatch.undo()
        plugin.initProcessing()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(plugin, name):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    found = {
        item.name(): (item.type(), item.defaultValue(), bool(item.flags() & optional))
        for item in algorithm_of(name).parameterDefinitions()
    }
    assert list(found) == list(PARAMETERS[name])
    assert found == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_enums_take_the_index_and_declare_every_option(plugin, name):
    enums = {
        item.name(): item
        for item in algorithm_of(name).parameterDefinitions()
        if isinstance(item, QgsProcessingParameterEnum)
    }
    assert enums
    assert {key: len(item.options()) for key, item in enums.items()} == {
        key: count for key, count in OPTIONS.items() if key in PARAMETERS[name]
    }
    assert not any(item.usesStaticStrings() for item in enums.values())


@pytest.mark.parametrize(("key", "low", "high"), [("CLASSES", 2, 254), ("TOLERANCE", 0.0, 1.0)])
def test_bounds(algorithm, key, low, high):
    parameter = algorithm.parameterDefinition(key)
    assert (parameter.minimum(), parameter.maximum()) == (low, high)


def test_outputs(algorithm):
    kinds = {item.name(): type(item) for item in algorithm.outputDefinitions()}
    assert set(kinds) == {"OUTPUT", "OUTPUT_LAYERS", "MODEL", "REPORT", *NUMBERS}
    assert kinds["OUTPUT_LAYERS"] is QgsProcessingOutputMultipleLayers
    assert kinds["REPORT"] is QgsProcessingOutputHtml
    assert all(kinds[key] is QgsProcessingOutputNumber for key in NUMBERS)


@pytest.mark.parametrize(
    ("name", "keys"),
    [("classifyseries", ("MODEL", "REPORT")), ("applymodel", ("DISTANCE", "MARGIN"))],
)
def test_optional_outputs_are_not_made_unasked(plugin, name, keys):
    for key in keys:
        assert not algorithm_of(name).parameterDefinition(key).createByDefault()


def test_every_algorithm_has_help_tags_icon_and_group(plugin):
    provider = QgsApplication.processingRegistry().providerById("iikmc")
    for algorithm in provider.algorithms():
        assert algorithm.group() and algorithm.groupId(), algorithm.name()
        assert algorithm.shortHelpString() and algorithm.shortDescription(), algorithm.name()
        assert len(algorithm.tags()) > 3
        assert not algorithm.icon().isNull()
        for item in algorithm.parameterDefinitions():
            assert len(item.help()) > 20, (algorithm.name(), item.name())
            assert item.description() and item.description() != item.name()


def test_advanced_are_the_rarely_used(algorithm):
    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [
        item.name() for item in algorithm.parameterDefinitions() if not item.flags() & advanced
    ]
    assert shown == [
        *("INPUT", "MASKS", "MASK_KIND", "BANDS", "DATES", "HARMONISE", "CLASSES", "TEMPORAL"),
        *("LOAD", "OUTPUT", "MODEL", "REPORT"),
    ]


def algorithm_of(name):
    """Return a registered algorithm of the plugin."""
    return QgsApplication.processingRegistry().algorithmById(f"iikmc:{name}")
