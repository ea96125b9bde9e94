"""Logits of one rank's classes in chunks: the target's branch and that of the other classes, in bounded memory.

The forward pass goes over the classes in chunks and keeps one number for each sample; the backward pass recomputes each
chunk's logits. Gradients of the weights are written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.distributed.collectives import sum_over_ranks
from aroface.distributed.sharding import CLASSES_AT_ONCE
from aroface.heads.base import Head

_NOTHING = -1e30
"""Log-sum-exp of no class at all: finite, so that no difference of two is undefined."""

_SMALLEST_LENGTH = 1e-12
"""As in `torch.nn.functional.normalize`."""


def target_cosines(
    features: Tensor, weight: Tensor, columns: Tensor, rows: Tensor | None, dtype: torch.dtype | None = None
) -> Tensor:
    """Compute the cosines (B,) of unit features and their classes' weights, 0 for classes of other ranks.

    Args:
        features: Unit features (B, D).
        weight: Class weights (R, D), not normalised.
        columns: Index int64 (B,) of the target among ``rows``; -1 where another rank has it.
        rows: Sampled rows of ``weight``, int64 (n,); None for all.
        dtype: Type to which autocast would round both and their products; None for no rounding.
    """
    here = columns >= 0
    vectors = weight.index_select(0, _row_numbers(columns.clamp_min(0), rows))
    products = _rounded(features, dtype) * _rounded(F.normalize(vectors), dtype)
    return _rounded(products.sum(1), dtype).clamp(-1, 1) * here


def branches(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    terms: Tensor,
    columns: Tensor,
    rows: Tensor | None,
    head: Head,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the target cosines their gradient, and reduce the scaled logits of the other classes.

    Args:
        features: See :func:`target_cosines`.
        weight: See :func:`target_cosines`; its gradient is sparse over ``rows`` if those are given.
        target: Target cosines (B,) of all samples, whichever rank has their classes.
        terms: Terms (B, k) of the other classes, the same on all ranks. Where they need a gradient, it is summed over
            the ranks: all have the same, of all classes.
        columns: See :func:`target_cosines`.
        rows: See :func:`target_cosines`.
        head: Source of ``others`` and ``reduction``.
        dtype: See :func:`target_cosines`; gradients are rounded to it as well where autocast would.

    Returns:
        ``target`` with a gradient for the samples whose class this rank has, and the reduction (B,) over this rank's
        other classes.
    """
    result: tuple[Tensor, Tensor] = _Branches.apply(  # type: ignore[no-untyped-call]
        features, weight, target, terms, columns, rows, head, dtype
    )
    return result


class _Branches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        target: Tensor,
        terms: Tensor,
        columns: Tensor,
        rows: Tensor | None,
        head: Head,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        is_sum = head.reduction == "sum"
        reduced = torch.full_like(target, 0 if is_sum else _NOTHING)
        for start, vectors in _chunks(weight, rows):
            logits = head.others(_products(features, F.normalize(vectors), dtype).clamp_(-1, 1), terms)
            _fill_targets(logits, columns - start, 0 if is_sum else -torch.inf)
            reduced = reduced + logits.sum(1) if is_sum else torch.logaddexp(reduced, torch.logsumexp(logits, 1))
        ctx.head, ctx.dtype = head, dtype
        ctx.save_for_backward(features, weight, terms, columns, rows, reduced)
        return target.clone(), reduced

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_target: Tensor, of_reduced: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(of_target.device.type, enabled=False):
            of_features, of_weight, of_terms = _backward(ctx, of_target, of_reduced)
        return of_features, of_weight, None, of_terms, None, None, None, None


