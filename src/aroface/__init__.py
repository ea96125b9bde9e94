"""ARoFace: face recognition that is robust to face alignment errors, as a reproducible workflow."""

__version__ = "0.1.0"
