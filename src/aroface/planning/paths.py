"""Paths that verbs read by default, and checks of those that reach Snakemake, a shell and command lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aroface.errors import InputError

SPECS = Path("paper_tables/specs")
"""Folder of the tables' specifications in the repository."""
CLAIMS = Path("paper_tables/claims.yaml")
"""Claims of the paper in the repository."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FILLED_IN = re.compile(r"[{}]|<[a-z][a-z0-9_]*>")  # Snakemake's wildcards and path variables
_NO_UTF8 = re.compile("[\ud800-\udfff]")
_NAME_BYTES = 255  # of a file or folder, as Linux has it
_PATH_BYTES = 3000  # of the 4,095 that Linux takes: the rest is for what lies below


def check_path(
    path: str | os.PathLike[str], *, file: str | None = None, where: str | None = None, pattern: bool = False
) -> None:
    """Refuse a path that a log, a JSON file, a disk or Snakemake cannot hold, or that only a shell would fill in.

    Args:
        path: The path as it was written.
        file: File that names it, for the error line.
        where: Key in that file.
        pattern: True if Snakemake reads it as the pattern of an input or output, in which it fills in wildcards.

    Raises:
        InputError: The path holds a line break or another control character, is not UTF-8, has a name that is too long,
            begins with a tilde, or holds what Snakemake fills in.
    """
    text = os.fspath(path)
    if match := _CONTROL.search(text):
        problem, remedy = f"{text!r} holds the control character {match[0]!r}", "choose a name without it"
    elif _NO_UTF8.search(text):
        problem, remedy = f"{text!a} is not UTF-8", "choose a name in UTF-8"
    elif (longest := max((len(part.encode()), part) for part in text.split("/")))[0] > _NAME_BYTES:
        problem = f"the name {longest[1][:20]!r}… has {longest[0]} bytes"
        remedy = f"choose one of at most {_NAME_BYTES}, the most that a disk takes"
    elif (size := len(text.encode())) > _PATH_BYTES:
        problem, remedy = f"a path of {size:,} bytes", f"choose one of at most {_PATH_BYTES:,}"
    elif text.startswith("~"):
        problem = f"{text!r} begins with '~', which is no home folder here"
        remedy = f"write the path out, or ./{text} for a folder of that name"
    elif pattern and (match := _FILLED_IN.search(text)):
        problem, remedy = f"{text!r} holds {match[0]!r}, which Snakemake fills in", "choose a name without it"
    else:
        return
    raise InputError(problem, file=file, where=where, remedy=remedy)


def command_path(path: str | os.PathLike[str]) -> Path:
    """A path that no command takes for an option: an absolute one where the relative one begins with a dash."""
    return Path(path).absolute() if os.fspath(path).startswith("-") else Path(path)


def check_configured(values: Mapping[str, Any], *, file: str) -> None:
    """Check every path of a configuration, or of a part of one.

    Raises:
        InputError: One line with file and key.
    """
    for record, path in _configured(values):
        check_path(path, file=file, where=record, pattern=record == "paths.results" or record.startswith("tables."))


def _configured(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, path in values.get("paths", {}).items():
        yield f"paths.{name}", path
    for number, path in enumerate(values.get("tables", ())):
        yield f"tables.{number}", path
    for name, declared in values.get("data", {}).items():
        if "folder" in declared:
            yield f"data.{name}.folder", declared["folder"]
