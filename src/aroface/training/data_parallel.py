"""Data parallelism of a training: split of the batch, and everything that its processes exchange beside gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from aroface.distributed.process_group import ProcessGroup
from aroface.errors import InputError
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class BatchSplit:
    """Split of a step's batch over processes and, with gradient accumulation, over several forward passes.

    Attributes:
        global_batch: Number of images of a step over all processes.
        per_rank: Number of images of a step on each process.
        per_pass: Number of images of one forward pass on each process (micro-batch).
        passes: Number of forward passes of a step, whose gradients are accumulated.
    """

    global_batch: int
    per_rank: int
    per_pass: int
    passes: int

    @classmethod
    def of(
        cls, global_batch: int, world_size: int, micro_batch: int | None = None, required: int | None = None
    ) -> BatchSplit:
        """Split a batch evenly.

        Args:
            global_batch: Number of images of a step over all processes.
            world_size: Number of processes.
            micro_batch: Largest number of images of one forward pass that a device has memory for; None for any.
            required: Number of images of a forward pass that the recipe requires; None for any.

        Raises:
            InputError: The batch cannot be split evenly, or not into passes of ``required`` images.
        """
        if required and global_batch % required:
            raise InputError(
                f"a batch of {global_batch} images in passes of {required}",
                where="images_per_pass",
                expected="a number that divides batch_size",
            )
        if global_batch % world_size:
            raise InputError(
                f"a batch of {global_batch} images on {world_size} processes",
                expected="a number of processes that divides it",
            )
        per_rank = global_batch // world_size
        largest = required or micro_batch
        passes = -(-per_rank // largest) if largest else 1
        if per_rank % passes and not required:
            raise InputError(
                f"{per_rank} images a process in micro-batches of at most {largest}",
                expected="equal micro-batches",
                remedy=f"--micro-batch {next(size for size in range(largest or 1, 0, -1) if per_rank % size == 0)}",
            )
        per_pass = per_rank // passes
        if required and (per_pass != required or (micro_batch or per_pass) < per_pass):
            divisor = f"--processes {max(1, global_batch // required)} or a divisor of it"
            raise InputError(
                f"{min(per_pass, micro_batch or per_pass)} images in each pass",
                where="images_per_pass",
                expected=f"{required}, which the recipe asks for",
                remedy=f"{divisor}, and no --micro-batch below {required}",
            )
        return cls(global_batch, per_rank, per_pass, passes)

    def slices(self, images: int) -> list[slice]:
        """Return the rows of each micro-batch; the last one has at least two, for batch norm.

        Args:
            images: Number of images on this process: fewer than ``per_rank`` in an epoch's last batch, where the recipe
                keeps it.
        """
        begins = [*range(0, images, self.per_pass)]
        if len(begins) > 1 and images - begins[-1] == 1:
            begins.pop()
        return [slice(begin, end) for begin, end in zip(begins, [*begins[1:], images], strict=True)]


def split_batch(recipe: Recipe, execution: ExecutionOptions, group: ProcessGroup) -> BatchSplit:
    """Split the batch of a recipe over the processes of a group.

    Raises:
        InputError: See :meth:`BatchSplit.of`; or a pass would have a part of an identity's images.
    """
    split = BatchSplit.of(recipe.batch_size, group.world_size, execution.micro_batch, recipe.images_per_pass)
    if recipe.images_per_identity and split.per_pass % recipe.images_per_identity:
        raise InputError(
            f"{recipe.images_per_identity} images of each identity in passes of {split.per_pass}",
            where="images_per_identity",
            expected="a number that divides them",
            remedy="choose another --processes or --micro-batch",
        )
    return split


class Agreement:
    """Maximum over the processes of a few small numbers, exchanged at every step without waiting.

    Between several processes the answer is that of the step before: it travels while the devices compute. All processes
    get the same answer at the same step, so that they stop and save together.

    Args:
        group: Processes that have to agree.
        count: Number of values of a step.
    """

    def __init__(self, group: ProcessGroup, count: int) -> None:
        self._group = group
        self._sent = torch.zeros(count, dtype=torch.int64)
        self._work: dist.Work | None = None

    def exchange(self, *values: int) -> list[int]:
        """Send this step's values; return the maxima of the step before."""
        if self._group.control is None:
            return [*values]
        agreed = self.finish()
        self._sent = torch.tensor(values)
        self._work = dist.all_reduce(self._sent, dist.ReduceOp.MAX, group=self._group.control, async_op=True)
        return agreed

    def finish(self) -> list[int]:
        """Wait for the values that were sent last; return their maxima."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        maxima: list[int] = self._sent.tolist()
        return maxima


def check_equal(module: nn.Module, group: ProcessGroup, run: str, step: int) -> None:
    """Compare the norm of each parameter of ``module`` between the processes.

    A wrong reduction of gradients does not stop a training: the processes drift apart and one of the models is saved.

    Raises:
        InputError: The parameters are not the same everywhere; all processes raise it.
    """
    parameters = [parameter.detach() for parameter in module.parameters()]
    if group.world_size == 1 or not parameters:
        return
    norms = torch.stack(torch._foreach_norm(parameters))
    all_norms = [torch.empty_like(norms) for _ in range(group.world_size)]
    dist.all_gather(all_norms, norms)
    differing = torch.stack([other != all_norms[0] for other in all_norms]).any(0).nonzero()
    if len(differing):
        names = [name for name, _ in module.named_parameters()]
        raise InputError(
            f"{len(differing)} of {len(names)} parameters differ between the processes after step {step}",
            file=run,
            where=names[int(differing[0])],
            remedy="start again: the state that was saved last is taken; a second time, look at the devices",
        )


def average_buffers(module: nn.Module, group: ProcessGroup) -> None:
    """Replace the running statistics of ``module`` by their mean over the processes."""
    if group.world_size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= group.world_size


@torch.no_grad()
def broadcast_buffers(modules: Iterable[nn.Module], group: ProcessGroup) -> None:
    """Copy the floating-point buffers of rank 0 to all ranks, as DistributedDataParallel does by default."""
    if group.world_size == 1:
        return
    buffers = [buffer for module in modules for buffer in module.buffers() if buffer.is_floating_point()]
    if buffers:
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.broadcast(flat, 0)
        values = torch.split_with_sizes(flat, [buffer.numel() for buffer in buffers])
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value.view_as(buffer))
