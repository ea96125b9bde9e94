"""Heads by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aroface.heads.adaface import AdaFace, AdaFaceOptions
from aroface.heads.arcface import ArcFace, ArcFaceOptions
from aroface.heads.base import Head, HeadOptions
from aroface.heads.circle import Circle, CircleOptions
from aroface.heads.combined import CombinedMargins, CombinedOptions
from aroface.heads.cosface import CosFace, CosFaceOptions
from aroface.heads.curricularface import CurricularFace, CurricularFaceOptions
from aroface.heads.elasticface import ElasticFace, ElasticFaceOptions
from aroface.heads.magface import MagFace, MagFaceOptions
from aroface.heads.mvsoftmax import MVSoftmax, MVSoftmaxOptions
from aroface.heads.sface import SFace, SFaceOptions
from aroface.heads.softmax import Softmax
from aroface.heads.uniface import UniFace, UniFaceOptions
from aroface.typed_options import build_kind

HEADS: dict[str, tuple[Callable[[Any], Head], type]] = {
    "arcface": (ArcFace, ArcFaceOptions),
    "cosface": (CosFace, CosFaceOptions),
    "adaface": (AdaFace, AdaFaceOptions),
    "curricularface": (CurricularFace, CurricularFaceOptions),
    "elasticface": (ElasticFace, ElasticFaceOptions),
    "sface": (SFace, SFaceOptions),
    "magface": (MagFace, MagFaceOptions),
    "softmax": (Softmax, HeadOptions),
    "combined": (CombinedMargins, CombinedOptions),
    "circle": (Circle, CircleOptions),
    "mvsoftmax": (MVSoftmax, MVSoftmaxOptions),
    "uniface": (UniFace, UniFaceOptions),
}
"""Head and the dataclass of its options, by name."""


def build(name: str, **options: Any) -> Head:
    """Make the head ``name``; options that are not given have its published defaults.

    Raises:
        InputError: An unknown name or option, or an option of the wrong type or range.
    """
    return build_kind(HEADS, name, options, "head")
