"""Data sets, made by the workflow or received from others, identified before any of them is used.

Below ``results/data`` every set lies in a folder named after what it is: a made set itself, a received one as a link.
So no path that a job sees changes when the data folder moves, and no training set is mistaken for an older one of its
name. A package of photographs is named after its training part: other pairs or probes replace the old ones there, and
leave what was trained alone.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aroface.datasets.formats.registry import FORMATS
from aroface.datasets.hashes import FileHashes
from aroface.datasets.identity import data_hash
from aroface.datasets.manifest import manifest_hash, manifest_path, sample_identity
from aroface.datasets.preparation.pack_options import PackOptions, Part, packed_identities
from aroface.datasets.registry import Benchmark, Checkpoint, Dataset, Entry, missing, read_benchmarks, read_datasets
from aroface.datasets.synthetic.spec import DEFAULTS, alignment_words, generated_identity, resolve_spec
from aroface.embedding.protocols import PROTOCOLS
from aroface.errors import InputError
from aroface.files import read_json, write_json
from aroface.planning.config import Configuration
from aroface.planning.paths import command_path
from aroface.results import Results

DATASETS = Path("workflow/registries/datasets.yaml")
BENCHMARKS = Path("workflow/registries/benchmarks.yaml")
PARTS: dict[Part, tuple[str, str]] = {
    "train": ("training", "train"),
    "pairs": ("pairs", "pairs.bin"),
    "pairs_lq": ("pairs", "pairs_lq.bin"),
    "tinyface": ("tinyface", "tinyface"),
}
RECEIVED_MANIFEST = "manifest.json"  # beside the link to a received set, which may be read-only
_EMBEDDING = {"color": "RGB", "flip": True, "fusion": "sum"}  # of sets that the workflow makes itself


@dataclass(frozen=True, slots=True)
class DataSource:
    """A data set, or weights that others released, as jobs see it.

    Attributes:
        name: Key of the set.
        label: Name in tables.
        kind: Kind of the set, or ``checkpoint``.
        manifest_hash: Hash of its identity.
        path: Folder, or file of pairs, below ``results/data``.
        manifest: Manifest that making the set, or checking a received one, writes; weights have none and are their
            own.
        received: True if it comes from others.
        fetchable: True if it can be downloaded without registration.
        options: Options by which the literature embeds it, if it is a received benchmark.
        target: Target of the link ``path``, if it is received and exists.
        missing: Line on what is missing and how to get it, if it is received and not there.
    """

    name: str
    label: str
    kind: str
    manifest_hash: str
    path: Path
    manifest: Path
    received: bool = False
    fetchable: bool = False
    options: Mapping[str, Any] | None = None
    target: Path | None = None
    missing: str | None = None

    @property
    def inputs(self) -> list[Path]:
        """Files that jobs which use the set have to wait for."""
        return [self.manifest]

    @property
    def verification(self) -> str:
        """Arguments of ``aroface data verify``, if it is received."""
        return shlex.join([str(self.path), "--name", self.name, "--manifest", str(self.manifest)])


@dataclass(frozen=True, slots=True)
class Making:
    """A command that makes one or more data sets.

    Attributes:
        name: Key of the set.
        verb: Verb of ``aroface data``.
        folder: Folder of photographs, if it packs one.
        spec: Specification of the content.
        spec_file: File of that specification.
        out: Folder or file of the sets.
        manifests: Files that are there once they are made.
        hashes: Hashes of the photographs, if it packs any.
        data_dir: Folder of received files, if a detector among them is needed.
    """

    name: str
    verb: Literal["generate", "pack"]
    folder: Path | None
    spec: Mapping[str, Any]
    spec_file: Path
    out: Path
    manifests: tuple[Path, ...]
    hashes: FileHashes | None = None
    data_dir: Path | None = None

    @property
    def arguments(self) -> str:
        """Arguments of ``aroface data``."""
        if self.folder is None:
            arguments = ["generate", self.spec_file, "--out", self.out]
        else:
            arguments = ["pack", self.folder, "--options", self.spec_file, "--out", self.out]
            arguments += [] if self.data_dir is None else ["--data-dir", self.data_dir]
        return shlex.join(str(word) for word in arguments)


class Sources:
    """The data sets that a configuration may name; received ones are looked at when they are asked for.

    Args:
        configuration: Configuration, of which paths and ``data`` count.
        root: Folder of the repository.

    Raises:
        InputError: A registry or a declaration is malformed, or a name is taken.
    """

    def __init__(self, configuration: Configuration, *, root: Path = Path()) -> None:
        self._file = configuration.file
        self._data_dir = command_path(configuration.values["paths"]["data"])
        self._results = configuration.results
        self._datasets = read_datasets(root / DATASETS)
        self._benchmarks = read_benchmarks(root / BENCHMARKS)
        self._found: dict[str, DataSource] = {}
        self._released: dict[str, DataSource] = {}
        self.makings: list[Making] = []
        for name, declared in configuration.values["data"].items():
            if name in self._datasets or name in self._benchmarks:
                raise InputError("a registered set has this name", file=self._file, where=f"data.{name}")
            make = _generated if "generate" in declared else partial(_packed, data_dir=self._data_dir)
            making, made = make(name, declared, self._results, f"{self._file}: data.{name}")
            self.makings.append(making)
            self._found |= {source.name: source for source in made}

    def training_set(self, name: str, where: str) -> DataSource:
        """The training set ``name``; ``where`` is the key that names it in the configuration.

        Raises:
            InputError: There is none of this name, or what lies there is damaged.
        """
        if name in self._datasets and name not in self._found:
            entry = self._datasets[name]
            self._found[name] = self._received(entry, "training", entry.folder)
        return self._find(name, where, "training set", self._datasets)

    def benchmark(self, name: str, where: str) -> DataSource:
        """The set ``name`` that models are evaluated on; ``where`` is the key that names it in the configuration.

        Raises:
            InputError: There is none of this name, or what lies there is damaged.
        """
        if name in self._benchmarks and name not in self._found:
            entry = self._benchmarks[name]
            self._found[name] = self._received(entry, entry.protocol, entry.path)
        return self._find(name, where, "benchmark", self._benchmarks)

    def released(self, entry: Checkpoint) -> DataSource:
        """The file of a registered checkpoint."""
        if entry.key not in self._released:
            target = self._data_dir / entry.files[0]
            absent = missing(entry, self._data_dir)
            real = target.resolve()
            hash_ = manifest_hash(sample_identity(real.parent, [real.name])) if not absent else None
            self._released[entry.key] = self._linked(entry, "checkpoint", target, absent, hash_, None)
        return self._released[entry.key]

    def training_label(self, name: str, where: str) -> str:
        """The printed name of a training set, which need not be there; ``where`` is the key that names it.

        Raises:
            InputError: There is none of this name.
        """
        return self._datasets[name].title if name in self._datasets else self.training_set(name, where).label

    @property
    def received(self) -> list[DataSource]:
        """The received sets that were asked for."""
        return [source for source in self._found.values() if source.received]

    @property
    def to_fetch(self) -> list[str]:
        """Keys of the received sets and the released weights that are missing and to be had without a form."""
        everything = [*self._found.values(), *self._released.values()]
        return [source.name for source in everything if source.missing and source.fetchable]

    def write(self) -> None:
        """Link received sets to where jobs look for them, remember their identities, and write what is to be made."""
        for source in [*self._found.values(), *self._released.values()]:
            if source.target is not None:
                write_if_new(self._results.known_hash(source.name), {"manifest_hash": source.manifest_hash})
                _link(source.path, source.target)
        for making in self.makings:
            write_if_new(making.spec_file, making.spec)
            if making.hashes is not None:
                making.hashes.write()

    def _find(self, name: str, where: str, what: str, registry: Iterable[str]) -> DataSource:
        fitting = {
            key: source
            for key, source in self._found.items()
            if (source.kind == "training") == (what == "training set")
        }
        if name not in fitting:
            known = ", ".join(dict.fromkeys([*fitting, *registry]))
            raise InputError(f"unknown {what} {name!r}", file=self._file, where=where, expected=f"one of {known}")
        return fitting[name]

    def _received(self, entry: Dataset | Benchmark, kind: str, place: str) -> DataSource:
        """A received set: identified by its manifest, else by samples of its files, else as when it was last there."""
        target = self._data_dir / place
        absent = missing(entry, self._data_dir)
        options = entry.options if isinstance(entry, Benchmark) else None
        target = FORMATS[kind].chosen(target, options or {})
        return self._linked(entry, kind, target, absent, None if absent else data_hash(target), options)

    def _linked(
        self,
        entry: Entry,
        kind: str,
        target: Path,
        absent: str | None,
        found: str | None,
        options: Mapping[str, Any] | None,
    ) -> DataSource:
        """A set in the data folder, below ``results/data`` under the given or the remembered hash."""
        hash_ = found or _remembered(self._results, entry.key)
        folder = self._results.data_set(entry.key, hash_)
        path = folder / target.name
        return DataSource(
            entry.key,
            entry.title,
            kind,
            hash_,
            path,
            path if kind == "checkpoint" else folder / RECEIVED_MANIFEST,
            received=True,
            fetchable=bool(entry.downloads),
            options=options,
            target=None if absent else target,
            missing=absent,
        )


def write_if_new(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file unless it says that already; its time then stays what it was."""
    if not path.exists() or read_json(path) != value:
        write_json(path, value)


