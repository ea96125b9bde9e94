"""The processes of one training: who is who, and what all of them agree on.

One process a device, as torchrun starts them. Without torchrun there is one process, and nothing here communicates.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

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


class Agreement:
    """Small numbers that every process contributes at every step; the largest of each counts.

    Between several processes the answer is that of the step before: it travels while the devices compute, and no step
    waits for it. All processes get the same answer at the same step, so that they stop and save together.

    Args:
        ranks: who has to agree.
        count: numbers a step.
    """

    def __init__(self, ranks: ProcessGroup, count: int) -> None:
        self._ranks = ranks
        self._sent = torch.zeros(count, dtype=torch.int64)
        self._work: dist.Work | None = None

    def exchange(self, *mine: int) -> list[int]:
        """Send this step's numbers; returns what was agreed on."""
        if self._ranks.control is None:
            return [*mine]
        agreed = self.finish()
        self._sent = torch.tensor(mine)
        self._work = dist.all_reduce(self._sent, dist.ReduceOp.MAX, group=self._ranks.control, async_op=True)
        return agreed

    def finish(self) -> list[int]:
        """What the numbers sent last came to."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        numbers: list[int] = self._sent.tolist()
        return numbers


def check_equal(module: nn.Module, ranks: ProcessGroup, run: str, step: int) -> None:
    """Compare a number for each parameter of ``module`` between the processes.

    A wrong reduction of gradients does not stop a training: the processes drift apart and one of the models is saved.

    Raises:
        InputError: the parameters are not the same everywhere; all processes raise it.
    """
    if ranks.world_size == 1:
        return
    parameters = [parameter.detach() for parameter in module.parameters()]
    norms = torch.stack(torch._foreach_norm(parameters))
    everywhere = [torch.empty_like(norms) for _ in range(ranks.world_size)]
    dist.all_gather(everywhere, norms)
    differing = torch.stack([other != everywhere[0] for other in everywhere]).any(0).nonzero()
    if len(differing):
        names = [name for name, _ in module.named_parameters()]
        raise InputError(
            f"{len(differing)} of {len(names)} parameters differ between the processes after step {step}",
            file=run,
            record=names[int(differing[0])],
            remedy="start again: the state that was saved last is taken; a second time, look at the devices",
        )


def average_buffers(module: nn.Module, ranks: ProcessGroup) -> None:
    """Replace the running statistics of ``module`` by their mean over the processes."""
    if ranks.world_size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= ranks.world_size


@torch.no_grad()
def take_first_buffers(modules: Iterable[nn.Module], ranks: ProcessGroup) -> None:
    """Give the floating-point buffers of the first process to all, as DistributedDataParallel does by default."""
    if ranks.world_size == 1:
        return
    buffers = [each for module in modules for each in module.buffers() if each.is_floating_point()]
    if buffers:
        together = torch.cat([each.flatten() for each in buffers])
        dist.broadcast(together, 0)
        parts = torch.split_with_sizes(together, [each.numel() for each in buffers])
        for mine, first in zip(buffers, parts, strict=True):
            mine.copy_(first.view_as(mine))


def passes_of(images: int, most: int) -> list[slice]:
    """The rows of each forward pass: ``most`` at a time, and a last one of at least two, for batch norm."""
    begins = [*range(0, images, most)]
    if len(begins) > 1 and images - begins[-1] == 1:
        begins.pop()
    return [slice(begin, end) for begin, end in zip(begins, [*begins[1:], images], strict=True)]


def pass_of(batch: int, ranks: ProcessGroup, micro_batch: int | None, required: int | None) -> int:
    """Images of one forward pass on this process.

    Args:
        batch: as in :func:`share_of`.
        ranks: as there.
        micro_batch: as there.
        required: what the recipe asks for; None where it leaves it open.

    Raises:
        InputError: as there, or there is no such pass.
    """
    images = share_of(batch, ranks, required or micro_batch)[1]
    if required and (images != required or (micro_batch or images) < images):
        raise InputError(
            f"{min(images, micro_batch or images)} images in each pass",
            record="images_per_pass",
            expected=f"{required}, which the recipe asks for",
            remedy=f"--processes {max(1, batch // required)} or a divisor of it, and no --micro-batch below {required}",
        )
    return images


def share_of(batch: int, ranks: ProcessGroup, micro_batch: int | None) -> tuple[int, int]:
    """Images of a step on this process, and of one forward pass.

    Args:
        batch: images of a step over all processes.
        ranks: the processes.
        micro_batch: largest number of images that a device takes at once; None for all.

    Raises:
        InputError: the batch cannot be split evenly.
    """
    if batch % ranks.world_size:
        raise InputError(
            f"a batch of {batch} images on {ranks.world_size} processes",
            expected="a number of processes that divides it",
        )
    local = batch // ranks.world_size
    passes = -(-local // micro_batch) if micro_batch else 1
    if local % passes:
        raise InputError(
            f"{local} images a process in parts of at most {micro_batch}",
            expected="equal parts",
            remedy=f"--micro-batch {next(part for part in range(micro_batch or 1, 0, -1) if local % part == 0)}",
        )
    return local, local // passes


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, differentiable: its gradient is the sum of theirs."""
    summed: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        result = value.clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        result = gradient.clone()
        dist.all_reduce(result)
        return result
