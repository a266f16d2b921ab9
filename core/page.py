"""Pieces of a self-contained HTML page: its frame and style, tables, pictures, and numbers."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #5f6c7b; --line: #dde3ea; --pale: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 2.2rem 2rem 3rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul { max-width: 50rem; margin: .4rem 0 .8rem; }
ul { padding-left: 1.2rem; }
.lead { font-size: 1.05rem; max-width: 56rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .87rem; }
.notices { list-style: none; padding: 0; max-width: none; }
.notices li { background: #fff6e0; border-left: 4px solid #e69f00; padding: .5rem .9rem;
  margin: .4rem 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .7rem;
  margin: 1.3rem 0; }
.facts div { background: var(--pale); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem .8rem; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-weight: 600; line-height: 1.3; }
.facts dd small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; padding: 0; margin: .6rem 0 1rem;
  max-width: none; list-style: none; font-size: .87rem; max-height: 19rem; overflow: auto; }
.legend li { white-space: nowrap; max-width: 20rem; overflow: hidden; text-overflow: ellipsis; }
.key { display: inline-block; width: .95em; height: .95em; margin-right: .4em;
  vertical-align: -.1em; border: 1px solid #0003; border-radius: 2px; background: #eceff2; }
.maps { display: flex; flex-wrap: wrap; gap: 1rem .8rem; }
figure { margin: 0; }
.maps img { display: block; image-rendering: pixelated; background: #eceff2;
  outline: 1px solid var(--line); }
.maps figcaption { padding-top: .25rem; line-height: 1.3; overflow-wrap: anywhere; }
.maps b { color: var(--ink); font-weight: 600; }
.plot img { display: block; width: 100%; height: auto; }
.scroll { overflow: auto; max-height: 27rem; border: 1px solid var(--line); border-radius: 6px;
  max-width: 100%; width: fit-content; margin: .6rem 0 1rem; }
table { border-collapse: separate; border-spacing: 0; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
caption { position: sticky; left: 0; text-align: left; padding: .5rem .8rem; }
th, td { text-align: right; vertical-align: top; padding: .25rem .8rem; white-space: nowrap;
  border-top: 1px solid var(--line); }
.text { text-align: left; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; max-width: 36rem; }
th { max-width: 17rem; overflow: hidden; text-overflow: ellipsis; font-weight: 600;
  background: var(--pale); }
thead th { position: sticky; top: 0; z-index: 1; }
tbody th, tfoot th, thead th:first-child { position: sticky; left: 0; text-align: left; }
thead th:first-child { z-index: 2; }
tfoot td, tfoot th { position: sticky; bottom: 0; background: var(--pale); }
tfoot th { z-index: 1; }
td small { display: inline-block; min-width: 4.2em; color: var(--soft); }
.beside { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: flex-start; }
.beside .scroll { max-height: none; }
.date { white-space: nowrap; }
details summary { cursor: pointer; color: var(--soft); }
footer { margin-top: 3rem; color: var(--soft); font-size: .8rem; }
@media print {
  main { max-width: none; padding: 0; }
  .scroll, .legend { max-height: none; overflow: visible; }
  figure, .facts div, tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


_PERCENT = "\N{NO-BREAK SPACE}%"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Html(str):
    """Text that is HTML already; any other text is escaped."""

    __slots__ = ()


def markup(value: object) -> Html:
    """Return a value as HTML: as it is if it is HTML already, else escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[object], between: str = "\n") -> Html:
    """Return parts as HTML, one after another."""
    return Html(between.join(markup(part) for part in parts))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """Return an element; ``class_`` stands for class."""
    given = "".join(
        f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{join(content, '')}</{tag}>")


def section(title: str, *content: object) -> Html:
    """Return a part of the page under its heading."""
    return element("section", element("h2", title), "\n", join(content))


def page(title: str, generator: str, *content: object) -> str:
    """Return the whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{html.escape(generator)}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{join(content)}\n</main>\n</body>\n</html>\n"
    )


def table(
    caption: object,
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    foot: Sequence[object] | None = None,
    text_columns: Sequence[int] = (),
) -> Html:
    """Return a table that scrolls where it is large; the first cell of a row is its heading.

    A head of empty texts is left out. Cells of ``text_columns`` are set to
    the left. End tags that HTML does not need are left out: tables can have 50,000 cells.
    """

    left = [" class=text" if place in text_columns else "" for place in range(len(head))]

    def cells(row: Sequence[object]) -> str:
        rest = "".join(f"<td{kind}>{markup(cell)}" for kind, cell in zip(left[1:], row[1:]))
        return f"<tr><th scope=row>{markup(row[0])}{rest}\n"

    heads = "".join(f"<th scope=col{kind}>{markup(cell)}" for kind, cell in zip(left, head))
    first = f"<thead><tr>{heads}\n" if any(head) else ""
    last = f"<tfoot>{cells(foot)}" if foot is not None else ""
    return Html(
        f'<div class="scroll" tabindex="0"><table><caption>{markup(caption)}</caption>\n'
        f"{first}<tbody>{''.join(cells(row) for row in rows)}{last}</table></div>"
    )


def picture(png: bytes, alt: str, **attributes: str) -> Html:
    """Return an image that carries its data with it."""
    data = base64.b64encode(png).decode("ascii")
    given = element("img", alt=alt, **attributes)[: -len("></img>")]
    return Html(f'{given} src="data:image/png;base64,{data}">')


def number(value: float) -> str:
    """Return a number with four significant digits, or all of those before the point."""
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        text = f"{value:,.{decimals([value])}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa, exponent = f"{value:.3e}".split("e")
    return _minus(f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)}")


def decimals(values: Iterable[float]) -> int:
    """Return how many decimals give the largest of these numbers four significant digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(8, max(0, 3 - math.floor(math.log10(largest)))) if largest > 0 else 0


def fixed(value: float, places: int) -> str:
    """Return a number with so many decimals and thousands separators; a dash for none."""
    return _minus(f"{value:,.{places}f}") if math.isfinite(value) else "–"


def share(value: float) -> str:
    """Return a share, 0 to 1, in percent: one decimal, and never rounded to nought or all."""
    if value in (0.0, 1.0):
        return f"{100 * value:.0f}{_PERCENT}"
    if value < 0.0005:
        return f"< 0.1{_PERCENT}"
    if 0.9995 <= value < 1.0:
        return f"> 99.9{_PERCENT}"
    return f"{100 * value:.1f}{_PERCENT}"


def fine_share(value: float) -> str:
    """Return a share in percent with three significant digits."""
    percent = 100 * value
    if not 0.0 < percent < 100.0:
        return f"{percent:,.0f}{_PERCENT}"
    text = f"{percent:.{max(0, 2 - math.floor(math.log10(percent)))}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{_PERCENT}"


def count(amount: int, noun: str) -> str:
    """Return an amount with its noun, in the plural where it is not one: "2 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{amount:,} {noun if amount == 1 else plural}"


def listing(words: Sequence[str], most: int = 12) -> str:
    """Return words as a list in a sentence; of many, the first and how many more."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most:,} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _minus(text: str) -> str:
    return text.replace("-", "−")
