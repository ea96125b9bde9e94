"""LaTeX fragment of a figure: how it was made, picture, captions, label, description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aroface.reporting.figures.form import FigureForm
from aroface.reporting.figures.words import FigureWords
from aroface.reporting.tables.latex import check_name, environment
from aroface.reporting.tables.tex_text import unescape
from aroface.reporting.text import one_line

PREFIX = "aroface-figure-"
"""Beginning of the names of files in an exported folder, which labels leave out."""
_DIGITS = 16  # of a hash; the whole is in no need of being read


@dataclass(frozen=True, slots=True)
class FigureOrigin:
    """Origin of a figure.

    Attributes:
        command: Command that drew it; None for a call of the library.
        commit: Commit of the checkout that the code ran from; None outside a checkout.
        sources: SHA-256 of the records or histories that it shows, by run and file.
    """

    command: str | None = None
    commit: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """Command, commit and sources, each a line without line breaks."""
        lines = [] if self.command is None else [f"command: {self.command}"]
        lines += [] if self.commit is None else [f"commit: {self.commit}"]
        lines += [f"source: {name} sha256:{digest[:_DIGITS]}" for name, digest in self.sources.items()]
        return [re.sub(r"\s+", " ", line) for line in lines]


def figure_label(stem: str) -> str:
    """Label of the figure whose files have this name."""
    return f"fig:aroface:{stem.removeprefix(PREFIX).replace('_', '-')}"


def render_fragment(stem: str, words: FigureWords, form: FigureForm, origin: FigureOrigin) -> str:
    """A ``figure`` environment.

    Args:
        stem: Name of the figure's files, without suffix.
        words: Captions and description.
        form: Width and environment, and the path of the picture.
        origin: Origin, for the first lines.

    Raises:
        InputError: The picture's path holds a character that LaTeX cannot read in one.
    """
    picture = form.picture or f"{stem}.pdf"
    check_name(picture, picture)
    return (
        environment()
        .get_template("figure.tex.j2")
        .render(
            picture=picture,
            words=words,
            form=form,
            origin=[line.encode("utf-8", "replace").decode() for line in origin.lines],
            label=figure_label(stem),
            old_label=f"fig:{stem.removeprefix(PREFIX)}",
        )
    )


def caption_text(fragment: str) -> str:
    """The caption in a fragment as plain text; empty if there is none."""
    match = re.search(r"^ *\\caption(?:\[\{.*?\}\])?\{(.*)\}$", fragment, re.M)
    return unescape(match[1]) if match else ""


def alt_text(fragment: str) -> str:
    """The description in a fragment as plain text; of one of an earlier version, the caption's first sentence."""
    match = re.search(r"^ *\\arodescription\{(.*)\}$", fragment, re.M)
    return one_line(unescape(match[1])) if match else caption_text(fragment).split(". ")[0]
