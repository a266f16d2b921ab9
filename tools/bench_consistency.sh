#!/usr/bin/env bash
# Compares ways to classify a series by how well their labels stay; see bench/consistency.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools/setup.sh
[[ -d demo/scenes ]] || tools/demo.sh # the real series is the demo's
exec .venv/bin/python bench/consistency.py "$@"
