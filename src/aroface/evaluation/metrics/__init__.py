"""Metrics of verification and identification on scores and features."""
