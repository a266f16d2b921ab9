"""A scene's date is found where product makers put it, and what is no date is refused."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.dates import date_in_name, date_in_tag, find_date, parse_iso, parse_iso_list
from iikmc.core.errors import DateError

DATES = st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LC08_L2SP_152043_20190130_20200829_02_T1", "2019-01-30"),
        ("S2A_MSIL2A_20190105T055221_N0211_R048_T42RUN_20190105T083241", "2019-01-05"),
        ("T33UUP_20180711T100031_B04_10m", "2018-07-11"),
        ("20210605_101112_83_2421_3B_AnalyticMS_SR_8b", "2021-06-05"),
        ("MOD09GA.A2019032.h18v04.061", "2019-02-01"),
        ("scene_2020366", "2020-12-31"),
        ("2018-02-28_clip", "2018-02-28"),
        ("clip_2018_02_28", "2018-02-28"),
        ("clip 2018.02.28", "2018-02-28"),
    ],
)
def test_the_acquisition_date_is_found_in_product_names(name, expected):
    assert date_in_name(name) == dt.date.fromisoformat(expected)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "scene",
        "152043",
        "2019-02-29",
        "2019_13-01",
        "20190230",
        "2019366",
        "2019000",
        "120190105",
        "201901051",
        "2019-01_05",
        "18000105",
    ],
)
def test_other_numbers_in_a_name_are_no_date(name):
    assert date_in_name(name) is None


@given(DATES, st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%j"]))
def test_any_date_in_a_name_is_read_back(date, style):
    assert date_in_name(f"T42_{date.strftime(style)}_v2") == date


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("2019-07-31", "2019-07-31"),
        ("2019-07-31T05:52:21.024Z", "2019-07-31"),
        ("2019:07:31 10:00:00", "2019-07-31"),
        ("2019/07/31", "2019-07-31"),
        (" 20190731T055221", "2019-07-31"),
        ("2019-02-30", None),
        ("0000:00:00 00:00:00", None),
        ("31/07/2019", None),
        ("2019", None),
        ("", None),
    ],
)
def test_a_date_in_metadata(tag, expected):
    assert date_in_tag(tag) == (dt.date.fromisoformat(expected) if expected else None)


def test_metadata_goes_before_the_name_and_the_time_of_writing_comes_last():
    assert find_date("x_20190101", ["2018-05-05"], "2020:01:01 00:00:00") == (
        dt.date(2018, 5, 5),
        "from its metadata",
    )
    assert find_date("x_20190101", ["unknown"], "2020:01:01 00:00:00") == (
        dt.date(2019, 1, 1),
        "from its file name",
    )
    assert find_date("x", [], "2020:01:01 00:00:00") == (
        dt.date(2020, 1, 1),
        "from its TIFF date",
    )
    with pytest.raises(DateError, match=r"Scene 'x' has no date .* with DATES"):
        find_date("x", [], "")


@given(DATES)
def test_iso_dates_are_read_with_or_without_a_time(date):
    assert parse_iso(f" {date} ") == parse_iso(f"{date}T23:59:59Z") == date


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2019-02-29",
        "2019-7-31",
        "31.07.2019",
        "20190731",
        "2019-W05-1",
        "2019-07-31x",
        "2019-07-311",
        "2019-07-31-08-01",
    ],
)
def test_what_is_no_iso_date_is_named(text):
    with pytest.raises(DateError, match="is not a date; expected year-month-day") as caught:
        parse_iso(text)
    assert f"'{text}'" in str(caught.value)


@given(st.lists(DATES, min_size=1), st.sampled_from([",", ", ", ";", " ", "\n", " ,\n"]))
def test_a_list_keeps_its_order_and_its_doubles(dates, divider):
    assert parse_iso_list(divider.join(map(str, dates))) == dates


def test_an_empty_list_means_no_list():
    assert parse_iso_list("") is None
    assert parse_iso_list(" , ") is None


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("LC08_L2SP_152042_20190105_20200829_02_T1", dt.date(2019, 1, 5)),
        ("LC81520422019005LGN00", dt.date(2019, 1, 5)),
        ("S2A_MSIL2A_20190731T093041_N0213_R136_T34TGS_20190731T121005", dt.date(2019, 7, 31)),
        (
            "S2A_OPER_PRD_MSIL2A_PDMC_20160504T203152_R036_V20160503T093032_20160503T093032",
            dt.date(2016, 5, 3),
        ),
        ("20190731_083012_1003_3B_AnalyticMS_SR", dt.date(2019, 7, 31)),
    ],
)
def test_product_names_hold_the_acquisition_whatever_other_dates_are_in_them(name, date):
    assert find_date(name, [], "2021:01:01 00:00:00")[0] == date
