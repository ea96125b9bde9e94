"""Deposits: results as one zip file for an archive such as Zenodo, with checksums, and back into a folder of results.

A deposit is an RO-Crate with the layout of a folder of results. It has no images: manifests lie in a folder of their
own, for in the place of a data set they would say that the set is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from aroface.datasets.preparation.archive import unpack
from aroface.errors import InputError, printable
from aroface.files import HASH_DIGITS, atomic_path, read_document, sha256_file
from aroface.leftovers import temporary_prefix, tidy_once
from aroface.progress import track
from aroface.reporting.crate import CONTEXT, FORMATS, Entity, Software, graph, place, write_crate
from aroface.reporting.html_report.page import Material
from aroface.results import Results

CHECKSUMS = "manifest-sha256.txt"
"""List of all other files, as ``sha256sum --check`` reads it."""
CRATE = "ro-crate-metadata.json"
MANIFESTS = "manifests"

_LARGEST_LIST = 64_000_000
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_STORED = (".safetensors", ".pdf", ".png", ".onnx")  # which no compression makes smaller
_SHOWN = 3
_MAX_RATIO = 1000.0  # of text that repeats itself, as jackknife values in records do
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file can say


@dataclass(frozen=True, slots=True)
class DepositContent:
    """Content of a deposit, beside what the crate of the same results names.

    Attributes:
        material: Material of the report and of the crate.
        software: Software that made the results.
        extra: Further files by what they are; those that are missing are left out.
        weights: Names of the runs whose weights go along.
    """

    material: Material
    software: Software
    extra: Mapping[Path, str]
    weights: frozenset[str]


@dataclass(frozen=True, slots=True)
class Deposit:
    """Summary of a deposit.

    Attributes:
        files: Number of its files.
        bytes: Their size.
        records: Number of records among them.
        weights: Number of files of weights among them.
    """

    files: int
    bytes: int
    records: int
    weights: int

    def __str__(self) -> str:
        return f"{self.files:,} files, {self.records:,} records, weights of {self.weights:,} runs"


def write_deposit(content: DepositContent, out: Path) -> Deposit:
    """Write a deposit, and the crate of the results that it is made from.

    Args:
        content: Content.
        out: Zip file.

    Raises:
        InputError: Weights that are asked for are missing or have changed, there is no record, or a record is none.
    """
    root = content.material.results
    write_crate(content.material, content.software, root / CRATE)
    entities = graph(content.material, content.software, root)
    files = {unquote(each["@id"]): root / unquote(each["@id"]) for each in entities if _is_file(each)}
    places = _places(content, files)
    hashes = {to: sha256_file(path) for to, path in track(sorted(places.items()), "hashing")}
    _check_weights(content, hashes)
    described = _described(content, entities, places, hashes, root)
    crate = json.dumps({"@context": CONTEXT, "@graph": described}, indent=2, ensure_ascii=False) + "\n"
    hashes[CRATE] = hashlib.sha256(crate.encode()).hexdigest()
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", strict_timestamps=False) as packed:
        for to, path in track(sorted(places.items()), "packing"):
            packed.write(path, to, zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED)
        packed.writestr(zipfile.ZipInfo(CRATE, _EARLIEST), crate, zipfile.ZIP_DEFLATED)
        lines = "".join(f"{hashes[to]}  {to}\n" for to in sorted(hashes))
        packed.writestr(zipfile.ZipInfo(CHECKSUMS, _EARLIEST), lines, zipfile.ZIP_DEFLATED)
    return _summary(places)


def _summary(places: Mapping[str, Path]) -> Deposit:
    return Deposit(
        len(places),
        sum(path.stat().st_size for path in places.values()),
        sum(to.startswith("records/") for to in places),
        sum(to.endswith(".safetensors") for to in places),
    )


def _places(content: DepositContent, named: Mapping[str, Path]) -> dict[str, Path]:
    """Files of the deposit by their places in it."""
    root = content.material.results
    manifests = {
        data.manifest: f"{MANIFESTS}/{data.name}-{data.manifest_hash[:HASH_DIGITS]}.json"
        for data in content.material.data
    }
    wanted = {Results(root).run(run).path for run in content.weights}
    places = {}
    for to, path in named.items():
        if path.suffix != ".safetensors" or path.parent in wanted:
            places[manifests.get(path, to)] = path
    if not any(to.startswith("records/") for to in places):
        raise InputError("no record", file=content.material.records, remedy="run the workflow, or part of it, first")
    for path in content.extra:
        if path.is_file():
            places.setdefault(unquote(place(path, root)), path)
    return places


def _check_weights(content: DepositContent, hashes: Mapping[str, str]) -> None:
    for run in sorted(content.weights):
        folder = Results(content.material.results).run(run)
        there = [to for to in hashes if to.endswith(".safetensors") and to.startswith(f"runs/{run}/")]
        if not there:
            raise InputError(
                "no weights", file=folder.path, where="--weights", remedy="finish the run, or leave it out"
            )
        checkpoint = json.loads(folder.checkpoint.read_text(encoding="utf-8"))
        if checkpoint["weights"]["sha256"] != hashes[there[0]]:
            raise InputError(
                f"other weights than {folder.checkpoint.name} names",
                file=folder.path,
                remedy="copy them again, or leave them out",
            )


def _described(
    content: DepositContent,
    entities: Sequence[Entity],
    places: Mapping[str, Path],
    hashes: Mapping[str, str],
    root: Path,
) -> list[Entity]:
    """The crate's entities, of the files that are in the deposit, and of all of them."""
    new = {quote(unquote(place(path, root))): quote(to) for to, path in places.items()}
    gone = {each["@id"] for each in entities if _is_file(each) and each["@id"] not in new}
    # A data set that is made here is a folder of the results, but none of the deposit.
    apart = {each["@id"]: f"#{each['@id']}" for each in entities if _is_folder(each)}
    kept = [_moved(each, {**new, **apart}, gone) for each in entities if each["@id"] not in gone]
    known = {each["@id"] for each in kept}
    further = [
        {
            "@id": quote(to),
            "@type": "File",
            "name": content.extra.get(path, path.name),
            "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream"),
            "contentSize": str(path.stat().st_size),
            "sha256": hashes[to],
        }
        for to, path in sorted(places.items())
        if quote(to) not in known
    ]
    (whole,) = (each for each in kept if each["@id"] == "./")
    parts = [part for part in whole["hasPart"] if not part["@id"].startswith("#")]
    checksums = {"@id": CHECKSUMS, "@type": "File", "name": "SHA-256 of all files", "encodingFormat": "text/plain"}
    whole["hasPart"] = [*parts, *({"@id": each["@id"]} for each in (*further, checksums))]
    return [*kept, *further, checksums]


