"""Dtypes of pandas, polars and pyarrow as plain values, which files can hold, and back."""

import re
import sys

import numpy as np

from sk_hvae._extras import import_extra

# Parts of these types of polars and pyarrow that their names do not tell.
_PARTS_OF_POLARS = {
    "Datetime": ("time_unit", "time_zone"),
    "Duration": ("time_unit",),
    "Decimal": ("precision", "scale"),
    "Enum": ("categories",),
}
# Decimals that say none have this precision.
_PRECISION_OF_POLARS = 38
_PLAIN_OF_POLARS = (
    *("Binary", "Boolean", "Categorical", "Date", "Null", "Object", "String", "Time"),
    *("Int8", "Int16", "Int32", "Int64", "Int128"),
    *("UInt8", "UInt16", "UInt32", "UInt64", "UInt128"),
    *("Float16", "Float32", "Float64"),
)


def describe_dtype(dtype, library):
    """Describe the dtype of a column.

    Parameters
    ----------
    dtype : object
        As the library has it.
    library : {"pandas", "polars", "pyarrow"}
        Which.

    Returns
    -------
    str or dict
        A dict if the name alone does not tell all.
    """
    return _DESCRIBE[library](dtype)


def dtype_of_categories(description):
    """Describe the dtype of the categories of a dtype that was described; others stay."""
    if not isinstance(description, dict):
        return description
    if description.get("name") == "Enum":
        return "String"
    if "arrow" in description:
        return {"arrow": dtype_of_categories(description["arrow"])}
    return description.get("of", description.get("values", description))


def range_of(description):
    """Return the smallest and largest number of a dtype that was described, if they are near.

    Returns
    -------
    tuple of two numbers or None
        Of whole numbers and decimals; None for all others.
    """
    parts = description if isinstance(description, dict) else {}
    if "arrow" in parts:
        return range_of(parts["arrow"])
    if "precision" in parts:
        smallest = 10.0 ** -parts["scale"]
        precision = parts["precision"] or _PRECISION_OF_POLARS
        largest = 10.0 ** (precision - parts["scale"]) - smallest
        return -largest, largest
    found = re.match(r"(u?)int(\d+)", str(parts.get("sparse", description)), re.IGNORECASE)
    if not found:
        return None
    is_unsigned, n_bits = bool(found[1]), int(found[2])
    return (0, 2**n_bits - 1) if is_unsigned else (-(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1)


def are_dates(description):
    """Tell whether a dtype that was described is one of dates without a time of day."""
    if isinstance(description, dict):
        return "arrow" in description and are_dates(description["arrow"])
    return description in ("Date", "date32[day]", "date64[ms]")


def zone_of(description):
    """Name the time zone of a dtype of times that was described; None if it has none."""
    if isinstance(description, str):
        return description.partition(", ")[2].rstrip("]") or None
    return zone_of(description["arrow"]) if "arrow" in description else description.get("time_zone")


def restore_dtype(description, library):
    """Make a dtype of what `describe_dtype` returned; raises ValueError if it is none."""
    module = import_extra(library, "frames of the kind that fit was given", library)
    try:
        return _RESTORE[library](description, module)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{library} has no dtype {description!r}") from error


def _describe_pandas(dtype):
    pandas = sys.modules["pandas"]
    if isinstance(dtype, pandas.CategoricalDtype) and dtype.categories is not None:
        return {
            "categories": dtype.categories.tolist(),
            "ordered": bool(dtype.ordered),
            "of": _describe_pandas(dtype.categories.dtype),
        }
    if isinstance(dtype, pandas.ArrowDtype):
        return {"arrow": _describe_pyarrow(dtype.pyarrow_dtype)}
    if isinstance(dtype, pandas.SparseDtype):
        fill = None if pandas.isna(dtype.fill_value) else np.asarray(dtype.fill_value).item()
        return {"sparse": str(dtype.subtype), "fill": fill}
    if isinstance(dtype, pandas.StringDtype):
        return {"string": dtype.storage, "missing": repr(dtype.na_value)}
    return str(dtype)


def _restore_pandas(description, pandas):
    if isinstance(description, str):
        return pandas.api.types.pandas_dtype(description)
    if "arrow" in description:
        return pandas.ArrowDtype(restore_dtype(description["arrow"], "pyarrow"))
    if "sparse" in description:
        return pandas.SparseDtype(description["sparse"], description["fill"])
    if "string" in description:
        missing = pandas.NA if description["missing"] == repr(pandas.NA) else float("nan")
        return _string_dtype(pandas, description["string"], missing)
    of = _restore_pandas(description["of"], pandas)
    categories = pandas.Index(list(description["categories"]), dtype=of)
    return pandas.CategoricalDtype(categories, ordered=description["ordered"])


def _string_dtype(pandas, storage, missing):
    """Make a type of text; before pandas 2.3 it knows one kind of missing cells only."""
    try:
        return pandas.StringDtype(storage, na_value=missing)
    except TypeError:
        return pandas.StringDtype(storage)


def _describe_polars(dtype):
    name = dtype.base_type().__name__
    parts = {part: getattr(dtype, part) for part in _PARTS_OF_POLARS.get(name, ())}
    if name == "Enum":
        parts["categories"] = parts["categories"].to_list()
    return {"name": name, **parts} if parts else name


def _restore_polars(description, polars):
    if isinstance(description, str):
        if description not in _PLAIN_OF_POLARS:
            raise ValueError(description)
        return getattr(polars, description)()
    parts = {name: description[name] for name in _PARTS_OF_POLARS[description["name"]]}
    if "categories" in parts:
        parts["categories"] = list(parts["categories"])
    return getattr(polars, description["name"])(**parts)


def _describe_pyarrow(dtype):
    types = sys.modules["pyarrow"].types
    if types.is_dictionary(dtype):
        return {
            "values": _describe_pyarrow(dtype.value_type),
            "codes": _describe_pyarrow(dtype.index_type),
            "ordered": dtype.ordered,
        }
    if types.is_timestamp(dtype):
        return {"time_unit": dtype.unit, "time_zone": dtype.tz}
    if types.is_decimal(dtype):
        return {"bits": dtype.bit_width, "precision": dtype.precision, "scale": dtype.scale}
    return str(dtype)


def _restore_pyarrow(description, pyarrow):
    if isinstance(description, str):
        # It calls these by other names than it prints them.
        aliases = {"float": "float32", "double": "float64", "halffloat": "float16"}
        return pyarrow.type_for_alias(aliases.get(description, description))
    if "values" in description:
        values, codes = (_restore_pyarrow(description[k], pyarrow) for k in ("values", "codes"))
        return pyarrow.dictionary(codes, values, ordered=description["ordered"])
    if "time_unit" in description:
        return pyarrow.timestamp(description["time_unit"], description["time_zone"])
    if description["bits"] not in (32, 64, 128, 256):
        raise ValueError(description)
    make = getattr(pyarrow, f"decimal{description['bits']}")
    return make(description["precision"], description["scale"])


_DESCRIBE = {
    "pandas": _describe_pandas,
    "polars": _describe_polars,
    "pyarrow": _describe_pyarrow,
}
_RESTORE = {"pandas": _restore_pandas, "polars": _restore_polars, "pyarrow": _restore_pyarrow}
