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
PARAMETERS = {
    "INPUT": ("multilayer", None, False),
    "MASKS": ("multilayer", None, True),
    "MASK_KIND": ("enum", 0, False),
    "BANDS": ("string", "", True),
    "DATES": ("string", "", True),
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
    "ENGINE": ("enum", 0, False),
    "THREADS": ("number", 0, False),
    "MEMORY_MB": ("number", 0, False),
    "SEED": ("number", 0, False),
    "LOAD": ("boolean", True, False),
    "OUTPUT": ("folderDestination", None, False),
    "MODEL": ("fileDestination", None, True),
    "REPORT": ("fileDestination", None, True),
}
OPTIONS = {"MASK_KIND": 5, "INIT": 3, "STRATEGY": 4, "STOP_RULE": 2, "EMPTY": 3, "ORDER": 3}
OPTIONS["ENGINE"] = 5
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
    assert [algorithm.id() for algorithm in provider.algorithms()] == ["iikmc:classifyseries"]
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


def test_parameters(algorithm):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    found = {
        item.name(): (item.type(), item.defaultValue(), bool(item.flags() & optional))
        for item in algorithm.parameterDefinitions()
    }
    assert list(found) == list(PARAMETERS)
    assert found == PARAMETERS


def test_enums_take_the_index_and_declare_every_option(algorithm):
    enums = {
        item.name(): item
        for item in algorithm.parameterDefinitions()
        if isinstance(item, QgsProcessingParameterEnum)
    }
    assert {name: len(item.options()) for name, item in enums.items()} == OPTIONS
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


def test_optional_outputs_are_not_made_unasked(algorithm):
    for key in ("MODEL", "REPORT"):
        assert not algorithm.parameterDefinition(key).createByDefault()


def test_help(algorithm):
    assert algorithm.group() == "Classify"
    assert algorithm.shortHelpString()
    assert "k-means" in algorithm.tags()
    assert not algorithm.icon().isNull()
    for item in algorithm.parameterDefinitions():
        assert len(item.help()) > 20, item.name()
        assert item.description() and item.description() != item.name()


def test_advanced_are_the_rarely_used(algorithm):
    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [
        item.name() for item in algorithm.parameterDefinitions() if not item.flags() & advanced
    ]
    assert shown == [
        *("INPUT", "MASKS", "MASK_KIND", "BANDS", "DATES", "CLASSES"),
        *("LOAD", "OUTPUT", "MODEL", "REPORT"),
    ]
