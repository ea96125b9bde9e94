"""Selection of usable images of people: whole ones, aligned or with plausible landmarks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aroface.datasets.corrupt_images import OnCorrupt, is_damage
from aroface.datasets.preparation.landmark_checks import suspicion
from aroface.datasets.preparation.person_folders import LostPeople, account_for_lost
from aroface.datasets.preparation.photographs import Photograph, is_aligned
from aroface.errors import InputError
from aroface.omissions import Omissions
from aroface.progress import track

CORRUPT = "cannot be decoded"
"""Kind of the images that are left out because they are damaged."""

Photographs = dict[str, list[Photograph]]
Result = TypeVar("Result")


def leave_out_corrupt(
    people: Photographs, folder: Path, omissions: Omissions, on_corrupt: OnCorrupt, lost: LostPeople
) -> tuple[Photographs, list[str]]:
    """The people without the images that cannot be decoded, and these, each with the reason.

    Args:
        people: Photographs of each person.
        folder: Folder that all lie in.
        omissions: Account of the images that are left out.
        on_corrupt: ``skip`` decodes every image; ``error`` none: the first damaged one is an error when it is used.
        lost: Treatment of people of whom no image is left.

    Raises:
        InputError: A file cannot be read at all, or a person is lost.
    """
    if on_corrupt == "error":
        return people, []
    photographs = _all(people)
    reasons = dict(zip((photo.path for photo in photographs), _each(_fault, photographs, "decoding"), strict=True))
    corrupt = {path: reason for path, reason in reasons.items() if reason is not None}
    omissions.extend(CORRUPT, (path.relative_to(folder) for path in corrupt))
    left = {name: [photo for photo in person if photo.path not in corrupt] for name, person in people.items()}
    gone = {people[name][0].path.parent for name, person in left.items() if not person}
    account_for_lost(gone, lost, omissions, folder)
    return {name: person for name, person in left.items() if person}, list(corrupt.values())


def require_aligned(people: Photographs, *, resize: bool) -> None:
    """Refuse photographs without landmarks that are no aligned crops.

    Args:
        people: Photographs of each person, without landmarks.
        resize: True if square images of any size are taken for aligned crops.

    Raises:
        InputError: One has another size, or is damaged.
    """
    photographs = _all(people)
    sizes = _each(Photograph.size, photographs, "measuring")
    wrong = [
        (photo, size) for photo, size in zip(photographs, sizes, strict=True) if not is_aligned(*size, resize=resize)
    ]
    if wrong:
        photo, size = wrong[0]
        raise photo.not_aligned(*size, f", one of {len(wrong):,} of {len(photographs):,} that are not aligned")


def check_landmarks(people: Photographs, folder: Path, table: Path, allowed: float) -> Omissions:
    """The images whose landmarks are implausible, by kind.

    Args:
        people: Photographs of each person, with landmarks.
        folder: Folder that all lie in.
        table: File of the landmarks.
        allowed: Share of the images that may have implausible landmarks, 0 … 1.

    Raises:
        InputError: More have than are allowed, or an image is damaged.
    """

    def judge(photo: Photograph) -> str | None:
        size = photo.size()
        assert photo.landmarks is not None
        try:
            return suspicion(photo.landmarks, *size)
        except InputError as error:
            raise InputError(f"of {photo.path}: {error}", file=table, where=f"line {photo.line}") from None

    suspects = Omissions("suspect landmarks")
    photographs = _all(people)
    for photo, kind in zip(photographs, _each(judge, photographs, "checking landmarks"), strict=True):
        if kind is not None:
            suspects.add(kind, f"line {photo.line} of {photo.path.relative_to(folder)}")
    suspects.check(len(photographs), allowed, file=table, option="--max-suspect-landmarks")
    return suspects


def _fault(photo: Photograph) -> str | None:
    """Reason why an image cannot be decoded."""
    try:
        photo.size(whole=True)
    except InputError as error:
        if not is_damage(error):
            raise
        return str(error)
    return None


def _all(people: Photographs) -> list[Photograph]:
    return [photo for person in people.values() for photo in person]


def _each(action: Callable[[Photograph], Result], photographs: Sequence[Photograph], what: str) -> list[Result]:
    """The result for each photograph, found by several threads."""
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="usable") as pool:
        return list(track(pool.map(action, photographs), what, len(photographs)))
