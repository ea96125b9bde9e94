"""ONNX models in onnxruntime: opened with their weights, on the device asked for, and run within a time limit."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.errors import InputError, remark
from aroface.file_content import refuse_placeholder, unreadable
from aroface.files import sha256_file

SUFFIX = ".onnx"
UNKNOWN_ARCH = "onnx"
"""Architecture of a program that is none of those that can be built here."""

TIME_LIMIT = 300.0
"""Seconds after which one batch is ended, unless the user says otherwise: a loop in a model need not end."""

_PREPROCESSING = 8  # nodes at the beginning that may normalise pixels
_NO_ARITHMETIC = ("Constant", "Identity", "Cast")
_NOTICE = 10.0  # seconds after which the first batch is said to take long
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SILENT = 4  # onnxruntime would print what is raised as well
_SMALLEST_ROUNDING = 1e-6  # of single precision, as a share of the largest value
_WORDS = 300  # characters of its messages that are passed on
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : (?:Load model from .*? failed: ?)?")
_SOURCE = re.compile(r"/\S+\.(?:h|cc|cpp|cu|cuh):\d+ [^()]*\([^()]*\)(?: const)? ?")


class TimeLimitError(InputError):
    """A batch was ended because it took longer than allowed."""


class Program:
    """An ONNX model that can be run.

    Args:
        path: File of the model.
        content: Model to run in its place, such as one with other declared shapes; its weights are in it.
        device: ``cuda``, ``cpu``, or None and ``auto`` for the GPU where onnxruntime can use it.
        threads: Number of threads of CPU arithmetic; onnxruntime's own choice by default.
        time_limit: Seconds that one batch may take.
        expected: Expected content of the file, for error lines.

    Attributes:
        session: Session of onnxruntime.
        provider: Name of what computes, such as ``CPUExecutionProvider``.

    Raises:
        InputError: Onnxruntime cannot load the model, or cannot use the device.
    """

    def __init__(
        self,
        path: Path,
        content: bytes | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        time_limit: float = TIME_LIMIT,
        expected: str | None = None,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        options.intra_op_num_threads = threads or 0
        providers = _providers(onnxruntime.get_available_providers(), device, path)
        program = str(path) if content is None else content
        try:
            # Without fallback: onnxruntime would go on with the CPU after an error on the GPU.
            self.session = onnxruntime.InferenceSession(program, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise InputError(f"onnxruntime cannot load it ({reason(error)})", file=path, expected=expected) from None
        self.provider = self.session.get_providers()[0]
        if len(providers) > 1 and self.provider != _CUDA:
            _tell_of_cpu(path, required=device == "cuda")
        self._path, self._limit, self._first = path, time_limit, True

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute outputs by their names, all of them for None.

        Raises:
            TimeLimitError: The batch took longer than the limit.
            InputError: Onnxruntime fails.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        ended = threading.Event()

        def end() -> None:
            ended.set()
            options.terminate = True

        timers = [threading.Timer(self._limit, end)]
        if self._first and self._limit > _NOTICE:
            timers.append(threading.Timer(_NOTICE, self._tell_of_limit))
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            results: list[NDArray[Any]] = self.session.run(outputs, dict(feeds), options)
        except Exception as error:  # onnxruntime's errors have no base of their own
            if ended.is_set():
                what = f"a batch was not done after {self._limit:g} s"
                remedy = "the model may hold a loop without end; if it is only slow, allow more by --time-limit"
                raise TimeLimitError(what, file=self._path, remedy=remedy) from None
            raise InputError(f"onnxruntime fails ({reason(error)})", file=self._path) from None
        finally:
            for timer in timers:
                timer.cancel()
        self._first = False
        return results

    def _tell_of_limit(self) -> None:
        line = f"{self._path}: the first batch takes long; it is ended after {self._limit:g} s (--time-limit)"
        remark(line)


def _providers(known: Sequence[str], device: str | None, path: Path) -> list[Any]:
    if device == "cuda" and _CUDA not in known:
        remedy = "pip install onnxruntime-gpu, or choose the device cpu"
        raise InputError("this onnxruntime computes on CPUs only", file=path, remedy=remedy)
    # TF32 would keep 10 bits of the mantissa in convolutions on recent GPUs.
    return ([(_CUDA, {"use_tf32": "0"})] if _CUDA in known and device != "cpu" else []) + [_CPU]


def _tell_of_cpu(path: Path, required: bool) -> None:
    what = "onnxruntime cannot load CUDA's libraries"
    if required:
        remedy = "install the CUDA and cuDNN that this onnxruntime-gpu was built for, or choose the device cpu"
        raise InputError(what, file=path, expected="a GPU, as --device cuda says", remedy=remedy)
    remark(f"{path}: {what}: computing on the CPU")


def read_graph(path: Path, expected: str | None = None) -> Any:
    """The parsed file, an ``onnx.ModelProto``, without weights that lie beside it.

    Raises:
        InputError: No such file, or no ONNX model; or its graph has no node or no output.
    """
    import onnx

    refuse_placeholder(path, expected)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's, which have no base of their own
        raise InputError(unreadable("no ONNX model", path, reason(error)), file=path, expected=expected) from None
    if not model.graph.node or not model.graph.output:  # a few bytes of anything may be a message without fields
        raise InputError("no ONNX model: its graph computes nothing", file=path, expected=expected)
    return model


def weight_files(path: Path, model: Any) -> list[Path]:
    """Files beside an ONNX file that hold its weights, all of them there.

    Args:
        path: File of the model.
        model: Graph as `read_graph` returns it.

    Raises:
        InputError: One is missing, or lies outside the model's folder.
    """
    import onnx

    places = sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    for location in places:
        if Path(location).is_absolute() or ".." in Path(location).parts:
            raise InputError(f"its weights lie in {location!r}", file=path, expected="a file in the model's own folder")
        if not (path.parent / location).is_file():
            remedy = "copy it from where the model was exported; the two belong together"
            raise InputError(f"its weights lie in {location!r}, which is not there", file=path, remedy=remedy)
    return [path.parent / location for location in places]


def joint_hash(files: Sequence[Path]) -> str:
    """The hash of one file, or of all of a model whose weights lie beside it."""
    hashes = [sha256_file(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def normalises_itself(model: Any) -> bool:
    """Tell whether a graph subtracts from its pixels and scales them before its first convolution, as MXNet's do."""
    before: set[str] = set()
    nodes = (node for node in model.graph.node if node.op_type not in _NO_ARITHMETIC)
    for node in itertools.islice(nodes, _PREPROCESSING):
        if node.op_type == "Conv":
            break
        before.add(node.op_type)
    return "Sub" in before and bool(before & {"Mul", "Div"})


