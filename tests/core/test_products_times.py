"""Moments are read in the forms in which metadata and names write them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.products.times import midnight, moment

UTC = dt.timezone.utc
MOMENTS = st.datetimes(dt.datetime(1972, 1, 1), dt.datetime(2099, 12, 31)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)


@given(
    MOMENTS,
    st.sampled_from(
        [
            "%Y-%m-%dT%H:%M:%SZ",
            "%Y-%m-%dT%H:%M:%S.000Z",
            "%Y-%m-%d %H:%M:%S",
            "%Y:%m:%d %H:%M:%S",
            "%Y%m%dT%H%M%S",
            "%Y%m%d_%H%M%S",
            "%Y-%m-%dT%H:%M:%S+00:00",
            " %Y-%m-%dT%H:%M:%S UTC ",
        ]
    ),
)
def test_whatever_the_form_the_moment_is_the_same(time, form):
    assert moment(time.strftime(form)) == time


@given(MOMENTS)
def test_a_day_alone_is_its_midnight(time):
    for form in ("%Y-%m-%d", "%Y%m%d", "%Y:%m:%d", "%Y/%m/%d"):
        assert moment(time.strftime(form)) == midnight(time.date())


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_a_moment_in_any_zone_becomes_utc(time, minutes):
    local = time.astimezone(dt.timezone(dt.timedelta(minutes=minutes)))
    assert moment(local.isoformat()) == time
    assert moment(local.isoformat()).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2019-07-31T09:58:12.3456780Z", 345_678),
        ("2019-07-31T09:58:12.3Z", 300_000),
        ("2019-07-31T09:58:12.000000999Z", 0),
    ],
)
def test_fractions_of_any_length_are_read(text, microsecond):
    assert moment(text) == dt.datetime(2019, 7, 31, 9, 58, 12, microsecond, UTC)


def test_a_leap_second_is_the_second_before():
    assert moment("2016-12-31T23:59:60Z") == dt.datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2019",
            "2019-13-01",
            "2019-02-30",
            "2019-07-31T25:00:00",
            "2019-0731",
            "x2019-07-31",
        ),
        *("2019-07-31T09:58:12 or so", "T09:58:12", "２０１９-07-31", "0001-01-01T00:00:00+01:00"),
        *(None, 20190731),
    ],
)
def test_what_is_no_moment_is_none(text):
    assert moment(text) is None
