"""Words of a figure: caption, short caption, alternative text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aroface.humanize import listing

_MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class FigureWords:
    """Words that stand beside a picture, in plain text.

    Attributes:
        short: Short caption, for lists of figures and the PDF's title.
        caption: Caption.
        alt: Description for readers who do not see the picture: what is drawn, which curve is on top, the largest drop.
    """

    short: str
    caption: str
    alt: str


def unbroken(text: str) -> str:
    """Text in which no number is parted from its unit at the end of a line."""
    return re.sub(r"(?<=\d) (?=(?:%|px|mm|pt)(?!\w))", "\u00a0", text)


def printed_name(key: str, labels: Mapping[str, str]) -> str:
    """The printed name of a key; a key without one as words."""
    return labels.get(key, key.replace("_", " "))


def method_names(names: Iterable[str]) -> str:
    """Names of methods in a sentence; their number where they are many."""
    named = list(dict.fromkeys(names))
    return listing(named) if len(named) <= _MOST_NAMES else f"{len(named)} methods"


def per_cent(fraction: float) -> str:
    """A fraction in per cent, to a tenth."""
    return f"{100 * fraction:.1f} %"
