"""SCRFD by onnxruntime: any export of the family that has landmarks.

Source: Guo et al., ICLR 2022; for the meaning of inputs and outputs insightface ``model_zoo/scrfd.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError
from aroface.faces.detection.detector import Face, Fact, Image, overlap
from aroface.files import sha256_file

THRESHOLD = 0.5
OVERLAP = 0.4
"""Of two boxes whose intersection over union is larger, the one with the lower score goes."""

_BATCH = 16
_STRIDES = (8, 16, 32)
_COARSEST = _STRIDES[-1]
_VALUES = (1, 4, 10)  # a score, a box, five points
_EXPECTED = "an ONNX file of the SCRFD family with landmarks, such as scrfd_2.5g_bnkps or det_10g"

Floats = npt.NDArray[np.float32]


class Scrfd:
    """A network of the SCRFD family.

    Args:
        path: of the ONNX file.
        name: of the detector; the file's stem where it is left out.
        threshold: lowest score of a face, 0 … 1.
        threads: of CPU arithmetic; onnxruntime's own choice where it is left out.

    Raises:
        InputError: no such file, or another network; onnx or onnxruntime is not installed.
    """

    def __init__(
        self, path: Path, name: str | None = None, *, threshold: float = THRESHOLD, threads: int | None = None
    ) -> None:
        try:
            import onnx  # noqa: F401 - to say at once that it is missing
            import onnxruntime
        except ImportError as error:
            raise InputError(f"no package {error.name}", remedy="pip install onnx onnxruntime") from None
        if not path.is_file():
            raise InputError("no such file", file=path, expected=_EXPECTED)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [each for each in wanted if each in onnxruntime.get_available_providers()]
        program, self._side = _of_any_size(path)
        try:
            self._session = onnxruntime.InferenceSession(program, options, providers=providers)
        except Exception as error:  # onnxruntime's errors have no common class of their own
            raise InputError(f"onnxruntime cannot load it ({error})", file=path, expected=_EXPECTED) from None
        self._path, self._threshold = path, threshold
        self.name = name or path.stem
        self.facts: Mapping[str, Fact] = {
            "name": self.name,
            "file": path.name,
            "sha256": sha256_file(path),
            "threshold": threshold,
            "overlap": OVERLAP,
            "onnxruntime": onnxruntime.__version__,
            "provider": self._session.get_providers()[0],
        }

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """The faces in each image, best first; images of one size are seen in batches. See `Detector`."""
        groups: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault(self._canvas(image), []).append(number)
        found: list[list[Face]] = [[] for _ in images]
        for canvas, numbers in groups.items():
            size = 1 if self._side else _BATCH
            for begin in range(0, len(numbers), size):
                batch = numbers[begin : begin + size]
                for number, faces in zip(batch, self._run([images[i] for i in batch], canvas), strict=True):
                    found[number] = faces
        return found

    def _canvas(self, image: Image) -> tuple[int, int]:
        """Height and width of what the network sees: the image, and black to the right and below."""
        height, width = (-(-side // _COARSEST) * _COARSEST for side in image.shape[:2])
        if self._side is None:
            return height, width
        if max(height, width) > self._side:
            what = f"the network takes {self._side}×{self._side} pixels, an image has {width}×{height}"
            raise InputError(what, file=self._path, remedy="take an export for any size")
        return self._side, self._side

    def _run(self, images: Sequence[Image], canvas: tuple[int, int]) -> list[list[Face]]:
        pixels = np.zeros((len(images), *canvas, 3), np.uint8)
        for place, image in zip(pixels, images, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        values = (pixels.astype(np.float32) - 127.5) / 128
        batch = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        scores, boxes, points = _decode(outputs, len(images), canvas, self._path)
        return [self._faces(*each) for each in zip(scores, boxes, points, strict=True)]

    def _faces(self, scores: Floats, boxes: Floats, points: Floats) -> list[Face]:
        likely = np.flatnonzero((scores >= self._threshold) & np.isfinite(points).all(axis=(1, 2)))
        likely = likely[np.argsort(-scores[likely], kind="stable")]
        kept = likely[_separate(boxes[likely])]
        return [Face(boxes[i], points[i], float(scores[i])) for i in kept]


def _decode(
    outputs: Sequence[npt.NDArray[Any]], count: int, canvas: tuple[int, int], path: Path
) -> tuple[Floats, Floats, Floats]:
    """Scores (N, A), boxes (N, A, 4) and points (N, A, 5, 2) in pixels of all anchors.

    The network gives three kinds of values at three strides; which output is which shows in the numbers of its values,
    whatever the export has named it. Distances are in strides from the corner of the anchor's cell.
    """
    parts: list[tuple[Floats, Floats, Floats]] = []
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
        parts.append((score[..., 0], corners, centres[:, None] + offsets))
    scores, boxes, landmarks = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    return scores, boxes, landmarks


def _separate(boxes: Floats) -> list[int]:
    """Indices of the boxes (N, 4), best first, that overlap no better one too much."""
    kept: list[int] = []
    for number in range(len(boxes)):
        if not kept or overlap(boxes[number], boxes[kept]).max() <= OVERLAP:
            kept.append(number)
    return kept


def _of_any_size(path: Path) -> tuple[bytes, int | None]:
    """The program for any number of images of any size, and None; or as it is, and the only side that it takes.

    An export for one size differs from a free one in the declared shapes, and in that its neck resizes to a constant
    size what it could as well double.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path)
        (image,) = model.graph.input
        declared = [axis.dim_value for axis in image.type.tensor_type.shape.dim]
    except (DecodeError, ValueError) as error:
        raise InputError(f"no ONNX file of one input ({error})", file=path, expected=_EXPECTED) from None
    if len(declared) != 4:
        raise InputError(f"its input has {len(declared)} dimensions", file=path, expected=_EXPECTED)
    side = declared[2]
    if side and not _double(model.graph, side):
        return path.read_bytes(), side
    for name, axis in zip(("images", "", "height", "width"), image.type.tensor_type.shape.dim, strict=True):
        if name:
            axis.Clear()
            axis.dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model.SerializeToString(), None


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
