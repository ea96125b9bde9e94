"""Stochastic gradient descent for large embeddings: no temporary copies, and rows without a gradient stay untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from aroface.errors import InputError

_AT_ONCE = 2**20
"""Number of values that are updated at once, which bounds the temporary memory and keeps it in the cache."""


class RowSGD(torch.optim.Optimizer):
    """SGD with momentum and weight decay; the same numbers as `torch.optim.SGD` for dense gradients.

    Where the gradient of a parameter is sparse over its rows (COO, one sparse dimension), only these rows of weight and
    momentum change: the others see neither decay nor the drag of their momentum. The state of a parameter is its
    ``momentum_buffer``; gradients are left as they are.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate, >= 0.
        momentum: Momentum, in [0, 1).
        weight_decay: Weight decay, >= 0.
        every_row: True if momentum and decay act on the rows without a gradient as well, as if theirs were 0, like
            `torch.optim.SGD` with a dense gradient in the released code of Partial FC.

    Raises:
        InputError: A number out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        every_row: bool = False,
    ) -> None:
        for name, value, allowed in (
            ("lr", lr, lr >= 0),
            ("momentum", momentum, 0 <= momentum < 1),
            ("weight_decay", weight_decay, weight_decay >= 0),
        ):
            if not allowed:
                raise InputError(f"{name} is {value}", where="optimiser")
        self._every_row = every_row
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient; return the result of ``closure``, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            small = [one for one in updated if one.numel() <= _AT_ONCE and not one.grad.is_sparse]
            for lot in _lots(small):
                _update_several(lot, [self._buffer(one) for one in lot] if group["momentum"] else None, group)
            for parameter in updated:
                if parameter.numel() > _AT_ONCE or parameter.grad.is_sparse:
                    buffer = self._buffer(parameter) if group["momentum"] else None
                    update = _update_all if not parameter.grad.is_sparse else _update_rows
                    if parameter.grad.is_sparse and self._every_row:
                        update = _update_every_row
                    update(parameter, parameter.grad, buffer, group)
        return loss

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _lots(parameters: list[Tensor]) -> Iterable[list[Tensor]]:
    """Group small parameters into lots of a bounded size: hundreds of single updates would be bound by launch times."""
    lots: list[list[Tensor]] = []
    room = 0
    for parameter in parameters:
        if parameter.numel() > room:
            lots.append([])
            room = _AT_ONCE
        lots[-1].append(parameter)
        room -= parameter.numel()
    return lots


def _update_several(parameters: list[Tensor], buffers: list[Tensor] | None, group: dict[str, Any]) -> None:
    changes = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if group["weight_decay"]:
        changes = [*torch._foreach_add(changes, parameters, alpha=group["weight_decay"])]
    if buffers is not None:
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, changes)
        changes = buffers
    torch._foreach_add_(parameters, changes, alpha=-group["lr"])


def _update_all(parameter: Tensor, gradient: Tensor, buffer: Tensor | None, group: dict[str, Any]) -> None:
    if parameter.ndim == 0:
        parameter, gradient = parameter.unsqueeze(0), gradient.unsqueeze(0)
        buffer = None if buffer is None else buffer.unsqueeze(0)
    for part in _parts(parameter, len(parameter)):
        change = gradient[part]
        if group["weight_decay"]:
            change = change.add(parameter[part], alpha=group["weight_decay"])
        if buffer is not None:
            change = buffer[part].mul_(group["momentum"]).add_(change)
        parameter[part].add_(change, alpha=-group["lr"])


def _update_rows(parameter: Tensor, gradient: Tensor, buffer: Tensor | None, group: dict[str, Any]) -> None:
    rows, values = _rows_and_values(gradient)
    for part in _parts(parameter, len(rows)):
        here = rows[part]
        weights, change = parameter.index_select(0, here), values[part]
        if group["weight_decay"]:
            change = change.add(weights, alpha=group["weight_decay"])
        if buffer is not None:
            change = buffer.index_select(0, here).mul_(group["momentum"]).add_(change)
            buffer.index_copy_(0, here, change)
        parameter.index_copy_(0, here, weights.add_(change, alpha=-group["lr"]))


def _update_every_row(parameter: Tensor, gradient: Tensor, buffer: Tensor | None, group: dict[str, Any]) -> None:
    rows, values = _rows_and_values(gradient)
    for part in _parts(parameter, len(parameter)):
        first, last = torch.searchsorted(rows, rows.new_tensor([part.start, part.stop])).tolist()
        change = group["weight_decay"] * parameter[part]
        change.index_add_(0, rows[first:last] - part.start, values[first:last])
        if buffer is not None:
            change = buffer[part].mul_(group["momentum"]).add_(change)
        parameter[part].add_(change, alpha=-group["lr"])


def _rows_and_values(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return ascending rows int64 (n,) and their gradients (n, D), a copy only where a row occurs twice."""
    rows, values = gradient._indices().squeeze(0), gradient._values()
    if bool((rows[1:] > rows[:-1]).all()):  # autograd forgets that a gradient is coalesced
        return rows, values
    gradient = gradient.coalesce()
    return gradient.indices().squeeze(0), gradient.values()


def _parts(parameter: Tensor, rows: int) -> Iterable[slice]:
    """Cut ``rows`` rows into slices of a bounded size."""
    size = max(1, _AT_ONCE * len(parameter) // max(1, parameter.numel()))
    return (slice(start, start + size) for start in range(0, rows, size))
