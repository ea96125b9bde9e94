"""Numbers as they are printed: rounded half up, from the decimal digits that a record has."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def percent(fraction: Decimal, decimals: int, *, signed: bool = False) -> str:
    """A fraction as the digits of a percentage, rounded half up (``'%.2f'`` rounds the binary number: 2.675 to 2.67).

    Args:
        fraction: Value.
        decimals: Digits after the point.
        signed: True if a positive value gets a plus sign. Zero never has a sign.
    """
    return rounded(fraction * 100, decimals, signed=signed)


def rounded(value: Decimal, decimals: int, *, signed: bool = False) -> str:
    """``value`` with ``decimals`` digits after the point; see :func:`percent`."""
    number = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    if number == 0:
        return str(abs(number))
    return f"{number:+f}" if signed else f"{number:f}"


def exact(value: float) -> Decimal:
    """The decimal number that was written in the record, not its nearest binary neighbour."""
    return Decimal(repr(float(value)))
