"""Lock of a run, so that one process trains it at a time: an owner with a heartbeat, and a watch over the steps.

On one machine the kernel's lock of the file ``lock`` decides at once. Between machines that share a file system that
lock may not hold; therefore ``owner.json`` names the owner and is touched every few seconds. An owner whose heartbeat
has not been seen for `STALE_S` is considered dead. No clock of one machine is compared with that of another.

A write of another machine may be seen late, by `LATE_S` at most. Only the file server's exclusive creation of a file
decides: a process that finds no owner creates ``owner.json``; one that displaces a dead owner creates a file named by
that owner's token.
"""

from __future__ import annotations

import faulthandler
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
from typing import IO, Any

from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import FULL_DISK, write_json, writing
from aroface.kernel_lock import kernel_lock
from aroface.processes import boot_id
from aroface.results import PROGRESS

LOCK, OWNER = "lock", "owner.json"
CLAIM = "displaced-"

BEAT_S = 15.0
"""Seconds between two heartbeats."""

STALE_S = 180.0
"""Seconds without a heartbeat after which an owner on another machine is dead, and its lock is taken over."""

LATE_S = 90.0
"""Seconds after a write during which another machine may still see the earlier content."""

HANG_S = 1800.0
"""Seconds without a finished step after which a training is ended, unless ``AROFACE_HANG_S`` sets another limit."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder for one training; a second one of the same run is refused.

    While it is held, a training that hangs, or whose lock was taken over by another, is ended at once with status 75.

    Args:
        folder: Folder of the run's states, whose ``progress.json`` changes as steps are done.

    Raises:
        InputError: Another process holds it, or it is not writable.
    """
    with _open(folder) as file:
        mine = _take(folder, kernel_lock(file))
        for leftover in folder.glob(f".{PROGRESS}.{'[a-z0-9_]' * 8}.json"):  # of a version that did not clean up
            leftover.unlink(missing_ok=True)
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
                for claim in folder.glob(f"{CLAIM}*"):
                    claim.unlink(missing_ok=True)


def _open(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / LOCK, "a")
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        remedy = "see whose it is: two users need results of their own (paths.results of the configuration)"
        raise InputError(f"cannot be written ({error.strerror})", file=error.filename, remedy=remedy) from None


def _take(folder: Path, has_kernel_lock: bool | None) -> dict[str, Any]:
    """Become the owner; return the content of its file."""
    mine = _myself()
    path = folder / OWNER
    while True:
        other = _owner(folder)
        if other is None and not _time_of(path):
            if has_kernel_lock is False:
                raise _refusal(folder, {})
            if _create(path, mine):
                return mine
            time.sleep(_glance())  # somebody else's is there, and will be seen
            continue
        here = other is not None and other["boot"] == mine["boot"]
        if has_kernel_lock is False and here:
            raise _refusal(folder, other or {})
        if has_kernel_lock is True and here:
            write_json(path, mine)
            return mine
        claim = folder / f"{CLAIM}{other['token'] if other else 'unknown'}"
        claimed_before = _time_of(claim)
        if not _wait_for(folder, other):
            continue  # it went away by itself
        if claimed_before:
            claim.unlink(missing_ok=True)  # by one that died in the middle of it
        if not _create(claim, mine):
            raise _refusal(folder, _read(claim) or {})
        try:
            write_json(path, mine)
        except OSError:
            claim.unlink(missing_ok=True)
            raise
        return mine


def _create(path: Path, mine: dict[str, Any]) -> bool:
    """Create a file exclusively; return False if it exists.

    Raises:
        NoRoomError: The disk is full; no half of the file stays.
    """
    text = json.dumps(mine)
    with writing(path, len(text)):
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(file, text.encode())
            os.fsync(file)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
    return True


def _glance() -> float:
    """Return the seconds between two looks at another machine's files."""
    return min(1.0, STALE_S / 10)


def _wait_for(folder: Path, owner: dict[str, Any] | None) -> bool:
    """Wait until an owner is known to be dead (True) or has released the lock (False).

    Raises:
        InputError: It is alive.
    """
    who, first = _describe(owner or {}), _heartbeat(folder)
    until = time.monotonic() + STALE_S
    print(
        f"aroface: {folder} is locked by {who}: waiting {STALE_S:.0f} s for a sign of it", file=sys.stderr, flush=True
    )
    while time.monotonic() < until:
        time.sleep(_glance())
        if not _time_of(folder / OWNER):
            return False
        if _heartbeat(folder) != first:
            raise _refusal(folder, _owner(folder) or owner or {})
    print(f"aroface: no sign of {who} for {STALE_S:.0f} s: its lock is taken over", file=sys.stderr, flush=True)
    return True


def _beat(folder: Path, mine: dict[str, Any], ended: threading.Event) -> None:
    """Send heartbeats; end the process if it has lost the lock or hangs."""
    patience = float(os.environ.get("AROFACE_HANG_S", HANG_S))
    pause = min(BEAT_S, patience / 4)
    seen, still, doubted = _time_of(folder / PROGRESS), 0.0, 0.0
    while not ended.wait(pause):
        owner, displacer = _owner(folder), _read(folder / f"{CLAIM}{mine['token']}")
        doubted = 0.0 if owner == mine else doubted + pause
        if displacer or doubted > LATE_S:
            who = _describe(displacer or owner or {})
            _end(f"{folder} was taken over by {who}: this training ends, the other one goes on")
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
    os._exit(ExitStatus.INTERRUPTED)  # nothing may be saved any more, and a thread that hangs cannot be asked to end


def _myself() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "boot": boot_id(),
        "token": uuid.uuid4().hex,
    }


def _owner(folder: Path) -> dict[str, Any] | None:
    """Read the owner's file; None if there is none that can be read."""
    return _read(folder / OWNER)


def _read(path: Path) -> dict[str, Any] | None:
    """Read the file of a process; opening it makes a network file system ask the server."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"boot", "token"} <= content.keys() else None


def _heartbeat(folder: Path) -> tuple[str | None, int]:
    """Return a value that changes with each heartbeat and each owner."""
    owner = _owner(folder)
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
