from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.reporting.rounding import percent, rounded


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [
        ("0.67325", 2, "67.33"),
        ("0.02675", 2, "2.68"),  # f"{2.675:.2f}" gives 2.67
        ("0.00125", 2, "0.13"),  # half to even would give 0.12
        ("0.99995", 2, "100.00"),
        ("1", 2, "100.00"),
        ("0.676", 1, "67.6"),
        ("0.5", 0, "50"),
    ],
)
def test_percentages_round_half_up(value: str, decimals: int, printed: str):
    assert percent(Decimal(value), decimals) == printed


def test_signs():
    assert rounded(Decimal("0.004"), 2, signed=True) == "0.00"
    assert rounded(Decimal("-0.004"), 2, signed=True) == "0.00"
    assert rounded(Decimal("-0.004"), 2) == "0.00"
    assert rounded(Decimal("0.005"), 2, signed=True) == "+0.01"
    assert rounded(Decimal("-0.005"), 2) == "-0.01"


@given(st.decimals(min_value=-1000, max_value=1000, places=6), st.integers(0, 4))
def test_rounding_is_exact(value: Decimal, decimals: int):
    step = Fraction(1, 10**decimals)
    gap = abs(Fraction(rounded(value, decimals))) - abs(Fraction(value))
    assert -step / 2 < gap <= step / 2
