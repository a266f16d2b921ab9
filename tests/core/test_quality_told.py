"""Quality and convergence of a real fit, as the model's file and its report tell them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from conftest import land_cover
from test_report import Page, plain

from iikmc.core import ClassModel, Monitor, cluster, open_series, report
from iikmc.core.classify import fitted_scenes
from iikmc.core.quality import SILHOUETTE_PIXELS


@pytest.mark.parametrize("strategy", ["full", "mini-batch"])
@pytest.mark.parametrize("sampled", [False, True], ids=["all pixels", "a sample"])
def test_a_report_tells_the_quality_of_its_model_and_how_it_was_computed(
    sampled, strategy, make_scene, tmp_path
):
    shape = {"height": 70, "width": 60} if sampled else {"height": 25, "width": 30}
    paths = [make_scene(f"s_2020-01-0{day}", land_cover(day, **shape)) for day in (1, 2, 3)]
    with open_series(paths) as series:
        model = cluster(series, classes=4, strategy=strategy, sample_fraction=0.2, max_iter=6)
        model.save(tmp_path / "model.json")
        loaded = ClassModel.load(tmp_path / "model.json")
        scenes = fitted_scenes(loaded, series, engine="numpy", threads=1, monitor=Monitor())
        report.write_report(tmp_path / "report.html", loaded, scenes, series.grid)
    fit, kept = model.fit, json.loads((tmp_path / "model.json").read_text())["fit"]
    found = fit.quality
    assert found is not None and found == loaded.fit.quality
    for name in ("silhouette", "simplified_silhouette", "davies_bouldin", "calinski_harabasz"):
        assert kept["quality"][name] == getattr(found, name)
    assert kept["inertia"] == fit.inertia
    assert (kept["converged"], kept["changed"]) == (fit.converged, list(fit.changed))

    page = Page((tmp_path / "report.html").read_text("utf-8"))
    rows = page.tables["All classes together, over the scenes of the fit"]
    every = f"all {fit.valid_pixels:,} pixels"
    on = f"a sample of {found.silhouette_pixels:,}, even over scenes and places"
    assert sampled == (found.silhouette_pixels < fit.valid_pixels)
    assert found.silhouette_pixels > SILHOUETTE_PIXELS / 2 or not sampled
    assert [[plain(cell) for cell in row[:3]] for row in rows[1:]] == [
        ["Simplified silhouette", f"{found.simplified_silhouette:.3f}", every],
        ["Silhouette", f"{found.silhouette:.3f}", on if sampled else every],
        ["Davies-Bouldin", f"{found.davies_bouldin:.3f}", every],
        ["Calinski-Harabasz", f"{found.calinski_harabasz:,.0f}", every],
    ]
    assert "nearer pixels are to their own signature than to the nearest other" in rows[1][3]
    assert "mean distances to the pixels of the classes (Rousseeuw 1987)" in rows[2][3]
    text = plain(page.text)
    ending = "converged after" if fit.converged else "did not converge in"
    assert f"The fit {ending} {fit.n_iter} iteration" in text
    told = re.search(r"root mean square distance ([\d,]+(\.\d+)?)", text)
    assert told is not None
    root = float(told[1].replace(",", ""))
    assert root == pytest.approx(np.sqrt(fit.inertia / fit.valid_pixels), rel=1e-3)
