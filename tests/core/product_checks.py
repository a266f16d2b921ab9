"""What is found in inputs: one product, or why there is none."""

from __future__ import annotations

import rasterio

from iikmc.core.products import find_products


def only_product(kind, inputs, **options):
    """Return the one product of a kind in the inputs; nothing may be left out."""
    products, left_out = find_products([inputs], kind, **options)
    assert left_out == []
    assert len(products) == 1
    return products[0]


def reason_left_out(kind, inputs, **options):
    """Return why the one product of a kind in the inputs is left out."""
    products, left_out = find_products([inputs], kind, **options)
    assert products == []
    assert len(left_out) == 1
    return left_out[0].reason


def read(band):
    """Return the values of a product's band as GDAL reads them."""
    with rasterio.open(band.path) as dataset:
        return dataset.read(band.number)
