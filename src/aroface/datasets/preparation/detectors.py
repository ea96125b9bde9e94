"""Face detectors by their name in the registry or by their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aroface.datasets.preparation.detector_names import MTCNN, registered_detector
from aroface.datasets.registry import REGISTRIES, missing
from aroface.errors import InputError
from aroface.faces.detection.detector import Detector
from aroface.faces.detection.scrfd import THRESHOLD, Scrfd
from aroface.onnx_program import SUFFIX, TIME_LIMIT


def open_detector(
    detector: str,
    data_dir: Path,
    *,
    threshold: float | None = None,
    threads: int | None = None,
    time_limit: float = TIME_LIMIT,
    device: str | None = None,
    registries: Path = REGISTRIES,
) -> Detector:
    """A detector, ready for use.

    Args:
        detector: Key of the registry, path of an ONNX file of the SCRFD family, or ``mtcnn``, whose weights come with
            a package.
        data_dir: Folder of registered files.
        threshold: Lowest score of a face; by default that of the detector's authors.
        threads: Number of threads of CPU arithmetic.
        time_limit: Longest time in seconds that one batch may take.
        device: Device of onnxruntime; by default the GPU where it can use one.
        registries: Folder of the registries.

    Raises:
        InputError: Neither a key nor a file; a registered file is not there or not the registered one; no detector.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold {threshold:g}", expected="a score above 0 and below 1")
    if detector == MTCNN:
        from aroface.faces.detection.mtcnn import Mtcnn

        chosen = {} if threshold is None else {"threshold": threshold}
        return Mtcnn(device=device, **chosen)
    lowest = THRESHOLD if threshold is None else threshold
    how: dict[str, Any] = {"threshold": lowest, "threads": threads, "time_limit": time_limit, "device": device}
    if detector.lower().endswith(SUFFIX):
        return Scrfd(Path(detector), **how)
    entry = registered_detector(detector, registries)
    line = missing(entry, data_dir)
    if line is not None:
        raise InputError(line)
    scrfd = Scrfd(data_dir / entry.files[0], entry.key, **how)
    for download in entry.downloads:
        if download.sha256 not in (None, scrfd.facts["sha256"]):
            raise InputError(
                f"its sha256 is {scrfd.facts['sha256']}",
                file=data_dir / entry.files[0],
                expected=download.sha256,
                remedy="remove it and fetch it again, or name it by its path",
            )
    return scrfd
