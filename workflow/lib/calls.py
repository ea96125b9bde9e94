"""Calls of Snakemake in one folder: a living one is not disturbed, what a killed one left is no hindrance.

Snakemake's own lock does not say whose it is, so that after a kill somebody would have to remove it by hand. Here each
call that takes it keeps a record below ``.snakemake/calls`` with its host, process and start, and holds the kernel's
lock of that file for as long as it lives. A second one in the folder of results keeps calls of two clones apart, which
would remove each other's logs.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import psutil

from aroface.errors import InputError
from aroface.kernel_lock import kernel_lock
from aroface.processes import boot_id
from refusals import ending_in_one_line

CALLS = Path(".snakemake/calls")
SHARED = ".calls"
"""Folder of records in the folder of results."""

MUTEX = "mutex"

MARK = "AROFACE_CALL"
"""Environment variable by which a call's jobs are known: its identity and its folder."""

DISPLAY = "AROFACE_DISPLAY"
"""Environment variable with the process that shows the progress of this Snakemake and ends with it."""

LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Call:
    """One call of Snakemake that has taken the lock.

    Attributes:
        host: Name of its machine.
        boot: Identity that only processes under the same running kernel share.
        pid: Its process.
        start: Time of its start in the kernel's own count; None where it cannot be known.
        since: The same for people.
        display: Process that shows its progress, if there is one.
        folder: Folder that it was started in.
        makes: Files that it was to make, relative to the folder of results; kept there only.
    """

    host: str
    boot: str
    pid: int
    start: float | None
    since: str
    display: int | None
    folder: str = ""
    makes: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> str:
        """Unique identity of the call, without blanks."""
        return f"{self.boot}:{self.pid}:{self.start}".replace(" ", "")

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True)
class Known:
    """The other calls that have a record here.

    Attributes:
        living: Calls on this machine that live.
        dead: Calls on this machine that have ended; also those of before its last start.
        foreign: Calls on other machines, of which nobody can see from here whether they live.
    """

    living: Sequence[Call]
    dead: Sequence[Call]
    foreign: Sequence[Call]


def this_call() -> Call:
    """The call that this process is; the same after it has replaced its program."""
    began = datetime.fromtimestamp(psutil.Process().create_time())
    return Call(
        platform.node(),
        boot_id(),
        os.getpid(),
        _start_of(os.getpid()),
        began.isoformat(timespec="seconds"),
        _display(),
        str(Path.cwd()),
    )


def known_calls(folder: Path = CALLS) -> Known:
    """Look which other calls have a record here, and whether they live."""
    known, mine = Known([], [], []), this_call()
    for path in sorted(folder.glob("*.json")):
        call = _read(path)
        if call is None:
            continue
        if call.boot == mine.boot:
            if call.identity != mine.identity:
                (known.living if _is_held(path) or _lives(call) else known.dead).append(call)
        else:
            (known.dead if call.host == mine.host else known.foreign).append(call)
    return known


def guard(persistence: type[Any], results: Path) -> None:
    """Let Snakemake's lock be taken over from calls that were killed, and no other.

    Args:
        persistence: Snakemake's class of that name, whose methods are replaced.
        results: Folder of all results.
    """
    lock, lock_warn_only, cleanup_locks = persistence.lock, persistence.lock_warn_only, persistence.cleanup_locks

    @contextmanager
    def lock_as_known_call(self: Any) -> Iterator[None]:
        with ExitStack() as stack:
            with _mutex(CALLS), _mutex(results / SHARED):
                makes = _within(results, self.all_outputfiles())
                with ending_in_one_line():
                    ending = _take_over(self, results, makes)
                if ending is None:
                    stack.enter_context(lock(self))
                    stack.enter_context(_recorded(this_call(), CALLS))
                    stack.enter_context(_recorded(replace(this_call(), makes=makes), results / SHARED))
                    os.environ[MARK] = f"{this_call().identity} {Path.cwd()}"
            if ending is not None:
                _wait_for_the_end_of(ending)
                start_again()
            yield

    @contextmanager
    def warn_of_others(self: Any) -> Iterator[None]:
        known = known_calls()
        if known.dead and not known.living and not known.foreign:
            yield
            return
        with lock_warn_only(self):
            yield

    def unlock_by_hand(self: Any) -> None:
        cleanup_locks(self)
        for folder in (CALLS, results / SHARED):
            known = known_calls(folder)
            for call in (*known.dead, *known.foreign):
                _forget(call, folder)

    persistence.lock, persistence.lock_warn_only = lock_as_known_call, warn_of_others
    persistence.cleanup_locks = unlock_by_hand


def end_with_display() -> None:
    """End this Snakemake and its jobs as by Ctrl-C once the process that shows their progress is gone."""
    display = _display()
    if display is None or (os.getppid() != display and psutil.pid_exists(display)):
        return  # it shows another one, of which this is a part

    def watch() -> None:
        while os.getppid() == display:
            time.sleep(LOOK_EVERY_S)
        os.killpg(0, signal.SIGINT)

    threading.Thread(target=watch, name="display", daemon=True).start()


