"""Plain text as LaTeX and back, and what LaTeX cannot print."""

from __future__ import annotations

import unicodedata

import pytest

from aroface.errors import InputError
from aroface.reporting.tables.tex_text import ACCENTS, LETTERS, SIGNS, check_text, escape, unescape


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("Łódź", r"\L{}\'{o}d\'{z}"),
        ("Đorđe", r"\DJ{}or\dj{}e"),
        ("e\u0301", r"\'{e}"),  # decomposed
        ("naïve", r"na\"{\i}ve"),
        ("Ångström", r"\r{A}ngstr\"{o}m"),
        ("ąę", r"\k{a}\k{e}"),
        ("10⁻⁴", "10$^{-4}$"),
        ("“a” — b…", r"``a'' --- b\ldots{}"),
        ("ArcFace★†", r"ArcFace\arostarsign{}$\dagger$"),
        ("5\u202f%", r"5\,\%"),
    ],
)
def test_text_is_printed_by_any_engine_and_encoding(text: str, tex: str):
    assert escape(text) == tex
    assert escape(text).isascii()


def test_what_is_escaped_comes_back():
    letters = [unicodedata.normalize("NFC", letter + accent) for accent in ACCENTS for letter in "aceinoszAEO"]
    known = [each for each in letters if len(each) == 1]
    assert len(known) > 60
    text = " ".join([*known, *LETTERS, *SIGNS, "10⁻⁴"])
    assert unescape(escape(text)) == text.replace("\u202f", "\u2009").replace("\u2009", unescape(r"\,"))


@pytest.mark.parametrize("character", ["漢", "😀", "я", "\u200b", "\x07", "ð", "ŋ", "ș", "½"])
def test_another_character_is_one_line(character: str):
    with pytest.raises(InputError) as error:
        escape(f"Set {character} of faces")
    line = str(error.value)
    assert f"U+{ord(character):04X}" in line
    assert line.startswith("Set ")
    assert line.endswith("; write it in Latin or Greek letters")
    with pytest.raises(InputError, match=r"^mine\.yaml: label of x: LaTeX cannot print"):
        check_text(character, file="mine.yaml", where="label of x")
