"""Small ONNX models and pair files, for the tests of models that are not runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aroface.datasets.images import encode_jpeg
from aroface.datasets.pairs import Pairs, write_pairs

SIDE = 112


def write_onnx(
    path: Path,
    *,
    batch: int | str = "N",
    size: int | str = SIDE,
    channels: int = 3,
    rank: int = 4,
    log: bool = False,
    external: bool = False,
    reshape_to: int | None = None,
) -> Path:
    """A model that gives twice the mean colour of each quarter of the image, and before it a 4-D output."""
    side = size if isinstance(size, int) else SIDE
    shape = [batch, channels, size, size][:rank]
    weights = numpy_helper.from_array(np.eye(4 * channels, dtype=np.float32) * 2, "weights")
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[side // 2] * 2, strides=[side // 2] * 2),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Log" if log else "Identity", ["product"], ["embeddings"]),
    ]
    initializers = [weights]
    if reshape_to:  # as some exporters freeze the batch inside, whatever they say of the input
        nodes.insert(2, helper.make_node("Reshape", ["flat", "frozen"], ["reshaped"]))
        nodes[3] = helper.make_node("MatMul", ["reshaped", "weights"], ["product"])
        initializers.append(numpy_helper.from_array(np.array([reshape_to, 4 * channels]), "frozen"))
    graph = helper.make_graph(
        nodes,
        "quarters",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, None),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location=f"{path.stem}.data",
        size_threshold=0,
        all_tensors_to_one_file=True,
    )
    return path


def quarters(pixels: np.ndarray, mean: float = 127.5, std: float = 127.5) -> np.ndarray:
    """What such a model gives for images (N, size, size, 3)."""
    half = pixels.shape[1] // 2
    values = (pixels.astype(np.float64) - mean) / std
    parts = values.reshape(len(pixels), 2, half, 2, half, 3).mean(axis=(2, 4))
    return 2 * parts.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def face_pairs(path: Path, pairs: int = 24, seed: int = 0) -> Path:
    """A file of pairs of smooth random pictures; every second pair shows one of them twice, with noise."""
    rng = np.random.default_rng(seed)

    def picture() -> np.ndarray:
        return cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    images, same = [], np.arange(pairs) % 2 == 0
    for genuine in same:
        first = picture()
        second = first if genuine else picture()
        noisy = np.clip(second + rng.normal(0, 12, second.shape), 0, 255).astype(np.uint8)
        images += [encode_jpeg(first, 95), encode_jpeg(noisy, 95)]
    write_pairs(path, Pairs(images, same))
    return path
