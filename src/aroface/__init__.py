"""ARoFace: face recognition that is robust to face alignment errors, as a reproducible workflow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aroface.adversary.alignment import AlignmentAdversary
    from aroface.adversary.options import AdversaryOptions
    from aroface.embedding.photographs import embed_photographs

__version__ = "0.1.0"
__all__ = ["AdversaryOptions", "AlignmentAdversary", "__version__", "embed_photographs"]

if not TYPE_CHECKING:  # else every name would count as defined

    def __getattr__(name: str) -> Any:
        """Import a name when it is asked for: they need torch, and most of the package does without."""
        if name == "AlignmentAdversary":
            from aroface.adversary.alignment import AlignmentAdversary

            return AlignmentAdversary
        if name == "AdversaryOptions":
            from aroface.adversary.options import AdversaryOptions

            return AdversaryOptions
        if name == "embed_photographs":
            from aroface.embedding.photographs import embed_photographs

            return embed_photographs
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
