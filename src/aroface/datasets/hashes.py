"""Hashes of files that are read again only when the file has changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.files import read_json, sha256_file, write_json

_SCHEMA = 1
_SETTLED_S = 2.0  # a file changed just now may change again within the same tick of its clock


class FileHashes:
    """SHA-256 of the files of one folder, remembered in a file by size and time of modification.

    Args:
        folder: Folder that names are relative to.
        memory: File with the hashes of earlier calls; None to read every file. One that cannot be read is ignored.
    """

    def __init__(self, folder: Path, memory: Path | None = None) -> None:
        self._folder = folder
        self._memory = memory
        self._known = {} if memory is None else _read(memory, folder)
        self._seen: dict[str, list[Any]] = {}

    def sha256(self, name: str) -> str:
        """The hash of one file.

        Raises:
            InputError: There is no such file.
        """
        path = self._folder / name
        try:
            state = path.stat()
        except FileNotFoundError:
            raise InputError("no such file", file=path) from None
        known = self._known.get(name)
        if known is not None and known[:2] == [state.st_size, state.st_mtime_ns]:
            self._seen[name] = known
        else:
            self._seen[name] = [state.st_size, state.st_mtime_ns, sha256_file(path)]
        return str(self._seen[name][2])

    def write(self) -> None:
        """Remember what was asked for, and forget the rest."""
        latest = time.time_ns() - int(_SETTLED_S * 1e9)
        settled = {name: entry for name, entry in self._seen.items() if entry[1] < latest}
        if self._memory is not None and settled != self._known:
            write_json(self._memory, {"schema": _SCHEMA, "folder": str(self._folder.resolve()), "files": settled})


def _read(memory: Path, folder: Path) -> dict[str, list[Any]]:
    try:
        written = read_json(memory) if memory.exists() else None
    except InputError:
        return {}
    if not isinstance(written, dict) or written.get("schema") != _SCHEMA:
        return {}
    files = written.get("files") if written.get("folder") == str(folder.resolve()) else None
    if not isinstance(files, dict):
        return {}
    return {name: entry for name, entry in files.items() if isinstance(entry, list) and len(entry) == 3}
