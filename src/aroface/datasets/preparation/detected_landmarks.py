"""Landmarks of people's photographs by a detector, where no table gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.orientation import read_upright
from aroface.datasets.preparation.align import begin
from aroface.datasets.preparation.person_folders import LostPeople, account_for_lost
from aroface.datasets.preparation.photograph_checks import Photographs
from aroface.datasets.preparation.photograph_faces import SEVERAL, find_faces, show_photograph
from aroface.datasets.preparation.photographs import Photograph
from aroface.errors import InputError
from aroface.faces.detection.detector import NO_FACE, Detector, deciding_facts
from aroface.files import digest, read_json, write_json
from aroface.omissions import Omissions
from aroface.progress import track

_CHUNK = 32  # photographs in memory, and between two points from which an interrupted call resumes


def detect_landmarks(
    people: Photographs, folder: Path, work: Path, detector: Detector, omissions: Omissions, lost: LostPeople
) -> Photographs:
    """The photographs with the landmarks of their largest faces, without those that have no face.

    Args:
        people: Photographs of each person.
        folder: Folder that all lie in.
        work: Folder of what is found until all is, from which an interrupted call resumes.
        detector: Detector.
        omissions: Account of the photographs that are left out.
        lost: Treatment of people of whom no photograph is left.

    Raises:
        InputError: A photograph cannot be read, or a person is lost.
    """
    photographs = [photo for person in people.values() for photo in person]
    names = [photo.path.relative_to(folder).as_posix() for photo in photographs]
    sizes = [photo.path.stat().st_size for photo in photographs]
    begin(work, digest([names, sizes, deciding_facts(detector)]))
    placed: dict[Path, Photograph] = {}
    starts = range(0, len(photographs), _CHUNK)
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        for start in track(starts, "finding faces"):
            chunk = photographs[start : start + _CHUNK]
            for photo, found in zip(chunk, _found(chunk, work / f"{start:09}.json", detector, pool), strict=True):
                name = photo.path.relative_to(folder)
                if not found:
                    omissions.add(NO_FACE, name)
                    continue
                if found["faces"] > 1:
                    omissions.note(SEVERAL["largest"], name)
                points = np.asarray(found["points"], np.float32)
                placed[photo.path] = replace(photo, landmarks=points, orientation="exif", averaged=True)
    left = {name: [placed[p.path] for p in person if p.path in placed] for name, person in people.items()}
    gone = {people[name][0].path.parent for name, person in left.items() if not person}
    account_for_lost(gone, lost, omissions, folder)
    return {name: person for name, person in left.items() if person}


def _found(
    chunk: Sequence[Photograph], file: Path, detector: Detector, pool: ThreadPoolExecutor
) -> Sequence[Mapping[str, Any]]:
    """Landmarks of the largest face of each photograph, and how many it has; empty without one."""
    if file.exists():
        earlier: Sequence[Mapping[str, Any]] = read_json(file)
        return earlier
    found = [
        {"points": faces[0].points.astype(float).tolist(), "faces": len(faces)} if faces else {}
        for faces in find_faces(list(pool.map(_shown, chunk)), detector)
    ]
    write_json(file, found)
    return found


def _shown(photo: Photograph) -> Any:
    try:
        return show_photograph(read_upright(photo.path))
    except (InputError, ValueError) as error:
        raise InputError(str(error), file=photo.path) from None
