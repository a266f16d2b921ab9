"""Harmonising: known drift comes back, no drift is left alone, changes and masks do no harm."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import open_series, reading
from iikmc.core.codes import CodeGrid
from iikmc.core.harmonisation import (
    Harmonisation,
    Harmonise,
    Reference,
    SceneQuantiles,
    usual,
)
from iikmc.core.harmonise import Harmonised, harmonise, standardise
from iikmc.core.invariant import invariant
from iikmc.core.pairing import (
    PairedCodes,
    PairedReference,
    common_places,
    paired_codes,
    place_count,
)

BANDS, PIXELS = 4, 40_000
NARROW = CodeGrid(0, 1.0)


@dataclass(frozen=True)
class Ground:
    """Codes (scenes, bands, pixels), which are valid, and the drift that was put on them."""

    codes: np.ndarray
    valid: np.ndarray
    gains: np.ndarray
    offsets: np.ndarray

    def quantiles(self) -> list[SceneQuantiles]:
        """Return the scenes' quantiles, from exact histograms."""
        return [
            SceneQuantiles.of(histograms(codes[:, seen]), [NARROW] * len(codes))
            for codes, seen in zip(self.codes, self.valid)
        ]

    def paired(self, count: int = 1 << 16) -> PairedCodes:
        """Return an even sample of places."""
        places = common_places(0, 1, self.codes.shape[2], count)
        valid = self.valid[:, places]
        codes = np.where(valid[:, None], self.codes[:, :, places], 0)
        return PairedCodes(codes.astype(np.int32), valid)

    def errors(self, found: Harmonisation) -> tuple[np.ndarray, np.ndarray]:
        """Return how far gains and offsets are off, by scene and band.

        Of what the drift leaves after harmonising, as a share, and in the ground's spreads. What
        is common to all dates is the choice of a reference, and does not count.
        """
        gains = found.gains * self.gains
        offsets = found.gains * self.offsets + found.offsets
        usual = np.median(gains, axis=0)
        centre, spread = 2500.0, 1200.0
        at_centre = gains * centre + offsets
        return np.abs(gains / usual - 1.0), np.abs(
            at_centre - np.median(at_centre, axis=0)
        ) / spread


def histograms(codes: np.ndarray, bins: int = 1 << 16) -> np.ndarray:
    return np.stack([np.bincount(plane, minlength=bins) for plane in codes])


