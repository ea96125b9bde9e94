"""Specification of a synthetic set, and the identity that follows from it before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from aroface.datasets.formats.checks import FOLDS
from aroface.errors import InputError
from aroface.schemas import validate

SEMANTICS = 1
"""Raised by hand whenever the same spec and seed give other pixels than before."""

_IMAGES = {"difficulty": 1.0, "jpeg_quality": 90, "alignment": "exact"}
_TEST_IMAGES = {**_IMAGES, "degradation": "none", "resolution": [14, 24]}
DEFAULTS: dict[str, dict[str, Any]] = {
    "training": {**_IMAGES, "low_quality": None},
    "pairs": {**_TEST_IMAGES, "folds": 10, "which": "second"},
    "tinyface": {**_TEST_IMAGES, "which": "probes"},
    "ijb": {
        **_TEST_IMAGES,
        "which": "probes",
        "benchmark": "ijbc",
        "identities": 50,
        "templates_per_identity": 3,
        "images_per_template": [1, 4],
        "media_per_template": 2,
        "pairs": 300,
        "distractors": 20,
    },
    "ijbs": {
        **_TEST_IMAGES,
        "which": "videos",
        "subjects": 20,
        "unenrolled": 8,
        "stills_per_subject": 3,
        "videos_per_subject": 3,
        "uav_per_subject": 1,
        "frames_per_video": [2, 4],
        "undetected": 0,
    },
}
"""Defaults of the specification by kind of set; a kind that is not listed cannot be generated."""
_RANGES = ("resolution", "images_per_template", "frames_per_video")


def resolve_spec(kind: str, spec: Mapping[str, Any], *, file: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Check a specification and write out every default.

    Args:
        kind: Kind of the set, a key of `DEFAULTS`.
        spec: Specification as the configuration has it; see ``generate.schema.json``.
        file: Origin of the specification, for messages.

    Raises:
        InputError: A key is unknown or missing, or a value is out of range.
    """
    validate({kind: dict(spec)}, "generate", file=file)
    resolved = {**DEFAULTS[kind], **spec}
    ranges = {name.replace("_", " "): resolved[name] for name in _RANGES if name in resolved}
    if resolved.get("low_quality"):
        ranges["resolution"] = resolved["low_quality"]["resolution"]
    for name, ends in ranges.items():
        if ends[0] > ends[1]:
            raise InputError(f"the {name} {ends} ends below its start", file=file, where=kind)
    if kind == "pairs" and resolved["pairs"] % (2 * resolved["folds"]):
        raise InputError(
            f"{resolved['pairs']} pairs cannot be half genuine in each of {resolved['folds']} folds",
            file=file,
            where="pairs.pairs",
            expected=f"a multiple of {2 * resolved['folds']}",
        )
    if kind == "pairs" and resolved["pairs"] < FOLDS:
        expected = f"at least {FOLDS}, one a fold of the accuracy"
        raise InputError(f"{resolved['pairs']} pairs", file=file, where="pairs.pairs", expected=expected)
    if kind == "ijbs":
        seen = (resolved["subjects"] + resolved["unenrolled"]) * resolved["videos_per_subject"]
        if resolved["undetected"] >= seen:
            what = f"{resolved['undetected']} undetected"
            raise InputError(
                what, file=file, where="ijbs.undetected", expected=f"less than {seen}, all people in videos"
            )
    return resolved


def alignment_words(start: str, alignment: str | Mapping[str, Any]) -> str:
    """Describe the alignment of crops for records: ``start``, and the model of errors of misaligned ones."""
    if isinstance(alignment, str):
        return start
    return f"{start}; errors: {', '.join(f'{name} {value}' for name, value in alignment.items())}"


def generated_identity(kind: str, spec: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Identity, as in the manifest, of a synthetic set; known when a workflow is planned.

    Raises:
        InputError: See `resolve_spec`.
    """
    return {"generator": kind, "spec": resolve_spec(kind, spec), "seed": seed, "semantics": SEMANTICS}