def _generated(name: str, declared: Mapping[str, Any], results: Results, place: str) -> tuple[Making, list[DataSource]]:
    if len(declared["generate"]) != 1:
        kinds = ", ".join(DEFAULTS)
        raise InputError(f"{len(declared['generate'])} kinds", file=f"{place}.generate", expected=f"one of {kinds}")
    (kind, spec), seed = next(iter(declared["generate"].items())), declared["seed"]
    resolved = resolve_spec(kind, spec, file=f"{place}.generate")
    hash_ = manifest_hash(generated_identity(kind, resolved, seed))
    path = results.data_set(name, hash_) / FORMATS[kind].default_name
    of_protocol = PROTOCOLS[kind].synthetic_options if kind in PROTOCOLS else {}
    options = {**_EMBEDDING, **of_protocol, "alignment": alignment_words("rendered", resolved["alignment"])}
    source = DataSource(name, declared.get("label", name), kind, hash_, path, manifest_path(path), options=options)
    file = results.making(name, hash_)
    content = {"name": name, "kind": kind, "seed": seed, "spec": resolved}
    return Making(name, "generate", None, content, file, path, (manifest_path(path),)), [source]


def _packed(
    name: str, declared: Mapping[str, Any], results: Results, place: str, data_dir: Path
) -> tuple[Making, list[DataSource]]:
    options = PackOptions.from_mapping(declared["pack"], file=place)
    folder = command_path(declared["folder"])
    if not folder.is_dir():
        remedy = "lay a file over it that says where the photographs are, as workflow/configs/folder.yaml explains"
        raise InputError(f"no folder {folder}", file=place, where="folder", remedy=remedy)
    files = FileHashes(folder, results.file_hashes(name))
    hashes = {part: manifest_hash(identity) for part, identity in packed_identities(folder, options, files).items()}
    out = results.data_set(name, hashes[options.parts[0]])
    sources = []
    for part in options.parts:
        kind, file = PARTS[part]
        key = name if part == "train" else f"{name}.{part}"
        alignment = alignment_words(
            "five_point" if options.landmarks or options.detector else "as_given", options.alignment_of(part)
        )
        sources.append(
            DataSource(
                key,
                declared.get("label", name),
                kind,
                hashes[part],
                out / file,
                manifest_path(out / file),
                options={**_EMBEDDING, "alignment": alignment},
            )
        )
    manifests = tuple(source.manifest for source in sources)
    spec_file = results.making(name, hashes["all"])
    found = data_dir if options.detector is not None else None
    return Making(name, "pack", folder, declared["pack"], spec_file, out, manifests, files, found), sources


def _remembered(results: Results, name: str) -> str:
    """The hash that a set had when it was last there, for the runs that it went into; else one of its own."""
    seen = results.known_hash(name)
    return str(read_json(seen)["manifest_hash"]) if seen.exists() else manifest_hash({"name": name, "files": {}})


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    goal = Path(os.path.relpath(target.resolve(), path.parent.resolve()))
    if not path.is_symlink() or path.readlink() != goal:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.symlink_to(goal)
        temporary.replace(path)