def ground(
    seed: int = 0,
    scenes: int = 7,
    *,
    drift: bool = True,
    changed: float = 0.0,
    noise: float = 25.0,
    clouds: float = 0.0,
    bands: int = BANDS,
    pixels: int = PIXELS,
) -> Ground:
    """Return a place of five covers, mixed along borders; some of it changes its cover for good.

    ``clouds`` cover one end of the place on even dates, the other on odd ones.
    """
    rng = np.random.default_rng(seed)
    signatures = rng.uniform(800, 4200, (5, bands))
    cover = np.repeat(rng.integers(0, 5, pixels // 20), 20)
    if clouds:
        cover = np.sort(cover)  # so that what clouds hide differs
    shares = rng.uniform(0.0, 0.3, pixels)
    beside = signatures[rng.integers(0, 5, pixels)]
    relief = rng.normal(0.0, 200.0, pixels)
    since = np.where(rng.random(pixels) < changed, rng.integers(1, max(scenes, 2), pixels), scenes)
    after = (cover + rng.integers(1, 5, pixels)) % 5
    shape = scenes, bands
    gains = rng.uniform(0.75, 1.3, shape) if drift else np.ones(shape)
    offsets = rng.uniform(-250, 250, shape) if drift else np.zeros(shape)
    codes = np.empty((scenes, bands, pixels), np.int64)
    valid = np.ones((scenes, pixels), bool)
    for rank in range(scenes):
        now = signatures[np.where(since <= rank, after, cover)]
        pure = (now * (1.0 - shares[:, None]) + beside * shares[:, None]).T + relief
        pure = pure + rng.normal(0.0, noise, pure.shape)
        seen = gains[rank][:, None] * pure + offsets[rank][:, None]
        codes[rank] = np.clip(np.rint(seen), 0, 65_535)
        hidden = round(clouds * pixels)
        valid[rank, : hidden if rank % 2 else None] &= rank % 2 == 0
        if rank % 2 == 0 and hidden:
            valid[rank, -hidden:] = False
    return Ground(codes, valid, gains, offsets)


def test_quantiles_are_interpolated_within_codes():
    rng = np.random.default_rng(0)
    values = rng.normal(500.0, 3.0, 100_000)  # few codes wide
    found = SceneQuantiles.of(histograms(np.rint(values).astype(int)[None]), [NARROW])
    assert found.pixels == 100_000
    expected = np.percentile(values, (5, 10, 25, 50, 75, 90, 95))
    np.testing.assert_allclose(found.codes[0], expected, atol=0.1)
    assert found.centres[0] == pytest.approx(500.0, abs=0.05)
    assert found.spreads[0] == pytest.approx(2 * 1.28155 * 3.0, rel=0.02)


def test_quantiles_of_wide_codes_come_from_their_bins():
    grid = CodeGrid(0, 2.0**-10, wide=True)
    codes = np.random.default_rng(0).normal(0.0, 2.0e6, 200_000).astype(np.int64)
    counts = np.bincount((codes - grid.lowest) // 1024, minlength=1 << 16)
    found = SceneQuantiles.of(counts[None], [grid])
    expected = np.percentile(codes, (5, 10, 25, 50, 75, 90, 95))
    np.testing.assert_allclose(found.codes[0], expected, atol=1100)
    assert found.resolutions.tolist() == [1024.0]


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_recover_a_known_drift(seed):
    place = ground(seed)
    standard = standardise(place.quantiles())
    for found in (standard, invariant(place.paired(), standard)[0]):
        gains, offsets = place.errors(found)
        assert gains.max() < 0.01
        assert offsets.max() < 0.01
    assert set(found.methods) == {Harmonise.INVARIANT}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("itself", [None, 2])
def test_invariant_pixels_recover_it_where_a_fifth_of_the_pixels_changed(seed, itself):
    place = ground(seed, changed=0.2)
    quantiles = place.quantiles()
    reference = None if itself is None else Reference.of([quantiles[itself]])
    standard = standardise(quantiles, reference)
    found, _ = invariant(place.paired(), standard, itself=itself)
    gains, offsets = place.errors(found)
    assert gains.max() < 0.01
    assert offsets.max() < 0.01
    if itself is not None:
        assert found.methods[itself] is Harmonise.NONE
        assert (found.gains[itself] == 1.0).all() and (found.offsets[itself] == 0.0).all()
        # The others have the radiometry of that date.
        expected = place.gains[itself] / place.gains
        np.testing.assert_allclose(found.gains, expected, rtol=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_invariant_pixels_recover_it_under_clouds_that_hide_other_parts_each_time(seed):
    place = ground(seed, clouds=0.35)
    standard = standardise(place.quantiles())
    # Quantiles of other parts of the ground differ without drift: the limit of this way.
    assert place.errors(standard)[0].max() > 0.05
    gains, offsets = place.errors(invariant(place.paired(), standard)[0])
    assert gains.max() < 0.01
    assert offsets.max() < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_a_series_without_drift_is_left_alone(seed):
    place = ground(seed, drift=False, pixels=250_000, noise=15.0)
    standard = standardise(place.quantiles())
    for found in (standard, invariant(place.paired(), standard)[0]):
        np.testing.assert_allclose(found.gains, 1.0, atol=1e-3)
        assert np.abs(found.offsets / 1200.0).max() < 5e-3


def test_lines_to_the_median_keep_the_spread_that_the_dates_have():
    # A median of noisy dates has less spread than each; a date that falls back would stand out.
    place = ground(14, noise=400.0)
    standard = standardise(place.quantiles())
    found, _ = invariant(place.paired(), standard)
    assert set(found.methods) == {Harmonise.INVARIANT}
    usual = np.median(found.gains / standard.gains, axis=0)
    np.testing.assert_allclose(usual, 1.0, atol=0.01)


def untouched(found):
    return np.all(found.gains == 1.0) and np.all(found.offsets == 0.0)


def test_copies_of_one_scene_are_left_alone_to_the_bit():
    place = ground(5, scenes=1)
    codes, valid = np.repeat(place.codes, 3, axis=0), np.repeat(place.valid, 3, axis=0)
    place = Ground(codes, valid, place.gains, place.offsets)
    standard = standardise(place.quantiles())
    assert untouched(standard)
    assert untouched(invariant(place.paired(), standard)[0])


def test_one_date_is_left_alone_to_the_bit():
    place = ground(1, scenes=1)
    standard = standardise(place.quantiles())
    found, reference = invariant(place.paired(), standard)
    assert untouched(standard) and untouched(found)
    assert np.array_equal(reference.codes, place.paired().codes[0])


def test_a_few_odd_dates_do_not_move_the_reference():
    place = ground(2, scenes=9, drift=False)
    usual = standardise(place.quantiles()).reference
    hazy = place.codes.copy()
    hazy[4] = hazy[4] // 4 + 9000
    moved = standardise(Ground(hazy, place.valid, place.gains, place.offsets).quantiles())
    np.testing.assert_allclose(moved.reference.centres, usual.centres, rtol=2e-3)
    np.testing.assert_allclose(moved.reference.spreads, usual.spreads, rtol=2e-3)
    assert moved.residuals[4].max() < 0.05  # still the same ground, only paler


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.randoms())
def test_what_is_usual_lies_in_the_middle_half_whatever_the_order(values, random):
    found = usual(values)
    ordered, quarter = sorted(values), (len(values) - 1) // 4
    # A rounding outside the lowest, or the highest, of the middle half is none.
    assert ordered[quarter] - 1e-9 <= found <= ordered[-1 - quarter] + 1e-9
    random.shuffle(values)
    assert usual(values) == found
    assert usual(values[:1] * len(values)) == values[0]
    if len(values) < 7:
        assert np.isclose(found, np.median(values), rtol=1e-12, atol=1e-9)


def test_what_is_usual_hardly_moves_with_one_value_less_and_not_with_odd_ones():
    # As dates have it: two groups, of about as many. Their median is one of either.
    values = [1.0 + 0.01 * rank for rank in range(13)] + [2.0 + 0.01 * rank for rank in range(12)]
    assert np.median(values[1:]) - np.median(values) > 0.4
    assert 0.0 < usual(values[1:]) - usual(values) < 0.1
    assert usual([1.0] * 20 + [1e9] * 5) == 1.0


def test_constant_bands_are_moved_and_nothing_else():
    place = ground(3)
    codes = place.codes.copy()
    codes[:, 1] = 700  # on all dates
    codes[2, 3] = 444  # on one
    place = Ground(codes, place.valid, place.gains, place.offsets)
    standard = standardise(place.quantiles())
    found, _ = invariant(place.paired(), standard)
    for result in (standard, found):
        assert (result.gains[:, 1] == 1.0).all() and (result.offsets[:, 1] == 0.0).all()
        assert result.gains[2, 3] == 1.0
        assert 444 + result.offsets[2, 3] == pytest.approx(result.reference.centres[3])
        assert np.isfinite(result.gains).all() and np.isfinite(result.residuals).all()
    others = [0, 1, 3, 4, 5, 6]
    gains, _ = Ground(
        codes[others], place.valid[others], place.gains[others], place.offsets[others]
    ).errors(Harmonisation.of_json(_only(found, others)))
    assert gains[:, [0, 2, 3]].max() < 0.01


def _only(found: Harmonisation, ranks: list[int]) -> dict:
    content = found.as_json()
    for name in ("methods", "gains", "offsets", "pixels", "residuals", "reasons"):
        content[name] = [content[name][rank] for rank in ranks]
    return content


def test_scenes_of_few_or_no_pixels_are_told():
    place = ground(4)
    place.valid[1] = False
    place.valid[3] = False
    place.valid[3, :60] = True
    standard = standardise(place.quantiles())
    assert (standard.gains[1] == 1.0).all() and (standard.offsets[1] == 0.0).all()
    assert (standard.pixels[1] == 0).all() and standard.methods[1] is Harmonise.NONE
    assert (standard.gains[3] == 1.0).all() and (standard.offsets[3] != 0.0).all()
    assert "60 valid pixels are too few" in standard.reasons[3]
    found, _ = invariant(place.paired(), standard)
    for rank in (1, 3):
        assert np.array_equal(found.gains[rank], standard.gains[rank])
        assert "places in common, 120 are needed" in found.reasons[rank]
    assert [found.reasons[rank] for rank in (0, 2, 4, 5, 6)] == [""] * 5


def test_a_date_without_invariant_pixels_falls_back_and_says_so():
    place = ground(6)
    codes = place.codes.copy()
    shuffled = np.random.default_rng(0).permutation(PIXELS)
    codes[2] = codes[2][:, shuffled]  # the same quantiles, another place
    place = Ground(codes, place.valid, place.gains, place.offsets)
    standard = standardise(place.quantiles())
    found, _ = invariant(place.paired(), standard)
    np.testing.assert_allclose(found.gains[2], standard.gains[2], rtol=0.005)
    for band in (1, 3):
        assert f"band {band + 1}: correlation 0." in found.reasons[2]
        assert found.gains[2, band] == standard.gains[2, band]
    assert [bool(reason) for reason in found.reasons].count(True) == 1
    few, _ = invariant(place.paired(500), standard)
    assert "invariant pixels, 120 are needed" in few.reasons[0]
    assert np.array_equal(few.gains, standard.gains)


def test_a_line_through_scattered_pixels_is_taken_in_part(monkeypatch):
    place = ground(15, noise=100.0)
    codes = place.codes.copy()
    codes[2, 0] += np.random.default_rng(1).integers(0, 2600, PIXELS)
    place = Ground(codes, place.valid, place.gains, place.offsets)
    standard = standardise(place.quantiles())
    reference = place.paired().of_scene(0)
    found, _ = invariant(place.paired(), standard, reference=reference)
    monkeypatch.setattr("iikmc.core.invariant.LEAST_CORRELATION", 0.0)
    monkeypatch.setattr("iikmc.core.invariant.FULL_CORRELATION", 0.01)
    whole, _ = invariant(place.paired(), standard, reference=reference)
    share = (found.gains[2] - standard.gains[2]) / (whole.gains[2] - standard.gains[2])
    assert 0.1 < share[0] < 0.9
    np.testing.assert_allclose(share[1:], 1.0)
    parts = (found.offsets[2] - standard.offsets[2]) / (whole.offsets[2] - standard.offsets[2])
    np.testing.assert_allclose(parts, share)


def test_gains_beyond_belief_are_not_taken():
    place = ground(7, scenes=3)
    codes = place.codes.copy()
    codes[1, 0] = 30_000 + codes[1, 0] // 50
    standard = standardise(Ground(codes, place.valid, place.gains, place.offsets).quantiles())
    assert standard.gains[1, 0] == 1.0
    assert "band 1 would need a gain of" in standard.reasons[1]


@pytest.mark.parametrize("bands", [1, 2, 9])
def test_any_number_of_bands(bands):
    place = ground(8, bands=bands, changed=0.1)
    found, _ = invariant(place.paired(), standardise(place.quantiles()))
    assert set(found.methods) == {Harmonise.INVARIANT}
    assert place.errors(found)[0].max() < 0.01


def test_fixed_bands_are_left_alone():
    place = ground(9)
    standard = standardise(place.quantiles(), fixed={0, 2})
    found, _ = invariant(place.paired(), standard, fixed={0, 2})
    for result in (standard, found):
        assert (result.gains[:, [0, 2]] == 1.0).all() and (result.offsets[:, [0, 2]] == 0.0).all()
        assert (result.pixels[:, [0, 2]] == 0).all()
    assert place.errors(found)[0][:, [1, 3]].max() < 0.01


def test_neither_threads_nor_the_order_of_scenes_change_a_bit():
    place = ground(10, changed=0.2)
    standard = standardise(place.quantiles())
    found, reference = invariant(place.paired(), standard)
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    other = Ground(
        *(getattr(place, name)[order] for name in ("codes", "valid", "gains", "offsets"))
    )
    turned = standardise(other.quantiles())
    assert turned.gains.tobytes() == standard.gains[order].tobytes()
    again, same = invariant(other.paired(), turned, threads=3)
    assert again.gains.tobytes() == found.gains[order].tobytes()
    assert again.offsets.tobytes() == found.offsets[order].tobytes()
    assert same.codes.tobytes() == reference.codes.tobytes()


def test_a_new_date_is_brought_to_a_models_reference_as_if_it_had_been_there():
    place = ground(11, scenes=9, changed=0.1)
    quantiles, paired = place.quantiles(), place.paired()
    whole, reference = invariant(paired, standardise(quantiles))
    standard = standardise(quantiles)
    kept = Reference.of_json(json.loads(json.dumps(whole.reference.as_json())))
    kept_places = PairedReference.of_json(json.loads(json.dumps(reference.as_json())))
    rank = 4
    alone = standardise([quantiles[rank]], kept)
    assert alone.gains.tobytes() == standard.gains[[rank]].tobytes()
    only = PairedCodes(paired.codes[[rank]], paired.valid[[rank]])
    found, _ = invariant(only, alone, reference=kept_places)
    np.testing.assert_allclose(found.gains[0], whole.gains[rank], rtol=2e-3)
    moved = found.gains[0] * 2500 + found.offsets[0]
    np.testing.assert_allclose(moved, whole.gains[rank] * 2500 + whole.offsets[rank], atol=3.0)


def test_json_keeps_every_bit_and_damage_is_noticed():
    place = ground(12)
    found, reference = invariant(place.paired(), standardise(place.quantiles()))
    content = json.loads(json.dumps(found.as_json()))
    again = Harmonisation.of_json(content)
    assert (again.methods, again.reasons) == (found.methods, found.reasons)
    for name in ("gains", "offsets", "pixels", "residuals"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()
    places = PairedReference.of_json(json.loads(json.dumps(reference.as_json())))
    assert places.codes.tobytes() == reference.codes.tobytes()
    assert np.array_equal(places.valid, reference.valid)
    for wrong in (
        {"gains": [[1.0]]},
        {"gains": [[-1.0] * BANDS] * 7},
        {"offsets": [[float("nan")] * BANDS] * 7},
        {"methods": ["none"]},
        {"methods": ["guess"] * 7},
        {"reference": {}},
    ):
        with pytest.raises((ValueError, LookupError)):
            Harmonisation.of_json({**content, **wrong})


def test_places_are_even_keyed_on_the_seed_and_ascend():
    places = common_places(3, 300, 400, 4096)
    assert 4000 <= len(places) <= 4200 and places[0] >= 0 and places[-1] < 300 * 400
    assert (np.diff(places) > 0).all() and np.diff(places).max() < 2 * 30
    assert np.array_equal(places, common_places(3, 300, 400, 4096))
    assert not np.array_equal(places[:100], common_places(4, 300, 400, 4096)[:100])
    assert common_places(0, 7, 9, 4096).tolist() == list(range(63))


def test_so_many_places_as_memory_allows():
    assert place_count(5, 6) == 1 << 16
    assert place_count(200, 13) == (1 << 24) // 2600
    assert place_count(10_000, 60) == 4096


@pytest.mark.parametrize("block_pixels", [70, 1000, 1 << 20])
def test_paired_codes_are_those_of_the_scenes(block_pixels, three_scenes, monkeypatch):
    import rasterio

    monkeypatch.setattr(reading, "BLOCK_PIXELS", block_pixels)
    places = common_places(0, 40, 50, 700)
    with open_series(three_scenes) as series:
        found = paired_codes(series.pixels(), places, threads=2)
    for path, codes, valid in zip(three_scenes, found.codes, found.valid):
        with rasterio.open(path) as dataset:
            values = dataset.read().reshape(3, -1)[:, places]
        assert np.array_equal(valid, (values != 0).all(axis=0))
        assert np.array_equal(codes, np.where(valid, values, 0))


def test_a_series_is_harmonised_as_its_method_says(make_scene):
    place = ground(13, scenes=4, pixels=120 * 150)
    paths = [
        make_scene(f"s_2020-0{rank + 1}-01", codes.reshape(BANDS, 120, 150).astype(np.uint16))
        for rank, codes in enumerate(place.codes)
    ]
    with open_series(paths) as series:
        store, scenes = series.pixels(), place.quantiles()
        nothing = harmonise(Harmonise.NONE, store, scenes)
        assert untouched(nothing.dates) and nothing.paired is None and nothing.drawn is None
        standard = harmonise(Harmonise.STANDARDISE, store, scenes)
        assert standard.dates.gains.tobytes() == standardise(scenes).gains.tobytes()
        pairs = harmonise(Harmonise.INVARIANT, store, scenes, seed=3, threads=2)
        assert place.errors(pairs.dates)[0].max() < 0.01
        assert np.array_equal(pairs.drawn.places(), common_places(3, 120, 150, 1 << 16))
        kept = Harmonised.of_json(json.loads(json.dumps(pairs.as_json())))
        again = kept.bring(store, threads=2).dates
        assert set(again.methods) == {Harmonise.INVARIANT}
        np.testing.assert_allclose(again.gains, pairs.dates.gains, rtol=2e-3)
        one = harmonise(Harmonise.INVARIANT, store, scenes, itself=1)
        assert (one.dates.gains[1] == 1.0).all()
        np.testing.assert_allclose(one.dates.gains, place.gains[1] / place.gains, rtol=0.01)
