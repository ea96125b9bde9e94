"""Split of a batch, and everything that processes exchange beside gradients."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from aroface.distributed.process_group import ProcessGroup, process_group
from aroface.errors import InputError
from aroface.training.data_parallel import (
    Agreement,
    BatchSplit,
    average_buffers,
    broadcast_buffers,
    check_equal,
    split_batch,
)
from aroface.training.execution import ExecutionOptions
from aroface.training.sync_batchnorm import share_batch_norm
from gloo import run_ranks


def drift(rank_of_fault: int) -> str:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)
    with process_group("cpu") as group:
        check_equal(module, group, "toy", 10)
        if group.rank == rank_of_fault:
            module[1].bias.data[0] += 1e-6
        try:
            check_equal(module, group, "toy", 20)
        except InputError as error:
            return str(error)
    return ""


def agree() -> list[list[int]]:
    with process_group("cpu") as group:
        agreement = Agreement(group, 2)
        answers = [agreement.exchange(step * (group.rank == 1), group.rank) for step in range(3)]
        return [*answers, agreement.finish()]


def statistics() -> tuple[bool, float]:
    with process_group("cpu") as group:
        module = nn.BatchNorm1d(3)
        module.running_mean.fill_(float(group.rank))
        average_buffers(module, group)
        return group.all_agree(group.rank == 0), float(module.running_mean[0])


def in_turn(rank: int) -> dict[str, Any]:
    """All that needs two processes and no training, in one go."""
    return {"drift": drift(1), "agree": agree(), "statistics": statistics(), "norm": normalise()}


def normalise() -> list[float]:
    """Largest differences between batch norm over the whole batch and over two halves of it."""
    torch.manual_seed(0)
    found = []
    for shape in ((8, 3, 5, 5), (8, 3)):
        kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
        images, factors = torch.randn(shape) * 3 + 1, torch.randn(shape)
        with process_group("cpu") as group:
            whole, holder = kind(3), nn.Sequential(kind(3))
            share_batch_norm(holder, group)
            half = slice(4 * group.rank, 4 * group.rank + 4)
            all_images, mine = images.clone().requires_grad_(), images[half].clone().requires_grad_()
            expected, result = whole(all_images), holder(mine)
            (expected * factors).sum().backward()
            (result * factors[half]).sum().backward()
            weight = holder[0].weight.grad.clone()
            dist.all_reduce(weight)
            pairs = [
                (expected[half], result),
                (all_images.grad[half], mine.grad),
                (whole.weight.grad, weight),
                (whole.running_mean, holder[0].running_mean),
                (whole.running_var, holder[0].running_var),
                (whole.eval()(images), holder.eval()(images)),
            ]
            found += [float((one - other).abs().max()) for one, other in pairs]
    return found


def test_what_processes_tell_each_other():
    first, second = run_ranks(2, in_turn)
    for each in (first, second):
        assert "1 of 4 parameters differ between the processes after step 20" in each["drift"]
        assert "1.bias" in each["drift"]
        assert each["agree"] == [[0, 0], [0, 1], [1, 1], [2, 1]], "each answer is that of the step before"
        assert each["statistics"] == (False, 0.5)
        assert max(each["norm"]) < 1e-5


@pytest.mark.parametrize(
    ("batch", "world", "micro", "expected"),
    [(8, 1, None, (8, 8)), (8, 2, None, (4, 4)), (12, 2, 2, (6, 2)), (12, 2, 4, (6, 3)), (8, 1, 100, (8, 8))],
)
def test_shares_of_a_batch(batch, world, micro, expected):
    split = BatchSplit.of(batch, world, micro)
    assert (split.per_rank, split.per_pass) == expected
    assert split.per_pass * split.passes * world == split.global_batch == batch


def test_a_batch_that_cannot_be_split_is_one_line():
    with pytest.raises(InputError, match="a batch of 8 images on 3 processes"):
        BatchSplit.of(8, 3)
    with pytest.raises(InputError, match=r"10 images a process in micro-batches of at most 4;.*--micro-batch 2"):
        BatchSplit.of(10, 1, 4)


@pytest.mark.parametrize(
    ("images", "most", "sizes"), [(8, 8, [8]), (12, 4, [4, 4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5]), (1, 4, [1])]
)
def test_passes_take_all_rows_and_never_a_single_one_at_the_end(images, most, sizes):
    slices = BatchSplit(most * 2, most * 2, most, 2).slices(images)
    assert [len(range(images)[rows]) for rows in slices] == sizes
    assert [row for rows in slices for row in range(images)[rows]] == [*range(images)]


@pytest.mark.parametrize(("batch", "required"), [(7, 3), (10, 4), (8, 16)])
@pytest.mark.parametrize("micro_batch", [None, 1])
def test_passes_that_no_number_of_processes_allows_are_the_recipes_fault(batch, required, micro_batch):
    expected = f"images_per_pass: a batch of {batch} images in passes of {required}; expected a number that divides"
    with pytest.raises(InputError, match=expected):
        BatchSplit.of(batch, 1, micro_batch, required)


def test_uneven_passes_of_a_required_number_are_mended_by_the_number_of_processes():
    with pytest.raises(InputError, match=r"images_per_pass: .*expected 4, .*--processes 5 or a divisor of it"):
        BatchSplit.of(20, 2, None, 4)
    assert BatchSplit.of(20, 5, None, 4).per_pass == 4


@pytest.mark.parametrize(
    ("world", "micro", "images"),
    [(1, None, 256), (2, None, 256), (1, 256, 256), (2, 300, 256), (4, None, None), (1, 128, None), (2, 64, None)],
)
def test_a_recipe_may_ask_for_the_images_of_a_pass(world, micro, images):
    if images is not None:
        assert BatchSplit.of(512, world, micro, 256).per_pass == images
    else:
        with pytest.raises(InputError, match=r"images_per_pass: .* in each pass; expected 256, .*--processes 2"):
            BatchSplit.of(512, world, micro, 256)


@pytest.mark.parametrize(("size", "micro", "images"), [(12, None, 5), (12, 6, 4)])
def test_a_pass_has_whole_identities(size, micro, images):
    recipe = SimpleNamespace(batch_size=size, images_per_pass=None, images_per_identity=images)
    execution, group = ExecutionOptions(micro_batch=micro), ProcessGroup(torch.device("cpu"))
    with pytest.raises(InputError, match=f"images_per_identity: {images} images of each identity in passes of "):
        split_batch(recipe, execution, group)
    recipe.images_per_identity = 3
    assert split_batch(recipe, execution, group).global_batch == size


def test_buffers_of_the_first_process_are_everybodys():
    for mine in run_ranks(2, shared_buffers):
        assert mine == [0.5, 0.5, 20.0, 1.0]


def shared_buffers(rank: int) -> list[float]:
    norm, head = nn.BatchNorm1d(2), nn.Module()
    norm.running_mean.fill_(rank + 0.5)
    head.register_buffer("norm_mean", torch.tensor(20.0 + rank))
    with process_group("cpu") as group:
        broadcast_buffers([norm, head], group)
    return [*norm.running_mean.tolist(), float(head.norm_mean), float(norm.running_var[0])]
