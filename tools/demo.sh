#!/usr/bin/env bash
# Classifies a real Sentinel-2 series through qgis_process and leaves everything in demo/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
tools/setup.sh
.venv/bin/python tools/demo_scenes.py demo/scenes

layers=()
for scene in demo/scenes/S2_*.tif; do
    layers+=("--INPUT=$scene" "--MASKS=${scene/S2_/SCL_}")
done
echo "demo: classifying"
rm -rf demo/classes demo/model.json demo/report.html demo/run.json
started=$(date +%s%3N)
tools/qgis_process.sh --json run iikmc:classifyseries "${layers[@]}" --MASK_KIND=3 --CLASSES=6 \
    --OUTPUT=demo/classes --MODEL=demo/model.json --REPORT=demo/report.html >demo/run.json
finished=$(date +%s%3N)

source tools/qgis_env.sh
.venv/bin/python tools/demo_project.py demo/classes demo/series.qgz
.venv/bin/python tools/demo_overview.py demo/series.qgz demo/overview.png
.venv/bin/python tools/demo_summary.py demo "$((finished - started))"
