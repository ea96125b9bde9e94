"""The kernel's lock of an open file, which goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def kernel_lock(file: IO[Any], *, shared: bool = False, wait: bool = False) -> bool | None:
    """Take the lock of an open file, until it is closed.

    Args:
        file: File to be locked.
        shared: True if others may have it at the same time, as long as theirs are shared too.
        wait: True to wait for it.

    Returns:
        Whether this process has the lock now; None where the file system has none.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
