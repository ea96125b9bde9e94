"""One account of what a command left out: counted by kind, the first names of each, told and bounded.

A command that reads many files never drops one silently. It adds each to an `Omissions`, prints the lines at its end,
writes the summary into its report file, and fails above the share that its option ``--max-left-out`` allows. What is
left out as a matter of course, such as a text file among images, is told as well but has no part in that share.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from os import PathLike
from typing import TypedDict

from aroface.errors import InputError, escaped, printable

FIRST = 10
"""Names that are kept of each kind."""


class KindSummary(TypedDict):
    """Summary of one kind of omission: count and first names."""

    count: int
    first: list[str]


class Omissions:
    """Account of what a command left out, by kind; safe to add to from several threads.

    A kind is a short noun phrase that says why, such as ``not an image`` or ``no face found``.

    Args:
        word: First words of a line, where items are told that are not left out.
    """

    def __init__(self, word: str = "left out") -> None:
        self._word = word
        self._kinds: dict[str, KindSummary] = {}
        self._expected: set[str] = set()
        self._lock = threading.Lock()

    def add(self, kind: str, name: str | PathLike[str]) -> None:
        """Count one item that is left out.

        Args:
            kind: Reason, a short noun phrase.
            name: Path or record, as a message should show it.
        """
        with self._lock:
            summary = self._kinds.setdefault(kind, {"count": 0, "first": []})
            summary["count"] += 1
            if len(summary["first"]) < FIRST:
                summary["first"].append(escaped(str(name)))

    def note(self, kind: str, name: str | PathLike[str]) -> None:
        """Count one item that is left out as a matter of course: told, but no part of the share that `check` bounds."""
        self._expected.add(kind)
        self.add(kind, name)

    def note_all(self, summary: Mapping[str, KindSummary]) -> None:
        """Count what an earlier account, or one of a part, summed up; as a matter of course, as `note` does."""
        self._expected.update(summary)
        with self._lock:
            for kind, entry in summary.items():
                ours = self._kinds.setdefault(kind, {"count": 0, "first": []})
                ours["count"] += entry["count"]
                ours["first"] += entry["first"][: FIRST - len(ours["first"])]

    def extend(self, kind: str, names: Iterable[str | PathLike[str]]) -> None:
        """Count several items of one kind."""
        for name in names:
            self.add(kind, name)

    def __len__(self) -> int:
        return sum(summary["count"] for summary in self._kinds.values())

    @property
    def counted(self) -> int:
        """Number of items that have a part in the share that `check` bounds."""
        return sum(each["count"] for kind, each in self._kinds.items() if kind not in self._expected)

    def summary(self) -> dict[str, KindSummary]:
        """Counts and first names by kind, for a report file; empty if nothing was left out."""
        return {kind: {"count": each["count"], "first": list(each["first"])} for kind, each in self._kinds.items()}

    def lines(self) -> list[str]:
        """One line for each kind: ``left out: 12, not an image: a.txt, b.txt, … (10 more)``."""
        return summary_lines(self._kinds, self._word)

    def tell(self) -> None:
        """Print the lines to standard error."""
        for line in self.lines():
            print(line, file=sys.stderr)

    def check(self, total: int, allowed: float, *, file: str | PathLike[str], option: str = "--max-left-out") -> None:
        """Refuse to go on if too much was left out.

        Args:
            total: Number of items, those left out included, without those of `note`.
            allowed: Largest share that may be left out, 0 … 1.
            file: Folder or file that the items come from.
            option: Option that sets the share, for the message.

        Raises:
            InputError: More than the allowed share was left out.
        """
        count = self.counted
        if count > allowed * total + 1e-9:
            counts = {kind: each["count"] for kind, each in self._kinds.items() if kind not in self._expected}
            worst = max(counts, key=counts.__getitem__)
            raise InputError(
                f"{count:,} of {total:,} {self._word}, most of them: {worst} (first: {self._kinds[worst]['first'][0]})",
                file=file,
                expected=f"at most {allowed:.4g} of them",
                remedy=f"mend the files, or allow more by {option}",
            )


def summary_lines(
    summary: Mapping[str, KindSummary],
    word: str = "left out",
    *,
    taken: Container[str] = (),
    reasons: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """The lines of a summary, as `Omissions.lines`; of a report file that was written earlier, for example.

    Args:
        summary: Counts and first names by kind.
        word: First words of a line.
        taken: Kinds that are named although nothing of them is left out; their lines begin with ``noted``.
        reasons: Messages for each item of a kind; each is a line of its own, in place of the first names.
    """
    lines = []
    for kind, entry in summary.items():
        first = "noted" if kind in taken else word
        line = f"{first}: {entry['count']:,}, {kind}"
        messages = (reasons or {}).get(kind, ())
        if not messages:
            more = entry["count"] - len(entry["first"])
            line += ": " + ", ".join(entry["first"]) + (f", … ({more:,} more)" if more else "")
        lines += [printable(line), *(f"{first}: {message}" for message in messages)]
    return lines
