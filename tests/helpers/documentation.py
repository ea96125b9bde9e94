"""The pages of the documentation, taken apart: commands, code and links."""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from repository import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results/README.md", *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@cache
def generators() -> ModuleType:
    """The module that generates reference pages."""
    sys.path.insert(0, str(DOCS / "_hooks"))
    try:
        return importlib.import_module("reference")
    finally:
        sys.path.remove(str(DOCS / "_hooks"))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return [text for kind, text in _FENCE.findall(page.read_text()) if kind == language]


def command_lines(page: Path) -> list[str]:
    """Commands of the fenced ``sh`` blocks, continued lines joined."""
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


def code_spans(page: Path) -> list[str]:
    """Inline code of a page, each on one line."""
    text = _FENCE.sub("", page.read_text())
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def links(page: Path) -> list[str]:
    """Targets of links and pictures within the repository, without anchors."""
    text = re.sub(r"`[^`]*`", "", _FENCE.sub("", page.read_text()))
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.partition("#")[0] for target in found if "://" not in target and not target.startswith("#")]


def documented_metrics() -> list[re.Pattern[str]]:
    """Names of metrics in the reference, their placeholders as patterns."""
    text = (DOCS / "reference/records.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    names = [name for cell in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([^`]+)`", cell)]
    places = {"SEARCH": "[a-z]+_to_[a-z]+", "METRIC": ".+", "X": r"1e-\d", "K": r"\d+", "N": r"\d+"}
    return [re.compile(re.sub("SEARCH|METRIC|[XKN]", lambda match: places[match[0]], name)) for name in names]
