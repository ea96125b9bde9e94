"""Width of set type, without TeX: of the LaTeX that tables are made of, from the metrics of Computer Modern and Times.

The widths are those of TeX's own metric files (cmr7 to cmr10, cmbx7 to cmbx10, cmsy and cmmi of these sizes, ptmr7t and
ptmb7t): Computer Modern has a drawing of its own at each size, wider the smaller it is. Times has one drawing; what is
mathematics stays Computer Modern beside it, which is the widest that templates do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal

from aroface.files import parse_json
from aroface.shipped import PACKAGE

Font = Literal["cm", "times"]
FLOOR = 7
"""Smallest type, in points; sub- and superscripts are set smaller by TeX itself."""
_SCRIPTS: Mapping[int, float] = MappingProxyType({7: 0.86, 8: 0.86, 9: 0.79, 10: 0.8})
"""Width of a script to that of the same digits in the line: smaller type is wider in proportion."""
_SCRIPT_SPACE_PT = 0.5
_METRICS = PACKAGE / "_templates" / "font_widths.json"
_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}$^~]|[^\\{}$^~]+", re.DOTALL)
_SYMBOLS = MappingProxyType(
    {
        **{r"\%": "%", r"\&": "&", r"\#": "#", r"\$": "$", r"\_": "-", r"\{": "(", r"\}": ")"},
        **{r"\ss": "ß", r"\ae": "æ", r"\AE": "Æ", r"\oe": "œ", r"\OE": "Œ", r"\o": "ø", r"\O": "Ø", r"\l": "l"},
        **{r"\L": "L", r"\i": "ı", r"\j": "j", r"\DJ": "D", r"\dj": "d"},
        **{r"\textbackslash": "/", r"\textasciitilde": "n", r"\textasciicircum": "n"},
        **{r"\ldots": "...", r"\texteuro": "C", r"\textcopyright": "OO", r"\textregistered": "OO"},
    }
)
_NAMES: Mapping[Font, tuple[str, str]] = MappingProxyType({"cm": ("cmr", "cmbx"), "times": ("ptmr7t", "ptmb7t")})
_WEIGHTLESS = (r"\arostar", r"\arodagger")
_LIGATURES = (("---", "—"), ("--", "–"), ("ffi", "ﬃ"), ("ffl", "ﬄ"), ("ff", "ﬀ"), ("fi", "ﬁ"), ("fl", "ﬂ"))


def small(size: float) -> int:
    """Size of the type beside or below a value, as aroface.sty sets it."""
    return 8 if size > 9.5 else FLOOR


def text_width(tex: str, size: int, font: Font = "cm", *, bold: bool = False) -> float:
    """Width of a cell in points.

    Args:
        tex: Cell as :mod:`aroface.reporting.tables.latex` writes it.
        size: Type size in points, 7 to 10.
        font: Family of the metrics.
        bold: True within bold type.
    """
    return _Line(_TOKEN.findall(tex), size, font).width(bold)


class _Line:
    """The tokens of a cell, measured from left to right."""

    def __init__(self, tokens: list[str], size: int, font: Font) -> None:
        self.tokens = tokens[::-1]
        self.size = size
        self.font = font

    def width(self, bold: bool) -> float:
        total = 0.0
        while self.tokens:
            token = self.tokens.pop()
            if token == "}":
                break
            total += self._one(token, bold)
        return total

    def _one(self, token: str, bold: bool) -> float:
        if token == "{":
            return self.width(bold)
        if token == "$":
            return self._math()
        if token == "~":
            return self._text(" ", bold)
        if token[0] != "\\":
            return self._text(token, bold)
        return self._command(token, bold)

    def _command(self, name: str, bold: bool) -> float:
        if name == r"\textbf":
            return self._argument(True)
        if name == r"\aromark":
            self._argument(bold)
            return 0.0
        if name == r"\cite":
            keys = self._words()
            return self._text("[" + ", ".join(["12"] * (keys.count(",") + 1)) + "]", bold)
        if name == r"\arocell":
            self._argument(bold)
            return self._argument(bold)
        if name == r"\arosign":
            self._argument(bold)
            return self._text("0", bold)
        if name == r"\aroroom":
            room = self._argument(bold)
            self._argument(bold)
            return room
        if name in (r"\arosd", r"\arointerval"):
            return self._around(name, bold)
        if name in _SYMBOLS:
            return self._text(_SYMBOLS[name], bold)
        if name == r"\,":
            return self._symbol(r"\,")
        if name in _WEIGHTLESS or name == r"\bfseries":
            return 0.0
        # Accents, and commands that print their argument.
        return self._argument(bold)

    def _words(self) -> str:
        """The text of an argument that is not printed as it is."""
        words = ""
        while self.tokens and (token := self.tokens.pop()) != "}":
            words += token
        return words

    def _argument(self, bold: bool) -> float:
        while self.tokens and self.tokens[-1].isspace():
            self.tokens.pop()
        if not self.tokens or self.tokens[-1] != "{":
            return 0.0
        self.tokens.pop()
        return self.width(bold)

    def _around(self, name: str, bold: bool) -> float:
        """A deviation or an interval: in smaller type."""
        size, self.size = self.size, small(self.size)
        thin = self._symbol(r"\,")
        if name == r"\arosd":
            width = 2 * thin + self._symbol(r"\pm") + self._argument(bold)
        else:
            width = 2 * thin + self._text("[,]", bold) + self._argument(bold) + self._argument(bold)
        self.size = size
        return width

    def _math(self) -> float:
        """Mathematics to the closing sign: symbols, and digits in scripts."""
        total, factor = 0.0, 1.0
        while self.tokens:
            token = self.tokens.pop()
            if token == "$":
                break
            if token == "^":
                factor = _SCRIPTS[self.size]
                total += _SCRIPT_SPACE_PT
            elif token == "}":
                factor = 1.0
            elif token != "{":
                symbols = [token] if token[0] == "\\" else token
                total += factor * sum(self._symbol(each) for each in symbols if not each.isspace())
        return total

    def _symbol(self, name: str) -> float:
        known = _metrics()["math"][str(self.size)]
        if name in known:
            return self.size * known[name] / 1000
        return self._text(name.lstrip("\\")[:1] or "n", False, "cm")

    def _text(self, text: str, bold: bool, font: Font | None = None) -> float:
        font = font or self.font
        name = _NAMES[font][bold]
        metrics = _metrics()
        widths = metrics["fonts"][f"{name}{self.size}" if font == "cm" else name]
        kerns = metrics["kerns"][name]
        text = re.sub(r"\s+", " ", text)
        for letters, ligature in _LIGATURES:
            text = text.replace(letters, ligature)
        total = sum(widths.get(each) or widths.get(_plain(each), widths["n"]) for each in text)
        total += sum(kerns.get(text[i : i + 2], 0) for i in range(len(text) - 1))
        return self.size * total / 1000


def _plain(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0]


@cache
def _metrics() -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    metrics: Mapping[str, Mapping[str, Mapping[str, int]]] = parse_json(_METRICS.read_text(encoding="utf-8"))
    return metrics
