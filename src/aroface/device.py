"""Which device computes."""

from __future__ import annotations

import torch

from aroface.errors import InputError


def choose_device(name: str | None) -> torch.device:
    """The device of this name; for None or ``auto`` the GPU if there is one.

    Raises:
        InputError: there is no such device.
    """
    available = torch.cuda.is_available()
    device = torch.device(("cuda" if available else "cpu") if name in (None, "auto") else str(name))
    if device.type == "cuda" and not available:
        raise InputError("no CUDA device", expected="a GPU that torch can use", remedy="or choose the device cpu")
    return device
