"""What a set on disk holds, in words and as a contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np

from aroface.datasets.formats.checks import pair_face
from aroface.datasets.formats.ijb import ijb_facts, read_faces
from aroface.datasets.formats.ijbs import ijbs_facts, read_ijbs
from aroface.datasets.formats.kinds import SetKind
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.formats.tinyface import read_tinyface
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.identity import kind_of
from aroface.datasets.images import CROP_PIXELS, Pixels, decode, read_image, resize_square
from aroface.datasets.manifest import manifest_hash, manifest_path, read_manifest
from aroface.faces.sheet import contact_sheet, write_sheet

_COLUMNS, _ROWS, _SIZE = 12, 6, 112
_BLANK = np.full((_SIZE, _SIZE, 3), 255, np.uint8)


def describe(data: Path) -> list[str]:
    """Lines of ``name  value``: kind, counts and, where there is a manifest, its hash.

    Args:
        data: folder of a training set, ``.bin`` file, or folder of a TinyFace tree.

    Raises:
        InputError: it is none of these, or it is damaged.
    """
    kind = kind_of(data)
    facts: dict[str, object] = {"kind": kind, **_FACTS[kind](data)}
    if manifest_path(data).exists():
        manifest = read_manifest(data)
        facts["manifest"] = manifest_hash(manifest["identity"])
        if "left_out" in manifest:
            facts["left out"] = "; ".join(f"{each['count']:,}, {kind}" for kind, each in manifest["left_out"].items())
    width = max(map(len, facts))
    return [f"{name:{width}}  {format(fact, ',' if isinstance(fact, int) else '')}" for name, fact in facts.items()]


def sheet(data: Path, out: str | PathLike[str]) -> None:
    """Draw some images of a set.

    A training set shows one person a row; pairs stand one above the other; a TinyFace tree shows its gallery above its
    probes and these above its distractors, IJB-B and IJB-C a template a row, aligned, IJB-S a medium a row.

    Args:
        data: as for `describe`.
        out: the PNG file.

    Raises:
        InputError: the set is none of these kinds, or it is damaged.
    """
    rows = [row for row in _ROWS_OF[kind_of(data)](data) if row]
    tiles = [tile for row in rows for tile in row + [_BLANK] * (-len(row) % _COLUMNS)]
    write_sheet(out, contact_sheet(np.stack(tiles), columns=_COLUMNS))


def _training_facts(data: Path) -> dict[str, object]:
    found = TrainingSet.open(data)
    sizes = np.bincount(found.labels, minlength=found.num_classes)
    spread = f"{sizes.min()} to {sizes.max()}, {sizes.mean():.1f} on average"
    return {"identities": found.num_classes, "images": len(found), "images of one": spread}


def _pairs_facts(data: Path) -> dict[str, object]:
    found = read_pairs(data)
    return {"pairs": len(found.same), "genuine": int(found.same.sum()), "different images": len(set(found.images))}


def _tinyface_facts(data: Path) -> dict[str, object]:
    found = read_tinyface(data)
    return {
        "identities": len(np.unique(found.gallery_labels)),
        "gallery": len(found.gallery),
        "probes": len(found.probes),
        "distractors": len(found.distractors),
        "crops": found.crops,
    }


def _training_rows(data: Path) -> list[list[Pixels]]:
    found = TrainingSet.open(data)
    people = [np.flatnonzero(found.labels == label)[:_COLUMNS] for label in range(min(_ROWS, found.num_classes))]
    return [[_record(found, int(position)) for position in person] for person in people]


def _record(found: TrainingSet, position: int) -> Pixels:
    try:
        return resize_square(decode(found.jpeg(position), CROP_PIXELS), _SIZE)
    except ValueError as error:
        raise found.error(position, f"the JPEG cannot be decoded ({error})") from None


def _pairs_rows(data: Path) -> list[list[Pixels]]:
    found = read_pairs(data)
    shown = np.unique(np.linspace(0, len(found.same) - 1, _COLUMNS * _ROWS // 2).astype(int)).tolist()
    rows = [shown[begin : begin + _COLUMNS] for begin in range(0, len(shown), _COLUMNS)]
    halves = ([2 * pair + which for pair in row] for row in rows for which in (0, 1))
    return [[pair_face(found.images[number], data, number, _SIZE) for number in half] for half in halves]


def _tinyface_rows(data: Path) -> list[list[Pixels]]:
    found = read_tinyface(data)
    parts = (found.gallery, found.probes, found.distractors)
    return [[_tile(read_image(path)) for path in part[: _COLUMNS * _ROWS // 3]] for part in parts]


def _ijb_rows(data: Path) -> list[list[Pixels]]:
    faces = read_faces(data)
    templates = np.unique(faces.templates)[:_ROWS]
    return [
        [faces.crop(int(row)) for row in np.flatnonzero(faces.templates == template)[:_COLUMNS]]
        for template in templates
    ]


def _ijbs_rows(data: Path) -> list[list[Pixels]]:
    found = read_ijbs(data)
    return [[_tile(read_image(path)) for path in found.files(medium)[:_COLUMNS]] for medium in found.media[:_ROWS]]


def _tile(image: Pixels) -> Pixels:
    """An image of any shape in the middle of a white square."""
    height, width = image.shape[:2]
    side = max(height, width)
    tile = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    tile[top : top + height, left : left + width] = image
    return resize_square(tile, _SIZE)


_Facts = Callable[[Path], dict[str, object]]
_FACTS: dict[SetKind, _Facts] = {
    "training": _training_facts,
    "pairs": _pairs_facts,
    "tinyface": _tinyface_facts,
    "ijb": ijb_facts,
    "ijbs": ijbs_facts,
}
_Rows = Callable[[Path], list[list[Pixels]]]
_ROWS_OF: dict[SetKind, _Rows] = {
    "training": _training_rows,
    "pairs": _pairs_rows,
    "tinyface": _tinyface_rows,
    "ijb": _ijb_rows,
    "ijbs": _ijbs_rows,
}
