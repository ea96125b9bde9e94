"""Synthetic data sets of rendered faces."""
