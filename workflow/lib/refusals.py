"""Bad input ends a call in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aroface.errors import InputError
from aroface.exit_status import ExitStatus


@contextmanager
def ending_in_one_line() -> Iterator[None]:
    """Exit with one line and status 2 where the body raises an `InputError`."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
