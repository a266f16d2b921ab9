"""Numbers read well, and no text of the user's becomes markup."""

from __future__ import annotations

import base64
import math

import pytest

from iikmc.core import page
from iikmc.core.page import Html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12, "12"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (0.123456, "0.1235"),
        (-3.25, "−3.25"),
        (0.5, "0.5"),
        (4.512e11, "4.512 × 10¹¹"),
        (2.5e-7, "2.500 × 10⁻⁷"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_four_digits_and_separators(value, text):
    assert page.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "< 0.1 %"),
        (0.00051, "0.1 %"),
        (0.1234, "12.3 %"),
        (0.9994, "99.9 %"),
        (0.99999, "> 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_nought_or_all(value, text):
    assert page.share(value) == text.replace(" %", "\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (1e-4, "0.01 %"), (3.97e-5, "0.00397 %"), (0.2, "20 %"), (1.0, "100 %")],
)
def test_a_fine_share_has_three_digits(value, text):
    assert page.fine_share(value) == text.replace(" %", "\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize(
    ("values", "places"),
    [([5000.0, 2.0], 0), ([31.4, 2.0], 2), ([0.25], 4), ([-700.0], 1), ([0.0], 0), ([math.nan], 0)],
)
def test_decimals_follow_the_largest_number(values, places):
    assert page.decimals(values) == places


def test_counts_and_lists_read_as_sentences():
    assert page.count(1, "class") == "1 class"
    assert page.count(2000, "class") == "2,000 classes"
    assert page.count(0, "scene") == "0 scenes"
    assert page.listing(["a"]) == "a"
    assert page.listing(["a", "b", "c"]) == "a, b and c"
    assert page.listing([str(n) for n in range(20)], most=3) == "0, 1, 2 and 17 more"


def test_text_is_escaped_once_and_html_is_kept():
    assert page.markup("<b> & 'c'") == "&lt;b&gt; &amp; &#x27;c&#x27;"
    assert page.markup(page.markup("<b>")) == "&lt;b&gt;"
    assert page.element("p", "a<b", Html("<i>c</i>"), title='"x"') == (
        '<p title="&quot;x&quot;">a&lt;b<i>c</i></p>'
    )


def test_a_table_has_heading_cells_and_escapes_the_rest():
    text = page.table("C<", ["a", "b<"], [["r<", 1], ["s", "t"]], ["f", 2], text_columns=[1])
    assert "<caption>C&lt;</caption>" in text
    assert "<th scope=col class=text>b&lt;" in text
    assert "<tr><th scope=row>r&lt;<td class=text>1" in text
    assert text.index("<tfoot>") < text.index("<th scope=row>f")


def test_a_table_without_a_head_has_no_empty_row():
    assert "<thead>" not in page.table("C", ["", ""], [["a", "b"]])


def test_a_picture_carries_its_data():
    text = page.picture(b"\x89PNG", 'a "map"', title="<")
    data = base64.b64encode(b"\x89PNG").decode()
    assert text == (
        f'<img alt="a &quot;map&quot;" title="&lt;" src="data:image/png;base64,{data}">'
    )
