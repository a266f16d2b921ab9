"""Scores of consistency are those of hand, SciPy and scikit-learn, whatever windows and threads."""

from __future__ import annotations

import csv
import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest
from class_rasters import DATES, grid_of, read, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, cohen_kappa_score

from iikmc.core import plots
from iikmc.core.errors import Cancelled, GridError, ParameterError, SeriesError
from iikmc.core.files import StagedOutputs
from iikmc.core.interpret import consistency as measures
from iikmc.core.interpret import label_series
from iikmc.core.interpret.assess import NO_COUNT, assess, check_assessment, write_pairs
from iikmc.core.interpret.assignment import best_matching
from iikmc.core.interpret.consistency_report import write_consistency_report
from iikmc.core.interpret.history import changes_of, entropy_of, majority_of
from iikmc.core.interpret.label_series import open_labels
from iikmc.core.monitor import Monitor

labellings = st.integers(1, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        arrays.arrays(np.uint8, (2, 40), elements=st.integers(0, classes)),
    )
)
tables = st.integers(1, 7).flatmap(
    lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(0, 40))
)


@given(
    st.integers(0, 12).flatmap(
        lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(-5, 10**12))
    )
)
def test_best_matching_is_worth_what_scipys_is(worth):
    found = best_matching(worth)
    assert sorted(found) == list(range(len(worth)))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    assert worth[np.arange(len(worth)), found].sum() == worth[rows, columns].sum()


def test_best_matching_of_many_classes_and_of_nonsense():
    worth = np.random.default_rng(0).integers(0, 10**6, (254, 254))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    assert worth[np.arange(254), best_matching(worth)].sum() == worth[rows, columns].sum()
    for bad in (np.ones((2, 3), int), np.ones((2, 2))):
        with pytest.raises(ValueError, match="expected integers"):
            best_matching(bad)


@given(labellings)
def test_scores_are_those_of_scikit_learn(drawn):
    classes, (first, second) = drawn
    table = measures.contingency(first, second, classes)
    both = (first > 0) & (second > 0)
    one, two = first[both], second[both]
    assert table.sum() == both.sum()
    if not both.any():
        assert math.isnan(measures.agreement(table)) and math.isnan(measures.kappa(table))
        assert math.isnan(measures.adjusted_rand(table))
        return
    assert measures.agreement(table) == pytest.approx((one == two).mean())
    assert measures.adjusted_rand(table) == pytest.approx(adjusted_rand_score(one, two), abs=1e-12)
    if len({*one, *two}) > 1:
        expected = cohen_kappa_score(one, two)
        assert measures.kappa(table) == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(measures.kappa(table))


@given(labellings, st.randoms(use_true_random=False))
def test_renaming_classes_is_drift_and_nothing_else(drawn, random):
    classes, (first, second) = drawn
    names = list(range(1, classes + 1))
    random.shuffle(names)
    renamed = np.array([0, *names], np.uint8)[second]
    plain = measures.score(measures.contingency(first, second, classes))
    moved = measures.score(measures.contingency(first, renamed, classes))
    assert (moved.matched, moved.ari) == (plain.matched, plain.ari) or plain.pixels == 0
    assert plain.pixels == 0 or min(plain.drift, moved.drift) >= 0.0


def test_scores_by_hand():
    # Rows 5, 3, 2; columns 3, 5, 2: agreement 0.6, by chance 0.15 + 0.15 + 0.04.
    table = np.array([[3, 2, 0], [0, 2, 1], [0, 1, 1]])
    assert measures.agreement(table) == 0.6
    assert measures.kappa(table) == pytest.approx((0.6 - 0.34) / (1 - 0.34))
    assert measures.class_agreement(table).tolist() == [6 / 8, 4 / 8, 2 / 4]
    # Class 3 against the rest: 1 of both, 1 and 1 of one, 7 of neither.
    assert measures.class_kappa(table)[2] == pytest.approx((0.8 - 0.68) / (1 - 0.68))
    # Nothing is won by matching: 3 + 2 + 1.
    assert measures.matched_agreement(table) == 0.6
    # Pairs together: in both 3 + 1 + 1, in one 10 + 3 + 1, in the other 3 + 10 + 1, of 45.
    expected = 14 * 14 / 45
    assert measures.adjusted_rand(table) == pytest.approx((5 - expected) / (14 - expected))


