"""Best and second-best values that others reported in a column, judged on what is printed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

Mark = Literal["bold", "underline"]


def mark_best(numbers: Sequence[str | None], better: Literal["higher", "lower"] = "higher") -> list[Mark | None]:
    """Mark the best value bold and the second best underlined.

    Values that print alike are equal: all of them share a mark. Nothing is marked where fewer than two values differ,
    for there is nothing to be better than.

    Args:
        numbers: Printed digits, None where there is no result.
        better: Good end of the scale.

    Returns:
        One mark for each number.
    """
    ranked = sorted({Decimal(number) for number in numbers if number is not None}, reverse=better == "higher")
    if len(ranked) < 2:
        return [None] * len(numbers)
    marks: dict[Decimal, Mark] = {ranked[0]: "bold"}
    if len(ranked) > 2:
        marks[ranked[1]] = "underline"
    return [None if number is None else marks.get(Decimal(number)) for number in numbers]
