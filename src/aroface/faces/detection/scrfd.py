"""SCRFD by onnxruntime: any export of the family that has landmarks.

Source: Guo et al., ICLR 2022; for the meaning of inputs and outputs insightface ``model_zoo/scrfd.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError, remark
from aroface.faces.detection.detector import DetectedFace, Fact, Image, overlap
from aroface.files import sha256_file
from aroface.onnx_program import (
    TIME_LIMIT,
    Program,
    TimeLimitError,
    agree,
    read_graph,
    reason,
    sample_of,
    trial_images,
    weight_files,
)

THRESHOLD = 0.5
OVERLAP = 0.4
"""Of two boxes whose intersection over union is larger, the one with the lower score goes."""

_BATCH = 16
_ALONE = 3  # images of the trial batch that a network is given alone as well
_TRIAL_SIDE = 64
_LARGEST_TRIAL_SIDE = 192
_ROUNDING = 1e-2  # of half precision, of the largest value
_STRIDES = (8, 16, 32)
_COARSEST = _STRIDES[-1]
_VALUES = (1, 4, 10)  # a score, a box, five points
_EXPECTED = "an ONNX file of the SCRFD family with landmarks, such as scrfd_2.5g_bnkps or det_10g"
_OUTPUTS = "outputs of scores, boxes and five landmarks (1, 4 and 10 values) at strides 8, 16 and 32, as SCRFD has them"
_REMEDY = "name a detector of the registry, such as scrfd_2.5g, or another export with landmarks, such as det_10g.onnx"

Floats = npt.NDArray[np.float32]
Anchors = tuple[Floats, Floats, Floats]
"""Scores (N, A), boxes (N, A, 4) and points (N, A, 5, 2) of all anchors."""


class Scrfd:
    """A network of the SCRFD family.

    Exports for one image have outputs of two dimensions, in which the anchors of several images would be interleaved:
    they get one image at a time. Any other is tried on different images, and gets one at a time as well where they
    change each other's faces.

    Args:
        path: Path of the ONNX file.
        name: Name of the detector; by default the file's stem.
        threshold: Lowest score of a face, 0 … 1.
        threads: Number of threads of CPU arithmetic; onnxruntime's own choice by default.
        time_limit: Longest time in seconds that one batch may take.
        device: Device of onnxruntime; by default the GPU where it can use one.

    Raises:
        InputError: No such file, or another network, or no such device.
    """

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        *,
        threshold: float = THRESHOLD,
        threads: int | None = None,
        time_limit: float = TIME_LIMIT,
        device: str | None = None,
    ) -> None:
        import onnxruntime

        content, self._side, declared = _of_any_size(path)
        execution: dict[str, Any] = {"device": device, "threads": threads, "time_limit": time_limit}
        self._program = Program(path, content, expected=_EXPECTED, **execution)
        self._input = self._program.session.get_inputs()[0].name
        self._path, self._threshold = path, threshold
        self.name = name or path.stem
        self.facts: Mapping[str, Fact] = {
            "name": self.name,
            "file": path.name,
            "sha256": sha256_file(path),
            "threshold": threshold,
            "overlap": OVERLAP,
            "onnxruntime": onnxruntime.__version__,
            "provider": self._program.provider,
        }
        self._batch = self._largest_batch(declared or _TRIAL_SIDE)

    def _largest_batch(self, side: int) -> int:
        """Number of images that may be given at once: one if several are not found as each is alone."""
        free = self._side is None
        images = list(trial_images(_BATCH, min(side, _LARGEST_TRIAL_SIDE)) if free else trial_images(1, side))
        canvas = self._canvas(images[0])
        sample = sample_of(len(images), _ALONE)
        try:
            outputs = [self._outputs([images[number]], canvas) for number in sample]
            alone = [_decode(each, 1, canvas, self._path) for each in outputs]
        except TimeLimitError:
            raise
        except InputError as error:
            what = f"no face detector: it gives something else for an image of {canvas[1]}×{canvas[0]} pixels"
            raise InputError(what, file=self._path, expected=_OUTPUTS, remedy=_REMEDY) from error
        if not free:
            return 1
        if any(output.ndim == 2 for output in outputs[0]):
            why = "exported for one image"
        elif self._agrees(images, canvas, sample, alone):
            return _BATCH
        else:
            why = "an image's faces depend on the others of its batch"
        remark(f"{self._path}: {why}: one image at a time")
        return 1

    def _agrees(
        self, images: Sequence[Image], canvas: tuple[int, int], sample: Sequence[int], alone: Sequence[Anchors]
    ) -> bool:
        """Tell whether the outputs for images in one batch equal those for some of them alone."""
        try:
            together = _decode(self._outputs(images, canvas), len(images), canvas, self._path)
        except TimeLimitError:
            raise
        except InputError:
            return False
        return all(
            agree(values[sample], np.concatenate(single), _ROUNDING)
            for values, single in zip(together, zip(*alone, strict=True), strict=True)
        )

    def detect(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces in each image, best first; images of one size are seen in batches. See `Detector`."""
        groups: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault(self._canvas(image), []).append(number)
        detections: list[list[DetectedFace]] = [[] for _ in images]
        for canvas, numbers in groups.items():
            for begin in range(0, len(numbers), self._batch):
                batch = numbers[begin : begin + self._batch]
                for number, faces in zip(batch, self._run([images[i] for i in batch], canvas), strict=True):
                    detections[number] = faces
        return detections

    def _canvas(self, image: Image) -> tuple[int, int]:
        """Height and width of what the network sees: the image, and black to the right and below."""
        height, width = (-(-side // _COARSEST) * _COARSEST for side in image.shape[:2])
        if self._side is None:
            return height, width
        if max(height, width) > self._side:
            what = f"the network takes {self._side}×{self._side} pixels, an image has {width}×{height}"
            raise InputError(what, file=self._path, remedy="take an export for any size")
        return self._side, self._side

    def _run(self, images: Sequence[Image], canvas: tuple[int, int]) -> list[list[DetectedFace]]:
        scores, boxes, points = _decode(self._outputs(images, canvas), len(images), canvas, self._path)
        return [self._faces(*each) for each in zip(scores, boxes, points, strict=True)]

    def _outputs(self, images: Sequence[Image], canvas: tuple[int, int]) -> list[npt.NDArray[Any]]:
        pixels = np.zeros((len(images), *canvas, 3), np.uint8)
        for target, image in zip(pixels, images, strict=True):
            target[: image.shape[0], : image.shape[1]] = image
        values = (pixels.astype(np.float32) - 127.5) / 128
        batch = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        return self._program.run(None, {self._input: batch})

    def _faces(self, scores: Floats, boxes: Floats, points: Floats) -> list[DetectedFace]:
        likely = np.flatnonzero((scores >= self._threshold) & np.isfinite(points).all(axis=(1, 2)))
        likely = likely[np.argsort(-scores[likely], kind="stable")]
        kept = likely[_separate(boxes[likely])]
        return [DetectedFace(boxes[i], points[i], float(scores[i])) for i in kept]


def _decode(outputs: Sequence[npt.NDArray[Any]], count: int, canvas: tuple[int, int], path: Path) -> Anchors:
    """Scores (N, A), boxes (N, A, 4) and points (N, A, 5, 2) in pixels of all anchors.

    The network gives three kinds of values at three strides; which output is which shows in the numbers of its values,
    whatever the export has named it. Distances are in strides from the corner of the anchor's cell.
    """
    levels: list[tuple[Floats, Floats, Floats]] = []
    for stride in _STRIDES:
        rows, columns = canvas[0] // stride, canvas[1] // stride
        here = []
        for width in _VALUES:
            # One anchor or two a cell; the coarser strides have a quarter of the cells.
            sizes = {count * rows * columns * anchors * width for anchors in (1, 2)}
            fitting = [each for each in outputs if each.shape[-1] == width and each.size in sizes]
            if len(fitting) != 1:
                what = f"{len(fitting)} outputs of {width} values at stride {stride}"
                raise InputError(what, file=path, expected=_EXPECTED)
            here.append(np.asarray(fitting[0], np.float32).reshape(count, -1, width))
        score, box, points = here
        cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        centres = (stride * np.repeat(cells, score.shape[1] // len(cells), axis=0)).astype(np.float32)
        corners = np.concatenate([centres - stride * box[..., :2], centres + stride * box[..., 2:]], axis=2)
        offsets = stride * points.reshape(count, -1, 5, 2)
        levels.append((score[..., 0], corners, centres[:, None] + offsets))
    scores, boxes, landmarks = (np.concatenate(each, axis=1) for each in zip(*levels, strict=True))
    return scores, boxes, landmarks


def _separate(boxes: Floats) -> list[int]:
    """Indices of the boxes (N, 4), best first, that overlap no better one too much."""
    kept: list[int] = []
    for number in range(len(boxes)):
        if not kept or overlap(boxes[number], boxes[kept]).max() <= OVERLAP:
            kept.append(number)
    return kept


def _of_any_size(path: Path) -> tuple[bytes | None, int | None, int | None]:
    """The program for any number of images of any size, None, and the side it declares; or None for the file as it is.

    An export for one size differs from a free one in the declared shapes, and in that its neck resizes to a constant
    size what it could as well double.

    Returns:
        The changed program, None where the file itself has to be run; the only side that it takes, None for any; the
        side that it declares, None for any.
    """
    import onnx
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    model = read_graph(path, _EXPECTED)
    if len(model.graph.input) != 1:
        raise InputError(f"{len(model.graph.input)} inputs", file=path, expected=_EXPECTED)
    (image,) = model.graph.input
    declared = [axis.dim_value for axis in image.type.tensor_type.shape.dim]
    if len(declared) != 4:
        raise InputError(f"its input has {len(declared)} dimensions", file=path, expected=_EXPECTED)
    side = declared[2] or None
    if weight_files(path, model):
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # onnx's errors have no base of their own
            raise InputError(f"its weights cannot be read ({reason(error)})", file=path, expected=_EXPECTED) from None
    if side and not _double(model.graph, side):
        return None, side, side
    for name, axis in zip(("images", "", "height", "width"), image.type.tensor_type.shape.dim, strict=True):
        if name:
            axis.Clear()
            axis.dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    try:
        return model.SerializeToString(), None, side
    except (EncodeError, ValueError) as error:  # protobuf's limit of 2 GB
        raise InputError(f"too large for a detector ({error})", file=path, expected=_EXPECTED) from None


def _double(graph: Any, side: int) -> bool:
    """Let the neck double instead of resizing to a constant size; False if something else is resized."""
    import onnx

    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    twice = "aroface_twice"
    resizes = [node for node in graph.node if node.op_type == "Resize" and len(node.input) == 4]
    for node in resizes:
        size = constants.get(node.input[3])
        if size is None or size.tolist()[2:] not in ([side // 16] * 2, [side // 8] * 2):
            return False
    for node in resizes:
        del node.input[3]
        node.input[2] = twice
    if resizes:
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), twice))
    return True
