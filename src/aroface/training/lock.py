"""A run is trained once at a time, wherever: a lock with an owner and a heartbeat, and a watch over the steps.

On one machine the kernel's lock of the file ``lock`` decides at once. Between machines that share a file system it may
not, so that ``owner.json`` says who trains and is touched every few seconds; an owner whose heartbeat has not been
seen for `STALE_S` is taken for dead. Nobody's clock is compared with anybody else's.
"""

from __future__ import annotations

import faulthandler
import fcntl
import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.files import write_json
from aroface.training.conduct import EXIT_INTERRUPTED

LOCK, OWNER, PROGRESS = "lock", "owner.json", "progress.json"

BEAT_S = 15.0
"""Between two heartbeats."""

STALE_S = 180.0
"""An owner on another machine that gives no sign for so long is dead, and its lock is taken over."""

SETTLE_S = 2.0
"""Whoever takes a lock over looks again after so long whether nobody else did at the same moment."""

HANG_S = 1800.0
"""A training that finishes no step for so long is ended, if ``AROFACE_HANG_S`` does not say otherwise."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder for one training; a second one of the same run is refused.

    While it is held, a training that hangs, or whose lock was taken over by another, is ended at once with status 75.

    Args:
        folder: of the run's states; ``progress.json`` there changes as steps are done.

    Raises:
        InputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a") as file:
        mine = _take(folder, _kernel_lock(file.fileno()))
        ended = threading.Event()
        heart = threading.Thread(target=_beat, args=(folder, mine, ended), name="heartbeat", daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            if _owner(folder) == mine:
                (folder / OWNER).unlink(missing_ok=True)


def _kernel_lock(file: int) -> bool | None:
    """Whether this process has the kernel's lock now; None where the file system has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _take(folder: Path, has_kernel_lock: bool | None) -> dict[str, Any]:
    """Become the owner; returns what was written about it."""
    mine = _myself()
    path = folder / OWNER
    while True:
        other = _owner(folder)
        if other is None and not path.exists():
            if has_kernel_lock is False:
                raise _refusal(folder, {})
            with suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
                json.dump(mine, file)
                return mine
            continue
        if has_kernel_lock is None or not other or other["boot"] != mine["boot"]:
            if not _wait_for(folder, other):
                continue  # it went away by itself
        elif has_kernel_lock is False:
            raise _refusal(folder, other)
        write_json(path, mine)
        if has_kernel_lock is not True or not other or other["boot"] != mine["boot"]:
            time.sleep(SETTLE_S)
        if _owner(folder) == mine:
            return mine


def _wait_for(folder: Path, owner: dict[str, Any] | None) -> bool:
    """Look whether an owner lives: true once it is known to be dead, false if it went away.

    Raises:
        InputError: it lives.
    """
    who, first = _describe(owner or {}), _heartbeat(folder)
    until = time.monotonic() + STALE_S
    print(
        f"aroface: {folder} is locked by {who}: waiting {STALE_S:.0f} s for a sign of it", file=sys.stderr, flush=True
    )
    while time.monotonic() < until:
        time.sleep(min(1.0, STALE_S / 10))
        if not (folder / OWNER).exists():
            return False
        if _heartbeat(folder) != first:
            raise _refusal(folder, owner or {})
    print(f"aroface: no sign of {who} for {STALE_S:.0f} s: its lock is taken over", file=sys.stderr, flush=True)
    return True


def _beat(folder: Path, mine: dict[str, Any], ended: threading.Event) -> None:
    """Give a sign of life again and again; end the process if it is not the owner any more, or does no step."""
    patience = float(os.environ.get("AROFACE_HANG_S", HANG_S))
    pause = min(BEAT_S, patience / 4)
    seen, still = _time_of(folder / PROGRESS), 0.0
    while not ended.wait(pause):
        found = _owner(folder)
        if found != mine and (found or not (folder / OWNER).exists()):
            _end(f"{folder} was taken over by {_describe(found or {})}: this training ends, the other one goes on")
        with suppress(OSError):  # of a file system that does not answer for a while
            os.utime(folder / OWNER)
        now = _time_of(folder / PROGRESS)
        if now != seen:
            seen, still = now, 0.0
            continue
        still += pause  # and not by the clock: while Slurm suspends a job, this thread stands still as well
        if still > patience:
            faulthandler.dump_traceback()
            _end(f"no step in {patience:.0f} s: hung, as said above; start again to go on from the last saved step")


def _end(why: str) -> None:
    print(f"aroface: {why}", file=sys.stderr, flush=True)
    os._exit(EXIT_INTERRUPTED)  # nothing may be saved any more, and a thread that hangs cannot be asked to end


def _myself() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "boot": _boot(),
        "token": uuid.uuid4().hex,
    }


def _boot() -> str:
    """What only processes under the same running kernel have in common."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()


def _owner(folder: Path) -> dict[str, Any] | None:
    """What is written about the owner; None if nothing that can be read."""
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"boot", "token"} <= found.keys() else None


def _heartbeat(folder: Path) -> tuple[str | None, int]:
    """What changes with each heartbeat, and with each owner."""
    owner = _owner(folder)  # opening the file is what makes a network file system look at the server's
    return owner["token"] if owner else None, _time_of(folder / OWNER)


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _describe(owner: dict[str, Any]) -> str:
    if not owner:
        return "a process that has not said who it is"
    job = f"Slurm job {owner['slurm_job']}, " if owner.get("slurm_job") else ""
    return f"{job}process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"


def _refusal(folder: Path, owner: dict[str, Any]) -> InputError:
    remedy = "wait for it, or stop it first" + (f": scancel {owner['slurm_job']}" if owner.get("slurm_job") else "")
    return InputError(f"another process is training this run: {_describe(owner)}", file=folder, remedy=remedy)
