"""TinyFace's aligned crops in a folder of any name, with ``Gallery_Match``, ``Probe`` and ``Gallery_Distractor``.

PETALface's ``tinyface_aligned_112`` is one. The lists of the release, in the tree that the folder lies in, choose the
images; without them all images count, as in the scripts of AdaFace and PETALface.
"""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.formats.base import Findings, Pixels, SetFormat
from aroface.datasets.formats.tinyface import (
    GALLERY_LIST,
    PARTS,
    PROBE_LIST,
    RELEASED_CROPS,
    TinyFace,
    is_crops,
    read_crops,
)


class TinyFaceCropsFormat(SetFormat):
    """A folder of TinyFace's crops."""

    kind = "tinyface"
    layout = "a folder of TinyFace's crops"
    default_name = "tinyface"

    def matches(self, data: Path) -> bool:
        """Return whether the folder has the three folders of crops, and not the lists as well, as the release has."""
        return is_crops(data) and not (data / PROBE_LIST).exists() and not (data / Path(PROBE_LIST).name).exists()

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Lists, if there are any, and the folders of crops."""
        lists = find_lists(data)
        if lists is None:
            return data, list(PARTS)
        crops = data.resolve()
        names = [path.relative_to(crops.parent).as_posix() for path in lists]
        return crops.parent, [*names, *(f"{crops.name}/{part}" for part in PARTS)]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        lists = "of the release" if find_lists(data) else "none: all images of the folders"
        return {**read_folder(data).facts(), "lists": lists}

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        return read_folder(data).preview()

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_files, check_labels, unlisted

        crops = read_folder(data)
        files = [path for part in crops.parts.values() for path in part]
        findings = Findings(crops.counts)
        check_labels(findings, lambda: None)  # the reader does it
        findings.left_out = unlisted(data, PARTS, files)
        check_files(findings, files, threads)
        return findings


def find_lists(folder: Path) -> tuple[Path, Path] | None:
    """Lists of the gallery and the probes for a folder of crops; None where there are none."""
    names = [Path(name).name for name in (GALLERY_LIST, PROBE_LIST)]
    above = folder.resolve().parent
    for candidate in (above / RELEASED_CROPS, above / Path(RELEASED_CROPS).name, above):
        gallery, probes = (candidate / name for name in names)
        if gallery.is_file() and probes.is_file():
            return gallery, probes
    return None


def read_folder(folder: Path) -> TinyFace:
    """Read a folder of crops.

    Raises:
        InputError: See :func:`aroface.datasets.formats.tinyface.read_tinyface`.
    """
    return read_crops(folder, find_lists(folder), folder.resolve().name)