def test_a_class_that_wandered_is_found_by_matching():
    table = np.array([[0, 8, 0], [9, 0, 1], [0, 0, 2]])
    scores = measures.score(table)
    assert (scores.agreement, scores.matched, scores.drift) == (0.1, 0.95, 0.85)
    np.testing.assert_array_equal(measures.matched(table), [[8, 0, 0], [0, 9, 1], [0, 0, 2]])


@given(tables)
def test_matching_moves_columns_and_empty_classes_do_not_matter(table):
    moved = measures.matched(table)
    assert sorted(map(tuple, moved.T.tolist())) == sorted(map(tuple, table.T.tolist()))
    rows, columns = linear_sum_assignment(table, maximize=True)
    assert np.trace(moved) == table[rows, columns].sum()


def test_matching_of_a_table_that_is_not_square():
    moved = measures.matched(np.array([[0, 0, 5], [4, 1, 0]]))
    np.testing.assert_array_equal(moved, [[5, 0, 0], [0, 4, 1], [0, 0, 0]])


def test_one_class_agrees_fully_but_has_no_kappa():
    scores = measures.score(np.array([[7]]))
    assert (scores.agreement, scores.matched, scores.drift, scores.ari) == (1.0, 1.0, 0.0, 1.0)
    assert math.isnan(scores.kappa)


def test_pooling_counts_every_pixel_of_every_pair_once():
    pair_tables = [np.array([[4, 0], [0, 4]]), np.array([[0, 1], [1, 0]]), np.zeros((2, 2), int)]
    found = measures.pool(pair_tables)
    assert (found.pixels, found.agreement, found.matched, found.drift) == (10, 0.8, 1.0, 0.2)
    assert found.kappa == pytest.approx(0.6)
    indices = [measures.adjusted_rand(table) for table in pair_tables]
    assert found.ari == pytest.approx((8 * indices[0] + 2 * indices[1]) / 10)
    assert measures.pool([]).pixels == 0


def test_scores_of_huge_counts_are_exact():
    table = np.array([[2**40, 1], [1, 2**40]])
    exact = (2**40 - 1) / (2**40 + 1)
    assert measures.kappa(table) == exact
    assert 0.999 < measures.adjusted_rand(table) < 1.0


def test_contingency_refuses_what_is_no_pair_of_labellings():
    with pytest.raises(ValueError, match="shapes"):
        measures.contingency(np.ones(3, int), np.ones(4, int), 2)
    with pytest.raises(ValueError, match="1 to 3, not 0 to 2"):
        measures.contingency(np.array([1, 3]), np.array([1, 2]), 2)


def test_pairs_of_dates():
    assert measures.near_pairs(4, 2) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    assert measures.near_pairs(3, 9) == [(0, 1), (0, 2), (1, 2)]
    dates = [
        dt.date(2020, 2, 29),
        dt.date(2020, 3, 30),
        dt.date(2021, 2, 20),
        dt.date(2021, 3, 9),
        dt.date(2021, 4, 29),
        dt.date(2022, 4, 8),
    ]
    # 8 days before and 9 after the 28th; 30 after and 21 before the 30th; 21 before; then 21.
    assert measures.season_pairs(dates) == [(0, 2), (1, 3), (3, 5), (4, 5)]