def _backward(ctx: Any, of_target: Tensor, of_reduced: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    features, weight, terms, columns, rows, reduced = ctx.saved_tensors
    head: Head = ctx.head
    dtype: torch.dtype | None = ctx.dtype
    of_features = torch.zeros_like(features)
    of_rows: Tensor | None = None
    if ctx.needs_input_grad[1]:
        of_rows = weight.new_empty(len(weight) if rows is None else len(rows), weight.shape[1])
    of_terms = torch.zeros_like(terms) if ctx.needs_input_grad[3] else None
    terms = terms.detach() if of_terms is None else terms.detach().requires_grad_()
    for start, vectors in _chunks(weight, rows):
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(_SMALLEST_LENGTH)
        units = vectors / lengths
        cosines = _products(features, units, dtype).clamp_(-1, 1).requires_grad_()
        with torch.enable_grad():
            logits = head.others(cosines, terms)
        of_logits = _gradient_of_reduction(logits.detach(), reduced, of_reduced, head)
        _fill_targets(of_logits, columns - start, 0)
        if of_terms is None:
            (of_cosines,) = torch.autograd.grad(logits, cosines, of_logits)
        else:
            of_cosines, of_chunk = torch.autograd.grad(logits, (cosines, terms), of_logits)
            of_terms += of_chunk
        if dtype is None:
            of_features.addmm_(of_cosines, units)
        else:
            of_features += _products(of_cosines, units.T, dtype)
        if of_rows is not None:
            block = of_rows[start : start + len(vectors)]
            if dtype is None:
                torch.mm(of_cosines.T, features, out=block)
                # The part along the weight changes only its length; sums over the batch are fewer than over D.
                along = (of_cosines * cosines.detach()).sum(0).unsqueeze(1)
            else:
                block.copy_(_products(of_cosines.T, features.T, dtype))
                along = (block * units).sum(1, keepdim=True)
            block.addcmul_(units, along, value=-1).div_(lengths)
    _add_target(features, weight, columns, rows, of_target, of_features, of_rows, dtype)
    if of_terms is not None:
        sum_over_ranks(of_terms)
    if of_rows is None or rows is None:
        return of_features, of_rows, of_terms
    of_weight = torch.sparse_coo_tensor(
        rows.unsqueeze(0), of_rows, weight.shape, is_coalesced=True, check_invariants=False
    )
    return of_features, of_weight, of_terms


def _gradient_of_reduction(logits: Tensor, reduced: Tensor, of_reduced: Tensor, head: Head) -> Tensor:
    """Compute the gradient (B, C) of the logits (B, C) from that of their reduction (B,)."""
    if head.reduction == "sum":
        return of_reduced.unsqueeze(1).repeat(1, logits.shape[1])
    return (logits - reduced.unsqueeze(1)).exp_().mul_(of_reduced.unsqueeze(1))


def _add_target(
    features: Tensor,
    weight: Tensor,
    columns: Tensor,
    rows: Tensor | None,
    of_target: Tensor,
    of_features: Tensor,
    of_rows: Tensor | None,
    dtype: torch.dtype | None,
) -> None:
    """Add the gradients of the target's branch to ``of_features`` and ``of_rows``."""
    here = (columns >= 0).nonzero().squeeze(1)
    own_features = features[here].requires_grad_()
    vectors = weight.index_select(0, _row_numbers(columns[here], rows)).requires_grad_()
    with torch.enable_grad():
        cosines = (_rounded(own_features, dtype) * _rounded(F.normalize(vectors), dtype)).sum(1)
    of_own, of_vectors = torch.autograd.grad(cosines, (own_features, vectors), _rounded(of_target[here], dtype))
    of_features.index_add_(0, here, of_own)
    if of_rows is not None:
        of_rows.index_add_(0, columns[here], of_vectors)


def _products(one: Tensor, other: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Compute ``one @ other.T``, operands and result rounded to ``dtype`` as autocast does."""
    return F.linear(one, other) if dtype is None else F.linear(one.to(dtype), other.to(dtype)).to(one.dtype)


def _rounded(values: Tensor, dtype: torch.dtype | None) -> Tensor:
    return values if dtype is None else values.to(dtype).to(values.dtype)


def _chunks(weight: Tensor, rows: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """Yield the sampled weights a chunk at a time, each with the index of its first row."""
    for start in range(0, len(weight) if rows is None else len(rows), CLASSES_AT_ONCE):
        stop = start + CLASSES_AT_ONCE
        yield start, weight[start:stop] if rows is None else weight.index_select(0, rows[start:stop])


def _row_numbers(columns: Tensor, rows: Tensor | None) -> Tensor:
    return columns if rows is None else rows[columns]


def _fill_targets(matrix: Tensor, columns: Tensor, value: float) -> None:
    """Set ``matrix`` (B, C) to ``value`` in the columns (B,), in place; a column out of range stands for none."""
    samples = torch.arange(len(matrix), device=matrix.device)
    inside = (columns >= 0) & (columns < matrix.shape[1])
    # No sample is singled out: CUDA would have to wait for their number.
    columns = columns.clamp(0, matrix.shape[1] - 1)
    matrix[samples, columns] = torch.where(inside, value, matrix[samples, columns])
