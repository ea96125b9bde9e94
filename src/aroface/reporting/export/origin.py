"""Origin of an export: commit, command, configuration, records with their hashes, as comments and as a file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aroface.files import digest, if_there, sha256_file
from aroface.reporting.explain import commit_text

MARKER = "Written by `aroface export`."
"""First line of ``PROVENANCE.txt``, which tells a folder that this command may replace."""
PROVENANCE = "PROVENANCE.txt"
LISTED = 12
"""Number of records up to which a fragment names each."""
_FILE = re.compile(r"^  ([0-9a-f]{64})  (.+)$")
_FILES = "Files of this folder, with their SHA-256:"


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin that all parts of an export share.

    Attributes:
        command: Command that was typed.
        commit: Commit of the package, with ``+`` where files differ; None outside a checkout.
        version: Version of the package.
        configuration: Names of the configuration's files.
        configuration_hash: Hash of what they say.
        versions: Versions of Python and of packages.
        hashes: SHA-256 of files by their paths.
    """

    command: str
    commit: str | None
    version: str
    configuration: str
    configuration_hash: str
    versions: Mapping[str, str]
    hashes: Mapping[Path, str]

    def header(self, made: str, spec: Path | None, inputs: Sequence[Path]) -> list[str]:
        """Lines of comment that say how a fragment was made and from what, without the comment sign.

        Args:
            made: Description of the fragment and its maker.
            spec: Specification of a table.
            inputs: Records or histories that it shows.
        """
        lines = [
            made,
            f"command: {self.command}",
            f"commit: {commit_text(self.commit)}, aroface {self.version}",
            f"configuration: {self.configuration}, hash {self.configuration_hash}",
        ]
        if spec is not None:
            lines.append(f"specification: {spec.as_posix()}, sha256 {self.hashes[spec]}")
        lines += self._inputs(inputs)
        return [part for line in lines for part in textwrap.wrap(line, 118, break_on_hyphens=False) or [""]]

    def _inputs(self, inputs: Sequence[Path]) -> list[str]:
        if not inputs:
            return ["records: none, the values are those in print"]
        if len(inputs) <= LISTED:
            return [f"record: {path.as_posix()}, sha256 {self.hashes[path]}" for path in inputs]
        together = digest([[path.as_posix(), self.hashes[path]] for path in inputs])
        return [f"records: {len(inputs)}, each with its sha256 in {PROVENANCE}; hash of that list {together}"]

    def text(self, parts: Mapping[str, Sequence[Path]], remark: str | None, files: Mapping[str, str]) -> str:
        """Content of ``PROVENANCE.txt``.

        Args:
            parts: Files that each fragment was made from, by its name.
            remark: Line on what is left out.
            files: SHA-256 of the files of the folder, by their names.
        """
        lines = [
            MARKER,
            "",
            f"command        {self.command}",
            f"commit         {commit_text(self.commit)}",
            f"aroface        {self.version}",
            f"configuration  {self.configuration}",
            f"hash           {self.configuration_hash}",
            "versions       " + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            "",
        ]
        lines += [remark, ""] if remark else []
        for name, inputs in parts.items():
            lines += [f"{name}, made from:", *(f"  {self.hashes[path]}  {path.as_posix()}" for path in inputs)]
            lines += ["" if inputs else "  nothing but this package\n"]
        lines += [_FILES, *(f"  {sha256}  {name}" for name, sha256 in files.items())]
        return "\n".join(lines) + "\n"


def hashes(paths: Iterable[Path]) -> dict[Path, str]:
    """SHA-256 of each of some files."""
    return {path: sha256_file(path) for path in dict.fromkeys(paths)}


def written_files(folder: Path) -> dict[str, str] | None:
    """SHA-256 by name of the files that an export wrote into a folder; None where it wrote none."""
    path = folder / PROVENANCE
    if not if_there(path.is_file):
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(MARKER):
        return None
    listed = text.partition(f"{_FILES}\n")[2].splitlines()
    return {match[2]: match[1] for line in listed if (match := _FILE.match(line))}
