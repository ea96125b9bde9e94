"""Names of face detectors: what a plan knows of a detector before it is opened."""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.registry import REGISTRIES, DetectorFile, read_detectors
from aroface.errors import InputError
from aroface.files import sha256_file

MTCNN = "mtcnn"
"""Name of the detector whose weights come with a package."""

_PROGRAM = ".onnx"


def detector_identity(detector: str, registries: Path = REGISTRIES) -> dict[str, str | None]:
    """Name and sha256 of a detector that need not be there, None where nobody has published it.

    Args:
        detector: Key of the registry, path of an ONNX file of the SCRFD family, or ``mtcnn``.
        registries: Folder of the registries.

    Raises:
        InputError: Neither a key nor a file.
    """
    if detector == MTCNN:
        return {"name": MTCNN, "sha256": None}
    if detector.lower().endswith(_PROGRAM):
        if not Path(detector).is_file():
            raise InputError("no such file", file=detector, expected="an ONNX file of the SCRFD family")
        return {"name": Path(detector).stem, "sha256": sha256_file(detector)}
    entry = registered_detector(detector, registries)
    return {"name": entry.key, "sha256": next((each.sha256 for each in entry.downloads), None)}


def registered_detector(detector: str, registries: Path = REGISTRIES) -> DetectorFile:
    """The entry of a detector.

    Raises:
        InputError: There is none.
    """
    entries = read_detectors(registries / "detectors.yaml")
    if detector not in entries:
        known = ", ".join([*entries, MTCNN])
        raise InputError(f"no detector {detector!r}", expected=f"a path FILE.onnx or one of {known}")
    return entries[detector]
