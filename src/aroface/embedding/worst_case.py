"""The alignment error of a given size that hurts a pair most, as far as one gradient step can tell.

For each pair the adversary of :mod:`aroface.adversary.alignment` ascends what makes the pair be called wrongly: minus
the cosine similarity of its two images where they show one person, the similarity where they show two. It starts at
perfect alignment and takes one step in the gradient's signs, as long in scale, angle and shift as the joint error of
the same level: only the direction differs from that of a random error, so the two can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aroface.adversary.alignment import AlignmentAdversary
from aroface.datasets.formats.pairs import read_pairs
from aroface.device import exact_float32
from aroface.embedding.alignment_sweep import choose_pairs
from aroface.embedding.embedder import Embedder
from aroface.embedding.feature_store import Rows, StoredFeatures, open_features, write_index, write_rows
from aroface.embedding.image_source import Images
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import order_of
from aroface.errors import InputError
from aroface.faces.augment import AREA, CUBIC, weights
from aroface.faces.degrade import downsample
from aroface.files import digest
from aroface.progress import track
from aroface.results import INDEX

FACTOR = "worst"
SEMANTICS = 1
"""Raised when the same features and levels come to give other worst cases."""


@dataclass(frozen=True, slots=True)
class WorstCases:
    """Worst cases to embed.

    Attributes:
        resolution: Side in pixels that the second images are reduced to; None for full quality.
        levels: Multiples of the sweep's joint maximum.
    """

    resolution: int | None
    levels: Sequence[float]


def misalign(
    embedder: Embedder,
    images: Images,
    partners: Rows,
    same: NDArray[np.bool_],
    level: float,
    joint_maximum: Mapping[str, float],
    resolution: int | None = None,
) -> Images:
    """Warp each image by the worst alignment error, as in the module's description.

    Args:
        embedder: Embedder whose network is a torch module.
        images: Aligned faces, uint8 (N, size, size, 3), RGB.
        partners: Embeddings (N, dimension) of the images that they are compared with.
        same: (N,) labels, true where a pair shows one person.
        level: Multiple of the joint maximum.
        joint_maximum: ``scale``, ``degrees`` and ``shift`` (length, as a fraction of the width) at level 1.
        resolution: Side in pixels that images are reduced to after they were warped; None for no reduction.

    Returns:
        uint8 (N, size, size, 3).

    Raises:
        InputError: The network has no gradients.
    """
    network = embedder.network
    if not isinstance(network, nn.Module):
        raise InputError("the worst case needs gradients", expected="a checkpoint or a run, not an ONNX model")
    towards = torch.from_numpy(np.where(same, -1.0, 1.0)).float().to(embedder.device)
    anchors = nn.functional.normalize(torch.from_numpy(np.array(partners, np.float32)).to(embedder.device))

    def error(warped: Tensor, rows: Tensor) -> Tensor:
        if resolution is not None:
            warped = _reduce(warped, resolution)
        features = nn.functional.normalize(network(embedder.prepare(warped)).float())
        return ((features * anchors[rows]).sum(1) * towards[rows]).sum()

    adversary = AlignmentAdversary(
        "clean",
        black=0.0,
        warped_ratio=1.0,
        steps=1,
        step_mean=1.0,
        step_sd=0.0,
        step_scale=level * joint_maximum["scale"],
        step_theta=math.radians(level * joint_maximum["degrees"]),
        step_shift=level * joint_maximum["shift"] * math.sqrt(2),  # halves of the image, along each axis
        start_sd_scale=0.0,
        start_sd_theta=0.0,
        start_sd_shift=0.0,
    )
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(embedder.device).permute(0, 3, 1, 2).float()
    numbers = torch.arange(len(images), device=embedder.device)
    with exact_float32():
        mixed = adversary.augment(batch, numbers, error, network, torch.Generator().manual_seed(0))
    assert mixed.warped is not None, "all images are warped"
    pixels = mixed.warped.images.detach().round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    ordered = np.empty_like(pixels)
    ordered[mixed.warped.rows.cpu().numpy()] = pixels
    return ordered if resolution is None else downsample(ordered, resolution)


def _reduce(images: Tensor, resolution: int) -> Tensor:
    """Reduce images as `downsample` does, differentiably and without rounding to bytes."""
    size = images.shape[-1]
    for kind, before, after in ((AREA, size, resolution), (CUBIC, resolution, size)):
        matrix = torch.from_numpy(weights(kind, before, after)).to(images)
        images = (matrix @ images @ matrix.T).clamp(0, 255)
    return images


def embed_worst_case(
    embedder: Embedder,
    clean: StoredFeatures,
    path: Path,
    out: Path,
    cases: WorstCases,
    *,
    batch_size: int,
    description: str,
) -> StoredFeatures:
    """Embed the worst case of each level, beside features of the sweep.

    Args:
        embedder: Embedder that made ``clean``.
        clean: Features of a ``sensitivity`` sweep, of which the first block holds the first images of the pairs.
        path: Path of the sweep's pair file.
        out: Folder of the features; a complete one is left alone, an interrupted one is resumed.
        cases: Resolution and levels.
        batch_size: Number of images in one pass.
        description: Text of the progress bar.

    Returns:
        Features: the first images again, then one block of second images for each level.

    Raises:
        InputError: The network has no gradients.
    """
    resolution, levels = cases.resolution, cases.levels
    options = clean.index["protocol"]["options"]
    maximum, fusion, flip = options["joint_maximum"], options["fusion"], options["flip"]
    decisive = {"of": clean.index["key"], "levels": [*levels], "resolution": resolution, "semantics": SEMANTICS}
    key = digest(decisive)
    if (out / INDEX).exists() and open_features(out).index["key"] == key:
        return open_features(out)
    same = clean.arrays["same"]
    pairs, count = read_pairs(path), len(same)
    chosen = choose_pairs(pairs.same, options["max_pairs"])

    def block(level: float | None, rows: slice) -> Rows:
        partners = np.array(clean.values[rows])
        if level is None:
            return partners
        images = decode_numbers(pairs, path, 2 * chosen[rows] + 1, embedder.size)
        after = resolution if order_of(options) == "camera" else None
        if resolution is not None and after is None:
            images = downsample(images, resolution)
        warped = misalign(embedder, images, partners, same[rows], level, maximum, after)
        return embedder.embed(warped, flip=flip, fusion=fusion, batch_size=batch_size)

    def batches(start: int) -> Iterator[Rows]:
        for level, rows in track(list(_segments([None, *levels], count, start, batch_size)), description):
            yield block(level, rows)

    shape = (count * (1 + len(levels)), embedder.dimension)
    write_rows(out, key, shape, batches, shard_rows=8 * batch_size)
    written = {"key": key, "rows": shape[0], "dimension": shape[1], "protocol": clean.index["protocol"]}
    write_index(out, written, {"same": same})
    return open_features(out)


def _segments(
    levels: Sequence[float | None], count: int, start: int, batch: int
) -> Iterator[tuple[float | None, slice]]:
    """Batches from row ``start`` on: each lies within the ``count`` rows of one level."""
    for number, level in enumerate(levels):
        for low in range(max(0, start - number * count), count, batch):
            yield level, slice(low, min(low + batch, count))
