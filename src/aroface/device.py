"""Choice of the device that computes, and memory settings for a CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from aroface.errors import InputError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST = 2**31 - 1


def choose_device(name: str | None) -> torch.device:
    """The device of this name; for None or ``auto`` the GPU if there is one.

    Raises:
        InputError: There is no such device.
    """
    available = torch.cuda.is_available()
    device = torch.device(("cuda" if available else "cpu") if name in (None, "auto") else str(name))
    if device.type == "cuda" and not available:
        raise InputError("no CUDA device", expected="a GPU that torch can use", remedy="or choose the device cpu")
    return device


def gpu_facts(device: torch.device, *, tf32: bool) -> dict[str, Any]:
    """Facts about a GPU for a record: its name, and whether float32 could be rounded to TF32; empty for a CPU."""
    return {} if device.type == "cpu" else {"gpu": torch.cuda.get_device_name(device), "tf32": tf32}


def set_tf32(allowed: bool) -> None:
    """Decide whether CUDA's convolutions may round float32 inputs to TF32 (10 bits of mantissa) from now on.

    PyTorch allows it in convolutions unless told otherwise. Matrix products always keep float32.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def exact_float32() -> Iterator[None]:
    """While the body runs, float32 means float32 on CUDA, and convolutions take kernels with a fixed order of sums."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


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
