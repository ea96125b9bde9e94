"""The processes of one training: who is who, and what all of them agree on.

One process a device, as torchrun starts them. Without torchrun there is one process, and nothing here communicates.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from aroface.errors import InputError

PATIENCE = timedelta(minutes=15)
"""A process that waits longer for another takes it for dead and ends, so that a training never hangs for ever."""

BEAT_S = 5.0
"""Seconds between two signs of life of a process that others wait for."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among those of its training.

    Attributes:
        device: what it computes on.
        rank: its number, from 0.
        world_size: how many there are.
        control: group for what the hosts, not the devices, tell each other; None where there is one process.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    control: dist.ProcessGroup | None = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what all of them have in common."""
        return self.rank == 0

    def all_agree(self, mine: bool) -> bool:
        """Whether ``mine`` is true on every process; all of them wait for each other."""
        if self.control is None:
            return mine
        answer = torch.tensor(int(mine))
        dist.all_reduce(answer, dist.ReduceOp.MIN, group=self.control)
        return bool(answer)

    def gather(self, mine: Value) -> list[Value]:
        """The small value of every process, by rank; of JSON's types, so that nothing received is unpickled."""
        if self.control is None:
            return [mine]
        text = torch.frombuffer(bytearray(json.dumps(mine).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(lengths, torch.tensor([len(text)]), group=self.control)
        texts = [text.new_zeros(int(max(lengths))) for _ in lengths]
        dist.all_gather(texts, nn.functional.pad(text, (0, len(texts[0]) - len(text))), group=self.control)
        return [json.loads(bytes(each[: int(length)].tolist())) for each, length in zip(texts, lengths, strict=True)]

    def wait(self) -> None:
        """Return when all processes have come here; one that is :meth:`at_work` is waited for as long as it lives."""
        while not self.all_agree(True):
            pass

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Tell those that :meth:`wait` every few seconds that this process is alive and will come.

        Meant for work of unequal length, during which nothing else is exchanged through ``control``. A process that
        dies closes its connections, and one that stands still is given up after :data:`PATIENCE`.
        """
        if self.control is None:
            yield
            return
        done, errors = threading.Event(), list[RuntimeError]()

        def answer() -> None:
            try:
                while not done.is_set():
                    self.all_agree(False)
                    done.wait(BEAT_S)
            except RuntimeError as error:  # gloo's, when another process has ended
                errors.append(error)

        thread = threading.Thread(target=answer, name="at work", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            done.set()
            thread.join(BEAT_S)  # the others may not be waiting yet, and this process is about to end
            raise
        done.set()
        thread.join()
        if errors:
            raise errors[0]


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started with this one; alone where it did not.

    A default process group that is there already is taken and left as it is.

    Args:
        device: ``cpu`` or ``cuda``; with CUDA each process takes the device of its local rank.

    Raises:
        InputError: there are more processes on this machine than GPUs.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and local >= torch.cuda.device_count():
        what = f"process {local} of this machine has no GPU"
        raise InputError(what, expected=f"at most {torch.cuda.device_count()} processes", remedy="see --processes")
    where = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    found = dist.is_initialized()
    if not found and os.environ.get("WORLD_SIZE", "1") == "1":
        yield ProcessGroup(where)
        return
    if not found:
        os.environ.update(stay_on_loopback(os.environ))
    if not found and where.type == "cuda":
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=where)
    elif not found:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield ProcessGroup(where, dist.get_rank(), dist.get_world_size(), control)
    finally:
        if not found:
            dist.destroy_process_group()


def loopback_interface() -> str | None:
    """Name of this machine's loopback interface: ``lo`` on Linux, ``lo0`` on macOS; None if there is neither."""
    there = {name for _, name in socket.if_nameindex()}
    return next((name for name in ("lo", "lo0") if name in there), None)


def stay_on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that keep gloo and NCCL on the loopback interface, where all processes are on one machine.

    Several machines: none, so that what the user says about their networks holds.

    Args:
        environment: as torchrun sets it for a process.
    """
    interface = loopback_interface()
    size = environment.get("WORLD_SIZE", "1")
    if interface is None or environment.get("LOCAL_WORLD_SIZE", size) != size:
        return {}
    return {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
