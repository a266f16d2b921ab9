"""Products as agencies deliver them, read where they lie: each becomes a plain :class:`Product`."""

from .base import Condition, Product, ProductBand, QualityBand

__all__ = ["Condition", "Product", "ProductBand", "QualityBand"]
