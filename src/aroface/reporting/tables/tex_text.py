"""Plain Unicode text as LaTeX that prints the same with any engine and encoding, and back."""

from __future__ import annotations

import re
import unicodedata
from os import PathLike

from aroface.errors import InputError
from aroface.reporting.tables.citations import CLOSE, OPEN

# Letters that look like Latin ones have no command.
GREEK = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta"},
    **{"θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi"},
    **{"ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega"},
    **{"Γ": "Gamma", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi"},
    **{"Ω": "Omega", "Δ": "Delta"},
}
SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≠": r"$\neq$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "★": r"\arostarsign{}",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"$\mathsection$",
    "¶": r"$\mathparagraph$",
    "©": r"\textcopyright{}",
    "®": r"\textregistered{}",
    "™": r"\textsuperscript{TM}",
    "£": r"$\mathsterling$",
    "€": r"\texteuro{}",
    "…": r"\ldots{}",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
    "—": "---",
    "–": "--",
    "“": "``",
    "”": "''",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
}
LETTERS = {
    **{"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}"},
    **{"ł": r"\l{}", "Ł": r"\L{}", "đ": r"\dj{}", "Đ": r"\DJ{}", "ı": r"\i{}", "ȷ": r"\j{}"},
}
"""Latin letters that are no accented ones."""
ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."},
    **{"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0328": "k"},
    "\u0331": "b",
}
"""Combining accents and their commands."""
ESCAPES = str.maketrans({**SIGNS, **LETTERS})
_SAME = {"’": "'", "‘": "`", '"': "''", "\u2011": "-", "\u2010": "-", "\u00ad": "", "µ": "μ", "∆": "Δ", "\u2126": "Ω"}
"""Characters that print as others do."""
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_RAISED = "".join(map(chr, RAISED))


def escape(text: str) -> str:
    """Plain Unicode text as LaTeX that prints the same; citation keys in their brackets become a citation.

    Raises:
        InputError: A character that pdfLaTeX has no letter for; see :func:`check_text`.
    """
    parts = re.split(f"{OPEN}([^{CLOSE}]*){CLOSE}", text)
    return "".join(rf"~\cite{{{part}}}" if number % 2 else _escape(part) for number, part in enumerate(parts))


def _escape(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    check_text(text)
    text = "".join(_SAME.get(each, each) for each in text)
    escaped = "".join(_accented(each) for each in text.translate(ESCAPES))
    return re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: f"$^{{{found[0].translate(RAISED)}}}$", escaped)


def check_text(text: str, *, file: str | PathLike[str] | None = None, where: object = None) -> None:
    """Refuse a text with a character that LaTeX cannot print with every engine and encoding.

    Args:
        text: Plain text that a table, figure or document will show.
        file: File that it stands in.
        where: Place there; the text itself where it is left out.

    Raises:
        InputError: One line with the character, its code point, its place and the remedy.
    """
    for each in unicodedata.normalize("NFC", text):
        if not _is_printed(each):
            name = unicodedata.name(each, "no character")
            raise InputError(
                f"LaTeX cannot print {each!r} (U+{ord(each):04X}, {name.lower()})",
                file=file,
                where=text if where is None else where,
                remedy="write it in Latin or Greek letters",
            )


def _is_printed(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character.isspace()
    return character in _SAME or ord(character) in ESCAPES or character in _RAISED or _parts(character) is not None


def _parts(letter: str) -> tuple[str, str] | None:
    """A Latin letter and the command of its accent; None for any other character."""
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) != 2 or parts[1] not in ACCENTS or not (parts[0].isascii() and parts[0].isalpha()):
        return None
    return parts[0], ACCENTS[parts[1]]


def _accented(character: str) -> str:
    if character.isascii() or character in _RAISED:
        return character
    parts = _parts(character)
    assert parts is not None, "check_text lets no other character pass"
    letter, accent = parts
    below = accent in "cdkb"
    letter = rf"\{letter}" if letter in "ij" and not below else letter
    return rf"\{accent}{{{letter}}}"


_SEQUENCES = {escaped: chr(code) for code, escaped in ESCAPES.items()}
_KNOWN = "|".join(re.escape(sequence) for sequence in sorted(_SEQUENCES, key=len, reverse=True))
_UNRAISED = {chr(digit): chr(code) for code, digit in RAISED.items()}
_MARKS = {command: accent for accent, command in ACCENTS.items()}


def unescape(text: str) -> str:
    """The plain text that :func:`escape` made LaTeX of."""

    def plain(found: re.Match[str]) -> str:
        raised, accent, letter, known = found.groups()
        if raised:
            return "".join(map(_UNRAISED.__getitem__, raised))
        if accent:
            return unicodedata.normalize("NFC", letter[-1] + _MARKS[accent])
        return _SEQUENCES[known]

    return re.sub(rf"""\$\^\{{([-0-9]+)\}}\$|\\([`'^~=u."rHvdckb])\{{(\\?[A-Za-z])\}}|({_KNOWN})""", plain, text)
