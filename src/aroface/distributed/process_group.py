"""Process group of a job: one process a device, as torchrun starts them.

Without torchrun there is one process, and nothing here communicates.
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
"""Time after which a process that waits for another takes it for dead and ends: no training hangs for ever."""

BEAT_S = 5.0
"""Seconds between two signs of life of a process that others wait for."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process and its place among the others of its job.

    Attributes:
        device: Device of this process.
        rank: Rank of this process, from 0.
        world_size: Number of processes.
        control: Gloo group for exchange between hosts, not devices; None for a single process.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    control: dist.ProcessGroup | None = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """True on rank 0, which writes everything that all processes have in common."""
        return self.rank == 0

    def all_agree(self, agrees: bool) -> bool:
        """Tell whether ``agrees`` is true on every process; all of them wait for each other."""
        if self.control is None:
            return agrees
        answer = torch.tensor(int(agrees))
        dist.all_reduce(answer, dist.ReduceOp.MIN, group=self.control)
        return bool(answer)

    def gather(self, value: Value) -> list[Value]:
        """Gather a small value of every process, by rank; of JSON's types, so that nothing received is unpickled."""
        if self.control is None:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(lengths, torch.tensor([len(text)]), group=self.control)
        texts = [text.new_zeros(int(max(lengths))) for _ in lengths]
        dist.all_gather(texts, nn.functional.pad(text, (0, len(texts[0]) - len(text))), group=self.control)
        return [json.loads(bytes(text[: int(length)].tolist())) for text, length in zip(texts, lengths, strict=True)]

    def wait(self) -> None:
        """Wait for all processes, and for one that is :meth:`at_work` as long as it lives."""
        while not self.all_agree(True):
            pass

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Send a sign of life every few seconds to the processes that :meth:`wait`.

        Meant for work of unequal length, during which nothing else is exchanged through ``control``. A process that
        dies closes its connections, and one that hangs is given up after :data:`PATIENCE`.
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
    """Join the processes that torchrun started with this one; without torchrun, a group of one.

    An existing default process group is used and left as it is.

    Args:
        device: ``cpu`` or ``cuda``; with CUDA each process takes the device of its local rank.

    Raises:
        InputError: There are more processes on this machine than GPUs.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and local >= torch.cuda.device_count():
        fault = f"process {local} of this machine has no GPU"
        raise InputError(fault, expected=f"at most {torch.cuda.device_count()} processes", remedy="see --processes")
    own_device = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    exists = dist.is_initialized()
    if not exists and os.environ.get("WORLD_SIZE", "1") == "1":
        yield ProcessGroup(own_device)
        return
    if not exists:
        os.environ.update(stay_on_loopback(os.environ))
    if not exists and own_device.type == "cuda":
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=own_device)
    elif not exists:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield ProcessGroup(own_device, dist.get_rank(), dist.get_world_size(), control)
    finally:
        if not exists:
            dist.destroy_process_group()


def loopback_interface() -> str | None:
    """Return the name of the loopback interface: ``lo`` on Linux, ``lo0`` on macOS; None if there is neither."""
    names = {name for _, name in socket.if_nameindex()}
    return next((name for name in ("lo", "lo0") if name in names), None)


def stay_on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables that keep gloo and NCCL on the loopback interface if all processes share a machine.

    Between several machines there are none, so that the user's own settings hold.

    Args:
        environment: Environment variables as torchrun sets them for a process.
    """
    interface = loopback_interface()
    size = environment.get("WORLD_SIZE", "1")
    if interface is None or environment.get("LOCAL_WORLD_SIZE", size) != size:
        return {}
    return {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
