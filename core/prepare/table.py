"""The table of a prepared series: a row for each scene, used or left out."""

from __future__ import annotations

import os
from pathlib import Path

from ..csv_files import write_csv
from ..products.base import Condition, Product
from .headers import utc
from .run import Prepared
from .shares import Shares

_FIRST = ("scene", "date", "time", "sensor", "cloud_share", "valid_share", "path")
_CONDITIONS = tuple(item for item in Condition if item is not Condition.CLOUD)
COLUMNS = (*_FIRST, *(f"{item.value}_share" for item in _CONDITIONS), "left_out")


def write_table(path: str | os.PathLike[str], prepared: Prepared) -> None:
    """Write a CSV file (UTF-8): scenes oldest first, then those left out with the reason.

    Shares are of the scene's pixels in the working area; empty where nothing tells them.
    Raises OutputError.
    """
    rows = [
        _row(scene.product.name, scene.product, scene.shares, str(scene.path), "")
        for scene in prepared.scenes
    ]
    rows += [
        _row(scene.name, scene.product, shares, "", scene.reason)
        for scene, shares in prepared.left_out
    ]
    write_csv(Path(path), COLUMNS, [[row.get(column) for column in COLUMNS] for row in rows])


def _row(
    name: str, product: Product | None, shares: Shares | None, path: str, reason: str
) -> dict[str, object]:
    row: dict[str, object] = {"scene": name, "path": path, "left_out": reason}
    if product is not None:
        time = utc(product.time)
        row |= {"date": f"{time:%Y-%m-%d}", "time": f"{time:%H:%M:%S}", "sensor": product.sensor}
    if shares is not None and shares.pixels:
        row["valid_share"] = shares.valid_share
        row |= {f"{condition.value}_share": shares.share(condition) for condition in Condition}
    return row
