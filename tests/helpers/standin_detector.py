"""Detectors that know what they have to find: one sees coloured dots, and an SCRFD network answers with constants."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aroface.faces.detection.detector import DetectedFace
from aroface.faces.geometry import TEMPLATE, transform

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]], np.uint8)
"""Of left eye, right eye, nose, left and right mouth corner."""


class DotDetector:
    """Finds the groups of dots; the n-th blob of each colour from the left belongs to the n-th face from the left."""

    name = "dots"

    def __init__(self, sha256: str = "0" * 64) -> None:
        self.facts = {"name": self.name, "sha256": sha256, "threshold": 0.5}
        self.seen: list[np.ndarray] = []

    def detect(self, images):
        self.seen += images
        return [self._faces(image) for image in images]

    def _faces(self, image):
        blobs = [_blobs(image, colour) for colour in COLOURS]
        faces = []
        for points in zip(*blobs, strict=False):
            points = np.stack(points).astype(np.float32)
            middle, reach = points.mean(axis=0), np.ptp(points, axis=0).max()
            faces.append(DetectedFace(np.concatenate([middle - reach, middle + reach]).astype(np.float32), points, 0.9))
        return faces


def _blobs(image, colour):
    """Centres of the blobs of a colour, from left to right."""
    # Enlarging mixes colours at the edges; the inside stays near the pure one.
    mask = (np.abs(image.astype(int) - colour).max(axis=2) < 100).astype(np.uint8)
    count, _, stats, centres = cv2.connectedComponentsWithStats(mask)
    found = [centres[i] for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= 4]
    return sorted(found, key=lambda centre: centre[0])


def dotted(height, width, *faces, radius=3):
    """A grey image with faces drawn as dots, and their landmarks.

    Args:
        height: in pixels.
        width: in pixels.
        faces: matrices (2, 3) that take the template to where the face is.
        radius: of a dot in pixels.
    """
    image = np.full((height, width, 3), 90, np.uint8)
    landmarks = [transform(np.asarray(face, float), TEMPLATE) for face in faces]
    rows, columns = np.mgrid[:height, :width]
    for points in landmarks:
        for (x, y), colour in zip(points, COLOURS, strict=True):
            image[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = colour
    return image, landmarks


def place(scale, degrees=0.0, x=0.0, y=0.0):
    """A similarity (2, 3) by which a face lies in an image."""
    a, b = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[a, -b, x], [b, a, y]])


def scrfd_file(path: Path, faces, *, side=64, anchors=2, batched=True, values=(1, 4, 10), strides=(8, 16, 32)):
    """An ONNX file with SCRFD's outputs at one input size.

    Args:
        path: of the file.
        faces: (stride, row, column, anchor, score, box distances, ten point offsets), all in strides.
        side: of the input.
        anchors: per cell.
        batched: whether outputs have an axis for images, as newer exports have.
        values: numbers of values of the three kinds; without 10 there are no landmarks.
        strides: of the outputs.
    """
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, side, side])
    outputs, constants = [], [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["rows"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["rows"], ["means"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["means"], ["lifted"], axes=[2]),
        helper.make_node("Mul", ["lifted", "zero"], ["nothing"]),
    ]
    for kind in values:
        for stride in strides:
            cells = side // stride
            data = np.zeros((cells, cells, anchors, kind), np.float32)
            for at, row, column, anchor, score, box, points in faces:
                if at == stride:
                    data[row, column, anchor] = {1: [score], 4: box, 10: points}[kind]
            shape = [1, cells * cells * anchors, kind] if batched else [cells * cells * anchors, kind]
            name = f"out_{kind}_{stride}"
            constants.append(numpy_helper.from_array(data.reshape(shape), f"c_{name}"))
            inputs = [f"c_{name}", "nothing"] if batched else [f"c_{name}"]
            nodes.append(helper.make_node("Add" if batched else "Identity", inputs, [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "scrfd", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path


def seeing_file(path: Path, layout: str, batch: int | str = 1, *, side=64, external=False):
    """An SCRFD network that finds a face in each bright cell of 16 pixels; its box shows how bright the cell is.

    Args:
        path: of the file.
        layout: of its outputs: ``interleaved`` as InsightFace exports for one image, ``hidden`` as that with an axis of
            one in front, ``separate`` with an axis for images, ``mixed`` as that but with a mean over the batch,
            ``late`` as that but with a sum over its images from the fourth on.
        batch: number of images that the input declares.
        side: in pixels, that it declares.
        external: whether its weights lie beside it.
    """
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(helper.make_node("AveragePool", ["input.1"], [f"pool{stride}"], **pool))
        for kind in (1, 4, 10):
            name = f"{kind}_{stride}"
            rng = np.random.default_rng(kind)
            weight = rng.uniform(0.2, 0.6, (2 * kind, 3, 1, 1)) if kind > 1 else np.full((2, 3, 1, 1), 1 / 3)
            bias = np.full(2 * kind, 1.0) if kind > 1 else np.full(2, 0.5 if stride == 16 else -9.0)
            constants += [numpy_helper.from_array(weight.astype(np.float32), f"w{name}")]
            constants += [numpy_helper.from_array(bias.astype(np.float32), f"b{name}")]
            nodes.append(helper.make_node("Conv", [f"pool{stride}", f"w{name}", f"b{name}"], [f"c{name}"]))
            last = f"c{name}"
            if layout == "mixed":
                mean = helper.make_node("ReduceMean", [last], [f"m{name}"], axes=[0], keepdims=1)
                nodes += [mean, helper.make_node("Add", [last, f"m{name}"], [f"s{name}"])]
                last = f"s{name}"
            if layout == "late":  # a sum over an empty part is zero
                late = helper.make_node("Slice", [last, "fourth", "end", "zero"], [f"l{name}"])
                total = helper.make_node("ReduceSum", [f"l{name}"], [f"m{name}"], axes=[0], keepdims=1)
                nodes += [late, total, helper.make_node("Add", [last, f"m{name}"], [f"s{name}"])]
                last = f"s{name}"
            order = [2, 3, 0, 1] if layout in ("interleaved", "hidden") else [0, 2, 3, 1]
            shape = {"interleaved": [-1, kind], "hidden": [1, -1, kind]}.get(layout, [0, -1, kind])
            constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"r{name}"))
            nodes.append(helper.make_node("Transpose", [last], [f"t{name}"], perm=order))
            nodes.append(helper.make_node("Reshape", [f"t{name}", f"r{name}"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    for name, number in (("zero", 0), ("fourth", 3), ("end", 1 << 40)):
        constants.append(numpy_helper.from_array(np.array([number]), name))
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [batch, 3, side, side])
    model = helper.make_model(
        helper.make_graph(nodes, "seeing", [image], outputs, constants),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=8,
    )
    onnx.save(model, path, save_as_external_data=external, location=f"{path.stem}.data", size_threshold=0)
    return path


POINTS = np.array([[-1, -1], [1, -1], [0, 0], [-0.5, 1], [0.5, 1]], np.float32)
ONE = (16, 1, 2, 1, 0.8, [1, 1.5, 1, 2], POINTS.ravel())