def convolutions(model: Any) -> Counter[tuple[int, ...]]:
    """Numbers of a graph's convolutions by the shapes of their weights, which tell its depth."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    used = [node.input[1] for node in model.graph.node if node.op_type == "Conv" and len(node.input) > 1]
    return Counter(shapes[name] for name in used if name in shapes)


def reason(error: Exception) -> str:
    """Cause in onnxruntime's message, without its codes, source places and line breaks, shortened.

    The point stands at the beginning or at the end of a long message, so that its middle is left out.
    """
    message = " ".join(str(error).split()) or type(error).__name__
    message = _SOURCE.sub("", _PREFIX.sub("", message)).strip() or message
    half = _WORDS // 2
    return message if len(message) <= _WORDS else f"{message[:half].rstrip()} … {message[-half:].lstrip()}"


def trial_images(count: int, side: int) -> NDArray[np.uint8]:
    """Images that differ in brightness, colours and forms, uint8 (count, side, side, 3): to try a model on.

    What a model gives for each of them alone has to be what it gives for them in one batch.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    cells = np.arange(side) * 8 // side
    dark = np.linspace(1, 0.4, count)[:, None, None, None]
    return (coarse[:, cells][:, :, cells] * dark).astype(np.uint8)


def sample_of(count: int, most: int) -> list[int]:
    """Numbers of at most so many of ``count`` images, evenly from the first to the last."""
    return sorted({round(number) for number in np.linspace(0, count - 1, most)})


def agree(together: NDArray[Any], alone: NDArray[Any], rounding: float) -> bool:
    """Tell whether what a model gives for several images in one batch is what it gives for each alone.

    By how much the images differ is looked at as well: what makes two images alike is no rounding, however small it is.

    Args:
        together: Values (N, …) of one batch.
        alone: Values (N, …) of its images, one at a time; values that are finite in neither count as equal.
        rounding: Largest error of rounding, as a share of the largest value.
    """
    finite = np.isfinite(alone)
    if together.shape != alone.shape or (np.isfinite(together) != finite).any():
        return False
    wide = [np.where(finite, values, 0).astype(np.float64) for values in (together, alone)]
    largest, spread, wrong = (
        float(np.abs(values).max(initial=0)) for values in (wide[1], wide[1] - wide[1][:1], wide[0] - wide[1])
    )
    return wrong <= max(min(rounding * largest, spread / 4), _SMALLEST_ROUNDING * largest)
