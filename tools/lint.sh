#!/usr/bin/env bash
# Checks style with ruff, the engine's types with mypy and the scripts' syntax with bash.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
tools/setup.sh
source tools/qgis_env.sh

.venv/bin/ruff check .
.venv/bin/ruff format --check .
# Through the plugin folder, where the package has its name whatever the checkout is called.
MYPYPATH="$QGIS_PLUGINPATH" .venv/bin/mypy --explicit-package-bases
for script in tools/*.sh .ci/run; do
    bash -n "$script"
done
