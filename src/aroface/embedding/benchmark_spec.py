"""The benchmark specification: what is to be embedded and under which protocol options."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from aroface.schemas import validate

SENSITIVITY_DEFAULTS: Mapping[str, Any] = {
    "joint_maximum": {"scale": 0.1, "degrees": 10.0, "shift": 0.06},
    "degrade": "probe",
    "seed": 0,
    "max_pairs": None,
}


def resolve(benchmark: Mapping[str, Any], file: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Check a specification against ``benchmark_spec.schema.json`` and write out what it leaves to defaults.

    Only the sweep of ``sensitivity`` has defaults; colour order, flip, fusion and alignment always have to be said.

    Args:
        benchmark: ``name``, ``protocol``, ``path`` and ``options``.
        file: where it was read, for the error line.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong type or range.
    """
    validate(benchmark, "benchmark_spec", file=file)
    defaults = SENSITIVITY_DEFAULTS if benchmark["protocol"] == "sensitivity" else {}
    return {**benchmark, "options": {**defaults, **benchmark["options"]}}
