"""The robustness report of one model."""
