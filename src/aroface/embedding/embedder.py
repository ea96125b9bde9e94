"""A network as a function from face images to embeddings; finished runs as such."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aroface.device import choose_device, exact_float32
from aroface.embedding.feature_store import Rows
from aroface.embedding.image_source import Images
from aroface.embedding.onnx_network import Declared, OpenProgram, open_program
from aroface.models.run_folder import load_backbone, program_of, read_checkpoint

Fusion = Literal["sum", "unit_sum"]
Network = Callable[[Tensor], Tensor]
"""From normalised images, float (N, 3, size, size), to embeddings (N, dimension); a module, or another's program."""

BATCH_SIZE = 128
CPU_BATCH_SIZE = 16
"""Images in one forward pass on a CPU, where more only take memory."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """A network, and what its input looks like.

    Attributes:
        network: Network, see :data:`Network`; a module is in evaluation mode.
        device: Device of its input.
        size: Side of the square input images in pixels.
        color: Order of the channels that the network was trained on.
        mean: Value subtracted from pixel values in 0..255.
        std: Divisor of the differences.
        dimension: Number of features of a face.
    """

    network: Network
    device: torch.device
    size: int
    color: Literal["RGB", "BGR"]
    mean: float
    std: float
    dimension: int

    def embed(self, images: Images, *, flip: bool = True, fusion: Fusion = "sum", batch_size: int = BATCH_SIZE) -> Rows:
        """Embed aligned faces in float32, without normalising: the norm of a feature carries its quality.

        Args:
            images: Aligned faces, uint8 (N, size, size, 3), RGB.
            flip: True if the embedding of the mirrored image is added.
            fusion: Way in which it is added: as the two come (``sum``), or each scaled to unit length first
                (``unit_sum``).
            batch_size: Number of images in one forward pass; flips come on top.

        Returns:
            (N, dimension).
        """
        rows = np.empty((len(images), self.dimension), dtype=np.float32)
        with torch.inference_mode(), exact_float32():
            for start in range(0, len(images), batch_size):
                part = slice(start, start + batch_size)
                rows[part] = self._embed_batch(images[part], flip, fusion).cpu().numpy()
        return rows

    def _embed_batch(self, images: Images, flip: bool, fusion: Fusion) -> Tensor:
        batch = self.prepare(torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2))
        if not flip:
            return self._forward(batch, fusion)
        return self._forward(batch, fusion) + self._forward(batch.flip(3), fusion)

    @property
    def batch_size(self) -> int:
        """Number of images in one forward pass that fits what computes."""
        on_cpu = self.device.type == "cpu" and not getattr(self.network, "on_gpu", False)
        return CPU_BATCH_SIZE if on_cpu else BATCH_SIZE

    @property
    def at_once(self) -> int | None:
        """Number of images that the network takes in one forward pass, None for any number."""
        number: int | None = getattr(self.network, "at_once", None)
        return number

    def prepare(self, images: Tensor) -> Tensor:
        """Input of the network for RGB images (N, 3, size, size) with values in 0..255, differentiably."""
        if self.color == "BGR":
            images = images.flip(1)
        # On CPUs convolutions are 1.3 to 2 times as fast with the channels last, which is how the pixels come.
        channels_last = self.device.type == "cpu" and isinstance(self.network, nn.Module)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        # A divisor on the device: by a number CUDA would multiply with its reciprocal, which is not always the same.
        std = torch.full((), self.std, device=images.device)
        return images.float().sub(self.mean).div_(std).contiguous(memory_format=layout)

    def _forward(self, batch: Tensor, fusion: Fusion) -> Tensor:
        features: Tensor = self.network(batch).float()
        return features if fusion == "sum" else nn.functional.normalize(features)


def seconds_an_image(embedder: Embedder, *, flip: bool, batch_size: int | None = None) -> float:
    """Time of an image in the second of two batches of noise; the first one prepares.

    Args:
        embedder: Network.
        flip: True if the embedding of the mirrored image is added.
        batch_size: Number of images in one forward pass; by default what fits the device.
    """
    count, side = batch_size or embedder.batch_size, embedder.size
    noise = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    begin = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        embedder.embed(noise, flip=flip, batch_size=count)
    return (time.perf_counter() - begin) / count


def load_embedder(run_dir: str | PathLike[str], device: str | None = None) -> Embedder:
    """Load the backbone of a finished run.

    Args:
        run_dir: Folder with ``checkpoint.json`` and the weights, or ONNX program, it names.
        device: Device of torch or onnxruntime; by default the GPU if there is one.

    Raises:
        InputError: The run is not finished, its weights are not those that the checkpoint names or fit another
            architecture, or there is no such device.
    """
    described = read_checkpoint(run_dir)
    if "program" in described:
        return _load_program(program_of(run_dir, described), described, device)
    network, checkpoint = load_backbone(run_dir)
    form, chosen_device = checkpoint["input"], choose_device(device)
    network.requires_grad_(False).to(chosen_device)
    dimension = checkpoint["embedding_size"]
    return Embedder(network, chosen_device, form["size"], form["color"], form["mean"], form["std"], dimension)


def _load_program(path: Path, checkpoint: Mapping[str, Any], device: str | None) -> Embedder:
    form = checkpoint["input"]
    crop = tuple(form["crop"]) if "crop" in form else None
    output = checkpoint["program"]["output"]
    declared = Declared(form["color"], form["mean"], form["std"], form["size"], output, crop)
    return embedder_of(open_program(path, declared, device))


def embedder_of(opened: OpenProgram) -> Embedder:
    """Embedder of an ONNX model; onnxruntime copies the input from the CPU by itself."""
    form, cpu = opened.form, torch.device("cpu")
    return Embedder(opened.network, cpu, form["size"], form["color"], form["mean"], form["std"], opened.dimension)
