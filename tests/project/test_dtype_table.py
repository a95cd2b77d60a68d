"""The table of dtypes in the user guide is true."""

import datetime
import decimal
import re
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sk_hvae._input.frames import array_of, dtype_of, read_frame
from sk_hvae._input.schema import Schema

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "tables.rst"
LIBRARIES = ("pandas", "polars", "pyarrow")
DAYS = [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 3, 1), datetime.datetime(2025, 1, 1)]
CELLS = {
    "text": ["b", "a", "b"],
    "dates and datetimes as text": [day.isoformat() for day in DAYS],
    "truth values": [True, False, True],
    "whole numbers": [1, 2, 5],
    "real numbers": [0.5, 2.25, -1.0],
    "decimals": [decimal.Decimal("1.50"), decimal.Decimal("2.25"), decimal.Decimal("0.75")],
    "datetimes": DAYS,
    "dates": [day.date() for day in DAYS],
    "durations": [datetime.timedelta(hours=1), datetime.timedelta(days=2), datetime.timedelta(0)],
    "times of day": [datetime.time(1, 30), datetime.time(2), datetime.time(3)],
    "no value": [None, None, None],
}


def lines_of_the_table():
    """Yield kind, cells, library and dtype of everything that the page names."""
    table = PAGE.read_text().partition(":name: dtypes")[2].partition("\nAn ``Enum``")[0]
    for row in table.split("   * - ")[2:]:
        kind, cells, *named = (" ".join(part.split()) for part in re.split(r"\n     - ", row))
        for library, dtypes in zip(LIBRARIES, named, strict=True):
            for dtype in re.findall(r"``(.*?)``", dtypes):
                yield kind, cells, library, dtype


def column_of(cells, library, dtype):
    if library == "pandas":
        return pd.DataFrame({"c": pd.Series(cells, dtype=dtype)})
    if library == "polars":
        kind = getattr(pl, dtype)
        return pl.DataFrame(
            {"c": pl.Series(cells, dtype=kind(10, 2) if dtype == "Decimal" else kind)}
        )
    kind = pa.decimal128(10, 2) if dtype == "decimal128" else pa.type_for_alias(dtype)
    return pa.table({"c": pa.array(cells, type=kind)})


def cells_of(frame):
    return array_of(read_frame(frame).columns[0]).tolist()


@pytest.mark.parametrize(("kind", "cells", "library", "dtype"), list(lines_of_the_table()))
def test_a_dtype_becomes_what_the_page_says_and_comes_back(kind, cells, library, dtype):
    frame = read_frame(column_of(CELLS[cells], library, dtype))
    schema = Schema.of(frame, {})
    assert schema.columns[0].kind == kind
    numbers = schema.encode([array_of(column) for column in frame.columns], zoned=frame.zoned)
    back = schema.decode(numbers)
    assert dtype_of(read_frame(back).columns[0]) == dtype_of(frame.columns[0])
    if kind != "empty":
        assert cells_of(back) == cells_of(column_of(CELLS[cells], library, dtype))


def test_the_table_names_all_kinds_of_cells():
    assert {cells for _, cells, _, _ in lines_of_the_table()} == set(CELLS)
