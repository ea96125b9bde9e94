"""Protocols on stored features: metrics, intervals over draws of people and the result record."""
