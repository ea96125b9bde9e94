"""Pictures of one table in five classes, for the page on papers: python docs/_hooks/table_pictures.py, with LaTeX."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from aroface.cli.main import main
from aroface.reporting.export.glyphs import Glyph, glyphs

CLASSES = ("acm", "cvpr", "ieee", "llncs", "revtex")
TABLE = "tinyface"
BEGINNING, END = r"Table(1|I)[.:]?TinyFace", "76.87"
"""Beginning of its caption and last number, as they are printed without spaces."""
RESOLUTION = 130
MARGIN = 6.0
IMAGES = Path(__file__).parents[1] / "images"


def table_of(found: list[Glyph]) -> list[Glyph]:
    """The glyphs of the table: from its caption to the last note, after which the page goes on somewhere else."""
    text = "".join(glyph.text[:1] or "?" for glyph in found)
    match = re.search(BEGINNING, text, re.IGNORECASE)
    assert match is not None, "the table is not in the document"
    end = text.index(END, match.start()) + len(END)
    while end < len(found) and found[end].page == found[end - 1].page and -20 < found[end].y - found[end - 1].y < 5:
        end += 1
    return found[match.start() : end]


def picture(pdf: Path, target: Path) -> None:
    """Cut the table out of its page."""
    table = table_of(glyphs(pdf))
    left, right = min(glyph.x for glyph in table), max(glyph.x + glyph.width for glyph in table)
    top, bottom = max(glyph.y + glyph.size for glyph in table), min(glyph.y for glyph in table)
    information = subprocess.run(["pdfinfo", pdf], check=True, capture_output=True, text=True).stdout
    height = float(re.findall(r"Page size: +\S+ x (\S+)", information)[0])
    scale = RESOLUTION / 72
    box = {"-x": left - MARGIN, "-y": height - top - MARGIN}
    box |= {"-W": right - left + 2 * MARGIN, "-H": top - bottom + 2 * MARGIN}
    words = [word for option, length in box.items() for word in (option, str(round(length * scale)))]
    page = str(table[0].page)
    command = ["pdftoppm", "-r", str(RESOLUTION), "-gray", "-png", "-singlefile", "-f", page, "-l", page, *words]
    subprocess.run([*command, pdf, target.with_suffix("")], check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in CLASSES:
            kit = Path(folder, name)
            words = ["export", "--template", name, "--flat", "--subset", TABLE, "--mode", "reported", str(kit)]
            assert main(words) == 0, name
            picture(kit / "main.pdf", IMAGES / f"paper-{name}.png")