@given(arrays.arrays(np.uint8, (5, 3, 4), elements=st.integers(0, 4)), st.sampled_from([4, 30]))
def test_entropy_and_majority_are_those_of_each_pixel(ranks, classes):
    entropy, majority = entropy_of(ranks, classes), majority_of(ranks, classes)
    for row, column in np.ndindex(3, 4):
        seen = ranks[:, row, column]
        counts = np.bincount(seen[seen > 0], minlength=5)
        if not counts.any():
            assert math.isnan(entropy[row, column]) and majority[row, column] == 0
            continue
        shares = counts[counts > 0] / counts.sum()
        expected = -(shares * np.log2(shares)).sum()
        assert entropy[row, column] == pytest.approx(expected, abs=1e-6)
        assert (entropy[row, column] == 0) == (len(shares) == 1)
        assert majority[row, column] == counts.argmax()


@given(arrays.arrays(np.uint8, (5, 3, 4), elements=st.integers(0, 3)))
def test_changes_go_from_each_valid_date_to_the_next(ranks):
    found = changes_of(ranks)
    for row, column in np.ndindex(3, 4):
        seen = [(date, rank) for date, rank in enumerate(ranks[:, row, column]) if rank]
        changed = [now[0] for before, now in zip(seen, seen[1:]) if before[1] != now[1]]
        assert found.valid[row, column] == len(seen)
        assert found.count[row, column] == len(changed)
        assert found.last[row, column] == (changed[-1] if changed else -1)


# Four dates of six pixels.
STACK = np.array(
    [
        [[1, 1, 2], [2, 0, 3]],
        [[1, 2, 2], [2, 0, 0]],
        [[1, 1, 3], [2, 1, 3]],
        [[1, 2, 3], [2, 0, 2]],
    ]
)


def run(paths, folder, **options):
    labels = open_labels(paths)
    with StagedOutputs() as outputs:
        found = assess(labels, folder, outputs, **options)
        write_pairs(outputs.file(folder / "pairs.csv"), found)
    return found


def test_a_series_by_hand(tmp_path):
    found = run(write_series(tmp_path / "in", STACK, 3), tmp_path / "out", max_gap=2)
    # Successive: 3 of 4 (not the second pixel); 2 of 4; 3 of 5. Two apart: 4 of 5 (third pixel
    # changed); 3 of 4.
    assert [pair.scores.pixels for pair in found.near] == [4, 5, 4, 4, 5]
    assert [(pair.first, pair.second) for pair in found.near][:3] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.scores.agreement for pair in found.near] == [3 / 4, 4 / 5, 2 / 4, 3 / 4, 3 / 5]
    assert found.whole.agreement == 15 / 22
    assert [scores.agreement for scores in found.gaps] == [8 / 13, 7 / 9]
    assert found.seasons.pixels == 0 and found.season == ()
    counts = read(tmp_path / "out" / "change_count.tif")
    assert counts.tolist() == [[0, 3, 1], [0, NO_COUNT, 1]]
    entropy = read(tmp_path / "out" / "entropy.tif")
    third = -(1 / 3) * math.log2(1 / 3) - (2 / 3) * math.log2(2 / 3)
    np.testing.assert_allclose(entropy, [[0, 1, 1], [0, 0, third]], rtol=1e-6)
    assert found.changes.tolist() == [2, 2, 0, 1]
    assert (found.most_changes, found.most_entropy) == (3, math.log2(3))


def test_table_has_a_row_for_each_pair(tmp_path):
    dates = [DATES[0], DATES[1], DATES[0].replace(year=2020)]
    paths = write_series(tmp_path / "in", STACK[:3], 3, dates=dates)
    known = write_series(tmp_path / "known", STACK[2:3], 3)[0]
    run(paths, tmp_path / "out", max_gap=1, reference=known)
    rows = list(csv.DictReader((tmp_path / "out" / "pairs.csv").open(encoding="utf-8")))
    assert [(row["group"], row["first_date"], row["second_date"]) for row in rows] == [
        ("near", "2019-01-15", "2019-02-15"),
        ("near", "2019-02-15", "2020-01-15"),
        ("season", "2019-01-15", "2020-01-15"),
        *(("reference", "", f"{date}") for date in dates),
    ]
    assert (rows[0]["gap"], rows[0]["days"], rows[0]["pixels"]) == ("1", "31", "4")
    assert (rows[0]["agreement"], rows[0]["agreement_class_3"]) == ("0.75", "")
    assert (rows[2]["days"], rows[2]["agreement"]) == ("365", "0.8")
    assert (rows[-1]["matched_agreement"], rows[-1]["ari"]) == ("1", "1")


