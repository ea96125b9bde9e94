"""TinyFace on disk: gallery, probes and distractors as image files, named by two MATLAB lists.

Layout: ``tinyface/Testing_Set/{gallery_match,probe}_img_ID_pairs.mat`` and, beside them, the folders ``Gallery_Match``,
``Probe`` and ``Gallery_Distractor``. Aligned crops, if any, lie in ``aligned_…/`` with the same
folders: in ``aligned_pad_0.1_pad_high/`` those that came with AdaFace. An image's identity is its file name up to the
first ``_``.
Source: the TinyFace release; AdaFace ``validation_mixed/validate_tinyface.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.matlab import read_strings, write_strings
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import refuse_special, write_bytes

RELEASED_CROPS, ALIGNED_CROPS = "tinyface/Testing_Set", "aligned_pad_0.1_pad_high"
GALLERY_LIST, PROBE_LIST = (f"{RELEASED_CROPS}/{part}_img_ID_pairs.mat" for part in ("gallery_match", "probe"))
PARTS = _GALLERY, _PROBES, DISTRACTORS = "Gallery_Match", "Probe", "Gallery_Distractor"
ALIGNED = "aligned_"
"""Prefix of the names of folders of aligned crops."""

_DIGITS = 18  # of an identity: more may not fit into int64

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TinyFace:
    """The files of a TinyFace tree.

    Attributes:
        gallery: Images of the gallery's known people.
        gallery_labels: Identities of these, int64.
        probes: Images that are searched for.
        probe_labels: Identities of these, int64; each has an image in the gallery.
        distractors: Images of other people, part of the gallery.
        crops: Folder of the tree from which the crops come: as released, or aligned.
    """

    gallery: list[Path]
    gallery_labels: Int64
    probes: list[Path]
    probe_labels: Int64
    distractors: list[Path]
    crops: str


class TinyFaceFormat(SetFormat):
    """A TinyFace tree."""

    kind = "tinyface"
    layout = "a TinyFace tree"
    default_name = "tinyface"

    def matches(self, data: Path) -> bool:
        """Return whether the tree has the list of probes."""
        return is_tinyface(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Lists, and the folders of all crops."""
        folders = [folder for crops in (RELEASED_CROPS, *aligned_folders(data)) for folder in (data / crops).glob("*/")]
        return data, [GALLERY_LIST, PROBE_LIST, *(folder.relative_to(data).as_posix() for folder in folders)]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        tree = read_tinyface(data)
        return {
            "identities": len(np.unique(tree.gallery_labels)),
            "gallery": len(tree.gallery),
            "probes": len(tree.probes),
            "distractors": len(tree.distractors),
            "crops": tree.crops,
        }

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        from aroface.datasets.images import letterbox, read_image

        tree = read_tinyface(data)
        parts = (tree.gallery, tree.probes, tree.distractors)
        return [[letterbox(read_image(path), TEMPLATE_SIZE) for path in part[: COLUMNS * ROWS // 3]] for part in parts]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_files, check_labels, unlisted

        folders: list[str | None] = [*aligned_folders(data)]
        trees = [read_tinyface(data, crops) for crops in folders or [None]]  # options choose one of them
        parts = [(tree.gallery, tree.probes, tree.distractors) for tree in trees]
        findings = Findings(dict(zip(("gallery", "probes", "distractors"), map(len, parts[0]), strict=True)))
        check_labels(findings, lambda: None)  # the reader does it
        files = [path for tree in parts for part in tree for path in part]
        findings.left_out = unlisted(data, [f"{tree.crops}/{part}" for tree in trees for part in PARTS], files)
        check_files(findings, files, threads)
        return findings

    def requested_counts(self, spec: Mapping[str, Any]) -> dict[str, int]:
        """See :class:`SetFormat`."""
        people = spec["identities"]
        gallery, probes = people * spec["gallery_per_identity"], people * spec["probes_per_identity"]
        return {"gallery": gallery, "probes": probes, "distractors": spec["distractors"]}


def is_tinyface(folder: Path) -> bool:
    """Return whether a folder looks like a TinyFace tree."""
    return (folder / PROBE_LIST).exists()


def aligned_folders(folder: Path) -> list[str]:
    """List the folders of aligned crops in a tree, those that came with AdaFace first, then by name."""
    names = [path.name for path in folder.glob(f"{ALIGNED}*/")]
    return sorted(names, key=lambda name: (name != ALIGNED_CROPS, name))


def chosen_crops(folder: Path, alignment: str) -> str:
    """Choose the folder of crops that ``alignment`` names; TinyFace's rates depend on it (46 or 72 % rank-1).

    Args:
        folder: Root of the tree.
        alignment: Option of the benchmark.

    Returns:
        Name of the folder, relative to the tree.

    Raises:
        InputError: The tree has other crops.
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
        folder: Root of the tree.
        crops: Folder of crops in it; by default the first of `aligned_folders`, or the released ones if none exists.

    Raises:
        InputError: A list is missing or malformed, it names a missing image or one without a number as identity, or a
            probe's identity is missing from the gallery.
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
            where=probes[unknown[0]].name,
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
        folder: Root of the tree, created if missing.
        gallery: Pairs (identity, JPEG) of known people.
        probes: Pairs (identity, JPEG) of the same people.
        distractors: JPEGs of other people.

    Returns:
        Numbers of gallery images, probes and distractors.
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
            raise InputError("no such image", file=path, where=f"row {row}", expected=images / name)
    return [images / name for name in names]


def _read_list(path: Path, variable: str) -> list[str]:
    expected = f"a MATLAB file with a column of file names in {variable}"
    refuse_special(path, expected)
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
