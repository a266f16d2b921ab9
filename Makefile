.PHONY: help setup demo test qgis lint bench bench-consistency matrix zip clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 20

setup: # what the other targets need; they call it themselves
	@tools/setup.sh

demo: ## classify a real Sentinel-2 series; the result is in demo/
	@tools/demo.sh

test: ## the engine tests, then the QGIS tests
	@tools/test.sh

qgis: ## qgis_process with this plugin: make qgis ARGS="help iikmc:classifyseries"
	@tools/qgis_process.sh $(ARGS)

lint: ## style and types
	@tools/lint.sh

bench: ## speed beside other programs': BENCH=full adds 205 million pixels, BENCH=sweep all shapes
	@tools/bench.sh $(ARGS)

bench-consistency: ## how well labels stay: ways to classify a series, compared
	@tools/bench_consistency.sh $(ARGS)

matrix: ## the tests under a newer QGIS (Debian 13's, in a chroot; needs root)
	@tools/matrix.sh

zip: ## the plugin as dist/iikmc.zip
	@tools/zip.sh

clean: ## remove everything that make made, the downloads too
	rm -rf .venv .qgis .matrix bench/environment bench/series bench/outputs demo dist build *.egg-info .qgis-settings tests/.qgis-settings .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
