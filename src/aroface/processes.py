"""Processes by their numbers: which running kernel they belong to, and whether one is known to be dead."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path


def boot_id() -> str:
    """Identifier that only processes under the same running kernel share; the machine's name where there is none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()


def is_dead(pid: int) -> bool:
    """Tell whether no process has this number; one of another user that cannot be asked counts as living."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
