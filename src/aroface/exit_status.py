"""Exit statuses of the command line."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of a command; a signal that ends it adds its number to 128."""

    DONE = 0
    """Everything was done."""
    FAILED = 1
    """A check does not hold."""
    BAD_INPUT = 2
    """Input cannot be used; one line says why."""
    INTERRUPTED = 75
    """A training saved its state and stopped on a signal: the same command resumes it (``EX_TEMPFAIL``)."""