def test_only_ground_that_has_not_changed_counts(tmp_path, make_scene):
    paths = write_series(tmp_path / "in", STACK, 3)
    mask = np.array([[[2.5, 0, 0], [1, np.nan, 0]]], np.float32)
    path = make_scene("stable", mask, origin=(500_000.0, 4_600_000.0))
    assert label_series.describe(path).grid == grid_of(2, 3)
    found = run(paths, tmp_path / "out", invariant=path)
    assert found.whole.agreement == 1.0
    assert found.whole.pixels == 2 * 6
    # The rasters are of all pixels.
    assert read(tmp_path / "out" / "change_count.tif")[0, 1] == 3


def test_known_land_cover_has_its_own_numbers(tmp_path, make_scene):
    cover = np.array([[[700, 700, 30], [30, 0, 30]]], np.int32)
    path = make_scene("cover", cover)
    found = run(write_series(tmp_path / "in", STACK, 3), tmp_path / "out", reference=path)
    # First date: 1 is 700 (2 pixels), 2 is 30 (2 pixels), 3 is nothing (1 pixel).
    assert [item.agreement for item in found.reference] == [4 / 5, 3 / 4, 4 / 5, 3 / 5]
    assert found.reference[0].kappa == pytest.approx((0.8 - 0.4) / (1 - 0.4))
    # All dates: 1 is 700 for 2 + 1 + 2 + 1, 2 is 30 for 2 + 2 + 1 + 2; of 19 pixels.
    assert found.reference_whole.agreement == 13 / 19


class Quiet(Monitor):
    """Takes the progress; cancels once it has come so far."""

    def __init__(self, stop=2.0):
        self.seen, self.stop = [0.0], stop

    def progress(self, fraction):
        self.seen.append(fraction)

    def cancelled(self):
        return self.seen[-1] >= self.stop


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(1, 60),
    st.integers(1, 4),
)
def test_windows_and_threads_do_not_matter(
    tmp_path_factory, height, width, dates, classes, pixels, threads
):
    folder = tmp_path_factory.mktemp("w")
    rng = np.random.default_rng(height * width)
    stack = rng.integers(0, classes + 1, (dates, height, width))
    stack[:, 0, 0] = 1  # something to compare
    paths = write_series(folder / "in", stack, classes)
    one = run(paths, folder / "one", threads=1, reference=paths[0])
    grid = open_labels(paths).grid
    with pytest.MonkeyPatch.context() as patch:
        cut = label_series.windows_of(grid, (1, grid.width), pixels)
        patch.setattr(label_series, "windows_of", lambda *_: cut)
        other = run(paths, folder / "other", threads=threads, reference=paths[0])
    for name in ("change_count.tif", "entropy.tif"):
        np.testing.assert_array_equal(read(folder / "one" / name), read(folder / "other" / name))
    pairs = [(folder / part / "pairs.csv").read_bytes() for part in ("one", "other")]
    assert pairs[0] == pairs[1]
    np.testing.assert_array_equal(one.table, other.table)


def test_nothing_valid_is_said_and_leaves_nothing(tmp_path, make_scene):
    paths = write_series(tmp_path / "in", np.zeros((3, 4, 5)), 2)
    with pytest.raises(SeriesError, match="No pixel is valid on two dates at most 3 acquisitions"):
        run(paths, tmp_path / "out")
    some = write_series(tmp_path / "some", np.ones((3, 4, 5)), 2)
    never = make_scene("never", np.zeros((1, 4, 5), np.uint8))
    with pytest.raises(SeriesError, match="where INVARIANT is not 0, so there is nothing"):
        run(some, tmp_path / "out", invariant=never)
    with pytest.raises(SeriesError, match="holds 0 classes; expected a raster of 1 to 254"):
        run(some, tmp_path / "out", reference=never)
    assert not (tmp_path / "out").exists()


