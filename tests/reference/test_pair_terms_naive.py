"""Pair terms and batch losses against their formulas, one pair at a time in double precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from aroface.heads.batch_losses.base import PassedBatch
from aroface.heads.batch_losses.registry import build as build_batch_loss
from aroface.heads.batch_losses.symmetry import mirrored_halves
from aroface.heads.batch_losses.topology import spanning_tree
from aroface.heads.pair_terms.registry import PAIR_TERMS, build

LABELS = {
    "some of each": [0, 3, 3, 1, 0, 2, 2, 2, 5, 3],
    "four each": [4, 4, 4, 4, 1, 1, 1, 1],
    "no two alike": [0, 1, 2, 3, 4],
    "all alike": [3, 3, 3, 3],
}
SCALE = 20.0


def units(count: int, seed: int, spread: float = 1.0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    centre = torch.randn(1, 6, generator=draws, dtype=torch.float64)
    return F.normalize(centre + spread * torch.randn(count, 6, generator=draws, dtype=torch.float64))


def pairs_of(labels: list[int], *, same: bool) -> list[tuple[int, int]]:
    count = len(labels)
    return [(i, j) for i in range(count) for j in range(i + 1, count) if (labels[i] == labels[j]) == same]


def dot(features: Tensor, i: int, j: int) -> Tensor:
    return (features[i] * features[j]).sum()


def unpg(features: Tensor, labels: list[int], whisker: float, reference: int | None) -> Tensor | None:
    values = sorted((dot(features, *pair) for pair in pairs_of(labels, same=False)), key=float)
    if not values:
        return None
    low, high = float(values[len(values) // 4]), float(values[3 * len(values) // 4])
    reach = whisker * (high - low)
    kept = [SCALE * value for value in values if low - reach <= float(value) <= high + reach]
    total = torch.log(sum((value.exp() for value in kept), torch.zeros(())))
    return total - (2 * math.log(len(labels) / reference) if reference else 0)


def triplet(features: Tensor, labels: list[int], margin: float, negatives: str) -> Tensor:
    losses = []
    for a, p in [pair for i, j in pairs_of(labels, same=True) for pair in ((i, j), (j, i))]:
        near = (features[a] - features[p]).square().sum()
        others = [(features[a] - features[n]).square().sum() for n in range(len(labels)) if labels[n] != labels[a]]
        if negatives == "semi_hard":
            farther = sorted((other for other in others if float(other) > float(near)), key=float)
            chosen = [other for other in farther[:1] if float(near - other) + margin > 0]
        else:
            chosen = [other for other in others if float(near - other) + margin > 0]
        if chosen:
            losses.append(sum(near - other + margin for other in chosen) / len(chosen))
    return sum(losses, torch.zeros((), dtype=torch.float64)) / max(1, len(losses))


def circle(features: Tensor, labels: list[int], gamma: float, m: float, *, softplus: bool) -> Tensor:
    positive = [dot(features, *pair) for pair in pairs_of(labels, same=True)]
    negative = [dot(features, *pair) for pair in pairs_of(labels, same=False)]
    pull = [torch.exp(-gamma * max(0, 1 + m - float(s)) * (s - (1 - m))) for s in positive]
    push = [torch.exp(gamma * max(0, float(s) + m) * (s - m)) for s in negative]
    if not pull or not push:
        return torch.zeros((), dtype=torch.float64)
    return torch.log(sum(pull) * sum(push) + softplus)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("unpg", {}),
        ("unpg", {"whisker": 0.2, "reference_batch": 4}),
        ("triplet", {}),
        ("triplet", {"margin": 0.7, "negatives": "violating"}),
        ("triplet", {"margin": 0.9}),
        ("circle", {"gamma": 8.0}),
        ("circle", {"gamma": 30.0, "m": 0.4, "softplus": False}),
    ],
)
def test_pair_terms(kind: str, options: dict[str, Any], labels: list[int]) -> None:
    for seed in range(3):
        term = build(kind, **options)
        found, expected = (units(len(labels), seed, 1 + seed).requires_grad_() for _ in range(2))
        ours, plain, y = F.normalize(found), F.normalize(expected), torch.tensor(labels)
        if kind == "unpg":
            value = term(ours, y, SCALE)
            naive = unpg(plain, labels, options.get("whisker", 1.5), options.get("reference_batch"))
            if naive is None:
                value.backward()
                assert float(value.detach()) < -1e29
                assert not found.grad.any()
                continue
        elif kind == "triplet":
            value = term(ours, y)
            naive = triplet(plain, labels, options.get("margin", 0.2), options.get("negatives", "semi_hard"))
        else:
            value = term(ours, y)
            naive = circle(
                plain, labels, options["gamma"], options.get("m", 0.25), softplus=options.get("softplus", True)
            )
        torch.testing.assert_close(value, naive, rtol=1e-9, atol=1e-9, check_dtype=False)
        (of_found,) = torch.autograd.grad(value, found)
        zeros = torch.zeros_like(of_found)
        of_expected = torch.autograd.grad(naive, expected, allow_unused=True)[0] if naive.requires_grad else zeros
        torch.testing.assert_close(of_found, of_expected, rtol=1e-8, atol=1e-9)


def test_every_pair_term_is_compared() -> None:
    assert set(PAIR_TERMS) == {"unpg", "triplet", "circle"}


def distance_matrix(vectors: Tensor, kind: str) -> Tensor:
    rows = [*F.normalize(vectors)] if kind == "cosine" else [*vectors]
    measure = (lambda a, b: 1 - (a * b).sum()) if kind == "cosine" else (lambda a, b: (a - b).norm())
    return torch.stack([torch.stack([measure(a, b) for b in rows]) for a in rows])


def tree_lengths(distances: Tensor) -> Tensor:
    """Lengths of the tree of Prim's algorithm, with gradient."""
    inside, lengths = {0}, []
    while len(inside) < len(distances):
        best = min(
            ((i, j) for i in inside for j in range(len(distances)) if j not in inside),
            key=lambda edge: float(distances[edge]),
        )
        lengths.append(distances[best])
        inside.add(best[1])
    return torch.stack(sorted(lengths, key=float))


