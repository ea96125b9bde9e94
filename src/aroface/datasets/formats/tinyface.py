"""TinyFace on disk: gallery, probes and distractors as image files, named by two MATLAB lists.

Layout: ``tinyface/Testing_Set/{gallery_match,probe}_img_ID_pairs.mat`` and, beside them, the folders ``Gallery_Match``,
``Probe`` and ``Gallery_Distractor``. Aligned crops, if any, lie in ``aligned_…/`` with the same folders: in
``aligned_pad_0.1_pad_high/`` those of AdaFace's authors, who ask for a form. Crops in a folder of another name are a
set of their own (:mod:`aroface.datasets.formats.tinyface_crops`). An image's identity is the number that the lists have
for it (``gallery_ids``, ``probe_ids``), else its file name up to the first ``_``.
Source: the TinyFace release; AdaFace ``validation_lq/tinyface_helper.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.matlab import read_numbers, read_strings, write_strings
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

    @property
    def parts(self) -> dict[str, list[Path]]:
        """Images of gallery, probes and distractors, by these names."""
        return {"gallery": self.gallery, "probes": self.probes, "distractors": self.distractors}

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each part."""
        return {name: len(files) for name, files in self.parts.items()}

    def facts(self) -> dict[str, object]:
        """Facts for people, as :class:`SetFormat` has them."""
        return {"identities": len(np.unique(self.gallery_labels)), **self.counts, "crops": self.crops}

    def preview(self) -> list[list[Pixels]]:
        """Some images of each part, as :class:`SetFormat` has them."""
        from aroface.datasets.images import letterbox, read_image

        shown = [files[: COLUMNS * ROWS // 3] for files in self.parts.values()]
        return [[letterbox(read_image(path), TEMPLATE_SIZE) for path in files] for files in shown]


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
        return read_tinyface(data).facts()

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        return read_tinyface(data).preview()

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_files, check_labels, unlisted

        folders: list[str | None] = [*aligned_folders(data)]
        trees = [read_tinyface(data, crops) for crops in folders or [None]]  # options choose one of them
        findings = Findings(trees[0].counts)
        check_labels(findings, lambda: None)  # the reader does it
        files = [path for tree in trees for part in tree.parts.values() for path in part]
        findings.left_out = unlisted(data, [f"{tree.crops}/{part}" for tree in trees for part in PARTS], files)
        check_files(findings, files, threads)
        return findings

    def chosen(self, data: Path, options: Mapping[str, Any]) -> Path:
        """Folder of crops, where the option ``alignment`` names one whose name does not begin as `ALIGNED`."""
        alignment = options.get("alignment", "")
        plain = isinstance(alignment, str) and Path(alignment).name == alignment and alignment not in ("", "..")
        named = plain and not alignment.startswith(ALIGNED) and is_tinyface(data)
        return data / alignment if named and is_crops(data / alignment) else data

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
    if is_crops(folder / alignment) and Path(alignment).name == alignment:
        remedy = f"give {alignment} with its folder as the path of the benchmark, or the alignment in the registry"
        raise InputError("the crops are a set of their own", file=folder / alignment, remedy=remedy)
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
    return read_crops(folder / crops, (folder / GALLERY_LIST, folder / PROBE_LIST), crops)


def is_crops(folder: Path) -> bool:
    """Return whether a folder has the three folders of crops."""
    return all((folder / part).is_dir() for part in PARTS)


def read_crops(folder: Path, lists: tuple[Path, Path] | None, crops: str) -> TinyFace:
    """Read a folder of crops.

    Args:
        folder: Folder with the three folders of crops.
        lists: Lists of the gallery and of the probes; None takes all files of their folders.
        crops: Name of the crops.

    Raises:
        InputError: See `read_tinyface`.
    """
    if lists is None:
        gallery, probes = (_images(folder / part) for part in (_GALLERY, _PROBES))
        gallery_labels, probe_labels = _labels(gallery), _labels(probes)
        probe_list = folder / _PROBES
    else:
        gallery, gallery_labels = _listed(lists[0], "gallery", folder / _GALLERY)
        probes, probe_labels = _listed(lists[1], "probe", folder / _PROBES)
        probe_list = lists[1]
    distractors = [folder / DISTRACTORS / name for name in sorted(_names(folder / DISTRACTORS))]
    check_known(probe_labels, gallery_labels, [path.name for path in probes], probe_list)
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


def _images(folder: Path) -> list[Path]:
    names = sorted(_names(folder))
    if not names:
        raise InputError("no image in it", file=folder)
    return [folder / name for name in names]


def _listed(path: Path, part: str, images: Path) -> tuple[list[Path], Int64]:
    """Images of a list, and the identity of each."""
    present = _names(images)
    content, names = _read_list(path, f"{part}_set")
    for row, name in enumerate(names, start=1):
        if name not in present:
            raise InputError("no such image", file=path, where=f"row {row}", expected=images / name)
    paths = [images / name for name in names]
    labels = _read_identities(path, f"{part}_ids", content)
    if labels is None:
        return paths, _labels(paths)
    if len(labels) != len(paths):
        raise InputError(f"{len(labels):,} numbers in {part}_ids", file=path, expected=f"{len(paths):,}, one a name")
    return paths, labels


def _read_list(path: Path, variable: str) -> tuple[bytes, list[str]]:
    expected = f"a MATLAB file with a column of file names in {variable}"
    refuse_special(path, expected)
    try:
        content = path.read_bytes()
        names = read_strings(content, variable)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except ValueError as error:
        raise InputError(str(error), file=path, expected=expected) from None
    if not names:
        raise InputError("the list is empty", file=path, expected=expected)
    return content, names


def _read_identities(path: Path, variable: str, content: bytes) -> Int64 | None:
    """Identities in a list; None where it has none."""
    expected = f"a column of whole numbers above or equal to 0 in {variable}"
    try:
        identities = read_numbers(content, variable)
    except ValueError as error:
        raise InputError(str(error), file=path, expected=expected) from None
    if identities is None:
        return None
    wrong = next((number for number in identities if not 0 <= number < 10**_DIGITS), None)
    if wrong is not None:
        raise InputError(f"{variable} holds {wrong}", file=path, expected=expected)
    return np.array(identities, np.int64)


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def check_known(probe_labels: Int64, gallery_labels: Int64, names: Sequence[str], file: Path) -> None:
    """Check that each probe has a mate.

    Args:
        probe_labels: Identities of the probes, int64.
        gallery_labels: Identities in the gallery, int64.
        names: Names of the probes, for the message.
        file: List of the probes, for the message.

    Raises:
        InputError: A probe's identity is missing from the gallery.
    """
    unknown = np.flatnonzero(~np.isin(probe_labels, gallery_labels))
    if len(unknown):
        what = f"the probe's identity {probe_labels[unknown[0]]} has no image in the gallery"
        raise InputError(what, file=file, where=names[unknown[0]])


def identity_of(name: str, file: Path) -> int:
    """Identity in a file name: the number up to the first ``_``.

    Args:
        name: File name.
        file: File that it stands for, for the message.

    Raises:
        InputError: The name begins with no number.
    """
    label, separator, _ = name.partition("_")
    if not (separator and label.isdecimal() and len(label) <= _DIGITS):
        where = None if file.name == name else name
        raise InputError("the file name has no identity", file=file, where=where, expected="a name as in 17_3.jpg")
    return int(label)


def _labels(paths: list[Path]) -> Int64:
    return np.array([identity_of(path.name, path) for path in paths], np.int64)
