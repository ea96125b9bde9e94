"""Measurement of the cost of a backbone: parameters, multiply-adds, memory of activations; and the table of them.

A plan must not wait for torch, so the figures of all architectures lie in ``footprint_table.json`` beside this module.
``python -m aroface.models.footprint_measurement`` rewrites it after an architecture has changed; a test compares them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aroface.files import write_json
from aroface.models.footprint_table import PLACE
from aroface.models.registry import ARCHITECTURES, build, measure

_SIZES = (128, 512)
_IMAGES = (2, 4)
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def footprint(arch: str, precisions: tuple[str, ...] = ("fp32", "fp16")) -> dict[str, Any]:
    """The entry of one architecture in the table.

    Parameters and multiply-adds are linear in the embedding size: ``fixed + per_feature · size``. ``activation_bytes``
    are those of one image of 112×112 pixels with 512 features, by precision; see :func:`activation_bytes`.

    Raises:
        InputError: Unknown architecture.
    """
    small, large = (measure(arch, size) for size in _SIZES)
    counts: dict[str, Any] = {}
    for name in ("parameters", "multiply_adds"):
        per_feature = (getattr(large, name) - getattr(small, name)) // (_SIZES[1] - _SIZES[0])
        counts[name] = {"fixed": getattr(large, name) - per_feature * _SIZES[1], "per_feature": per_feature}
    return {**counts, "activation_bytes": {each: activation_bytes(arch, each) for each in precisions}}


def activation_bytes(arch: str, precision: str) -> int:
    """Bytes that one image more keeps in memory between the forward and the backward pass.

    The sum over the distinct storages that autograd saves (``torch.autograd.graph.saved_tensors_hooks``) in a forward
    pass in training mode on the CPU, channels last, under autocast unless the precision is ``fp32``: the difference
    between passes of 4 and 2 images, so that weights and their half-precision copies drop out. ``fp16`` stands for
    ``bf16`` too. What kernels need for a moment (workspaces, gradients under way) is not in it.

    Raises:
        InputError: Unknown architecture.
    """
    few, many = (_saved_bytes(arch, precision, images) for images in _IMAGES)
    return (many - few) // (_IMAGES[1] - _IMAGES[0])


def _saved_bytes(arch: str, precision: str, images: int) -> int:
    model = build(arch).train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.zeros(images, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    saved: dict[int, torch.UntypedStorage] = {}  # held, so that no address is given out twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    dtype = _DTYPES[precision]
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        model(batch)
    return sum(storage.nbytes() for storage in saved.values())


if __name__ == "__main__":
    write_json(PLACE, {arch: footprint(arch) for arch in ARCHITECTURES})