@pytest.mark.parametrize("count", [2, 3, 5, 16, 33])
def test_the_spanning_tree_is_scipys(count: int) -> None:
    for seed in range(4):
        points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        distances = torch.cdist(points, points)
        expected = minimum_spanning_tree(np.triu(distances.numpy()))
        lengths = distances.flatten()[spanning_tree(distances)]
        assert lengths.tolist() == pytest.approx(sorted(expected.data.tolist()), abs=0)


def test_the_spanning_tree_of_equal_distances_has_no_circle() -> None:
    for distances in (torch.ones(9, 9), torch.zeros(9, 9)):
        edges = [divmod(place, 9) for place in spanning_tree(distances).tolist()]
        reached = {0}
        for _ in edges:
            reached |= {end for edge in edges if {*edge} & reached for end in edge}
        assert (len(edges), len(reached)) == (8, 9)


@pytest.mark.parametrize("distances", ["euclidean", "cosine"])
@pytest.mark.parametrize("hardness", ["truncated", "exact"])
def test_topology(distances: str, hardness: str) -> None:
    draws = torch.Generator().manual_seed(2)
    clean = torch.rand(7, 3, 4, 4, generator=draws, dtype=torch.float64) * 2 - 1
    embeddings = torch.randn(7, 5, generator=draws, dtype=torch.float64)
    losses = torch.rand(14, generator=draws, dtype=torch.float64) * 3
    found = []
    for naive in (False, True):
        leaf, each = embeddings.clone().requires_grad_(), losses.clone().requires_grad_()
        if naive:
            pixels = clean.flatten(1) / (1 if distances == "cosine" else math.sqrt(4 * 48))
            of_images = tree_lengths(distance_matrix(pixels, distances))
            of_embeddings = tree_lengths(distance_matrix(leaf, distances))
            weights = [1 - math.exp(-float(loss)) if hardness == "exact" else 1 for loss in losses]
            value = sum(weight * loss for weight, loss in zip(weights, each, strict=True)) / 14
            value = value + 0.3 * (of_images - of_embeddings).square().sum() / 7
        else:
            term = build_batch_loss("topology", weight=0.3, distances=distances, hardness=hardness)
            rows = torch.arange(7)
            value = term(PassedBatch(clean + 1, clean, rows, rows, leaf, each, lambda images: images))
        found.append((value.detach(), *torch.autograd.grad(value, (leaf, each))))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)


