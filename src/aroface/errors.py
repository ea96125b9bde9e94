"""The one error that a user is meant to see."""

from __future__ import annotations

from os import PathLike


class InputError(Exception):
    """Something that came from outside is wrong; reported as one line, exit status 2.

    The line reads ``FILE: RECORD: WHAT; expected EXPECTED; REMEDY``, each part only where it is given.

    Args:
        what: what is wrong, in a few words.
        file: the file it was found in.
        record: the record, row, key or index in that file.
        expected: what should have stood there.
        remedy: what the reader can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | PathLike[str] | None = None,
        record: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        place = [str(part) for part in (file, record) if part is not None]
        message = ": ".join([*place, what])
        if expected is not None:
            message += f"; expected {expected}"
        if remedy is not None:
            message += f"; {remedy}"
        super().__init__(" ".join(message.split()))
