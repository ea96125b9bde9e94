"""Which part of a backbone runs in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch the caller's autocast off; on the meta device, which has none, do nothing."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
