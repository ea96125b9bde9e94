"""TopoFR (Dan et al., NeurIPS 2024): embeddings of a batch are to have the topology of its images.

Of the paper this has the alignment of topologies and the weight of a sample by its probability. It has neither the
paper's augmentation of images, nor the weight by a mixture model of the entropies over all classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.distributed.collectives import mean_over_ranks
from aroface.heads.batch_losses.base import BatchLoss, BatchLossOptions, PassedBatch

_SMALLEST_SQUARE = 1e-12
"""Bound of the gradient of a distance: images that come twice in a batch have none."""


@dataclass(frozen=True, slots=True)
class TopologyOptions(BatchLossOptions):
    """Options of TopoFR; the defaults are those of the authors' code.

    Attributes:
        distances: Distances of images and of embeddings. ``euclidean``, as released: of the images as a share of the
            largest that there can be, of the embeddings with their lengths, which the term shortens therefore.
            ``cosine``: one minus the cosine of both.
        hardness: Weight of a sample's loss. ``exact``: one minus the probability of its class, without gradient, as the
            paper has it, where the head's loss is a cross entropy. ``truncated``: 1, which is what the authors' code
            computes, since it stores the probability as an integer.
    """

    weight: float = 0.1
    distances: Literal["euclidean", "cosine"] = "euclidean"
    hardness: Literal["truncated", "exact"] = "truncated"


class Topology(BatchLoss):
    """Squared differences of the lengths of two minimum spanning trees, in ascending order, over the images.

    These lengths are the 0-dimensional persistence of the Vietoris-Rips complex. Each rank has the trees of its own
    images, clean ones on one side, the embeddings of what the network saw on the other; their mean is the term.
    """

    def __init__(self, options: TopologyOptions) -> None:
        super().__init__()
        self.options: TopologyOptions = options

    def forward(self, passed: PassedBatch) -> Tensor:
        """See :class:`BatchLoss`."""
        losses = passed.losses
        if self.options.hardness == "exact":
            losses = (1 - (-losses.detach()).exp()).clamp_min(0) * losses
        pixels, embeddings = passed.clean.flatten(1), passed.embeddings
        if self.options.distances == "euclidean":
            pixels = pixels / math.sqrt(4 * pixels.shape[1])
        with torch.no_grad():
            of_images = self._lengths(pixels)
        differences = self._lengths(embeddings) - of_images
        return losses.mean() + self.options.weight * mean_over_ranks(differences.square().sum() / len(embeddings))

    def _lengths(self, vectors: Tensor) -> Tensor:
        """Compute the ascending lengths (n - 1,) of the minimum spanning tree of vectors (n, d)."""
        if self.options.distances == "cosine":
            vectors = F.normalize(vectors)
        products = vectors @ vectors.T
        if self.options.distances == "cosine":
            distances = 1 - products
        else:
            squares = vectors.square().sum(1)
            squared = squares.unsqueeze(0) + squares.unsqueeze(1) - 2 * products
            distances = squared.clamp_min(_SMALLEST_SQUARE).sqrt()
        return distances.flatten()[spanning_tree(distances.detach())]


def spanning_tree(distances: Tensor) -> Tensor:
    """Find the minimum spanning tree of n points, by Borůvka's algorithm, without waiting for the device.

    Args:
        distances: Distances (n, n), symmetric; of equal ones the first comes first. n is 2 at least.

    Returns:
        Places int64 (n - 1,) of the edges in the flattened matrix, by ascending distance.
    """
    count = len(distances)
    points = torch.arange(count, device=distances.device)
    first, second = torch.triu_indices(count, count, 1, device=distances.device)
    edges = len(first)
    order = distances[first, second].argsort(stable=True)
    first, second = first[order], second[order]
    ranks = distances.new_full((count, count), edges, dtype=torch.int64)
    ranks[first, second] = ranks[second, first] = torch.arange(edges, device=distances.device)
    chosen = torch.zeros(edges + 1, dtype=torch.bool, device=distances.device)
    tree_of = points
    doublings = math.ceil(math.log2(count))
    for _ in range(doublings):  # each tree grows together with another one, so that their number halves
        leaving = torch.where(tree_of.unsqueeze(0) != tree_of.unsqueeze(1), ranks, edges).amin(1)
        shortest = torch.full_like(points, edges).scatter_reduce(0, tree_of, leaving, "amin")
        chosen.index_fill_(0, shortest, True)
        edge = shortest.clamp_max(edges - 1)
        one, other = tree_of[first[edge]], tree_of[second[edge]]
        neighbour = torch.where(shortest < edges, torch.where(one == points, other, one), points)
        # Two trees that chose one edge would follow each other for ever: the first of them stays.
        parent = torch.where((neighbour[neighbour] == points) & (points < neighbour), points, neighbour)
        for _ in range(doublings):
            parent = parent[parent]
        tree_of = parent[tree_of]
    chosen = chosen[:edges]
    # Not `nonzero`, which waits: n - 1 edges are chosen, and all others go to one more place.
    places = torch.where(chosen, chosen.cumsum(0) - 1, count - 1)
    found = torch.zeros(count, dtype=torch.int64, device=distances.device)
    return found.scatter(0, places, first * count + second)[: count - 1]
