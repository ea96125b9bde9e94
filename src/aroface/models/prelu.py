"""PReLU whose gradient is cheap on a CPU.

PyTorch's own backward pass there takes one value after the other, and makes a gradient of the slopes as large as the
maps even where the slopes are fixed, as in the adversary's pass: a quarter of MobileFaceNet's training step and four
tenths of its gradient towards images. Here two vectorised operations do it, or five, on parts that stay in the cache,
where the slopes' gradient is asked for (autograd asks a function like this for it even where nobody takes it,
hence `fixed_slopes`). Gradients towards the input are PyTorch's, bit for bit but for the last one where slopes are
fixed and beyond ±0.5; those of the slopes are the same terms, summed in another order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aroface.models.module_contexts import temporarily

_PART = 65536  # values of a part that one thread works on: with their gradients they stay in its cache


class PReLU(nn.PReLU):
    """``max(0, x) + slope · min(0, x)`` with a slope per channel: `torch.nn.PReLU`, its parameters and values."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, …) to the same shape."""
        if maps.device.type != "cpu" or not torch.is_grad_enabled() or _is_traced():
            return super().forward(maps)
        if torch.is_autocast_enabled("cpu"):
            maps = maps.to(torch.get_autocast_dtype("cpu"))
        return cast(Tensor, _PReLU.apply(maps, self.weight.to(maps.dtype)))  # type: ignore[no-untyped-call]


def fixed_slopes(module: nn.Module) -> AbstractContextManager[None]:
    """While the body runs, graphs through ``module`` lead to its maps only, not to the slopes of its PReLUs.

    For a gradient towards images, as the adversary's: only this project's own `PReLU` is meant, for which that is
    cheaper, and a slope that was frozen before stays so.
    """
    slopes = [layer.weight for layer in module.modules() if isinstance(layer, PReLU)]
    return temporarily(False, "requires_grad", slopes)


def _is_traced() -> bool:
    """Tell whether a compiler or exporter traces the call; it knows PyTorch's own operation."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, maps: Tensor, slopes: Tensor) -> Tensor:
        context.save_for_backward(maps, slopes)
        return nn.functional.prelu(maps, slopes)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        maps, slopes = context.saved_tensors
        return _gradients(gradient, maps, slopes, of_slopes=context.needs_input_grad[1])


def _gradients(gradient: Tensor, maps: Tensor, slopes: Tensor, *, of_slopes: bool) -> tuple[Tensor, Tensor | None]:
    """Gradients towards maps (N, C, …) and, if asked for, slopes (C,)."""
    last = maps.ndim == 4 and maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    maps, gradient = maps.contiguous(memory_format=layout), gradient.contiguous(memory_format=layout)
    if not of_slopes:
        above_zero = torch.ops.aten.threshold_backward(gradient, maps, 0)
        return above_zero.lerp_(gradient, slopes.view(-1, *[1] * (maps.ndim - 2))), None
    towards_maps = torch.empty_like(maps)
    # Rows of one memory order: one pixel of all channels, or one channel of one image.
    inputs, above, below = (_rows(tensor, last) for tensor in (maps, gradient, towards_maps))
    factors = slopes if last else slopes.repeat(len(maps))[:, None]
    exact = torch.promote_types(slopes.dtype, torch.float32)
    of_rows = torch.zeros_like(slopes if last else factors, dtype=exact)
    step = max(1, _PART * torch.get_num_threads() // inputs.shape[1])
    negative = torch.empty_like(inputs[:step])
    for begin in range(0, len(inputs), step):
        rows = slice(begin, begin + step)
        out, part = below[rows], negative[: len(inputs) - begin]
        torch.ops.aten.threshold_backward.grad_input(above[rows], inputs[rows], 0, grad_input=out)
        torch.sub(above[rows], out, out=part)
        out.addcmul_(part, factors if last else factors[rows])
        part.mul_(inputs[rows])
        if last:
            of_rows += part.sum(0, dtype=exact)
        else:
            of_rows[rows] = part.sum(1, keepdim=True, dtype=exact)
    return towards_maps, (of_rows if last else of_rows.view(len(maps), -1).sum(0)).to(slopes.dtype)


def _rows(tensor: Tensor, last: bool) -> Tensor:
    if last:
        return tensor.permute(0, 2, 3, 1).view(-1, tensor.shape[1])
    return tensor.view(tensor.shape[0] * tensor.shape[1], -1)