def start_again() -> NoReturn:
    """Replace this Snakemake by a new one with the same arguments, which plans afresh."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *sys.argv[1:]])


def _take_over(persistence: Any, results: Path, makes: Sequence[str]) -> Call | None:
    """Remove Snakemake's lock if it is that of a killed call.

    Returns:
        The living call that holds it and is about to end, if that is how it is; the lock is its own until then.

    Raises:
        InputError: It belongs to another call, or one in another clone makes the same.
    """
    known, shared = known_calls(CALLS), known_calls(results / SHARED)
    for call in shared.living:
        if call.folder != str(Path.cwd()) and not set(makes).isdisjoint(call.makes):
            raise _refusal(f"{call} in {call.folder}, which makes the same", call.display or call.pid, results)
    if persistence.locked:
        ending = _holder_that_ends(known)
        if ending is not None:
            return ending
        persistence._delete_locks()
    Path(persistence._lockdir).mkdir(parents=True, exist_ok=True)  # which goes with the lock of any call that ends
    for folder, dead in ((CALLS, known.dead), (results / SHARED, shared.dead)):
        for call in dead:
            _forget(call, folder)
        for half in folder.glob("*.new"):  # of a call that was killed in the midst of it
            half.unlink(missing_ok=True)
    return None


def _within(results: Path, files: Iterable[Any]) -> tuple[str, ...]:
    """Those of some files that lie in the folder of results, relative to it."""
    paths = (os.path.relpath(str(file), results) for file in files)
    return tuple(sorted({path for path in paths if not path.startswith(os.pardir)}))


def _holder_that_ends(known: Known) -> Call | None:
    """The living call that is about to end, as its display was killed; None if a dead one has left the lock.

    Raises:
        InputError: It belongs to a living call, or to one on another machine.
    """
    for call in known.living:
        if call.display is None or psutil.pid_exists(call.display):
            raise _refusal(str(call), call.display or call.pid)
    if known.living:
        return known.living[0]
    if known.foreign:
        remedy = "if that does not live any more: snakemake --unlock"
        raise InputError(f"locked by {known.foreign[0]}", file=".snakemake", remedy=remedy)
    if known.dead:
        print(f"going on from what {known.dead[-1]} left, which was killed", file=sys.stderr, flush=True)
        return None
    others = _unrecorded()
    if others:
        began = datetime.fromtimestamp(others[0].create_time()).isoformat(timespec="seconds")
        raise _refusal(f"process {others[0].pid} on {platform.node()} since {began}", others[0].pid)
    print("no Snakemake runs in this folder: the lock that is left in it is taken over", file=sys.stderr, flush=True)
    return None


def _wait_for_the_end_of(call: Call) -> None:
    print(f"waiting for the end of {call}, whose display was killed", file=sys.stderr, flush=True)
    while call in known_calls().living:
        time.sleep(LOOK_EVERY_S)


def _refusal(who: str, pid: int, file: str | Path = ".snakemake") -> InputError:
    return InputError(f"locked by {who}", file=file, remedy=f"wait for it, or stop it: kill -INT {pid}")


def _unrecorded() -> list[psutil.Process]:
    """Other processes of this user that are a Snakemake in this folder, as versions without records left them."""
    here, me = str(Path.cwd()), psutil.Process()
    relatives = {me.pid, *(each.pid for each in me.parents())}
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in relatives and process.uids().real == os.getuid() and process.cwd() == here:
                processes += [process] if _is_snakemake(process.cmdline()) else []
    return processes


def _is_snakemake(words: Sequence[str]) -> bool:
    """Tell whether a command line is that of a call, not of a job of one."""
    called = any(Path(word).name == "snakemake" for word in words[:2]) or [*words[1:3]] == ["-m", "snakemake"]
    return called and "--mode" not in words


@contextmanager
def _mutex(folder: Path) -> Iterator[None]:
    """Let only one call at a time look at the records in a folder and add its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / MUTEX, "a") as file:
        kernel_lock(file, wait=True)
        yield


@contextmanager
def _recorded(call: Call, folder: Path) -> Iterator[None]:
    """Keep the record of this call, held."""
    path = _path(call, folder)
    temporary = path.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8") as file:
        kernel_lock(file)
        json.dump(asdict(call), file)
        file.flush()
        temporary.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    """Tell whether a process holds the kernel's lock of a record."""
    with suppress(OSError), open(path, encoding="utf-8") as file:
        return kernel_lock(file, shared=True) is False
    return False


def _lives(call: Call) -> bool:
    return call.start is not None and _start_of(call.pid) == call.start


def _read(path: Path) -> Call | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Call(**{**content, "makes": tuple(content["makes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _path(call: Call, folder: Path) -> Path:
    return folder / f"{call.host.replace('/', '_')}-{call.pid}.json"


def _forget(call: Call, folder: Path) -> None:
    _path(call, folder).unlink(missing_ok=True)


def _start_of(pid: int) -> float | None:
    """Start of a living process; None if there is none."""
    with suppress(OSError, ValueError, IndexError):
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else float(numbers[18])  # in ticks since the machine's start, whatever its clock
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    return None


def _display() -> int | None:
    told = os.environ.get(DISPLAY, "")
    return int(told) if told.isdecimal() else None