def _is_file(entity: Entity) -> bool:
    return "File" in entity["@type"]


def _is_folder(entity: Entity) -> bool:
    return entity["@type"] == "Dataset" and not str(entity["@id"]).startswith(("#", "./"))


def _moved(value: Any, new: Mapping[str, str], gone: Collection[str]) -> Any:
    """An entity with its names and references as in the deposit, without references to what is not there."""
    if isinstance(value, dict):
        return {key: new.get(each, each) if key == "@id" else _moved(each, new, gone) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, new, gone) for each in value if not (isinstance(each, dict) and each.get("@id") in gone)]
    return value


def read_deposit(archive: Path, out: Path) -> Deposit:
    """Check a deposit against its checksums and put its files into a folder of results.

    A file that is there already with the same content is left alone, so that an interrupted call can be repeated. All
    files get one time, that of now: none of them is older than what it was made from.

    Args:
        archive: Zip file of :func:`write_deposit`.
        out: Folder of results, ``paths.results`` of the configuration.

    Raises:
        InputError: No deposit, or a damaged one; or another file stands in the place of one of its files.
    """
    if not archive.is_file():
        raise InputError("no such file", file=archive, expected="a deposit, as aroface archive pack writes it")
    if out.exists() and not out.is_dir():
        raise InputError("a file", file=out, expected="a folder of results")
    out.mkdir(parents=True, exist_ok=True)
    tidy_once(out)
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(out / "deposit"), dir=out))
    try:
        unpack(archive, temporary, max_ratio=_MAX_RATIO)
        listed = _checked(temporary, archive)
        taken = [name for name in listed if _differs(temporary / name, out / name)]
        if taken:
            names = ", ".join(taken[:_SHOWN]) + (f" and {len(taken) - _SHOWN:,} more" if len(taken) > _SHOWN else "")
            remedy = "name a new folder by --out, or remove them"
            raise InputError(f"other files stand in the place of {names}", file=out, remedy=remedy)
        now = time.time()
        for name in listed:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.utime(temporary / name, (now, now))
            (temporary / name).replace(out / name)
        return _summary({name: out / name for name in listed})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _differs(new: Path, old: Path) -> bool:
    if not os.path.lexists(old):
        return False
    return not old.is_file() or sha256_file(new) != sha256_file(old)


def _checked(folder: Path, archive: Path) -> list[str]:
    """Names of a deposit's files, each of which has its checksum."""
    if not (folder / CHECKSUMS).is_file() or not (folder / CRATE).is_file():
        raise InputError(f"no {CHECKSUMS} or {CRATE}", file=archive, expected="a deposit of aroface archive pack")
    listed = dict(_lines(read_document(folder / CHECKSUMS, "a list of checksums", _LARGEST_LIST), archive))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {CHECKSUMS}
    for name in sorted(there ^ {*listed}):
        what = "is not in its list of checksums" if name in there else "is missing"
        raise InputError(f"{printable(name, 80)} {what}", file=archive, remedy="get the deposit again")
    for name in track(sorted(listed), "checking"):
        if sha256_file(folder / name) != listed[name]:
            raise InputError(f"{name} has another checksum", file=archive, remedy="get the deposit again")
    return sorted(listed)


def _lines(text: str, archive: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            where = f"{CHECKSUMS}, line {number}"
            raise InputError("no checksum and name", file=archive, where=where, remedy="get the deposit again")
        yield match[2], match[1]


def chosen_weights(asked: Iterable[str], finished: Sequence[str]) -> frozenset[str]:
    """Names of the runs whose weights are asked for; ``all`` means every finished one.

    Raises:
        InputError: There is no such run, or it is not finished.
    """
    names = [*asked]
    if names == ["all"]:
        return frozenset(finished)
    for name in names:
        if name not in finished:
            expected = f"all, or some of {', '.join(finished)}" if finished else "a finished run"
            raise InputError(f"no finished run {printable(name, 80)!r}", where="--weights", expected=expected)
    return frozenset(names)
