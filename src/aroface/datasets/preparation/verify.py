"""Verification of a whole set before anything is computed from it: complete, decodable, and with the right content.

The result is a manifest with a verdict for each check. A second run reads only what changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.datasets.formats.base import Findings, SetFormat
from aroface.datasets.formats.image_checks import part_files
from aroface.datasets.formats.registry import FORMATS, detect
from aroface.datasets.hashes import FileHashes
from aroface.datasets.identity import data_identity
from aroface.datasets.manifest import manifest_path, read_manifest
from aroface.datasets.registry import find_entry, place_of
from aroface.errors import InputError
from aroface.files import read_json, write_json
from aroface.progress import track
from aroface.results import Results
from aroface.schemas import validate

_SHOWN = 5  # of the images that a check found, named in its detail


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set that somebody names for verification.

    Attributes:
        data: Folder or file of the set.
        name: Name of the set, for its manifest.
        counts: Counts that its provider publishes; empty for a set that is not registered.
        manifest: Path of its manifest, unless another one is chosen.
    """

    data: Path
    name: str
    counts: Mapping[str, int]
    manifest: Path


def find_set(word: str, data_dir: Path, registered_as: str | None = None) -> NamedSet:
    """Find a set by its key in a registry or by its path.

    Args:
        word: Key or path; a path that is there wins.
        data_dir: Folder of received sets.
        registered_as: Key of the registered set that a path holds; None for a set that is not registered.

    Raises:
        InputError: Neither a path nor a key, the registered set is not there, or ``registered_as`` is no key.
    """
    data, name = place_of(word, data_dir), registered_as or word
    if registered_as is None and Path(word).exists():
        return NamedSet(data, name, {}, Results().manifest(data.resolve().name))
    return NamedSet(data, name, find_entry(name).counts, Results().manifest(name))


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
    embedding and validation make as well (:mod:`aroface.datasets.formats.image_checks`); the labels' range and
    agreement with the identities' ranges; images that occur more than once and the order of the colour channels
    (both only noted); and, where the set has a manifest of its own, every file's hash.

    Args:
        data: Folder or file of a set of any format; it is only read.
        manifest: Path of the manifest to write; files that are as an earlier one says are not read again.
        name: Name of the set.
        expected: Counts that its provider publishes.
        threads: Number of threads that read and decode.
        max_corrupt_fraction: Fraction of a training set's images that may be damaged; a benchmark may have none. The
            manifest lists them all either way.

    Returns:
        Content of the manifest.

    Raises:
        InputError: The set is missing, of no known format, or refused by its reader.
    """
    set_format = detect(data)
    folder, entries = set_format.files(data)
    names = sorted(file for entry in entries for file in part_files(folder, entry))
    hashes = FileHashes(folder, manifest.with_name(f"{manifest.name}.hashes"))
    files = {
        file: {"size": (folder / file).stat().st_size, "sha256": hashes.sha256(file)}
        for file in track(names, f"hashing {name}")
        if (folder / file).is_file()  # what a link that leads nowhere stands for is told with the images
    }
    hashes.write()
    findings = _earlier(manifest, files) or set_format.check(data, threads)
    _judge_corrupt(findings, set_format, max_corrupt_fraction)
    _compare_counts(findings, expected or {})
    _compare_files(findings, data, files)
    verdicts = {check: {"passed": True, "detail": detail} for check, detail in findings.noted.items()}
    verdicts |= {check: {"passed": False, "detail": detail} for check, detail in findings.failed.items()}
    identity = data_identity(data)
    written: dict[str, Any] = {
        "name": name,
        "kind": set_format.kind,
        "identity": identity,
        "files": files,
        "counts": findings.counts,
    }
    written |= {"verdicts": verdicts, "corrupt": findings.corrupt}
    written |= {"left_out": findings.left_out} if findings.left_out else {}
    written |= {"image_size": [*findings.image_size]} if findings.image_size else {}
    validate(written, "manifest")
    write_json(manifest, written)
    return written


def verdict_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Describe a manifest that `verify` wrote, one line for each count and each check."""
    lines = [f"{name:12} {count:,}" for name, count in manifest["counts"].items()]
    for check, verdict in manifest["verdicts"].items():
        lines.append(f"{check:12} {'ok' if verdict['passed'] else 'FAILED'}: {verdict['detail']}")
    return lines


def require_passed(manifest: Mapping[str, Any], data: Path) -> None:
    """Refuse a set that failed a check.

    Raises:
        InputError: It did; the message has the first failure.
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
            remedy += "; --max-corrupt-fraction allows more" if FORMATS[manifest["kind"]].corrupt_allowed else ""
        raise InputError(f"{detail}{more}", file=data, where=check, remedy=remedy)


def _earlier(manifest: Path, files: Mapping[str, Any]) -> Findings | None:
    """Findings of an earlier run on the same files; None if another reading is needed."""
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
        tuple(written["image_size"]) if "image_size" in written else None,
    )


def _judge_corrupt(findings: Findings, set_format: SetFormat, max_fraction: float) -> None:
    """Decide whether few enough images are damaged."""
    count, wrong = set_format.image_count(findings.counts), findings.corrupt
    if not wrong:
        findings.noted["images"] = f"all {count:,} can be used"
        return
    allowed = max_fraction * count if set_format.corrupt_allowed else 0
    verdict = findings.noted if len(wrong) <= allowed else findings.failed
    verdict["images"] = f"{len(wrong):,} of {count:,} cannot be used: {_some(wrong)}"


def _compare_counts(findings: Findings, expected: Mapping[str, int]) -> None:
    counts = findings.counts
    known = {name: count for name, count in expected.items() if name in counts}
    wrong = [f"{counts[name]:,} {name}, not {count:,}" for name, count in known.items() if counts[name] != count]
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


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
