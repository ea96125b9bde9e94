"""Small ONNX models and pair files, for the tests of models that are not runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.images import encode_jpeg

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
    mix: str | None = None,
    scale: float = 2.0,
    shift: float = 0.0,
    length: int | None = None,
    width: int | str | None = None,
    others: Sequence[tuple[str, int]] = (),
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """A model that gives twice the mean colour of each quarter of the image, and before it a 4-D output.

    Args:
        path: of the file.
        batch: number of images that the input declares.
        size: side that it declares, or height.
        channels: that it declares.
        rank: number of dimensions that it declares.
        log: whether the logarithm is taken, which is of negative numbers.
        external: whether the weights lie beside the file.
        reshape_to: number of images that the network is frozen to inside.
        mix: what makes an embedding depend on the other images: their ``mean``, a ``transposed`` reshape, or the sum of
            those from the fourth on (``late``).
        scale: of the embeddings.
        shift: added to them.
        length: of the embeddings, cut short.
        width: that the input declares, if not the size.
        others: name and length of further outputs, before the embeddings.
        metadata: of the model.
    """
    side = size if isinstance(size, int) else SIDE
    shape = [batch, channels, size, width or size][:rank]
    length = length or 4 * channels
    weights = numpy_helper.from_array(np.eye(4 * channels, dtype=np.float32)[:, :length] * scale, "weights")
    cell = [side // 2, width // 2 if isinstance(width, int) else side // 2]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=cell, strides=cell),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["product"]),
        *_mixing(mix, length),
        helper.make_node("Log" if log else "Identity", ["product" if mix is None else "mixed"], ["embeddings"]),
    ]
    initializers = [weights, numpy_helper.from_array(np.float32(shift), "shift")]
    initializers += [numpy_helper.from_array(np.array([-1, length]), "shape")]
    for name, number in (("zero", 0), ("three", 3), ("end", 1 << 40)):
        initializers.append(numpy_helper.from_array(np.array([number]), name))
    for name, columns in others:
        initializers.append(numpy_helper.from_array(np.ones((4 * channels, columns), np.float32), f"w_{name}"))
        nodes.append(helper.make_node("MatMul", ["flat", f"w_{name}"], [name]))
    if reshape_to:  # as some exporters freeze the batch inside, whatever they say of the input
        nodes.insert(2, helper.make_node("Reshape", ["flat", "frozen"], ["reshaped"]))
        nodes[3] = helper.make_node("MatMul", ["reshaped", "weights"], ["scaled"])
        initializers.append(numpy_helper.from_array(np.array([reshape_to, 4 * channels]), "frozen"))
    graph = helper.make_graph(
        nodes,
        "quarters",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name, _ in others),
            helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, None),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata))
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location=f"{path.stem}.data",
        size_threshold=0,
        all_tensors_to_one_file=True,
    )
    return path


def _mixing(mix: str | None, length: int) -> list[onnx.NodeProto]:
    if mix == "mean":
        mean = helper.make_node("ReduceMean", ["product"], ["mean"], axes=[0], keepdims=1)
        return [mean, helper.make_node("Add", ["product", "mean"], ["mixed"])]
    if mix == "late":  # a sum over an empty part is zero
        late = helper.make_node("Slice", ["product", "three", "end", "zero"], ["fourth"])
        total = helper.make_node("ReduceSum", ["fourth", "zero"], ["total"], keepdims=1)
        return [late, total, helper.make_node("Add", ["product", "total"], ["mixed"])]
    if mix == "transposed":
        turned = helper.make_node("Transpose", ["product"], ["turned"], perm=[1, 0])
        return [turned, helper.make_node("Reshape", ["turned", "shape"], ["mixed"])]
    return []


def endless(path: Path) -> Path:
    """A model with a loop that never ends."""
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["values"], ["same"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            flag,
            helper.make_tensor_value_info("values", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Loop", ["", "true", "flat"], ["embeddings"], body=body),
    ]
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(True), "true")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
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
