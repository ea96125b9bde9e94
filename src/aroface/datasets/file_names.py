"""Names of files: the manifest's, and those that lists, reports and manifests can hold."""

from __future__ import annotations

from pathlib import Path

from aroface.errors import InputError, escaped

MANIFEST = "manifest.json"
"""Manifest in the folder of a data set."""


def check_name(path: Path) -> None:
    """Refuse a name that cannot be written into a list, a report or a manifest.

    Raises:
        InputError: The name is not UTF-8, or holds a control character.
    """
    name = path.name
    if name.isprintable():
        return
    shown = path.with_name(escaped(name))
    if any(0xD800 <= ord(char) < 0xE000 for char in name):
        raise InputError(
            "the name is not UTF-8", file=shown, remedy="rename it, for example by convmv -f latin1 -t utf-8"
        )
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise InputError("the name holds a control character", file=shown, remedy="rename it")
