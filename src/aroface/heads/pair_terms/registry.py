"""Pair terms by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aroface.heads.pair_terms.base import PairTerm
from aroface.heads.pair_terms.circle_pairs import CirclePairs, CirclePairsOptions
from aroface.heads.pair_terms.triplet import Triplet, TripletOptions
from aroface.heads.pair_terms.unpg import UNPG, UNPGOptions
from aroface.typed_options import build_kind

PAIR_TERMS: dict[str, tuple[Callable[[Any], PairTerm], type]] = {
    "unpg": (UNPG, UNPGOptions),
    "triplet": (Triplet, TripletOptions),
    "circle": (CirclePairs, CirclePairsOptions),
}
"""Pair term and the dataclass of its options, by kind."""


def build(kind: str, **options: Any) -> PairTerm:
    """Make the pair term ``kind``; options that are not given have their defaults.

    Raises:
        InputError: An unknown kind or option, or an option of the wrong type or range.
    """
    return build_kind(PAIR_TERMS, kind, options, "pair term", "pairs")
