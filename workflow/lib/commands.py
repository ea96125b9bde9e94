"""Commands of Slurm whose answer is needed, and the words for those that fail."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

LIMIT_S = 60
"""Seconds that a command may take."""

FAILED = (subprocess.SubprocessError, OSError)
"""Errors of a command that fails, does not end, or is not there."""


def answer(command: Sequence[str]) -> str:
    """Standard output of a command that succeeds.

    Raises:
        SubprocessError: It fails, or does not end in time.
        OSError: It cannot be started.
    """
    return subprocess.run([*command], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout


def failure_text(error: Exception) -> str:
    """Cause of a failure on one line: the command's own words, where it had any."""
    return " ".join(str(getattr(error, "stderr", None) or error).split())
