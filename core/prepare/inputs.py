"""From what a user hands over to a plan, and to prepared scenes in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..classify import resolved
from ..errors import ParameterError
from ..files import StagedOutputs
from ..monitor import Monitor
from ..products import Product, ProductKind, find_products
from .plan import LeftOutScene, Plan, PrepareSettings
from .run import check_inputs_stay, prepare
from .scenes import plan_scenes


def plan_inputs(
    inputs: Sequence[str | os.PathLike[str]],
    kind: ProductKind,
    settings: PrepareSettings,
    folder: str | os.PathLike[str],
    monitor: Monitor,
) -> Plan:
    """Find the products in folders, archives and files, and return what to do for them.

    Only headers are read. What an earlier run left in ``folder`` is not taken for a product
    where that lies below one of the inputs. Raises one of the engine's errors.
    """
    products, refused = find_products(
        inputs,
        kind,
        monitor,
        bands=settings.bands or None,
        need_quality=bool(settings.mask),
    )
    target = resolved(folder)
    if any(resolved(item) in target.parents for item in inputs):
        products = [item for item in products if not _made_there(item, target)]
    left_out = [LeftOutScene(Path(item.path).name, item.reason) for item in refused]
    plan = plan_scenes(products, left_out, settings, monitor)
    check_inputs_stay(plan, folder)
    return plan


def prepare_series(
    inputs: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    settings: PrepareSettings | None = None,
    *,
    product: str = "detect",
    threads: int | None = None,
    monitor: Monitor | None = None,
) -> list[Path]:
    """Write a masked multiband raster for each acquisition in the inputs, all on one grid.

    Parameters
    ----------
    inputs
        Folders, which are searched, archives or files.
    folder
        Where the rasters go: all of them, or none.
    settings
        Bands, mask, grid and numbers; None for the usual ones.
    product
        What to look for: detect, landsat, sentinel2, planetscope, stac or multiband.

    Returns
    -------
    paths
        Of the rasters, oldest scene first: what :func:`~.opening.open_series` takes.

    Raises
    ------
    ParameterError
        ``product`` or a setting has a value that cannot be used.
    SeriesError
        If no scene can be used (with ``settings.strict``: if one cannot), naming the reason.
    OutputError
        If the folder cannot be written.
    """
    settings, monitor = settings or PrepareSettings(), monitor or Monitor()
    kinds = {kind.value: kind for kind in ProductKind}
    if product not in kinds:
        raise ParameterError(f"product is {product!r}; expected one of {', '.join(kinds)}.")
    plan = plan_inputs(inputs, kinds[product], settings, folder, monitor.part(0.0, 0.05))
    with StagedOutputs() as outputs:
        made = prepare(
            plan,
            folder,
            outputs,
            threads=threads,
            strict=settings.strict,
            monitor=monitor.part(0.05, 1.0),
        )
    return [scene.path for scene in made.scenes]


def _made_there(product: Product, folder: Path) -> bool:
    return all(folder in resolved(band.path).parents for band in product.bands)
