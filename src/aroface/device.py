"""Which device computes, and memory for one that is a CPU."""

from __future__ import annotations

import ctypes

import torch

from aroface.errors import InputError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST = 2**31 - 1


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


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for the next tensor of the size.

    glibc gives large blocks back to the system at once and gets them as fresh pages again, each of which the kernel
    clears: a quarter of the time of a small network's step on a CPU. The process takes up to a fifth more memory.

    Returns:
        Whether it does: other C libraries have no such setting.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(set_option(option, _LARGEST) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
