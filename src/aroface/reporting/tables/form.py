"""Form of a table in a document: environment, width, type size, rows and columns, caption and label."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from aroface.errors import InputError
from aroface.reporting.tables.type_width import Font

Environment = Literal["table", "table*", "sidewaystable", "longtable", "body"]
Uncertainty = Literal["sd", "interval", "none"]

LNCS_TEXT = 347.12
COLUMN = 237.13
"""Narrowest column of the usual templates in two columns, that of CVPR and ICCV."""
_TEXTS: Mapping[Environment, float] = MappingProxyType(
    {"table": 345.0, "table*": 496.86, "sidewaystable": 549.0, "longtable": 345.0, "body": 345.0}
)
"""Narrowest text of the usual templates: of one column, of two, and the height of LNCS's page."""
_POINTS = {"": 1.0, "pt": 1.0, "mm": 72.27 / 25.4, "in": 72.27}


@dataclass(frozen=True, slots=True)
class TableForm:
    """Form of a table in a document; every field is also a key of ``form`` in the specification and an option.

    Attributes:
        environment: LaTeX environment; ``body`` is the tabular alone, for a float of the author's own.
        width: Length in points of the line that the table must fit.
        size: Type size in points, 7 to 10; None for the specification's, smaller by rule where needed.
        columns: Ids of the columns, in this order; None for all.
        rows: Addresses or ids of the rows, in this order; None for all.
        transpose: True if rows and columns change places.
        decimals: Digits after the point; None for each column's own.
        caption: Caption instead of the specification's.
        short_caption: Caption in a list of tables.
        label: LaTeX label instead of ``tab:aroface:NAME``.
        notes: Form of the notes below the table.
        numbers: Columns of numbers: centred, filled up to stand under one another, or siunitx's S columns.
        uncertainty: Numbers beside a mean; None for those of the specification.
        links: True if each number is the argument of a command that knows its cell.
        font: Metrics that the fit is computed with; Computer Modern is the widest.
    """

    environment: Environment = "table"
    width: float = LNCS_TEXT
    size: int | None = None
    columns: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    transpose: bool = False
    decimals: int | None = None
    caption: str | None = None
    short_caption: str | None = None
    label: str | None = None
    notes: Literal["parbox", "threeparttable"] = "parbox"
    numbers: Literal["plain", "siunitx"] = "plain"
    uncertainty: Uncertainty | None = None
    links: bool = False
    font: Font = "cm"

    def over(self, other: TableForm) -> TableForm:
        """This form, with the other's values where this one has the defaults."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return TableForm(
            **{
                each.name: getattr(other, each.name) if values[each.name] == each.default else values[each.name]
                for each in fields(self)
            }
        )


def read_form(content: Mapping[str, Any]) -> TableForm:
    """The form that a specification, or options by their names, ask for; what is None or left out has its default.

    Raises:
        InputError: A width that is none, or two options that exclude one another.
    """
    given = {key: value for key, value in content.items() if value is not None}
    environment: Environment = given.get("environment", "table")
    for key in ("columns", "rows"):
        if key in given:
            given[key] = tuple(given[key])
    if "width" in given:
        given["width"] = read_width(given["width"], environment)
    elif environment in ("table*", "sidewaystable"):
        given["width"] = _TEXTS[environment]
    return TableForm(**given)


def check_form(form: TableForm) -> None:
    """Refuse a form whose parts exclude one another.

    Raises:
        InputError: One line on both.
    """
    if form.links and form.numbers == "siunitx":
        raise InputError("links and siunitx", expected="one of the two: siunitx sets no number that is a command's")
    if form.links and form.transpose:
        raise InputError("links and transpose", expected="one of the two: links name the row that they stand in")


def read_width(text: str | float, environment: Environment = "table") -> float:
    """A width in points.

    Args:
        text: ``column``, the narrowest column of the usual templates in two columns; ``text``, the narrowest text of
            one column or, in ``table*``, of two; or a number of points, or of what stands behind it (mm, pt, in).
        environment: Environment of the table.

    Raises:
        InputError: The text is none of these.
    """
    if text == "column":
        return COLUMN
    if text == "text":
        return _TEXTS[environment]
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(pt|mm|in)?\s*", str(text))
    width = float(match[1]) * _POINTS[match[2] or ""] if match else 0.0
    if not 20 <= width <= 5000:
        raise InputError(f"{str(text)[:40]!r} is no width", expected="column, text, or a length such as 84mm or 252pt")
    return width
