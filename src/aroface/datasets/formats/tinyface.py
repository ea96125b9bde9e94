"""TinyFace on disk: gallery, probes and distractors as image files, named by two MATLAB lists.

Layout: ``tinyface/Testing_Set/{gallery_match,probe}_img_ID_pairs.mat`` and, beside them, the folders ``Gallery_Match``,
``Probe`` and ``Gallery_Distractor``. Aligned crops, where somebody made them, lie in ``aligned_…/`` with the same
folders: in ``aligned_pad_0.1_pad_high/`` those that came with AdaFace. An image's identity is its file name up to the
first ``_``.
Source: the TinyFace release; AdaFace ``validation_mixed/validate_tinyface.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.matlab import read_strings, write_strings
from aroface.errors import InputError
from aroface.files import write_bytes

RELEASED_CROPS, ALIGNED_CROPS = "tinyface/Testing_Set", "aligned_pad_0.1_pad_high"
GALLERY_LIST, PROBE_LIST = (f"{RELEASED_CROPS}/{part}_img_ID_pairs.mat" for part in ("gallery_match", "probe"))
PARTS = _GALLERY, _PROBES, DISTRACTORS = "Gallery_Match", "Probe", "Gallery_Distractor"
ALIGNED = "aligned_"
"""How the name of a folder of aligned crops begins."""

_DIGITS = 18  # of an identity: more may not fit into int64

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TinyFace:
    """The files of a TinyFace tree.

    Attributes:
        gallery: images of the gallery's known people.
        gallery_labels: their identities, int64.
        probes: images that are searched for.
        probe_labels: their identities, int64; each has an image in the gallery.
        distractors: images of other people, part of the gallery.
        crops: which crops these are, a folder of the tree: as released, or aligned.
    """

    gallery: list[Path]
    gallery_labels: Int64
    probes: list[Path]
    probe_labels: Int64
    distractors: list[Path]
    crops: str


def is_tinyface(folder: Path) -> bool:
    """Whether a folder looks like a TinyFace tree."""
    return (folder / PROBE_LIST).exists()


def aligned_folders(folder: Path) -> list[str]:
    """The folders of aligned crops in a tree, those that came with AdaFace first, then by name."""
    names = [each.name for each in folder.glob(f"{ALIGNED}*/")]
    return sorted(names, key=lambda name: (name != ALIGNED_CROPS, name))


def chosen_crops(folder: Path, alignment: str) -> str:
    """The folder of crops of a tree that ``alignment`` names; TinyFace's rates depend on it (46 or 72 % rank-1).

    Args:
        folder: the tree.
        alignment: option of the benchmark.

    Raises:
        InputError: the tree has other crops.
    """
    aligned = aligned_folders(folder)
    if alignment in aligned:
        return alignment
    if aligned or alignment.startswith(ALIGNED):
        raise InputError(
            f"the images are taken from {' or '.join(aligned) or RELEASED_CROPS}",
            file=folder,
            expected=f"alignment {alignment!r} as the benchmark's options say",
            remedy="name there the folder of aligned crops that the tree has; aroface data prepare --align makes one",
        )
    return RELEASED_CROPS


def read_tinyface(folder: Path, crops: str | None = None) -> TinyFace:
    """Read the lists of a TinyFace tree.

    Args:
        folder: the tree.
        crops: a folder of crops in it; by default the first of `aligned_folders`, the released ones where there is
            none.

    Raises:
        InputError: a list is missing or malformed, it names an image that is not there or has no number as identity,
            or a probe's identity is not in the gallery.
    """
    crops = crops or next(iter(aligned_folders(folder)), RELEASED_CROPS)
    gallery = _listed(folder / GALLERY_LIST, "gallery_set", folder / crops / _GALLERY)
    probes = _listed(folder / PROBE_LIST, "probe_set", folder / crops / _PROBES)
    distractors = [folder / crops / DISTRACTORS / name for name in sorted(_names(folder / crops / DISTRACTORS))]
    gallery_labels, probe_labels = _labels(gallery), _labels(probes)
    unknown = np.flatnonzero(~np.isin(probe_labels, gallery_labels))
    if len(unknown):
        raise InputError(
            f"the probe's identity {probe_labels[unknown[0]]} has no image in the gallery",
            file=folder / PROBE_LIST,
            record=probes[unknown[0]].name,
        )
    return TinyFace(gallery, gallery_labels, probes, probe_labels, distractors, crops)


def write_tinyface(
    folder: Path,
    gallery: Iterable[tuple[int, bytes]],
    probes: Iterable[tuple[int, bytes]],
    distractors: Iterable[bytes],
) -> dict[str, int]:
    """Write a TinyFace tree; the images are taken one by one, the lists are written last.

    Args:
        folder: where; made if it is not there.
        gallery: (identity, JPEG) of known people.
        probes: (identity, JPEG) of the same people.
        distractors: JPEGs of others.

    Returns:
        The numbers of gallery images, probes and distractors.
    """
    root = folder / RELEASED_CROPS
    gallery_names = _write_images(root / _GALLERY, gallery)
    probe_names = _write_images(root / _PROBES, probes)
    distractor_names = _write_images(root / DISTRACTORS, ((0, jpeg) for jpeg in distractors), labelled=False)
    write_bytes(folder / GALLERY_LIST, write_strings("gallery_set", gallery_names))
    write_bytes(folder / PROBE_LIST, write_strings("probe_set", probe_names))
    return {"gallery": len(gallery_names), "probes": len(probe_names), "distractors": len(distractor_names)}


def _write_images(folder: Path, items: Iterable[tuple[int, bytes]], *, labelled: bool = True) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for number, (label, jpeg) in enumerate(items, start=1):
        names.append(f"{label}_{number}.jpg" if labelled else f"{number}.jpg")
        (folder / names[-1]).write_bytes(jpeg)
    return names


def _listed(path: Path, variable: str, images: Path) -> list[Path]:
    present = _names(images)
    names = _read_list(path, variable)
    for row, name in enumerate(names, start=1):
        if name not in present:
            raise InputError("no such image", file=path, record=f"row {row}", expected=images / name)
    return [images / name for name in names]


def _read_list(path: Path, variable: str) -> list[str]:
    expected = f"a MATLAB file with a column of file names in {variable}"
    try:
        names = read_strings(path.read_bytes(), variable)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except ValueError as error:
        raise InputError(str(error), file=path, expected=expected) from None
    if not names:
        raise InputError("the list is empty", file=path, expected=expected)
    return names


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _labels(paths: list[Path]) -> Int64:
    labels = np.empty(len(paths), np.int64)
    for number, path in enumerate(paths):
        label, separator, _ = path.name.partition("_")
        if not (separator and label.isdecimal() and len(label) <= _DIGITS):
            raise InputError("the file name has no identity", file=path, expected="a name as in 17_3.jpg")
        labels[number] = int(label)
    return labels
