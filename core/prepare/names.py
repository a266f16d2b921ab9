"""Names of prepared scenes that no file system takes for one another."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from ..products.base import Product

# Characters that Windows refuses in file names; it drops spaces and dots at their end.
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def file_stems(products: Sequence[Product]) -> list[str]:
    """Return a file name without ending for each product: its own name wherever that can be.

    Products of one name get the time added, and a number where that does not help either.
    """
    names = [_REFUSED.sub("_", product.name).strip(" .") or "scene" for product in products]
    shared = Counter(map(_folded, names))
    taken = {name for name, count in shared.items() if count == 1}
    stems = []
    for product, name in zip(products, names):
        if shared[_folded(name)] > 1:
            timed = f"{name}_{product.time:%Y%m%dT%H%M%S}"
            numbered = (f"{timed}_{number}" for number in itertools.count(2))
            name = next(
                found for found in itertools.chain([timed], numbered) if _folded(found) not in taken
            )
            taken.add(_folded(name))
        stems.append(name)
    return stems


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
