"""All that was made as a Research Object Crate: ``ro-crate-metadata.json`` in the results folder.

Sources: RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and the profiles Process Run Crate, Workflow Run Crate
(https://w3id.org/ro/wfrun) and Workflow RO-Crate. Data sets are named with their terms; no data are listed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aroface.errors import InputError
from aroface.files import atomic_path, if_there, newest, sha256_file, write_json
from aroface.reporting.html_report.data import ReportedDataSet
from aroface.reporting.html_report.page import Material
from aroface.reporting.html_report.runs import ReportedRun, read_mapping
from aroface.reporting.records import Record, load_records
from aroface.results import Results
from aroface.schemas import read_yaml

CONTEXT: list[Any] = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LICENCES = {"MIT": "https://spdx.org/licenses/MIT"}
SOURCE = "source"
"""Folder of the crate with copies of the workflow and its configuration: files of a crate lie below its root."""

COMPLETED = "http://schema.org/CompletedActionStatus"

Entity = dict[str, Any]
FORMATS = {
    ".json": "application/json",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True, slots=True)
class Software:
    """Software that made the results.

    Attributes:
        snakefile: File of the workflow.
        parts: Files that belong to it: rules and configuration.
        citation: File with its authors and its licence.
        base: Folder that their places in the crate are relative to.
        version: Version of the package.
    """

    snakefile: Path
    parts: tuple[Path, ...]
    citation: Path
    base: Path
    version: str


def write_crate(material: Material, software: Software, out: str | PathLike[str]) -> None:
    """Write the crate's description, and beside it the copies of the workflow that it names.

    Args:
        material: Material of the report; the crate has the same.
        software: Software that made it.
        out: ``ro-crate-metadata.json``; its folder is the crate, which everything listed must lie in.

    Raises:
        InputError: Another name, or a record is no record.
    """
    out = Path(out)
    if out.name != "ro-crate-metadata.json":
        raise InputError("a crate's description has one name", file=out, expected="ro-crate-metadata.json")
    for path in (software.snakefile, *software.parts):
        with atomic_path(out.parent / _source_place(path, software)) as temporary:
            shutil.copyfile(path, temporary)
    write_json(out, {"@context": CONTEXT, "@graph": graph(material, software, out.parent)})


def graph(material: Material, software: Software, root: Path) -> list[Entity]:
    """All entities of the crate, the descriptor and the root first.

    Args:
        material: Material, see :func:`write_crate`.
        software: Software, see :func:`write_crate`.
        root: Folder of the crate.
    """
    records = load_records(material.records, {run.name: run.variant for run in material.runs})
    made = _Made(root, material, records)
    workflow = _workflow(software, root)
    sets = [_set(each, root) for each in material.data]
    actions = [
        *(action for run in material.runs for action in made.training(run)),
        *map(made.evaluation, records),
    ]
    files = _unique([*workflow, *made.files, *(entity for entity in sets if _is_part(entity))])
    whole = _whole(software, files, made)
    licence, authors = _terms(software)
    root_entity = _root(material, files, [*actions, whole], licence, authors, made)
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [{"@id": SPECIFICATION}, {"@id": list(PROFILES)[-1]}],
    }
    profiles = [
        {"@id": uri, "@type": "CreativeWork", "name": name, "version": version}
        for uri, (name, version) in PROFILES.items()
    ]
    spoken_of = [entity for entity in sets if not _is_part(entity)]
    around = [*_licences(material.data), *_software(software, licence, authors), *authors, licence, *profiles]
    return _unique([descriptor, root_entity, *files, *spoken_of, whole, *actions, *around])


def _unique(entities: Iterable[Entity]) -> list[Entity]:
    """The entities, the first of each name."""
    by_id: dict[str, Entity] = {}
    for entity in entities:
        by_id.setdefault(entity["@id"], entity)
    return [*by_id.values()]


class _Made:
    """Files of the crate: what is there of records, tables, figures, report, checkpoints, recipes and manifests.

    The workflow may be replacing them: what is not there when its turn comes is not named anywhere.

    Attributes:
        files: Entity of each file that is there.
    """

    def __init__(self, root: Path, material: Material, records: Sequence[Record]) -> None:
        self._root = root
        self._material = material
        self._records = records
        self._runs = {run.name: run for run in material.runs}
        self._sets = {(each.name, each.manifest_hash): each for each in material.data}
        self.files = [*self._files()]
        self._there = {entity["@id"] for entity in self.files}

    def _files(self) -> Iterator[Entity]:
        for run in self._material.runs:
            yield from self._present([(run.recipe_file, f"Recipe of {run.name}")])
            if run.checkpoint_file.exists():
                yield from self._checkpoint(run)
        for data in self._material.data:
            yield from self._present([(data.manifest, f"Manifest of {data.name}")])
        yield from self._present(
            (record.path, f"Result of {record.run} on {record.benchmark}") for record in self._records
        )
        yield from self._present(self.products())

    def products(self) -> Iterator[tuple[Path, str]]:
        """Tables, figures, document and report, with their names."""
        for step in self._material.steps:
            if step.name == "tables":
                yield from ((path, f"Table {path.stem}") for path in step.files)
        for picture in self._material.pictures:
            for suffix in (".pdf", ".png", ".tex"):
                yield picture.stem.with_suffix(suffix), f"Figure {picture.name}"
        if self._material.document is not None:
            yield self._material.document, "All tables and figures"
        yield Results(self._material.results).report, "Report: every number and what stands behind it"

    def training(self, run: ReportedRun) -> Iterator[Entity]:
        """The action that made a run's weights, if it is finished."""
        if not run.checkpoint_file.exists():
            return
        checkpoint = read_mapping(run.checkpoint_file)
        entry = run.entry.get("data")
        data = self._sets.get((entry["name"], entry["manifest_hash"])) if entry else None
        verb = "import" if run.released else "train"
        environment = checkpoint.get("environment", {})
        versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
        yield {
            "@id": f"#{verb}-{quote(run.name)}",
            "@type": "CreateAction",
            "name": f"{'Import of released weights' if run.released else 'Training'}: {run.name}",
            "description": _sentences(
                f"at commit {environment['git_commit']}" if environment.get("git_commit") else None,
                f"with {versions}" if versions else None,
                f"{checkpoint['cost']['device_hours']} device-hours" if "cost" in checkpoint else None,
            ),
            "instrument": {"@id": "#aroface"},
            "object": [*self._ids([run.recipe_file]), *([{"@id": _set_id(data, self._root)}] if data else [])],
            "result": self._ids([run.checkpoint_file, *self._weights(run, checkpoint)]),
            "actionStatus": COMPLETED,
        }

    def evaluation(self, record: Record) -> Entity:
        """The action that made a record."""
        run = self._runs[record.run]
        source = record.provenance
        hash_ = source["benchmark_manifest_hash"]
        sets = [_set_id(each, self._root) for each in self._material.data if each.manifest_hash == hash_]
        checkpoints = [run.checkpoint_file] if run.checkpoint_file.exists() else []
        return {
            "@id": f"#evaluate-{quote(record.run)}-{quote(record.benchmark)}",
            "@type": "CreateAction",
            "name": f"Evaluation of {record.run} on {record.benchmark}",
            "description": _sentences(
                source["command"], f"at commit {source['git_commit']}" if source["git_commit"] else None
            ),
            "instrument": {"@id": "#aroface"},
            "object": [*self._ids(checkpoints), *({"@id": name} for name in sets[:1])],
            "result": self._ids([record.path]),
            "actionStatus": COMPLETED,
        }

    def results(self) -> list[Entity]:
        """References to all that the workflow made for people: records, tables, figures, document, report."""
        return self._ids([*(record.path for record in self._records), *(path for path, _ in self.products())])

    def newest(self) -> datetime:
        """Time of the newest record, else of the newest recipe or table."""
        records = newest(record.path for record in self._records)
        other = records or newest(path for path, _ in self.products())
        return datetime.fromtimestamp(other or newest(run.recipe_file for run in self._material.runs) or 0, UTC)

    def _checkpoint(self, run: ReportedRun) -> Iterator[Entity]:
        checkpoint = read_mapping(run.checkpoint_file)
        yield from self._present([(run.checkpoint_file, f"Checkpoint of {run.name}")])
        for path in self._weights(run, checkpoint):
            # The hash that the training wrote down: the file itself may have gigabytes.
            yield from self._present([(path, f"Weights of {run.name}")], checkpoint["weights"]["sha256"])

    def _weights(self, run: ReportedRun, checkpoint: Mapping[str, Any]) -> list[Path]:
        weights = checkpoint.get("weights", {})
        path = run.folder / weights.get("file", "")
        return [path] if path.is_file() and "sha256" in weights else []

    def _present(self, paths: Iterable[tuple[Path, str]], sha256: str | None = None) -> Iterator[Entity]:
        for path, name in paths:
            entity = if_there(partial(self._file, path, name, sha256)) if path.is_file() else None
            if entity is not None:
                yield entity

    def _file(self, path: Path, name: str, sha256: str | None = None) -> Entity:
        return {
            "@id": place(path, self._root),
            "@type": "File",
            "name": name,
            "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream"),
            "contentSize": str(path.stat().st_size),
            "sha256": sha256 or sha256_file(path),
        }

    def _ids(self, paths: Iterable[Path]) -> list[Entity]:
        return [{"@id": name} for name in (place(path, self._root) for path in paths) if name in self._there]