def test_images_that_come_twice_leave_the_topology_finite() -> None:
    embeddings = torch.ones(4, 3, requires_grad=True)
    images, rows = torch.zeros(4, 3, 2, 2), torch.arange(4)
    passed = PassedBatch(images, images, rows, rows, embeddings, torch.ones(4), lambda images: images)
    (gradient,) = torch.autograd.grad(build_batch_loss("topology")(passed), embeddings)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("margin", [0.2, 1.0, 1.9])
def test_diversion(margin: float) -> None:
    draws = torch.Generator().manual_seed(2)
    images = torch.rand(3, 3, 4, 4, generator=draws, dtype=torch.float64)
    matrix = torch.randn(48, 5, generator=draws, dtype=torch.float64)
    embeddings = torch.randn(3, 5, generator=draws, dtype=torch.float64).requires_grad_()
    losses, rows = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64), torch.arange(3)
    term = build_batch_loss("diversion", weight=0.5, margin=margin, pixels=1)
    passed = PassedBatch(images + 1, images, rows, rows, embeddings, losses, lambda faces: faces.flatten(1) @ matrix)
    value = term(passed)
    centre = torch.zeros(5, dtype=torch.float64)
    for image in images:
        even = torch.stack([channel.mean().expand(4, 4) for channel in image])
        centre += F.normalize(even.flatten() @ matrix, dim=0) / 3
    pushed = sum(torch.relu(margin - (1 - F.cosine_similarity(one, centre, dim=0))) for one in embeddings) / 3
    torch.testing.assert_close(value, 3 + 0.5 * pushed)
    found, expected = (torch.autograd.grad(each, embeddings)[0] for each in (value, pushed))
    torch.testing.assert_close(found, 0.5 * expected)


def test_halves_are_completed_by_their_mirror_images() -> None:
    images = torch.arange(8.0).view(1, 1, 2, 4)
    left, right = mirrored_halves(images)
    assert left.tolist() == [[[[0, 1, 1, 0], [4, 5, 5, 4]]]]
    assert right.tolist() == [[[[3, 2, 2, 3], [7, 6, 6, 7]]]]


def test_symmetry_is_one_minus_the_cosine_of_the_halves() -> None:
    draws = torch.Generator().manual_seed(2)
    images = torch.rand(3, 3, 4, 4, generator=draws)
    matrix = torch.randn(48, 5, generator=draws)
    embeddings, rows = torch.ones(3, 5), torch.arange(3)
    losses = torch.tensor([1.0, 2.0, 6.0])

    def network(faces: Tensor) -> Tensor:
        return faces.flatten(1) @ matrix

    found = build_batch_loss("symmetry", weight=0.5)(
        PassedBatch(images, images, rows, rows, embeddings, losses, network)
    )
    disparities = []
    for image in images:
        left, right = image.clone(), image.clone()
        for column in (0, 1):
            left[:, :, 3 - column] = image[:, :, column]
            right[:, :, column] = image[:, :, 3 - column]
        one, other = network(left.unsqueeze(0)), network(right.unsqueeze(0))
        disparities.append(1 - float(F.cosine_similarity(one, other)))
    assert float(found) == pytest.approx(3 + 0.5 * sum(disparities) / 3, rel=1e-5)
