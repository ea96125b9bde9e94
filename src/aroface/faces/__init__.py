"""Pixels and geometry: alignment, degradations and the renderer of synthetic faces."""
