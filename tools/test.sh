#!/usr/bin/env bash
# Runs the engine tests and the QGIS tests, and prints how many of each passed. Arguments go to both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
tools/setup.sh
results="$(mktemp -d)"
trap 'rm -rf "$results"' EXIT
status=0

# Two processes: pytest-qgis starts QGIS as soon as pytest does, and the engine must do without.
.venv/bin/pytest tests/core -p no:pytest_qgis --junitxml="$results/engine.xml" "$@" || status=1
(
    source tools/qgis_env.sh
    .venv/bin/pytest tests/qgis --junitxml="$results/QGIS.xml" "$@"
) || status=1

.venv/bin/python tools/count_tests.py "$results/engine.xml" "$results/QGIS.xml" || status=1
exit "$status"
