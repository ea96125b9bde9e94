"""Work on a release in units, such as videos, that are done whole: an interrupted call goes on after the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aroface.datasets.images import Pixels
from aroface.datasets.preparation.align import AlignOptions
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned, finish, show
from aroface.faces.detection.detector import Detector
from aroface.files import read_json, write_json
from aroface.progress import track

CHUNK = 256
"""Crops that are held and shown to a detector at once."""

UnitT = TypeVar("UnitT")


def run_units(
    partial: Path, units: Mapping[str, UnitT], work: Callable[[UnitT], dict[str, Any]], what: str
) -> list[dict[str, Any]]:
    """Do the units that no earlier call has done, and return the accounts of all, in their order.

    Args:
        partial: Folder of the work, where a file a unit tells that it is done.
        units: Units by a name that can be a file's.
        work: Function that does a unit and returns an account of it, JSON.
        what: Description for the progress bar.
    """
    records = {name: partial / f"unit-{name}.json" for name in units}
    todo = [name for name in units if not records[name].exists()]
    for name in track(todo, what, len(todo)):
        write_json(records[name], work(units[name]))
    return [read_json(record) for record in records.values()]


def accounts(partial: Path) -> Iterator[Path]:
    """Accounts of the units that are done."""
    return partial.glob("unit-*.json")


def align_crops(
    names: Sequence[str], crops: Sequence[Pixels], detector: Detector, options: AlignOptions, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, Aligned]]:
    """Find and align the face in each crop; at most `CHUNK` of them."""
    shown = list(pool.map(lambda crop: show(crop, options.setting), crops))
    detections = detector.detect(shown) if shown else []
    yield from zip(
        names,
        pool.map(lambda crop, faces: finish(crop, faces, options.setting), crops, detections),
        strict=True,
    )


def sizes(root: Path, files: Sequence[Path]) -> list[list[Any]]:
    """Name and size of each file, which stand for its content in a key.

    Raises:
        InputError: One is missing.
    """
    try:
        return [[path.relative_to(root).as_posix(), path.stat().st_size] for path in files]
    except FileNotFoundError as error:
        raise InputError("no such file", file=error.filename) from None