def place(path: Path, root: Path) -> str:
    """A file as the crate names it: relative to its root, as a URI.

    Raises:
        InputError: It does not lie below the root.
    """
    try:
        return quote(path.absolute().relative_to(root.absolute()).as_posix())
    except ValueError:
        raise InputError(f"{path} is not below {root}", expected="a crate in the folder of the results") from None


def _source_place(path: Path, software: Software) -> str:
    try:
        inside = path.absolute().relative_to(software.base.absolute())
    except ValueError:
        inside = Path(path.name)
    return (SOURCE / inside).as_posix()


def _workflow(software: Software, root: Path) -> list[Entity]:
    """The Snakefile, its rules and configuration, as copied into the crate."""
    main = {
        "@id": quote(_source_place(software.snakefile, software)),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "From data on disk to the tables and figures of the paper",
        "encodingFormat": "text/plain",
        "programmingLanguage": {"@id": "#snakemake"},
        "version": software.version,
        "license": {"@id": _licence_id(software)},
        "hasPart": [{"@id": quote(_source_place(path, software))} for path in software.parts],
        "sha256": sha256_file(software.snakefile),
    }
    parts = [
        {
            "@id": quote(_source_place(path, software)),
            "@type": ["File", "SoftwareSourceCode"] if path.suffix == ".smk" else "File",
            "name": f"{'Rules' if path.suffix == '.smk' else 'Configuration'}: {path.name}",
            "encodingFormat": FORMATS.get(path.suffix, "text/plain"),
            "sha256": sha256_file(path),
        }
        for path in software.parts
    ]
    return [main, *parts]


