"""ARoFace: face recognition that is robust to face alignment errors, as a reproducible workflow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aroface.adversary.alignment import AlignmentAdversary
    from aroface.adversary.options import AdversaryOptions

__version__ = "0.1.0"
__all__ = ["AdversaryOptions", "AlignmentAdversary", "__version__"]

if not TYPE_CHECKING:  # else every name would count as defined

    def __getattr__(name: str) -> Any:
        """Import the adversary when it is asked for: it needs torch, and most of the package does without."""
        if name == "AlignmentAdversary":
            from aroface.adversary.alignment import AlignmentAdversary

            return AlignmentAdversary
        if name == "AdversaryOptions":
            from aroface.adversary.options import AdversaryOptions

            return AdversaryOptions
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
