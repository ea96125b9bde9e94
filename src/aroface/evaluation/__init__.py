"""Protocols on stored features: metrics, bootstrap intervals and the result record."""
