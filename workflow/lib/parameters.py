"""Parameters of rules that hold any text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def verbatim(value: Any) -> Callable[[Any], Any]:
    """A parameter that holds what it is given: in a string Snakemake would look for wildcards."""
    return lambda wildcards: value
