"""Registries of sets, benchmarks, checkpoints and detectors: providers, terms, and the files that must exist."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from aroface.datasets.formats.record_layout import find_layout
from aroface.datasets.formats.registry import FORMATS
from aroface.errors import LONGEST_RECORD, InputError
from aroface.schemas import read_yaml, validate
from aroface.shipped import shipped

REGISTRIES = Path("workflow/registries")


@dataclass(frozen=True, slots=True)
class Download:
    """File that can be downloaded without registration.

    Attributes:
        url: Address of the file.
        file: Name under the data folder.
        sha256: Hash that it must have; None if nobody has published it.
        unpack: True if it is an archive whose content belongs into the data folder.
        size: Size in bytes; None if nobody has published it.
        max_bytes: Size beyond which it cannot be this file; None for the default of downloads.
        page: Address by which a browser gets it.
        inside: Name of the file in the folder of Google Drive that ``url`` lists, with ``*`` for what may differ; None
            where ``url`` is the file's own.
    """

    url: str
    file: str
    sha256: str | None
    unpack: bool
    size: int | None = None
    max_bytes: int | None = None
    page: str | None = None
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """Set, checkpoint or detector that others provide.

    Attributes:
        key: Name in the configuration.
        title: Name in tables.
        provider: Name of the provider.
        licence: Terms of use, in a few words.
        request: Page where it is requested or found.
        listed_as: Name on that page.
        citation: Citation of the paper that describes it.
        files: Files and folders that must exist, under the data folder; of names in braces with commas between them one
            is enough.
        counts: Counts that its provider publishes.
        downloads: Files that can be downloaded without registration; none where it has to be requested.
    """

    key: str
    title: str
    provider: str
    licence: str
    request: str
    listed_as: str
    citation: str
    files: tuple[str, ...]
    counts: dict[str, int]
    downloads: tuple[Download, ...]


@dataclass(frozen=True, slots=True)
class ProviderForm:
    """Form in which a provider gives out a training set, if that is no record set.

    Attributes:
        path: Place under the data folder.
        holds: Content, in a few words.
        raw: True if its crops have to be aligned first.
    """

    path: str
    holds: str
    raw: bool = False

    def commands(self, data_dir: Path, folder: str) -> str:
        """Commands that make a record set of it, as a shell takes them."""
        source, out = shlex.quote(str(data_dir / self.path)), shlex.quote(str(data_dir / folder))
        if not self.raw:
            return f"aroface data prepare {source} --out {out}"
        aligned = shlex.quote(str(data_dir / f"{folder}_aligned"))
        return f"aroface data prepare {source} --align --out {aligned} && aroface data prepare {aligned} --out {out}"


@dataclass(frozen=True, slots=True)
class Dataset(Entry):
    """A training set: records, in any layout of :mod:`aroface.datasets.formats.record_layout`.

    Attributes:
        folder: Folder of the set under the data folder.
        form: Form in which its provider gives it out; None where that is a record set.
    """

    folder: str
    form: ProviderForm | None = None


@dataclass(frozen=True, slots=True)
class Typical:
    """Size of a benchmark as a sample of people, and the rate of strong networks on it.

    Attributes:
        people: Number of people.
        trials: Number of pairs or probes that the rate is a share of.
        rate: Accuracy, rank-1 rate or TAR, in (0, 1).
    """

    people: int
    trials: int
    rate: float


@dataclass(frozen=True, slots=True)
class Benchmark(Entry):
    """Benchmark that models are evaluated on.

    Attributes:
        protocol: Protocol of its evaluation, named after the kind of its data.
        path: Path of the data, relative to the data folder.
        options: Options of the literature's embeddings: color, flip, fusion, alignment.
        ended: Day on which its provider ended the distribution; None where it is to be had.
        typical: Size as a sample of people, for the power of comparisons; None where nobody has said.
    """

    protocol: str
    path: str
    options: dict[str, Any]
    ended: str | None = None
    typical: Typical | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint(Entry):
    """Released weights.

    Attributes:
        method: Key of the method that trained them.
        dataset: Key of the training set.
        arch: Architecture of the backbone.
        color: Order of the channels of its input.
        method_label: Printed name of the method where the registry of methods may not have it; else None.
        label: Text that tells it from others of its method, training set and architecture; empty where there are none.
        mean: Value subtracted from pixel values in 0..255; None for that of the file's layout.
        std: Divisor of the differences; None likewise.
        partner: Key of the checkpoint of the same objective without an adversary; None if there is none.
        note: Sentence that a reader of its numbers has to know; empty if there is none.
    """

    method: str
    dataset: str
    arch: str
    color: Literal["RGB", "BGR"]
    method_label: str | None = None
    label: str = ""
    mean: float | None = None
    std: float | None = None
    partner: str | None = None
    note: str = ""

    @property
    def is_program(self) -> bool:
        """True if it is an ONNX file."""
        return self.files[0].lower().endswith(".onnx")


@dataclass(frozen=True, slots=True)
class DetectorFile(Entry):
    """A face detector: one ONNX file."""


EntryT = TypeVar("EntryT", bound=Entry)


def read_datasets(path: str | PathLike[str]) -> dict[str, Dataset]:
    """The registry of training sets by key.

    Raises:
        InputError: The file is missing or not as ``datasets.schema.json`` demands.
    """
    return _read(path, "datasets", Dataset)


def read_benchmarks(path: str | PathLike[str]) -> dict[str, Benchmark]:
    """The registry of benchmarks by key.

    Raises:
        InputError: The file is missing or not as ``benchmarks.schema.json`` demands.
    """
    benchmarks = _read(path, "benchmarks", Benchmark)
    for key, benchmark in benchmarks.items():
        if benchmark.protocol not in FORMATS:
            what, expected = f"unknown protocol {benchmark.protocol!r:.40}", f"one of {', '.join(FORMATS)}"
            raise InputError(what, file=path, where=f"{key}.protocol", expected=expected)
    return benchmarks


def read_checkpoints(path: str | PathLike[str]) -> dict[str, Checkpoint]:
    """The registry of released checkpoints by key.

    Raises:
        InputError: The file is missing or not as ``checkpoints.schema.json`` demands, or a partner is not there or of
            another training set or architecture.
    """
    checkpoints = _read(path, "checkpoints", Checkpoint)
    for key, entry in checkpoints.items():
        partner = checkpoints.get(entry.partner or key)
        if partner is None or (partner.dataset, partner.arch) != (entry.dataset, entry.arch):
            expected = f"a key of this file with dataset {entry.dataset} and arch {entry.arch}"
            raise InputError(f"{entry.partner!r:.60}", file=path, where=f"{key}.partner", expected=expected)
    return checkpoints


def read_detectors(path: str | PathLike[str]) -> dict[str, DetectorFile]:
    """The registry of face detectors by key.

    Raises:
        InputError: The file is missing or not as ``detectors.schema.json`` demands.
    """
    return _read(path, "detectors", DetectorFile)


def read_all(registries: Path = REGISTRIES) -> dict[str, Entry]:
    """All entries by key: training sets, benchmarks, checkpoints, face detectors.

    Raises:
        InputError: A registry is missing or malformed, or two entries have one key.
    """
    entries: dict[str, Entry] = {}
    sections: list[dict[str, Any]] = [
        read_datasets(registries / "datasets.yaml"),
        read_benchmarks(registries / "benchmarks.yaml"),
        read_checkpoints(registries / "checkpoints.yaml"),
        read_detectors(registries / "detectors.yaml"),
    ]
    for section in sections:
        for key in section.keys() & entries.keys():
            raise InputError("another registry has this key", file=registries, where=key)
        entries |= section
    return entries


def find_entry(key: str, registries: Path = REGISTRIES) -> Entry:
    """The entry of one key.

    Raises:
        InputError: There is none; or see `read_all`.
    """
    entries = read_all(registries)
    if key not in entries:
        near = get_close_matches(key, entries, 3)
        expected = f"a path, or one of the {len(entries)} names that aroface data list prints"
        remedy = f"meant was perhaps {' or '.join(near)}" if near else None
        raise InputError(f"no set {key[:LONGEST_RECORD]!r}", expected=expected, remedy=remedy)
    return entries[key]


def place_of(name: str, data_dir: Path, registries: Path = REGISTRIES) -> Path:
    """Path of a set that is named by its path or by its key.

    Raises:
        InputError: Neither a path nor a key, or the registered set is not there.
    """
    if Path(name).exists():
        return Path(name)
    entry = find_entry(name, registries)
    line = missing(entry, data_dir)
    if line is not None:
        raise InputError(line)
    if isinstance(entry, Dataset):
        return data_dir / entry.folder
    return data_dir / (entry.path if isinstance(entry, Benchmark) else entry.files[0])


def present(data_dir: Path, name: str) -> bool:
    """Return whether a file or folder is there, under any of the names that braces stand for."""
    return any((data_dir / alternative).exists() for alternative in _alternatives(name))


def _alternatives(name: str) -> list[str]:
    """Names that a name with braces stands for: ``a{b,c}d`` for ``abd`` and ``acd``."""
    choices = [segment.split(",") for segment in re.split(r"[{}]", name)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def missing(entry: Entry, data_dir: Path) -> str | None:
    """Describe the missing files under ``data_dir`` in one line, with their source and place; None if none is."""
    absent = _absent(entry, data_dir)
    if not absent:
        return None
    problem = f"{entry.title}: not in {data_dir}: {', '.join(absent)}; "
    terms = f"{entry.provider} ({entry.licence}), {entry.request}, there named {entry.listed_as}"
    form = entry.form if isinstance(entry, Dataset) else None
    if isinstance(entry, Dataset) and form is not None:
        commands = form.commands(data_dir, entry.folder)
        if (data_dir / form.path).exists():
            return f"{problem}{commands} makes it of what is from {terms}"
        if not entry.downloads:
            destination = data_dir / form.path
            return f"{problem}request it from {terms}, and put {form.holds} into {destination}: {commands} makes it"
        fetch = f"aroface data fetch {entry.key} --data-dir {shlex.quote(str(data_dir))}"
        return f"{problem}{fetch} gets {form.holds} from {terms}, and {commands} makes it"
    if entry.downloads:
        return f"{problem}aroface data fetch {entry.key} --data-dir {shlex.quote(str(data_dir))} gets it from {terms}"
    ended = entry.ended if isinstance(entry, Benchmark) else None
    if ended is not None:
        given = f"no longer distributed since {ended} by {terms}"
        return f"{problem}{given}; who has the files puts them under these names into {data_dir}"
    return f"{problem}request it from {terms}, and put the files under these names into {data_dir}"


def is_fetched(entry: Entry, data_dir: Path) -> bool:
    """Return whether a set is there as its provider gives it out, so that only preparing it is left."""
    form = entry.form if isinstance(entry, Dataset) else None
    return form is not None and (data_dir / form.path).exists()


def _absent(entry: Entry, data_dir: Path) -> list[str]:
    """Names of the missing files; none where the folder of a training set holds records of another layout."""
    absent = [name for name in entry.files if not present(data_dir, name)]
    if absent and isinstance(entry, Dataset):
        try:
            layout = find_layout(data_dir / entry.folder)
        except InputError:  # whoever reads the set reports it
            return []
        if layout is not None and all((layout.folder / name).exists() for name in layout.files):
            return []
    return absent


def listing(data_dir: Path, registries: Path = REGISTRIES) -> list[str]:
    """List all entries, one a line: key, title, content, and presence on disk or what is missing.

    Args:
        data_dir: Folder of received sets.
        registries: Folder of the registries.

    Raises:
        InputError: A registry is missing or malformed.
    """
    rows = []
    for entry in read_all(registries).values():
        absent = _absent(entry, data_dir)
        state = f"not in {data_dir}: {_some(absent)}; {_how(entry, data_dir)}" if absent else "there"
        rows.append((entry.key, entry.title, _holds(entry), state))
    return _in_columns(rows)


def checkpoint_listing(data_dir: Path, registries: Path = REGISTRIES) -> list[str]:
    """List the released checkpoints, one a line: key, title, its partner, what is missing and how to get it, its note.

    Args:
        data_dir: Folder of received sets.
        registries: Folder of the registries.

    Raises:
        InputError: The registry is missing or malformed.
    """
    rows = [("key", "released weights", "plain partner", "on disk")]
    for entry in read_checkpoints(registries / "checkpoints.yaml").values():
        state = "there"
        if missing(entry, data_dir) is not None:
            state = f"{', '.join(entry.files)} is missing in {data_dir}: {_how(entry, data_dir)}"
        rows.append((entry.key, entry.title, entry.partner or "", f"{state}. {entry.note}" if entry.note else state))
    return _in_columns(rows)


def _in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their cells one below the other, but for the last ones, which are long."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]


def markdown(registries: Path = REGISTRIES) -> list[str]:
    """The registries as the lines of a Markdown table.

    Raises:
        InputError: A registry is missing or malformed.
    """
    lines = ["| key | holds | terms | lies in `data/` as |", "| :-- | :-- | :-- | :-- |"]
    for entry in read_all(registries).values():
        ended = entry.ended if isinstance(entry, Benchmark) else None
        how = "`aroface data fetch`" if entry.downloads else f"not distributed since {ended}" if ended else "to request"
        how += ", then `aroface data prepare`" if isinstance(entry, Dataset) and entry.form is not None else ""
        location = entry.files[0] if len(entry.files) == 1 else f"{os.path.commonpath(entry.files)}/"
        held = _holds(entry) or entry.title
        if isinstance(entry, Checkpoint) and entry.note:
            held = f"{held}. {entry.note}"
        lines.append(
            f"| `{entry.key}` | {held} | [{entry.provider}]({entry.request}), {entry.licence}; {how} | `{location}` |"
        )
    return lines


def _some(names: list[str]) -> str:
    folder = os.path.commonpath([str(Path(name).parent) for name in names]) if len(names) > 1 else ""
    inside = [str(Path(name).relative_to(folder)) for name in names]
    return f"{folder}/ ({', '.join(inside)})" if folder else ", ".join(names)


def _how(entry: Entry, data_dir: Path) -> str:
    """Command or page that an entry comes from."""
    if isinstance(entry, Dataset) and entry.form is not None and is_fetched(entry, data_dir):
        return entry.form.commands(data_dir, entry.folder)
    how = f"aroface data fetch {entry.key}" if entry.downloads else f"see {entry.request}"
    return f"{how}, then aroface data prepare" if isinstance(entry, Dataset) and entry.form else how


def _holds(entry: Entry) -> str:
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in entry.counts.items())


def _read(path: str | PathLike[str], schema: str, kind: type[EntryT]) -> dict[str, EntryT]:
    path = shipped(Path(path))
    entries = read_yaml(path)
    validate(entries, schema, file=path)
    registered = {}
    for key, written in entries.items():
        fields = {"counts": {}, **written, "key": key, "downloads": _downloads(written.get("fetch", []), path, key)}
        fields.pop("fetch", None)
        fields |= {"form": ProviderForm(**written["form"])} if "form" in written else {}
        fields |= {"typical": Typical(**written["typical"])} if "typical" in written else {}
        inside = f"{written['folder']}/" if "folder" in written else ""
        fields["files"] = tuple(f"{inside}{name}" for name in written["files"])
        registered[key] = kind(**fields)
    return registered


def _downloads(written: list[dict[str, Any]], path: str | PathLike[str], key: str) -> tuple[Download, ...]:
    validate(written, "fetch", file=f"{path}: {key}.fetch")
    return tuple(_download(each) for each in written)


def _download(written: dict[str, Any]) -> Download:
    most = written.get("max_gb")
    return Download(
        _address(written),
        written["file"],
        written.get("sha256"),
        written.get("unpack", False),
        written.get("size"),
        None if most is None else int(most * 1e9),
        _page(written),
        written.get("google_drive_folder", {}).get("name"),
    )


def _address(written: dict[str, Any]) -> str:
    if "google_drive" in written:
        return google_drive(written["google_drive"])
    if "google_drive_folder" in written:
        return f"https://drive.google.com/embeddedfolderview?id={written['google_drive_folder']['folder']}"
    if "hugging_face" in written:
        return hugging_face(**written["hugging_face"])
    return str(written["url"])


def _page(written: dict[str, Any]) -> str:
    """The address at which a browser shows or gets a file."""
    if "google_drive" in written:
        return f"https://drive.google.com/file/d/{written['google_drive']}/view"
    if "google_drive_folder" in written:
        return f"https://drive.google.com/drive/folders/{written['google_drive_folder']['folder']}"
    if "hugging_face" in written:
        return hugging_face(**written["hugging_face"]).replace("/resolve/", "/blob/", 1)
    return str(written["url"])


def google_drive(file_id: str) -> str:
    """The address of a file on Google Drive that anybody may read.

    ``confirm`` passes the page about virus scans; where it does not, `download` follows that page's form.
    """
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t"


def hugging_face(repository: str, file: str, revision: str = "main") -> str:
    """The address of a file of a public repository on Hugging Face."""
    return f"https://huggingface.co/{repository}/resolve/{revision}/{file}"
