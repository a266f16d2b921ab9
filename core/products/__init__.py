"""Products as agencies deliver them, read where they lie: each becomes a plain :class:`Product`."""

from .base import Condition, Product, ProductBand, QualityBand
from .files import LeftOut
from .search import ProductKind, find_products

__all__ = [
    "Condition",
    "LeftOut",
    "Product",
    "ProductBand",
    "ProductKind",
    "QualityBand",
    "find_products",
]
