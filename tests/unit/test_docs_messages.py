"""Messages that the troubleshooting page quotes: each is this project's, Snakemake's or its Slurm plugin's."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from errno import errorcode
from importlib.util import find_spec
from pathlib import Path

import pytest

from documentation import DOCS
from repository import ROOT

PAGE = DOCS / "how-to/troubleshooting.md"
OTHERS = ("snakemake", "snakemake_executor_plugin_slurm")
FIELD = "\0"
FILLED_IN = re.compile(
    r"process \d+ on \w+(?: since)?|…|: |[()']|\S*/\S+|\b\d[\d.,]* [kMG]?B\b|\b\w*\d\w*|\b[A-Z][A-Z_]{2,}\b"
)
"""Parts of a quotation that a field of the message stands for, and marks at which one may stand."""


def quotations() -> list[str]:
    """Code in the column of symptoms."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [span for row in rows[1:] for span in re.findall(r"`([^`]+)`", row[1])]


def constant_parts(quotation: str) -> list[str]:
    """Parts of two and more words that are the same whenever the message is printed."""
    parts = [part.strip(" ;,.") for part in FILLED_IN.split(quotation)]
    return [part for part in parts if " " in part]


def texts(module: Path) -> Iterator[str]:
    """Strings of a module, formatted ones with a mark in place of each field."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else FIELD for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def messages() -> str:
    folders = [ROOT / "src/aroface", ROOT / "workflow"]
    folders += [Path(str(spec.origin)).parent for name in OTHERS if (spec := find_spec(name))]
    found = [text for folder in folders for module in folder.rglob("*.py") for text in texts(module)]
    found += [path.read_text() for path in (ROOT / "slurm").glob("*.sh")]
    return "\n".join([*found, *map(os.strerror, errorcode)])


def test_every_quoted_message_exists(messages: str) -> None:
    parts = [(quotation, part) for quotation in quotations() for part in constant_parts(quotation)]
    assert len(parts) > 15
    assert not [(quotation, part) for quotation, part in parts if part not in messages]


def test_a_message_of_other_words_is_found(messages: str) -> None:
    (part,) = constant_parts("another process trains this run: Slurm job 17, process 4711 on n3")[:1]
    assert part == "another process trains this run" and part not in messages
    assert part.replace("trains", "is training") in messages
