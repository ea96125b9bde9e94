"""Margin functions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aroface.errors import InputError
from aroface.heads.adaface import AdaFace, AdaFaceOptions
from aroface.heads.arcface import ArcFace, ArcFaceOptions
from aroface.heads.cosface import CosFace, CosFaceOptions
from aroface.heads.margin import Margin
from aroface.heads.options import typed_options

HEADS: dict[str, tuple[Callable[[Any], Margin], type]] = {
    "arcface": (ArcFace, ArcFaceOptions),
    "cosface": (CosFace, CosFaceOptions),
    "adaface": (AdaFace, AdaFaceOptions),
}
"""The margin function and the dataclass of its options, by name."""


def build(name: str, **options: Any) -> Margin:
    """Make the margin function ``name``; options that are not given have its published defaults.

    Raises:
        InputError: an unknown name or option, or an option of the wrong type or range.
    """
    if name not in HEADS:
        raise InputError(f"unknown head {name!r}", expected=f"one of {', '.join(HEADS)}")
    margin, kind = HEADS[name]
    return margin(typed_options(kind, options, f"head {name}"))