def _whole(software: Software, files: Sequence[Entity], made: _Made) -> Entity:
    """The run of the workflow."""
    given = [each["@id"] for each in files if str(each["name"]).startswith(("Configuration", "Recipe"))]
    return {
        "@id": "#workflow-run",
        "@type": "CreateAction",
        "name": "The workflow, as far as it has come",
        "description": "All of the following, by one command",
        "instrument": {"@id": quote(_source_place(software.snakefile, software))},
        "object": [{"@id": name} for name in given],
        "result": made.results(),
    }


def _root(
    material: Material,
    files: Sequence[Entity],
    actions: Sequence[Entity],
    licence: Entity,
    authors: Sequence[Entity],
    made: _Made,
) -> Entity:
    done = sum(run.checkpoint_file.exists() for run in material.runs)
    about = "Records, tables, figures, checkpoints and recipes of a reproduction of ARoFace (arXiv 2407.14972)"
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": "ARoFace, reproduced",
        "description": _sentences(f"{about}; {done} of {len(material.runs)} runs are finished", material.note),
        "datePublished": f"{made.newest():%Y-%m-%dT%H:%M:%S+00:00}",
        "license": {"@id": licence["@id"]},
        "author": [{"@id": each["@id"]} for each in authors],
        "conformsTo": [{"@id": uri} for uri in PROFILES],
        "mainEntity": {"@id": files[0]["@id"]},
        "hasPart": [{"@id": each["@id"]} for each in files],
        "mentions": [{"@id": each["@id"]} for each in actions],
    }


def _set(data: ReportedDataSet, root: Path) -> Entity:
    """A data set: what it is and on which terms it is had."""
    entity: Entity = {
        "@id": _set_id(data, root),
        "@type": "Dataset",
        "name": data.label,
        "identifier": data.manifest_hash,
        "description": f"For {data.used_for}; the identifier is the hash of its manifest",
    }
    if data.licence is not None and data.request is not None:
        entity |= {"license": {"@id": _terms_id(data)}, "url": data.request, "citation": data.citation}
    return entity


def _set_id(data: ReportedDataSet, root: Path) -> str:
    """A set that the workflow makes is a folder of the crate, if it is there; another one is only spoken of."""
    folder = data.manifest.parent
    own = data.licence is None and folder.is_dir() and data.manifest.is_file()
    return f"{place(folder, root)}/" if own else f"#data-{quote(data.key)}"


def _is_part(entity: Entity) -> bool:
    return not str(entity["@id"]).startswith("#")


def _terms_id(data: ReportedDataSet) -> str:
    return f"#terms-{quote(data.name)}"


def _licences(sets: Iterable[ReportedDataSet]) -> Iterator[Entity]:
    for data in sets:
        if data.licence is not None:
            yield {"@id": _terms_id(data), "@type": "CreativeWork", "name": data.licence, "url": data.request}


def _licence_id(software: Software) -> str:
    name = read_yaml(software.citation)["license"]
    return LICENCES.get(name, f"#licence-{quote(name)}")


def _terms(software: Software) -> tuple[Entity, list[Entity]]:
    """The software's licence and its authors, as its citation names them."""
    citation = read_yaml(software.citation)
    licence = {"@id": _licence_id(software), "@type": "CreativeWork", "name": citation["license"]}
    authors = [
        {
            "@id": f"#author-{number}",
            "@type": "Person" if "family-names" in each else "Organization",
            "name": each.get("name") or f"{each.get('given-names', '')} {each['family-names']}".strip(),
        }
        for number, each in enumerate(citation["authors"], 1)
    ]
    return licence, authors


def _software(software: Software, licence: Entity, authors: Sequence[Entity]) -> list[Entity]:
    return [
        {
            "@id": "#aroface",
            "@type": "SoftwareApplication",
            "name": "aroface",
            "softwareVersion": software.version,
            "license": {"@id": licence["@id"]},
            "author": [{"@id": each["@id"]} for each in authors],
        },
        {
            "@id": "#snakemake",
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "url": {"@id": "https://snakemake.github.io"},
            "identifier": {"@id": "https://snakemake.github.io"},
        },
        {"@id": "https://snakemake.github.io", "@type": "WebPage", "name": "Snakemake"},
    ]


def _sentences(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
