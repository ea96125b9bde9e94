"""Generative models with known truth, and what the project's intervals, tests and verdicts hold on them."""