def test_one_class_everywhere(tmp_path):
    found = run(write_series(tmp_path / "in", np.ones((3, 4, 5)), 1), tmp_path / "out")
    assert (found.whole.agreement, found.whole.drift, found.whole.ari) == (1.0, 0.0, 1.0)
    assert math.isnan(found.whole.kappa)
    assert read(tmp_path / "out" / "entropy.tif").max() == 0.0
    write_consistency_report(tmp_path / "r.html", found_again(tmp_path))
    assert "kappa is not defined" in (tmp_path / "r.html").read_text("utf-8")


def found_again(tmp_path):
    """Return an assessment whose rasters are still where they were staged."""
    with StagedOutputs() as outputs:
        found = assess(
            open_labels(sorted((tmp_path / "in").glob("*.tif"))), tmp_path / "x", outputs
        )
    folder = tmp_path / "x"
    return replace(found, change_count=folder / "change_count.tif", entropy=folder / "entropy.tif")


def test_bad_input_is_named_before_any_work(tmp_path, make_scene):
    labels = open_labels(write_series(tmp_path / "in", STACK, 3))
    elsewhere = make_scene("far", np.ones((1, 2, 3), np.uint8), origin=(0.0, 0.0))
    floats = make_scene("floats", np.ones((1, 2, 3), np.float32))
    two = make_scene("two", np.ones((2, 2, 3), np.uint8))
    for options, error, sentence in (
        ({"max_gap": 0}, ParameterError, "MAX_GAP is 0"),
        ({"invariant": elsewhere}, GridError, r"INVARIANT \('far.tif'\) has its origin at 0, 0"),
        ({"reference": elsewhere}, GridError, r"REFERENCE \('far.tif'\) has its origin at 0, 0"),
        ({"invariant": two}, SeriesError, r"INVARIANT .* has 2 bands"),
        ({"reference": floats}, SeriesError, r"REFERENCE .* holds values of type float32"),
    ):
        with pytest.raises(error, match=sentence):
            check_assessment(labels, **options)


@pytest.mark.parametrize("stop", [0.0, 0.5, 0.95])
def test_cancel_leaves_nothing(tmp_path, stop):
    stack = np.random.default_rng(0).integers(1, 4, (4, 700, 700))
    paths = write_series(tmp_path / "in", stack, 3)
    with pytest.raises(Cancelled):
        run(paths, tmp_path / "out", monitor=Quiet(stop))
    assert not (tmp_path / "out").exists()


def test_progress_rises_to_the_end(tmp_path):
    stack = np.random.default_rng(0).integers(1, 4, (4, 700, 700))
    monitor = Quiet()
    run(write_series(tmp_path / "in", stack, 3), tmp_path / "out", monitor=monitor)
    assert monitor.seen == sorted(monitor.seen)
    assert monitor.seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("drawn", [True, False])
def test_report_says_it_all(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(plots, "available", lambda: drawn)
    paths = write_series(tmp_path / "in", STACK, 3, names=("Water & <ice>",))
    labels = open_labels(paths)
    with StagedOutputs() as outputs:
        found = assess(labels, tmp_path / "out", outputs, reference=paths[0])
        write_consistency_report(outputs.file(tmp_path / "r.html"), found)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "Water &amp; &lt;ice>" in text or "Water &amp; &lt;ice&gt;" in text
    assert "<ice>" not in text
    for part in ("By distance in time", "Class by class", "Against known land cover", "Drift"):
        assert part in text
    assert text.count("data:image/png") == (2 + 4 if drawn else 2)
    assert ("matplotlib, which is not installed" in text) is not drawn
