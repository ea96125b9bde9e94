"""Lists of MD5 sums, as ``md5sum`` writes them and releases have them beside a folder: ``img.md5`` for ``img/``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aroface.errors import InputError

_LINE = re.compile(
    r"\\?(?P<md5>[0-9a-fA-F]{32})\s+\*?(?P<name>\S.*)|MD5\s*\((?P<bsd>.+)\)\s*=\s*(?P<sum>[0-9a-fA-F]{32})"
)


@dataclass(frozen=True, slots=True)
class MD5List:
    """Sums of the files of a folder.

    Attributes:
        path: Path of the list.
        sums: Sum of each listed file that is there, by its path.
        absent: Names that are listed and not there.
    """

    path: Path
    sums: dict[Path, str]
    absent: list[str]

    def check(self, file: Path) -> None:
        """Check a file; one that is not listed passes.

        Raises:
            InputError: It has another sum, or cannot be read.
        """
        expected = self.sums.get(file)
        md5 = None if expected is None else _md5_of(file)
        if md5 != expected:
            remedy = "the file is damaged or another one: copy it again"
            raise InputError(f"its md5 is {md5}", file=file, expected=f"{expected}, says {self.path}", remedy=remedy)


def read_md5_list(root: Path, folder: str) -> MD5List | None:
    """Sums of the files of a folder; None where there is no list.

    A name in the list is relative to the root or to the folder, or ends in the file's own name.

    Args:
        root: Root of the release.
        folder: Name of the folder in it; the list is this name with ``.md5``.

    Raises:
        InputError: A line is none of such a list.
    """
    path = root / f"{folder}.md5"
    if not path.is_file():
        return None
    sums, absent = dict[Path, str](), list[str]()
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                expected = "32 hexadecimal digits and a file name"
                raise InputError("no md5 of a file", file=path, where=f"line {number}", expected=expected)
            name = (match["name"] or match["bsd"]).strip()
            listed_file = _found(root, folder, name)
            if listed_file is None:
                absent.append(name)
            else:
                sums[listed_file] = (match["md5"] or match["sum"]).lower()
    return MD5List(path, sums, absent)


def _md5_of(file: Path) -> str:
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=file) from None


def _found(root: Path, folder: str, name: str) -> Path | None:
    """File of a listed name, within the folder."""
    components = [component for component in Path(name).parts if component not in ("/", ".", "..")]
    if not components:
        return None
    below = components[components.index(folder) + 1 :] if folder in components else components
    candidates = (root / folder / Path(*below), root / folder / components[-1]) if below else ()
    return next((candidate for candidate in candidates if candidate.is_file()), None)
