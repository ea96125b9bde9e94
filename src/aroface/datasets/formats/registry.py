"""Registry of data-set formats, and detection of the format of a path."""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.formats.arrow_ijb import ArrowIJBFormat
from aroface.datasets.formats.arrow_pairs import ArrowPairsFormat
from aroface.datasets.formats.arrow_tinyface import ArrowTinyFaceFormat
from aroface.datasets.formats.base import SetFormat
from aroface.datasets.formats.ijb import IJBFormat
from aroface.datasets.formats.ijb_release import IJBReleaseFormat
from aroface.datasets.formats.ijbs import IJBSFormat
from aroface.datasets.formats.ijbs_release import IJBSReleaseFormat
from aroface.datasets.formats.pairs import PairsFormat
from aroface.datasets.formats.tinyface import TinyFaceFormat
from aroface.datasets.formats.tinyface_crops import TinyFaceCropsFormat
from aroface.datasets.formats.training_set import TrainingFormat
from aroface.errors import InputError

_FORMATS: list[SetFormat] = [
    PairsFormat(),
    TinyFaceFormat(),
    IJBFormat(),
    IJBSFormat(),
    TrainingFormat(),  # last: a plain folder of images is recognised by the absence of anything else
]

FORMATS: dict[str, SetFormat] = {one.kind: one for one in _FORMATS}
"""Formats by kind, in the order in which they are tried."""

OTHER_LAYOUTS: list[SetFormat] = [
    ArrowPairsFormat(),
    ArrowTinyFaceFormat(),
    ArrowIJBFormat(),
    TinyFaceCropsFormat(),
    IJBReleaseFormat(),
    IJBSReleaseFormat(),
]
"""Further layouts of these kinds, as providers other than the first give them out; tried before `FORMATS`."""


def detect(data: Path) -> SetFormat:
    """Format of a folder or file, recognised by the files that it demands.

    Raises:
        InputError: No known format.
    """
    for one in (*OTHER_LAYOUTS, *FORMATS.values()):
        if one.matches(data):
            return one
    *first, last = FORMATS.values()
    layouts = [*dict.fromkeys(one.layout for one in (*first, *OTHER_LAYOUTS, last))]
    raise InputError(
        "no data set" if data.exists() else "no such file or folder",
        file=data,
        expected=f"{', '.join(layouts[:-1])} or {layouts[-1]}",
    )
