"""Parts of self-contained HTML pages: head and style, paragraphs with a subject, tables, pictures in its type."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
.about { color: #555; margin: .2rem 0 1rem; }
dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .35rem .8rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; } .notes { color: #444; font-size: 13px; }
h3 { font-size: .95rem; margin: .8rem 0 .2rem; } figure { margin: 0; } svg { width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.notes dd { overflow-wrap: anywhere; } .row { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #ddd; }
""".strip()


def page(title: str, about: str, body: Iterable[str], *, style: str = "") -> str:
    """A page of finished parts.

    Args:
        title: Title, plain text.
        about: Line below it, plain text.
        body: Parts in HTML.
        style: Further rules of the style sheet.
    """
    sheet = f"{STYLE}\n{style}".strip()
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{html.escape(title)}</title>\n<style>\n{sheet}\n</style>\n</head>\n<body>",
            f'<h1>{html.escape(title)}</h1>\n<p class="about">{html.escape(about)}</p>',
            *body,
            "</body>\n</html>\n",
        ]
    )


def definitions(paragraphs: Iterable[tuple[str, str]], kind: str = "findings") -> str:
    """Paragraphs, each a subject and its text."""
    items = "\n".join(f"<dt>{html.escape(subject)}</dt><dd>{html.escape(text)}</dd>" for subject, text in paragraphs)
    return f'<dl class="{kind}">\n{items}\n</dl>'


def plain_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain texts."""
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    return "\n".join(["<table>", f"<tr>{head}</tr>", *(f"<tr>{line}</tr>" for line in lines), "</table>"])


def inline_svg(figure: Figure, salt: str, style: Any) -> str:
    """A figure as SVG, whose text is text of the page; the same characters every time.

    Args:
        figure: Figure, drawn in ``style``.
        salt: Word that tells its marks from those of other figures of the page.
        style: Matplotlib's settings.
    """
    buffer = io.StringIO()
    settings = {**style, "font.family": ["DejaVu Sans"], "svg.fonttype": "none", "svg.hashsalt": salt}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = buffer.getvalue()
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    drawing = re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawing, count=2)  # HTML knows them
    drawing = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg role=\"img\" \1>", drawing, count=1)
    return f"<figure>{drawing.strip()}</figure>"
