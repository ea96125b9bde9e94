"""Table of what backbones cost to train, readable without torch; see :mod:`aroface.models.footprint_measurement`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.files import read_json

PLACE = Path(__file__).with_name("footprint_table.json")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of a backbone with a certain embedding size and precision.

    Attributes:
        parameters: Number of parameters, frozen ones included.
        multiply_adds: Multiply-adds of one image's forward pass.
        activation_bytes: Bytes kept for the backward pass, for each image.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int


def find_footprint(arch: str, embedding_size: int, precision: str) -> Footprint:
    """Look a backbone up.

    Args:
        arch: Name in the registry of backbones.
        embedding_size: Number of features per face.
        precision: ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        InputError: The table does not have the architecture.
    """
    table = _table()
    if arch not in table:
        remedy = "python -m aroface.models.footprint_measurement writes the table anew"
        raise InputError(
            f"no architecture {arch!r}", file=PLACE.name, expected=f"one of {', '.join(table)}", remedy=remedy
        )
    entry = table[arch]
    parameters, multiply_adds = (
        entry[name]["fixed"] + entry[name]["per_feature"] * embedding_size for name in ("parameters", "multiply_adds")
    )
    return Footprint(parameters, multiply_adds, entry["activation_bytes"]["fp32" if precision == "fp32" else "fp16"])


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = read_json(PLACE)
    return table
