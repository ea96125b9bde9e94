"""Glyphs and fonts of a PDF, by pdfminer.six."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdfminer.pdfdevice import PDFTextDevice
from pdfminer.pdfdocument import PDFDocument
from pdfminer.pdffont import PDFUnicodeNotDefined
from pdfminer.pdfinterp import PDFPageInterpreter, PDFResourceManager
from pdfminer.pdfpage import PDFPage
from pdfminer.pdfparser import PDFParser
from pdfminer.pdftypes import resolve1
from pdfminer.psparser import literal_name
from pdfminer.utils import apply_matrix_pt

POINT = 72.27 / 72
"""Points of TeX in a point of a PDF."""


@dataclass(frozen=True, slots=True)
class Glyph:
    """One printed character.

    Attributes:
        page: Number of the page, from 1.
        text: Character; empty where the font does not say.
        font: Name of the font.
        x: Origin of the glyph, in points of 1/72 inch from the left.
        y: The same from the bottom, with its raise.
        size: Size of the type, in points of 1/72 inch.
        width: Advance, in the same points.
        direction: Direction of the line of text, as cosine and sine.
    """

    page: int
    text: str
    font: str
    x: float
    y: float
    size: float
    width: float
    direction: tuple[float, float]


@dataclass(frozen=True, slots=True, order=True)
class Font:
    """A font of a PDF; ``kind`` is its subtype, such as ``Type1``."""

    name: str
    kind: str
    embedded: bool


def glyphs(pdf: Path) -> list[Glyph]:
    """All glyphs of a document, spaces left out, in the order in which the pages print them."""
    resources = PDFResourceManager()
    device = _Device(resources)
    interpreter = PDFPageInterpreter(resources, device)
    with open(pdf, "rb") as file:
        for number, page in enumerate(PDFPage.get_pages(file), 1):
            device.page = number
            interpreter.process_page(page)
    return device.found


def page_height(pdf: Path) -> float:
    """Height of the first page of a document, in pt of TeX."""
    with open(pdf, "rb") as file:
        _, bottom, _, top = next(PDFPage.get_pages(file)).mediabox
    return float(top - bottom) * POINT


def fonts(pdf: Path) -> list[Font]:
    """All fonts of a document, those of its pictures included, each once and sorted."""
    found = set()
    with open(pdf, "rb") as file:
        document = PDFDocument(PDFParser(file))
        for table in document.xrefs:
            for number in table.get_objids():
                content = _object(document, number)
                if isinstance(content, dict) and _name(content.get("Type")) == "Font":
                    found |= {*_font(content)}
    return sorted(found)


def _font(content: dict[str, Any]) -> Iterator[Font]:
    kind = _name(content.get("Subtype"))
    if kind == "Type0":  # its descendants hold the outlines
        return
    described = resolve1(content.get("FontDescriptor")) or {}
    embedded = kind == "Type3" or any(key in described for key in ("FontFile", "FontFile2", "FontFile3"))
    yield Font(_name(content.get("BaseFont")) or "without a name", kind, embedded)


def _object(document: PDFDocument, number: int) -> Any:
    try:
        return resolve1(document.getobj(number))
    except Exception:  # an object that nothing refers to may be anything
        return None


def _name(value: Any) -> str:
    value = resolve1(value)
    return "" if value is None else str(literal_name(value))


class _Device(PDFTextDevice):
    """Collector of glyphs."""

    def __init__(self, resources: PDFResourceManager) -> None:
        super().__init__(resources)
        self.page = 0
        self.found: list[Glyph] = []

    def render_char(
        self, matrix: Any, font: Any, fontsize: float, scaling: float, rise: float, cid: int, *_: Any
    ) -> float:
        """Keep one glyph; return its advance in the units of the text."""
        try:
            text = font.to_unichr(cid)
        except PDFUnicodeNotDefined:
            text = ""
        advance = font.char_width(cid) * fontsize * scaling
        a, b, c, d, _e, _f = matrix
        if text.strip() or not text:
            x, y = apply_matrix_pt(matrix, (0, rise))
            along = math.hypot(a, b)
            self.found.append(
                Glyph(
                    self.page,
                    text,
                    str(font.fontname),
                    x,
                    y,
                    abs(fontsize) * math.hypot(c, d),
                    advance * along,
                    (round(a / along, 3), round(b / along, 3)) if along else (1.0, 0.0),
                )
            )
        return float(advance)
