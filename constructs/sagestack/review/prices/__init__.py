"""What things cost: the tables that the project ships with, and how they are made anew from AWS's price list."""

from sagestack.review.prices.table import (
    PRICE_TABLES,
    Price,
    Prices,
    PriceTable,
    PriceTableError,
    Source,
    as_document,
    dollars,
    load_prices,
    read_table,
)

__all__ = [
    "PRICE_TABLES",
    "Price",
    "PriceTable",
    "PriceTableError",
    "Prices",
    "Source",
    "as_document",
    "dollars",
    "load_prices",
    "read_table",
]
