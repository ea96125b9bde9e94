"""The table of what backbones cost to train, against the backbones."""

from __future__ import annotations

import pytest
import torch

from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.footprint_measurement import activation_bytes
from aroface.models.footprint_table import PLACE, find_footprint
from aroface.models.registry import ARCHITECTURES, build, measure


def test_the_table_has_every_backbone() -> None:
    assert list(read_json(PLACE)) == list(ARCHITECTURES)


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("size", [16, 512])
def test_parameters_and_multiply_adds_are_those_of_the_backbone(arch: str, size: int) -> None:
    found, measured = find_footprint(arch, size, "fp32"), measure(arch, size)
    assert (found.parameters, found.multiply_adds) == (measured.parameters, measured.multiply_adds)


@pytest.mark.parametrize("arch", ["r8s4", "r8s4w"])
def test_activations_are_what_autograd_saves(arch: str) -> None:
    saved = {precision: activation_bytes(arch, precision) for precision in ("fp32", "fp16")}
    assert saved == {precision: find_footprint(arch, 512, precision).activation_bytes for precision in saved}
    assert find_footprint(arch, 512, "bf16").activation_bytes == saved["fp16"]


def test_activations_can_be_counted_by_hand() -> None:
    """The stem of r8s4 alone: autograd keeps the image, the convolution's output and what ReLU gives."""
    stem = build("r8s4")
    side = 112 // 4
    by_hand = 4 * (3 * 112**2 + 2 * 24 * side**2)
    saved: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[0] == 1 and tensor.ndim == 4:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        stem.prelu(stem.bn1(stem.conv1(torch.zeros(1, 3, 112, 112))))
    assert sum(storage.nbytes() for storage in saved.values()) == by_hand
    assert by_hand < activation_bytes("r8s4", "fp32")


def test_an_architecture_that_the_table_lacks_is_one_line() -> None:
    with pytest.raises(InputError, match=r"footprint_table.json: no architecture 'r99'; expected one of r18, .*writes"):
        find_footprint("r99", 512, "fp32")
