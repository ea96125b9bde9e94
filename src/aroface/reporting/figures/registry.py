"""Registry of the kinds of figures; it imports no drawing library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        name: Name by which ``aroface figure`` and configurations know it.
        title: Content of the figure, in a few words.
        draw: Function that draws it, as ``module:function``. It takes the folder of records or runs, the benchmark if
            there are protocols, the path of the files without suffix, ``needs``, ``form`` (a ``FigureForm``),
            ``caption_note``, ``command`` and a selection.
        protocols: Protocols of the benchmarks whose records it shows; none where it shows trainings.
        needs: Names of further arguments: ``metric``, ``examples`` (faces of the benchmark), ``title`` (of the
            benchmark), ``titles`` (of all benchmarks), ``grids`` (faces of the first benchmark), ``unit`` (of changes).
        several: True if it shows several benchmarks, whose keys ``draw`` takes as a list.
    """

    name: str
    title: str
    draw: str
    protocols: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    several: bool = False

    @property
    def shows_faces(self) -> bool:
        """True if it can show faces of its benchmark."""
        return not {"examples", "grids"}.isdisjoint(self.needs)

    @property
    def options(self) -> tuple[str, ...]:
        """Options of ``aroface figure`` that not all kinds take."""
        named = {"examples": "faces", "grids": "faces", "metric": "metric", "unit": "unit"}
        return (*(("benchmark",) if self.protocols else ()), *(named[need] for need in self.needs if need in named))

    def load(self) -> Callable[..., None]:
        """Import the function that draws."""
        module, _, function = self.draw.partition(":")
        loaded: Callable[..., None] = getattr(import_module(f"aroface.reporting.figures.{module}"), function)
        return loaded


FIGURE_KINDS = {
    kind.name: kind
    for kind in (
        FigureKind(
            "fae",
            "figure 1, what face alignment errors cost",
            "alignment_errors:figure_fae",
            ("sensitivity",),
            ("examples", "metric"),
        ),
        FigureKind(
            "fae_paper",
            "figure 1 in the form of the paper, beside the authors' bars",
            "paper_bars:figure_fae_paper",
            ("sensitivity",),
            ("grids", "unit"),
            several=True,
        ),
        FigureKind(
            "landmarks",
            "what they cost against how far they move landmarks",
            "landmarks:figure_landmarks",
            ("sensitivity",),
            ("metric",),
        ),
        FigureKind(
            "tar_far",
            "TAR against FAR of pairs",
            "operating_curves:figure_tar_far",
            ("pairs", "ijb"),
            ("title",),
        ),
        FigureKind(
            "tpir_fpir",
            "TPIR against FPIR of a search in two galleries",
            "operating_curves:figure_tpir_fpir",
            ("ijb",),
            ("title",),
        ),
        FigureKind(
            "training",
            "loss, accuracy and learning rate over the training",
            "training:figure_training",
            needs=("titles",),
        ),
        FigureKind(
            "displacements",
            "how the adversary scaled, turned and shifted",
            "displacements:figure_displacements",
        ),
    )
}
"""Kinds by name."""
