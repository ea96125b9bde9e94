"""Hooks of the documentation site: generated references, mathematics as MathML that needs no script."""

from __future__ import annotations

import html
import re
from typing import Any

import reference
from latex2mathml.converter import convert

_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod):(<code>)[~.]*")
_MATH = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page by what they name."""
    return reference.fill(markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Render LaTeX, as ``pymdownx.arithmatex`` leaves it, to MathML; drop the roles of docstrings."""
    content = _ROLE.sub(r"\1", content)
    return _MATH.sub(lambda match: _rendered(match[3], block=match[2] == "["), content)


def _rendered(latex: str, *, block: bool) -> str:
    return convert(html.unescape(latex).strip(), display="block" if block else "inline")
