"""The one error that a user is meant to see."""

from __future__ import annotations

import re
import sys
from os import PathLike

LONGEST_RECORD = 300
"""Characters of a record, key or name in a file that an error line shows: whoever made the file chose it."""

_BREAKS = re.compile(r"[^\S ]+")  # line breaks and the like


def printable(text: str, most: int | None = None) -> str:
    """Text from outside on one line that any terminal can print.

    Control characters, lone surrogates and invisible characters are written as escapes, since a terminal acts on some
    of them and UTF-8 cannot encode others. Several blanks stay several: the text may hold a path.

    Args:
        text: Text from a file, a server or a file name.
        most: Number of characters to keep; None keeps all.
    """
    kept = text if most is None or len(text) <= most else f"{text[: most - 1]}…"
    parts = (part.strip(" ") for part in _BREAKS.split(kept))  # blanks within a part may be a path's
    return escaped(" ".join(part for part in parts if part))


def escaped(text: str) -> str:
    """Text in which each control character, line break, invisible character and lone surrogate is an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def remark(line: str) -> None:
    """Print a line to standard error at once; names of files, and what stands in them, are escaped where they must."""
    print(escaped(line), file=sys.stderr, flush=True)


class InputError(Exception):
    """Something that came from outside is wrong; reported as one line, exit status 2.

    The line reads ``FILE: RECORD: WHAT; expected EXPECTED; REMEDY``, each part only where it is given, and holds no
    control characters, whatever the parts do.

    Args:
        what: Problem, in a few words.
        file: File that it was found in.
        where: Record, row, key or index in that file.
        expected: Content that should have stood there.
        remedy: Action that the reader can take.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | PathLike[str] | None = None,
        where: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        location = [] if file is None else [escaped(str(file))]
        if where is not None:
            location.append(printable(str(where), LONGEST_RECORD))
        message = ": ".join([*location, printable(what)])
        if expected is not None:
            message += f"; expected {printable(str(expected))}"
        if remedy is not None:
            message += f"; {printable(remedy)}"
        super().__init__(message)
