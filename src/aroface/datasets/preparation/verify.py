"""Reading a whole set once, before anything is computed from it: is it complete, decodable, and what it should be?

The result is a manifest with a verdict for each check. A second run reads only what changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.checks import (
    aligned_face,
    check_ijb_labels,
    check_ijbs_labels,
    check_pairs,
    pair_face,
    read_file,
    stored_face,
)
from aroface.datasets.formats.ijb import IMAGES, read_ijb
from aroface.datasets.formats.ijbs import FACES, read_ijbs
from aroface.datasets.formats.kinds import SetKind
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.formats.tinyface import PARTS, aligned_folders, read_tinyface
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.hashes import FileHashes
from aroface.datasets.identity import data_identity, kind_of, set_files
from aroface.datasets.images import CROP_PIXELS, Pixels, decode
from aroface.datasets.manifest import files_under, manifest_path, read_manifest
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import read_json, refuse_special, write_json
from aroface.omissions import KindSummary, Omissions
from aroface.progress import track
from aroface.schemas import validate

_CHUNK = 256  # images of one task
_DIGEST = 16  # bytes of an image's hash: 12.7 million images take 203 MB
_SAMPLES = 14  # pixels along an image's shorter side in which its colours are seen
_GREY = 1.0  # grey levels by which the channels differ at least in an image with colours
_SHOWN = 5  # of the images that a check found, named in its detail
_IMAGE_COUNTS = ("images", "gallery", "probes", "distractors")


@dataclass(slots=True)
class Findings:
    """What reading a set has shown.

    Attributes:
        counts: what it holds.
        failed: by check, what is wrong; the set is not fit for use.
        noted: by check, what is unusual, or the plain result.
        corrupt: images that cannot be used, each with its place and why.
        left_out: summary of the images that the set's lists leave out.
    """

    counts: dict[str, int]
    failed: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)
    left_out: dict[str, KindSummary] = field(default_factory=dict)


def verify(
    data: Path,
    manifest: Path,
    *,
    name: str,
    expected: Mapping[str, int] | None = None,
    threads: int = 2,
    max_corrupt_fraction: float = 0.0,
) -> dict[str, Any]:
    """Check a set and write its manifest with the verdicts.

    Checked are: the structure, with what the readers refuse; the counts; that every image becomes one that a
    network gets (in a training set it has 112×112 pixels) and that the labels allow the metrics, by the checks that
    embedding and validation make as well (:mod:`aroface.datasets.formats.checks`); the labels' range and
    agreement with the identities' ranges; images that occur more than once and the order of the colour channels
    (both only noted); and, where the set has a manifest of its own, every file's hash.

    Args:
        data: a training folder, a ``.bin`` file or a TinyFace folder; it is only read.
        manifest: what is written; if it is there already, files that are as it says are not read again.
        name: of the set.
        expected: counts that its provider publishes.
        threads: that read and decode.
        max_corrupt_fraction: Share of a training set's images that may be damaged, none of a benchmark's; the manifest
            lists them all either way.

    Returns:
        The manifest.

    Raises:
        InputError: no such set, or one that the readers refuse.
    """
    kind, (folder, parts) = kind_of(data), set_files(data)
    names = sorted(file for part in parts for file in _files(folder, part))
    hashes = FileHashes(folder, manifest.with_name(f"{manifest.name}.hashes"))
    files = {
        file: {"size": (folder / file).stat().st_size, "sha256": hashes.sha256(file)}
        for file in track(names, f"hashing {name}")
        if (folder / file).is_file()  # what a link that leads nowhere stands for is told with the images
    }
    hashes.write()
    before = _earlier(manifest, files)
    findings = before or _CHECKS[kind](data, threads)
    _judge_corrupt(findings, max_corrupt_fraction if kind == "training" else 0.0)
    _compare_counts(findings, expected or {})
    _compare_files(findings, data, files)
    verdicts = {check: {"passed": True, "detail": detail} for check, detail in findings.noted.items()}
    verdicts |= {check: {"passed": False, "detail": detail} for check, detail in findings.failed.items()}
    identity = data_identity(data)
    written = {"name": name, "kind": kind, "identity": identity, "files": files, "counts": findings.counts}
    written |= {"verdicts": verdicts, "corrupt": findings.corrupt}
    written |= {"left_out": findings.left_out} if findings.left_out else {}
    validate(written, "manifest")
    write_json(manifest, written)
    return written


def verdict_lines(manifest: Mapping[str, Any]) -> list[str]:
    """A line for each count and each check of a manifest that `verify` wrote."""
    lines = [f"{what:12} {count:,}" for what, count in manifest["counts"].items()]
    for check, verdict in manifest["verdicts"].items():
        lines.append(f"{check:12} {'ok' if verdict['passed'] else 'FAILED'}: {verdict['detail']}")
    return lines


def require_passed(manifest: Mapping[str, Any], data: Path) -> None:
    """Refuse a set that failed a check.

    Raises:
        InputError: it did; the message has the first failure.
    """
    failed = {check: verdict["detail"] for check, verdict in manifest["verdicts"].items() if not verdict["passed"]}
    if failed:
        check, detail = next(iter(failed.items()))
        more = f" ({len(failed) - 1} more checks failed)" if len(failed) > 1 else ""
        if check == "labels":  # it names the file, and another copy has them as well
            raise InputError(f"{detail}{more}")
        remedy = "copy or download it again"
        if check == "images":
            remedy = f"mend them, or {remedy}; the manifest lists them all"
            remedy += "; --max-corrupt-fraction allows more" if manifest["kind"] == "training" else ""
        raise InputError(f"{detail}{more}", file=data, record=check, remedy=remedy)


def _files(folder: Path, part: str) -> list[str]:
    path = folder / part
    if path.is_dir():
        found = [f"{part}/{file}" for file in files_under(path)]
        for file in found:
            refuse_special(folder / file, "an image, or a link to one")
        return found
    if not path.is_file():
        raise InputError("no such file", file=path)
    return [part]


def _earlier(manifest: Path, files: Mapping[str, Any]) -> Findings | None:
    """The findings of an earlier run on the same files."""
    if not manifest.exists():
        return None
    try:
        written = read_json(manifest)
        validate(written, "manifest", file=manifest)
    except InputError:
        return None
    if written["files"] != files or not {"labels", "identities"} & written.get("verdicts", {}).keys():
        return None  # the labels of a benchmark were not always checked
    if written["corrupt"]:
        return None  # more pixels may be allowed by now
    again = ("counts", "manifest", "images")  # judged each time
    kept = {check: verdict for check, verdict in written["verdicts"].items() if check not in again}
    return Findings(
        written["counts"],
        {check: verdict["detail"] for check, verdict in kept.items() if not verdict["passed"]},
        {check: verdict["detail"] for check, verdict in kept.items() if verdict["passed"]},
        written["corrupt"],
        written.get("left_out", {}),
    )


def _judge_corrupt(findings: Findings, allowed: float) -> None:
    """Whether few enough images are damaged."""
    count = sum(findings.counts[what] for what in _IMAGE_COUNTS if what in findings.counts)
    count = count or 2 * findings.counts["pairs"]
    wrong = findings.corrupt
    if not wrong:
        findings.noted["images"] = f"all {count:,} can be used"
        return
    verdict = findings.noted if len(wrong) <= allowed * count else findings.failed
    verdict["images"] = f"{len(wrong):,} of {count:,} cannot be used: {_some(wrong)}"


def _compare_counts(findings: Findings, expected: Mapping[str, int]) -> None:
    known = {what: count for what, count in expected.items() if what in findings.counts}
    wrong = [
        f"{findings.counts[what]:,} {what}, not {known[what]:,}"
        for what in known
        if findings.counts[what] != known[what]
    ]
    if wrong:
        findings.failed["counts"] = "; ".join(wrong)
    elif known:
        findings.noted["counts"] = "as published"


def _compare_files(findings: Findings, data: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    if not manifest_path(data).exists():
        return
    own = read_manifest(data)["files"]
    wrong = [name for name, entry in files.items() if name in own and own[name]["sha256"] != entry["sha256"]]
    if wrong:
        findings.failed["manifest"] = f"{_some(wrong)}: not the content that {manifest_path(data).name} lists"
    else:
        findings.noted["manifest"] = f"all files as {manifest_path(data).name} lists them"


def _check_training(data: Path, threads: int) -> Findings:
    found = TrainingSet.open(data)
    sizes = np.bincount(found.labels, minlength=found.num_classes)
    findings = Findings({"identities": found.num_classes, "images": len(found)})
    empty = np.flatnonzero(sizes == 0)
    few = f"{sizes.min()} to {sizes.max()} images each"
    findings.noted["identities"] = f"{len(empty)} without an image, first {empty[0]}" if len(empty) else few

    def face(data: bytes, number: int) -> Pixels:
        try:
            image = decode(data, CROP_PIXELS)
        except ValueError as error:
            raise found.error(number, f"the JPEG cannot be decoded ({error})") from None
        if image.shape != (TEMPLATE_SIZE, TEMPLATE_SIZE, 3):
            raise found.error(number, f"the image has {image.shape[1]}×{image.shape[0]} pixels")
        return image

    _check_images(findings, len(found), found.jpeg, face, threads)
    return findings


def _check_pairs(data: Path, threads: int) -> Findings:
    found = read_pairs(data)
    findings = Findings({"pairs": len(found.same), "genuine": int(found.same.sum())})
    same = sum(found.images[2 * pair] == found.images[2 * pair + 1] for pair in range(len(found.same)))
    findings.noted["pairs"] = f"{same} of an image and itself" if same else "each of two different images"
    _check_labels(findings, lambda: check_pairs(found.same, data))

    def face(image: bytes, number: int) -> Pixels:
        return pair_face(image, data, number, TEMPLATE_SIZE)

    _check_images(findings, len(found.images), found.images.__getitem__, face, threads)
    return findings


def _check_tinyface(data: Path, threads: int) -> Findings:
    folders: list[str | None] = [*aligned_folders(data)]
    trees = [read_tinyface(data, crops) for crops in folders or [None]]  # options choose one of them
    parts = [(tree.gallery, tree.probes, tree.distractors) for tree in trees]
    counts = dict(zip(("gallery", "probes", "distractors"), map(len, parts[0]), strict=True))
    findings = Findings(counts)
    _check_labels(findings, lambda: None)  # the reader does it
    files = [path for tree in parts for part in tree for path in part]
    findings.left_out = _unlisted(data, [f"{tree.crops}/{part}" for tree in trees for part in PARTS], files)
    _check_files(findings, files, threads)
    return findings


def _check_ijb(data: Path, threads: int) -> Findings:
    found = read_ijb(data)
    faces = found.faces
    templates = len(np.unique(faces.templates))
    findings = Findings({"images": len(faces), "templates": templates, "pairs": len(found.pairs)})
    findings.noted["search"] = (
        "no lists of the 1:N protocol" if found.search is None else "galleries and probes are there"
    )
    _check_labels(findings, lambda: check_ijb_labels(data, found))
    findings.left_out = _unlisted(data, [IMAGES], map(faces.path, range(len(faces))))

    def face(image: bytes, number: int) -> Pixels:
        return aligned_face(image, faces.path(number), faces.landmarks[number], TEMPLATE_SIZE)

    _check_images(findings, len(faces), lambda number: read_file(faces.path(number)), face, threads)
    return findings


def _check_ijbs(data: Path, threads: int) -> Findings:
    found = read_ijbs(data)
    files = [path for medium in found.media for path in found.files(medium)]
    templates = found.templates
    findings = Findings({"images": len(files), "templates": len(templates)})
    faceless = sum(found.count(template) == 0 for template in templates)
    findings.noted["templates"] = f"{faceless} without a face, which count as misses" if faceless else "all with faces"
    findings.left_out = _unlisted(data, [FACES], files)
    _check_labels(findings, lambda: check_ijbs_labels(data, found))
    _check_files(findings, files, threads)
    return findings


def _check_labels(findings: Findings, check: Callable[[], None]) -> None:
    """Note whether the labels allow the metrics of the protocol, by the check that whoever uses the set makes."""
    try:
        check()
    except InputError as error:
        findings.failed["labels"] = str(error)
    else:
        findings.noted["labels"] = "allow the metrics of the protocol"


def _check_files(findings: Findings, files: Sequence[Path], threads: int) -> None:
    def face(image: bytes, number: int) -> Pixels:
        return stored_face(image, files[number], TEMPLATE_SIZE)

    _check_images(findings, len(files), lambda number: read_file(files[number]), face, threads)


def _unlisted(data: Path, folders: Iterable[str], used: Iterable[Path]) -> dict[str, KindSummary]:
    """Summary of the files in some folders of a set that are not used."""
    known = {path.relative_to(data).as_posix() for path in used}
    omissions = Omissions()
    for folder in folders:
        omissions.extend("named by no list", (name for name in _files(data, folder) if name not in known))
    return omissions.summary()


_CHECKS: dict[SetKind, Callable[[Path, int], Findings]] = {
    "training": _check_training,
    "pairs": _check_pairs,
    "tinyface": _check_tinyface,
    "ijb": _check_ijb,
    "ijbs": _check_ijbs,
}


@dataclass(slots=True)
class _Chunk:
    """Findings about a chunk of images.

    Attributes:
        digests: hashes of those that could be read, one after the other.
        warmth: red − blue in grey levels, averaged over an image, summed over those with colours.
        coloured: number of these.
        grey: number of those without.
        wrong: Errors, image by image.
    """

    digests: bytes = b""
    warmth: float = 0.0
    coloured: int = 0
    grey: int = 0
    wrong: list[str] = field(default_factory=list)


def _check_images(
    findings: Findings,
    count: int,
    read: Callable[[int], bytes],
    face: Callable[[bytes, int], Pixels],
    threads: int,
) -> None:
    """Make all images what a network gets, in threads; find copies, and whether red and blue are exchanged.

    Args:
        findings: gets the results.
        count: number of images.
        read: Function from the number of an image to its bytes.
        face: Function from bytes and number to the image as it is used.
        threads: number of threads.
    """

    def look(begin: int) -> _Chunk:
        chunk = _Chunk()
        for number in range(begin, min(begin + _CHUNK, count)):
            try:
                data = read(number)
                chunk.digests += hashlib.blake2b(data, digest_size=_DIGEST).digest()
                image = face(data, number)
            except InputError as error:
                chunk.wrong.append(str(error))
                continue
            warmth = _warmth(image)
            if warmth is None:
                chunk.grey += 1
            else:
                chunk.warmth += warmth
                chunk.coloured += 1
        return chunk

    begins = range(0, count, _CHUNK)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        chunks = list(track(pool.map(look, begins), "decoding", total=len(begins)))
    findings.corrupt += [line for chunk in chunks for line in chunk.wrong]
    findings.noted["duplicates"] = _duplicates(b"".join(chunk.digests for chunk in chunks))
    warmth, coloured, grey = (sum(getattr(chunk, what) for chunk in chunks) for what in ("warmth", "coloured", "grey"))
    findings.noted["colours"] = _colours(warmth / max(coloured, 1), coloured, grey)


def _duplicates(joined: bytes) -> str:
    """Count in words the images that are copies of others, among those that could be read."""
    if not joined:
        return "no image could be read"
    digests = np.frombuffer(joined, f"V{_DIGEST}")
    again = len(digests) - len(np.unique(digests))
    return f"{again:,} images are copies of others" if again else "no image occurs twice"


def _warmth(image: Pixels) -> float | None:
    """Red − blue in grey levels, averaged over an image; None of a grey one."""
    step = max(min(image.shape[:2]) // _SAMPLES, 1)
    pixels = image[::step, ::step].astype(np.float64)
    difference = pixels[..., 0] - pixels[..., 2]
    if max(np.abs(difference).mean(), np.abs(pixels[..., 0] - pixels[..., 1]).mean()) < _GREY:
        return None
    return float(difference.mean())


def _colours(warmth: float, coloured: int, grey: int) -> str:
    """Skin is redder than blue in any light that photographs of faces are taken in."""
    if not coloured:
        return (
            "all images are grey: the order of the channels makes no difference" if grey else "no image could be read"
        )
    among = f" in the {coloured:,} images with colours ({grey:,} are grey)" if grey else ""
    if warmth < 0:
        return f"red is {-warmth:.1f} grey levels below blue on average{among}: are the channels exchanged (BGR)?"
    return f"red is {warmth:.1f} grey levels above blue on average{among}, as faces in RGB are"


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
