"""The sentences about a fit say how it ended, how converged it is, and what is odd."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from iikmc.core import summary
from iikmc.core.codes import CodeGrid
from iikmc.core.model import ClassModel
from iikmc.core.palette import colours
from iikmc.core.records import FitRecord, FitSettings, HeldOut, SceneRecord
from iikmc.core.scores import FeatureSpace

SETTINGS = FitSettings(
    classes=3,
    init="minmax",
    strategy="full",
    sample_fraction=0.02,
    max_iter=100,
    stop_rule="changed",
    tol=1e-4,
    empty="keep",
    order="brightness",
    seed=0,
)
SCENE = SceneRecord("scene", dt.date(2020, 5, 1), 1000, (600, 300, 100))


def fit_of(changed, *, converged=True, shift=None, settings=SETTINGS, **others):
    record = FitRecord(
        settings=settings,
        n_iter=len(changed),
        sample_iterations=0,
        sample_pixels=0,
        converged=converged,
        changed=tuple(changed),
        shift=tuple(shift or changed),
        inertia=4_000_000.0,
        saturated=(0, 0),
        scenes=(SCENE,),
    )
    return replace(record, **others)


def model_of(fit):
    space = FeatureSpace((CodeGrid(0, 1.0),) * 2, (100, 100), (1.0, 1.0))
    names = ("Water", "Forest", "Bare")
    return ClassModel(("B2", "B8"), space, np.zeros((3, 2)), names, colours(3), fit)


def notices(fit, scenes=((SCENE.name, SCENE.date),)):
    return summary.notices(model_of(fit), scenes)


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_ending_gives_the_last_change_beside_the_tolerance():
    assert plain(summary.ending(fit_of([1.0, 0.2, 0.00005]))) == (
        "The fit converged after 3 iterations: in the last, 0.005 % of the pixels changed class "
        "(tolerance 0.01 %)."
    )


def test_ending_of_a_cut_fit_says_so():
    text = plain(summary.ending(fit_of([1.0, 0.2], converged=False)))
    assert text.startswith("The fit did not converge in 2 iterations")
    assert "20 % of the pixels" in text


def test_ending_with_the_shift_rule_gives_the_shift():
    settings = replace(SETTINGS, stop_rule="shift", tol=0.001)
    fit = fit_of([1.0, 0.2, 0.01], shift=[0.5, 0.1, 0.0007], settings=settings)
    assert (
        "the centres moved by 0.07 % of the spread (tolerance 0.1 %) and 1 % of the pixels "
        "changed class" in plain(summary.ending(fit))
    )


def test_trend_adds_up_what_a_steady_fall_still_brings():
    # Halving from 8 %: 8 % · (1/2 + 1/4 + …) = 8 %; the first iteration is no part of the trend.
    text = plain(summary.trend(fit_of([1.0, 0.64, 0.32, 0.16, 0.08])))
    assert "fell by 50 % each" in text
    assert "about 8 % of the pixels would still change class" in text


def test_trend_looks_at_the_last_ten_iterations_only():
    changed = [1.0, 0.9, 0.9, 0.9] + [0.5 * 0.8**step for step in range(11)]
    text = plain(summary.trend(fit_of(changed)))
    assert "Over the last 10 iterations the changes fell by 20 % each" in text


@pytest.mark.parametrize("changed", [[1.0, 0.02, 0.02, 0.02, 0.02], [1.0, 0.1, 0.05, 0.2, 0.3]])
def test_trend_warns_where_changes_do_not_fall(changed):
    assert "still far from settling" in summary.trend(fit_of(changed))


def test_trend_knows_the_end_and_too_short_a_run():
    assert "settled for good" in summary.trend(fit_of([1.0, 0.1, 0.0]))
    assert "too few iterations" in summary.trend(fit_of([1.0]))
    assert "too few iterations" in summary.trend(fit_of([1.0, 0.1, 0.05]))


def test_a_trend_from_zero_does_not_divide_by_it():
    assert "still far from settling" in summary.trend(fit_of([1.0, 0.0, 0.1, 0.1]))


def test_a_good_fit_needs_no_notice():
    assert notices(fit_of([1.0, 0.0])) == []


def test_notices_name_what_is_odd():
    settings = replace(SETTINGS, classes=5)
    scene = replace(SCENE, class_pixels=(1000, 0, 0))
    fit = fit_of([1.0, 0.5], converged=False, settings=settings, saturated=(0, 7), scenes=(scene,))
    found = " ".join(notices(fit))
    assert "Not converged" in found
    assert "2 classes of those asked for" in found
    assert "No pixel of the fit belongs to Forest and Bare" in found
    assert "7 values in B8" in found
    assert "B2" not in found


def test_notices_say_when_the_model_is_of_other_scenes():
    other = (("another", dt.date(2021, 1, 1)),)
    assert "fitted on other scenes (1, 1,000 pixels)" in notices(fit_of([1.0, 0.0]), other)[0]


def test_root_mean_square_is_the_inertia_per_pixel():
    assert summary.root_mean_square(fit_of([1.0])) == pytest.approx(4000.0**0.5)


def test_settings_are_words():
    rows = {name: plain(value) for name, value in summary.settings_rows(SETTINGS)}
    assert rows["Stop when"] == "the pixels that change class are at most 0.01 % of all"
    assert "Han & Lee 2024" in rows["First centres"]
    assert rows["Class numbers"] == "by brightness, darkest first"


def test_settings_with_a_model_leave_out_the_order_it_overrides():
    names = [name for name, _ in summary.settings_rows(replace(SETTINGS, init="model"))]
    assert "Class numbers" not in names


def test_iterations_on_a_sample_are_told_apart():
    both = fit_of([1.0, 0.4, 1.0, 0.02, 0.01, 0.005], sample_iterations=2, sample_pixels=20)
    assert "6 iterations (2 of them on a sample)" in summary.ending(both)
    assert "0.5\u00a0% of the pixels" in summary.ending(both)
    # The jump to 1.0 is where all pixels join in, not a trend.
    assert "the changes fell by" in summary.trend(both)
    alone = fit_of([1.0, 0.4, 0.2, 0.1], sample_iterations=4, sample_pixels=20)
    assert "10\u00a0% of the sampled pixels" in summary.ending(alone)
    assert "on a sample)" not in summary.ending(alone)


def test_mini_batches_tell_the_inertia_of_pixels_seen_and_held_out():
    settings = replace(SETTINGS, strategy="mini-batch")
    fit = fit_of([1.0, 0.1, 0.01, 0.001], settings=settings, held_out=HeldOut(200, 1_000_000.0))
    # 3,000,000 over the 800 pixels that were trained on.
    assert "3750 for the pixels trained on" in summary.trend(fit)
    assert "5000 for the 200 pixels held out" in summary.trend(fit)
    assert "too small" in summary.trend(replace(fit, held_out=None))
    assert "of the batch's pixels" in summary.ending(fit)


@pytest.mark.parametrize(
    ("silhouette", "words"),
    [
        (0.71, "strong structure"),
        (0.7, "reasonable structure"),
        (0.5, "weak structure"),
        (0.25, "no substantial structure"),
        (-1.0, "no substantial structure"),
    ],
)
def test_a_silhouette_is_put_in_the_words_of_kaufman_and_rousseeuw(silhouette, words):
    assert summary.structure(silhouette) == words
